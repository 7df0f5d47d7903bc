"""CheXagent-2's boxes: what is read, what is empty, what is malformed."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.lib.detect.chexagent.boxes import FAILED, TRUNCATED, Box, parse, write

ONE = Box(30, 41, 36, 47, "nodule/mass")
BARE = Box(30, 41, 36, 47, None)
TWO = Box(60, 10, 64, 15, "left lung mass")
SAID = "<|ref|>nodule/mass<|/ref|><|box|>(30,41),(36,47)<|/box|>"
SECOND = "<|ref|>left lung mass<|/ref|><|box|>(60,10),(64,15)<|/box|>"
NAME = "<|ref|>nodule/mass<|/ref|>"

READ = {
    "the plain format": (SAID, [ONE]),
    "two detections": (SAID + SECOND, [ONE, TWO]),
    "two detections on two lines": (f"{SAID}\n{SECOND}\n", [ONE, TWO]),
    "words around the marks": (f"There is a {SAID} in the right lung.", [ONE]),
    "two boxes under one name": (
        f"{SAID}<|box|>(1,2),(3,4)<|/box|>",
        [ONE, Box(1, 2, 3, 4, "nodule/mass")],
    ),
    "two boxes in one pair of marks": (
        f"{NAME}<|box|>(30,41),(36,47),(1,2),(3,4)<|/box|>",
        [ONE, Box(1, 2, 3, 4, "nodule/mass")],
    ),
    "two boxes with a semicolon between": (
        f"{NAME}<|box|>(30,41),(36,47);(1,2),(3,4)<|/box|>",
        [ONE, Box(1, 2, 3, 4, "nodule/mass")],
    ),
    "blanks everywhere": ("<|ref|> nodule/mass <|/ref|> <|box|> ( 30 , 41 ) , ( 36 , 47 ) <|/box|>", [ONE]),
    "line breaks within": (f"{NAME}\n<|box|>\n(30,41),\n(36,47)\n<|/box|>", [ONE]),
    "points without a comma between": (f"{NAME}<|box|>(30,41)(36,47)<|/box|>", [ONE]),
    "decimals": (f"{NAME}<|box|>(30.0,41.),(36,4.7e)<|/box|>".replace("4.7e", "47.00"), [ONE]),
    "a plus sign": (f"{NAME}<|box|>(+30,41),(36,47)<|/box|>", [ONE]),
    "swapped corners": (f"{NAME}<|box|>(36,47),(30,41)<|/box|>", [ONE]),
    "the other diagonal": (f"{NAME}<|box|>(36,41),(30,47)<|/box|>", [ONE]),
    "no name": ("<|box|>(30,41),(36,47)<|/box|>", [BARE]),
    "an empty name": ("<|ref|><|/ref|><|box|>(30,41),(36,47)<|/box|>", [BARE]),
    "marks in capitals": (SAID.replace("ref", "REF").replace("box", "Box"), [ONE]),
    "the same box again and again": (SAID * 3, [ONE]),
    "coordinates alone": ("(30,41),(36,47)", [BARE]),
    "coordinates alone with a full stop": (" (30,41), (36,47).", [BARE]),
    "a little outside": (f"{NAME}<|box|>(-2,41),(104,47)<|/box|>", [Box(0, 41, 100, 47, "nodule/mass")]),
    "edges that fall together": (f"{NAME}<|box|>(30,41),(30,47)<|/box|>", [Box(29.5, 41, 30.5, 47, "nodule/mass")]),
    "one point twice": (f"{NAME}<|box|>(30,41),(30,41)<|/box|>", [Box(29.5, 40.5, 30.5, 41.5, "nodule/mass")]),
    "edges that fall together on the border": (
        f"{NAME}<|box|>(100,41),(100,47)<|/box|>",
        [Box(99.5, 41, 100, 47, "nodule/mass")],
    ),
    "a box beside an empty one": (f"{SAID}<|ref|>mass<|/ref|><|box|><|/box|>", [ONE]),
    "a name with brackets": (
        "<|ref|>nodule (left)<|/ref|><|box|>(30,41),(36,47)<|/box|>",
        [Box(30, 41, 36, 47, "nodule (left)")],
    ),
    "another special token behind it": (f"{SAID}<|im_end|>", [ONE]),
    "the whole image": (f"{NAME}<|box|>(0,0),(100,100)<|/box|>", [Box(0, 0, 100, 100, "nodule/mass")]),
}
EMPTY = {
    "a name with an empty box": f"{NAME}<|box|><|/box|>",
    "an empty box alone": "<|box|> <|/box|>",
    "none": "none",
    "none in capitals with a full stop": "None.",
    "no detections": "No detections",
    "nothing": " nothing\n",
    "an empty list": "[]",
}
MALFORMED = {
    "no words": ("", []),
    "blanks": (" \n\t", []),
    "prose": ("There is a nodule in the right upper lobe.", []),
    "prose that denies": ("No nodule is visible in either lung.", []),
    "prose around coordinates without marks": ("I see one at (30,41),(36,47) or so", []),
    "a name alone": (NAME, []),
    "a name and words": (f"{NAME} is not present", []),
    "a name that is never closed": ("<|ref|>nodule/mass", []),
    "a name closed twice": ("<|ref|>nodule/mass<|/ref|><|/ref|><|box|>(30,41),(36,47)<|/box|>", [ONE]),
    "a box closed twice": (f"{SAID}<|/box|>", [ONE]),
    "a closing mark alone": ("<|/box|>", []),
    "a name closed as a box": ("<|ref|>nodule/mass<|/box|><|box|>(30,41),(36,47)<|/box|>", [BARE]),
    "a box closed as a name": (f"{NAME}<|box|>(30,41),(36,47)<|/ref|>", []),
    "a box in a name": ("<|ref|>nodule<|box|>(30,41),(36,47)<|/box|>", [BARE]),
    "two names and one box": (f"<|ref|>mass<|/ref|>{SAID}", [ONE]),
    "a name behind the box": (f"{SAID}{NAME}", [ONE]),
    "marks without bars": ("<ref>nodule/mass</ref><box>(30,41),(36,47)</box>", []),
    "marks of another model": ("<bbox>(30,41),(36,47)</bbox>", []),
    "a list in square brackets": (f"{NAME}<|box|>[30, 41, 36, 47]<|/box|>", []),
    "four numbers in one bracket": (f"{NAME}<|box|>(30,41,36,47)<|/box|>", []),
    "numbers without brackets": (f"{NAME}<|box|>30,41,36,47<|/box|>", []),
    "MedGemma's format": ('[{"box_2d": [411, 305, 470, 361], "label": "nodule"}]', []),
    "one point": (f"{NAME}<|box|>(30,41)<|/box|>", []),
    "three points": (f"{NAME}<|box|>(30,41),(36,47),(1,2)<|/box|>", [ONE]),
    "one coordinate missing": (f"{NAME}<|box|>(30,41),(36)<|/box|>", []),
    "one coordinate too many": (f"{NAME}<|box|>(30,41,7),(36,47)<|/box|>", []),
    "words for numbers": (f"{NAME}<|box|>(left,top),(right,bottom)<|/box|>", []),
    "words beside the numbers": (f"{NAME}<|box|>about (30,41),(36,47)<|/box|>", [ONE]),
    "not a number": (f"{NAME}<|box|>(nan,41),(36,47)<|/box|>", []),
    "infinity": (f"{NAME}<|box|>(30,41),(inf,47)<|/box|>", []),
    "a number past every float": (f"{NAME}<|box|>(30,41),({'9' * 400},47)<|/box|>", []),
    "an exponent": (f"{NAME}<|box|>(3e1,41),(36,47)<|/box|>", []),
    "a scale from 0 to 1": (f"{NAME}<|box|>(0.30,0.41),(0.36,0.47)<|/box|>", []),
    "a scale from 0 to 1000": (f"{NAME}<|box|>(300,410),(360,470)<|/box|>", []),
    "one corner far outside": (f"{NAME}<|box|>(30,41),(36,470)<|/box|>", []),
    "far to the left": (f"{NAME}<|box|>(-30,41),(36,47)<|/box|>", []),
    "wholly outside, but little": (f"{NAME}<|box|>(101,41),(104,47)<|/box|>", []),
    "cut within the name": ("<|ref|>nodul", []),
    "cut before the box": (f"{NAME}<|box|>", []),
    "cut within the first point": (f"{NAME}<|box|>(30,4", []),
    "cut within the second point": (f"{NAME}<|box|>(30,41),(3", []),
    "cut before the closing mark": (f"{NAME}<|box|>(30,41),(36,47)", [ONE]),
    "cut within the closing mark": (f"{NAME}<|box|>(30,41),(36,47)<|/bo", [ONE]),
    "cut within the second detection": (f"{SAID}<|ref|>left lung", [ONE]),
    "cut within the second box": (f"{SAID}<|ref|>left lung mass<|/ref|><|box|>(60,1", [ONE]),
    "a question that failed": (f"{FAILED}ValueError: no such image", []),
    "a question that failed with a box in its error": (f"{FAILED}ValueError: {SAID}", []),
    "one box of two unreadable": (f"{SAID}<|ref|>mass<|/ref|><|box|>(60)<|/box|>", [ONE]),
    "a refusal": ("I cannot help with that.", []),
    "a mark that is never finished": ("<|box", []),
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


@pytest.mark.parametrize(("answer", "boxes"), [(SAID, [ONE]), ("none", [])])
def test_an_answer_of_the_greatest_length_is_cut_though_it_looks_whole(answer: str, boxes: list[Box]) -> None:
    parsed = parse(answer + TRUNCATED)
    assert (parsed.status, list(parsed.boxes)) == ("cut", boxes)


def test_there_are_forty_kinds_of_malformed_answers() -> None:
    assert len({answer for answer, _ in MALFORMED.values()}) >= 40


places = st.integers(0, 98)
boxes_ = st.builds(
    lambda x, y, w, h, name: Box(x, y, min(x + w, 100), min(y + h, 100), name.strip() or None),
    places,
    places,
    st.integers(2, 100),
    st.integers(2, 100),
    st.text(st.characters(exclude_characters="<|>", exclude_categories=["Cs", "Z", "C"]), max_size=20),
)


@given(st.lists(boxes_, min_size=1, max_size=5, unique=True))
def test_what_is_written_is_read_again(boxes: list[Box]) -> None:
    parsed = parse(write(boxes))
    assert (parsed.status, list(parsed.boxes)) == ("ok", boxes)


@given(st.lists(boxes_, min_size=1, max_size=3, unique=True), st.integers(0, 250))
def test_a_cut_answer_is_ok_only_if_cut_between_findings_and_its_boxes_are_the_first_ones(
    boxes: list[Box], length: int
) -> None:
    answer = write(boxes)
    whole = {len(write(boxes[:count])) for count in range(1, len(boxes) + 1)}
    parsed = parse(answer[:length])
    assert (parsed.status == "ok") == (min(length, len(answer)) in whole)
    assert list(parsed.boxes) == boxes[: len(parsed.boxes)]
    cut = parse(answer[:length] + TRUNCATED)
    assert (cut.status, cut.boxes) == ("cut", parsed.boxes)


@given(st.text(alphabet="<|/refbox>(),0123456789.- ;\nnoe", max_size=200))
def test_no_text_makes_the_parser_fail_and_every_box_lies_in_the_square(answer: str) -> None:
    parsed = parse(answer)
    assert parsed.status in ("ok", "empty", "malformed")
    assert (parsed.status == "ok") <= bool(parsed.boxes)
    assert all(0 <= box.x0 < box.x1 <= 100 and 0 <= box.y0 < box.y1 <= 100 for box in parsed.boxes)


@pytest.mark.parametrize(
    "bomb", ["(", "<|", "<|box|>", "<|ref|>", "(1,2)", "(1,2) ", "<| ", " ", "(1 ", SAID, "<|box|>(1,2),(3", "9"]
)
def test_a_long_degenerate_answer_takes_no_time(bomb: str) -> None:
    began = time.process_time()
    parse(bomb * 20_000)
    parse(f"{'(1,2) ' * 30}{bomb * 5_000}x")
    assert time.process_time() - began < 4
