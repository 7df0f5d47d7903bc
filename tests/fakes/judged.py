"""Answers that are judged in tests, and the parameters of a judge."""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from stages.lib.core import tables
from stages.lib.core.case_tables import ANSWERS

GIVEN = {
    "rubric": "short",
    "repeats": 1,
    "fallback": "none",
    "max_tokens": 400,
    "max_reprompts": 2,
    "max_answer_chars": 0,
    "seed": 3,
    "family": "none",
}

ENDPOINT = {
    "kind": "endpoint",
    "model": "judge",
    "revision": "none",
    "key_variable": "none",
    "token_command": "none",
    "data_may_leave": False,
    "concurrency": 4,
    "timeout_s": 2.0,
    "max_tries": 2,
    "first_wait_s": 0.01,
    "max_wait_s": 0.02,
    "total_timeout_s": 10.0,
    "stop_after": 50,
    "takes_seed": False,
    "takes_images": 0,
    "max_image_tokens": 1,
    "price": "none",
    "dollars_per_gpu_hour": 1.0,
}  # a judge behind the stub on loopback; without its address
RULES = {**GIVEN, "kind": "rules", "max_invented": 0, "vocabulary": "none"}


def answer(arm: str, item: str, **changes: Any) -> dict[str, Any]:
    text = changes.get("text", f"Answer of {arm} about {item}.")
    row: dict[str, Any] = dict.fromkeys(ANSWERS.names)
    row |= {
        "arm": arm,
        "item": item,
        "case_id": item.split("/")[0],
        "sample": 0,
        "final": True,
        "text": text,
        "status": "ok",
        "findings": text or "",
        "findings_from": "whole",
        "prompt_sha256": "p",
        "images": [],
        "model": "tiny",
    }
    return row | changes


def answers(rows: Sequence[dict[str, Any]]) -> pa.Table:
    return tables.from_rows(rows, ANSWERS)
