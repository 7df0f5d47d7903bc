"""Reports of simulated chest images: what they tell is so, what they deny is not, and boxes are of what is told."""

import re

import numpy as np
import pytest

from stages.lib.demo.synthetic import chest_findings, chest_sentences
from stages.lib.demo.synthetic import image as images
from stages.lib.demo.synthetic.chest_findings import KINDS

REPORTS = range(30)


def image_of(number: int) -> images.Image:
    rng = np.random.default_rng([31, number])
    kinds = [kind for kind in KINDS if rng.random() < 0.4]
    who = chest_findings.large_heart(rng, images.patient(rng), "heart" in kinds)
    return images.draw(
        rng,
        who,
        width_px=112,
        height_px=96 + number,
        nodules=number % 4,
        diameter_mm=(16, 42),
        contrast=(0.5, 1),
        findings=chest_findings.findings(rng, rng, kinds),
    )


@pytest.fixture(scope="module")
def told():
    return [
        (image, chest_sentences.report(np.random.default_rng(number), image, sentences=5, placed_fraction=0.5))
        for number, image in ((number, image_of(number)) for number in REPORTS)
    ]


def test_every_nodule_has_one_box_in_a_sentence_of_its_size_side_and_zone(told) -> None:
    nodules = 0
    for image, report in told:
        about = [one for one in report if one.abnormal and one.labels == ("nodule",)]
        assert sum(len(one.boxes) for one in about) == len(image.nodules)
        for nodule in image.nodules:
            box = chest_sentences.nodule_box(nodule, image)
            side, zone = chest_sentences.nodule_place(nodule, image)
            (sentence,) = [one for one in about if box in one.boxes]
            for word in (chest_sentences.nodule_size(nodule.diameter_mm), side, zone):
                assert re.search(rf"\b{word}\b", sentence.text)
            nodules += 1
    assert nodules > 30


def test_left_of_a_nodule_is_the_right_of_the_image(told) -> None:
    for image, _ in told:
        for nodule in image.nodules:
            side, _ = chest_sentences.nodule_place(nodule, image)
            if abs(nodule.x - image.frame.shift[0]) > 10:
                assert (side == "left") == (nodule.x > image.frame.shift[0])


def test_the_box_of_a_nodule_is_as_wide_as_it_in_pixels_from_the_border() -> None:
    for number in REPORTS:
        image = image_of(number)
        height, width = image.density.shape
        for nodule in image.nodules:
            x0, y0, x1, y1 = chest_sentences.nodule_box(nodule, image)
            assert 0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height
            if x0 > 0 and x1 < width:
                assert x1 - x0 == pytest.approx(nodule.diameter_px)
                assert (x0 + x1) / 2 == pytest.approx(nodule.x + 0.5)


def test_every_larger_finding_has_one_sentence_with_its_box(told) -> None:
    seen = set()
    for image, report in told:
        for shown in image.findings:
            kind = shown.finding.kind
            (sentence,) = [one for one in report if one.labels == (kind,) and one.abnormal]
            assert sentence.boxes == (shown.box,)
            seen.add(kind)
    assert seen == set(KINDS)


def test_what_is_denied_is_not_there_and_has_no_box(told) -> None:
    denied = 0
    for image, report in told:
        places = {chest_sentences.nodule_place(nodule, image) for nodule in image.nodules}
        kinds = {one.finding.kind for one in image.findings}
        for one in (one for one in report if not one.abnormal):
            assert one.boxes == ()
            (label,) = one.labels
            assert label not in kinds
            if label == "nodule":
                for side, zone in places:
                    named = [third for third in chest_sentences.THIRDS if third in one.text]
                    assert side not in one.text or (named and zone not in named)
            denied += 1
    assert denied > 30


def test_a_report_has_at_least_as_many_sentences_as_asked_and_none_twice(told) -> None:
    for image, report in told:
        texts = [one.text for one in report]
        assert len(texts) == len(set(texts)) >= 5
        assert len(texts) == 5 or len(image.nodules) + len(image.findings) >= 5


def test_the_wording_of_a_larger_finding_tells_its_place_or_does_not(told) -> None:
    image, _ = next((image, report) for image, report in told if {"opacity", "effusion"} <= _kinds(image))
    for fraction, wanted in ((1.0, True), (0.0, False)):
        report = chest_sentences.report(np.random.default_rng(3), image, sentences=5, placed_fraction=fraction)
        about = [one.text for one in report if one.abnormal and one.labels[0] in ("opacity", "effusion")]
        assert [bool(re.search("left|right", text)) for text in about] == [wanted, wanted]


def _kinds(image: images.Image) -> set[str]:
    return {one.finding.kind for one in image.findings}


def test_a_heart_is_normal_or_large_in_every_report(told) -> None:
    for image, report in told:
        (sentence,) = [one for one in report if one.labels == ("heart",)]
        assert sentence.abnormal == ("heart" in _kinds(image))
        assert ("normal" in sentence.text) != sentence.abnormal
