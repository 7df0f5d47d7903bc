"""The loop's guarantees, on a task that is not answering: a contrastive loss between two tiny towers."""

import gc
import json
import os
import signal
import socket
import subprocess
import sys
import weakref
from dataclasses import dataclass, replace
from pathlib import Path

import contrastive
import numpy as np
import pytest
from contrastive import PARAMS, Task

from stages.lib.core.errors import PreemptedError, TrainingError
from stages.lib.learn import checkpoints, loop

ROOT = Path(__file__).parents[3]


def task(dropout=0.2, wait=0.0, **changes):
    return Task(replace(PARAMS, **changes), dropout, wait)


def weights(folder):
    return (folder / "towers.safetensors").read_bytes()


def start(root, *, rank=None, world=1, port=0, **changes):
    """A process that trains the task."""
    given = [f"{name}={json.dumps(value)}" for name, value in changes.items()]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    if rank is not None:
        environment |= {"WORLD_SIZE": str(world), "RANK": str(rank), "LOCAL_RANK": str(rank)}
        environment |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    return subprocess.Popen(
        [sys.executable, ROOT / "tests/fakes/contrastive.py", root, *given],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def ended(process, code=0):
    said = process.communicate(timeout=120)[0].decode()
    assert process.returncode == code, said
    return said


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An undisturbed run."""
    return loop.fit(task(), tmp_path_factory.mktemp("whole"))


def test_towers_learn_which_caption_goes_with_which_image(whole):
    first, last = whole.table[0].validation, whole.table[-1].validation
    assert last["loss"] < first["loss"]
    assert last["recall"] > first["recall"]
    assert (whole.trainable, whole.total) == (82, 82)


def test_a_run_that_is_interrupted_while_it_writes_goes_on_bit_by_bit(whole, tmp_path, monkeypatch):
    commit = checkpoints.commit

    def killed(folder):
        if folder.name == "checkpoint-6":
            raise KeyboardInterrupt
        commit(folder)

    monkeypatch.setattr(checkpoints, "commit", killed)
    with pytest.raises(KeyboardInterrupt):
        loop.fit(task(), tmp_path)
    monkeypatch.undo()
    rest = loop.fit(task(), tmp_path)
    assert rest.resumed_from == 4
    assert list(tmp_path.glob("*/broken-checkpoint-6"))
    assert rest.curve == whole.curve
    assert weights(rest.checkpoint) == weights(whole.checkpoint)


def test_sigterm_ends_a_run_after_its_step_with_a_checkpoint_and_it_goes_on_bit_by_bit(whole, tmp_path, monkeypatch):
    step, handler = loop._step, signal.getsignal(signal.SIGTERM)

    def interrupted(number, *given):
        if number == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(number, *given)

    monkeypatch.setattr(loop, "_step", interrupted)
    with pytest.raises(PreemptedError, match="asked to stop after step 3 of 12; a checkpoint is written"):
        loop.fit(task(), tmp_path)
    assert signal.getsignal(signal.SIGTERM) is handler
    monkeypatch.undo()
    rest = loop.fit(task(), tmp_path)
    assert rest.resumed_from == 3
    assert rest.curve == whole.curve
    assert rest.table == whole.table
    assert weights(rest.checkpoint) == weights(whole.checkpoint)


def test_sigterm_to_the_workers_too_as_a_scheduler_sends_it_is_outlived(tmp_path):
    slow = {"dataloader_num_workers": 2, "wait": 0.02, "max_steps": 40, "save_steps": 40, "eval_steps": 40}
    process = start(tmp_path, **slow)
    for line in process.stdout:
        if b"step 1 of" in line:
            break
    os.killpg(process.pid, signal.SIGTERM)
    assert "a checkpoint is written" in ended(process, 75)
    [left] = checkpoints.complete(next(tmp_path.iterdir()))
    assert 1 <= checkpoints.step(left) < 40


def test_a_run_that_is_killed_goes_on_bit_by_bit(whole, tmp_path):
    process = start(tmp_path, wait=0.02)
    while not list(tmp_path.glob(f"*/checkpoint-4/{checkpoints.COMMIT}")):
        assert process.poll() is None, process.stdout.read()
    process.kill()
    assert process.wait() == -signal.SIGKILL
    process.stdout.close()
    rest = loop.fit(task(), tmp_path)
    assert 4 <= rest.resumed_from < 12
    assert rest.curve == whole.curve
    assert weights(rest.checkpoint) == weights(whole.checkpoint)


def test_workers_change_no_bit(whole, tmp_path):
    found = loop.fit(task(dataloader_num_workers=2), tmp_path)
    assert found.curve == whole.curve
    assert weights(found.checkpoint) == weights(whole.checkpoint)


@pytest.mark.slow
def test_a_contrastive_step_is_the_same_in_two_processes_with_the_same_micro_batches(tmp_path):
    one = loop.fit(task(dropout=0.0), tmp_path / "one")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = [start(tmp_path / "two", rank=rank, world=2, port=port, dropout=0.0) for rank in range(2)]
    for process in processes:
        ended(process)
    [folder] = (tmp_path / "two").iterdir()
    two = loop.curve.read(folder / "checkpoint-12/curve.json")
    for name in ("loss", "grad_norm"):
        np.testing.assert_allclose(*([getattr(row, name) for row in rows] for rows in (one.curve, two)), rtol=1e-5)
    assert sorted(path.name for path in (folder / "checkpoint-12").glob("generators-*")) == [
        "generators-0.pt",
        "generators-1.pt",
    ]


def test_a_contrastive_step_is_another_with_other_micro_batches(whole, tmp_path):
    """Each image is told from the captions of its own micro-batch: 4 x 4 has 48 wrong pairs a step, 16 x 1 has 240."""
    ends = [
        loop.fit(
            task(dropout=0.0, max_steps=2, per_device_train_batch_size=micro, gradient_accumulation_steps=16 // micro),
            tmp_path,
        )
        for micro in (4, 16)
    ]
    assert ends[1].curve[0].loss > 2 * ends[0].curve[0].loss


@dataclass(frozen=True)
class Separable(Task):
    """Each image is told from no other caption: a sum over samples."""

    separable: bool = True

    def load(self):
        class Learner(contrastive.Learner):
            def loss(self, model, batch, samples):
                images, captions, scale, bias = model(*batch)  # (n, 5), (n, 5)
                logits = scale.exp() * (images * captions).sum(dim=1) + bias  # (n,)
                return -logits.sigmoid().log().sum() / samples

        return Learner(**vars(super().load()))


def test_a_separable_step_is_the_same_as_1x16_4x4_and_16x1(tmp_path):
    ends = [
        loop.fit(
            Separable(
                replace(
                    PARAMS, max_steps=4, per_device_train_batch_size=micro, gradient_accumulation_steps=16 // micro
                ),
                dropout=0.0,
            ),
            tmp_path,
        ).curve
        for micro in (1, 4, 16)
    ]
    for name in ("loss", "grad_norm"):
        one, four, sixteen = ([getattr(row, name) for row in rows] for rows in ends)
        np.testing.assert_allclose(one, sixteen, rtol=1e-5)
        np.testing.assert_allclose(four, sixteen, rtol=1e-5)


def crowded(monkeypatch, fits):
    """Make micro-batches of more than `fits` samples run out of memory; return references to all models."""
    import torch

    load, models = Task.load, []

    def remembered(self):
        assert [model() for model in models] == [None] * len(models)
        learner = load(self)
        learner.model.ring = [learner.model]  # as models do: only the garbage collector frees it
        models.append(weakref.ref(learner.model))
        return learner

    loss = contrastive.siglip_loss

    def small(images, *given):
        if images.requires_grad and len(images) > fits:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return loss(images, *given)

    monkeypatch.setattr(Task, "load", remembered)
    monkeypatch.setattr(contrastive, "siglip_loss", small)
    return models


def test_after_an_out_of_memory_the_model_is_gone_before_the_next_is_loaded(tmp_path, monkeypatch, caplog):
    gc.disable()
    try:
        models = crowded(monkeypatch, fits=1)
        given = replace(PARAMS, per_device_train_batch_size=4, max_steps=2)
        outcome = loop.fit(Task(given, separable=True), tmp_path)
    finally:
        gc.enable()
    assert len(models) == 3
    assert len(outcome.curve) == 2
    assert "going on with 1 samples x 16 passes" in caplog.text


def test_a_micro_batch_that_decides_the_loss_is_not_halved(tmp_path, monkeypatch):
    models = crowded(monkeypatch, fits=3)
    with pytest.raises(TrainingError, match=r"micro-batch of 4, which is part of this task's loss.*GPU with more"):
        loop.fit(task(), tmp_path)
    assert len(models) == 1


def test_out_of_memory_while_the_model_is_loaded_is_said_in_words(tmp_path, monkeypatch):
    import torch

    def never(self):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Task, "load", never)
    with pytest.raises(TrainingError, match=r"while the model is loaded.*GPU with more free memory"):
        loop.fit(task(), tmp_path)


@pytest.mark.parametrize(("select_by", "values", "wanted"), [("recall", [0.1, 0.9, 0.5], 4), ("loss", [3, 2, 1], 6)])
def test_the_checkpoint_is_selected_by_a_metric_and_outlives_newer_ones(
    tmp_path, monkeypatch, select_by, values, wanted
):
    scores = iter([*values, values[-1], values[-1], values[-1]])
    monkeypatch.setattr(
        contrastive.Learner, "evaluate", lambda *_: {"loss": 1.0, "recall": 0.0, select_by: next(scores)}
    )
    outcome = loop.fit(task(select_by=select_by), tmp_path)
    assert checkpoints.step(outcome.checkpoint) == wanted
    assert {checkpoints.step(folder) for folder in outcome.checkpoint.parent.glob("check*")} == {wanted, 10, 12}


def test_patience_ends_a_run_and_it_stays_ended(tmp_path, monkeypatch):
    scores = iter([0.5, 0.6, 0.6, 0.6])
    monkeypatch.setattr(contrastive.Learner, "evaluate", lambda *_: {"loss": 1.0, "recall": next(scores)})
    outcome = loop.fit(task(select_by="recall", patience=2), tmp_path)
    assert (len(outcome.curve), checkpoints.step(outcome.checkpoint)) == (8, 4)
    assert "stopped after step 8 of 12: recall on validation had not become better in 2" in outcome.notes[0]
    assert loop.fit(task(select_by="recall", patience=2), tmp_path).curve == outcome.curve


def test_the_end_is_measured_also_between_two_measurements(tmp_path):
    outcome = loop.fit(task(max_steps=3), tmp_path)
    assert [row.step for row in outcome.curve if row.validation] == [2, 3]
    assert [row.step for row in outcome.table] == [2, 3]


def test_a_single_bad_step_is_not_saved_and_three_end_the_run(tmp_path, monkeypatch, caplog):
    loss = contrastive.siglip_loss
    calls = []

    def broken(images, *given):
        calls.append(images.requires_grad)
        return loss(images, *given) * (float("nan") if sum(calls) > 12 else 1.0)

    monkeypatch.setattr(contrastive, "siglip_loss", broken)
    with pytest.raises(TrainingError, match="not finite for 3 steps, up to step 6"):
        loop.fit(task(), tmp_path)
    assert "no checkpoint after step 4: its loss is not finite" in caplog.text
    assert [folder.name for folder in tmp_path.glob("*/checkpoint-*")] == ["checkpoint-2"]


def test_processes_that_do_not_divide_the_passes_are_refused():
    with pytest.raises(TrainingError, match="found 3 processes, wanted a number that divides gradient_accumulation"):
        loop._passes(PARAMS, 4, 3)
    assert loop._passes(PARAMS, 2, 4) == 2
