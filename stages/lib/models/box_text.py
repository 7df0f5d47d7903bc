"""Boxes as text, as LoFi's decoder writes them and as MedGemma does: the only place where the chapter lofi does.

Both count 0..1000 of the zero-padded square. LoFi has x first and one list in a fence, `[[x0,y0,x1,y1],...]` without
blanks, boxes by their left edge. MedGemma has y first and an object for each box (`box_2d` has its format).

Here a box is its left, top, right and bottom edge as fractions of the padded square, [0, 1]. Edges of originals are
those of the pixels' grid: 0 is the left (top) border, the width (height) the right (bottom) one.
"""

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from stages.lib.images.geometry import Geometry
from stages.lib.models import box_2d

Box = tuple[float, float, float, float]
Convention = Literal["lofi", "medgemma"]
Rounding = Literal["round", "floor"]  # floor moves every edge to the left and up, by half a unit on the mean
Status = Literal["ok", "empty", "malformed"]
UNITS = box_2d.UNITS
FENCE = re.compile(r"```[a-zA-Z]*\s*(.*?)\s*```", re.DOTALL)
PIXEL_CENTRE = 0.5  # of the pixels' grid, where the points of `Geometry` have their 0


@dataclass(frozen=True)
class Read:
    """What was read of an answer.

    Attributes:
        status: "ok" if there are boxes, "empty" if the answer says that there are none, "malformed" if it cannot be
            read; one box that cannot makes the whole answer malformed, which has no box.
        problem: Why it is malformed; None if it is not.
        boxes: In the order of the answer.
    """

    status: Status
    problem: str | None
    boxes: tuple[Box, ...]


def to_square(box: Sequence[float], width_px: int, height_px: int) -> Box:
    """Box of an original as fractions of its padded square.

    Args:
        box: Left, top, right, bottom edge, pixels of the original.
        width_px: Width of the original.
        height_px: Height of the original.

    >>> to_square((100, 200, 300, 450), 800, 1000)
    (0.2, 0.2, 0.4, 0.45)
    """
    square = Geometry(width_px=width_px, height_px=height_px, side_px=1)
    x0, y0, x1, y1 = (edge - PIXEL_CENTRE for edge in box)
    return (*square.to_unit(x0, y0), *square.to_unit(x1, y1))


def to_original(box: Box, width_px: int, height_px: int) -> Box:
    """Box of the padded square as edges in pixels of the original; one in the padding lies outside of it.

    >>> to_original((0.2, 0.2, 0.4, 0.45), 800, 1000)
    (100.0, 200.0, 300.0, 450.0)
    """
    square = Geometry(width_px=width_px, height_px=height_px, side_px=1)
    corners = (*square.from_unit(box[0], box[1]), *square.from_unit(box[2], box[3]))
    x0, y0, x1, y1 = (edge + PIXEL_CENTRE for edge in corners)
    return x0, y0, x1, y1


def units(box: Box, rounding: Rounding) -> tuple[int, int, int, int]:
    """Box in whole units, cut to the square; one narrower than a unit becomes one unit wide, as no area cannot be read.

    >>> units((0.2, 0.2, 0.4, 0.4509), "round"), units((0.2, 0.2, 0.4, 0.4509), "floor")
    ((200, 200, 400, 451), (200, 200, 400, 450))
    >>> units((0.9999, 0.5, 1.0, 0.5001), "round")
    (999, 500, 1000, 501)
    """
    whole = [min(max(_whole(edge, rounding), 0), UNITS) for edge in box]
    for low, high in ((0, 2), (1, 3)):
        if whole[low] >= whole[high]:
            whole[low] = min(whole[low], UNITS - 1)
            whole[high] = whole[low] + 1
    return whole[0], whole[1], whole[2], whole[3]


def write(boxes: Sequence[Box], convention: Convention, rounding: Rounding, label: str | None = None) -> str:
    """Answer with these boxes, by their left edge (LoFi) or in the order given (MedGemma).

    Args:
        boxes: Fractions of the padded square.
        convention: Whose way of writing.
        rounding: To whole units.
        label: What MedGemma calls the boxes; LoFi writes none.

    >>> write([(0.2, 0.2, 0.4, 0.45)], "medgemma", "round", "opacity")
    '[{"box_2d": [200, 200, 450, 400], "label": "opacity"}]'
    >>> print(write([(0.5, 0.1, 0.6, 0.2), (0.2, 0.2, 0.4, 0.45)], "lofi", "round"))
    ```
    [[200,200,400,450],[500,100,600,200]]
    ```
    """
    if convention == "lofi":
        return f"```\n{listed(boxes, rounding)}\n```"
    whole = [units(box, rounding) for box in boxes]
    return box_2d.write([box_2d.Box(y0, x0, y1, x1, label) for x0, y0, x1, y1 in whole])


def listed(boxes: Sequence[Box], rounding: Rounding) -> str:
    """LoFi's list without its fence, as a prompt that asks for a description has it.

    >>> listed([(0.2, 0.2, 0.4, 0.45)], "round"), listed([], "round")
    ('[[200,200,400,450]]', '[]')
    """
    return json.dumps(sorted(units(box, rounding) for box in boxes), separators=(",", ":"))


def read(answer: str, convention: Convention, *, cut: bool = False) -> Read:
    """Boxes of an answer, or why it cannot be read; never raises.

    Args:
        answer: The generated text.
        convention: Whose way of writing.
        cut: Whether it ended at `max_new_tokens`: it is malformed then, as there may have been more.

    >>> read("```\\n[[200,200,400,450]]\\n```", "lofi").boxes
    ((0.2, 0.2, 0.4, 0.45),)
    >>> read("[[200,200,200,450],[1,2,3,4]]", "lofi")
    Read(status='malformed', problem='a box without area: [200, 200, 200, 450]', boxes=())
    >>> read("[]", "lofi").status
    'empty'
    """
    if cut:
        return _malformed("cut at max_new_tokens")
    return _lofi(answer) if convention == "lofi" else _medgemma(answer)


def _lofi(answer: str) -> Read:
    fenced = FENCE.findall(answer)
    text = (fenced[-1] if fenced else answer).strip()
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return _malformed("no list of boxes")
    if not isinstance(found, list):
        return _malformed("no list of boxes")
    boxes = []
    for one in found:
        if not (isinstance(one, list) and len(one) == 4 and all(_number(edge) for edge in one)):
            return _malformed(f"not four numbers: {json.dumps(one)[:80]}")
        x0, y0, x1, y1 = one
        if min(one) < 0 or max(one) > UNITS:
            return _malformed(f"a box outside of 0..{UNITS}: {one}")
        if x0 >= x1 or y0 >= y1:
            return _malformed(f"a box without area: {one}")
        if max(one) <= 1:
            return _malformed(f"a box that counts from 0 to 1, not to {UNITS}: {one}")
        boxes.append((x0 / UNITS, y0 / UNITS, x1 / UNITS, y1 / UNITS))
    return Read("ok", None, tuple(boxes)) if boxes else Read("empty", None, ())


def _medgemma(answer: str) -> Read:
    found = box_2d.parse(answer)
    if found.status not in ("ok", "empty"):
        return _malformed("no list of boxes, or one of a box that is none")
    boxes = tuple((box.x0 / UNITS, box.y0 / UNITS, box.x1 / UNITS, box.y1 / UNITS) for box in found.boxes)
    return Read("ok" if boxes else "empty", None, boxes)


def _malformed(problem: str) -> Read:
    return Read("malformed", problem, ())


def _number(edge: object) -> bool:
    return isinstance(edge, int | float) and not isinstance(edge, bool) and math.isfinite(edge)


def _whole(edge: float, rounding: Rounding) -> int:
    """Whole units of a fraction; what is a whole number but for the last bits of a quotient is that number."""
    value = round(edge * UNITS, 9)
    return math.floor(value + PIXEL_CENTRE) if rounding == "round" else math.floor(value)
