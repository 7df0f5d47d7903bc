"""A detector of transformers, tuned by the project's loop: boxes, heads, the same bits, and what is refused."""

from dataclasses import replace
from functools import partial

import cv2
import numpy as np
import pytest
from tiny_detector import folder_of

from stages.lib.core import kinds
from stages.lib.core.errors import ModelError, ParamsError
from stages.lib.core.params import parse
from stages.lib.detect.trainable import Known, MarksError, Setting
from stages.lib.detect.trained import detector
from stages.lib.images.geometry import Geometry
from stages.lib.models import box_model
from stages.zoo import localize

SIDE = 64
WIDE = Geometry(width_px=128, height_px=64, side_px=SIDE)
ROW = {
    "kind": "detector",
    "seen": "no",
    "licence": "none",
    "commercial": True,
    "library": "transformers",
    "source": "folder",
    "revision": "none",
    "architecture": "RTDetrV2ForObjectDetection",
    "side_px": SIDE,
    "shifts": 1,
    "box_fraction": 0.25,
    "negative_images": 3,
    "batch_size": 4,
    "learning_rate": 0.005,
    "weight_decay": 0.0,
    "warmup_ratio": 0.1,
    "max_grad_norm": 1.0,
    "max_steps": 4,
    "max_boxes": 3,
    "min_confidence": 0.0,
    "seed": 1,
}


def params(**changes):
    rows = {"zoo": {"localizers": {"boxes": ROW | changes}}}
    return parse(rows, {"zoo.localizers": kinds.rows(kinds.TRAINED_LOCALIZERS)}).localizers["boxes"].params


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return folder_of(tmp_path_factory.mktemp("detector"), classes=80)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder, rng, made = tmp_path_factory.mktemp("images"), np.random.default_rng(2), []
    rows, columns = np.mgrid[:SIDE, :SIDE]
    for number in range(8):
        marked = number % 2 == 0
        points = np.array([[rng.uniform(20, 108), rng.uniform(12, 52)]]) if marked else np.zeros((0, 2))
        image = np.full((SIDE, SIDE), 60.0)
        image[: SIDE // 4] = image[-SIDE // 4 :] = 0
        for x, y in points:
            u, v = WIDE.to_normalized(x, y)
            image += 150 * np.exp(-((columns - u) ** 2 + (rows - v) ** 2) / (2 * 5.0**2))
        png = folder / f"{number}.png"
        cv2.imwrite(str(png), np.clip(image, 0, 255).astype(np.uint8))
        one = Known(
            image_id=str(number),
            patient_id=str(number),
            geometry=WIDE,
            spacing_mm=1.0,
            label=int(marked),
            points=points,
            pixels=png,
        )
        made.append(one)
    return made


def setting(folder, base):
    return Setting(
        row="boxes", folder=folder, found=base, tune=partial(localize.tune_boxes, "boxes", base, folder, "hash")
    )


def test_a_box_is_the_one_that_was_drawn_or_a_square_of_the_stated_size(images):
    two = np.array([[63.5, 31.5], [31.5, 31.5]])
    one = replace(images[0], points=two, boxes=np.array([[32.0, 16.0], [np.nan, np.nan]]))
    assert detector.boxes(params(), one).tolist() == [[0.5, 0.5, 0.25, 0.125], [0.25, 0.5, 0.25, 0.25]]
    assert detector.boxes(params(), replace(one, boxes=None))[:, 2:].tolist() == [[0.25, 0.25]] * 2
    assert detector.boxes(params(), images[1]).shape == (0, 4)


def test_it_is_tuned_the_same_each_time_from_a_model_of_other_classes_and_finds_boxes_on_the_image(
    tmp_path, base, images
):
    row, found = params(), []
    for name in "ab":
        where = setting(tmp_path / name, base)
        fitted = detector.fit(row, where, detector.teaching(row, images))
        found.append(list(detector.find(row, where, images)))
    assert found[0] == found[1]
    assert "Tuned for 4 steps on 4 nodules, of which 0 had a box" in fitted.notes[0] and "random" in fitted.notes[1]
    for some in found[0]:
        assert len(some) <= 3 and [one.confidence for one in some] == sorted(
            (one.confidence for one in some), reverse=True
        )
        assert all(0.25 <= one.v <= 0.75 and 0 <= one.confidence <= 1 and one.box is not None for one in some)
    before = box_model.load(base.folder, row.architecture, SIDE, row.seed, "boxes").model.state_dict()
    after = where.tuned[-1].model.state_dict()
    assert sum(not (before[name] == after[name]).all() for name in before) > len(before) / 2


def test_an_image_is_found_alike_whatever_is_beside_it(base, images):
    import torch

    loaded = box_model.load(base.folder, ROW["architecture"], SIDE, 1, "boxes")
    shown = [cv2.imread(str(image.pixels), cv2.IMREAD_GRAYSCALE) for image in images[:3]]
    together, alone = box_model.predict(loaded, shown), box_model.predict(loaded, shown[1:2])
    assert together[1][1] == pytest.approx(alone[1][0], abs=1e-5) and torch.is_tensor(loaded.greys)
    assert together[0][1][0] == pytest.approx(alone[0][0][0], abs=1e-4)


def test_a_stopped_run_goes_on_and_ends_with_the_same_bits(tmp_path, base, images, monkeypatch):
    monkeypatch.setattr(localize, "CHECKPOINT_STEPS", 2)
    row = params()
    whole, again = setting(tmp_path / "whole", base), setting(tmp_path / "again", base)
    detector.fit(row, whole, images)
    detector.fit(row, again, images)
    (run,) = (path for path in (tmp_path / "again").iterdir() if path.is_dir())
    last = max(run.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]))
    assert last.name == "checkpoint-4"
    for path in sorted(last.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    last.rmdir()
    detector.fit(row, again, images)
    states = [where.tuned[-1].model.state_dict() for where in (whole, again)]
    assert all((states[0][name] == states[1][name]).all() for name in states[0])


def test_another_class_a_checkpoint_with_a_hole_and_no_model_are_refused(tmp_path, base, images):
    from safetensors.torch import load_file, save_file

    with pytest.raises(ModelError, match="found the architecture DetrForObjectDetection"):
        box_model.load(base.folder, "DetrForObjectDetection", SIDE, 1, "boxes")
    broken = folder_of(tmp_path / "broken", classes=1)
    weights = load_file(broken.folder / "model.safetensors")
    name = next(name for name in weights if "encoder_input_proj" in name and name.endswith("weight"))
    save_file({key: value for key, value in weights.items() if key != name}, broken.folder / "model.safetensors")
    with pytest.raises(ModelError, match=r"does not fit RTDetrV2ForObjectDetection in model\.encoder_input_proj"):
        box_model.load(broken.folder, ROW["architecture"], SIDE, 1, "boxes")
    with pytest.raises(ModelError, match="found no model"):
        detector.fit(params(), Setting(row="boxes", folder=tmp_path), images)
    with pytest.raises(MarksError, match="no image with marked nodules"):
        detector.fit(params(), setting(tmp_path, base), images[1::2])
    with pytest.raises(ModelError, match="no tuned detector"):
        list(detector.find(params(), setting(tmp_path, base), images))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"shifts": 2}, "shifts 2, wanted 1"),
        ({"architecture": "YolosModel"}, "architecture YolosModel"),
        ({"library": "timm"}, "library timm, wanted transformers"),
        ({"box_fraction": 0.0}, "box_fraction 0"),
    ],
)
def test_a_row_that_no_detector_can_be_is_refused_by_name(changes, said):
    with pytest.raises(ParamsError, match=rf"zoo\.localizers\.boxes.*{said}"):
        params(**changes)
