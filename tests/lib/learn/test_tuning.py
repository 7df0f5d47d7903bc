"""The task of writing boxes: what is trained, kept patches, resume, ranks of micro-batches, and refusals."""

from dataclasses import replace

import cv2
import lofi_grounding
import lofi_models
import numpy as np
import pytest

from stages.lib.core.errors import TrainingError
from stages.lib.learn import loop, tuning
from stages.lib.learn.tuning import Boxed, TuneParams, TuneTask
from stages.lib.models.lofi import weights

PARAMS = TuneParams(**lofi_grounding.TUNE)


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    return lofi_models.both(tmp_path_factory.mktemp("bases"))


@pytest.fixture(scope="module")
def sentences(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    made = []
    for k in range(4):
        cv2.imwrite(str(folder / f"{k}.png"), rng.integers(0, 256, (lofi_models.SIDE_PX,) * 2, dtype=np.uint8))
        answer = f"```\n[[{100 * k},200,{100 * k + 50},300]]\n```"
        made.append(Boxed(f"image{k}", 0, folder / f"{k}.png", f'Detect all instances of "finding {k}".', answer))
    return made


def task(bases, sentences, folder=None, **changes):
    return TuneTask(
        train=sentences[:3],
        val=sentences[3:],
        preprocessing_hash="c0ffee",
        encoder=bases[0],
        decoder=bases[1],
        model=lofi_models.params(),
        params=replace(PARAMS, **changes),
        start=None,
        features=folder,
    )


def step(learner, samples):
    """Gradients by name, and the loss, of one batch."""
    batch = learner.collate([learner.examples[k] for k in samples])
    loss = learner.loss(learner.model, batch, len(samples))
    loss.backward()
    found = {name: one.grad for name, one in learner.loaded.network.named_parameters() if one.requires_grad}
    return float(loss.detach()), found


def test_with_a_frozen_tower_all_that_is_trained_stands_behind_it_and_gets_a_gradient(bases, sentences):
    learner = task(bases, sentences).load()
    _, gradients = step(learner, [0, 1])
    assert {name.split(".")[0] for name in gradients} == {"pooling", "projection", "decoder"}
    assert all(one is not None for one in gradients.values())
    assert sum(one.numel() for one in gradients.values()) == learner.count()[0]


def test_with_lora_in_the_tower_its_matrices_get_one_too_and_no_head_or_text_tower(bases, sentences):
    learner = task(bases, sentences, tower="lora").load()
    _, gradients = step(learner, [0, 1])
    assert all(one is not None for one in gradients.values())
    towers = {name for name in gradients if name.startswith("encoder.")}
    assert towers
    assert all("vision_model.encoder." in name and ".lora_" in name for name in towers)


def test_kept_patches_give_the_loss_and_the_gradients_that_images_give(bases, sentences, tmp_path):
    import torch

    kept, fresh = task(bases, sentences, tmp_path).load(), task(bases, sentences).load()
    assert len(list(tmp_path.rglob("*.safetensors"))) == 4
    (loss, gradients), (other, others) = step(kept, [0, 1, 2]), step(fresh, [0, 1, 2])
    assert loss == pytest.approx(other, abs=1e-6)
    assert all(torch.allclose(gradients[name], others[name], atol=1e-6) for name in gradients)


def test_patches_of_another_tower_are_kept_elsewhere(bases, sentences, tmp_path):
    task(bases, sentences, tmp_path).load()
    other = lofi_models.encoder(tmp_path / "other", seed=1)
    task((other, bases[1]), sentences, tmp_path).load()
    assert len({path.parent.parent for path in tmp_path.rglob("*.safetensors") if len(path.stem) == 64}) == 2


def test_the_loss_is_the_mean_over_sentences_of_the_mean_over_the_tokens_of_their_answers(bases, sentences):
    learner = task(bases, sentences).load()
    together, _ = step(learner, [0, 1, 2])
    alone = [step(learner, [k])[0] for k in range(3)]
    assert together == pytest.approx(np.mean(alone), abs=1e-5)


def test_a_run_that_is_taken_up_ends_with_the_same_bits(bases, sentences, tmp_path):
    whole = loop.fit(task(bases, sentences, tmp_path / "f"), tmp_path / "whole")
    loop.fit(task(bases, sentences, tmp_path / "f"), tmp_path / "part")
    [folder] = (tmp_path / "part").iterdir()
    import shutil

    shutil.rmtree(folder / "checkpoint-2")
    again = loop.fit(task(bases, sentences, tmp_path / "f"), tmp_path / "part")
    assert (again.resumed_from, whole.resumed_from) == (1, 0)
    for name in (weights.LORA, weights.WHOLE):
        one, other = (found.checkpoint.parent / "checkpoint-2" / name for found in (whole, again))
        assert one.read_bytes() == other.read_bytes()
    assert whole.curve == again.curve


def test_an_adapter_to_begin_with_is_another_run_and_another_beginning(bases, sentences, tmp_path):
    first = loop.fit(task(bases, sentences), tmp_path / "first")
    begun = replace(task(bases, sentences), start=first.checkpoint)
    assert begun.identity != task(bases, sentences).identity
    learner = begun.load()
    (loss, _), (other, _) = step(learner, [0, 1, 2]), step(task(bases, sentences).load(), [0, 1, 2])
    assert loss < other


def test_answers_that_would_have_to_be_cut_are_refused_and_all_named(bases, sentences):
    with pytest.raises(
        TrainingError, match=r"found 4 answers that would have to be cut.*image0, sentence 0 \(\d+ tok.*image3"
    ):
        task(bases, sentences, max_answer_tokens=5).load()


def test_what_does_not_change_the_weights_does_not_change_the_run(bases, sentences):
    same = task(bases, sentences, dataloader_num_workers=2, save_total_limit=5)
    assert same.identity == task(bases, sentences).identity
    assert task(bases, sentences, seed=4).identity != same.identity
    assert tuning.digest(sentences[:2]) != tuning.digest(sentences[1:3])
