"""A gated model whose licence was not accepted: from the hub's answer to the command that tries its rows again."""

import json
import re

import huggingface_hub
import pytest
import zoo_backbone as fake
import zoo_kind as kind
from httpx2 import Request, Response
from huggingface_hub import errors

from stages.lib.core import documents
from stages.lib.models.snapshot import Missing
from stages.weights import fetch_model
from stages.zoo import check, embed
from stages.zoo.check import Checked, FailedRowsError
from stages.zoo.records import Embedded

MODEL = "google/medsiglip-448"
ASKED = {"zoo": {"models": {"*": {"source": MODEL, "revision": "main"}}}}
PROBE = {"kind": "probe", **fake.BACKBONE, "seen": "unknown", "licence": "HAI-DEF", "commercial": True}
PROBE |= {"pool": ["mean"], "strengths": [1.0], "class_weight": ["none"], "places": ["logits"]}


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """Record of the model, as the hub refuses it."""

    def refused(*_, **__):
        raise errors.GatedRepoError("gated", response=Response(403, request=Request("GET", "https://huggingface.co")))

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refused)
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: "hf_SecretSecretSecret")
    out = tmp_path / "weights/medsiglip-448-0a1b2c3d.json"
    out.parent.mkdir()
    keys = ["--keys", "zoo.models.*.source", "zoo.models.*.revision"]
    fetch_model.main(
        ["--params", json.dumps(ASKED), *keys, "--wants", "config.json", "weights", "--out", str(out), "--missing"]
    )
    return out


def through(study, folder, weights):
    """Features, a fit and scores of a row of the model; the paths of their records."""
    features = folder / "features/medsiglip/1-of-1.parquet"
    embed.main(fake.embed_options(study, features, weights=weights))
    found = {"features": [features], "embedded": [features.with_suffix(".json")], "weights": weights}
    kind.run_fit(study, folder / "fit", "medsiglip", PROBE, **found)
    kind.run_infer(study, folder / "fit", "medsiglip", PROBE, **found)
    return {
        "fits": folder / "fit/medsiglip.json",
        "inferred": folder / "fit/raw/medsiglip.json",
        "embedded": features.with_suffix(".json"),
        "weights": weights,
    }


def test_a_gated_model_fails_its_row_with_the_licence_page_and_the_row_stands_once_it_is_there(
    tmp_path, weights, monkeypatch
):
    study = fake.study(tmp_path / "study", images=24)
    fake.plant(monkeypatch.setattr, fake.ByHand())
    assert documents.read(weights, Missing).base == MODEL
    records = through(study, tmp_path, weights)
    failure = documents.read(records["embedded"], Embedded).failure
    assert failure.stage == "embed"
    assert f"accept the licence at https://huggingface.co/{MODEL}" in failure.reason
    asked = [word for name, path in records.items() for word in (f"--{name}", str(path))]
    with pytest.raises(FailedRowsError) as told:
        check.main([*asked, "--check", str(tmp_path / "check.json")])
    said = " ".join(str(told.value).split())
    assert f"accept the licence at https://huggingface.co/{MODEL}" in said
    assert re.search(r"snakemake --cores 2 --forcerun (\S+) -- zoo_check$", said)[1] == str(weights)
    assert "SecretSecret" not in said
    fake.snapshot(weights, study)  # the licence was accepted
    assert through(study, tmp_path, weights) == records
    check.main([*asked, "--check", str(tmp_path / "check.json")])
    assert documents.read(tmp_path / "check.json", Checked).rows == ("medsiglip",)
