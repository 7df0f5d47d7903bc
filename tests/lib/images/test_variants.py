"""Variants of an image: which audits it has, what is left out and why, and that nothing depends on the order."""

from dataclasses import asdict, replace

import numpy as np
import pytest
import yaml
from checkout import ROOT

from stages.lib.core import params
from stages.lib.core.errors import ParamsError
from stages.lib.images import perturb, variants
from stages.lib.images.geometry import Geometry
from stages.lib.images.lung_field import LungField
from stages.lib.images.perturb import Disc
from stages.lib.images.variants import AuditParams

SIDE = 64
FIELD = LungField(perturb.discs(SIDE, [Disc(20.0, 32.0, 12.0), Disc(44.0, 32.0, 12.0)]), None)
LOST = LungField(np.zeros((SIDE, SIDE), bool), "both lungs are too small")
NODULE = (Disc(20.0, 32.0, 4.0),)


def audit_params(**changes) -> AuditParams:
    document = yaml.safe_load((ROOT / "params.yaml").read_text())
    return replace(params.parse(document, {"nodules.audit": AuditParams}).audit, **changes)


def pixels(seed: int = 0) -> np.ndarray:
    image = np.random.default_rng(seed).normal(120, 5, (SIDE, SIDE))
    image[FIELD.mask] -= 60
    return np.rint(image).astype(np.uint8)


def made(image=None, field=FIELD, nodules=NODULE, whole=True, name="a", **changes):
    image = pixels() if image is None else image
    found = variants.of_image(name, image, field, nodules, audit_params(**changes), whole=whole)
    return {one[:3]: one for one in found}


def test_an_image_has_all_audits_and_one_outside_the_sample_those_of_its_nodules_alone() -> None:
    found = made()
    kinds = {key[0] for key in found}
    assert kinds == {"original", "nodule", "lung_field", "border", "marker", "blank", "corruption"}
    assert sum(key[0] == "corruption" for key in found) == 6 * 5
    assert {key[2] for key in found if key[1] == "blur"} == {1, 2, 3, 4, 5}
    assert list(made(whole=False)) == [
        ("original", "original", None),
        ("nodule", "filled", None),
        ("nodule", "control", None),
    ]
    assert not any(key[0] == "nodule" for key in made(nodules=()))


def test_only_what_an_audit_is_about_is_changed() -> None:
    image, found = pixels(), made()
    place = perturb.discs(SIDE, NODULE)
    assert np.array_equal(found["nodule", "filled", None].pixels[~place], image[~place])
    control = found["nodule", "control", None].pixels != image
    assert control.any()
    assert not (control & (place | ~FIELD.mask)).any()
    assert np.array_equal(found["lung_field", "only", None].pixels[FIELD.mask], image[FIELD.mask])
    assert len(np.unique(found["lung_field", "only", None].pixels[~FIELD.mask])) == 1
    border = found["border", "only", None].pixels
    assert len(np.unique(border[FIELD.mask])) == 1
    assert np.array_equal(border[:10], image[:10])


def test_a_lung_field_that_was_not_found_is_a_reason_for_each_audit_that_needs_it_and_for_no_other() -> None:
    found = made(field=LOST)
    without = {key[:2]: one.problem for key, one in found.items() if one.pixels is None}
    needing = {("nodule", "control"), ("lung_field", "only"), ("border", "only"), ("marker", "removed")}
    assert without == dict.fromkeys(needing, "both lungs are too small")


def test_a_marker_is_filled_and_an_image_without_one_says_so() -> None:
    assert made()["marker", "removed", None].problem == variants.NO_MARKER
    image = pixels()
    image[4:12, 6:8] = image[10:12, 6:11] = 255
    removed = made(image)["marker", "removed", None].pixels
    assert removed[:14, :14].max() < 200
    assert np.array_equal(removed[20:], image[20:])


def test_a_variant_is_the_same_whatever_was_made_before_and_another_for_another_image_or_seed() -> None:
    key = ("corruption", "noise", 3)
    alone = made(nodules=(), noise_grey=(4.0, 8.0, 16.0))[key].pixels
    assert np.array_equal(made()[key].pixels, alone)
    assert not np.array_equal(made(name="b")[key].pixels, alone)
    assert not np.array_equal(made(seed=9)[key].pixels, alone)


def test_a_region_is_as_large_as_the_nodule_with_its_margin_and_a_fraction_of_the_diagonal_if_it_is_not_known() -> None:
    given = audit_params(nodule_margin=1.5, nodule_fraction=0.1)
    geometry = Geometry(width_px=300, height_px=400, side_px=100)
    row = {"x": 150.0, "y": 200.0, "diameter_mm": 20.0}
    (known,) = variants.regions([row], geometry, 0.5, given)
    assert known.radius_px == pytest.approx(1.5 * 20.0 / 0.5 / 2 * 0.25)
    assert (known.x, known.y) == geometry.to_normalized(150.0, 200.0)
    for values in ({**row, "diameter_mm": None}, row):
        (guessed,) = variants.regions([values], geometry, None, given)
        assert guessed.radius_px == pytest.approx(0.1 * 500.0 / 2 * 0.25)


def test_a_question_without_answers_is_refused() -> None:
    document = {"nodules": {"audit": {**asdict(audit_params()), "questions": ["A?", "B?"], "answers": ["Yes/No"]}}}
    with pytest.raises(ParamsError, match="answers for each question"):
        params.parse(document, {"nodules.audit": AuditParams})
