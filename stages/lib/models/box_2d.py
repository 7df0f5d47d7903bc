"""Boxes as MedGemma writes them: the only place that reads or writes such an answer.

The format is a JSON list of `{"box_2d": [y0, x0, y1, x1], "label": "..."}`, integers 0..1000 of the zero-padded square,
y first. The answer often comes after a thought, after reasoning and "Final Answer:" or "Final Response:", in a code
fence, and is not always JSON. What stands behind "Final Answer:" is the answer, whatever the reasoning before it holds.

What becomes of what:

* Read: one object instead of a list, objects in a row without a list, lists in lists, several boxes under one key,
  numbers as strings, fractions of a unit, single quotes, trailing commas, no label, a bare list of four numbers,
  corners in the wrong order (put in order), a box that reaches outside (cut to the square), the same box again (kept
  once).
* Empty, the model says that there is nothing: an empty list, or objects whose box is empty or null.
* Malformed, with the boxes that could be read: any box that is not four finite numbers, that has no area in the square,
  or that counts from 0 to 1 instead of 1000; a list or object that is never closed.
* Malformed, without boxes: no answer, prose without a list (prose is never interpreted), also behind "Final Answer:",
  a thought that never ends, keys such as "bbox" (the order of its numbers is not known), an empty object.
* Cut, whatever else it is: a response that ended at `max_new_tokens`, so that there may have been more. The boxes that
  could be read are kept. In one cut in its reasoning, words before any list and no "Final Answer" yet, there are none:
  a list there was a thought, not the answer.
"""

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

UNITS = 1000
THOUGHT_BEGINS, THOUGHT_ENDS = "<unused94>", "<unused95>"  # MedGemma 1.5 wraps a thought in these
FINAL = re.compile(r"final\s+(?:answer|response)(?P<colon>[\s*_]{0,8}:)?", re.IGNORECASE)
BEGINS = re.compile(r"[\s*_]{0,8}(?:```[a-zA-Z]*\s{0,8})?[\[{]")  # a list or object, without words before it
FENCE = re.compile(r"```(?:[a-zA-Z]*\n)?(.*?)(?:```|\Z)", re.DOTALL)
KEY = re.compile(r"""["']?\bbox_2d["']?\s*:\s*""", re.IGNORECASE)
VALUE = re.compile(r"""["']?(\[(?:[^\[\]{}]|\[[^\[\]{}]*\])*\]|null\b|None\b)""")  # a list, or a list of lists
LABEL = re.compile(r"""["']label["']\s*:\s*("(?:[^"\\\n]|\\.)*"|'[^'\n]*')""", re.IGNORECASE)
INNERMOST = re.compile(r"\[([^\[\]]*)\]")
BARE = re.compile(r"""[\s\d.,+\-\[\]"']*""")
NOTHING = re.compile(r"\[\s*\]")


@dataclass(frozen=True)
class Box:
    """One detection.

    Attributes:
        y0: Top edge, 0..1000 of the padded square.
        x0: Left edge, as y0.
        y1: Bottom edge, greater than y0.
        x1: Right edge, greater than x0.
        label: The model's name of the detection, untouched; None if it gave none.
    """

    y0: float
    x0: float
    y1: float
    x1: float
    label: str | None


@dataclass(frozen=True)
class Parsed:
    """What the parser made of an answer.

    Attributes:
        status: "ok" if there are boxes and all were read, "empty" if the answer says that there are none, "cut" if the
            response ended at `max_new_tokens`, "malformed" otherwise.
        boxes: The boxes that could be read, in the order of the answer.
    """

    status: str
    boxes: tuple[Box, ...]


def write(boxes: Sequence[Box]) -> str:
    """Answer with these boxes, edges rounded outwards to whole units.

    >>> write([Box(411.6, 305, 470, 361, "nodule")])
    '[{"box_2d": [411, 305, 470, 361], "label": "nodule"}]'
    >>> write([])
    '[]'
    """
    return json.dumps(
        [
            {
                "box_2d": [math.floor(box.y0), math.floor(box.x0), math.ceil(box.y1), math.ceil(box.x1)],
                "label": box.label,
            }
            for box in boxes
        ]
    )


def parse(answer: str, *, cut: bool = False) -> Parsed:
    """Boxes in an answer, and whether it could be read; never raises.

    Args:
        answer: The generated text.
        cut: Whether it ended at `max_new_tokens`.

    >>> parse('Final Response: [{"box_2d": [411, 305, 470, 361], "label": "nodule"}]').boxes
    (Box(y0=411.0, x0=305.0, y1=470.0, x1=361.0, label='nodule'),)
    >>> parse("[]").status, parse("There is no nodule.").status
    ('empty', 'malformed')
    >>> parse('[{"box_2d": [411, 305, 470, 361], "label": "nod', cut=True).status
    'cut'
    """
    if cut:
        said = answer.rsplit(THOUGHT_ENDS, 1)[-1]
        places = [0, *(mark.end() for mark in FINAL.finditer(said) if not mark["colon"])]
        announced = any(mark["colon"] for mark in FINAL.finditer(said)) or any(BEGINS.match(said, at) for at in places)
        return Parsed("cut", parse(answer).boxes if announced else ())
    text = final_part(answer)
    keys = list(KEY.finditer(text))
    if not keys and not BARE.fullmatch(text):
        return Parsed("empty" if NOTHING.search(text) and balanced(text) else "malformed", ())
    boxes: list[Box] = []
    lost = not balanced(text)
    nothing = False
    groups: list[tuple[str, str | None]] = []
    if not keys:
        groups = [(group, None) for group in INNERMOST.findall(text)]
        lost |= not groups
    else:
        ends = [key.start() for key in keys[1:]] + [len(text)]
        begins = [0, *(key.end() for key in keys[:-1])]
        for begin, key, end in zip(begins, keys, ends, strict=True):
            value = VALUE.match(text, key.end(), end)
            if value is None:
                lost = True
                continue
            label = label_of(text, max(begin, text.rfind("{", begin, key.start())), key.end(), end)
            groups += [(group, label) for group in INNERMOST.findall(value[1]) or [""]]
    for group, label in groups:
        if not group.strip():
            nothing = True
            continue
        box = read(group, label)
        lost |= box is None
        if box is not None and box not in boxes:
            boxes.append(box)
    if lost or not (boxes or nothing):
        return Parsed("malformed", tuple(boxes))
    return Parsed("ok" if boxes else "empty", tuple(boxes))


def final_part(answer: str) -> str:
    """Part of an answer that states the result: after the thought, after "Final Answer", in the last fence.

    >>> final_part('I see [one]. Final Response: ```json\\n[]\\n```')
    '[]'
    >>> final_part('Perhaps [one]. Final Answer: there is none.')
    'there is none'
    """
    text = answer.rsplit(THOUGHT_ENDS, 1)[-1]
    if THOUGHT_BEGINS in text:
        return ""
    # With a colon it announces the answer; without one it may be said of a list that stands before it.
    last = max(text.rfind("["), text.rfind("{"))
    marks = [mark for mark in FINAL.finditer(text) if mark["colon"] or mark.end() <= last]
    announced = [mark for mark in marks if mark["colon"]]
    if marks:
        text = text[(announced or marks)[-1].end() :]
    fenced = [block for block in FENCE.findall(text) if re.search(r"[\[{]", block)]
    text = fenced[-1] if fenced else text
    return text.strip(" \t\r\n:*.")


def balanced(text: str) -> bool:
    """Whether every bracket and brace outside of the labels is closed."""
    text = LABEL.sub("", text)
    return text.count("[") == text.count("]") and text.count("{") == text.count("}")


def label_of(text: str, begin: int, key_end: int, end: int) -> str | None:
    """Label of the object that lies around the key in text[begin:end], or None if it has none."""
    close = text.find("}", key_end, end)
    found = LABEL.search(text, begin, end if close < 0 else close + 1)
    if found is None:
        return None
    quoted = found[1]
    if quoted[0] == "'":
        return quoted[1:-1]
    try:
        return str(json.loads(quoted))
    except ValueError:  # an escape that JSON does not know
        return quoted[1:-1]


def read(group: str, label: str | None) -> Box | None:
    """Box of "y0, x0, y1, x1", corners in order and cut to the square, or None if it is not one.

    >>> read("470, 305, 411, 1361", None)
    Box(y0=411.0, x0=305.0, y1=470.0, x1=1000.0, label=None)
    >>> read("0.41, 0.30, 0.47, 0.36", None) is None
    True
    """
    items = [item.strip(" \t\r\n\"'") for item in group.split(",")]
    if items[-1] == "":
        items.pop()
    try:
        numbers = [float(item) for item in items]
    except ValueError:
        return None
    if len(numbers) != 4 or not all(map(math.isfinite, numbers)) or max(numbers) <= 1:
        return None
    y0, x0, y1, x1 = (min(max(number, 0.0), float(UNITS)) for number in numbers)
    if y0 == y1 or x0 == x1:
        return None
    return Box(min(y0, y1), min(x0, x1), max(y0, y1), max(x0, x1), label)
