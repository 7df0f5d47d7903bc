"""Claims about stages.lib.models.snapshot: a model is what fetch found, or it is refused."""

from dataclasses import replace

import pytest

from stages.lib.core import documents
from stages.lib.core.errors import DocumentError, ModelError
from stages.lib.models import snapshot
from stages.lib.models.snapshot import Snapshot

FOUND = Snapshot(
    base="a/b", revision="main", commit="0" * 40, folder="model", sha256="1" * 64, files={"config.json": "2"}
)


def test_a_snapshot_is_read_as_it_was_written_and_its_identity_has_no_place(tmp_path):
    (tmp_path / "model").mkdir()
    found = replace(FOUND, folder=tmp_path / "model")
    documents.write(tmp_path / "fetch.json", found)
    assert snapshot.read(tmp_path / "fetch.json") == found
    assert found.identity == replace(found, revision="v1", folder="elsewhere").identity


def test_a_snapshot_that_is_gone_is_refused(tmp_path):
    path = tmp_path / "fetch.json"
    with pytest.raises(DocumentError, match=r"fetch\.json: no such file; run fetch again"):
        snapshot.read(path)
    path.write_text('{"base": "b", "revision": "none", "commit": null}')
    with pytest.raises(DocumentError, match=r"snapshot\.folder: missing"):
        snapshot.read(path)
    documents.write(path, replace(FOUND, folder="gone"))
    with pytest.raises(ModelError, match=r"fetch\.json: the model's folder gone is not there; run fetch again"):
        snapshot.read(path)
