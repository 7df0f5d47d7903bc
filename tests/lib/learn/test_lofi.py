"""LoFi's task: what is drawn, what is lost, and that neither turns nor processes change it."""

import json
import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import lofi_models
import lofi_reports
import lofi_training
import numpy as np
import pytest
import torch

from stages.lib.core.errors import TrainingError
from stages.lib.learn import checkpoints, lofi, loop, reports, retrieved
from stages.lib.learn.joint import batch
from stages.lib.learn.lofi import METRICS
from stages.lib.models.lofi import weights

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return lofi_reports.study(tmp_path_factory.mktemp("study") / "results")


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bases")
    lofi_training.write_bases(folder)
    return folder


@pytest.fixture
def task(study, bases):
    def made(model=None, **changes):
        return lofi_training.task(study, bases, model, **changes)

    return made


def close(one, other):
    assert one.keys() == other.keys()
    for name in one:
        torch.testing.assert_close(one[name], other[name], rtol=2e-4, atol=2e-5, msg=name)


def test_a_sample_is_the_same_each_time_and_another_in_another_epoch(task):
    examples = task().load().examples
    n = len(examples)
    one, again, later = examples[1], examples[1], examples[1 + n]
    assert (one.ids == again.ids).all()
    assert one.asked == again.asked
    assert (one.image == later.image).all()
    assert any((examples[i].ids != examples[i + n * 3].ids).any() for i in range(n))


def test_the_order_shows_each_image_once_in_an_epoch_under_a_number_of_its_own(task):
    asked = task(max_steps=6)
    n = len(asked.train)
    assert sorted(asked.order[:n]) == list(range(n))
    assert sorted(asked.order[n : 2 * n]) == list(range(n, 2 * n))


def test_one_task_is_drawn_with_the_chances_that_weigh_all_of_them(task):
    asked = task(every_task=False)
    drawing = asked.drawing()
    [boxed, *_] = [report for report in asked.train if report.boxed]
    [bare, *_] = [report for report in asked.train if not report.boxed]
    drawn = [drawing.drawn(boxed, number)[1] for number in range(2000)]
    assert {len(said) for said in drawn} == {1}
    assert {said[0].weight for said in drawn} == {1.0}
    for name, chance in reports.FRACTIONS.items():
        assert np.mean([said[0].task == name for said in drawn]) == pytest.approx(chance, abs=0.03)
    every = replace(drawing, every=True).drawn(boxed, 0)[1]
    assert {said.task: said.weight for said in every} == dict(reports.FRACTIONS)
    assert [said.task for said in drawing.drawn(bare, 0)[1]] == ["caption"]


def test_drawing_one_task_and_weighing_all_are_equal_in_expectation(task):
    learner = task().load()
    number = next(i for i, report in enumerate(learner.task.train) if report.boxed)
    sample = learner.examples[number]
    assert len(sample.asked) == 3

    def loss(asked):
        with torch.no_grad():
            return float(learner.loss(learner.model, batch([replace(sample, asked=asked)]), 1))

    alone = [loss(((prompt, answer, 1.0),)) for prompt, answer, _ in sample.asked]
    chances = [weight for *_, weight in sample.asked]
    assert sum(chances) == 1
    assert loss(sample.asked) == pytest.approx(float(np.dot(chances, alone)), rel=1e-5)


def test_the_loss_is_sigmoid_plus_location_weight_times_the_losses_of_words(task):
    found = []
    for weight in (0.0, 1.0, 5.0):
        learner = task(location_weight=weight).load()
        given = learner.collate([learner.examples[number] for number in range(4)])
        with torch.no_grad():
            found.append(float(learner.loss(learner.model, given, 4)))
            passed = learner.model(given)
    assert found[2] - found[0] == pytest.approx(5 * (found[1] - found[0]), rel=1e-4)
    assert found[1] - found[0] == pytest.approx(float((given.weights * passed.words).sum() / 4), rel=1e-4)
    logits = learner.loaded.network.scale * passed.images @ passed.texts.T + learner.loaded.network.bias
    by_hand = -torch.nn.functional.logsigmoid((2 * torch.eye(4) - 1) * logits).sum() / 4
    assert found[0] == pytest.approx(float(by_hand), rel=1e-5)


def test_the_loss_of_words_is_the_librarys_of_the_same_embeddings(task):
    """One answer, by Gemma3ForCausalLM with labels."""
    learner = task().load()
    sample = learner.examples[0]
    prompt, answer, _ = sample.asked[0]
    given = learner.collate([replace(sample, asked=((prompt, answer, 1.0),))])
    network, decoder = learner.loaded.network, learner.loaded.decoder
    with torch.no_grad():
        ours = learner.model(given).words
        prefix = network.prefix(network.patches(learner.loaded.pixels(given.images)))
        inputs = network.read(torch.tensor(decoder.begin), prefix, given.words)
        ignored = torch.full((1, inputs.shape[1] - len(answer)), -100)
        told = network.decoder(inputs_embeds=inputs, labels=torch.cat([ignored, torch.tensor([answer])], dim=1))
    assert answer[-1] == decoder.end_of_turn
    assert float(ours[0]) == pytest.approx(float(told.loss), rel=1e-5)


@pytest.mark.parametrize("size", [1, 3])
def test_turns_of_fewer_images_give_the_loss_and_the_gradients_of_the_whole_batch(task, size):
    loss, gradients = lofi_training.step(task())
    again, others = lofi_training.step(task(samples_per_pass=size))
    torch.testing.assert_close(loss, again)
    close(gradients, others)
    assert all(one.any() for one in gradients.values())


def test_two_half_batches_are_another_loss_so_accumulation_is_refused_with_the_reason(task):
    asked = task(per_device_train_batch_size=2, gradient_accumulation_steps=2)
    with pytest.raises(TrainingError, match=r"gradient_accumulation_steps 2 with 1 processes.*lower samples_per_pass"):
        asked.load()


def start(study, bases, out, rank, port, changes):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": f"{ROOT}:{ROOT / 'tests/fakes'}"}
    environment |= {"WORLD_SIZE": "2", "RANK": str(rank), "LOCAL_RANK": str(rank)}
    environment |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    command = [sys.executable, ROOT / "tests/fakes/lofi_training.py", study, bases, out, json.dumps(changes)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


@pytest.mark.slow
def test_two_processes_have_the_loss_and_the_gradients_of_one_full_batch(task, study, bases, tmp_path):
    """With answers for all images, with answers for some alone, and in turns; validation is the same too."""
    from safetensors.torch import load_file

    tasks = [["sigmoid", "caption", "ground", "describe"], ["sigmoid", "ground"], ["sigmoid", "caption"]]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    halves = {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 2}
    changes = [
        {"tasks": some, **halves, "samples_per_pass": turns} for some, turns in zip(tasks, (4, 4, 1), strict=True)
    ]
    processes = [start(study, bases, tmp_path / f"{rank}", rank, port, changes) for rank in range(2)]
    for process in processes:
        said = process.communicate(timeout=300)[0].decode()
        assert process.returncode == 0, said
    for number, some in enumerate(tasks):
        loss, gradients = lofi_training.step(task(tasks=some))
        for rank in range(2):
            found = load_file(tmp_path / f"{rank}-{number}")
            torch.testing.assert_close(found.pop("loss"), loss)
            close(gradients, found)


def test_every_trained_tensor_has_a_gradient_even_where_no_answer_is_asked_for(task):
    learner = task(tasks=["sigmoid", "ground"]).load()
    bare = [number for number, report in enumerate(learner.task.train) if not report.boxed]
    given = learner.collate([learner.examples[number] for number in bare[:2]])
    assert not len(given.image_of)
    learner.loss(learner.model.train(), given, 2).backward()
    gradients = {name: one.grad for name, one in weights.trained(learner.loaded.network).items()}
    assert not [name for name, gradient in gradients.items() if gradient is None]
    assert not any(gradient.any() for name, gradient in gradients.items() if name.startswith(weights.BEHIND))


def test_with_the_sigmoid_alone_no_decoder_is_loaded(task):
    learner = task(tasks=["sigmoid"]).load()
    assert learner.loaded.network.decoder is None
    given = learner.collate([learner.examples[number] for number in range(4)])
    learner.loss(learner.model.train(), given, 4).backward()
    assert all(one.grad is not None for one in weights.trained(learner.loaded.network).values())


def test_a_run_that_is_interrupted_goes_on_bit_by_bit(task, tmp_path, monkeypatch):
    whole = loop.fit(task(), tmp_path / "whole")
    commit = checkpoints.commit

    def killed(folder):
        if folder.name == "checkpoint-4":
            raise KeyboardInterrupt
        commit(folder)

    monkeypatch.setattr(checkpoints, "commit", killed)
    with pytest.raises(KeyboardInterrupt):
        loop.fit(task(), tmp_path / "cut")
    monkeypatch.undo()
    rest = loop.fit(task(), tmp_path / "cut")
    assert rest.resumed_from == 2
    assert rest.curve == whole.curve
    for name in (weights.LORA, weights.WHOLE):
        files = [outcome.checkpoint.parent / "checkpoint-4" / name for outcome in (whole, rest)]
        assert files[0].read_bytes() == files[1].read_bytes()
    assert set(whole.table[-1].validation) == set(METRICS)


def test_answers_that_would_have_to_be_cut_are_refused_at_the_start_with_their_images(task):
    asked = task(max_answer_tokens=30)
    with pytest.raises(TrainingError) as told:
        asked.load()
    assert "image00: found an answer of" in str(told.value)
    assert "image02: found an answer of" in str(told.value)
    assert "wanted at most 30" in str(told.value)
    assert "image01" not in str(told.value)
    with pytest.raises(
        TrainingError, match=r"image00: no sentence fits 64 tokens of the text tower and 3 of an answer"
    ):
        task(max_answer_tokens=3, tasks=["sigmoid", "caption"]).load()


def test_image_prompt_and_answer_that_the_decoder_cannot_read_are_refused(task):
    with pytest.raises(TrainingError, match=r"image00: image, prompt .* tokens, the decoder reads 512"):
        task(model={"visual_tokens": 480}).load()


def test_doubles_are_images_of_one_step_with_the_same_text_whatever_its_case(task):
    asked = task(sentences=[1, 1])
    texts = ["Clear lungs.", "clear lungs.", "A nodule.", "Clear lungs."]
    given = [
        replace(report, sentences=(reports.Sentence(text, 0, ()),))
        for report, text in zip(asked.train, texts, strict=False)
    ]
    found = reports.count(asked.drawing(), given, np.arange(4), 2)
    assert (found.samples, found.doubles, found.drawn, found.left_out) == (4, 2, 4, 0)
    assert reports.count(asked.drawing(), given, np.arange(4), 4).doubles == 3


def test_a_text_is_never_empty_and_what_had_no_room_is_counted(task):
    asked = task(sentences=[1, 1])
    long, short = reports.Sentence("!" * 90, 0, ()), reports.Sentence("Short.", 0, ())
    given = [replace(asked.train[0], sentences=(long, short))]
    texts = [asked.drawing().drawn(given[0], number)[0] for number in range(20)]
    assert {one.text for one in texts} == {"Short."}
    assert {one.left_out for one in texts} == {0, 1}
    found = reports.count(asked.drawing(), given, np.arange(20), 2)
    assert (found.drawn, found.left_out) == (20, sum(one.left_out for one in texts))
    assert found.doubles == 20


def test_a_sentence_outside_of_the_report_is_grounded_and_not_told(task):
    asked = task()
    box = (0.1, 0.1, 0.5, 0.5)
    told, placed = reports.Sentence("Told.", 0, ()), reports.Sentence("Placed.", None, (box,))
    text, said = asked.drawing().drawn(replace(asked.train[0], sentences=(placed, told)), 0)
    assert text.text == "Told."
    assert {one.task: one.answer for one in said} == {
        "caption": "Told.",
        "ground": "```\n[[100,100,500,500]]\n```",
        "describe": "Placed.",
    }


def test_validation_recall_is_the_mean_of_both_ways(task):
    owner = np.array([0, 0, *range(1, 12)])
    vectors = np.eye(12, dtype=np.float32)
    assert retrieved.recall(vectors, vectors[owner], owner) == 1.0
    assert retrieved.recall(np.ones((12, 4)), np.ones((13, 4)), owner) == 0.0
    found = task().load().evaluate(2)
    assert found.keys() == set(METRICS)
    assert found["recall_at_10"] == 1.0  # of 3 images
    alone = task(tasks=["sigmoid"]).load().evaluate(2)
    assert (alone["caption_loss"], alone["ground_loss"]) == (None, None)
    assert alone["sigmoid_loss"] == pytest.approx(found["sigmoid_loss"], rel=1e-5)


def test_validation_does_not_depend_on_the_size_of_batches_but_for_the_sigmoid(task):
    learner = task().load()
    learner.model.eval()
    one, three = (learner.evaluate(size) for size in (1, 3))
    for name in METRICS:
        if name != "sigmoid_loss":
            assert one[name] == pytest.approx(three[name], rel=1e-5)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"tasks": ["caption"]}, "tasks with sigmoid"),
        ({"tasks": ["sigmoid", "sigmoid"]}, "each once"),
        ({"sentences": [8, 4]}, "from few to many"),
        ({"save_steps": 3}, "save_steps"),
    ],
)
def test_parameters_that_contradict_each_other_are_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        lofi_training.train_params(**changes)


def test_what_decides_a_run_is_in_its_identity_and_where_files_lie_is_not(task):
    plain = task().identity
    assert task(model={"encoder": "elsewhere"}, dataloader_num_workers=2).identity == plain
    for changes in ({"location_weight": 1.0}, {"schedule": "linear"}, {"sentences": [1, 4]}):
        assert task(**changes).identity != plain
    assert task({"pooling": "heads"}).identity != plain
    asked = task()
    moved = replace(asked.train[0], sentences=asked.train[0].sentences[1:])
    assert replace(asked, train=[moved, *asked.train[1:]]).identity != plain
    assert json.loads(json.dumps(plain)) == plain


def test_the_learning_rate_falls_as_the_task_says_and_linearly_for_others(task):
    from stages.lib.learn.answers import TrainParams
    from stages.lib.learn.texts import TextParams

    assert (task().params.fall, task(schedule="linear").params.fall) == ("cosine", "linear")
    for other in (TrainParams, TextParams):
        assert other.fall.fget(None) == "linear"
        assert "fall" not in other.__dataclass_fields__


def test_workers_of_the_demo_read_the_same_as_the_main_process(task, tmp_path):
    found = [loop.fit(task(dataloader_num_workers=n, max_steps=2), tmp_path / str(n)).curve for n in (0, 1)]
    assert found[0] == found[1]


def test_the_fakes_are_of_the_real_classes(bases):
    from transformers import AutoModel, AutoModelForCausalLM

    assert type(AutoModel.from_pretrained(bases / "encoder")).__name__ == "SiglipModel"
    assert type(AutoModelForCausalLM.from_pretrained(bases / "decoder")).__name__ == "Gemma3ForCausalLM"
    assert lofi_models.LENGTH == 64


def test_where_memory_does_not_suffice_fewer_samples_in_a_pass_are_named_not_a_smaller_batch(
    task, tmp_path, monkeypatch
):
    def never(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(lofi.LofiLearner, "loss", never)
    with pytest.raises(TrainingError) as error:
        loop.fit(task(samples_per_pass=4), tmp_path)
    assert "lower lofi.train.samples_per_pass (now 4), which does not change the loss" in str(error.value)
    assert "per_device_train_batch_size" not in str(error.value)


def test_with_one_sample_in_a_pass_nothing_lower_is_asked_for():
    said = lofi_training.train_params(samples_per_pass=1, gradient_checkpointing="all").sparing
    assert said.startswith("lofi.train.samples_per_pass is 1 already, set lofi.model.pooling to queries")
