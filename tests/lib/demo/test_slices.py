"""Drawn slices: exact truth, no difference but the finding, and sentences that say what was drawn."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.lib.demo.synthetic import slice_anatomy, slice_findings, slice_texts, slices
from stages.lib.demo.synthetic.ellipses import Plane
from stages.lib.demo.synthetic.slice_anatomy import MODALITIES, REGIONS
from stages.lib.demo.synthetic.slice_findings import KINDS, SIDES, SIZES, Finding

CLEAR = (1.0, 1.0)
STRATA = [(region, modality) for region in REGIONS for modality in MODALITIES]


def drawn(seed: int, region: str, modality: str, *findings: Finding, contrast=CLEAR) -> slices.Slice:
    body = slice_anatomy.body(np.random.default_rng([seed, 0]), region)
    return slices.draw(np.random.default_rng([seed, 1]), body, modality, findings, contrast=contrast)


def one(seed: int, region: str, kind: str = "mass", side: str = "left", size: str = "large") -> Finding:
    return slice_findings.finding(np.random.default_rng([seed, 2]), region, kind, side, size)


@pytest.mark.parametrize(("region", "modality"), STRATA)
def test_a_slice_is_square_grey_and_the_same_for_equal_random_numbers(region, modality):
    first, again = drawn(1, region, modality), drawn(1, region, modality)
    assert first.pixels.shape == (slices.SIDE_PX, slices.SIDE_PX) and first.pixels.dtype == np.uint8
    assert first.pixels.tobytes() == again.pixels.tobytes()
    assert first.pixels.tobytes() != drawn(2, region, modality).pixels.tobytes()
    assert np.ptp(first.pixels) > 100


def test_bone_is_bright_on_ct_and_dark_on_mr():
    for seed in range(5):
        ct, mr = (drawn(seed, "urinary", modality) for modality in MODALITIES)
        body = slice_anatomy.body(np.random.default_rng([seed, 0]), "urinary")
        plane = Plane(112, 55.5 + body.right_px, 55.5 + body.down_px, 47 * body.size, np.radians(body.turn_degrees))
        x, y = (round(value) for value in plane.to_pixels(0.78 * body.width, -0.06))
        around = slice(y - 2, y + 3), slice(x - 1, x + 2)
        assert ct.pixels[around].mean() > 200
        assert mr.pixels[around].mean() < 90


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("region", "modality"), STRATA)
def test_a_finding_changes_the_pixels_within_its_radius_and_no_other(region, modality, kind):
    finding = one(3, region, kind)
    without, with_one = drawn(3, region, modality), drawn(3, region, modality, finding)
    (place,) = with_one.places
    rows, columns = np.indices(without.pixels.shape)
    outside = np.hypot(columns - place.x, rows - place.y) > place.radius_px + 2.5  # a dot on the rim sticks out
    change = np.abs(with_one.pixels.astype(int) - without.pixels)
    assert change[outside].max() == 0
    assert change[~outside].max() > 40


def test_the_patients_right_is_at_the_left_of_the_image():
    for seed, (region, modality) in enumerate(STRATA):
        sides = {side: drawn(seed, region, modality, one(seed, region, side=side)).places[0].x for side in SIDES}
        assert sides["right"] < slices.SIDE_PX / 2 < sides["left"]


def test_a_finding_without_contrast_is_not_there_and_with_more_contrast_is_clearer():
    finding = one(4, "abdomen")
    plain = drawn(4, "abdomen", "CT").pixels.astype(int)
    changes = [
        np.abs(drawn(4, "abdomen", "CT", finding, contrast=(c, c)).pixels - plain).sum() for c in (0.0, 0.4, 1.0)
    ]
    assert changes[0] == 0 < changes[1] < changes[2]


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**31), region=st.sampled_from(REGIONS), number=st.integers(0, 2))
def test_two_findings_differ_in_kind_and_side_and_the_key_finding_is_the_larger(seed, region, number):
    found = slice_findings.findings(np.random.default_rng(seed), region, number)
    assert len(found) == len({one.kind for one in found}) == len({one.side for one in found}) == number
    assert [SIZES.index(one.size) for one in found] == sorted((SIZES.index(one.size) for one in found), reverse=True)
    for one_ in found:
        assert (one_.u < 0) == (one_.side == "right")
        low, high = slice_findings.RADII_PX[one_.size]
        assert low <= one_.radius_px <= high


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**31), region=st.sampled_from(REGIONS), modality=st.sampled_from(MODALITIES))
def test_every_finding_lies_whole_on_the_slice_and_within_the_body(seed, region, modality):
    rng = np.random.default_rng(seed)
    found = slice_findings.findings(rng, region, 2)
    made = slices.draw(rng, slice_anatomy.body(rng, region), modality, found, contrast=CLEAR)
    for place in made.places:
        assert place.radius_px <= place.x <= slices.SIDE_PX - 1 - place.radius_px
        assert place.radius_px <= place.y <= slices.SIDE_PX - 1 - place.radius_px


def test_every_kind_side_and_size_is_drawn():
    rng = np.random.default_rng(5)
    found = [one for _ in range(60) for one in slice_findings.findings(rng, "spine", 2)]
    assert {one.kind for one in found} == set(KINDS)
    assert {(one.side, one.size) for one in found} == {(side, size) for side in SIDES for size in SIZES}


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**31), region=st.sampled_from(REGIONS), number=st.integers(0, 2))
def test_a_report_names_each_finding_once_with_its_size_side_and_place(seed, region, number):
    rng = np.random.default_rng(seed)
    found = slice_findings.findings(rng, region, number)
    for text in (slice_texts.report(found, region), slice_texts.report(found, region, rng)):
        if not found:
            assert text == slice_texts.NORMAL
            continue
        *said, last = text.removesuffix(".").split(". ")
        assert last + "." == slice_texts.NO_OTHER and len(said) == len(found)
        for sentence, one_ in zip(said, found, strict=True):
            words = set(sentence.split())
            assert {one_.kind, one_.side, one_.size, slice_texts.REGION_WORDS[region]} <= words
            assert not words & {*KINDS, *SIDES, *SIZES} - {one_.kind, one_.side, one_.size}
