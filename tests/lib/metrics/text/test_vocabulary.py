"""Claims about stages.lib.metrics.text.vocabulary and phrases."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.lib.core.closure import closure
from stages.lib.core.errors import VocabularyError
from stages.lib.metrics.text import vocabulary
from stages.lib.metrics.text.extract import extractor
from stages.lib.metrics.text.phrases import Phrases, tokens


def test_the_own_vocabulary_has_a_licence_no_radlex_and_enough_of_each_region():
    own = vocabulary.load()
    assert own.licences == ("Apache-2.0",)
    assert not own.radlex
    assert "RID" not in vocabulary.OWN.read_text()
    assert len(own.entities) >= 120
    for place in ("head", "thorax", "abdomen", "spine", "pelvis"):
        assert sum(own.is_part(one, f"NP:{place}") for one in own.places) >= 4, place


def test_every_term_of_the_own_vocabulary_is_found_as_what_it_is():
    own = vocabulary.load()
    names, parts = own.names(), own.parts()
    for entries, phrases in ((own.entities, names), (own.places, parts), (own.sides, parts)):
        for id_, terms in entries.items():
            for term in terms:
                found = list(phrases.find(tokens(term.replace("*", "large"))))
                assert [one.value.name for one in found] == [id_], term


PLURALS = ["masses", "metastases", "thrombi", "opacities", "hematomas", "hematomata", "diverticula", "bullae"]


@pytest.mark.parametrize("text", PLURALS)
def test_plurals_are_known(text):
    assert [one.value.kind for one in vocabulary.load().names().find(tokens(text))] == ["entity"]


def test_the_longest_phrase_is_found_and_marks_part_words():
    phrases = Phrases({"mass": 1, "mass effect": 2, "pleural effusion": 3})
    assert [one.value for one in phrases.find(tokens("Mass effect. Mass, effect; pleural\neffusion"))] == [2, 1, 3]


def test_a_star_is_any_one_word_and_no_mark():
    phrases = Phrases({"enlarged * node": 1, "enlarged node": 2, "node": 3, "enlarged big node": 4})
    texts = [
        "enlarged pelvic node",
        "enlarged node",
        "enlarged, node",
        "enlarged big node",
        "enlarged * node",
        "* node",
    ]
    assert [[one.value for one in phrases.find(tokens(text))] for text in texts] == [[1], [2], [3], [4], [3], [3]]


@given(st.lists(st.sampled_from(["a", "b", "c", "a b", "b c a", "a b c"]), unique=True), st.text(alphabet="abc ,"))
def test_phrases_never_overlap_and_are_in_the_text(listed, text):
    words = tokens(text)
    last = 0
    for one in Phrases({phrase: phrase for phrase in listed}).find(words):
        assert one.first >= last
        assert " ".join(token.word for token in words[one.first : one.last]) == one.value
        last = one.last


def test_a_user_s_file_adds_terms_places_and_radlex_ids(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(
        "licence: CC0\nentities:\n  NF:mass: [Growth]\n  NF:bezoar: [bezoar]\n"
        "places:\n  NP:antrum: {terms: [antrum], in: NP:stomach}\nradlex:\n  NF:mass: RID0\n"
    )
    read = extractor(str(path)).read("A growth and a bezoar in the left antrum. Tumors.")
    assert [(one.entity, one.side, one.place) for one in read.findings] == [
        ("NF:mass", "left", "NP:antrum"),
        ("NF:bezoar", "left", "NP:antrum"),
    ]
    mine = vocabulary.load(str(path))
    assert mine.radlex == {"NF:mass": "RID0"}
    assert mine.licences == ("Apache-2.0", "CC0")
    assert mine.is_part("NP:antrum", "NP:abdomen")


def test_all_that_is_wrong_with_a_file_is_said_at_once(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(
        "entitys: {}\nentities:\n  mass: [growth]\n  NF:a: growth\n  NF:b: [lesion]\n  NF:c: {terms: [x], of: y}\n"
        "places:\n  NP:p: {terms: [p], in: NP:q}\n  NP:r: {terms: [r], in: NP:r}\n"
        "sides:\n  above: [above]\nradlex:\n  NF:none: RID1\n  NF:mass: 7\n"
    )
    with pytest.raises(VocabularyError) as told:
        vocabulary.load(str(path))
    text = str(told.value)
    for words in ("entitys", "entities.mass", "entities.NF:a", "'lesion'", "NF:c.of", "NP:q", "NP:r: is part", "above"):
        assert words in text
    assert "radlex.NF:none" in text
    assert "radlex.NF:mass" in text


@pytest.mark.parametrize(
    ("written", "words"), [(None, "cannot be read"), (b"\xff", "UTF-8"), (b"a: [", "not YAML"), (b"- a", "mapping")]
)
def test_a_file_that_is_none_is_refused(tmp_path, written, words):
    path = tmp_path / "mine.yaml"
    if written is not None:
        path.write_bytes(written)
    with pytest.raises(VocabularyError, match=words):
        vocabulary.load(str(path))


def test_the_vocabulary_is_an_input_of_what_reads_it():
    assert "stages/lib/metrics/text/vocabulary.yaml" in closure("stages.lib.metrics.text.extract")
