"""Images and sentences become pairs: boxes fused, patients never in two splits, reports cut into parts."""

import json
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lofi_folders import ingest_params, own, pair_params

from stages.lib.core import tables
from stages.lib.core.errors import ParamsError, SplitError
from stages.lib.core.sentence_tables import BOXES, GIVEN_SPLIT, PAIRS, SENTENCES
from stages.lib.detect.fusion import Candidate, by_iou, consensus
from stages.lofi import ingest, pair

GOLDEN = [[0.1, 0.1, 0.5, 0.5], [0.12, 0.1, 0.52, 0.5], [0.1, 0.12, 0.5, 0.52], [0.7, 0.7, 0.9, 0.9]]


def manifest(images: Sequence[Mapping[str, Any]]) -> pa.Table:
    rows = [
        {
            "file_name": f"{one['image_id']}.png",
            "path": f"{one['image_id']}.png",
            "source": "other",
            "patient_id": one["image_id"],
            "pixel_sha256": f"pixels of {one['image_id']}",
            "status": "ok",
            **one,
        }
        for one in images
    ]
    return tables.from_rows(rows, tables.MANIFEST)


def sentences(counts: Mapping[str, int], **said: Any) -> pa.Table:
    rows = [
        {"image_id": name, "number": n, "text": f"Sentence {n} of {name}.", "labels": [], "in_report": True, **said}
        for name, count in counts.items()
        for n in range(count)
    ]
    return tables.from_rows(rows, SENTENCES)


def boxes(rows: Sequence[tuple[str, int, str, Sequence[float]]]) -> pa.Table:
    counts: Counter[tuple[str, int, str]] = Counter()
    found = []
    for name, number, reader, (x0, y0, x1, y1) in rows:
        key = {"image_id": name, "number": number, "reader": reader, "box": counts[name, number, reader]}
        found.append({**key, "x0": x0, "y0": y0, "x1": x1, "y1": y1})
        counts[name, number, reader] += 1
    return tables.from_rows(found, BOXES)


def splits(**given: str) -> pa.Table:
    return tables.from_rows([{"image_id": name, "split": split} for name, split in given.items()], GIVEN_SPLIT)


NO_BOXES, NO_SPLIT = boxes([]), splits()


def many(count: int) -> list[dict[str, Any]]:
    return [{"image_id": f"i{number:02d}", "patient_id": f"P{number // 2}"} for number in range(count)]


@pytest.mark.parametrize("iou", [0.1, 0.55])
def test_boxes_are_fused_as_the_package_ensemble_boxes_fuses_them(iou: float) -> None:
    """ensemble-boxes 1.0.9, each box a list of its own, score 1."""
    candidates = [[Candidate(0, 0, (b[0], b[1], b[2], b[3]), 1.0, None)] for b in GOLDEN]
    found = consensus(candidates, by_iou(iou, 0))
    wanted = [[0.1066667, 0.1066667, 0.5066667, 0.5066667], GOLDEN[3]]
    assert np.allclose([one.box for one in found], wanted, atol=1e-7)
    assert [one.confidence for one in found] == [0.75, 0.25]
    assert np.allclose(pair.fused([tuple(box) for box in GOLDEN], iou), wanted, atol=1e-7)


def test_nested_boxes_of_little_overlap_stay_two_and_equal_ones_are_one_at_any_threshold() -> None:
    assert len(pair.fused([(0, 0, 40, 40), (10, 10, 20, 20)], 0.1)) == 2  # IoU .0625
    assert pair.fused([(0.1, 0.2, 0.7, 0.9)] * 3, 1.0) == [pytest.approx([0.1, 0.2, 0.7, 0.9])]
    rounded = (31.848084366072715, 13.489335688193515, 61.63894095744779, 60.661105421141166)
    assert len(pair.fused([rounded] * 4, 1.0)) == 1  # whose mean is another box, by its last bit
    assert len(pair.fused([(0, 0, 10, 10), (0, 0, 10, 10.1)], 1.0)) == 2


EDGES = st.tuples(*[st.floats(0, 50)] * 2, *[st.floats(60, 100)] * 2)


@given(st.lists(EDGES, max_size=6), st.sampled_from([0.1, 0.5, 1.0]), st.randoms())
def test_the_order_of_boxes_changes_nothing_and_fused_boxes_lie_within_theirs(drawn, iou, rng) -> None:
    found = pair.fused(drawn, iou)
    shuffled = list(drawn)
    rng.shuffle(shuffled)
    assert pair.fused(shuffled, iou) == found
    assert len(found) <= len(drawn) and bool(found) == bool(drawn)
    for side in range(4):
        for box in found:
            assert min(b[side] for b in drawn) - 1e-9 <= box[side] <= max(b[side] for b in drawn) + 1e-9


def test_thirteen_sentences_are_parts_of_five_five_and_three() -> None:
    found = pair.pair(
        manifest([{"image_id": "a"}]), sentences({"a": 13}), NO_BOXES, NO_SPLIT, pair_params(fractions=(0.0, 0.0, 1.0))
    )
    assert Counter(found["part"].to_pylist()) == {0: 5, 1: 5, 2: 3}
    assert found["part"].to_pylist() == sorted(found["part"].to_pylist())


def test_a_sentence_outside_of_the_report_is_in_no_part_and_moves_none() -> None:
    rows = sentences({"a": 5}).to_pylist()
    for row in rows:
        row["in_report"] = row["number"] not in (1, 4)
    table = tables.from_rows(rows, SENTENCES)
    params = pair_params(fractions=(1.0, 0.0, 0.0), sentences_per_part=2)
    found = pair.pair(manifest([{"image_id": "a"}]), table, NO_BOXES, NO_SPLIT, params)
    assert found["part"].to_pylist() == [0, None, 0, 1, None]


def test_a_pair_has_the_boxes_of_each_reader_and_only_the_first_ones_are_fused() -> None:
    first, second = [(0, 0, 10, 10), (0, 0, 10, 12)], [(5, 5, 9, 9), (5, 5, 9, 10)]
    drawn = boxes([("a", 1, "first", box) for box in first] + [("a", 1, "second", box) for box in second])
    rows = sentences({"a": 2}).to_pylist()
    rows[1]["text"] = " Two\n  blanks. "
    table = tables.from_rows(rows, SENTENCES)
    params = pair_params(fractions=(0.0, 1.0, 0.0), fusion_iou=0.5)
    found = pair.pair(manifest([{"image_id": "a", "study_id": "S"}]), table, drawn, NO_SPLIT, params).to_pylist()
    assert [row["boxes"] for row in found] == [[], [[0.0, 0.0, 10.0, 11.0]]]
    assert [row["second"] for row in found] == [[], [list(map(float, box)) for box in second]]
    assert (found[1]["text"], found[1]["study_id"], found[1]["split"]) == ("Two blanks.", "S", "val")


def test_no_patient_and_no_near_duplicate_is_in_two_splits() -> None:
    images = many(40)
    images[0]["duplicate_group"] = images[39]["duplicate_group"] = "i00"
    images[5]["pixel_sha256"] = images[30]["pixel_sha256"] = "the same"
    counts = {one["image_id"]: 2 for one in images}
    found = pair.pair(manifest(images), sentences(counts), NO_BOXES, NO_SPLIT, pair_params())
    of_image = {row["image_id"]: (row["split"], row["patient_id"]) for row in found.to_pylist()}
    assert len(of_image) == 40 and len({split for split, _ in of_image.values()}) == 3
    assert len(set(of_image.values())) == 20  # patients
    assert of_image["i00"][0] == of_image["i39"][0] and of_image["i05"][0] == of_image["i30"][0]


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 5))
def test_the_order_of_rows_changes_no_pair(shuffle: int, seed: int) -> None:
    images = many(12)
    counts = {one["image_id"]: 1 + place % 3 for place, one in enumerate(images)}
    drawn = [(name, 0, "first", (k, k, 20 + k, 30)) for name in counts for k in range(2)]
    inputs = [manifest(images), sentences(counts, abnormal=False), boxes(drawn), NO_SPLIT]
    params = pair_params(seed=seed, fusion_iou=0.1, normal_fraction=0.5)
    mixed = []
    for table in inputs:
        order = list(range(table.num_rows))
        random.Random(shuffle).shuffle(order)
        mixed.append(table.take(pa.array(order, pa.int64())))
    assert pair.pair(*mixed, params) == pair.pair(*inputs, params)


def test_the_split_of_the_data_is_kept_and_one_that_shares_patients_is_refused_or_thinned(
    caplog: pytest.LogCaptureFixture,
) -> None:
    images = [{"image_id": name} for name in "abcd"]
    given_split = splits(a="train", b="val", c="test", d="train")
    counts = dict.fromkeys("abcd", 1)
    found = pair.pair(manifest(images), sentences(counts), NO_BOXES, given_split, pair_params())
    assert tables.mapping(found, "split") == {"a": "train", "b": "val", "c": "test", "d": "train"}
    images[0]["duplicate_group"] = images[2]["duplicate_group"] = "a"
    with pytest.raises(SplitError, match=r"in two splits or more.*: a \(train\), c \(test\); wanted one split"):
        pair.pair(manifest(images), sentences(counts), NO_BOXES, given_split, pair_params())
    found = pair.pair(manifest(images), sentences(counts), NO_BOXES, given_split, pair_params(shared="leave_out"))
    assert tables.mapping(found, "split") == {"b": "val", "c": "test", "d": "train"}
    assert "1 images are left out, which share a patient or pixels with one of a later split: a" in caplog.text


def test_a_split_without_val_has_its_train_images_divided_by_patient_and_one_without_test_is_refused() -> None:
    images = many(20)
    counts = {one["image_id"]: 1 for one in images}
    given_split = splits(**{name: "test" if name in ("i00", "i01") else "train" for name in counts})
    found = pair.pair(manifest(images), sentences(counts), NO_BOXES, given_split, pair_params())
    of_patient = {(row["patient_id"], row["split"]) for row in found.to_pylist()}
    assert len(of_patient) == 10 and Counter(split for _, split in of_patient) == {"train": 6, "val": 3, "test": 1}
    kept = pair.pair(manifest(images), sentences(counts), NO_BOXES, given_split, pair_params(fractions=(0.5, 0.0, 0.5)))
    assert set(kept["split"].to_pylist()) == {"train", "test"}
    with pytest.raises(SplitError, match="split test is empty: 20 images were brought by the data"):
        all_train = splits(**dict.fromkeys(counts, "train"))
        pair.pair(manifest(images), sentences(counts), NO_BOXES, all_train, pair_params())


def test_normal_studies_of_the_train_split_alone_are_thinned() -> None:
    names = [f"n{number}" for number in range(10)] + ["boxed", "odd", "unknown", "validated", "tested"]
    rows = sentences(dict.fromkeys(names, 1), abnormal=False).to_pylist()
    for row in rows:
        row["abnormal"] = {"odd": True, "unknown": None}.get(row["image_id"], False)
    table, drawn = tables.from_rows(rows, SENTENCES), boxes([("boxed", 0, "first", (0, 0, 5, 5))])
    given_split = splits(**{name: {"validated": "val", "tested": "test"}.get(name, "train") for name in names})
    images = manifest([{"image_id": name, "study_id": f"S{name}"} for name in names])

    def kept(fraction: float, seed: int = 0) -> set[str]:
        params = pair_params(normal_fraction=fraction, seed=seed)
        return set(pair.pair(images, table, drawn, given_split, params)["image_id"].to_pylist())

    always = {"boxed", "odd", "unknown", "validated", "tested"}
    assert kept(1.0) == set(names) and kept(0.0) == always
    assert len(kept(0.3)) == 3 + len(always) and always < kept(0.3)
    assert kept(0.3) == kept(0.3) and len({frozenset(kept(0.3, seed)) for seed in range(4)}) > 1


def test_a_study_is_thinned_as_a_whole() -> None:
    images = [{"image_id": f"i{number}", "study_id": f"S{number // 2}"} for number in range(8)]
    counts = {one["image_id"]: 1 for one in images}
    params = pair_params(fractions=(1.0, 0.0, 0.0), normal_fraction=0.5)
    found = pair.pair(manifest(images), sentences(counts, abnormal=False), NO_BOXES, NO_SPLIT, params)
    assert sorted(Counter(found["study_id"].to_pylist()).values()) == [2, 2]


def test_what_cannot_be_split_is_refused_with_what_is_wanted() -> None:
    with pytest.raises(SplitError, match="none of 1 images is readable and has a sentence"):
        pair.pair(manifest([{"image_id": "a"}]), sentences({}), NO_BOXES, NO_SPLIT, pair_params())
    with pytest.raises(SplitError, match=r"split .*, test is empty: 1 images were divided"):
        pair.pair(manifest([{"image_id": "a"}]), sentences({"a": 1}), NO_BOXES, NO_SPLIT, pair_params())
    with pytest.raises(SplitError, match=r"found no split of 1 images \(b\), wanted one of each or of none"):
        two = manifest([{"image_id": "a"}, {"image_id": "b"}])
        pair.pair(two, sentences({"a": 1, "b": 1}), NO_BOXES, splits(a="train"), pair_params())
    with pytest.raises((ValueError, ParamsError), match=r"they add up to 0\.9"):
        pair_params(fractions=(0.5, 0.2, 0.2))


def test_a_rejected_image_and_one_without_a_sentence_are_in_no_pair() -> None:
    images = [{"image_id": "a"}, {"image_id": "b", "status": "rejected"}, {"image_id": "c"}]
    params = pair_params(fractions=(1.0, 0.0, 0.0))
    found = pair.pair(manifest(images), sentences({"a": 1, "b": 1}), NO_BOXES, NO_SPLIT, params)
    assert found["image_id"].to_pylist() == ["a"]


def test_images_whose_patient_is_not_known_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    names = [f"{number}.png" for number in range(6)]
    images = [{"image": name, "patient_id": "P" if name == names[0] else ""} for name in names]
    found = ingest.ingest(ingest_params(own(tmp_path, names=names, images=images)))
    pair.tell(pair.pair(found.manifest, found.sentences, found.boxes, found.given_split, pair_params()), found.manifest)
    assert "the patient of 5 images is not known" in caplog.text


def test_the_command_reads_what_ingest_wrote_and_writes_the_same_bytes_each_time(tmp_path: Path) -> None:
    names = [f"{number}.png" for number in range(10)]
    found = ingest.ingest(ingest_params(own(tmp_path / "data", names=names)))
    reads = {"manifest": tables.MANIFEST, "sentences": SENTENCES, "boxes": BOXES, "given_split": GIVEN_SPLIT}
    options = ["--params", json.dumps({"lofi": {"pair": asdict(pair_params())}})]
    for name, schema in reads.items():
        tables.write(tmp_path / f"{name}.parquet", getattr(found, name), schema)
        options += [f"--{name.replace('_', '-')}", str(tmp_path / f"{name}.parquet")]
    written = []
    for run in "ab":
        pair.main([*options, "--pairs", str(tmp_path / f"{run}.parquet")])
        written.append((tmp_path / f"{run}.parquet").read_bytes())
    assert written[0] == written[1]
    pairs = tables.read(tmp_path / "a.parquet", PAIRS)
    assert pairs.num_rows == 20 and set(pairs["split"].to_pylist()) == {"train", "val", "test"}
