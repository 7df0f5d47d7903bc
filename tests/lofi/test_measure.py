"""Claims about stages.lofi.measure and measuring, on a few ranks and boxes by hand."""

import json

import lofi_vectors as fake
import numpy as np
import pytest

from stages.lib.core import documents, sentence_tables, tables
from stages.lib.core.errors import DataError
from stages.lib.metrics import measures
from stages.lib.metrics.measures import Key, Subject
from stages.lofi import measure, measuring
from stages.lofi.embedded import Embedded
from stages.lofi.measuring import MeasureParams, Tables
from stages.lofi.notes import Notes

GIVEN = {
    "draws": 40,
    "seed": 1,
    "confidence": 0.95,
    "ks": (1, 2),
    "compared_encoders": (("lofi", "base"),),
    "iou": 0.5,
    "judged_by": "f1",
    "size_edges": (0.1,),
    "min_stratum_sentences": 1,
    "compared_grounders": (("tuned", "copy"),),
}
PARAMS = MeasureParams(**GIVEN)
IMAGES = [f"i{number}" for number in range(6)]
BOX = [10.0, 10.0, 50.0, 50.0]


def ranks(of_images, of_texts, tied=0, n_pool=6, names=tuple(IMAGES)):
    rows = [
        {
            "direction": direction,
            "image_id": name,
            "part": part,
            "patient_id": f"p{name}",
            "study_id": None,
            "rank": rank,
            "rank_lenient": rank,
            "tied": tied,
            "n_right": 1,
            "n_right_lenient": 1,
            "n_pool": n_pool,
            "found": [],
            "similarities": [],
        }
        for direction, part, several in (("image_to_text", None, of_images), ("text_to_image", 0, of_texts))
        for name, rank in zip(names, several, strict=True)
    ]
    return tables.from_rows(rows, sentence_tables.RANKS)


def grounded(name, **boxes_of_seen):
    rows = [
        {
            "grounder": name,
            "seen": seen,
            "image_id": image,
            "number": 0,
            "response": None,
            "status": "ok" if box else "malformed",
            "problem": None if box else "no list",
            "boxes": [box] if box else [],
            "confidences": [],
            "shown": [],
        }
        for seen, box in boxes_of_seen.items()
        for image in IMAGES
    ]
    return tables.from_rows(rows, sentence_tables.GROUNDED)


PAIRS = fake.pairs(
    [{"image_id": name, "patient_id": f"p{name}", "split": "test", "boxes": [BOX]} for name in IMAGES]
    + [{"image_id": "t", "number": n, "patient_id": "pt", "split": "train", "boxes": [BOX] * (n < 2)} for n in range(3)]
)
MANIFEST = fake.manifest(
    [{"image_id": name, "patient_id": f"p{name}", "width_px": 100, "height_px": 100} for name in [*IMAGES, "t"]]
)
ELSEWHERE = [60.0, 60.0, 90.0, 90.0]
RANKED = {
    "lofi": ranks([1] * 6, [1] * 6),
    "base": ranks([2, 1, 1, 3, 6, 4], [1, 1, 2, 2, 5, 6], tied=1),
    "pictures": tables.from_rows([], sentence_tables.RANKS),
}
GROUNDED = {
    "tuned": grounded("tuned", own=BOX, shuffled=ELSEWHERE, grey=None),
    "copy": grounded("copy", own=ELSEWHERE, shuffled=ELSEWHERE, grey=ELSEWHERE),
}


def told(name, **changed):
    facts = {"images": 6, "reads": True, "texts": 6, "shortened": 0, "left_out": 0, "sentences_left_out": 0, "width": 2}
    return Embedded(**{"encoder": name, "identity": f"of {name}", "preprocessing_hash": "pixels", **facts, **changed})


RECORDS = {
    "lofi": told("lofi", shortened=2, sentences_left_out=3),
    "base": told("base"),
    "pictures": told("pictures", reads=False, texts=0),
}


def measured(params=PARAMS, ranked=RANKED, grounds=GROUNDED, records=RECORDS):
    return measuring.measure(Tables(ranked, records, grounds, PAIRS, MANIFEST), params)


RESULTS = measured()


def test_encoders_and_grounders_are_measured_side_by_side_and_compared():
    found = RESULTS.measures
    assert found[Subject("retrieval", "lofi", "test")][Key("recall_at_k_mean", "1")].value == 1.0
    both = found[Subject("retrieval", "lofi", "test/image_to_text", "base")][Key("recall_at_k", "1")]
    assert both.value == pytest.approx(1 - 2 / 6)
    assert found[Subject("grounding", "tuned", "test")][Key("f1", "iou_50")].value == 1.0
    assert found[Subject("grounding", "tuned", "test", "copy")][Key("f1", "iou_50")].value == 1.0
    assert not any(subject.system == "pictures" for subject in found)
    assert {subject.task for subject in found} == {"retrieval", "grounding"}


def test_every_measure_is_a_row_of_the_catalog_with_its_n():
    rows = measures.table("lofi", RESULTS.measures).to_pylist()
    assert all(row["n"] is not None and row["n_patients"] is not None for row in rows)
    assert all(row["low"] is not None for row in rows if row["metric"] == "recall_at_k")


def test_pools_ties_and_what_had_no_room_are_told():
    pools = {one.encoder: one for one in RESULTS.pools}
    assert (pools["lofi"].images, pools["lofi"].texts, pools["lofi"].image_queries) == (6, 6, 6)
    assert pools["base"].tied_fraction == 12 / 60
    assert (pools["pictures"].reads, pools["pictures"].tied_fraction) == (False, None)
    said = "\n".join(RESULTS.warnings)
    assert "base: 20.0 % of the wrong items are as similar as the first right one; ties count as misses" in said
    assert "lofi: 3 sentences have no room in its text side and are left out: 2 parts are shortened" in said
    assert "pictures has no text side: it finds neighbours, and is not ranked" in said


def test_a_grounder_that_does_not_beat_its_blind_rows_is_told():
    grounds = {(one.grounder, one.blind): one.grounds for one in RESULTS.blind}
    assert grounds == {
        ("tuned", "shuffled"): True,
        ("tuned", "grey"): True,
        ("copy", "shuffled"): False,
        ("copy", "grey"): False,
    }
    assert sum("copy has grounded nothing" in sentence for sentence in RESULTS.warnings) == 2
    assert RESULTS.statuses == {"tuned": {"ok": 6}, "copy": {"ok": 6}}


def test_encoders_with_other_queries_or_pools_are_compared_on_what_both_have_and_that_is_told():
    fewer = {**RANKED, "base": ranks([1] * 5, [1] * 5, n_pool=5, names=IMAGES[:5])}
    found = measured(ranked=fewer)
    assert found.measures[Subject("retrieval", "lofi", "test/text_to_image", "base")][Key("recall_at_k", "1")].n == 5
    assert any(
        "lofi and base are compared on the 5 queries image_to_text that both have, in pools of 6 and 5" in sentence
        for sentence in found.warnings
    )


def test_each_image_has_an_outcome_at_each_k():
    rows = {
        (row["image_id"], row["at"]): row["correct"] for row in RESULTS.outcomes[Subject("retrieval", "base", "test")]
    }
    assert len(rows) == 12
    assert (rows["i0", "1"], rows["i0", "2"], rows["i4", "2"]) == (False, True, False)


def test_comparisons_of_what_was_not_measured_are_refused_all_at_once():
    odd = MeasureParams(
        **{**GIVEN, "compared_encoders": (("lofi", "pictures"),), "compared_grounders": (("lost", "copy"),)}
    )
    with pytest.raises(DataError, match=r"pictures: not among the encoders that are ranked(.|\n)*lost: not among"):
        measured(odd)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"compared_encoders": (("a", "a"),)}, "compared_encoders: a is compared with itself"),
        ({"compared_grounders": (("a", "b"), ("b", "a"))}, "compared_grounders: .* twice"),
        ({"ks": (5, 1)}, "ks that rise"),
        ({"size_edges": (0.2, 0.1)}, "size_edges that rise"),
    ],
)
def test_parameters_that_say_nothing_are_refused(changed, message):
    with pytest.raises(ValueError, match=message):
        MeasureParams(**{**GIVEN, **changed})


def test_retrieval_alone_and_nothing_at_all_can_be_measured():
    alone = MeasureParams(**{**GIVEN, "compared_grounders": ()})
    assert {subject.task for subject in measured(alone, grounds={}).measures} == {"retrieval"}
    nothing = MeasureParams(**{**GIVEN, "compared_grounders": (), "compared_encoders": ()})
    assert measured(nothing, ranked={}, grounds={}).measures == {}


def test_the_stage_reads_and_writes_its_files(tmp_path):
    def stored(kind, name, table, schema):
        path = tmp_path / kind / f"{name}.parquet"
        path.parent.mkdir(exist_ok=True)
        tables.write(path, table, schema)
        return str(path)

    ranked = [stored("retrieve", name, table, sentence_tables.RANKS) for name, table in RANKED.items()]
    drawn = [stored("ground", name, table, sentence_tables.GROUNDED) for name, table in GROUNDED.items()]
    records = []
    for name, one in RECORDS.items():
        documents.write(tmp_path / f"{name}.json", one)
        records.append(str(tmp_path / f"{name}.json"))
    inputs = ["--ranks", *ranked, "--grounded", *drawn, "--records", *records]
    inputs += ["--pairs", stored("in", "pairs", PAIRS, sentence_tables.PAIRS)]
    inputs += ["--manifest", stored("in", "manifest", MANIFEST, tables.MANIFEST)]
    names = ("measures", "outcomes", "notes", "flat")
    outputs = [part for name in names for part in (f"--{name}", str(tmp_path / name))]
    measure.main(["--params", json.dumps({"lofi": {"measure": GIVEN}}), *inputs, *outputs])
    found = tables.read(tmp_path / "measures", tables.MEASURES)
    assert found.num_rows == sum(len(one) for one in RESULTS.measures.values())
    assert tables.read(tmp_path / "outcomes", tables.OUTCOMES).num_rows == 24
    notes = documents.read(tmp_path / "notes", Notes)
    assert notes.examples == {"images": 1, "sentences": 2}
    assert notes.test == {"images": 6, "sentences": 6, "with_boxes": 6}
    assert notes.warnings == tuple(RESULTS.warnings)
    assert (tmp_path / "flat").read_text().count("\n") == found.num_rows + 1
    assert np.isfinite(found["value"].drop_null().to_numpy()).all()
