"""Boxes as CheXagent-2 writes them: the only place that reads or writes such an answer.

The format is `<|ref|>name<|/ref|><|box|>(x1,y1),(x2,y2)<|/box|>`, integers 0..100 per cent of the padded square's side,
x first. One name may have several boxes. There is no confidence.

What becomes of what:

* Read: blanks and line breaks anywhere, decimals, corners in the wrong order (put in order), a coordinate up to 5 per
  cent outside (cut to the square), edges that fall together (half a unit is added on both sides: a unit is 20 px of a
  image of 2,000, as wide as a small nodule), several boxes in one pair of marks, a box without a name, words around the
  marks, the same box again (kept once), coordinates alone without any mark.
* Empty, the model says that there is nothing: a name with an empty box, or a whole answer of "none", "no detections" or
  the like.
* Malformed, with the boxes that could be read: a box that is not two points of two numbers, that lies further outside
  than that or wholly outside, or counts from 0 to 1 (another scale), a mark that is never closed, a name without a box.
* Cut, whatever else it is, with the boxes that could be read: an answer that ended at its greatest length
  (`TRUNCATED`).
* Malformed, without boxes: no words, prose (prose is never interpreted), a query that failed (`FAILED`).
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from stages.lib.detect.detection import Response, boxed
from stages.lib.models.chexagent.client import FAILED, TRUNCATED

UNITS = 100
SLACK = 5  # per cent outside of the square that are still taken for its edge
REF, REF_END, BOX, BOX_END = "<|ref|>", "<|/ref|>", "<|box|>", "<|/box|>"
MARK = re.compile(r"<\|\s{0,2}(/?)(ref|box)\s{0,2}\|>", re.IGNORECASE)
HALF = re.compile(r"<(?:\|\s{0,2}/?\w{0,12}\|?)?\Z")  # a mark that the answer ends in
NUMBER = r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)"
POINT = re.compile(rf"\(\s*({NUMBER})\s*,\s*({NUMBER})\s*\)")
BARE = re.compile(rf"\s*(?:{POINT.pattern}[\s,;.]*)+")
BETWEEN = re.compile(r"[\s,;.]*")
NOTHING = re.compile(r"(?:none|nothing|no|no detections?|not present|no boxes|\[\s*\])", re.IGNORECASE)


@dataclass(frozen=True)
class Box:
    """One detection.

    Attributes:
        x0: Left edge, 0..100 of the padded square.
        y0: Top edge, as x0.
        x1: Right edge, greater than x0.
        y1: Bottom edge, greater than y0.
        name: The model's name of the detection, untouched but for blanks around it; None if it gave none.
    """

    x0: float
    y0: float
    x1: float
    y1: float
    name: str | None


@dataclass(frozen=True)
class Parsed:
    """What the parser made of an answer.

    Attributes:
        status: "ok" if there are boxes and all were read, "empty" if the answer says that there are none, "cut" if it
            ended at its greatest length, "malformed" otherwise.
        boxes: The boxes that could be read, in the order of the answer.
    """

    status: str
    boxes: tuple[Box, ...]


def write(boxes: Sequence[Box]) -> str:
    """Answer with these boxes, edges rounded outwards to whole units.

    >>> write([Box(30.5, 41.1, 36, 47, "nodule/mass")])
    '<|ref|>nodule/mass<|/ref|><|box|>(30,41),(36,47)<|/box|>'
    """
    return "".join(
        f"{REF}{box.name or ''}{REF_END}{BOX}({math.floor(box.x0)},{math.floor(box.y0)}),"
        f"({math.ceil(box.x1)},{math.ceil(box.y1)}){BOX_END}"
        for box in boxes
    )


def parse(answer: str) -> Parsed:
    """Boxes in an answer, and whether it could be read; never raises.

    >>> parse("<|ref|>nodule/mass<|/ref|><|box|>(30,41),(36,47)<|/box|>").boxes
    (Box(x0=30.0, y0=41.0, x1=36.0, y1=47.0, name='nodule/mass'),)
    >>> parse("none").status, parse("There is no nodule.").status
    ('empty', 'malformed')
    """
    text = answer.removesuffix(TRUNCATED)
    if text != answer:
        return Parsed("cut", parse(text).boxes)
    lost = HALF.search(text) is not None
    if text.lstrip().startswith(FAILED):
        return Parsed("malformed", ())
    boxes: list[Box] = []
    nothing = False
    marks = list(MARK.finditer(text))
    if not marks and BARE.fullmatch(text):
        lost |= not _read(text, None, boxes)
    elif not marks:
        nothing = NOTHING.fullmatch(text.strip(" \t\r\n.")) is not None
    else:
        wanted = "ref"  # what may open next: a name, or a box after a name
        name: str | None = None
        opened: re.Match[str] | None = None
        for mark in marks:
            kind = mark[2].lower()
            if not mark[1]:
                lost |= opened is not None or (kind == "ref" and wanted == "box")
                opened = mark
                continue
            if opened is None or opened[2].lower() != kind:
                lost = True
                opened = None
                continue
            inside = text[opened.end() : mark.start()]
            opened = None
            if kind == "ref":
                name, wanted = inside.strip() or None, "box"
                continue
            wanted = "ref"
            if inside.strip():
                lost |= not _read(inside, name, boxes)
            else:
                nothing = True
        if opened is not None:
            lost = True
            if opened[2].lower() == "box":
                _read(text[opened.end() :], name, boxes)
        lost |= wanted == "box"
    if lost or not (boxes or nothing):
        return Parsed("malformed", tuple(boxes))
    return Parsed("ok" if boxes else "empty", tuple(boxes))


def read(words: str) -> Response:
    """An answer in CheXagent-2's format as detections; the point is the centre of the box.

    >>> read("<|ref|>nodule/mass<|/ref|><|box|>(30,40),(35,50)<|/box|>").detections
    (Detection(u=0.325, v=0.45, box=(0.3, 0.4, 0.35, 0.5), confidence=None, phrase='nodule/mass'),)
    """
    parsed = parse(words)
    detections = tuple(boxed((box.x0, box.y0, box.x1, box.y1), UNITS, box.name) for box in parsed.boxes)
    return Response(words, parsed.status, detections)


def _read(text: str, name: str | None, boxes: list[Box]) -> bool:
    """Add the boxes in the text between two marks; return whether that was all that the text holds."""
    points = list(POINT.finditer(text))
    whole = bool(points) and len(points) % 2 == 0 and all(BETWEEN.fullmatch(rest) for rest in _rests(text, points))
    for first, second in zip(points[0::2], points[1::2], strict=False):
        box = _box(first, second, name)
        whole &= box is not None
        if box is not None and box not in boxes:
            boxes.append(box)
    return whole


def _rests(text: str, points: Sequence[re.Match[str]]) -> list[str]:
    edges = [0, *(edge for point in points for edge in point.span()), len(text)]
    return [text[begin:end] for begin, end in zip(edges[0::2], edges[1::2], strict=True)]


def _box(first: re.Match[str], second: re.Match[str], name: str | None) -> Box | None:
    numbers = [float(number) for point in (first, second) for number in point.groups()]
    if min(numbers) < -SLACK or max(numbers) > UNITS + SLACK or max(numbers) <= 1:
        return None
    left, right = _edges(numbers[0], numbers[2])
    top, bottom = _edges(numbers[1], numbers[3])
    return Box(left, top, right, bottom, name) if left < right and top < bottom else None


def _edges(one: float, other: float) -> tuple[float, float]:
    if one == other:
        one, other = one - 0.5, other + 0.5
    return max(min(one, other), 0.0), min(max(one, other), float(UNITS))
