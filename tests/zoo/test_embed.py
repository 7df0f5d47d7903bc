"""Claims about stages.zoo.embed, with a backbone by hand whose tokens numpy computes."""

import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import zoo_backbone as fake
from zoo_backbone import ByHand

from stages.lib.core import documents, files, tables
from stages.lib.core.errors import MismatchError
from stages.lib.core.feature_tables import FEATURES
from stages.lib.demo import tiny
from stages.lib.images import normalized
from stages.lib.images.shifts import Shift
from stages.lib.models import embedding, features, first_use, gemma3
from stages.zoo import embed
from stages.zoo.records import Embedded

COHORT = [f"i{number:03d}" for number in range(10)]  # the other two are of another source, or without a label


@pytest.fixture
def study(tmp_path: Path) -> Path:
    return fake.study(tmp_path / "study")


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> ByHand:
    return fake.plant(monkeypatch.setattr, ByHand())


def run(study: Path, out: Path, **how) -> tuple[list[dict], Embedded]:
    embed.main(fake.embed_options(study, out, **how))
    return tables.read(out, FEATURES).to_pylist(), documents.read(out.with_suffix(".json"), Embedded)


def test_each_image_has_the_statistics_of_its_patch_tokens_and_its_prefix_tokens_apart(study, library, tmp_path):
    rows, record = run(study, tmp_path / "f/1.parquet")
    assert [row["image_id"] for row in rows] == COHORT
    for row in rows:
        cells = fake.patches(normalized.load(study / f"{row['image_id']}.png")).reshape(-1, fake.FEATURES)
        wanted = {"mean": cells.mean(0), "largest": cells.max(0), "smallest": cells.min(0), "deviation": cells.std(0)}
        for name, values in wanted.items():
            np.testing.assert_allclose(row[name], values, rtol=1e-3, atol=1e-2)
        assert row["prefix"] == [999.0] * fake.FEATURES  # had it been pooled, it would be the largest of each feature
        assert row["preprocessing_hash"] == fake.HASH
    told = (record.images, record.computed, record.places, record.rows, record.prefix, record.operations)
    assert told == (10, 10, 1, 4, 1, 14.0)
    assert (record.failure, record.random_weights, record.preprocessing_hash) == (None, True, fake.HASH)
    assert record.bytes == (tmp_path / "f/1.parquet").stat().st_size


def test_shifts_are_four_images_moved_by_hand(study, library, tmp_path):
    rows, record = run(study, tmp_path / "f/1.parquet", shifts=2)
    assert (len(rows), record.places) == (40, 4)
    image = normalized.load(study / "i004.png")
    half = fake.PATCH // 2
    moved = [image, np.zeros_like(image), np.zeros_like(image), np.zeros_like(image)]
    moved[1][:, half:] = image[:, :-half]
    moved[2][half:] = image[:-half]
    moved[3][half:, half:] = image[:-half, :-half]
    for row in [row for row in rows if row["image_id"] == "i004"]:
        cells = fake.patches(moved[row["place"]]).reshape(-1, fake.FEATURES)
        np.testing.assert_allclose(row["largest"], cells.max(0), rtol=1e-3)
        np.testing.assert_allclose(row["mean"], cells.mean(0), rtol=1e-3, atol=1e-2)


@pytest.mark.parametrize("readers", [0, 3])
def test_features_depend_on_no_shard_and_no_other_image(study, library, tmp_path, readers):
    whole, _ = run(study, tmp_path / "f/1.parquet", shifts=2)
    parts = [
        run(study, tmp_path / f"g/{k}.parquet", shifts=2, shard=f"{k}-of-3", readers=readers)[0] for k in (1, 2, 3)
    ]
    joined = sorted((row for part in parts for row in part), key=lambda row: (row["image_id"], row["place"]))
    assert joined == whole
    assert [len(part) for part in parts] == [16, 12, 12]


def test_without_a_split_every_image_is_embedded(study, library, tmp_path):
    rows, _ = run(study, tmp_path / "f/1.parquet", without=("split", "manifest"))
    assert len(rows) == 12


def test_what_is_kept_is_found_by_another_row_and_other_shards_without_loading_a_model(study, library, tmp_path):
    first, record = run(study, tmp_path / "f/1.parquet", shifts=2, cache=tmp_path / "kept")
    assert (len(library.loads), len(library.passes), record.computed) == (1, 40, 10)
    parts = [
        run(study, tmp_path / f"renamed/{k}.parquet", shifts=2, shard=f"{k}-of-2", cache=tmp_path / "kept")
        for k in (1, 2)
    ]
    one_place, _ = run(study, tmp_path / "once/1.parquet", shifts=1, cache=tmp_path / "kept")
    assert (len(library.loads), len(library.passes)) == (1, 40)
    assert sorted((row for part, _ in parts for row in part), key=lambda r: (r["image_id"], r["place"])) == first
    assert one_place == [row for row in first if row["place"] == 0]
    for _, found in parts:
        assert (found.computed, found.operations) == (0, 14.0)
        assert found.seconds_per_image == pytest.approx(record.seconds_per_image)  # as it was measured then
    run(study, tmp_path / "again/1.parquet", shifts=2, cache=tmp_path / "kept")
    assert (tmp_path / "again/1.parquet").read_bytes() == (tmp_path / "f/1.parquet").read_bytes()


def test_more_places_pass_only_those_that_are_new(study, library, tmp_path):
    run(study, tmp_path / "f/1.parquet", shifts=1, cache=tmp_path / "kept")
    _, record = run(study, tmp_path / "g/1.parquet", shifts=2, cache=tmp_path / "kept")
    assert (len(library.passes), record.computed) == (10 + 30, 10)


@pytest.mark.parametrize("what", ["weights", "pixels", "architecture", "png"])
def test_whatever_decides_features_makes_them_anew(study, library, tmp_path, what):
    run(study, tmp_path / "f/1.parquet", cache=tmp_path / "kept")
    how, passes = {}, 10
    if what == "weights":
        fake.snapshot(tmp_path / "other.json", study, "0" * 64)
        how = {"weights": tmp_path / "other.json"}
    elif what == "architecture":
        how = {"architecture": "SiglipModel"}
    elif what == "png":
        files.write_bytes(study / "i002.png", (study / "i011.png").read_bytes())
        passes = 1
    else:
        table = tables.read(study / "normalized.parquet", tables.NORMALIZED).to_pylist()
        other = [row | {"preprocessing_hash": "other"} for row in table]
        tables.write(study / "normalized.parquet", tables.from_rows(other, tables.NORMALIZED), tables.NORMALIZED)
    _, record = run(study, tmp_path / "g/1.parquet", cache=tmp_path / "kept", **how)
    assert record.computed == passes


def test_a_kept_file_that_was_changed_is_made_anew(study, library, tmp_path):
    first, _ = run(study, tmp_path / "f/1.parquet", cache=tmp_path / "kept")
    [path, *_] = sorted((tmp_path / "kept").rglob("*.bin"))
    content = bytearray(path.read_bytes())
    content[60] ^= 1
    path.write_bytes(content)
    again, record = run(study, tmp_path / "g/1.parquet", cache=tmp_path / "kept")
    assert (again, record.computed) == (first, 1)


def test_kept_facts_of_another_model_are_refused(study, library, tmp_path, monkeypatch):
    run(study, tmp_path / "f/1.parquet", cache=tmp_path / "kept")
    [said] = (tmp_path / "kept").glob("*/facts.json")
    documents.write(said, fake.facts(identity="another"))
    (next((tmp_path / "kept").rglob("*.bin"))).unlink()
    rows, record = run(study, tmp_path / "g/1.parquet", cache=tmp_path / "kept")
    assert rows == []
    assert (record.failure.error, record.failure.stage) == (MismatchError.__name__, "embed")
    assert "of another identity" in record.failure.reason


def test_a_killed_run_goes_on_and_ends_with_the_same_bytes(study, library, tmp_path):
    driver = tmp_path / "driver.py"
    driver.write_text(
        "import sys, time\nfrom pathlib import Path\nimport zoo_backbone as fake\nfrom stages.zoo import embed\n"
        "def slowly(tokens):\n    time.sleep(0.03)\n    return tokens\n"
        "fake.plant(setattr, fake.ByHand(slowly))\nembed.main(sys.argv[1:])\n"
    )
    root = Path(__file__).parents[2]
    environment = {"PYTHONPATH": f"{root}:{root / 'tests/fakes'}", "PATH": "/usr/bin:/bin"}

    def start(out: Path, cache: Path) -> subprocess.Popen:
        command = [sys.executable, str(driver), *fake.embed_options(study, out, shifts=2, cache=cache)]
        return subprocess.Popen(command, env=environment, cwd=root)

    run(study, tmp_path / "whole/1.parquet", shifts=2)
    out, kept = tmp_path / "killed/1.parquet", tmp_path / "kept"
    running = start(out, kept)
    while running.poll() is None and len(list(kept.rglob("*.bin"))) < 15:
        time.sleep(0.01)
    running.kill()
    assert running.wait() == -9
    assert not out.exists()
    assert start(out, kept).wait() == 0
    record = documents.read(out.with_suffix(".json"), Embedded)
    assert 0 < record.computed < 10
    assert out.read_bytes() == (tmp_path / "whole/1.parquet").read_bytes()
    assert [path.name for path in out.parent.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda tokens: np.where(np.arange(fake.FEATURES) == 3, np.nan, tokens).astype(np.float32), "feature 3 is nan"),
        (lambda tokens: tokens * np.float32(1e6), "wanted at most 65504"),
        (lambda tokens: tokens[:2], "made tokens of shape"),
    ],
)
def test_tokens_that_cannot_be_kept_are_a_failure_of_the_row_and_nothing_is_written(
    study, tmp_path, monkeypatch, caplog, change, said
):
    fake.plant(monkeypatch.setattr, ByHand(change))
    rows, record = run(study, tmp_path / "dino/1.parquet")
    assert rows == [] and record.images == 0
    assert said in record.failure.reason and record.failure.reason.startswith("dino: ")
    assert said in caplog.text


def test_shifts_that_do_not_divide_a_patch_and_another_side_are_failures_that_name_the_row(study, library, tmp_path):
    _, record = run(study, tmp_path / "dino/1.parquet", shifts=3)
    assert "dino: shifts: found 3, wanted a divisor of 8" in record.failure.reason
    _, record = run(study, tmp_path / "dino/1.parquet", side_px=64)
    assert "wanted side_px: (64, 64)" in record.failure.reason


def test_memory_holds_one_row_group_at_a_time(study, library, tmp_path, monkeypatch):
    whole, _ = run(study, tmp_path / "f/1.parquet")
    monkeypatch.setattr(embed, "GROUP_BYTES", 150)
    rows, _ = run(study, tmp_path / "g/1.parquet")
    metadata = pq.ParquetFile(tmp_path / "g/1.parquet").metadata
    assert [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)] == [3, 3, 3, 1]
    assert rows == whole


def test_a_shard_without_images_has_an_empty_table_and_loads_nothing(study, library, tmp_path):
    rows, record = run(study, tmp_path / "f/1.parquet", shard="11-of-11")
    assert (rows, record.images, record.failure, record.architecture, library.loads) == ([], 0, None, None, [])


def test_features_that_another_device_made_are_made_anew(study, library, tmp_path, monkeypatch):
    monkeypatch.setattr(embedding, "GPUS", (str(study / "weights.json"),))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    run(study, tmp_path / "f/1.parquet", cache=tmp_path / "kept")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    _, record = run(study, tmp_path / "g/1.parquet", cache=tmp_path / "kept")
    assert record.computed == 10
    monkeypatch.setattr(embedding, "GPUS", ())
    _, record = run(study, tmp_path / "h/1.parquet", cache=tmp_path / "kept")
    assert record.computed == 0


def test_the_facts_of_a_model_come_back_as_they_were(tmp_path):
    made = replace(fake.facts(), operations=1.25e12)
    documents.write(tmp_path / "facts.json", made)
    assert documents.read(tmp_path / "facts.json", type(made)) == made


def test_the_study_s_own_tower_gives_features_and_fills_what_training_keeps(tiny_study, tiny_base, tmp_path):
    own = {"library": "medgemma", "source": "base", "revision": "none", "architecture": first_use.ARCHITECTURE}
    model = fake.MODEL | {"cache_features": True}
    more = {"weights": tiny_study / "fetch.json", "cache": tmp_path / "kept", "projected": tmp_path / "projected"}
    out = tmp_path / "base/1.parquet"
    line = fake.embed_options(tiny_study, out, side_px=tiny.SIDE_PX, shifts=2, model=model, **own, **more)
    embed.main(line)
    record = documents.read(out.with_suffix(".json"), Embedded)
    assert (record.failure, record.images, record.places, record.prefix) == (None, 22, 4, 0)
    loaded = gemma3.load(tiny_base.folder, gemma3.ModelParams(**model))
    store = features.store(tmp_path / "projected", loaded, "c0ffee")
    half = record.patch_px // 2
    png = tiny_study / "normalized/image03.png"
    for shift in (Shift(0, 0), Shift(half, half)):
        wanted = gemma3.features(loaded, [normalized.load(png, shift)])[0]
        assert (store.load(png, shift) == wanted).all()
    seen = gemma3.vision(loaded, [normalized.load(png)]).patches[0].detach().numpy()
    row = next(row for row in tables.read(out, FEATURES).to_pylist() if row["image_id"] == "image03")
    np.testing.assert_allclose(row["largest"], seen.max(0), rtol=1e-3)
    np.testing.assert_allclose(row["deviation"], seen.std(0), rtol=2e-3, atol=1e-4)
    embed.main(line)
    assert documents.read(out.with_suffix(".json"), Embedded).computed == 0
