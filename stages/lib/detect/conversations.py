"""Whole conversations of grounders on disk: one line for each image that was asked about, whatever was shown.

A line has what the image's sentences share, the turns up to the last question, and each question with its answer.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from stages.lib.core import files
from stages.lib.core.errors import DocumentError
from stages.lib.detect.grounder import Answered, Asked


def write(path: Path, said: Iterable[tuple[Asked, Answered]]) -> None:
    """Write the conversations, whole or not at all; the sentences of an image stand together."""
    lines: dict[tuple[str, str], dict[str, Any]] = {}
    for asked, answer in said:
        if not answer.turns:
            continue
        *shared, question = answer.turns
        line = lines.setdefault(
            asked.group,
            {"seen": asked.seen, "image_id": asked.image_id, "shown_id": asked.shown_id}
            | {"turns": [asdict(turn) for turn in shared], "questions": []},
        )
        line["questions"].append({"number": asked.number, "text": question.text, "response": answer.response})
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines.values())
    files.write_bytes(path, text.encode("utf-8"))


def read(path: Path) -> dict[tuple[str, str], Mapping[str, Any]]:
    """Conversations by what was shown ("own", "shuffled", "grey") and by image.

    Raises:
        DocumentError: If the file is missing or not of this kind.
    """
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        return {(line["seen"], line["image_id"]): line for line in lines}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DocumentError(f"{path}: not conversations of lofi.ground ({error}); run it again") from error
