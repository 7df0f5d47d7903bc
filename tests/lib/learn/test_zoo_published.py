"""Published classifiers as they are: the output of one label is the score, at all places of an image."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import zoo_features

from stages.lib.core.errors import ModelError, TrainingError
from stages.lib.images import shifts
from stages.lib.learn.candidate import Inputs, Setting
from stages.lib.learn.zoo import published
from stages.lib.models.snapshot import Snapshot

SIDE = 64
TARGETS = ("Mass", "", "Nodule")


def params(**changes: Any) -> published.Params:
    row = {
        "library": "torchxrayvision",
        "source": "densenet121-res224-all",
        "revision": "none",
        "architecture": "DenseNet",
        "side_px": SIDE,
        "shifts": 1,
        "target": "Nodule",
        "seen": "labels",
        "licence": "Apache-2.0",
        "commercial": True,
    }
    return published.Params(**{**row, **changes})


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """A model whose output Nodule is how bright the middle of an image is; it tells when it is closed."""
    found: list[bool] = []

    def outputs(images: Sequence[np.ndarray]) -> np.ndarray:
        bright = np.array([image[16:48, 16:48].mean() / 64 - 2 for image in images], np.float32)
        return np.stack([-bright, np.full_like(bright, 9), bright], axis=1)

    facts = SimpleNamespace(identity="fake", patch_px=32, parameters=7, operations=11.0, random_weights=True)
    model = SimpleNamespace(facts=facts, targets=TARGETS, outputs=outputs, close=lambda: found.append(True))
    monkeypatch.setattr(published.client, "open_model", lambda params, setting: model)
    return found


def setting(folder: Path, labels: Sequence[int] | None) -> Setting:
    """Twelve images, brighter from one to the next, the brighter half with a nodule."""
    folder.mkdir(exist_ok=True)
    paths = [folder / f"{number:02d}.png" for number in range(12)]
    for number, path in enumerate(paths):
        image = np.zeros((SIDE, SIDE), np.uint8)
        image[8:40, 8:40] = 20 * number
        cv2.imwrite(str(path), image)
    images = Inputs(
        ids=[path.stem for path in paths],
        patients=np.array([path.stem for path in paths]),
        labels=None if labels is None else np.array(labels),
        pixels=paths,
    )
    given = zoo_features.setting(images, None, folder / "work")
    return replace(
        given, found=Snapshot(base="base", revision="none", commit=None, folder=folder, sha256="0", files={"a": "0"})
    )


def test_the_output_of_the_label_is_the_score_and_nothing_is_fitted(tmp_path: Path, closed: list[bool]) -> None:
    given = setting(tmp_path, [0] * 6 + [1] * 6)
    fitted = published.fit(params(), given, tmp_path / "fit")
    assert [one.average_precision for one in fitted.tried] == [1.0]
    assert (fitted.trained_parameters, fitted.parameters, fitted.passes, fitted.random_weights) == (0, 7, 1, True)
    assert not (tmp_path / "fit").exists()
    found = published.score(params(), setting(tmp_path, None), tmp_path / "fit")
    bright = [cv2.imread(str(path), 0)[16:48, 16:48].mean() / 64 - 2 for path in given.images.pixels or ()]
    np.testing.assert_allclose(found.score, 1 / (1 + np.exp(-np.array(bright))), rtol=1e-6)
    assert found.logits is not None and np.allclose(found.logits[:, 1], bright)
    assert closed == [True, True]


def test_a_renamed_row_shows_it_nothing_and_another_target_does(tmp_path: Path, closed: list[bool]) -> None:
    labels = [0] * 6 + [1] * 6
    given = replace(setting(tmp_path, labels), cache=tmp_path / "kept")
    told, found = (do(params(), given, tmp_path) for do in (published.fit, published.score))
    model = published.client.open_model(params(), given)
    shown, outputs = [], model.outputs
    model.outputs = lambda images: shown.append(len(images)) or outputs(images)
    renamed = replace(given, row="renamed", work=tmp_path / "elsewhere")
    own = params(licence="another", seen="unknown")
    assert published.fit(own, renamed, tmp_path) == told
    assert published.score(own, renamed, tmp_path).logits.tolist() == found.logits.tolist()
    assert not shown
    other = next(name for name in TARGETS if name and name != "Nodule")
    assert published.score(params(target=other), renamed, tmp_path).logits.tolist() != found.logits.tolist()
    model.facts.identity = "other weights"
    published.score(own, renamed, tmp_path)
    assert sum(shown) == 24


def test_logits_are_the_mean_over_places(tmp_path: Path, closed: list[bool]) -> None:
    given = setting(tmp_path, None)
    found = published.score(params(shifts=2), given, tmp_path)
    image = cv2.imread(str((given.images.pixels or ())[7]), 0)
    moved = [shifts.shifted(image, place) for place in shifts.places(2, 32, "shifts")]
    wanted = np.mean([one[16:48, 16:48].mean() / 64 - 2 for one in moved])
    assert found.logits is not None
    assert len(moved) == 4 and found.logits[7, 1] == pytest.approx(wanted, rel=1e-6)


def test_a_label_that_the_weights_have_no_output_of_is_refused_with_those_they_have(
    tmp_path: Path, closed: list[bool]
) -> None:
    with pytest.raises(ModelError, match=r"row: target: Nodul: .*mean 'Nodule'.*outputs of Mass, Nodule"):
        published.fit(params(target="Nodul"), setting(tmp_path, [0] * 6 + [1] * 6), tmp_path)
    assert closed == [True]  # the process is not left behind


def test_other_libraries_and_one_class_alone_are_refused(tmp_path: Path, closed: list[bool]) -> None:
    with pytest.raises(ValueError, match="library timm, wanted torchxrayvision"):
        params(library="timm")
    with pytest.raises(TrainingError, match="wanted both classes"):
        published.fit(params(), setting(tmp_path, [0] * 12), tmp_path)
