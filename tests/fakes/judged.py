"""Answers that are judged in tests, and the parameters of a judge."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from chat_stub import Body, texts

from stages.findings import judge
from stages.lib.core import tables
from stages.lib.core.case_tables import ANSWERS, CASE_IMAGES, JUDGEMENTS, SAMPLE

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


def verdict(body: Body) -> str:
    """Step of a judge's script: good if the answer has the word mass."""
    said = texts(body).split("Answer:\n")[1]
    good = "mass" in said.split("~~~~~~~~")[1]
    found = {"rationale": "Read.", "rating": "good" if good else "poor", "primary_found": good, "present": []}
    return json.dumps(found | {"missed": [], "invented": [], "wrong_side": []})


class Study:
    """Files of a study of three arms, and the stage that judges them."""

    def __init__(
        self, folder: Path, url: str, kinds: Sequence[tuple[str, str]] = (("a", "mass"), ("b", "cyst"))
    ) -> None:
        self.folder, self.url = folder, url
        rows = [answer(arm, f"c{n}", findings=f"A {kind}.") for n in range(3) for arm, kind in kinds]
        rows.append(answer("c", "c1", text=None, findings="", status="error", problem="timeout", findings_from="none"))
        sample = {"role": "test", "region": "head", "modality": "CT", "numbers": [0], "history": None}
        sample |= {"gold": "A mass.", "gold_scope": "imaged_only", "flags": []}
        cases = tables.from_rows([{**sample, "case_id": f"c{n}"} for n in range(3)], SAMPLE)
        tables.write(folder / "answers.parquet", answers(rows), ANSWERS)
        tables.write(folder / "sample.parquet", cases, SAMPLE)
        tables.write(folder / "images.parquet", tables.from_rows([], CASE_IMAGES), CASE_IMAGES)

    def options(self, name: str = "one", shard: str = "1-of-1", **rows: dict[str, Any]) -> list[str]:
        """Options of the stage; a row says how it differs from an endpoint's."""
        own = {**GIVEN, **ENDPOINT, "base_url": self.url}
        judges = {
            key: {**GIVEN, **changes} if changes.get("kind") == "rules" else {**own, **changes}
            for key, changes in (rows or {"one": {}}).items()
        }
        paths = {
            "answers": "answers.parquet",
            "sample": "sample.parquet",
            "case-images": "images.parquet",
            "judgements": f"{name}.parquet",
            "timing": f"{name}.json",
        }
        options = [part for option, path in paths.items() for part in (f"--{option}", str(self.folder / path))]
        return ["--params", json.dumps({"findings": {"judges": judges}}), "--judge", name, "--shard", shard, *options]

    def run(self, name: str = "one", shard: str = "1-of-1", **rows: dict[str, Any]) -> list[dict[str, Any]]:
        """Rows that the stage writes."""
        judge.main(self.options(name, shard, **rows))
        return tables.read(self.folder / f"{name}.parquet", JUDGEMENTS).to_pylist()
