"""Localization: whom it asks, where the points land, and that the words are kept."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pytest

from stages import localize as stage
from stages.lib import tables
from stages.lib.errors import TableError
from stages.lib.models import Base, ModelParams
from stages.localize import Answer, Finding, Params

PARAMS = Params(request="Where?", image_first=True, max_new_tokens=8, batch_size=2, films="measured")


def film(name: str, width_px: int, height_px: int) -> dict:
    known = {"image_id": name, "file_name": f"{name}.png", "path": name, "source": "lidc", "patient_id": name}
    return known | {"label": 1, "width_px": width_px, "height_px": height_px, "status": "ok"}


def square(name: str, width_px: int, height_px: int) -> dict:
    side = max(width_px, height_px)
    pads = {"pad_x_px": (side - width_px) // 2, "pad_y_px": (side - height_px) // 2}
    return (
        {"image_id": name, "png": f"{name}.png", "low": 0.0, "high": 1.0, "side_px": 112}
        | pads
        | {
            "scale": 112 / side,
            "contract": "c",
        }
    )


SIZES = {"a": (400, 200), "b": (200, 400), "c": (300, 300)}
MANIFEST = tables.from_rows([film(name, *size) for name, size in SIZES.items()], tables.MANIFEST)
NORMALIZED = tables.from_rows([square(name, *size) for name, size in SIZES.items()], tables.NORMALIZED)


class FromTable:
    """A localizer that answers from a table, and remembers what it was asked."""

    def __init__(self, answers: dict[str, Answer]) -> None:
        self.answers = answers
        self.asked: list[list[str]] = []

    def __call__(self, pngs: Sequence[Path]) -> list[Answer]:
        self.asked.append([png.stem for png in pngs])
        return [self.answers.get(png.stem, Answer("nothing", "empty", ())) for png in pngs]


MIDDLE = Finding(u=0.5, v=0.5, box=(0.25, 0.4, 0.75, 0.6), confidence=None, phrase="nodule on the left")


def test_a_box_lands_in_pixels_of_the_original_whatever_its_shape(tmp_path: Path) -> None:
    answer = Answer("words", "ok", (MIDDLE,))
    found, _ = stage.localize(MANIFEST, NORMALIZED, tmp_path, FromTable(dict.fromkeys(SIZES, answer)), PARAMS)
    rows = {row["image_id"]: row for row in found.to_pylist()}
    assert [(row["x"], row["y"]) for row in rows.values()] == [(199.5, 99.5), (99.5, 199.5), (149.5, 149.5)]
    assert [rows["a"][edge] for edge in ("x0", "y0", "x1", "y1")] == pytest.approx([99.5, 59.5, 299.5, 139.5])
    assert [rows["b"][edge] for edge in ("x0", "y0", "x1", "y1")] == pytest.approx([-0.5, 159.5, 199.5, 239.5])


def test_the_words_of_every_film_are_kept_and_a_film_without_findings_has_no_row(tmp_path: Path) -> None:
    said = {"a": Answer("Final Answer: []", "empty", ()), "b": Answer("{oops", "malformed", ())}
    said["c"] = Answer("two", "ok", (MIDDLE, MIDDLE))
    found, answers = stage.localize(MANIFEST, NORMALIZED, tmp_path, FromTable(said), PARAMS)
    assert [(row["image_id"], row["rank"]) for row in found.to_pylist()] == [("c", 0), ("c", 1)]
    assert found["phrase"].to_pylist() == ["nodule on the left"] * 2
    assert [(row["answer"], row["parsed"]) for row in answers.to_pylist()] == [
        ("Final Answer: []", "empty"),
        ("{oops", "malformed"),
        ("two", "ok"),
    ]


def test_films_are_asked_in_batches_in_the_order_of_their_ids(tmp_path: Path) -> None:
    localizer = FromTable({})
    stage.localize(MANIFEST, NORMALIZED, tmp_path, localizer, PARAMS)
    assert localizer.asked == [["a", "b"], ["c"]]


def test_a_film_that_the_manifest_does_not_know_is_named(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="c"):
        stage.localize(MANIFEST.slice(0, 2), NORMALIZED, tmp_path, FromTable({}), PARAMS)


def test_measured_films_are_those_of_the_test_split_and_those_with_points() -> None:
    rows = [
        {"image_id": name, "patient_id": name, "label": 1, "split": part}
        for name, part in zip(SIZES, ("train", "test", "train"), strict=True)
    ]
    split = tables.from_rows(rows, tables.SPLIT)
    points = tables.from_rows([{"image_id": "c", "point": 0, "x": 1.0, "y": 1.0}], tables.POINTS)

    def names(table: pa.Table) -> list[str]:
        return table["image_id"].to_pylist()

    assert names(stage.measured(NORMALIZED, split, points)) == ["b", "c"]
    assert names(stage.measured(NORMALIZED, split, None)) == ["b"]
    assert names(stage.measured(NORMALIZED, None, None)) == ["a", "b", "c"]


def test_the_base_model_is_asked_by_the_same_interface(tiny_base: Base, tmp_path: Path) -> None:
    """The random tiny base says nothing of use, but it says it about each film, alone or in a batch."""
    import cv2
    import numpy as np

    pngs = [tmp_path / f"{index}.png" for index in range(3)]
    for index, png in enumerate(pngs):
        cv2.imwrite(str(png), np.random.default_rng(index).integers(0, 255, (112, 112), dtype=np.uint8))
    model = ModelParams(dtype="float32", attention="sdpa", quantization="none", cache_features=False)
    ask = stage.medgemma(tiny_base.folder, model, PARAMS)
    together = ask(pngs)
    assert [answer.words for answer in together] == [ask([png])[0].words for png in pngs]
    assert {answer.parsed for answer in together} <= {"ok", "empty", "malformed"}
