"""The estimate's formulas agree with what torch counts, and the dry run shows them where they are of use."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from stages.lib.core import params, tables
from stages.lib.core.errors import ParamsError
from stages.lib.learn import answers
from stages.lib.models import prompts
from workflow import costs
from workflow.bench import architecture, flops

ROOT = Path(__file__).parents[2]
RTX = costs.GPUS["RTX 4090"]
REAL = yaml.safe_load((ROOT / "workflow/presets/nodulocc.yaml").read_text())
GIVEN = params.parse(REAL, {"nodules.prompt": prompts.PromptParams, "nodules.train": answers.TrainParams})


def changed(**sections):
    nodules = {name: {**values, **sections.get(name, {})} for name, values in REAL["nodules"].items()}
    return {**REAL, "nodules": nodules}


def by_name(document, gpu=RTX, images=None):
    return {line.what: line for line in costs.estimate(document, gpu, images or costs.count_images(ROOT, document))}


@pytest.mark.parametrize("cached", [False, True])
def test_the_operations_of_asking_are_those_that_torch_counts(cached):
    counted = flops.forward(GIVEN.prompt, costs.TEXT_TOKENS, cached=cached)
    assert costs.forward_flops(cached=cached) == pytest.approx(counted, rel=0.002)


@pytest.mark.slow
@pytest.mark.parametrize("name", flops.RECIPES)
def test_the_operations_of_learning_are_those_that_torch_counts(name):
    recipe, _, _ = flops.RECIPES[name]
    found = costs.training_flops(
        recipe.targets,
        GIVEN.train.lora_r,
        checkpointing=recipe.checkpointing,
        cached=recipe.cached,
        positions=costs.IMAGE_TOKENS + costs.TEXT_TOKENS if recipe.all_logits else 1,
    )
    assert found == pytest.approx(flops.step(recipe, GIVEN.prompt, costs.TEXT_TOKENS, GIVEN.train), rel=0.005)


def test_the_parameters_and_shapes_are_those_of_the_architecture():
    model = architecture.real_4b()
    layers = model.model.language_model.layers
    linear = sum(p.numel() for n, p in layers.named_parameters() if n.endswith("proj.weight"))
    assert linear == costs.QUANTIZED
    assert sum(p.numel() for p in model.parameters()) == pytest.approx(costs.PARAMETERS, rel=1e-4)
    assert model.config.mm_tokens_per_image == costs.IMAGE_TOKENS
    assert model.config.text_config.hidden_size == costs.HIDDEN


@pytest.mark.parametrize(
    ("targets", "millions"), [("all-linear", 38.50), ("language", 29.80), ("vision", 8.70), ("attention", 12.89)]
)
def test_lora_has_as_many_parameters_as_peft_says(targets, millions):
    assert costs.lora_parameters(targets, 16) / 1e6 == pytest.approx(millions, abs=0.01)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("targets", "checkpointing"), [("language", False), ("all-linear", False), ("all-linear", True)]
)
def test_what_an_image_leaves_for_the_backward_pass_is_what_autograd_saves(targets, checkpointing):
    """Without the matrices of attention, which a fused kernel does not keep, and the layer that is computed again."""
    import torch

    from stages.lib.models import gemma3, lora

    model = lora.add(
        architecture.real_4b().to(torch.bfloat16), replace(GIVEN.train, lora_target_modules=targets, lora_dropout=0.05)
    ).train()
    if checkpointing:
        lora.checkpoint_activations(model)
    loaded = architecture.loaded(model, GIVEN.prompt, costs.TEXT_TOKENS)
    saved: dict[int, torch.Tensor] = {}

    def keep(tensor):
        whole = tensor if tensor._base is None else tensor._base
        squares = (costs.PATCHES,) * 2, (costs.IMAGE_TOKENS + costs.TEXT_TOKENS,) * 2
        if not isinstance(whole, torch.nn.Parameter) and tuple(whole.shape[-2:]) not in squares:
            saved[id(whole)] = whole
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), architecture.without_values():
        gemma3.ask(loaded, flops.images(loaded, 1, cached=False), GIVEN.prompt, flops.ANSWERS)
    counted = sum(tensor.numel() * tensor.element_size() for tensor in saved.values())
    found = costs.activation_bytes(targets, checkpointing=checkpointing, cached=False)
    again = costs.TOWER_KEPT_BYTES * costs.PATCHES if checkpointing else 0
    assert found - again == pytest.approx(counted, rel=0.1)


def test_weights_take_what_the_reference_says():
    assert costs.weight_bytes("none", "bfloat16") / 1e9 == pytest.approx(8.60, abs=0.01)
    assert 3.2 < costs.weight_bytes("nf4", "bfloat16") / 1e9 < 4.0
    assert pytest.approx(1.31, abs=0.01) == costs.FEATURE_BYTES / 1e6


def test_cheaper_recipes_are_estimated_cheaper():
    hours = [
        by_name(changed(train=train, model=model))["training"].low
        for train, model in (
            ({}, {}),
            ({"lora_target_modules": "language"}, {}),
            ({"lora_target_modules": "language", "gradient_checkpointing": False}, {}),
            ({"lora_target_modules": "language", "gradient_checkpointing": False}, {"cache_features": True}),
        )
    ]
    assert hours == sorted(hours, reverse=True)
    assert hours[0] > 2 * hours[-1]


def test_every_range_grows_and_a_faster_gpu_takes_less_time():
    slow, fast = (by_name(REAL, costs.GPUS[name]) for name in ("RTX 4090", "H100"))
    for line in slow.values():
        assert 0 < line.low < line.high
        assert line.formula
    assert fast["training"].high < slow["training"].low
    assert fast["inference"].low > slow["inference"].high
    assert fast["disk"] == slow["disk"]


def test_slow_memory_bounds_the_rate_of_single_images():
    starved = replace(RTX, bandwidth=1e9)
    one = changed(infer={"batch_size": 1})
    assert by_name(one, starved)["inference"].high < 0.2


def test_kept_features_take_their_place_on_the_disk_only_where_they_are_of_use():
    sizes = [
        by_name(
            changed(model={"cache_features": cached}, train={"lora_target_modules": targets}, infer={"shifts": shifts})
        )["disk"].low
        for cached, targets, shifts in (
            (False, "language", 2),
            (True, "language", 1),
            (True, "language", 2),
            (True, "all-linear", 2),
        )
    ]
    assert sizes[1] - sizes[0] == pytest.approx(63_179 * 1.31072e6 / 1e9, rel=1e-6)
    assert sizes[2] - sizes[1] == pytest.approx(3 * 12_636 * 1.31072e6 / 1e9, rel=1e-3)  # moved, and asked about
    assert sizes[3] < sizes[1]


def test_inference_at_n_places_takes_n_times_as_long():
    one, four = (by_name(changed(infer={"shifts": shifts})) for shifts in (1, 2))
    assert four["inference, all"].high == pytest.approx(4 * one["inference, all"].high)
    assert four["training"] == one["training"]


def test_a_gpu_is_known_by_name_or_by_its_numbers_and_else_refused():
    assert costs.gpu("A100").memory == 40e9
    assert costs.gpu("165e12, 1008e9, 24e9").bandwidth == 1008e9
    for text in ("4090", "1,2", "1,2,x", "0,1,1"):
        with pytest.raises(ParamsError, match="wanted one of RTX 4090, A100, H100"):
            costs.gpu(text)


def test_images_are_counted_from_the_results_and_else_taken_from_the_challenge(tmp_path):
    assert costs.count_images(tmp_path, REAL).total == 63_179
    root = REAL["data"]["ingest"]["root"]
    rows = [
        {"image_id": f"{i}", "patient_id": f"{i}", "label": 0, "split": ("train", "val", "test")[i % 3]}
        for i in range(10)
    ]
    images = [
        {"image_id": f"{i}", "file_name": "f", "path": f"{root}/f", "source": "nih", "patient_id": f"{i}"}
        | {"status": "rejected" if i > 7 else "ok"}
        for i in range(10)
    ]
    tables.write(tmp_path / "data/manifest.parquet", tables.from_rows(images, tables.MANIFEST), tables.MANIFEST)
    assert costs.count_images(tmp_path, REAL).total == 8
    tables.write(tmp_path / "data/split.parquet", tables.from_rows(rows, tables.SPLIT), tables.SPLIT)
    found = costs.count_images(tmp_path, REAL)
    assert (found.total, found.validation, found.asked) == (10, 3, 6)
    other = {**REAL, "data": {**REAL["data"], "ingest": {**REAL["data"]["ingest"], "root": "elsewhere"}}}
    found = costs.count_images(tmp_path, other)
    assert found.total == 63_179, "the images of another study are not counted"
    assert "challenge" in found.source


def test_the_estimate_says_that_it_is_computed_and_warns_where_memory_may_not_suffice():
    images = costs.count_images(ROOT, REAL)
    text = "\n".join(costs.lines(REAL, RTX, images))
    assert "computed, not measured" in text
    assert "may not fit" not in text
    greedy = changed(train={"gradient_checkpointing": False})
    assert "may not fit" in "\n".join(costs.lines(greedy, RTX, images))


def test_a_study_on_a_processor_gets_no_estimate_but_a_word():
    demo = yaml.safe_load((ROOT / "workflow/presets/demo.yaml").read_text())
    (line,) = costs.lines(demo, RTX, costs.count_images(ROOT, demo))
    assert "none for workflow/demo_base" in line


def test_the_estimate_imports_no_torch():
    code = (
        "import sys; from workflow import estimate; estimate.main(['--preset', 'nodulocc', '--gpu', 'RTX 4090']);"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("estimate on one RTX 4090, computed, not measured")
    assert done.stdout.endswith("False\n")


@pytest.mark.slow
def test_a_dry_run_of_the_real_study_shows_the_estimate_and_one_of_the_demo_does_not(tmp_path):
    import checkout as checkouts

    folder = checkouts.copy(tmp_path / "checkout", {})
    for option in ("-n", "--dry-run", "-np"):
        assert "estimate" not in checkouts.run(folder, "snakemake", option)
    checkouts.run(folder, "python", "-m", "workflow.preset", "nodulocc")
    for option in ("-n", "--dry-run", "-np"):
        text = checkouts.run(folder, "snakemake", option, "--nocolor")
        assert text.count("computed, not measured") == 1
        assert text.rindex("total ") < text.index("computed, not measured")
    assert "estimate" not in checkouts.run(folder, "snakemake", "--list")
    assert json.loads(checkouts.run(folder, "dvc", "status", "--json")) is not None


def test_the_table_of_the_document_about_gpus_has_the_rounded_estimates(tmp_path):
    text = (ROOT / "workflow/docs/gpu.md").read_text()
    columns = []
    for name in ("nodulocc", "nodulocc_published"):
        document = yaml.safe_load((ROOT / f"workflow/presets/{name}.yaml").read_text())
        columns.append(costs.estimate(document, RTX, costs.count_images(tmp_path, document)))
    shown = 0
    for pair in zip(*columns, strict=True):
        row = next((line for line in text.splitlines() if line.startswith(f"| {pair[0].what}, {pair[0].unit} |")), None)
        if row is not None:
            assert [cell.strip().partition(";")[0] for cell in row.split("|")[2:4]] == [
                f"{one.low:.0f} to {one.high:.0f}" for one in pair
            ]
            shown += 1
    assert shown == 5
