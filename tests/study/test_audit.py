"""A planted shortcut, a marker that only images with a nodule have, is found by the audits, and nothing without it.

The classifier is a regression on pixels: it learns what the labels go with, in whatever corner that is.
"""

from collections.abc import Callable

import numpy as np
import pytest
import yaml
from checkout import ROOT

from stages.data import simulate
from stages.lib.core import params, tables
from stages.lib.images import preprocess
from stages.lib.images.variants import AuditParams
from stages.lib.metrics.calibration import Calibration
from stages.nodules import audit_measure, audit_score
from stages.nodules.audit_score import Shown
from stages.nodules.audits import Audit

SIDE, COARSE = 112, 28
STUDY = {
    "nih_patients": 160,
    "max_images_per_patient": 1,
    "nih_side_px": SIDE,
    "prevalence": 0.4,
    "lidc_images": 0,
    "lidc_negative_images": 0,
    "unlabelled_images": 0,
}
UNFITTED = Calibration(
    model="pixels",
    method="none",
    intercept=None,
    temperature=None,
    at_bound=False,
    world_prevalence=None,
    sources=("nih",),
    n=1,
    n_positive=1,
    form_losses={},
    thresholds_on="score",
    thresholds={"half": 0.5, "f1": 0.5},
    reason="not fitted",
)


def images_of(document: dict, **changes: float) -> tuple[list[np.ndarray], np.ndarray]:
    """Normalized simulated images and their labels."""
    section = {"simulate": {**document["data"]["simulate"], **STUDY, **changes}}
    given = params.parse(section, {"simulate": simulate.Params}).simulate
    orders = simulate.plan(given)
    clip = {"low_percentile": 0.5, "high_percentile": 99.5, "side_px": SIDE}
    stored = [simulate.simulate(order, given).pixels for order in orders]
    grey = [pixels if pixels.ndim == 2 else np.ascontiguousarray(pixels[..., 0]) for pixels in stored]
    return [preprocess.normalize_pixels(pixels, **clip)[0] for pixels in grey], np.array(
        [int(order.nodules > 0) for order in orders]
    )


def regression(images: list[np.ndarray], labels: np.ndarray) -> Callable[[list[np.ndarray]], np.ndarray]:
    """A classifier that was fitted to images and labels: the brightest pixel of each coarse one, weighted."""
    from sklearn.linear_model import LogisticRegression

    def features(some: list[np.ndarray]) -> np.ndarray:
        step = SIDE // COARSE
        blocks = np.stack(some).reshape(len(some), COARSE, step, COARSE, step)
        return blocks.max(axis=(2, 4)).reshape(len(some), -1) / 255.0

    model = LogisticRegression(C=0.1, max_iter=2000).fit(features(images), labels)

    def logits(some: list[np.ndarray]) -> np.ndarray:
        margin = model.decision_function(features(some))
        return np.stack([np.zeros(len(some)), margin, np.ones(len(some))], axis=1)

    return logits


def audited(**changes: float) -> dict[tuple[str, str], Audit]:
    """Audits of a regression that was fitted to one half of the images, on the other half."""
    document = yaml.safe_load((ROOT / "params.yaml").read_text())
    mild = {"noise_grey": [4.0], "blur_fraction": [0.002], "contrast_factor": [0.8], "exposure_power": [1.25]}
    document["nodules"]["audit"] |= {**mild, "rotation_degrees": [2.0], "jpeg_quality": [80]}
    given = params.parse(document, {"nodules.audit": AuditParams, "nodules.audit_measure": audit_measure.Params})
    images, labels = images_of(document, **changes)
    half = len(images) // 2
    logits = regression(images[:half], labels[:half])
    names = [f"i{number:03d}" for number in range(half, len(images))]
    stored = dict(zip(names, images[half:], strict=True))
    shown = [Shown(name, name, (), True) for name in names]
    scores = audit_score.score(shown, stored.__getitem__, logits, {}, given.audit, 64)
    facts = {"width_px": SIDE, "height_px": SIDE, "status": "ok", "source": "nih"}
    rows = [
        {"image_id": name, "patient_id": name, "label": int(label), "split": "test", "file_name": name, "path": name}
        for name, label in zip(names, labels[half:], strict=True)
    ]
    manifest = [{key: value for key, value in {**row, **facts}.items() if key != "split"} for row in rows]
    split = [{key: row[key] for key in ("image_id", "patient_id", "label", "split")} for row in rows]
    found = audit_measure.answers(
        scores, tables.from_rows(manifest, tables.MANIFEST), tables.from_rows(split, tables.SPLIT)
    )
    results = audit_measure.audit(found, "pixels", UNFITTED, {}, given.audit_measure)
    return {(one.audit, one.variant): one for one in results.audits}


@pytest.mark.slow
def test_a_marker_that_only_images_with_a_nodule_have_fails_and_without_it_the_same_audits_pass() -> None:
    planted = audited(marker_fraction_positive=1.0, marker_fraction_negative=0.0)
    clean = audited(marker_fraction_positive=0.0, marker_fraction_negative=0.0)
    for name in (("border", "only"), ("marker", "removed")):
        assert (planted[name].outcome, clean[name].outcome) == ("fail", "pass"), (planted[name], clean[name])
