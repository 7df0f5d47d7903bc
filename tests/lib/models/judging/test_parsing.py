"""Claims about stages.lib.models.judging.parsing."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.lib.core.errors import VerdictError
from stages.lib.models.judging import parsing
from stages.lib.models.verdict import Verdict

GOOD = {
    "rationale": "The mass is named.",
    "rating": "good",
    "primary_found": True,
    "present": ["mass"],
    "missed": [],
    "invented": [],
    "wrong_side": [],
}
TEXT = json.dumps(GOOD)
POOR = json.dumps({**GOOD, "rating": "poor", "primary_found": False})

WORDS = st.text(min_size=1).filter(lambda text: text.strip())
LISTS = st.lists(WORDS, max_size=3).map(lambda texts: tuple(text.strip() for text in texts))
GRADES = st.sampled_from([("good", True), ("partial", True), ("partial", False), ("poor", False)])
VERDICTS = st.builds(
    lambda grade, reason, lists: Verdict(
        rating=grade[0],
        primary_found=grade[1],
        rationale=reason.strip(),
        **dict(zip(parsing.LISTS, lists, strict=True)),
    ),
    GRADES,
    WORDS,
    st.tuples(LISTS, LISTS, LISTS, LISTS),
)


def as_json(one: Verdict) -> str:
    return json.dumps({key: getattr(one, key) for key in GOOD})


@settings(deadline=None)
@given(VERDICTS, st.booleans())
def test_what_is_written_is_read_back(one, ascii_only):
    text = json.dumps(json.loads(as_json(one)), ensure_ascii=ascii_only, indent=2)
    assert parsing.verdict(text) == one


@settings(deadline=None)
@given(VERDICTS, VERDICTS, st.text(st.characters(exclude_characters="{}")))
def test_the_last_complete_object_counts_whatever_stands_around(first, last, before):
    text = f"{before}\n{as_json(first)}\nNo, rather:\n```json\n{as_json(last)}\n```\n"
    assert parsing.verdict(text) == last
    assert parsing.verdict(text + '{"rationale": "cut of') == last


@settings(deadline=None)
@given(st.text())
def test_any_text_gives_a_verdict_or_a_sentence(text):
    try:
        assert parsing.verdict(text).rating
    except VerdictError as error:
        assert str(error)


@settings(deadline=None)
@given(st.text(st.sampled_from('{}[]",:\\ a\n'), max_size=300))
def test_texts_of_brackets_and_quotes_do_no_harm(text):
    found = parsing.last_object(text)
    assert found is None or isinstance(found, dict)


@pytest.mark.parametrize(
    "text",
    [
        f"```json\n{TEXT}\n```",
        f"Here is my verdict: {TEXT} I hope that it helps {{not much}}.",
        TEXT.replace('"wrong_side": []', '"wrong_side": [],'),
        TEXT.replace('["mass"]', '["mass",]'),
        TEXT.replace('"missed": []', '"missed": NaN'),
        TEXT.replace('"missed": []', '"missed": null'),
        TEXT.replace('"missed": []', '"missed": "None"'),
        TEXT.replace('"good"', '"GOOD"'),
        TEXT.replace('"good"', '" Good. "'),
        TEXT.replace('"rating"', '"Rating"').replace('"primary_found"', '"primaryFound"'),
        TEXT.replace('"rating"', '"RATING"').replace('"primary_found"', '"PRIMARY FOUND"'),
        TEXT.replace("true", '"Yes"'),
        f"{POOR}\n{TEXT}",
        f"<think>perhaps {POOR}</think>{TEXT}",
        TEXT.replace("is named", "is\nnamed"),
    ],
)
def test_forms_that_models_write_are_read(text):
    found = parsing.verdict(text)
    assert (found.rating, found.primary_found, found.present, found.missed) == ("good", True, ("mass",), ())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no text"),
        ("Good.", "no complete JSON object"),
        (TEXT[:-2], "no complete JSON object"),
        ("[1, 2]", "no complete JSON object"),
        ('{"rating": "good"}', "no rationale, primary_found"),
        (TEXT.replace('"good"', '"excellent"'), "rating is none of"),
        (TEXT.replace('"good"', "NaN"), "rating is none of"),
        (TEXT.replace('"good"', '"good or partial"'), "rating is none of"),
        (TEXT.replace("true", "null"), "neither true nor false"),
        (TEXT.replace("true", "1"), "neither true nor false"),
        (TEXT.replace('["mass"]', '[{"finding": "mass"}]'), "present is no list of texts"),
        (TEXT.replace('"The mass is named."', '""'), "rationale is no text"),
        (TEXT.replace("true", "false"), "rating good, but the primary finding is not found"),
        (TEXT.replace('"good"', '"poor"'), "rating poor, but the primary finding is found"),
        (f'{TEXT} {{"done": true}}', "no rationale, rating"),
    ],
)
def test_what_is_no_verdict_is_refused_in_words(text, said):
    with pytest.raises(VerdictError, match=said):
        parsing.verdict(text)


def test_thousands_of_open_brackets_are_refused():
    with pytest.raises(VerdictError):
        parsing.verdict('{"a":' * 3_000)


def test_commas_are_looked_for_behind_so_many_brackets_and_no_more():
    loose = TEXT.replace('"wrong_side": []', '"wrong_side": [],')
    broken = '{"a" '
    assert parsing.verdict(broken * (parsing.MAX_MENDED - 1) + loose).rating == "good"
    with pytest.raises(VerdictError):
        parsing.verdict(broken * parsing.MAX_MENDED + loose)
    assert parsing.verdict(broken * parsing.MAX_MENDED + TEXT).rating == "good"
