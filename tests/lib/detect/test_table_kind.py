"""A localizer that another chapter made: its points come out of a table as they are; train images choose nothing."""

from argparse import Namespace
from dataclasses import replace

import pytest
from tiny_base import EXACT

from stages.lib.core import kinds, tables
from stages.lib.core.errors import MismatchError, ParamsError, TableError
from stages.lib.core.params import Row, parse
from stages.lib.detect import choice, driver
from stages.lib.detect.detection import Query
from stages.lib.detect.kinds import table
from stages.lib.images.geometry import Geometry
from stages.nodules import localize

SELECT = choice.SelectParams(
    splits=("train", "val"), max_prompts=1, negative_images=9, false_points_per_image=0.25, seed=1
)
SETTING = driver.Setting(model=EXACT, base=None, fetched=None, environment=None, journals=None, preprocessing_hash="c")
WIDE = Geometry(width_px=400, height_px=200, side_px=100)
SHAPES = {"a": (400, 200), "b": (200, 400), "c": (300, 300)}


def point(name, rank, x, y, confidence, box=(None,) * 4):
    edges = dict(zip(("x0", "y0", "x1", "y1"), box, strict=True))
    return {"image_id": name, "rank": rank, "x": x, "y": y, "confidence": confidence, "shown": True, **edges}


def written(folder, points, looked_at):
    path = folder / "heatmap.parquet"
    tables.write(path, tables.from_rows(points, tables.LOCALIZE), tables.LOCALIZE)
    rows = [
        {"image_id": name, "prompt": "heatmap", "view": "whole", "response": f"text of {name}", "parsed": "ok"}
        for name in looked_at
    ]
    beside = folder / "heatmap_responses.parquet"
    tables.write(beside, tables.from_rows(rows, tables.RESPONSES), tables.RESPONSES)
    return table.Params(path=str(path))


def query(name, view="whole", geometry=WIDE):
    return Query(f"{name}\t{view}\t{table.PROMPT}", lambda: pytest.fail("an image was read"), table.PROMPT, geometry)


def test_points_and_boxes_are_those_of_the_table_in_the_order_of_their_ranks(tmp_path):
    points = [point("a", 1, 1.0, 2.0, 0.9), point("a", 0, 30.5, 40.5, 0.2, (20.5, 30.5, 40.5, 50.5))]
    ask = table.localizer(written(tmp_path, points, "ab"), SETTING)
    first, second = ask([query("a"), query("b")])
    assert [one.confidence for one in first.detections] == [0.2, 0.9] and first.parsed == "ok"
    assert WIDE.from_unit(first.detections[1].u, first.detections[1].v) == pytest.approx((1.0, 2.0))
    left, top, right, bottom = first.detections[0].box
    assert (*WIDE.from_unit(left, top), *WIDE.from_unit(right, bottom)) == pytest.approx((20.5, 30.5, 40.5, 50.5))
    assert second.detections == () and second.parsed == "empty" and second.text == "text of b"


def test_the_stage_writes_the_same_pixels_without_reading_an_image_or_loading_a_model(tmp_path):
    points = [point(name, 0, 17.25, 33.5, 0.6) for name in SHAPES]
    row = written(tmp_path, points, SHAPES)
    known = {"path": "x", "source": "lidc", "label": 1, "status": "ok"}
    manifest = [
        {"image_id": name, "file_name": name, "patient_id": name, "width_px": wide, "height_px": high, **known}
        for name, (wide, high) in SHAPES.items()
    ]
    square = {"png": "absent.png", "low": 0.0, "high": 1.0, "side_px": 100, "preprocessing_hash": "c"}
    pads = {"pad_x_px": 0, "pad_y_px": 0, "scale": 1.0}
    normalized = [{"image_id": name, **square, **pads} for name in SHAPES]
    given = {"manifest": (manifest, tables.MANIFEST), "normalized": (normalized, tables.NORMALIZED)}
    for name, (rows, schema) in given.items():
        tables.write(tmp_path / f"{name}.parquet", tables.from_rows(rows, schema), schema)
    views = driver.Params(views=("whole", "mirrored"), images="all")
    sections = {"localize": views, "select": SELECT, "localizers": {"heatmap": Row("table", row)}}
    args = Namespace(
        params=Namespace(**sections),
        shard="1-of-1",
        results=tmp_path,
        localizer="heatmap",
        split=None,
        points=None,
        choice=None,
        **{name: tmp_path / f"{name}.parquet" for name in (*given, "detections", "responses")},
    )
    localize.run(args, row.prompts, lambda: table.localizer(row, SETTING))
    found = tables.read(args.detections, tables.DETECTIONS)
    assert found["x"].to_pylist() == pytest.approx([17.25] * 3) and found["y"].to_pylist() == pytest.approx([33.5] * 3)
    assert set(tables.read(args.responses, tables.RESPONSES)["view"].to_pylist()) == {"whole"}


def test_an_image_that_was_not_looked_at_is_refused_and_so_is_a_table_of_none(tmp_path):
    row = written(tmp_path, [], ["a"])
    with pytest.raises(TableError, match="lacks 1 of the images that are asked about \\(first: c\\)"):
        list(table.localizer(row, SETTING)([query("a"), query("c")]))
    with pytest.raises(TableError, match="found no image"):
        table.localizer(written(tmp_path, [], []), SETTING)
    with pytest.raises(TableError, match="no such file"):
        table.localizer(table.Params(path=str(tmp_path / "other.parquet")), SETTING)


def test_a_part_of_an_image_is_refused_as_the_table_has_none(tmp_path):
    ask = table.localizer(written(tmp_path, [], ["a"]), SETTING)
    for wrong in (query("a", view="mirrored"), query("a", geometry=None)):
        with pytest.raises(MismatchError, match="whole images alone"):
            list(ask([wrong]))


def test_train_images_choose_nothing_for_it_and_need_not_be_asked_to_choose_a_prompt(tmp_path):
    document = {"nodules": {"localizers": {"heatmap": {"kind": "table", "path": "x.parquet", "label": "Heatmap"}}}}
    rows = parse(document, {"nodules.localizers": kinds.rows(kinds.LOCALIZERS)}).localizers
    assert choice.of_localizer(SELECT, rows, "heatmap").splits == ("val",)
    assert len(rows["heatmap"].params.prompts) <= SELECT.max_prompts
    with pytest.raises(ParamsError, match="train images taught heatmap"):
        choice.of_localizer(replace(SELECT, splits=("train",)), rows, "heatmap")
    plain = {"heatmap": Row("attribution", Namespace(adapter="none"))}
    assert choice.of_localizer(SELECT, plain, "heatmap").splits == ("train", "val")
