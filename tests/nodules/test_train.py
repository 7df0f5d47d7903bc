import csv
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import weakref
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_base import ASKED, EXACT, MODEL, NF4, PROMPT, TRAIN, train_options, train_params

from stages.lib.core import documents, files, tables
from stages.lib.core.errors import MismatchError, ParamsError, TrainingError
from stages.lib.core.params import parse
from stages.lib.learn import answers, checkpoints, loop, losses, schedule, validation
from stages.lib.learn.train_log import TrainLog
from stages.lib.models import adapters, gemma3, lora, prompts
from stages.nodules import train as stage


def read(tiny_study, name):
    return tables.read(tiny_study / f"{name}.parquet", tables.SCHEMAS[name])


def task_of(tiny_study, tiny_base, model=EXACT, **changes):
    params = train_params(**changes)
    learn, val, preprocessing_hash = stage.images_of(
        *(read(tiny_study, n) for n in ("manifest", "normalized", "split")), ["nih"], tiny_study
    )
    return answers.AnswerTask(
        train=learn,
        val=val,
        preprocessing_hash=preprocessing_hash,
        base=tiny_base,
        model=model,
        prompt=PROMPT,
        params=params,
    )


def weights(folder):
    return (Path(folder) / adapters.WEIGHTS).read_bytes()


def test_the_stage_writes_an_adapter_a_log_and_a_curve(trained):
    assert {path.name for path in trained.iterdir()} == {"adapter", "checkpoints", "curve.csv", "live", "train.json"}
    assert {path.name for path in (trained / "adapter").iterdir()} == {
        "adapter_config.json",
        "adapter_model.safetensors",
        "noduleflow.json",
    }
    log = documents.read(trained / "train.json", TrainLog)
    assert (log.steps, log.samples, log.samples_per_step, log.images) == (4, 16, 4, 14)
    assert (log.positive_images, log.epochs) == (4, 2.0)
    assert log.training_odds == 1.0
    assert log.coverage_of_negatives == 0.8
    assert [row.step for row in log.checkpoints] == [2, 4]
    assert log.selected_step == 4
    rows = list(csv.DictReader((trained / "curve.csv").open()))
    assert [int(row["step"]) for row in rows] == [1, 2, 3, 4]
    assert [row["val_f1"] != "" for row in rows] == [False, True] * 2


def test_the_weights_that_training_changed_are_the_adapters_alone_and_all_of_it(trained, tiny_base):
    from safetensors.numpy import load

    found = load(weights(trained / "adapter"))
    assert all(".lora_A." in name or ".lora_B." in name for name in found)
    assert all(array.any() for name, array in found.items() if ".lora_B." in name)
    assert files.sha256_file(tiny_base.folder / "model.safetensors") == tiny_base.sha256


def test_the_learning_rate_in_the_log_is_that_of_the_closed_form(trained):
    params = train_params()
    rows = csv.DictReader((trained / "curve.csv").open())
    logged = [float(row["learning_rate"]) for row in rows]
    wanted = [schedule.learning_rate(step, params.learning_rate, warmup=1, steps=4) for step in range(4)]
    assert logged == pytest.approx(wanted, rel=1e-12)
    assert logged[0] == 0
    assert max(logged) == params.learning_rate


def test_a_step_is_the_same_as_8x1_2x4_and_1x8(tiny_study, tiny_base, tmp_path):
    ends = {}
    for micro, gradient_accumulation_steps in ((8, 1), (2, 4), (1, 8)):
        task = task_of(
            tiny_study,
            tiny_base,
            per_device_train_batch_size=micro,
            gradient_accumulation_steps=gradient_accumulation_steps,
            lora_dropout=0.0,
            positive_weight=20.0,
            max_steps=2,
            warmup_ratio=0.0,
        )
        outcome = loop.fit(task, tmp_path)
        ends[micro] = ([row.loss for row in outcome.curve], [row.grad_norm for row in outcome.curve])
    for micro in (2, 1):
        np.testing.assert_allclose(ends[micro], ends[8], rtol=2e-4)


def test_the_losses_are_those_on_record(tiny_study, tiny_base, tmp_path):
    """As Hugging Face's Trainer gave them on an x86-64 CPU, with dropout; rounding differs between processors."""
    outcome = loop.fit(task_of(tiny_study, tiny_base, max_steps=6), tmp_path)
    recorded = [0.66149884, 0.66380382, 0.39553303, 1.29613495, 0.17278078, 0.39550453]
    np.testing.assert_allclose([row.loss for row in outcome.curve], recorded, rtol=1e-3)


def test_each_time_an_image_is_shown_it_is_at_a_seeded_random_place_and_the_images_are_those_of_unmoved_training(
    tiny_study, tiny_base
):
    plain, moved, other = (
        task_of(tiny_study, tiny_base, max_steps=100, **changes)
        for changes in ({}, {"shifts": 2}, {"shifts": 2, "seed": 2})
    )
    images, places = np.divmod(moved.order, 4)
    assert (images == plain.order).all()
    assert (plain.order == plain.shown).all()
    assert moved.training_odds == plain.training_odds
    assert (moved.order == replace(moved).order).all()
    assert (places != np.divmod(other.order, 4)[1]).any()
    assert np.bincount(places, minlength=4).min() > 70  # of 400
    assert all(len(set(places[images == image])) == 4 for image in np.unique(images))


def test_a_moved_training_image_is_the_image_moved_and_validation_images_stay(tiny_study, tiny_base, tmp_path):
    import torch

    task = replace(
        task_of(tiny_study, tiny_base, NF4, shifts=2, lora_target_modules="language"), features=tmp_path / "features"
    )
    learner = replace(task, features=None).load()
    whole = task.train[3][0]
    pixels, label = learner.examples[3 * 4 + 3]
    assert (pixels[7:, 7:] == whole[:-7, :-7]).all()
    assert not pixels[:7].any()
    assert not pixels[:, :7].any()
    assert label == task.train.labels[3]
    kept = task.load()
    shown = np.unique(task.order)
    for number in shown[::5]:
        wanted = gemma3.features(kept.loaded, [learner.examples[number][0]])[0].cpu()
        assert (kept.examples[number][0] == wanted).all()
    assert len(list(tmp_path.glob("features/*/*/*.safetensors"))) == len(shown) + len(task.val)
    with torch.no_grad():
        kept_pair, pair = (one.evaluate(4) for one in (kept, learner))
    assert kept_pair == pytest.approx(pair)


def test_dropout_is_on_in_training_and_off_in_evaluation(tiny_study, tiny_base):
    loaded = gemma3.load(tiny_base.folder, EXACT)
    model = lora.add(loaded.model, train_params(lora_dropout=0.5))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data.fill_(0.1)
    loaded = gemma3.ready(model, loaded.processor)
    image = np.zeros((1, 112, 112), np.uint8)
    for mode, same in ((False, True), (True, False)):
        model.train(mode)
        one, two = (gemma3.answer_logits(loaded, image, PROMPT) for _ in range(2))
        assert (one == two).all() == same


def test_training_learns_which_answer_goes_with_which_images(tiny_base, tmp_path):
    import cv2

    rng = np.random.default_rng(3)
    labels = np.arange(48) % 3 // 2
    for number, label in enumerate(labels):
        image = rng.integers(0, 128, (112, 112)) + 100 * label
        cv2.imwrite(str(tmp_path / f"{number:02d}.png"), image.astype(np.uint8))
    names = [f"{number:02d}" for number in range(48)]
    learn, val = (
        answers.Images(ids=names[part], paths=[tmp_path / f"{n}.png" for n in names[part]], labels=labels[part])
        for part in (slice(0, 30), slice(30, 48))
    )
    params = train_params(max_steps=12, eval_steps=12, save_steps=12, learning_rate=0.02, lora_r=8, lora_alpha=16.0)
    task = answers.AnswerTask(
        train=learn, val=val, preprocessing_hash="", base=tiny_base, model=NF4, prompt=PROMPT, params=params
    )
    outcome = loop.fit(task, tmp_path / "checkpoints")
    assert outcome.table[-1].validation["average_precision"] == 1.0
    assert outcome.table[-1].validation["balanced_accuracy"] > 0.9
    loaded = gemma3.load(tiny_base.folder, NF4, adapter=outcome.checkpoint)
    pair = gemma3.answer_logits(loaded, np.stack([val[i][0] for i in range(len(val))]), PROMPT)
    said = pair[:, 1] > pair[:, 0]
    assert (said == (val.labels == 1)).mean() > 0.9


def test_an_interrupted_run_ends_with_bitwise_the_adapter_of_an_undisturbed_one(
    tiny_study, tiny_base, tmp_path, monkeypatch
):
    task = task_of(tiny_study, tiny_base, NF4)
    whole = loop.fit(task, tmp_path / "whole")

    commit = checkpoints.commit

    def killed(folder):
        if folder.name == "checkpoint-4":
            raise KeyboardInterrupt
        commit(folder)

    monkeypatch.setattr(checkpoints, "commit", killed)
    with pytest.raises(KeyboardInterrupt):
        loop.fit(task, tmp_path / "cut")
    monkeypatch.undo()
    rest = loop.fit(task, tmp_path / "cut")
    assert rest.resumed_from == 2
    assert list((tmp_path / "cut").glob("*/broken-checkpoint-4"))
    assert weights(rest.checkpoint) == weights(whole.checkpoint)
    assert rest.curve == whole.curve


@pytest.mark.slow
def test_a_flipped_byte_in_the_newest_checkpoint_is_found_and_the_one_before_is_used(tiny_study, tiny_base, tmp_path):
    task = task_of(tiny_study, tiny_base)
    whole = loop.fit(task, tmp_path)
    before = weights(whole.checkpoint)
    state = whole.checkpoint / "optimizer.pt"
    content = bytearray(state.read_bytes())
    content[len(content) // 2] ^= 1
    state.write_bytes(content)
    again = loop.fit(task, tmp_path)
    assert again.resumed_from == 2
    assert weights(again.checkpoint) == before


def test_a_finished_run_is_not_trained_again(tiny_study, tiny_base, tmp_path):
    task = task_of(tiny_study, tiny_base, max_steps=2)
    first = loop.fit(task, tmp_path)
    stamp = (first.checkpoint / adapters.WEIGHTS).stat().st_mtime_ns
    second = loop.fit(task, tmp_path)
    assert second.resumed_from == 2
    assert second.table == first.table
    assert (second.checkpoint / adapters.WEIGHTS).stat().st_mtime_ns == stamp


def test_other_parameters_data_or_pixels_start_anew_and_the_log_says_what_differs(
    tiny_study, tiny_base, tmp_path, caplog
):
    task = task_of(tiny_study, tiny_base, max_steps=2)
    loop.fit(task, tmp_path)
    with caplog.at_level("INFO"):
        outcome = loop.fit(
            replace(task, params=replace(task.params, learning_rate=0.02), preprocessing_hash="other"), tmp_path
        )
    assert outcome.resumed_from == 0
    assert re.search(r"differs in preprocessing hash, train\.learning_rate", caplog.text)


def test_a_checkpoint_of_another_format_is_not_gone_on_from(tiny_study, tiny_base, tmp_path, caplog, monkeypatch):
    task = task_of(tiny_study, tiny_base, max_steps=2)
    with monkeypatch.context() as older:
        older.setattr(loop, "FORMAT", 1)
        loop.fit(task, tmp_path)
    for path in tmp_path.rglob("curve.json"):
        path.unlink()
    with caplog.at_level("INFO"):
        assert loop.fit(task, tmp_path).resumed_from == 0
    assert "differs in checkpoint format" in caplog.text


def test_a_metric_that_the_task_does_not_have_selects_nothing(tiny_study, tiny_base, tmp_path):
    task = task_of(tiny_study, tiny_base, max_steps=2)
    object.__setattr__(task.params, "select_by", "averge_precision")  # past the check of nodules.train
    with pytest.raises(TrainingError, match="found 'averge_precision', wanted one of last, loss, balanced_accuracy"):
        loop.fit(task, tmp_path)


def test_what_does_not_change_the_result_does_not_change_the_identity(tiny_study, tiny_base):
    task = task_of(tiny_study, tiny_base)
    same = replace(task, params=replace(task.params, dataloader_num_workers=2, save_total_limit=9))
    fewer = replace(task, train=replace(task.train, labels=1 - task.train.labels))
    assert same.identity == task.identity
    assert fewer.identity != task.identity


@pytest.mark.slow
def test_workers_read_the_images_in_the_same_order(tiny_study, tiny_base, tmp_path):
    ends = [
        loop.fit(task_of(tiny_study, tiny_base, max_steps=2, dataloader_num_workers=workers), tmp_path / str(workers))
        for workers in (0, 2)
    ]
    assert weights(ends[0].checkpoint) == weights(ends[1].checkpoint)


@pytest.mark.slow
def test_gradient_checkpointing_changes_no_result_beyond_rounding(tiny_study, tiny_base, tmp_path):
    ends = [
        loop.fit(
            task_of(tiny_study, tiny_base, NF4, max_steps=2, gradient_checkpointing=on, lora_dropout=0.0), tmp_path
        )
        for on in (False, True)
    ]
    np.testing.assert_allclose(*([row.loss for row in end.curve] for end in ends), rtol=1e-5)


@pytest.mark.slow
def test_out_of_memory_halves_the_micro_batch_and_keeps_the_step(tiny_study, tiny_base, tmp_path, monkeypatch, caplog):
    import torch

    ask = gemma3.ask
    asked, load, models = [], gemma3.load, []

    def remembered(*given):
        assert [model() for model in models] == [None] * len(models), "an earlier model is still in memory"
        loaded = load(*given)
        models.append(weakref.ref(loaded.model))
        return loaded

    def small(loaded, images, prompt, pair, *, through):
        if through.training:
            asked.append(len(images))
            if asked[-1] > 1:
                raise torch.OutOfMemoryError("CUDA out of memory")
        return ask(loaded, images, prompt, pair, through=through)

    task = task_of(
        tiny_study,
        tiny_base,
        max_steps=2,
        per_device_train_batch_size=4,
        gradient_accumulation_steps=1,
        lora_dropout=0.0,
    )
    plain = loop.fit(task, tmp_path / "plain")
    monkeypatch.setattr(gemma3, "ask", small)
    monkeypatch.setattr(gemma3, "load", remembered)
    outcome = loop.fit(task, tmp_path / "small")
    assert len(models) == 3
    assert asked == [4, 2] + 8 * [1]
    assert "going on with 1 samples x 4 passes" in caplog.text
    np.testing.assert_allclose(*([row.loss for row in end.curve] for end in (plain, outcome)), rtol=1e-5)


def test_out_of_memory_with_one_image_is_an_error_that_says_what_to_do(tiny_study, tiny_base, tmp_path, monkeypatch):
    import torch

    def never(*_, through):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(gemma3, "ask", never)
    with pytest.raises(TrainingError, match=r"micro-batch of 1.*gradient_checkpointing"):
        loop.fit(task_of(tiny_study, tiny_base, max_steps=2), tmp_path)


def test_a_loss_that_is_not_finite_stops_training_and_is_never_saved(tiny_study, tiny_base, tmp_path, monkeypatch):
    loss = losses.answer_loss
    calls = []

    def broken(pair, labels, weight, samples):
        calls.append(1)
        return loss(pair, labels, weight, samples) * (float("nan") if len(calls) > 6 else 1.0)

    monkeypatch.setattr(losses, "answer_loss", broken)
    with pytest.raises(TrainingError, match="not finite for 3 steps, up to step 6"):
        loop.fit(task_of(tiny_study, tiny_base, max_steps=6), tmp_path)
    assert [folder.name for folder in tmp_path.glob("*/checkpoint-*")] == ["checkpoint-2"]


def test_a_bfloat16_base_trains_an_adapter_of_float32(tiny_study, tiny_base, tmp_path):
    from safetensors.numpy import load

    task = task_of(tiny_study, tiny_base, replace(NF4, dtype="bfloat16"), max_steps=2)
    outcome = loop.fit(task, tmp_path)
    found = load(weights(outcome.checkpoint))
    assert {array.dtype for array in found.values()} == {np.dtype("float32")}
    assert all(np.isfinite(array).all() for array in found.values())
    assert any(array.any() for name, array in found.items() if "lora_B" in name)


def test_only_training_and_validation_images_of_the_sources_are_read(tiny_study):
    manifest, normalized, split = (read(tiny_study, name) for name in ("manifest", "normalized", "split"))
    learn, val, preprocessing_hash = stage.images_of(manifest, normalized, split, ["nih"], tiny_study)
    part = dict(zip(split["image_id"].to_pylist(), split["split"].to_pylist(), strict=True))
    assert {part[i] for i in learn.ids} == {"train"}
    assert {part[i] for i in val.ids} == {"val"}
    assert (len(learn), len(val), preprocessing_hash) == (14, 5, "c0ffee")
    assert learn[0][0].shape == (112, 112)


def test_training_on_a_source_that_lacks_a_class_is_refused_with_the_counts(tiny_study):
    manifest, normalized, split = (read(tiny_study, name) for name in ("manifest", "normalized", "split"))
    one = split.set_column(3, split.schema.field("split"), [["train"] * split.num_rows])
    with pytest.raises(TrainingError, match=r"\['lidc'\] has 4 with and 0 without"):
        stage.images_of(manifest, normalized, one, ["lidc"], tiny_study)


def test_images_of_two_preprocessing_hashes_are_refused(tiny_study):
    manifest, normalized, split = (read(tiny_study, name) for name in ("manifest", "normalized", "split"))
    mixed = ["c0ffee"] * 3 + ["decaf"] * (normalized.num_rows - 3)
    place = normalized.column_names.index("preprocessing_hash")
    normalized = normalized.set_column(place, normalized.schema.field("preprocessing_hash"), [mixed])
    with pytest.raises(MismatchError, match=r"\['c0ffee', 'decaf'\]"):
        stage.images_of(manifest, normalized, split, ["nih"], tiny_study)


def test_bad_parameters_are_all_named_at_once():
    section = {**TRAIN, "learning_rate": 0.0, "sampler": "random", "lora_r": "16"}
    with pytest.raises(ParamsError) as caught:
        parse({"train": section}, {"train": stage.Params})
    assert len(caught.value.problems) == 3
    section = {**TRAIN, "save_steps": 3, "save_total_limit": 1}
    with pytest.raises(ParamsError, match=r"multiple of eval_steps.*2 or more"):
        parse({"train": section}, {"train": stage.Params})


def test_training_stops_when_validation_has_not_become_better_and_goes_not_on_when_started_again(
    tiny_study, tiny_base, tmp_path, monkeypatch
):
    values = iter([0.5, 0.8, 0.8, 0.7, 0.9, 0.9])
    measured = {**dict.fromkeys(validation.METRICS, 0.0)}
    monkeypatch.setattr(validation, "validation_metrics", lambda *_: {**measured, "f1": next(values)})
    task = task_of(tiny_study, tiny_base, max_steps=6, eval_steps=1, save_steps=3, select_by="f1", patience=2)
    outcome = loop.fit(task, tmp_path)
    assert (len(outcome.curve), [row.step for row in outcome.table]) == (4, [3, 4])
    assert outcome.checkpoint.name == "checkpoint-3"
    assert "stopped after step 4 of 6: f1 on validation had not become better in 2 measurements" in outcome.notes[0]
    again = loop.fit(task, tmp_path)
    assert (again.curve, again.checkpoint, again.table) == (outcome.curve, outcome.checkpoint, outcome.table)
    assert next(values) == 0.9


def test_the_curves_to_watch_are_those_of_the_log_also_after_an_interruption(
    tiny_study, tiny_base, tmp_path, monkeypatch
):
    task = task_of(tiny_study, tiny_base)
    commit = checkpoints.commit

    def killed(folder):
        if folder.name == "checkpoint-4":
            raise KeyboardInterrupt
        commit(folder)

    monkeypatch.setattr(checkpoints, "commit", killed)
    with pytest.raises(KeyboardInterrupt):
        loop.fit(task, tmp_path, tmp_path / "live")
    monkeypatch.undo()
    outcome = loop.fit(task, tmp_path, tmp_path / "live")
    for column in ("loss", "val_f1"):
        rows = list(csv.DictReader((tmp_path / f"live/plots/metrics/{column}.tsv").open(), delimiter="\t"))
        flat = [row.flat(task.metrics) for row in outcome.curve]
        wanted = [(row["step"], row[column]) for row in flat if row[column] is not None]
        assert [(int(row["step"]), float(row[column])) for row in rows] == wanted


def test_the_time_that_the_model_waits_for_images_is_measured(tiny_study, tiny_base, tmp_path, monkeypatch):
    import time

    from stages.lib.images import normalized

    task = task_of(tiny_study, tiny_base, max_steps=2)
    slow = replace(task.train, load=lambda *at: time.sleep(0.2) or normalized.load(*at))
    assert loop.fit(task, tmp_path / "a").data_wait_fraction < 0.2
    assert loop.fit(replace(task, train=slow), tmp_path / "b").data_wait_fraction > 0.5


def test_the_selected_checkpoint_outlives_newer_ones(tiny_study, tiny_base, tmp_path, monkeypatch):
    scores = iter([0.9, 0.5, 0.4, 0.3])
    monkeypatch.setattr(
        validation, "validation_metrics", lambda *_: {**dict.fromkeys(validation.METRICS, 0.1), "f1": next(scores)}
    )
    task = task_of(tiny_study, tiny_base, max_steps=8, select_by="f1", save_total_limit=2)
    outcome = loop.fit(task, tmp_path)
    assert outcome.checkpoint.name == "checkpoint-2"
    assert sorted(f.name for f in outcome.checkpoint.parent.glob("check*")) == [
        f"checkpoint-{step}" for step in (2, 6, 8)
    ]


@pytest.mark.slow
def test_a_process_that_is_told_to_stop_writes_a_checkpoint_and_started_again_ends_as_if_undisturbed(
    tiny_study, tmp_path
):
    changes = {"max_steps": 40, "save_steps": 40, "eval_steps": 20}
    stage.main(train_options(tiny_study, tmp_path / "whole", **changes))
    command = [sys.executable, "-m", "stages.nodules.train", *train_options(tiny_study, tmp_path / "cut", **changes)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, cwd=Path(__file__).parents[2], env=environment, stderr=subprocess.PIPE)
    assert process.stderr is not None
    while b"step 1 of" not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    said = process.communicate(timeout=120)[1].decode()
    assert process.returncode == stage.GO_ON, said
    assert "a checkpoint is written" in said
    assert not (tmp_path / "cut/adapter").exists()
    done = subprocess.run(command, cwd=Path(__file__).parents[2], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "going on from" in done.stderr
    for name in ("curve.csv", *(f"adapter/{path.name}" for path in (tmp_path / "whole/adapter").iterdir())):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


@pytest.mark.slow
def test_a_process_killed_at_a_step_and_again_while_it_writes_a_checkpoint_ends_as_if_undisturbed(tiny_study, tmp_path):
    changes = {"max_steps": 20, "save_steps": 1, "eval_steps": 1, "lora_target_modules": "language"}
    cached = {"model": {**MODEL, "cache_features": True}, **changes}
    stage.main(train_options(tiny_study, tmp_path / "whole", **cached))
    options = train_options(tiny_study, tmp_path / "cut", **cached)
    command = [sys.executable, "-m", "stages.nodules.train", *options]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}

    def started():
        return subprocess.Popen(command, cwd=Path(__file__).parents[2], env=environment, stderr=subprocess.PIPE)

    def written(least):
        return [
            path for path in (tmp_path / "cut/checkpoints").glob("*/checkpoint-*") if checkpoints.step(path) >= least
        ]

    with started() as process:
        while not written(3):
            assert process.poll() is None
        process.kill()
    assert process.returncode == -signal.SIGKILL
    with started() as process:
        while not any(not (path / checkpoints.COMMIT).exists() for path in written(8)):
            assert process.poll() is None
        process.kill()
    newest = max(written(8), key=checkpoints.step)
    assert not (newest / checkpoints.COMMIT).exists()
    done = subprocess.run(command, cwd=Path(__file__).parents[2], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"{newest} is set aside" in done.stderr
    assert "going on from" in done.stderr
    for name in ("curve.csv", *(f"adapter/{path.name}" for path in (tmp_path / "whole/adapter").iterdir())):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


@pytest.mark.slow
def test_two_processes_see_the_images_of_one_and_end_with_its_loss_and_adapter(tiny_study, tmp_path):
    from safetensors.numpy import load

    changes = {"lora_dropout": 0.0, "lora_target_modules": "language", "model": {**MODEL, "cache_features": True}}
    stage.main(train_options(tiny_study, tmp_path / "one", **changes))
    command = [sys.executable, "-m", "stages.nodules.train", *train_options(tiny_study, tmp_path / "two", **changes)]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    world = {"OMP_NUM_THREADS": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    processes = [
        subprocess.Popen(
            command,
            cwd=Path(__file__).parents[2],
            env={**os.environ, **world, "RANK": rank, "LOCAL_RANK": rank},
            stderr=subprocess.PIPE,
        )
        for rank in "01"
    ]
    said = [process.communicate(timeout=300)[1].decode() for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    kept = [len(list((tmp_path / name / "features").rglob("*.safetensors"))) for name in ("one", "two")]
    assert kept[0] == kept[1] > 10
    curves = [np.genfromtxt(tmp_path / name / "curve.csv", delimiter=",", names=True) for name in ("one", "two")]
    for column in ("loss", "grad_norm", "val_loss"):
        np.testing.assert_allclose(curves[0][column], curves[1][column], rtol=1e-5)
    one, two = (load(weights(tmp_path / name / "adapter")) for name in ("one", "two"))
    for name, array in one.items():
        np.testing.assert_allclose(array, two[name], atol=1e-4)


def test_an_adapter_is_refused_with_other_pixels_another_base_or_another_question(trained, tiny_base):
    folder = trained / "adapter"
    assert adapters.check(folder, "c0ffee", tiny_base.identity, PROMPT).step == 4
    other = replace(tiny_base.identity, sha256="0" * 64)
    asked = prompts.PromptParams(**{**ASKED, "question": "Nodule?"})
    with pytest.raises(MismatchError) as caught:
        adapters.check(folder, "decaf", other, asked)
    for text in (
        "'c0ffee', now 'decaf'",
        f"'{tiny_base.sha256}', now '{'0' * 64}'",
        "prompt.question 'Is there a nodule?'",
    ):
        assert text in str(caught.value)


def test_the_adapter_of_a_failed_write_is_absent(trained, tmp_path, monkeypatch):
    [checkpoint] = (trained / "checkpoints").glob("*/checkpoint-4")
    card = documents.read(trained / "adapter/noduleflow.json", adapters.Card)
    monkeypatch.setattr(shutil, "copyfile", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        adapters.write(tmp_path / "adapter", checkpoint, card)
    assert not list(tmp_path.iterdir())
