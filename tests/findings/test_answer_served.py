"""The same arm in this process and behind `transformers serve` gives the same answers."""

import json

import pytest
from chats import ENDPOINT
from real_server import DEMO_BASE
from tiny_cases import ARM, arm, write_cases

from stages.findings.answer import main
from stages.lib.core import documents, files, tables
from stages.lib.core.case_tables import ANSWERS
from stages.lib.models.snapshot import Snapshot

pytestmark = pytest.mark.slow
SAME = ("item", "text", "status", "findings", "finish_reason", "images", "prompt_sha256", "prompt_tokens")
WAYS = {
    "all_images": {"prompt": "comprehensive", "images": "all"},
    "text_first": {"image_first": False, "pixels": "grey+side_96"},
    "system": {"system": True, "images": "first"},
    "few_shot": {"examples": "few_shot", "n_examples": 2, "example_images": True, "max_images": 3, "system": True},
    "focused": {"prompt": "brief_focused"},
    "structured": {"prompt": "structured", "images": "none"},
}


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    found = write_cases(tmp_path_factory.mktemp("cases"))
    digest = files.sha256_file(DEMO_BASE / "model.safetensors")
    record = Snapshot(base="chest", revision="none", commit=None, folder=DEMO_BASE, sha256=digest, files={})
    documents.write(found.folder / "fetched.json", record)
    return found


@pytest.mark.parametrize("way", WAYS)
def test_the_same_arm_in_process_and_behind_a_server_gives_the_same_answers(
    cases, real_server, tmp_path, monkeypatch, way
):
    monkeypatch.setenv("NODULEFLOW_LEDGER", str(tmp_path / "ledger"))
    asked = {**WAYS[way], "max_tokens": 24}
    own = {**ENDPOINT, "base_url": real_server.url, "model": real_server.model, "timeout_s": 60.0}
    rows = {
        "local": arm(**asked),
        "served": {**ARM, "kind": "endpoint", **own, "total_timeout_s": 400.0, **asked},
    }
    found = {}
    for name, more in {"local": {"fetched": cases.folder / "fetched.json"}, "served": {}}.items():
        main(cases.options(tmp_path, {name: rows[name]}, name, **more))
        answers = tables.read(tmp_path / f"{name}.parquet", ANSWERS).to_pylist()
        found[name] = [{key: row[key] for key in SAME} for row in answers]
    assert found["served"] == found["local"]
    assert len(found["local"]) == 4 and all(row["text"] is not None for row in found["local"])
    monkeypatch.setenv("NODULEFLOW_FINDINGS_CLIENT", json.dumps(REPLAY))
    before = (tmp_path / "served.parquet").read_bytes()
    main(cases.options(tmp_path, {"served": rows["served"]}, "served"))
    assert (tmp_path / "served.parquet").read_bytes() == before


REPLAY = {"network": "replay", "max_dollars": 0.0, "max_requests": 0, "prices": "shipped"}
