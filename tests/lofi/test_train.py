"""The stage that trains LoFi, on a tiny random base."""

import csv

import lofi_reports
import lofi_training
import numpy as np
import pytest

from stages.lib.core import documents, tables
from stages.lib.core.errors import MismatchError, TrainingError
from stages.lib.core.sentence_tables import PAIRS
from stages.lib.learn.lofi_log import LofiLog
from stages.lib.models import box_text, snapshot
from stages.lib.models.lofi import card, weights
from stages.lib.models.lofi.params import ModelParams
from stages.lofi import train


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return lofi_reports.study(tmp_path_factory.mktemp("study") / "results")


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bases")
    lofi_training.write_bases(folder)
    return folder


@pytest.fixture(scope="module")
def trained(study, bases, tmp_path_factory):
    out = tmp_path_factory.mktemp("trained")
    train.main(lofi_training.options(study, bases, out))
    return out


def test_the_log_says_what_was_trained_on_what(trained):
    log = documents.read(trained / "train.json", LofiLog)
    assert (log.images, log.boxed_images, log.validation_images, log.sentences) == (8, 4, 3, 32)
    assert (log.steps, log.samples, log.epochs, log.counted_samples) == (4, 16, 2.0, 16)
    assert (log.doubles_fraction, log.left_out_fraction) == (0.0, 0.0)
    assert log.selected_by == "recall_at_10"
    assert [one.step for one in log.checkpoints] == [2, 4]
    assert log.checkpoints[-1].ground_loss > 0
    with (trained / "curve.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4
    assert float(rows[1]["val_scale"]) == pytest.approx(np.exp(2.3))
    assert (trained / "live/plots/metrics/val_ground_loss.tsv").exists()


def test_the_adapter_is_loaded_as_it_was_trained_and_has_as_many_parameters_as_the_log_says(trained, bases):
    log = documents.read(trained / "train.json", LofiLog)
    encoder, decoder = (snapshot.read(bases / f"{name}.json") for name in ("encoder", "decoder"))
    model = ModelParams(**lofi_training.lofi_models.MODEL)
    found = card.check(trained / "adapter", "c0ffee", encoder.identity, decoder.identity, model)
    assert found.step == log.selected_step
    loaded = weights.load(encoder, decoder, model, trained / "adapter", trainable=True)
    assert weights.count(loaded.network) == (log.trainable_parameters, log.total_parameters)
    fresh = weights.load(encoder, decoder, model)
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32), np.uint8)
    assert np.abs(loaded.embed_images(images) - fresh.embed_images(images)).max() > 1e-4


def test_a_training_may_begin_with_an_adapter_and_only_with_one_that_fits(trained, study, bases, tmp_path):
    from_it = {"start": str(trained / "adapter"), "max_steps": 2}
    train.main(lofi_training.options(study, bases, tmp_path, **from_it))
    losses = [list(csv.DictReader((folder / "curve.csv").open())) for folder in (trained, tmp_path)]
    assert losses[0][0]["loss"] != losses[1][0]["loss"]
    with pytest.raises(MismatchError, match="pooling 'queries', now 'heads'"):
        train.main(lofi_training.options(study, bases, tmp_path, {"pooling": "heads"}, **from_it))


def test_the_same_parameters_give_the_same_bytes(trained, study, bases, tmp_path):
    train.main(lofi_training.options(study, bases, tmp_path))
    for name in (
        "adapter/whole.safetensors",
        "adapter/adapter_model.safetensors",
        "adapter/noduleflow.json",
        "curve.csv",
    ):
        assert (tmp_path / name).read_bytes() == (trained / name).read_bytes()


def changed(study, change):
    read = {"pairs": PAIRS, "normalized": tables.NORMALIZED, "manifest": tables.MANIFEST}
    found = {name: tables.read(study / f"{name}.parquet", schema) for name, schema in read.items()}
    rows = [change(row) for row in found["pairs"].to_pylist()]
    pairs = tables.from_rows([row for row in rows if row], PAIRS)
    return train.reports_of(pairs, found["normalized"], found["manifest"], "train", study)


def test_images_without_a_report_or_pixels_are_left_out_and_counted(study, caplog):
    def outside(row):
        return {**row, "part": None} if row["image_id"] == "image01" else row

    found = changed(study, outside)
    assert [report.image_id for report in found] == [f"image{n:02d}" for n in (0, 2, 3, 4, 5, 6, 7)]
    assert "1 of 8 train images have no pixels or no report" in caplog.text


def test_the_order_of_rows_and_of_boxes_changes_no_answer(study):
    def turned(row):
        return {**row, "boxes": row["boxes"][::-1]}

    one, other = changed(study, lambda row: row), changed(study, turned)
    for first, second in zip(one, other, strict=True):
        for a, b in zip(first.sentences, second.sentences, strict=True):
            assert box_text.write(a.boxes, "lofi", "round") == box_text.write(b.boxes, "lofi", "round")


def test_boxes_are_fractions_of_the_padded_square(study):
    [first, *_] = changed(study, lambda row: row)
    assert first.sentences[0].boxes == (pytest.approx((12 / 64, 8 / 64, 28 / 64, 24 / 64)),)


def test_no_training_image_is_said_so(bases, tmp_path):
    study = lofi_reports.study(tmp_path / "few", images=4)
    with pytest.raises(TrainingError, match=r"found no image of the train split.*lofi\.pair\.fractions"):
        train.main(lofi_training.options(study, bases, tmp_path))
