"""Claims about stages.weights.fetch_model: a model that any row of the parameters names."""

import json

import pytest

from stages.lib.core import documents
from stages.lib.core.errors import ModelError, ParamsError
from stages.lib.models.snapshot import Snapshot
from stages.weights import fetch
from stages.weights.fetch_model import main, source

BASE = "workflow/demo_base"
KEYS = ["lofi.model.decoder", "lofi.model.decoder_revision"]


def document(model, revision="none"):
    return {"lofi": {"model": {"decoder": model, "decoder_revision": revision}}}


def run(path, model, wants=fetch.WHOLE):
    options = ["--params", json.dumps(document(model)), "--keys", *KEYS, "--wants", *wants]
    main([*options, "--out", str(path)])


def test_its_record_names_every_file(tmp_path):
    run(tmp_path / "o.json", BASE)
    found = documents.read(tmp_path / "o.json", Snapshot)
    assert found.base == BASE
    assert {"config.json", "model.safetensors"} <= set(found.files)


def test_a_missing_model_names_the_parameter(tmp_path):
    with pytest.raises(ModelError, match=r"lofi\.model\.decoder"):
        run(tmp_path / "o.json", str(tmp_path / "nowhere"))


def test_a_model_of_the_hub_keeps_its_revision():
    found = source(document("google/gemma-3-270m-it", "main"), KEYS, fetch.WHOLE)
    assert (found.on_hub, found.revision, found.keys) == (True, "main", tuple(KEYS))


@pytest.mark.parametrize(
    ("given", "keys", "wants", "named"),
    [
        (document("x"), KEYS[:1], ("weights",), "found 1 names, wanted two"),
        (document("x"), ["lofi.model.decoded", KEYS[1]], ("weights",), "lofi.model.decoded: found ''"),
        (document("x"), KEYS, ("wheights",), "did you mean 'weights'"),
        (document("not an id", "main"), KEYS, ("weights",), "organisation/name"),
    ],
)
def test_what_names_no_model_is_refused(given, keys, wants, named):
    with pytest.raises(ParamsError, match=named):
        source(given, keys, wants)
