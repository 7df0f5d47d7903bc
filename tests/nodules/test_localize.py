"""Localization: whom it asks, where the points land, and that the text are kept."""

import re
from argparse import Namespace
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pytest
import yaml
from tiny_base import EXACT, localizer_setting

from stages.lib.core import tables
from stages.lib.core.errors import TableError
from stages.lib.core.params import Row
from stages.lib.detect import driver as stage
from stages.lib.detect import views
from stages.lib.detect.choice import SelectParams
from stages.lib.detect.detection import Detection, Query, Response, batches
from stages.lib.detect.driver import Params
from stages.lib.detect.kinds import medgemma
from stages.lib.images.preprocess import normalize_pixels
from stages.lib.models.snapshot import Snapshot
from stages.nodules import localize

PARAMS = Params(views=("whole",), images="measured")
FILES = ("split", "points")
BOTH = Params(views=("whole", "mirrored"), images="measured")
SELECT = SelectParams(splits=("val",), max_prompts=1, negative_images=9, false_points_per_image=0.25, seed=1)


def image(name: str, width_px: int, height_px: int) -> dict:
    known = {"image_id": name, "file_name": f"{name}.png", "path": name, "source": "lidc", "patient_id": name}
    return known | {"label": 1, "width_px": width_px, "height_px": height_px, "status": "ok"}


def square(name: str, width_px: int, height_px: int, side_px: int = 112) -> dict:
    side = max(width_px, height_px)
    pads = {"pad_x_px": (side - width_px) // 2, "pad_y_px": (side - height_px) // 2}
    return (
        {"image_id": name, "png": f"{name}.png", "low": 0.0, "high": 1.0, "side_px": side_px}
        | pads
        | {
            "scale": side_px / side,
            "preprocessing_hash": "c",
        }
    )


SIZES = {"a": (400, 200), "b": (200, 400), "c": (300, 300)}
MANIFEST = tables.from_rows([image(name, *size) for name, size in SIZES.items()], tables.MANIFEST)
NORMALIZED = tables.from_rows([square(name, *size) for name, size in SIZES.items()], tables.NORMALIZED)


class FromTable:
    """A localizer that responses from a table, and remembers what it was asked."""

    def __init__(self, responses: dict[str, Response]) -> None:
        self.responses = responses
        self.asked: list[str] = []

    def __call__(self, queries: Sequence[Query]) -> Iterator[Response]:
        for query in queries:
            self.asked.append(query.key)
            yield self.responses.get(query.key.split("\t")[0], Response("nothing", "empty", ()))


def ask(folder: Path, localizer: FromTable, params: Params = PARAMS, manifest: pa.Table = MANIFEST):
    return stage.localize(manifest, NORMALIZED, ["Where?"], folder, localizer, params)


MIDDLE = Detection(u=0.5, v=0.5, box=(0.25, 0.4, 0.75, 0.6), confidence=None, phrase="nodule on the left")


def test_a_box_lands_in_pixels_of_the_original_whatever_its_shape(tmp_path: Path) -> None:
    response = Response("text", "ok", (MIDDLE,))
    found, _ = ask(tmp_path, FromTable(dict.fromkeys(SIZES, response)))
    rows = {row["image_id"]: row for row in found.to_pylist()}
    assert [(row["x"], row["y"]) for row in rows.values()] == [(199.5, 99.5), (99.5, 199.5), (149.5, 149.5)]
    assert [rows["a"][edge] for edge in ("x0", "y0", "x1", "y1")] == pytest.approx([99.5, 59.5, 299.5, 139.5])
    assert [rows["b"][edge] for edge in ("x0", "y0", "x1", "y1")] == pytest.approx([-0.5, 159.5, 199.5, 239.5])


def test_the_words_of_every_image_are_kept_and_a_image_without_findings_has_no_row(tmp_path: Path) -> None:
    said = {"a": Response("Final Answer: []", "empty", ()), "b": Response("{oops", "malformed", ())}
    said["c"] = Response("two", "ok", (MIDDLE, MIDDLE))
    found, responses = ask(tmp_path, FromTable(said))
    assert [(row["image_id"], row["rank"]) for row in found.to_pylist()] == [("c", 0), ("c", 1)]
    assert found["phrase"].to_pylist() == ["nodule on the left"] * 2
    assert [(row["response"], row["parsed"]) for row in responses.to_pylist()] == [
        ("Final Answer: []", "empty"),
        ("{oops", "malformed"),
        ("two", "ok"),
    ]


def test_each_view_of_each_image_is_asked_and_its_places_are_brought_back(tmp_path: Path) -> None:
    left = Response("text", "ok", (Detection(u=0.25, v=0.5, box=None, confidence=0.5, phrase="left"),))
    localizer = FromTable({"c": left})
    detections, responses = ask(tmp_path, localizer, BOTH)
    assert localizer.asked == [f"{name}\t{view}\tWhere?" for view in ("whole", "mirrored") for name in "abc"]
    assert responses.num_rows == 6
    assert [(row["view"], row["x"], row["phrase"]) for row in detections.to_pylist()] == [
        ("mirrored", 224.5, "right"),
        ("whole", 74.5, "left"),
    ]


def test_a_question_shows_the_view_of_its_image(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (112, 112), dtype=np.uint8)
    for name in SIZES:
        cv2.imwrite(str(tmp_path / f"{name}.png"), pixels)
    seen: list[np.ndarray] = []

    def look(queries: Sequence[Query]) -> Iterator[Response]:
        for query in queries:
            seen.append(query.pixels())
            yield Response("", "empty", ())

    stage.localize(MANIFEST, NORMALIZED, ["Where?"], tmp_path, look, BOTH)
    assert (seen[0] == pixels).all()
    assert (seen[3] == pixels[:, ::-1]).all()


def test_batches_keep_the_order_and_never_hold_two_prompts() -> None:
    queries = [Query(key=str(k), pixels=lambda: np.zeros(1), prompt="ab"[k // 3]) for k in range(5)]
    assert [[q.key for q in batch] for batch in batches(queries, 2)] == [["0", "1"], ["2"], ["3", "4"]]


def test_a_image_that_the_manifest_does_not_know_is_named(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="c"):
        ask(tmp_path, FromTable({}), manifest=MANIFEST.slice(0, 2))


def test_images_that_are_asked_about_are_those_that_choose_or_are_measured() -> None:
    parts, labels = {"a": "train", "b": "test", "c": "train"}, {"a": 0, "b": 1, "c": 1}
    rows = [{"image_id": n, "patient_id": n, "label": labels[n], "split": parts[n]} for n in SIZES]
    split = tables.from_rows(rows, tables.SPLIT)
    points = tables.from_rows([{"image_id": "c", "point": 0, "x": 1.0, "y": 1.0}], tables.POINTS)

    def names(split: pa.Table | None, points: pa.Table | None, images: str, splits: Sequence[str]) -> str:
        params = Params(views=("whole",), images=images)  # type: ignore[arg-type]
        how = replace(SELECT, splits=tuple(splits))
        return "".join(stage.chosen_images(NORMALIZED, split, points, params, how)["image_id"].to_pylist())

    assert names(split, points, "choosing", ["train"]) == "ac"
    assert names(split, points, "choosing", ["val"]) == ""
    assert names(split, points, "measured", ["train"]) == "abc"
    assert names(split, points, "measured", ["val"]) == "bc"
    assert names(split, None, "measured", ["train"]) == "ab"
    assert names(split, None, "choosing", ["train"]) == ""
    assert names(None, None, "measured", ["train"]) == "abc"
    assert names(split, points, "all", ["val"]) == "abc"


def test_a_localizer_with_an_adapter_is_not_asked_about_the_train_images_that_choose_for_others(tmp_path: Path) -> None:
    parts, marked = {"a": "train", "b": "val", "c": "test"}, "ab"
    rows = [{"image_id": n, "patient_id": n, "label": int(n in marked), "split": parts[n]} for n in SIZES]
    points = [{"image_id": n, "point": 0, "x": 1.0, "y": 1.0} for n in marked]
    for name, table in (("manifest", MANIFEST), ("normalized", NORMALIZED)):
        tables.write(tmp_path / f"{name}.parquet", table, tables.SCHEMAS[name])
    for name, found in (("split", rows), ("points", points)):
        tables.write(tmp_path / f"{name}.parquet", tables.from_rows(found, tables.SCHEMAS[name]), tables.SCHEMAS[name])
    named = {
        name: tmp_path / f"{name}.parquet" for name in ("manifest", "normalized", "detections", "responses", *FILES)
    }
    absent = dict.fromkeys(name for name in localize.OPTIONAL if name not in FILES)
    asked = {}
    for adapter in ("none", "some/adapter"):
        sections = {
            "localize": Params(views=("whole",), images="choosing"),
            "select": replace(SELECT, splits=("train", "val")),
            "localizers": {"one": Row("attribution", Namespace(adapter=adapter))},
        }
        given = Namespace(params=Namespace(**sections), shard="1-of-1", results=tmp_path, localizer="one")
        localizer = FromTable({})
        localize.run(Namespace(**vars(given), **named, **absent), ["one", "two"], lambda found=localizer: found)
        asked[adapter] = {key.partition("\t")[0] for key in localizer.asked}
    assert asked == {"none": {"a", "b"}, "some/adapter": {"b"}}


def test_a_bank_that_leaves_nothing_to_choose_is_not_asked_and_its_model_not_loaded(tmp_path: Path) -> None:
    for name, table in (("manifest", MANIFEST), ("normalized", NORMALIZED)):
        tables.write(tmp_path / f"{name}.parquet", table, tables.SCHEMAS[name])
    sections = {
        "localize": Params(views=("whole",), images="choosing"),
        "select": replace(SELECT, max_prompts=2),
        "localizers": {"one": Row("medgemma", None)},
    }
    named = {name: tmp_path / f"{name}.parquet" for name in ("manifest", "normalized", "detections", "responses")}
    absent = dict.fromkeys(localize.OPTIONAL)
    args = Namespace(params=Namespace(**sections), shard="1-of-1", results=tmp_path, localizer="one", **named, **absent)
    localize.run(args, ["one", "two"], lambda: pytest.fail("the model was loaded"))
    assert tables.read(tmp_path / "responses.parquet", tables.RESPONSES).num_rows == 0
    with pytest.raises(pytest.fail.Exception, match="was loaded"):
        localize.run(args, ["one", "two", "three"], lambda: pytest.fail("the model was loaded"))


def test_the_base_model_is_asked_by_the_same_interface(tiny_base: Snapshot, tmp_path: Path) -> None:
    """The random tiny base says nothing of use, but it says it about each image, alone or in a batch."""
    images = [np.random.default_rng(k).integers(0, 255, (112, 112), dtype=np.uint8) for k in range(3)]
    queries = [Query(key=str(k), pixels=lambda k=k: images[k], prompt="Where?") for k in range(3)]
    params = medgemma.Params(prompts=("Where?",), image_first=True, max_new_tokens=8, batch_size=2)
    localizer = medgemma.localizer(params, localizer_setting(tmp_path, tiny_base.folder, EXACT))
    together = list(localizer(queries))
    assert [response.text for response in together] == [next(localizer([query])).text for query in queries]
    assert {response.parsed for response in together} == {"cut"}, "eight tokens hold no response"


REAL = [
    yaml.safe_load(path.read_text()) for path in sorted((Path(__file__).parents[2] / "workflow/presets").glob("*.yaml"))
]
BANKS = [
    row
    for study in REAL
    if "nodules" in study and study["weights"]["fetch"]["revision"] != "none"
    for row in study["nodules"]["localizers"].values()
    if row["kind"] == "medgemma"
]


@pytest.mark.parametrize(
    "element",
    [
        "Where is each lung nodule",
        "[y0, x0, y1, x1]",
        "normalized to 0..1000",
        "Left is the patient's left",
        "First write down your reasoning",
        '"Final Answer: X"',
        "a single JSON list",
        '"box_2d" and "label"',
    ],
)
def test_the_first_prompt_for_the_real_model_has_the_form_that_its_vendor_documents_with(element: str) -> None:
    assert BANKS
    for row in BANKS:
        assert element in row["prompts"][0]
        assert row["max_new_tokens"] >= 1000, "as the vendor's own example"


def test_the_answers_that_the_first_prompt_for_the_real_model_asks_for_can_be_read() -> None:
    for row in BANKS:
        (example,) = re.findall(r"\[\{.*?\}\]", row["prompts"][0])
        for edge, value in {"y0": "411", "x0": "305", "y1": "470", "x1": "361"}.items():
            example = example.replace(edge, value)
        (found,) = medgemma.read(f"It is dense.\n\nFinal Answer: {example}").detections
        assert (found.box, found.phrase) == ((0.305, 0.411, 0.361, 0.470), "lung nodule")
        assert "or [] if there is no lung nodule" in row["prompts"][0]
        assert medgemma.read("Both lungs are clear.\n\nFinal Answer: []").parsed == "empty"


@pytest.mark.parametrize(("width", "height"), [(300, 200), (200, 300), (401, 400)])
@pytest.mark.parametrize("view", ["whole", "mirrored", "upper_left", "lower_right"])
def test_a_spot_on_a_16_bit_image_that_is_not_square_comes_back_to_its_pixel(
    tmp_path: Path, width: int, height: int, view: views.Name
) -> None:
    """From the file to the table: normalized, shown in a view, found at its brightest, and back in the original."""
    truth = (0.35 * width, 0.3 * height) if view != "lower_right" else (0.7 * width, 0.65 * height)
    rows, columns = np.mgrid[0:height, 0:width]
    spot = 60000 * np.exp(-((columns - truth[0]) ** 2 + (rows - truth[1]) ** 2) / (2 * 9.0**2))
    image_16_bit = (spot + 1000 + rows + 2 * columns).astype(np.uint16)
    pixels, *_ = normalize_pixels(image_16_bit, side_px=448, low_percentile=0.5, high_percentile=99.95)
    cv2.imwrite(str(tmp_path / "a.png"), pixels)
    known = image("a", width, height) | {"bit_depth": 16}
    normalized = square("a", width, height, 448)

    def brightest(queries: Sequence[Query]) -> Iterator[Response]:
        for query in queries:
            seen = query.pixels().astype(float)
            weight = np.where(seen > 0.5 * seen.max(), seen - 0.5 * seen.max(), 0)
            v, u = (np.mgrid[0 : len(seen), 0 : len(seen)] + 0.5) / len(seen)
            place = [float((axis * weight).sum() / weight.sum()) for axis in (u, v)]
            yield Response("", "ok", (Detection(*place, box=None, confidence=None, phrase=None),))

    params = Params(views=(view,), images="all")
    detections, _ = stage.localize(
        tables.from_rows([known], tables.MANIFEST),
        tables.from_rows([normalized], tables.NORMALIZED),
        *(["Where?"], tmp_path, brightest, params),
    )
    assert detections["x"][0].as_py() == pytest.approx(truth[0], abs=0.6)
    assert detections["y"][0].as_py() == pytest.approx(truth[1], abs=0.6)
