"""Findings larger than a nodule: where they are said to be, and nowhere else, is the image another."""

from dataclasses import replace

import numpy as np
import pytest

from stages.lib.demo.synthetic import chest_findings
from stages.lib.demo.synthetic import image as images
from stages.lib.demo.synthetic.anatomy import third
from stages.lib.demo.synthetic.chest_findings import KINDS, SIDES, Finding

PATCH_PX = 14  # of the tiny base, at 112 px


def patient(number: int, *, large: bool = False):
    who = images.patient(np.random.default_rng([6, number]))
    return chest_findings.large_heart(np.random.default_rng([7, number]), who, large)


def wanted(number: int, *kinds: str) -> tuple[Finding, ...]:
    return chest_findings.findings(np.random.default_rng([8, number]), np.random.default_rng([9, number]), kinds)


def render(number: int, *kinds: str, nodules: int = 0, findings: tuple[Finding, ...] | None = None) -> images.Image:
    return images.draw(
        np.random.default_rng([5, number]),
        patient(number, large="heart" in kinds),
        width_px=112,
        height_px=112,
        nodules=nodules,
        diameter_mm=(16, 42),
        contrast=(0.5, 1),
        findings=wanted(number, *kinds) if findings is None else findings,
    )


def middle_mm(image: images.Image) -> tuple[float, float]:
    x0, y0, x1, y1 = image.findings[0].box
    return image.frame.to_patient((x0 + x1) / 2 - 0.5, (y0 + y1) / 2 - 0.5)


@pytest.mark.parametrize("kind", KINDS)
def test_equal_random_numbers_give_equal_findings_and_others_other_ones(kind: str) -> None:
    one, two, other = render(1, kind), render(1, kind), render(2, kind)
    assert one.density.tobytes() == two.density.tobytes()
    assert one.findings[0].box == two.findings[0].box != other.findings[0].box


def test_findings_take_no_random_number_from_the_image() -> None:
    for number in range(4):
        plain, ill = render(number, nodules=0), render(number, *KINDS[1:], nodules=0)
        assert np.array_equal(plain.lungs, ill.lungs) and np.array_equal(plain.frame.matrix, ill.frame.matrix)
        rng = np.random.default_rng([5, number])
        fresh = rng.random()
        rng = np.random.default_rng([5, number])
        images.draw(
            rng,
            patient(number),
            width_px=64,
            height_px=64,
            nodules=2,
            diameter_mm=(16, 42),
            contrast=(0.5, 1),
            findings=wanted(number, "opacity", "effusion"),
        )
        assert rng.random() == fresh


@pytest.mark.parametrize("kind", KINDS[1:])
def test_the_image_is_brighter_inside_the_box_and_changes_little_beyond_it(kind: str) -> None:
    for number in range(8):
        plain, ill = render(number), render(number, kind)
        shown = ill.findings[0]
        more = ill.density - plain.density
        x0, y0, x1, y1 = (round(edge) for edge in shown.box)
        far = np.ones_like(shown.cover)
        far[max(y0 - 8, 0) : y1 + 8, max(x0 - 8, 0) : x1 + 8] = False
        assert more[shown.cover].mean() > 0.05
        assert more[shown.cover].mean() > 3 * np.abs(more[far]).mean()


@pytest.mark.parametrize("kind", ["heart", "pacemaker", "opacity"])
def test_a_finding_is_larger_than_a_patch_of_the_tiny_base(kind: str) -> None:
    for number in range(8):
        x0, y0, x1, y1 = render(number, kind).findings[0].box
        assert min(x1 - x0, y1 - y0) > PATCH_PX


def test_an_effusion_covers_more_than_a_patch() -> None:
    assert all(render(number, "effusion").findings[0].cover.sum() > PATCH_PX**2 for number in range(8))


def test_left_is_the_patients_left_which_is_the_images_right() -> None:
    for kind in ("pacemaker", "opacity", "effusion"):
        sides = set()
        for number in range(8):
            image = render(number, kind)
            x0, _, x1, _ = image.findings[0].box
            on_the_right = (x0 + x1) / 2 > image.frame.shift[0]
            assert SIDES[0 if on_the_right else 1] == image.findings[0].finding.side
            sides.add(image.findings[0].finding.side)
        assert sides == set(SIDES)


def test_an_opacity_lies_about_the_middle_that_was_wanted() -> None:
    inside = 0
    for number in range(12):
        image = render(number, "opacity")
        x, y = middle_mm(image)
        at = image.findings[0].finding.at
        assert abs(x - at[0]) < 30 and abs(y - at[1]) < 35
        inside += third(y) == third(at[1])
    assert inside >= 9


def test_an_effusion_lies_at_the_base_and_a_larger_one_reaches_higher() -> None:
    for number in range(6):
        tops = []
        for reach in (62.0, 100.0, 140.0):
            (asked,) = wanted(number, "effusion")
            asked = replace(asked, reach_mm=reach, at=(asked.at[0], chest_findings.ANGLE_MM - reach))
            image = render(number, findings=(asked,))
            tops.append(image.findings[0].box[1])
            assert middle_mm(image)[1] > 10
        assert tops[0] > tops[1] + 5 > tops[2] + 10


def test_a_large_heart_is_wider_than_any_that_is_not() -> None:
    widths = {large: [] for large in (False, True)}
    for number in range(10):
        for large in widths:
            asked = replace(wanted(number, "heart")[0], seed=0)
            image = images.draw(
                np.random.default_rng([5, number]),
                replace(patient(number, large=large), size=1.0),
                width_px=112,
                height_px=112,
                nodules=0,
                diameter_mm=(16, 42),
                contrast=(0.5, 1),
                findings=(asked,),
            )
            x0, _, x1, _ = image.findings[0].box
            widths[large].append((x1 - x0) / image.frame.matrix[0, 0])
    assert max(widths[False]) < min(widths[True])


def test_an_opacity_hides_neither_behind_an_effusion_nor_behind_a_pacemaker() -> None:
    for number in range(40):
        pacemaker, opacity, effusion = wanted(number, "pacemaker", "opacity", "effusion")
        assert opacity.side != effusion.side
        assert (opacity.at[0] > 0) == (opacity.side == "left")
        assert opacity.side != pacemaker.side or opacity.at[1] > pacemaker.at[1] + pacemaker.reach_mm


def test_what_lasts_is_at_the_same_place_on_all_images_of_a_patient() -> None:
    def on_image(number: int) -> tuple[Finding, ...]:
        return chest_findings.findings(
            np.random.default_rng(1), np.random.default_rng(number), ("pacemaker", "effusion")
        )

    (first, wet), (second, later) = on_image(2), on_image(3)
    assert first == second and wet != later


def test_no_nodule_has_its_centre_on_a_finding_but_on_the_heart() -> None:
    seen = 0
    for number in range(6):
        image = render(number, "opacity", "effusion", nodules=3)
        for nodule in image.nodules:
            for shown in image.findings:
                row, column = min(max(round(nodule.y), 0), 111), min(max(round(nodule.x), 0), 111)
                seen += shown.cover[row, column]
    assert seen <= 1  # the weighted centre of a lumpy nodule may lie a pixel beside the one that was drawn
