import json
import math
from dataclasses import asdict

import cv2
import numpy as np
import pytest
from tiny_base import ASKED, EXACT, MODEL, NF4, PROMPT

from stages.lib.core import documents, shards, tables
from stages.lib.core.errors import DocumentError, ImageError, MismatchError, ModelError
from stages.lib.images import normalized
from stages.lib.learn.train_log import TrainLog
from stages.lib.models import gemma3, snapshot
from stages.nodules import infer as stage

ALL = ("train", "val", "test")


def params(batch_size=4, splits=ALL, readers=0, shifts=1):
    return stage.Params(batch_size=batch_size, shifts=shifts, splits=splits, readers=readers, weights="unmerged")


def brightness(images):
    mean = np.stack(images).reshape(len(images), -1).mean(axis=1)
    return np.stack([np.zeros(len(images)), mean, np.full(len(images), 0.5)], axis=1)


def ask_all(study, ask=brightness, split=True, **changes):
    normalized = tables.read(study / "normalized.parquet", tables.NORMALIZED)
    known = tables.read(study / "split.parquet", tables.SPLIT) if split else None
    return stage.infer(normalized, known, study, ask, params(**changes))


def sections(infer, model=MODEL, prompt=ASKED, adapter="none"):
    rows = {"one": {"kind": "medgemma", "adapter": str(adapter)}}
    return json.dumps({"nodules": {"infer": asdict(infer), "model": model, "prompt": prompt, "classifiers": rows}})


def run(study, out, *more, splits=ALL, part="1-of-1", adapter="none", **asked):
    document = sections(params(splits=splits), prompt={**ASKED, **asked}, adapter=adapter)
    named = {"params": document, "normalized": study / "normalized.parquet", "base": study / "fetch.json"}
    named |= {"classifier": "one", "shard": part, "results": study, "infer": out}
    stage.main([text for name, value in named.items() for text in (f"--{name}", str(value))] + list(map(str, more)))
    return tables.read(out, tables.INFER)


@pytest.fixture
def adapter(trained):
    return trained / "adapter"


def test_each_image_gets_the_answer_about_itself_with_its_split_and_label(tiny_study):
    table = ask_all(tiny_study)
    split = {row["image_id"]: row for row in tables.read(tiny_study / "split.parquet", tables.SPLIT).to_pylist()}
    assert table.num_rows == 26
    for row in table.to_pylist():
        image = normalized.load(tiny_study / f"normalized/{row['image_id']}.png")
        assert row["logit_positive"] == image.mean()
        assert row["score"] == pytest.approx(1 / (1 + math.exp(-image.mean())))
        assert (row["split"], row["label"]) == (split[row["image_id"]]["split"], split[row["image_id"]]["label"])
        assert row["score_calibrated"] is None


@pytest.mark.parametrize("batch_size", [1, 3, 26, 100])
def test_the_batch_size_changes_no_row(tiny_study, batch_size):
    assert ask_all(tiny_study, batch_size=batch_size).equals(ask_all(tiny_study, batch_size=4))


def test_only_the_splits_wanted_are_asked(tiny_study):
    asked = []
    table = ask_all(tiny_study, ask=lambda p: asked.extend(p) or brightness(p), splits=("val", "test"))
    assert set(table["split"].to_pylist()) == {"val", "test"}
    assert len(asked) == table.num_rows == 12


def test_a_bare_folder_is_asked_whole_without_label_or_split(tiny_study):
    table = ask_all(tiny_study, split=False, splits=("test",))
    assert table.num_rows == 26
    assert table["label"].null_count == table["split"].null_count == 26


def test_an_answer_that_is_no_number_stops_with_the_names_of_the_images(tiny_study):
    calls = []

    def broken(images):
        calls.append(1)
        answers = brightness(images)
        answers[0, 1] = math.nan if len(calls) in (1, 3) else 1.0
        return answers

    with pytest.raises(ModelError, match="2 images: image00, image08"):
        ask_all(tiny_study, ask=broken)


def test_no_image_gives_an_empty_table(tiny_study):
    normalized = tables.read(tiny_study / "normalized.parquet", tables.NORMALIZED)
    assert stage.infer(normalized[:0], None, tiny_study, brightness, params()).num_rows == 0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "No such file"),
        (b"", "damaged"),
        (b"not an image", "damaged"),
        (np.zeros((4, 5), np.uint8), r"shape \(4, 5\)"),
        (np.zeros((4, 4, 3), np.uint8), r"shape \(4, 4, 3\)"),
        (np.zeros((4, 4), np.uint16), "uint16"),
    ],
    ids=["missing", "empty", "junk", "oblong", "colour", "16 bits"],
)
def test_a_normalized_image_that_is_not_one_is_refused_with_its_path(tmp_path, content, message):
    path = tmp_path / "image.png"
    if isinstance(content, np.ndarray):
        cv2.imwrite(str(path), content)
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(ImageError, match=f"image.png: .*{message}"):
        normalized.load(path)


def test_base_and_adapter_go_through_one_path_and_differ(tiny_study, adapter, tmp_path):
    base = run(tiny_study, tmp_path / "zero_shot.parquet", "--split", tiny_study / "split.parquet")
    tuned = run(tiny_study, tmp_path / "t.parquet", "--split", tiny_study / "split.parquet", adapter=adapter)
    assert base.schema == tuned.schema
    assert base["image_id"] == tuned["image_id"]
    assert (np.abs(base["score"].to_numpy() - tuned["score"].to_numpy()) > 1e-6).all()


def test_the_adapter_answers_in_inference_as_it_did_in_training(tiny_study, adapter, tmp_path):
    from stages.lib.learn import validation

    tuned = run(tiny_study, tmp_path / "t.parquet", "--split", tiny_study / "split.parquet", adapter=adapter)
    log = documents.read(adapter.parent / "train.json", TrainLog)
    pair = np.stack([tuned["logit_negative"].to_numpy(), tuned["logit_positive"].to_numpy()], axis=1)
    val = np.array(tuned["split"].to_pylist()) == "val"
    found = validation.validation_metrics(pair[val], tuned["label"].to_numpy()[val], math.log(log.training_odds))
    assert {"step": 4, **found} == pytest.approx(asdict(log.checkpoints[-1]), rel=1e-5)


def test_the_same_run_gives_the_same_bytes_and_parts_give_the_whole(tiny_study, adapter, tmp_path):
    split = ("--split", tiny_study / "split.parquet")
    for name in ("one", "two"):
        run(tiny_study, tmp_path / f"{name}.parquet", *split, adapter=adapter)
    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "two.parquet").read_bytes()
    whole = tables.read(tmp_path / "one.parquet", tables.INFER)
    half = run(tiny_study, tmp_path / "half.parquet", *split, part="2-of-2", adapter=adapter)
    assert half["image_id"] == shards.take(whole, "2-of-2")["image_id"]
    np.testing.assert_allclose(half["score"].to_numpy(), shards.take(whole, "2-of-2")["score"].to_numpy(), atol=2e-6)


def test_an_adapter_is_not_asked_about_other_pixels_nor_another_question(tiny_study, adapter, tmp_path):
    with pytest.raises(MismatchError, match=r"prompt.question 'Is there a nodule\?', now 'Any mass\?'"):
        run(tiny_study, tmp_path / "t.parquet", adapter=adapter, question="Any mass?")
    assert not list(tmp_path.iterdir())


def test_a_folder_without_an_adapter_is_refused(tiny_study, tmp_path):
    with pytest.raises(DocumentError, match=r"noduleflow\.json: no such file; train it, or name the folder"):
        run(tiny_study, tmp_path / "t.parquet", adapter=tmp_path)


def test_an_adapter_trained_in_4_bits_answers_nearly_the_same_on_the_unquantized_base(tiny_base, adapter):
    images = np.random.default_rng(0).integers(0, 256, (4, 112, 112), dtype=np.uint8)
    found = [
        gemma3.answer_logits(gemma3.load(tiny_base.folder, params, adapter=adapter), images, PROMPT)
        for params in (NF4, EXACT)
    ]
    assert 0 < np.abs(found[0] - found[1])[:, :2].max() < 1.5


@pytest.mark.parametrize("model", [EXACT, NF4], ids=["float32", "nf4"])
def test_a_merged_adapter_answers_as_it_does_beside_the_unquantized_base(tiny_base, adapter, model):
    images = np.random.default_rng(0).integers(0, 256, (4, 112, 112), dtype=np.uint8)
    beside = gemma3.answer_logits(gemma3.load(tiny_base.folder, EXACT, adapter=adapter), images, PROMPT)
    merged = gemma3.load(tiny_base.folder, model, adapter=adapter, merged=True)
    assert not gemma3.quantized(merged.model)
    assert not any("lora_" in name for name, _ in merged.model.named_parameters())
    np.testing.assert_allclose(gemma3.answer_logits(merged, images, PROMPT), beside, atol=1e-4)
    plain = gemma3.answer_logits(gemma3.load(tiny_base.folder, EXACT), images, PROMPT)
    assert np.abs(plain - beside).max() > 1e-3


def test_kept_features_change_no_byte_and_readers_no_row(tiny_study, tmp_path):
    for name, kept in (("images", False), ("kept", True), ("again", True)):
        document = sections(params(readers=2), {**MODEL, "cache_features": kept})
        named = {"params": document, "normalized": tiny_study / "normalized.parquet", "shard": "1-of-1"}
        named |= {"classifier": "one"}
        named |= {"base": tiny_study / "fetch.json", "results": tiny_study, "features": tmp_path / "features"}
        named |= {"infer": tmp_path / f"{name}.parquet"}
        stage.main([text for option, value in named.items() for text in (f"--{option}", str(value))])
        assert len(list(tmp_path.glob("features/*/*/*.safetensors"))) == (26 if kept else 0)
    assert (tmp_path / "images.parquet").read_bytes() == (tmp_path / "kept.parquet").read_bytes()
    assert (tmp_path / "again.parquet").read_bytes() == (tmp_path / "kept.parquet").read_bytes()
    assert ask_all(tiny_study, readers=3).equals(ask_all(tiny_study))


def test_shifted_images_are_asked_about_at_each_place_and_kept_features_change_no_byte(tiny_study, adapter, tmp_path):
    for name, kept in (("images", False), ("kept", True)):
        model = {**MODEL, "cache_features": kept}
        named = {"params": sections(params(shifts=2, splits=("val",)), model), "shard": "1-of-1", "classifier": "one"}
        named |= {"normalized": tiny_study / "normalized.parquet", "split": tiny_study / "split.parquet"}
        named |= {"base": tiny_study / "fetch.json", "results": tiny_study, "features": tmp_path / "features"}
        named |= {"infer": tmp_path / f"{name}.parquet"}
        stage.main([text for option, value in named.items() for text in (f"--{option}", str(value))])
    assert (tmp_path / "images.parquet").read_bytes() == (tmp_path / "kept.parquet").read_bytes()
    table = tables.read(tmp_path / "kept.parquet", tables.INFER)
    assert len(list(tmp_path.glob("features/*/*/*.safetensors"))) == 4 * table.num_rows
    images = np.stack(
        [normalized.load(tiny_study / f"normalized/{name}.png") for name in table["image_id"].to_pylist()]
    )
    loaded = gemma3.load(documents.read(tiny_study / "fetch.json", snapshot.Snapshot).folder, NF4)
    moved = np.zeros((2, 2, *images.shape), np.uint8)
    for down, right in np.ndindex(2, 2):
        moved[down, right][:, 7 * down :, 7 * right :] = images[:, : 112 - 7 * down, : 112 - 7 * right]
    wanted = np.mean([gemma3.answer_logits(loaded, each, PROMPT) for row in moved for each in row], axis=0)
    columns = ("logit_negative", "logit_positive", "answer_mass")
    found = np.stack([table[name].to_numpy() for name in columns], axis=1)
    np.testing.assert_allclose(found, wanted, atol=2e-5)
    assert np.abs(found - gemma3.answer_logits(loaded, images, PROMPT)).max() > 1e-3
