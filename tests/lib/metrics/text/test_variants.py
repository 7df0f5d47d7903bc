"""Claims about stages.lib.metrics.text.variants."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.lib.metrics.text import variants
from stages.lib.metrics.text.extract import Extractor

READER = Extractor()
ENTITIES = st.sampled_from(["mass", "cyst", "calcification", "collection", "effusion", "fracture"])
SIDES = st.sampled_from(["left", "right"])
SENTENCES = st.builds("There is a {} in the {} {}.".format, ENTITIES, SIDES, st.sampled_from(["abdomen", "thorax"]))
TEXTS = st.lists(SENTENCES, min_size=1, max_size=3).map(" ".join)


def facts(text: str) -> list[tuple[str, str, str | None, str | None]]:
    return [(one.entity, one.presence, one.side, one.place) for one in READER.read(text).findings]


@settings(deadline=None)
@given(TEXTS)
def test_swapping_changes_every_side_and_nothing_else_and_twice_is_as_before(text):
    other = variants.swapped(text, READER)
    if other is None:
        assert {side for _, _, side, _ in facts(text)} <= {"both", None}
        return
    change = {"left": "right", "right": "left"}
    assert [(a, b, change.get(c, c), d) for a, b, c, d in facts(text)] == facts(other)
    assert variants.swapped(other, READER) == text


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("LEFT mass. Left cyst.", "RIGHT mass. Right cyst."),
        ("Left-sided mass.", "Right-sided mass."),
        ("A mass shifts the trachea rightward from the left lung.", None),
        ("There is a mass.", None),
        ("No mass on the left.", None),
        ("", None),
    ],
)
def test_only_a_side_of_a_finding_that_is_present_can_be_swapped(text, made):
    found = variants.swapped(text, READER)
    assert found == made or (made is None and (found is None or "right lung" in found))


@settings(deadline=None)
@given(TEXTS)
def test_the_twin_denies_all_that_is_present(text):
    twin = variants.negated(text, READER)
    assert {one.entity for one in READER.read(twin).findings} == {one.entity for one in READER.read(text).findings}
    assert not READER.read(twin).present


def test_the_twin_of_a_normal_text_names_something_and_of_nothing_there_is_none():
    assert [one.presence for one in READER.read(variants.negated("No mass or cyst.", READER)).findings] == ["present"]
    assert variants.negated("The patient was seen.", READER) is None
    assert variants.negated("Effusion: none.", READER) == "There is an effusion."


@settings(deadline=None)
@given(TEXTS | st.sampled_from(["No mass, cyst or collection.", "Normal study."]), st.sampled_from([1.0, 3.0]))
def test_padding_adds_words_and_no_finding(text, factor):
    made = variants.padded(text, factor, 70)
    assert len(made.split()) >= max(70, factor * len(text.split()))
    assert made.startswith(text)
    assert (facts(made), READER.read(made).says_normal) == (facts(text), READER.read(text).says_normal)


def test_padding_ends_with_the_sentence_that_makes_enough_words():
    assert variants.padded("a b c", 1.0, 3) == "a b c"
    first, second = variants.FILLER[:2]
    enough = 3 + len(first.split()) + len(second.split())
    assert variants.padded("a b c", 1.0, enough) == f"a b c {first} {second}"
    assert variants.padded("a b c", 1.0, enough + 1) == f"a b c {first} {second} {variants.FILLER[2]}"
    every = " ".join(variants.FILLER)
    assert variants.padded("a b c", 1.0, 4 + len(every.split())) == f"a b c {every} {first}"


def test_neither_filler_nor_instruction_is_read_as_a_finding():
    for sentence in (*variants.FILLER, variants.INSTRUCTION):
        read = READER.read(sentence)
        assert not read.findings
        assert not read.says_normal


def test_an_unlike_text_shares_no_finding():
    read = [READER.read(text) for text in ("There is a mass.", "No mass.", "There is a cyst.", "There is a left mass.")]
    assert variants.unlike(read[0], read[1:]) == 0
    assert variants.unlike(read[0], [read[0], read[3]]) is None
    assert variants.unlike(read[1], [read[1], read[2]]) == 1
