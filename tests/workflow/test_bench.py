"""What the bench counts is exact, goes through the project's own code, and keeps its bounds."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from tiny_base import EXACT, PROMPT, noise_images, train_params

from stages.lib.core import params, tables
from stages.lib.learn import answers
from stages.lib.models import gemma3, lora, prompts
from stages.lib.models.chat.ledger import Ledger
from stages.nodules import infer
from workflow.bench import (
    architecture,
    chat,
    chat_server,
    embed,
    findings,
    flops,
    interleave,
    matching,
    memory,
    probe,
    reports,
    result,
    search,
)

ROOT = Path(__file__).parents[2]
REAL = params.parse(
    yaml.safe_load((ROOT / "workflow/presets/nodulocc.yaml").read_text()),
    {"nodules.prompt": prompts.PromptParams, "nodules.train": answers.TrainParams},
)


@pytest.fixture(scope="module")
def text_tokens() -> int:
    return architecture.text_tokens(REAL.prompt)


def test_all_presets_ask_the_question_whose_tokens_are_counted(text_tokens):
    asked = {
        name: yaml.safe_load((ROOT / f"workflow/presets/{name}.yaml").read_text())["nodules"]["prompt"]["question"]
        for name in ("demo", "nodulocc", "nodulocc_published")
    }
    assert set(asked.values()) == {REAL.prompt.question}
    assert text_tokens == 22


@pytest.mark.parametrize("name", ["d_answer_only", "e_cached_features"])
def test_a_training_sample_of_the_real_model_costs_no_more_than_this(name, text_tokens):
    recipe, bound, _ = flops.RECIPES[name]
    assert bound == {"d_answer_only": 9.7, "e_cached_features": 4.3}[name]
    assert 0.9 * bound < flops.step(recipe, REAL.prompt, text_tokens + 16, REAL.train) / 1e12 <= bound


def test_one_forward_pass_of_the_real_model_costs_what_the_formulas_by_hand_say():
    tower = 27 * (4 * 1152**2 + 2 * 1152 * 4304) * 4096 + 27 * 2 * 4096**2 * 1152 + 588 * 1152 * 4096
    language = 34 * 2560 * (2 * 8 * 256 + 2 * 4 * 256 + 3 * 10240) * 320 + 34 * 2 * 320**2 * 8 * 256
    by_hand = 2 * (tower + 1152 * 2560 * 256 + language + 2560 * 262208)
    assert flops.forward(REAL.prompt, 64) == pytest.approx(by_hand, rel=1e-3)


def test_a_batch_costs_its_images_and_nothing_beside(text_tokens):
    one, four = (flops.forward(REAL.prompt, text_tokens, n=n) for n in (1, 4))
    assert four == pytest.approx(one, rel=1e-6)


def test_checkpointing_does_not_run_back_through_a_frozen_tower(tiny_base):
    model = lora.add(gemma3.load(tiny_base.folder, EXACT).model, train_params(lora_target_modules="language"))
    lora.checkpoint_activations(model)
    asked = gemma3.ready(model.train(), gemma3.load(tiny_base.folder, EXACT).processor)
    tower = model.get_base_model().model.vision_tower
    seen = []
    tower.register_forward_hook(lambda _, given, made: seen.append(made.last_hidden_state.requires_grad))
    gemma3.ask(asked, noise_images(2), PROMPT, flops.ANSWERS).all.sum().backward()
    assert seen == [False]
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)


@pytest.mark.parametrize("targets", ["language", "all-linear"])
def test_checkpointing_gives_the_same_gradients(tiny_base, targets):
    found = []
    for checkpointing in (False, True):
        loaded = gemma3.load(tiny_base.folder, EXACT)
        model = lora.add(loaded.model, train_params(lora_target_modules=targets, lora_dropout=0.0)).train()
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.data.fill_(0.01)
        if checkpointing:
            lora.checkpoint_activations(model)
        gemma3.ask(
            gemma3.ready(model, loaded.processor), noise_images(2), PROMPT, flops.ANSWERS
        ).all.square().sum().backward()
        found.append({name: p.grad.numpy().copy() for name, p in model.named_parameters() if p.requires_grad})
    assert found[0].keys() == found[1].keys()
    for name, gradient in found[0].items():
        np.testing.assert_allclose(found[1][name], gradient, rtol=1e-5, atol=1e-7, err_msg=name)


def test_infer_sees_each_image_once_computes_one_position_and_generates_nothing(tiny_study, tiny_base, monkeypatch):
    loaded = gemma3.load(tiny_base.folder, EXACT)
    inner, seen = loaded.model.model, {"tower": 0, "head": 0}

    def generated(*_, **__):
        raise AssertionError("infer called generate()")

    def tower(module, given, named, made):
        seen["tower"] += len(named["pixel_values"])

    def head(module, given, made):
        seen["head"] += made.shape[0] * made.shape[1]

    monkeypatch.setattr(type(loaded.model), "generate", generated)
    inner.vision_tower.register_forward_hook(tower, with_kwargs=True)
    loaded.model.lm_head.register_forward_hook(head)
    images = tables.read(tiny_study / "normalized.parquet", tables.NORMALIZED)
    given = infer.Params(batch_size=4, shifts=1, splits=("train", "val", "test"), readers=0, weights="unmerged")
    table = infer.infer(images, None, tiny_study, lambda p: gemma3.answer_logits(loaded, p, PROMPT), given)
    assert seen == {"tower": table.num_rows, "head": table.num_rows} == {"tower": 26, "head": 26}


def test_two_ways_are_timed_in_turns_on_the_same_pieces_with_a_control():
    now, calls = [0.0], []

    def way(name, seconds):
        def work(piece):
            calls.append((name, piece))
            now[0] += seconds

        return work

    timed = interleave.Interleaved(way("a", 1.0), way("b", 3.0), clock=lambda: now[0])
    found = timed.run(["x", "y"], what="test")
    assert calls == [(name, "x") for name in "ab"] + [(n, "x") for n in "aba"] + [(n, "y") for n in "aab"]
    assert found.ratios == [3.0, 3.0]
    assert found.control == [1.0, 1.0]
    assert found.value == 3.0


def test_a_bound_that_is_not_kept_is_shown_and_one_without_value_is_not_judged():
    made = result.Result(value=9.8, unit="s", label="counted", command="c", at_most=9.7)
    assert made.kept is False
    assert "NOT KEPT" in result.table({"x": made})
    assert made.row()["kept"] is False
    assert replace(made, value=None, note="why").kept is None
    assert json.loads(json.dumps(replace(made, value=None).row()))["value"] is None


def test_images_to_be_matched_have_points_near_each_other_and_are_matched_quickly():
    found = matching.bench(2000)["matching.seconds"]
    assert 0 < found.value < 10
    assert "2000 images" in found.note


def test_the_search_that_is_measured_is_the_project_s_own_in_a_process_of_its_own():
    found = search.bench(pool=3000, width=64, queries=50, k=5)
    assert set(found) == {"search.seconds", "search.memory"}
    assert 0 < found["search.seconds"].value < 40
    assert found["search.memory"].at_most == 2000
    assert "first 5 of 3000 x 64 for 50 queries" in found["search.seconds"].note


def test_the_probe_that_is_measured_is_the_project_s_own_and_all_its_fits_converge():
    found = probe.bench(train=600, val=200, width=16)
    assert set(found) == {"probe.seconds", "probe.memory", "probe.unfinished"}
    assert 0 < found["probe.seconds"].value < found["probe.seconds"].at_most == 60
    assert found["probe.memory"].at_most == 4000
    assert found["probe.unfinished"].value == 0
    assert "10 strengths on 600 x 32 features" in found["probe.seconds"].note


def test_scoring_again_measures_all_arms_and_resamples_are_faster_than_a_loop():
    found = findings.bench(yaml.safe_load((ROOT / "workflow/presets/demo.yaml").read_text()), 40, draws=1000, rounds=1)
    assert 0 < found["findings.rescore"].value < 60
    assert "40 cases, 4 arms" in found["findings.rescore"].note
    assert found["findings.resamples"].value > 1


def test_the_peak_of_memory_is_this_process_s_own():
    before = memory.peak_mb()
    ballast = np.ones(200 * 2**20 // 8)
    assert memory.peak_mb() - before > 100
    code = "from workflow.bench.memory import peak_mb; print(peak_mb())"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert float(done.stdout) < memory.peak_mb() - 50
    assert ballast.size


@pytest.mark.slow
def test_the_bench_writes_what_it_was_asked_for_with_its_provenance(tmp_path):
    import checkout as checkouts

    folder = checkouts.copy(tmp_path / "checkout", {})
    text = checkouts.run(folder, "python", "-m", "workflow.bench", "matching")
    document = json.loads((folder / "results/bench.json").read_text())
    assert "matching.seconds" in text
    assert set(document["results"]["matching.seconds"]) >= {"value", "unit", "low", "high", "runs", "command", "label"}
    assert document["provenance"]["git"]["revision"]
    assert document["provenance"]["versions"]["torch"]
    assert "unknown; known are" in checkouts.run(folder, "python", "-m", "workflow.bench", "speeed", fails=True)


def test_asking_is_measured_through_the_project_s_own_way_and_sends_each_image(tmp_path):
    shown = chat.images(tmp_path)
    assert {100_000 < one.path.stat().st_size < 103_000 for one in shown} == {True}
    with chat_server.serving(0.0) as url:
        chat.asked(url, tmp_path / "ledger", chat.requests(shown, 8))
        chat.bare(url, chat.requests(shown, 2))
    with Ledger(tmp_path / "ledger", "1-of-1") as book:
        assert len(book) == 8
        assert {record["text"] for record in book.records()} == {chat_server.TEXT}


def test_the_tables_of_reports_that_the_bench_reads_are_read_without_a_problem(tmp_path, monkeypatch):
    for name, size in (("STUDIES", 7), ("POSITIVE", 11), ("NEGATIVE", 6), ("PARTS", 3)):
        monkeypatch.setattr(reports, name, size)
    reports.folder(tmp_path)
    assert len(list(tmp_path.glob("PadChest_GR.zip.*"))) == 3
    assert 0 < reports.read(tmp_path) < reports.AT_MOST_SECONDS
    (tmp_path / "PadChest_GR.zip.002").unlink()
    with pytest.raises(ValueError, match="002 are missing"):
        reports.read(tmp_path)


def test_embedding_is_timed_against_the_pass_alone_and_features_are_read_in_a_process_of_its_own(tmp_path):
    found = embed.ratio(tmp_path / "time", rounds=2, piece=2, size="least")
    assert 0.5 < found.value < 100
    assert (found.at_most, len(found.runs)) == (1.1, 2)
    read = embed.reading(tmp_path / "reading", images=2000, features=8)
    assert 0 < read["embed.reading_memory"].value < 1000
    assert "2000 images, 4 statistics of 8 features" in read["embed.reading"].note
