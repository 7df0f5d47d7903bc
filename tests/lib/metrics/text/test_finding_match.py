"""Claims about stages.lib.metrics.text.finding_match."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.lib.core.errors import UndefinedMetricError
from stages.lib.metrics.text.extract import extractor
from stages.lib.metrics.text.finding_match import counts, match, pooled, similarity, strictly
from stages.lib.metrics.text.vocabulary import load

SENTENCES = [
    "There is a mass in the left kidney.",
    "There is a mass in the right kidney.",
    "There is a cyst.",
    "There is no mass.",
    "There is no cyst.",
    "A fracture cannot be excluded.",
    "There is a fracture.",
    "The liver is normal.",
    "",
]
texts = st.lists(st.sampled_from(SENTENCES), max_size=4).map(" ".join)


def matched(gold, answer, *agrees):
    return match(extractor().read(gold), extractor().read(answer), *agrees)


def f1(gold, answer, *agrees):
    return counts(matched(gold, answer, *agrees)).f1


@pytest.mark.parametrize(
    ("gold", "answer", "outcomes"),
    [
        ("Left mass.", "Left mass.", ["right"]),
        ("Left mass.", "Right mass.", ["wrong_side"]),
        ("Left mass.", "Mass.", ["wrong_side"]),
        ("Mass.", "Left mass.", ["right"]),
        ("Left mass.", "No mass.", ["wrong_presence"]),
        ("No mass.", "Mass.", ["wrong_presence"]),
        ("No mass.", "No mass.", ["right"]),
        ("Mass.", "Cyst.", ["invented"]),
        ("Mass.", "No cyst. Possible fracture.", [None, None]),
        ("Mass in the liver.", "Mass in the liver. Mass in the brain.", ["right", "invented"]),
        ("Right mass in the brain. Left mass in the liver.", "Left mass in the liver.", ["right"]),
        ("Possible mass.", "Mass.", ["wrong_presence"]),
        ("No mass in the right lobe. Mass in the left lobe.", "Mass in the right lobe.", ["wrong_side"]),
    ],
)
def test_an_answer_s_finding_has_one_outcome(gold, answer, outcomes):
    assert list(matched(gold, answer).outcomes) == outcomes


@pytest.mark.parametrize(
    ("gold", "answer", "wanted"),
    [
        ("There is no pleural effusion.", "There is a pleural effusion.", 0),
        ("There is a pleural effusion.", "There is no pleural effusion.", 0),
        ("There is no pleural effusion.", "There is no effusion.", 1),
        ("There is no pleural effusion.", "The chest is normal.", 1),
        ("There is no pleural effusion.", "An axial CT.", 0),
        ("There is no pleural effusion.", "", 0),
        ("Mass and cyst.", "Mass.", 2 / 3),
        ("Left mass.", "Right mass.", 0),
        ("Left mass.", "Left mass. Stone.", 2 / 3),
        ("Mass. A fracture cannot be excluded.", "Mass. Fracture.", 1),
        ("A fracture cannot be excluded.", "Fracture.", 1),
        ("A fracture cannot be excluded.", "Mass.", 0),
        ("Mass.", "Possible mass.", 0),
        ("Masses displacing the uterus anteriorly.", "A mass displaces the uterus.", 1),
    ],
)
def test_finding_f1_by_hand(gold, answer, wanted):
    assert f1(gold, answer) == pytest.approx(wanted)


def test_the_strict_variant_wants_the_place_and_the_same_side_said_or_not():
    strict = strictly(load())
    assert f1("Left renal mass.", "Left mass.") == 1
    assert f1("Left renal mass.", "Left mass.", strict) == 0
    assert f1("Mass.", "Left mass.", strict) == 0
    assert f1("Mass in the frontal lobe.", "Mass in the brain.", strict) == 1
    assert f1("Mass in the frontal lobe.", "Mass in the liver.", strict) == 0


def test_lists_of_a_match_are_what_a_reader_would_list():
    found = matched(
        "Left mass in the kidney. Cyst. Stone. No effusion.", "Right mass. Cyst. Effusion. Fracture. No stone."
    )
    assert [one.entity for one in found.missed] == ["NF:stone"]
    assert [one.entity for one in found.found] == ["NF:mass", "NF:cyst"]
    assert [(gold.side, one.side) for gold, one in found.wrong_side] == [("left", "right")]
    assert [one.entity for one in found.invented] == ["NF:effusion", "NF:fracture"]
    assert counts(found).tp == 1


def test_what_the_gold_text_doubts_is_neither_invented_nor_missed():
    found = matched("A mass. A fracture cannot be excluded.", "A mass. A fracture.")
    assert not found.invented
    assert not found.missed


@given(texts)
def test_the_gold_text_given_as_answer_is_right_if_it_says_anything(text):
    read = extractor().read(text)
    found = counts(match(read, read))
    assert found.known == read.says_anything
    assert found.f1 == float(found.known)
    assert not found.invented
    assert not found.wrong_side
    assert not match(read, read).missed


@given(texts, texts)
def test_counts_agree_with_each_other_and_with_the_lists(gold, answer):
    found = matched(gold, answer)
    counted = counts(found)
    assert 0 <= counted.tp <= min(counted.predicted, counted.actual)
    assert 0 <= counted.f1 <= 1
    if counted.known:
        assert counted.tp + counted.wrong_side + counted.invented == counted.predicted
    assert len(found.found) + len(found.missed) == counted.actual
    pairs = [pair for pair in found.pairs if pair is not None]
    assert len(set(pairs)) == len(pairs)


@given(texts, texts)
def test_similarity_does_not_depend_on_the_order_of_two_answers(first, second):
    one, other = extractor().read(first), extractor().read(second)
    assert similarity(one, other) == similarity(other, one)
    assert similarity(one, one) == 1


def test_a_gold_text_that_the_vocabulary_does_not_know_says_nothing_of_its_answer():
    found = counts(matched("See the figure.", "A mass."))
    assert not found.known
    assert (found.predicted, found.invented) == (0, 0)


def test_findings_of_all_answers_together_and_none():
    cases = [counts(matched("Mass. Cyst.", "Mass.")), counts(matched("No mass.", "Stone."))]
    assert pooled(cases) == (0.5, 0.5, 0.5)
    with pytest.raises(UndefinedMetricError, match="no answer"):
        pooled([counts(matched("No mass.", "No mass."))])
