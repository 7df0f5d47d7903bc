"""Augmentation: no nodule leaves the image, nothing comes in again, left stays left, a sample is the same each time."""

from dataclasses import asdict
from typing import Any

import numpy as np
import pytest

from stages.lib.learn import augment
from stages.lib.learn.augment import INNER, AugmentParams, Change

SIDE = 101
STILL = {
    "max_shift_fraction": 0.0,
    "max_rotation_degrees": 0.0,
    "mirror": False,
    "max_brightness_fraction": 0.0,
    "max_contrast_fraction": 0.0,
}


def params(**changes: Any) -> AugmentParams:
    return AugmentParams(**{**STILL, **changes})


@pytest.mark.parametrize(("shift", "degrees"), [(0.1, 0.0), (0.0, 13.0), (0.05, 6.0)])
def test_what_lies_in_the_inner_part_stays_within_the_image(shift: float, degrees: float) -> None:
    given = params(max_shift_fraction=shift, max_rotation_degrees=degrees)
    assert augment.inner_fraction(shift, degrees) >= INNER
    low = int(np.ceil(SIDE * (1 - INNER) / 2)) + 1
    high = SIDE - 1 - low
    corners = [(low, low), (low, high), (high, low), (high, high), (low, SIDE // 2)]
    worst = [Change(s * shift, t * shift, u * degrees, False, 0, 1) for s in (-1, 1) for t in (-1, 1) for u in (-1, 1)]
    for change in [*worst, *(augment.drawn(given, 1, sample) for sample in range(50))]:
        for row, column in corners:
            image = np.zeros((SIDE, SIDE), np.uint8)
            image[row, column] = 240
            found = augment.changed(image, change)
            assert found.astype(int).sum() == pytest.approx(240, abs=12), (change, row, column)


def test_movement_and_turn_are_where_they_are_said_to_be() -> None:
    image = np.zeros((SIDE, SIDE), np.uint8)
    image[50, 70] = 200
    moved = augment.changed(image, Change(10 / SIDE, -5 / SIDE, 0, False, 0, 1))
    assert np.argwhere(moved == 200).tolist() == [[60, 65]]
    turned = augment.changed(image, Change(0, 0, 90, False, 0, 1))
    assert np.argwhere(turned > 150).tolist() == [[30, 50]]  # counter-clockwise: from the right to the top


def test_what_leaves_the_image_does_not_come_in_at_the_other_side() -> None:
    image = np.full((SIDE, SIDE), 100, np.uint8)
    found = augment.changed(image, Change(0.1, 0.1, 0, False, 0, 1))
    assert not found[:10].any()
    assert not found[:, :10].any()
    assert (found[11:, 11:] == 100).all()
    bright = augment.changed(image, Change(0.1, 0.1, 0, False, 0.2, 1))
    assert not bright[:10].any()  # what comes in is black whatever the brightness


def test_left_and_right_are_exchanged_only_where_the_row_says_so() -> None:
    for allowed in (False, True):
        drawn = {augment.drawn(params(mirror=allowed), 1, sample).mirrored for sample in range(40)}
        assert drawn == ({False, True} if allowed else {False})
    image = np.arange(16, dtype=np.uint8).reshape(4, 4)
    assert np.array_equal(augment.changed(image, Change(0, 0, 0, True, 0, 1)), image[:, ::-1])


def test_brightness_and_contrast_by_hand_and_within_the_range() -> None:
    image = np.array([[100, 140], [120, 120]], np.uint8)  # mean 120
    assert augment.changed(image, Change(0, 0, 0, False, 0.2, 0.5)).tolist() == [[161, 181], [171, 171]]
    assert augment.changed(image, Change(0, 0, 0, False, 1.0, 1)).tolist() == [[255, 255], [255, 255]]


def test_a_row_without_augmentation_leaves_every_bit() -> None:
    image = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE), dtype=np.uint8)
    for sample in range(5):
        assert np.array_equal(augment.changed(image, augment.drawn(params(), 1, sample)), image)


def test_a_change_depends_on_seed_and_number_alone_and_stays_within_its_bounds() -> None:
    given = params(
        max_shift_fraction=0.05,
        max_rotation_degrees=5.0,
        mirror=True,
        max_brightness_fraction=0.1,
        max_contrast_fraction=0.2,
    )
    assert augment.drawn(given, 1, 7) == augment.drawn(given, 1, 7)
    assert len({augment.drawn(given, seed, sample) for seed in (1, 2) for sample in range(20)}) == 40
    for change in (augment.drawn(given, 3, sample) for sample in range(200)):
        assert max(abs(change.down_fraction), abs(change.right_fraction)) <= 0.05
        assert abs(change.degrees) <= 5
        assert abs(change.brightness) <= 0.1
        assert abs(change.contrast - 1) <= 0.2


@pytest.mark.parametrize("changes", [{"max_shift_fraction": 0.11}, {"max_rotation_degrees": 20.0}])
def test_bounds_by_which_a_nodule_could_leave_are_refused(changes: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"only the inner 0\.7\d of the sides stays .* wanted at least 0.8"):
        AugmentParams(**{**asdict(params()), **changes})
