"""Claims about stages.lofi.alike, on directions in a plane."""

import json

import cv2
import lofi_models
import lofi_vectors as fake
import numpy as np
import pytest

from stages.lib.core import documents, sentence_tables, tables
from stages.lib.core.errors import PoolError
from stages.lofi import alike

PARAMS = alike.Params(k=2, percentile=99.0, splits=("val", "test"))


def at(degrees: float) -> np.ndarray:
    return np.array([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))], np.float32)


def study(**changed):
    """Validation images are 2 and 10 degrees from training; `changed` are columns of the manifest by image."""
    images = {
        "t0": ("p0", "train", 0),
        "t1": ("p1", "train", 5),
        "t2": ("p2", "train", 90),
        "v0": ("v0", "val", 7),
        "v1": ("v1", "val", 100),
        "near": ("n", "test", 1),
        "same": ("p2", "test", 90),
        "far": ("f", "test", 45),
    }
    rows = [(name, patient, split, at(degrees)) for name, (patient, split, degrees) in images.items()]
    manifest = [{"image_id": name, "patient_id": rest[0], **changed.get(name, {})} for name, rest in images.items()]
    return fake.images(rows), fake.manifest(manifest)


def names(table, image):
    return [row["neighbour"] for row in table.to_pylist() if row["image_id"] == image]


def test_only_training_images_nearer_than_the_percentile_of_validation_are_similar_cases():
    found, told = alike.alike(*study(), PARAMS)
    distances = [1 - np.cos(np.radians(2)), 1 - np.cos(np.radians(10))]
    assert told.limit == pytest.approx(np.percentile(distances, 99), abs=1e-6)
    assert names(found, "near") == ["t0", "t1"]
    assert names(found, "far") == []  # 40 degrees from the nearest
    assert names(found, "v0") == ["t1", "t0"]
    rows = {(row["image_id"], row["neighbour"]): row["distance"] for row in found.to_pylist()}
    assert rows["near", "t1"] == pytest.approx(1 - np.cos(np.radians(4)), abs=1e-6)
    assert max(rows.values()) < told.limit


def test_no_similar_case_is_of_the_same_patient():
    found, _ = alike.alike(*study(), PARAMS)
    assert names(found, "same") == []  # its patient's own image is 0 degrees away, the next one 85


def test_neither_equal_pixels_nor_near_duplicates_are_similar_cases():
    twins = study(
        t0={"duplicate_group": "g"}, near={"duplicate_group": "g", "pixel_sha256": "x"}, t1={"pixel_sha256": "x"}
    )
    found, _ = alike.alike(*twins, alike.Params(k=1, percentile=99.0, splits=("test",)))
    assert names(found, "near") == []


def test_the_record_counts_who_found_none():
    _, told = alike.alike(*study(), PARAMS)
    assert (told.images, told.without, told.pool, told.n_validation, told.n_patients) == (5, 3, 3, 2, 2)


def test_where_all_images_are_as_far_nothing_is_similar():
    images, manifest = study()
    rows = [(row["image_id"], row["patient_id"], row["split"], at(3)) for row in images.to_pylist()]
    found, told = alike.alike(fake.images(rows), manifest, PARAMS)
    assert (found.num_rows, told.limit) == (0, 0.0)


def test_the_stage_embeds_the_study_s_images_and_writes_both(tmp_path):
    images, manifest = study()
    split = [{name: row[name] for name in ("image_id", "patient_id", "split")} for row in images.to_pylist()]
    facts = {"low": 0.0, "high": 1.0, "scale": 1.0, "pad_x_px": 0, "pad_y_px": 0, "side_px": lofi_models.SIDE_PX}
    normalized = []
    rng = np.random.default_rng(0)
    for row in split:
        name = row["image_id"]
        cv2.imwrite(str(tmp_path / f"{name}.png"), rng.integers(0, 256, (lofi_models.SIDE_PX,) * 2, np.uint8))
        normalized.append({"image_id": name, "png": f"{name}.png", "preprocessing_hash": "pixels", **facts})
    for name, table, schema in (
        ("split", tables.from_rows(split, tables.SPLIT), tables.SPLIT),
        ("manifest", manifest, tables.MANIFEST),
        ("normalized", tables.from_rows(normalized, tables.NORMALIZED), tables.NORMALIZED),
    ):
        tables.write(tmp_path / name, table, schema)
    documents.write(tmp_path / "fetched", lofi_models.encoder(tmp_path / "encoder"))
    section = {
        "lofi": {
            "alike": {"k": 2, "percentile": 100.0, "splits": ["test"]},
            "embed": {"batch_size": 4, "readers": 0, "image_splits": ["train", "val", "test"], "text_splits": []},
            "encoders": {"base": {"kind": "siglip", "model": "x", "revision": "none", "dtype": "float32"}},
        }
    }
    names = ("split", "manifest", "normalized", "fetched", "alike", "record")
    options = [part for name in names for part in (f"--{name}", str(tmp_path / name))]
    alike.main(["--params", json.dumps(section), *options, "--results", str(tmp_path), "--encoder", "base"])
    told = documents.read(tmp_path / "record", alike.Alike)
    found = tables.read(tmp_path / "alike", sentence_tables.ALIKE)
    assert (told.encoder, told.images, told.pool, told.n_validation) == ("base", 3, 3, 2)
    assert told.without == 3 - len(set(found["image_id"].to_pylist()))
    assert all(distance < told.limit for distance in found["distance"].to_pylist())


def test_more_than_there_are_and_no_validation_image_are_refused():
    images, manifest = study()
    with pytest.raises(PoolError, match=r"lofi\.alike\.k(.|\n)*found 3, wanted at most 2"):
        alike.alike(images, manifest, alike.Params(k=3, percentile=99.0, splits=("test",)))
    without = images.filter(np.array([split != "val" for split in images["split"].to_pylist()]))
    with pytest.raises(PoolError, match="found no validation image"):
        alike.alike(without, manifest, PARAMS)
