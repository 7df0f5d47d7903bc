"""What the doctor says of the findings benchmark: its cases, endpoints and models, and never a key."""

from typing import Any

import chat_stub
import medpix_folder
import pytest
import yaml
from chat_stub import Said, Stub
from chats import ENDPOINT
from tiny_cases import arm

from workflow import doctor, findings_doctor

KEY = "sk-a-secret-that-nobody-may-read"


@pytest.fixture
def stub():
    with Stub({"eyes": [Said("ok")], "judge": ['{"rating": "good"}'], "deaf": ["Good, I think."]}) as running:
        yield running


@pytest.fixture
def document(demo: dict[str, Any], stub: Stub, tmp_path) -> dict[str, Any]:
    """The demo's parameters with a folder of cases, and an arm and a judge behind a stub."""
    findings = demo["findings"]
    demo["study"]["chapters"] = ["findings"]
    findings["ingest"]["root"] = str(medpix_folder.write(tmp_path / "medpix", [medpix_folder.Case("MPX1")]))
    own = {**ENDPOINT, "base_url": stub.url, "key_variable": "FINDINGS_KEY"}
    asked = {name: value for name, value in arm("endpoint").items() if name != "kind"}
    findings["arms"] = {"remote": {**asked, **own, "kind": "endpoint", "model": "eyes"}}
    rules = {name: value for name, value in findings["judges"]["rules"].items() if name not in ("max_invented",)}
    findings["judges"] = {"model": {**rules, **own, "kind": "endpoint", "model": "judge", "max_tokens": 99}}
    for name in ("label", "vocabulary"):
        findings["judges"]["model"].pop(name, None)
    return demo


@pytest.fixture
def demo() -> dict[str, Any]:
    return yaml.safe_load((doctor.Path("workflow/presets/demo.yaml")).read_text())


def told(document: dict[str, Any]) -> tuple[str, list[str]]:
    """All that is said, and what is to be mended."""
    lines = findings_doctor.lines(document)
    assert KEY not in str(lines)
    return "\n".join(text for text, _ in lines), [text for text, mend in lines if mend is not None]


def test_endpoints_are_asked_for_their_model_images_and_schema_and_the_key_is_never_said(document, stub, monkeypatch):
    monkeypatch.setenv("FINDINGS_KEY", KEY)
    said, mend = told(document)
    assert mend == []
    for name, model in (("arm remote", "eyes"), ("judge model", "judge")):
        assert f"{name}: key_variable FINDINGS_KEY is set" in said
        assert f"{name}: knows the model {model}" in said
        assert f"{name}: answers 4 image(s) and a text" in said
    assert "judge model: obeys a JSON Schema" in said
    assert "cases: " in said
    assert len(chat_stub.images(next(one.body for one in stub.asked if one.model == "eyes"))) == 4
    assert any(KEY in one.headers.get("Authorization", "") for one in stub.asked)


def test_a_missing_key_a_dead_server_an_unknown_model_and_a_lacking_folder_are_to_mend(document, monkeypatch, tmp_path):
    lacking = [(text, mend) for text, mend in findings_doctor.lines(document) if mend is not None]
    assert lacking == [
        (f"{name}: key_variable FINDINGS_KEY: not set", "export it, or write it to .env")
        for name in ("arm remote", "judge model")
    ]
    monkeypatch.setenv("FINDINGS_KEY", KEY)
    document["findings"]["arms"]["remote"]["base_url"] = "http://127.0.0.1:9/v1"
    document["findings"]["judges"]["model"]["model"] = "nobody"
    document["findings"]["ingest"]["root"] = str(tmp_path)
    _, mend = told(document)
    assert any("127.0.0.1:9" in line and "not there" in line for line in mend)
    assert any("judge model" in line and "does not exist" in line for line in mend)
    assert any("lacks Case_topic.json, Descriptions.json, images" in line for line in mend)


def test_a_judge_that_does_not_obey_a_schema_is_told_and_is_no_fault(document, monkeypatch):
    monkeypatch.setenv("FINDINGS_KEY", KEY)
    document["findings"]["judges"]["model"]["model"] = "deaf"
    said, mend = told(document)
    assert "does not obey it" in said
    assert mend == []


def test_a_study_without_the_chapter_asks_no_endpoint(document, stub):
    document["study"]["chapters"] = ["nodules"]
    findings_doctor.lines(document)
    assert stub.asked == []


def test_models_in_process_are_looked_for(demo):
    demo["study"]["chapters"] = ["findings"]
    said, mend = told(demo)
    assert mend == []
    assert "cases: results/findings/simulate is made by the study itself" in said
    assert "arm all_images: workflow/demo_findings_base is a folder here" in said
    demo["findings"]["arms"]["all_images"]["model"] = "workflow/nowhere"
    _, mend = told(demo)
    assert any("workflow/nowhere may not be had" in line for line in mend)
