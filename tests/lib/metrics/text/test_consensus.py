"""Claims about stages.lib.metrics.text.consensus."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.lib.core.errors import UndefinedMetricError
from stages.lib.metrics.text import consensus
from stages.lib.metrics.text.extract import extractor

SENTENCES = [
    "There is a mass in the left kidney.",
    "There is a mass in the right kidney.",
    "There is a cyst on both sides.",
    "There is no cyst.",
    "A fracture is possible.",
    "There are no abnormal findings.",
]
texts = st.lists(st.sampled_from(SENTENCES), min_size=1, max_size=4).map(" ".join)
samples = st.lists(texts, min_size=1, max_size=5)


def read(*said):
    return [extractor().read(text) for text in said]


def written(*said):
    return consensus.text(read(*said), extractor().vocabulary)


def test_what_most_samples_say_is_said():
    assert written("Left renal mass. Cyst.", "Mass in the left kidney. No stone.", "Stone.") == (
        "There is mass on the left in the kidney."
    )


def test_a_finding_without_a_majority_for_its_side_has_none():
    assert written("Left mass.", "Right mass.", "Mass.") == "There is mass."


def test_nothing_abnormal_wins_where_most_say_so_and_disagreement_is_none():
    assert written("Normal.", "No mass.", "A cyst.") == "There are no abnormal findings."
    assert written("A mass.", "A cyst.", "A stone.") == consensus.NO_MAJORITY
    assert not extractor().read(consensus.NO_MAJORITY).says_normal


def test_half_of_the_samples_and_fewer_are_no_majority():
    assert written("Normal.", "Normal.", "A cyst.", "A stone.") == consensus.NO_MAJORITY
    assert written("Left mass.", "Left mass.", "Right mass.", "Mass.", "Mass.") == "There is mass."
    assert written("Mass. Cyst.", "Mass. Cyst.", "Mass.", "Mass.", "Mass.") == "There is mass."
    assert written("Mass. Cyst.", "Mass. Cyst.", "Mass.", "Mass.") == "There is mass."
    assert written("Left mass.", "Left mass.", "Right mass.", "Mass.") == "There is mass."


def test_no_other_mass_beside_a_mass_is_no_statement_of_its_own():
    assert written(*["A mass. There are no other masses. No cyst."] * 2) == "There is mass. There is no cyst."


@given(samples)
def test_the_text_is_read_as_the_findings_that_it_is_written_from(said):
    readings = read(*said)
    again = extractor().read(consensus.text(readings, extractor().vocabulary))
    kept = consensus.by_findings(readings)
    assert {(one.entity, one.presence, one.side, one.place) for one in again.findings} == {
        (one.entity, one.presence, one.side, one.place) for one in kept
    }


@given(texts, st.integers(1, 4))
def test_samples_that_all_say_the_same_are_its_consensus(text, n):
    readings = read(*[text] * n)
    assert consensus.medoid(readings) == 0
    if n > 1:
        assert consensus.agreement(readings) == 1


@given(samples)
def test_the_medoid_is_the_sample_that_is_most_like_the_others(said):
    readings = read(*said)
    means = [
        sum(consensus.similarity(one, other) for number, other in enumerate(readings) if number != at)
        for at, one in enumerate(readings)
    ]
    assert means[consensus.medoid(readings)] == pytest.approx(max(means))


def test_agreement_is_the_mean_over_pairs_and_wants_two():
    assert consensus.agreement(read("Left mass.", "Left mass.", "Cyst.")) == pytest.approx(1 / 3)
    with pytest.raises(UndefinedMetricError, match="1 sample"):
        consensus.agreement(read("Mass."))
