"""Each case that is asked about has neighbours of the role train, by images, by text, and shuffled."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import medpix_folder
import pytest
import tiny_siglip
from medpix_folder import Case, noise

from stages.findings import ingest, retrieve, sample
from stages.lib.core import documents, kinds, params, tables
from stages.lib.core.case_tables import CASE_IMAGES, RETRIEVED, SAMPLE
from stages.lib.core.errors import ParamsError, SampleError
from stages.lib.models import snapshot
from stages.lib.models.retriever import Setting
from stages.lib.models.retrievers import text
from stages.lib.models.snapshot import Snapshot
from stages.weights import fetch_encoder

HISTORIES = ("Headache and fever.", "Fall from a horse.", "Cough for two weeks.", "Headache after a fall.")
IMAGES = {"model": "here", "revision": "none", "dtype": "float32", "k": 3, "pixels": "file", "centred": True}
ROWS: dict[str, dict[str, Any]] = {
    "alike": {"kind": "siglip", **IMAGES},
    "own": {"kind": "medgemma", **IMAGES},
    "words": {"kind": "text", "k": 2, "max_ngram": 1},
    "mixed": {"kind": "shuffled", "k": 3, "of": "alike", "seed": 1},
}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tables of twelve cases with noise for images, two of which show the same."""
    folder = tmp_path_factory.mktemp("study")
    cases = [Case(f"C{number:02d}", history=HISTORIES[number % 4], ct=1 + number % 2) for number in range(12)]
    root = medpix_folder.write(folder / "data", cases)
    (root / "images/C03_synpicCT0.png").write_bytes(noise(0))
    given = ingest.Params(root=str(root), terms="open", accept=(), max_rejected=0, max_pixels=9999, same_correlation=1)
    found = ingest.ingest(given)
    table, _ = sample.sample(
        found.cases,
        found.case_images,
        sample.Params(
            seed=2,
            regions=("head",),
            modalities=("CT",),
            per_stratum=3,
            min_gold_words=1,
            gold_scope="any",
            min_images=1,
            examples=1,
            train_fraction=0.75,
            val_fraction=0.25,
            file="none",
        ),
    )
    tables.write(folder / "sample.parquet", table, SAMPLE)
    tables.write(folder / "case_images.parquet", found.case_images, CASE_IMAGES)
    return folder


def run(study: Path, out: Path, row: str, **more: Path) -> list[dict[str, Any]]:
    options = {name: study / f"{name}.parquet" for name in ("sample", "case_images")} | {"retrieved": out, **more}
    named = [part for name, path in options.items() for part in (f"--{name.replace('_', '-')}", str(path))]
    document = json.dumps({"findings": {"retrievers": ROWS}})
    retrieve.main(["--params", document, "--retriever", row, *named])
    found: list[dict[str, Any]] = tables.read(out, RETRIEVED).to_pylist()
    return found


def test_by_images_each_case_finds_cases_of_train_and_twice_the_same_bytes(study: Path, tmp_path: Path) -> None:
    tiny = tiny_siglip.build(tmp_path / "model")
    rows = {"findings": {"retrievers": {"alike": {**ROWS["alike"], "model": str(tiny.folder)}}}}
    fetch_encoder.main(["--params", json.dumps(rows), "--retriever", "alike", "--out", str(tmp_path / "fetched.json")])
    assert snapshot.read(tmp_path / "fetched.json").folder == tiny.folder
    more = {"fetched": tmp_path / "fetched.json", "features": tmp_path / "features"}
    found = run(study, tmp_path / "alike.parquet", "alike", **more)
    roles = tables.mapping(tables.read(study / "sample.parquet", SAMPLE), "role", key="case_id")
    assert {roles[row["neighbour"]] for row in found} == {"train"}
    assert {row["case_id"] for row in found} == {name for name, role in roles.items() if role != "train"}
    assert {row["rank"] for row in found} == {0, 1, 2}
    for row, after in pairwise(found):
        assert row["case_id"] != after["case_id"] or row["similarity"] >= after["similarity"]
    run(study, tmp_path / "again.parquet", "alike", **more)
    run(study, tmp_path / "bare.parquet", "alike", fetched=tmp_path / "fetched.json")
    content = (tmp_path / "alike.parquet").read_bytes()
    assert (tmp_path / "again.parquet").read_bytes() == (tmp_path / "bare.parquet").read_bytes() == content
    mixed = run(study, tmp_path / "mixed.parquet", "mixed", neighbours=tmp_path / "alike.parquet")
    assert sorted(row["neighbour"] for row in mixed) == sorted(row["neighbour"] for row in found)
    assert mixed != found


def test_the_own_tower_of_the_model_is_an_encoder_too(study: Path, tmp_path: Path, tiny_base: Snapshot) -> None:
    documents.write(tmp_path / "fetched.json", tiny_base)
    found = run(study, tmp_path / "own.parquet", "own", fetched=tmp_path / "fetched.json")
    assert {row["rank"] for row in found} == {0, 1, 2}


def test_by_text_the_history_decides(study: Path, tmp_path: Path) -> None:
    found = run(study, tmp_path / "words.parquet", "words")
    histories = tables.mapping(tables.read(study / "sample.parquet", SAMPLE), "history", key="case_id")
    best = [row for row in found if row["rank"] == 0]
    held = {histories[row["neighbour"]] for row in found}
    assert best
    for row in best:
        if histories[row["case_id"]] in held:
            assert row["similarity"] == pytest.approx(1)
            assert histories[row["neighbour"]] == histories[row["case_id"]]


def test_what_a_retriever_lacks_is_named(study: Path, tmp_path: Path) -> None:
    for row, sentence in (
        ("alike", "--fetched:"),
        ("mixed", "what the retriever alike found"),
        ("alikes", "did you mean 'alike'"),
    ):
        with pytest.raises(ParamsError, match=sentence):
            run(study, tmp_path / "x.parquet", row)


def test_without_cases_of_train_there_is_nothing_to_find(study: Path) -> None:
    table = tables.read(study / "sample.parquet", SAMPLE)
    rows = [row for row in table.to_pylist() if row["role"] != "train"]
    images = tables.read(study / "case_images.parquet", CASE_IMAGES)
    find = text.retriever(text.Params(k=1, max_ngram=1), Setting())
    with pytest.raises(SampleError, match="no case of the role train"):
        retrieve.retrieve(tables.from_rows(rows, SAMPLE), images, find)


def test_a_text_retriever_has_no_encoder_to_fetch(tmp_path: Path) -> None:
    document = json.dumps({"findings": {"retrievers": ROWS}})
    with pytest.raises(ParamsError, match="wanted a retriever by images"):
        fetch_encoder.main(["--params", document, "--retriever", "words", "--out", str(tmp_path / "x.json")])


def test_a_shuffled_retriever_names_one_that_finds_by_itself() -> None:
    rows = {name: ROWS[name] for name in ("words", "mixed")} | {"again": {**ROWS["mixed"], "of": "mixed"}}
    given = params.parse({"findings": {"retrievers": rows}}, {"findings.retrievers": kinds.rows(kinds.RETRIEVERS)})
    assert retrieve.problems(given.retrievers) == [
        "findings.retrievers.mixed.of: found 'alike', wanted one of words",
        "findings.retrievers.again.of: found 'mixed', wanted one of words",
    ]
