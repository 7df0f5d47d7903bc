"""MedGemma's boxes: what is read, what is empty, what is malformed."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.lib.models.box_2d import Box, parse, write

ONE = Box(411, 305, 470, 361, "nodule")
BARE = Box(411, 305, 470, 361, None)
TWO = Box(100, 600, 150, 640, "left lung mass")
OBJECT = '{"box_2d": [411, 305, 470, 361], "label": "nodule"}'
SECOND = '{"box_2d": [100, 600, 150, 640], "label": "left lung mass"}'

VENDOR = """The lungs are well inflated. A rounded opacity projects over the right upper zone, near [411, 305].

Candidates:
```json
[{{"box_2d": [100, 600, 150, 640], "label": "left lung mass"}}, {{"box_2d": [20,
```
The first is the end of a rib, so it is left out.

Final Answer: {answer}
"""  # reasoning with pieces of JSON, then the answer

READ = {
    "a plain list": (f"[{OBJECT}]", [ONE]),
    "two detections": (f"[{OBJECT}, {SECOND}]", [ONE, TWO]),
    "one object without a list": (OBJECT, [ONE]),
    "objects in a row without a list": (f"{OBJECT}\n{SECOND}", [ONE, TWO]),
    "after reasoning": (f"The right lung shows an opacity [1].\n\nFinal Response: [{OBJECT}]", [ONE]),
    "final answer in bold": (f"**Final Response:**\n[{OBJECT}]", [ONE]),
    "the last of two final answers": (f"Final answer: [{SECOND}] No: final answer: [{OBJECT}]", [ONE]),
    "in a fence": (f"```json\n[{OBJECT}]\n```", [ONE]),
    "in a fence without a language": (f"```\n[{OBJECT}]\n```", [ONE]),
    "in a fence that is never closed": (f"```json\n[{OBJECT}]", [ONE]),
    "the last of two fences": (f"```json\n[{SECOND}]\n``` or rather ```json\n[{OBJECT}]\n```", [ONE]),
    "after a thought": (f"<unused94>thought [{SECOND}]<unused95>[{OBJECT}]", [ONE]),
    "words after the list": (f"[{OBJECT}]\nThis is not a diagnosis.", [ONE]),
    "final answer said after the list": (f"[{OBJECT}] is my final answer.", [ONE]),
    "trailing commas": ('[{"box_2d": [411, 305, 470, 361,], "label": "nodule",},]', [ONE]),
    "single quotes": ("[{'box_2d': [411, 305, 470, 361], 'label': 'nodule'}]", [ONE]),
    "label first": ('[{"label": "nodule", "box_2d": [411, 305, 470, 361]}]', [ONE]),
    "labels first, twice": (
        '[{"label": "nodule", "box_2d": [411, 305, 470, 361]}, '
        '{"label": "left lung mass", "box_2d": [100, 600, 150, 640]}]',
        [ONE, TWO],
    ),
    "no label": ('[{"box_2d": [411, 305, 470, 361]}]', [BARE]),
    "a label that is null": ('[{"box_2d": [411, 305, 470, 361], "label": null}]', [BARE]),
    "a label only on the second": (
        f'[{{"box_2d": [411, 305, 470, 361]}}, {SECOND}]',
        [BARE, TWO],
    ),
    "swapped corners": ('[{"box_2d": [470, 361, 411, 305], "label": "nodule"}]', [ONE]),
    "numbers as strings": ('[{"box_2d": ["411", "305", "470", "361"], "label": "nodule"}]', [ONE]),
    "the list as a string": ('[{"box_2d": "[411, 305, 470, 361]", "label": "nodule"}]', [ONE]),
    "fractions of a unit": ('[{"box_2d": [411.0, 305.0, 470.0, 3.61e2], "label": "nodule"}]', [ONE]),
    "a list in a list": (f"[[{OBJECT}]]", [ONE]),
    "a box in a list": ('[{"box_2d": [[411, 305, 470, 361]], "label": "nodule"}]', [ONE]),
    "two boxes under one label": (
        '[{"box_2d": [[411, 305, 470, 361], [1, 2, 3, 4]], "label": "nodule"}]',
        [ONE, Box(1, 2, 3, 4, "nodule")],
    ),
    "the same box again and again": (f"[{OBJECT}, {OBJECT}, {OBJECT}]", [ONE]),
    "a bare list of numbers": ("Final Answer: [411, 305, 470, 361]", [BARE]),
    "outside of the square": (
        '[{"box_2d": [-20, 305, 470, 1361], "label": "nodule"}]',
        [Box(0, 305, 470, 1000, "nodule")],
    ),
    "over several lines": (
        '[\n  {\n    "box_2d": [\n      411,\n      305,\n      470,\n      361\n    ],\n    "label": "nodule"\n  }\n]',
        [ONE],
    ),
    "a key in capitals": ('[{"BOX_2D": [411, 305, 470, 361], "Label": "nodule"}]', [ONE]),
    "an escaped quote in the label": (
        '[{"box_2d": [411, 305, 470, 361], "label": "so-called \\"nodule\\""}]',
        [Box(411, 305, 470, 361, 'so-called "nodule"')],
    ),
    "an escape that JSON does not know": (
        '[{"box_2d": [411, 305, 470, 361], "label": "a\\_b"}]',
        [Box(411, 305, 470, 361, "a\\_b")],
    ),
    "a final response after a candidate": (f"Perhaps {SECOND}, but no. Final Response: {OBJECT}", [ONE]),
    "the vendor's form": (VENDOR.format(answer=f"```json\n[{OBJECT}]\n```"), [ONE]),
    "a final answer that is called so again": (
        f"Perhaps [{SECOND}]. Final Answer: [{OBJECT}] is my final answer.",
        [ONE],
    ),
    "a heading": (f"[{SECOND}] is a rib.\n#### Final Answer\n[{OBJECT}]", [ONE]),
    "a label that begins with an apostrophe": (
        '[{"box_2d": [411, 305, 470, 361], "label": "\'so-called\' \\"nodule\\""}]',
        [Box(411, 305, 470, 361, "'so-called' \"nodule\"")],
    ),
    "one object without its braces": ('"label": "nodule", "box_2d": [411, 305, 470, 361]', [ONE]),
    "a box of two units": ('[{"box_2d": [0, 0, 2, 2]}]', [Box(0, 0, 2, 2, None)]),
    "one real box beside an empty one": (f'[{OBJECT}, {{"box_2d": [], "label": "none"}}]', [ONE]),
}
EMPTY = {
    "an empty list": "[]",
    "an empty list with a space": "[ ]",
    "an empty list in the vendor's form": VENDOR.format(answer="[]"),
    "an empty list in a fence": "```json\n[]\n```",
    "an empty list after reasoning": "Both lungs are clear. Final Answer: []",
    "an empty list before words": "[] No nodule is visible.",
    "an object with an empty box": '[{"box_2d": [], "label": "no nodule"}]',
    "an object with a null box": '[{"box_2d": null, "label": "no nodule"}]',
    "a list of an empty list": "[[]]",
    "an empty list right behind the words": f"Perhaps [{OBJECT}]. Final answer[]",
}
MALFORMED = {
    "no words": ("", []),
    "blanks": (" \n\t", []),
    "prose": ("There is a nodule in the right upper lobe.", []),
    "prose that denies": ("No nodule is visible.", []),
    "a refusal with a bracket": ("I cannot answer [policy].", []),
    "an object without a box": ('[{"label": "nodule"}]', []),
    "an empty object": ("[{}]", []),
    "null": ("null", []),
    "a thought that never ends": (f"<unused94>thought: maybe [{OBJECT}]", []),
    "another key": ('[{"bbox": [411, 305, 470, 361], "label": "nodule"}]', []),
    "a key that merely ends alike": ('[{"my_box_2d": [411, 305, 470, 361], "label": "nodule"}]', []),
    "three numbers": ('[{"box_2d": [411, 305, 470], "label": "nodule"}]', []),
    "five numbers": ('[{"box_2d": [411, 305, 470, 361, 7], "label": "nodule"}]', []),
    "not a number": ('[{"box_2d": [NaN, 305, 470, 361], "label": "nodule"}]', []),
    "infinity": ('[{"box_2d": [411, 305, Infinity, 361], "label": "nodule"}]', []),
    "a number past every float": ('[{"box_2d": [411, 305, 1e999, 361], "label": "nodule"}]', []),
    "words for numbers": ('[{"box_2d": [top, left, bottom, right], "label": "nodule"}]', []),
    "an object for a list": ('[{"box_2d": {"y0": 411, "x0": 305}, "label": "nodule"}]', []),
    "a scale from 0 to 1": ('[{"box_2d": [0.411, 0.305, 0.470, 0.361], "label": "nodule"}]', []),
    "the whole square from 0 to 1": ('[{"box_2d": [0, 0, 1, 1], "label": "nodule"}]', []),
    "a bare list with a bracket too many": ("[[411, 305, 470, 361]", [BARE]),
    "no area": ('[{"box_2d": [411, 305, 411, 361], "label": "nodule"}]', []),
    "wholly outside": ('[{"box_2d": [1100, 305, 1200, 361], "label": "nodule"}]', []),
    "cut within the numbers": ('[{"box_2d": [411, 305, 470, 36', []),
    "cut within the label": ('[{"box_2d": [411, 305, 470, 361], "label": "nod', [BARE]),
    "cut within the second": (f'[{OBJECT}, {{"box_2d": [100, 6', [ONE]),
    "cut before the second key": (f'[{OBJECT}, {{"bo', [ONE]),
    "cut before the end of the list": (f"[{OBJECT}", [ONE]),
    "one box of two unreadable": (f'[{OBJECT}, {{"box_2d": [1, 2], "label": "nodule"}}]', [ONE]),
    "only an opening bracket": ("[", []),
    "a bare list cut short": ("[411, 305, 470", []),
    "a bare number": ("411", []),
    "a bare list of three": ("[411, 305, 470]", []),
    "prose around a bare list": ("I see one at [411, 305, 470, 361] or so", []),
    "another model's format": ("<|ref|>nodule<|/ref|><|box|>(30,41),(36,47)<|/box|>", []),
    "a thought alone": ("<unused94>thought: both lungs are clear<unused95>", []),
    "a final answer without an answer": ("The lungs are clear. Final Answer:", []),
    "the two corners as lists": ('[{"box_2d": [[411, 305], [470, 361]], "label": "nodule"}]', []),
    "numbers without commas": ('[{"box_2d": [411 305 470 361], "label": "nodule"}]', []),
    "numbers with units": ('[{"box_2d": [411px, 305px, 470px, 361px], "label": "nodule"}]', []),
    "a key without a value": ('[{"box_2d": , "label": "nodule"}]', []),
    "a key with a number": ('[{"box_2d": 411, "label": "nodule"}]', []),
    "wholly to the left": ('[{"box_2d": [411, -90, 470, -20], "label": "nodule"}]', []),
    "an empty fence": ("```json\n```", []),
    "a final answer in prose after a candidate": (VENDOR.format(answer="there is no nodule."), []),
    "a final answer without an answer after a candidate": (f"Perhaps [{OBJECT}]. Final Answer:", []),
}


CUT = {
    "no box within the thought": (f"<unused94>thought: maybe [{OBJECT}]", []),
    "no box within the reasoning": (VENDOR.split("Final", maxsplit=1)[0], []),
    "no box within reasoning that speaks of the final answer": (f"My final answer will be near [{OBJECT}]", []),
    "the boxes of a list that has just begun": (f'[{OBJECT}, {{"box_2d": [1', [ONE]),
    "the boxes of a fence that has just begun": (f"```json\n[{OBJECT},", [ONE]),
    "the boxes behind the thought": (f"<unused94>[{SECOND}]<unused95>[{OBJECT},", [ONE]),
    "the boxes of the answer": (VENDOR.format(answer=f"[{OBJECT}, {{"), [ONE]),
    "the boxes of a whole answer": (VENDOR.format(answer=f"[{OBJECT}]"), [ONE]),
    "no box in an empty answer": (VENDOR.format(answer="[]"), []),
}


@pytest.mark.parametrize("kind", READ)
def test_boxes_are_read_from(kind: str) -> None:
    answer, boxes = READ[kind]
    parsed = parse(answer)
    assert (parsed.status, list(parsed.boxes)) == ("ok", boxes)


@pytest.mark.parametrize("kind", EMPTY)
def test_nothing_found_is_what_is_said_by(kind: str) -> None:
    parsed = parse(EMPTY[kind])
    assert (parsed.status, parsed.boxes) == ("empty", ())


@pytest.mark.parametrize("kind", MALFORMED)
def test_malformed_is(kind: str) -> None:
    answer, boxes = MALFORMED[kind]
    parsed = parse(answer)
    assert (parsed.status, list(parsed.boxes)) == ("malformed", boxes)


@pytest.mark.parametrize("kind", CUT)
def test_a_response_that_ended_at_the_greatest_length_is_cut_with(kind: str) -> None:
    answer, boxes = CUT[kind]
    parsed = parse(answer, cut=True)
    assert (parsed.status, list(parsed.boxes)) == ("cut", boxes)


def test_there_are_forty_kinds_of_malformed_answers() -> None:
    assert len({answer for answer, _ in MALFORMED.values()}) >= 40


units = st.integers(0, 990)
boxes_ = st.builds(
    lambda y, x, h, w, label: Box(y, x, min(y + h, 1000), min(x + w, 1000), label),
    units,
    units,
    st.integers(2, 1000),
    st.integers(2, 1000),
    st.one_of(st.none(), st.text(st.characters(exclude_characters="{}", exclude_categories=["Cs"]), max_size=20)),
)


@given(st.lists(boxes_, max_size=5, unique=True))
def test_what_is_written_is_read_again(boxes: list[Box]) -> None:
    parsed = parse(write(boxes))
    assert (parsed.status, list(parsed.boxes)) == ("ok" if boxes else "empty", boxes)


@given(st.lists(boxes_, max_size=3, unique=True), st.integers(0, 400))
def test_a_cut_answer_is_never_ok_unless_whole_and_its_boxes_are_the_first_ones(boxes: list[Box], length: int) -> None:
    answer = write(boxes)
    parsed = parse(answer[:length])
    if length < len(answer):
        assert parsed.status == "malformed"
        found = [(box.y0, box.x0, box.y1, box.x1) for box in parsed.boxes]
        assert found == [(box.y0, box.x0, box.y1, box.x1) for box in boxes][: len(found)]


@given(st.text(alphabet='[]{}",:0123456789.-eE \nbox_2dlabelNaN`', max_size=200))
def test_no_text_makes_the_parser_fail_and_every_box_lies_in_the_square(answer: str) -> None:
    parsed = parse(answer)
    assert parsed.status in ("ok", "empty", "malformed")
    assert (parsed.status == "ok") <= bool(parsed.boxes)
    assert all(0 <= box.y0 < box.y1 <= 1000 and 0 <= box.x0 < box.x1 <= 1000 for box in parsed.boxes)


@pytest.mark.parametrize("bomb", ["[", "{", '{"box_2d": [', "```", '"label": "', "final answer", "[]", '[{"box_2d":[['])
def test_a_long_degenerate_answer_takes_no_time(bomb: str) -> None:
    began = time.process_time()
    parse(bomb * 20_000)
    assert time.process_time() - began < 2
