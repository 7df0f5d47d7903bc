"""Fine-tuning a grounder through files, and what the tuned grounder then writes."""

import csv
import json

import lofi_grounding as fake
import lofi_models
import pytest

from stages.lib.core import documents, sentence_tables, tables
from stages.lib.core.errors import DataError, MismatchError, ParamsError, TrainingError
from stages.lib.learn.tuning_log import TuneLog
from stages.lib.models.adapters import CARD
from stages.lofi import ground, tune

TUNE = fake.TUNE | {"max_answer_tokens": 100}
TUNED = {"kind": "tuned", "start": "none", "max_new_tokens": 6, "batch_size": 2}
ROWS = {"tuned_base": TUNED, "copy": {"kind": "copy", "encoder": "lofi", "k": 1, "seed": 0}}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    rows = [*fake.study(), fake.pair("val0", 0, "val", [[10, 10, 50, 60]])]
    return fake.make(tmp_path_factory.mktemp("lofi") / "results", rows, lofi_models.SIDE_PX)


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bases")
    for name, found in zip(("encoder", "decoder"), lofi_models.both(folder), strict=True):
        documents.write(folder / f"{name}.json", found)
    return folder


def run(made, bases, out, name="tuned_base", rows=ROWS, **changes):
    sections = {"tune": TUNE | changes, "model": lofi_models.MODEL, "grounders": rows}
    own = {"encoder": bases / "encoder.json", "decoder": bases / "decoder.json", "features": out / "features"}
    own |= {what: out / what for what in ("checkpoints", "adapter", "log", "curve")}
    tune.main(["--params", fake.params(**sections), *made.options(name, **own)])
    return documents.read(out / "log", TuneLog)


@pytest.fixture(scope="module")
def tuned(made, bases, tmp_path_factory):
    out = tmp_path_factory.mktemp("tuned")
    return out, run(made, bases, out)


def test_the_log_says_what_was_trained_on_what(tuned):
    out, log = tuned
    assert (log.sentences, log.images, log.validation_sentences, log.steps, log.start) == (3, 2, 1, 2, "none")
    assert 0 < log.trainable_parameters < log.total_parameters
    assert log.selected_step == min(log.checkpoints, key=lambda one: one.loss).step
    found = json.loads((out / "adapter" / CARD).read_text())
    assert (found["preprocessing_hash"], found["step"]) == (fake.HASH, log.selected_step)
    assert len(list(csv.reader((out / "curve").open()))) == 3


def asked(made, bases, out, adapter, **changes):
    grounders = {"tuned_base": TUNED | changes}
    sections = {"ground": {"seen": ["own", "shuffled", "grey"], "max_pairs": 99, "seed": 0}}
    sections |= {"model": lofi_models.MODEL, "grounders": grounders}
    own = {"base": bases / "encoder.json", "decoder": bases / "decoder.json", "adapter": adapter}
    own |= {"grounded": out / "grounded.parquet", "conversations": out / "said.jsonl"}
    ground.main(["--params", fake.params(**sections), *made.options("tuned_base", **own)])
    return tables.read(out / "grounded.parquet", sentence_tables.GROUNDED).to_pylist()


def test_the_tuned_grounder_answers_every_sentence_verbatim_whatever_the_batch(made, bases, tuned, tmp_path):
    rows = asked(made, bases, tmp_path, tuned[0] / "adapter")
    assert len(rows) == 18
    assert all(row["response"] is not None and row["shown"] == [] for row in rows)
    assert all((row["status"] == "malformed") == (row["problem"] is not None) for row in rows)
    alone = asked(made, bases, tmp_path, tuned[0] / "adapter", batch_size=1)
    assert [row["response"] for row in alone] == [row["response"] for row in rows]
    line = json.loads((tmp_path / "said.jsonl").read_text().splitlines()[0])
    assert line["questions"][0]["text"] == 'Detect all instances of "There is finding 0".'


def test_an_adapter_to_begin_with_is_checked_and_named(made, bases, tuned, tmp_path):
    start = str(tuned[0] / "adapter")
    log = run(made, bases, tmp_path, rows={"tuned_base": TUNED | {"start": start}}, max_steps=1)
    assert log.start == start
    with pytest.raises(MismatchError, match="visual_tokens 8, now 4"):
        sections = {"tune": TUNE, "model": lofi_models.MODEL | {"visual_tokens": 4}}
        sections |= {"grounders": {"tuned_base": TUNED | {"start": start}}}
        own = {"encoder": bases / "encoder.json", "decoder": bases / "decoder.json"}
        own |= {what: tmp_path / f"other-{what}" for what in ("checkpoints", "adapter", "log", "curve")}
        tune.main(["--params", fake.params(**sections), *made.options("tuned_base", **own)])


def test_what_cannot_be_tuned_is_refused(made, bases, tmp_path):
    with pytest.raises(ParamsError, match="kind 'copy', wanted tuned"):
        run(made, bases, tmp_path, "copy")
    with pytest.raises(ParamsError, match="tuned_bse"):
        run(made, bases, tmp_path, "tuned_bse")


def test_without_a_training_sentence_there_is_nothing_to_learn(bases, tmp_path):
    rows = [fake.pair("test0", 0, "test", [[10, 10, 50, 60]])]
    made = fake.make(tmp_path / "results", rows, lofi_models.SIDE_PX)
    with pytest.raises(TrainingError, match="found no training sentence with boxes"):
        run(made, bases, tmp_path)


def test_boxes_become_the_answers_text_and_images_without_pixels_are_named(made):
    found = tune.boxed(made.pairs, made.manifest, made.normalized, made.results, "train", "round")
    assert found[0].answer == "```\n[[200,200,400,450]]\n```"
    assert found[0].prompt == 'Detect all instances of "There is finding 0".'
    with pytest.raises(DataError, match="image train0: found no size, or no normalized image"):
        tune.boxed(made.pairs, made.manifest, made.normalized.slice(0, 2), made.results, "train", "round")
