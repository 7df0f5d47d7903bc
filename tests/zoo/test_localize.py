"""A trained localizer of the zoo: who teaches it, whom it looks at, what it writes, and how the study takes it up."""

import json

import cv2
import numpy as np
import pytest
from tiny_detector import folder_of
from zoo_marks import GEOMETRY, ROW, SELECT, SIDE, TEST, TOLERANCE, TRAIN, VAL, images, written

from stages.lib.core import documents, tables
from stages.lib.core.errors import ParamsError
from stages.lib.detect.kinds import table as table_kind
from stages.nodules import combine
from stages.zoo import check, localize
from stages.zoo.embed import failed
from stages.zoo.records import Failure, Localized


def run(folder, options, out="out", row=None, **select):
    document = {
        "zoo": {"localizers": {"heatmap": ROW | (row or {})}},
        "nodules": {"select": SELECT | select, "tolerance": TOLERANCE},
    }
    where = folder / out
    where.mkdir()
    localize.main(
        [
            *("--params", json.dumps(document), "--localizer", "heatmap", "--work", str(where / "work")),
            *options,
            *("--localize", str(where / "heatmap.parquet"), "--responses", str(where / "heatmap_responses.parquet")),
            *("--record", str(where / "heatmap.json")),
        ]
    )
    return (
        tables.read(where / "heatmap.parquet", tables.LOCALIZE),
        tables.read(where / "heatmap_responses.parquet", tables.RESPONSES),
        documents.read(where / "heatmap.json", Localized),
    )


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    options = written(folder, images())
    return folder, options, run(folder, options)


def test_planted_nodules_of_the_test_split_are_found_and_few_others(study):
    _, _, (table, _, _) = study
    points = {name: found for name, split, _, found in images() if split == "test" and found}
    for name, [(x, y)] in points.items():
        first = min((row for row in table.to_pylist() if row["image_id"] == name), key=lambda row: row["rank"])
        assert np.hypot(first["x"] - x, first["y"] - y) < 0.06 * GEOMETRY.diagonal_px and first["shown"]
    shown = [row for row in table.to_pylist() if row["image_id"].startswith("test_n") and row["shown"]]
    assert len(shown) <= 0.5 * TEST


def test_all_images_that_the_study_runs_localizers_on_have_a_response_and_training_ones_alone_teach(study):
    _, _, (_, responses, record) = study
    seen = set(responses["image_id"].to_pylist())
    assert {name for name, split, _, points in images() if split == "test" or points} <= seen
    assert record.taught is not None and record.failure is None
    assert (record.taught.images, record.taught.patients, record.taught.points) == (TRAIN, TRAIN, TRAIN)
    assert record.taught.negative_images == ROW["negative_images"]
    assert record.cutoff is not None and record.cutoff.splits == ("val",)
    assert record.cutoff.nodules == VAL and record.cutoff.negatives == SELECT["negative_images"]


def test_marks_and_labels_of_test_images_change_nothing_and_those_of_validation_the_cutoff_alone(study, tmp_path):
    _, _, (table, _, _) = study
    rows = [
        (name, split, 1 - label, []) if split == "test" and not points else (name, split, label, points)
        for name, split, label, points in images()
    ]
    found, _, _ = run(tmp_path, written(tmp_path, rows))
    assert found.equals(table)
    moved = [
        (name, split, label, [(x / 2, y) for x, y in points] if split == "val" else points)
        for name, split, label, points in images()
    ]
    options = written(tmp_path, moved)
    at = options.index("--tokens")  # the tokens of the images as they were
    again, _, _ = run(tmp_path, [*options[:at], *study[1][study[1].index("--tokens") :]], out="moved")
    assert again.drop_columns(["shown"]).equals(table.drop_columns(["shown"]))


def test_the_same_study_gives_the_same_bytes_however_its_tokens_are_cut_into_shards(study, tmp_path):
    folder, _, _ = study
    run(tmp_path, written(tmp_path, images(), shards=3))
    for name in ("heatmap.parquet", "heatmap_responses.parquet"):
        assert (tmp_path / "out" / name).read_bytes() == (folder / "out" / name).read_bytes()


def test_as_a_localizer_of_the_kind_table_it_is_combined_with_others(study):
    from stages.lib.detect.detection import Query
    from stages.lib.detect.detection_rows import LinkParams

    folder, _, (table, responses, _) = study
    row = table_kind.Params(path=str(folder / "out/heatmap.parquet"))
    queries = [
        Query(f"{name}\twhole\t{table_kind.PROMPT}", lambda: pytest.fail("read"), table_kind.PROMPT, GEOMETRY)
        for name in responses["image_id"].to_pylist()
    ]
    answers = list(table_kind.localizer(row, None)(queries))
    assert sum(len(one.detections) for one in answers) == table.num_rows > 0
    manifest = tables.read(folder / "manifest.parquet", tables.MANIFEST)
    link = LinkParams(link="distance", link_fraction=0.05, link_iou=0.3, max_points=6)
    both = {"heatmap": table, "other": table}
    combined, said = combine.combine(both, dict.fromkeys(both, responses), dict.fromkeys(both, 1.0), manifest, link)
    assert combined.num_rows == table.num_rows and said.num_rows == responses.num_rows
    assert sorted(combined["confidence"].to_pylist()) == pytest.approx(sorted(table["confidence"].to_pylist()))


@pytest.mark.parametrize(
    ("keep", "said"),
    [
        (lambda name, split, points: split != "train" or not points, "heatmap: found no image with marked nodules"),
        (
            lambda name, split, points: split != "train" or not points or name == "train_p0",
            "marked images of one patient",
        ),
    ],
)
def test_marks_that_cannot_teach_are_a_failure_of_the_row_and_leave_its_tables_empty(tmp_path, keep, said):
    rows = [one for one in images() if keep(one[0], one[1], one[3])]
    table, responses, record = run(tmp_path, written(tmp_path, rows))
    assert table.num_rows == responses.num_rows == 0
    assert record.failure is not None and record.failure.stage == "localize" and said in record.failure.reason
    with pytest.raises(check.FailedRowsError, match=r"zoo\.localizers failed, 0 stand") as found:
        check.check({}, {}, {}, {"results/zoo/localize/heatmap.json": record})
    assert said in str(found.value) and "--forcerun results/zoo/localize/heatmap.json" in str(found.value)


def test_tokens_that_failed_are_the_rows_failure_and_random_weights_are_told(tmp_path):
    reason = Failure(stage="tokens", error="ModelError", reason="gated")
    _, _, record = run(tmp_path, written(tmp_path, images(), embedded=vars(failed(reason))))
    assert record.failure == reason
    options = written(tmp_path, images())
    told = documents.read(options[-1], type(failed(None)))
    documents.write(options[-1], type(told)(**{**vars(told), "random_weights": True}))
    assert localize.RANDOM in run(tmp_path, options, out="random")[2].notes
    with pytest.raises(check.FailedRowsError, match=r"tokens_0\.json"):
        check.check({}, {}, {"tokens_0.json": failed(reason)}, {"heatmap.json": record})


@pytest.mark.parametrize(
    ("row", "said"),
    [({"shifts": 1}, "found tokens at 4 places of an image, wanted 1"), ({"side_px": 64}, "4 rows of patches of 8 px")],
)
def test_tokens_of_another_row_are_refused(study, tmp_path, row, said):
    _, _, record = run(tmp_path, study[1], row=row)
    assert record.failure is not None and said in record.failure.reason


def test_a_name_that_is_no_row_is_refused_with_the_nearest(study, tmp_path):
    options = [*study[1], "--work", "w", "--localize", "l", "--responses", "r", "--record", "d"]
    document = {"zoo": {"localizers": {"heatmap": ROW}}, "nodules": {"select": SELECT, "tolerance": TOLERANCE}}
    with pytest.raises(ParamsError, match="did you mean 'heatmap'"):
        localize.main(["--params", json.dumps(document), "--localizer", "heatmaps", *options])


def test_a_detector_reads_pixels_and_goes_the_same_way(tmp_path):
    options = written(tmp_path, images())
    cv2.imwrite(str(tmp_path / "absent.png"), np.full((SIDE, SIDE), 90, np.uint8))
    (tmp_path / "model").mkdir()
    documents.write(tmp_path / "weights.json", folder_of(tmp_path / "model", classes=2))
    backbone = {
        name: ROW[name] for name in ("seen", "licence", "commercial", "library", "source", "revision", "side_px")
    }
    row = {
        **backbone,
        "kind": "detector",
        "architecture": "RTDetrV2ForObjectDetection",
        "shifts": 1,
        "box_fraction": 0.2,
        "negative_images": 2,
        "batch_size": 2,
        "learning_rate": 0.001,
        "weight_decay": 0.0,
        "warmup_ratio": 0.0,
        "max_grad_norm": 1.0,
        "max_steps": 1,
        "max_boxes": 2,
        "min_confidence": 0.0,
        "seed": 1,
    }
    given = [
        *options[: options.index("--tokens")],
        "--results",
        str(tmp_path),
        "--weights",
        str(tmp_path / "weights.json"),
    ]
    document = {"zoo": {"localizers": {"boxes": row}}, "nodules": {"select": SELECT, "tolerance": TOLERANCE}}
    out = [f"--{name}={tmp_path / f'boxes_{name}'}" for name in ("localize", "responses", "record")]
    work = ["--work", str(tmp_path / "work")]
    localize.main(["--params", json.dumps(document), "--localizer", "boxes", *work, *given, *out])
    record = documents.read(tmp_path / "boxes_record", Localized)
    assert record.failure is None and record.taught is not None and record.taught.negative_images == 2
    table = tables.read(tmp_path / "boxes_localize", tables.LOCALIZE)
    assert table["x0"].null_count == 0 and set(table["rank"].to_pylist()) <= {0, 1}
