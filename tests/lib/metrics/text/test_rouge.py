"""Claims about stages.lib.metrics.text.rouge."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.lib.metrics.text.rouge import rouge_l

QUICK = "The quick brown fox jumps over the lazy dog", "The quick brown dog jumps on the log."


@pytest.mark.parametrize(
    ("gold", "answer", "stemmer", "wanted"),
    [
        ("testing one two", "testing", False, (1, 1 / 3, 0.5)),
        (*QUICK, False, (0.625, 0.555556, 0.588235)),
        ("Masses displacing the uterus anteriorly.", "A mass displaces the uterus.", False, (0.4, 0.4, 0.4)),
        ("Masses displacing the uterus anteriorly.", "A mass displaces the uterus.", True, (0.8, 0.8, 0.8)),
        ("There is no pleural effusion.", "There is a pleural effusion.", False, (0.8, 0.8, 0.8)),
        ("no nodule", "nodule", False, (1, 0.5, 0.666667)),
        ("a mass", "", False, (0, 0, 0)),
        ("", "a mass", True, (0, 0, 0)),
        ("épanchement", "epanchement", False, (0, 0, 0)),
        ("2.4-cm mass", "2 4 cm\nmass", False, (1, 1, 1)),
    ],
)
def test_golden_values(gold, answer, stemmer, wanted):
    found = rouge_l(gold, answer, stemmer=stemmer)
    assert (found.precision, found.recall, found.f1) == pytest.approx(wanted, abs=1e-6)


def longest(first, second):
    """Length of the longest common subsequence, by its definition."""
    row = [0] * (len(second) + 1)
    for one in first:
        above = row
        row = [0]
        for place, other in enumerate(second):
            row.append(above[place] + 1 if one == other else max(above[place + 1], row[place]))
    return row[-1]


@given(st.text(alphabet="ab c.1É\n", max_size=30), st.text(alphabet="ab c.1É\n", max_size=30))
def test_it_is_the_longest_common_subsequence_of_the_words(gold, answer):
    wanted, said = (re.findall("[a-z0-9]+", text.lower()) for text in (gold, answer))
    found = rouge_l(gold, answer, stemmer=False)
    common = longest(wanted, said)
    assert found.precision == pytest.approx(common / len(said) if said and wanted else 0)
    assert found.recall == pytest.approx(common / len(wanted) if said and wanted else 0)
