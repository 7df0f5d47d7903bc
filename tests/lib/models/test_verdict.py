"""Claims about stages.lib.models.verdict."""

import typing

import pytest

from stages.lib.core.case_tables import JUDGEMENTS, RATINGS
from stages.lib.models.verdict import Rating, Verdict


def test_ratings_are_those_of_the_table_in_its_order():
    assert typing.get_args(Rating) == RATINGS


@pytest.mark.parametrize("rating", RATINGS)
@pytest.mark.parametrize("found", [True, False])
def test_good_without_the_primary_finding_and_poor_with_it_are_contradictions(rating, found):
    wrong = (rating, found) in {("good", False), ("poor", True)}
    assert bool(Verdict(rating=rating, primary_found=found).contradictions) == wrong


def test_each_field_is_a_column_of_the_table_of_judgements():
    assert set(Verdict.__dataclass_fields__) <= set(JUDGEMENTS.names)
