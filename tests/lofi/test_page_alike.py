"""Claims about the part of the page on similar cases."""

import cv2
import numpy as np
import pytest

from stages.lib.core import documents, sentence_tables, tables
from stages.lib.report.blocks import Gallery, Part
from stages.lofi.alike import Alike
from stages.lofi.page import alike

TOLD = Alike(
    encoder="lofi",
    identity="weights",
    percentile=99.0,
    limit=0.05,
    n_validation=40,
    n_patients=31,
    pool=160,
    images=6,
    without=3,
)
NAMES = ("a", "b", "c", "t", "u")
FOUND = [("a", 0, "t", 0.01), ("a", 1, "u", 0.04), ("b", 0, "u", 0.02), ("c", 0, "t", 0.03)]
CASES = alike.Cases(
    alike=tables.from_rows(
        [dict(zip(("image_id", "rank", "neighbour", "distance"), row, strict=True)) for row in FOUND],
        sentence_tables.ALIKE,
    ),
    told=TOLD,
    normalized=tables.from_rows(
        [
            {
                "image_id": name,
                "png": f"{name}.png",
                "low": 0.0,
                "high": 1.0,
                "scale": 1.0,
                "pad_x_px": 0,
                "pad_y_px": 0,
                "side_px": 16,
                "preprocessing_hash": "pixels",
            }
            for name in NAMES
        ],
        tables.NORMALIZED,
    ),
    split=tables.from_rows(
        [
            {"image_id": name, "patient_id": f"p{name}", "label": label, "split": "train" if name in "tu" else "test"}
            for name, label in zip(NAMES, (1, 0, None, 1, 0), strict=True)
        ],
        tables.SPLIT,
    ),
)


def pixels(png: str) -> bytes:
    grey = 40 * NAMES.index(png.removesuffix(".png"))
    return cv2.imencode(".png", np.full((16, 16), grey, np.uint8))[1].tobytes()


def shown(most: int, seed: int = 0) -> Part:
    return alike.part(CASES, pixels, most=most, image_px=8, seed=seed)


def albums(part: Part):
    (gallery,) = [block for block in part.blocks if isinstance(block, Gallery)]
    return {album.title: album for album in gallery.albums}


def test_each_image_is_shown_beside_its_similar_cases_the_nearest_first_with_distance_and_label() -> None:
    found = albums(shown(9))
    assert list(found) == ["a", "b", "c"]
    assert [(card.name, card.facts) for card in found["a"].cards] == [
        ("a", ("the image itself", "nodule")),
        ("t", ("distance 0.01", "nodule")),
        ("u", ("distance 0.04", "no nodule")),
    ]
    assert [album.total for album in found.values()] == [len(album.cards) for album in found.values()]
    assert found["c"].cards[0].facts[1] == "not labelled"
    assert found["a"].cards[0].image != found["a"].cards[1].image


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_images_are_drawn_by_seed_and_no_more_than_wanted(seed) -> None:
    assert len(albums(shown(2, seed))) == 2
    assert shown(2, seed) == shown(2, seed)
    assert len({tuple(albums(shown(1, one))) for one in range(20)}) == 3


def test_the_note_says_what_is_near_enough_and_how_many_have_none() -> None:
    text = " ".join(documents.as_mapping(shown(2))["blocks"][0]["text"])
    assert "2 of the 3 images" in text
    assert "nearer than 0.05, below which 99 % of 40 validation images (31 patients)" in text
    assert "3 of 6 images have none" in text
