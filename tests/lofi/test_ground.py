"""The stage that asks a grounder: runs through files, what is written, and what is refused."""

import json
from pathlib import Path

import lofi_grounding as fake
import pytest

from stages.lib.core import documents, sentence_tables, tables
from stages.lib.core.errors import DataError, ParamsError
from stages.lib.demo.tiny import SIDE_PX
from stages.lib.detect import conversations
from stages.lib.metrics import grounding_suite, grounding_tables
from stages.lib.metrics.measures import Key, Subject
from stages.lofi import ground

GROUND = {"seen": ["own", "shuffled", "grey"], "max_pairs": 100, "seed": 0}
MODEL = {
    "encoder": "none",
    "encoder_revision": "none",
    "decoder": "none",
    "decoder_revision": "none",
    "dtype": "float32",
    "attention": "sdpa",
    "pooling": "queries",
    "visual_tokens": 4,
    "average_patches": False,
    "lora_r": 4,
    "decoder_lora_r": 2,
    "train_head": True,
    "train_scale": False,
}
GROUNDERS = {
    "copy_nearest": {"kind": "copy", "encoder": "lofi", "k": 1, "seed": 0},
    "in_context_2": {"kind": "in_context", "model": "tiny", "revision": "none", "dtype": "float32"}
    | {"attention": "sdpa", "quantization": "none", "encoder": "lofi", "k": 2, "demonstrations": "nearest"}
    | {
        "grouped": True,
        "prompt": "Where is {sentence}?",
        "box_label": "nodule",
        "response_prefix": "",
        "max_new_tokens": 4,
        "seed": 0,
    },
}
SETTINGS = grounding_suite.Settings(
    draws=50,
    seed=0,
    confidence=0.95,
    iou=0.5,
    judged_by="rodeo_localization",
    size_edges=(),
    min_stratum_sentences=1,
)


def run(made: fake.Folder, out: Path, name: str, *more: str, **changes):
    sections = {"ground": GROUND | changes, "model": MODEL, "grounders": GROUNDERS}
    written = ["--grounded", str(out / f"{name}.parquet"), "--conversations", str(out / f"{name}.jsonl")]
    ground.main(["--params", fake.params(**sections), *made.options(name), *written, *more])
    return tables.read(out / f"{name}.parquet", sentence_tables.GROUNDED)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return fake.make(tmp_path_factory.mktemp("lofi") / "results", fake.study(), SIDE_PX)


def near(made):
    return "--neighbours", str(made.results / "neighbours.parquet")


def test_boxes_are_told_in_pixels_of_the_sentences_own_image_and_can_be_measured(made, tmp_path):
    found = run(made, tmp_path, "copy_nearest", *near(made)).to_pylist()
    assert len(found) == 18
    own = next(row for row in found if (row["seen"], row["image_id"], row["number"]) == ("own", "test0", 0))
    assert own["boxes"] == [pytest.approx([10, 20, 30, 45])]
    assert (own["grounder"], own["status"], own["shown"], own["response"]) == ("copy_nearest", "ok", ["train0/0"], None)
    known = grounding_tables.sentences(made.pairs, made.manifest)
    drawn = grounding_tables.grounded(tables.read(tmp_path / "copy_nearest.parquet", sentence_tables.GROUNDED), known)
    measured = grounding_suite.measure_all({"copy_nearest": drawn}, SETTINGS)
    # the same example for every image: looking at another one changes nothing
    gap = measured.measures[Subject("grounding", "copy_nearest", "test", "copy_nearest/shuffled")]
    assert gap[Key("rodeo_localization")].value == 0
    assert {one.blind: one.grounds for one in measured.verdicts}["shuffled"] is False
    assert conversations.read(tmp_path / "copy_nearest.jsonl") == {}


def test_conversations_are_kept_whole_and_a_second_run_gives_the_same_bytes(made, tiny_base, tmp_path):
    documents.write(tmp_path / "base.json", tiny_base)
    more = (*near(made), "--base", str(tmp_path / "base.json"), "--features", str(tmp_path / "features"))
    first = run(made, tmp_path, "in_context_2", *more, max_pairs=3)
    content = (tmp_path / "in_context_2.jsonl").read_bytes(), (tmp_path / "in_context_2.parquet").read_bytes()
    assert any((tmp_path / "features").rglob("*.safetensors"))
    run(made, tmp_path, "in_context_2", *more, max_pairs=3)
    assert content == ((tmp_path / "in_context_2.jsonl").read_bytes(), (tmp_path / "in_context_2.parquet").read_bytes())
    lines = conversations.read(tmp_path / "in_context_2.jsonl")
    assert sum(len(line["questions"]) for line in lines.values()) == first.num_rows == 9
    (seen, image_id), line = next(iter(lines.items()))
    assert [turn["role"] for turn in line["turns"]] == ["user", "model", "user", "model"]
    answers = {(row["seen"], row["image_id"], row["number"]): row["response"] for row in first.to_pylist()}
    assert all(one["response"] == answers[seen, image_id, one["number"]] for one in line["questions"])
    assert json.dumps(line)


def test_a_pool_that_shares_patients_with_the_sentences_stops_the_stage(tmp_path):
    rows = [row | ({"patient_id": "p-test0"} if row["image_id"] == "train0" else {}) for row in fake.study()]
    made = fake.make(tmp_path / "results", rows, SIDE_PX)
    with pytest.raises(DataError, match="patient p-test0: has training and test images, wanted one split"):
        run(made, tmp_path, "copy_nearest", *near(made))


def test_neighbours_that_are_no_examples_stop_the_stage(made, tmp_path):
    rows = made.neighbours.to_pylist()
    odd = [row | ({"neighbour": "test1"} if row["image_id"] == "test0" and row["rank"] == 0 else {}) for row in rows]
    tables.write(
        tmp_path / "odd.parquet", tables.from_rows(odd, sentence_tables.NEIGHBOURS), sentence_tables.NEIGHBOURS
    )
    with pytest.raises(DataError, match="image test0: its neighbour test1 is no training image with boxes"):
        run(made, tmp_path, "copy_nearest", "--neighbours", str(tmp_path / "odd.parquet"))


def test_an_unknown_grounder_and_a_list_without_own_are_refused(made, tmp_path):
    with pytest.raises(ParamsError, match="copy_farthest"):
        run(made, tmp_path, "copy_farthest")
    with pytest.raises(ParamsError, match="own, and each once"):
        run(made, tmp_path, "copy_nearest", *near(made), seen=["grey"])
    with pytest.raises(ParamsError, match="--neighbours"):
        run(made, tmp_path, "copy_nearest")
