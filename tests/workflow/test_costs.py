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
from stages.lib.metrics import evaluation_sets
from stages.lib.models import operations, prompts
from workflow import costs, stage_costs
from workflow.bench import architecture, flops

ROOT = Path(__file__).parents[2]
RTX = costs.GPUS["RTX 4090"]
REAL = yaml.safe_load((ROOT / "workflow/presets/nodulocc.yaml").read_text())
GIVEN = params.parse(REAL, {"nodules.prompt": prompts.PromptParams, "nodules.train": answers.TrainParams})


BANK = REAL["nodules"]["localizers"]["attribution"]


def changed(**sections):
    nodules = {name: {**values, **sections.get(name, {})} for name, values in REAL["nodules"].items()}
    return {**REAL, "nodules": nodules}


def by_name(document, gpu=RTX, images=None):
    return {
        line.what: line
        for line in stage_costs.estimate(document, gpu, images or stage_costs.count_images(ROOT, document))
    }


@pytest.mark.parametrize("cached", [False, True])
def test_the_operations_of_asking_are_those_that_torch_counts(cached):
    counted = flops.forward(GIVEN.prompt, costs.TEXT_TOKENS, cached=cached)
    assert costs.forward_flops(cached=cached) == pytest.approx(counted, rel=0.002)


@pytest.mark.parametrize(("steps", "shifts"), [(1, 1), pytest.param(4, 2, marks=pytest.mark.slow)])
def test_the_operations_of_an_attribution_map_are_those_that_torch_counts(steps, shifts):
    (prompt,) = BANK["prompts"][:1]
    counted = flops.attribution_map(steps, prompt, costs.text_tokens(prompt))  # at one place
    found = costs.attribution_flops(steps, shifts, text_tokens=costs.text_tokens(prompt))
    assert sum(found) == pytest.approx(shifts**2 * counted, rel=0.002)


def test_a_new_token_reads_the_bytes_of_the_language_model_and_of_all_tokens_before_it():
    model = architecture.real_4b()
    language = sum(
        p.numel() for n, p in model.model.language_model.layers.named_parameters() if n.endswith("proj.weight")
    )
    head = model.lm_head.weight.numel()
    assert costs.step_bytes("none", 1, 0) == pytest.approx(2 * (language + head), rel=1e-6)
    cached = sum(
        2 * layer.self_attn.k_proj.out_features + 2 * layer.self_attn.v_proj.out_features
        for layer in model.model.language_model.layers
    )
    assert costs.step_bytes("none", 4, 300) - costs.step_bytes("none", 1, 0) == 4 * 300 * cached
    assert costs.step_bytes("nf4", 1, 0, fused=True) < costs.step_bytes("none", 1, 0) < costs.step_bytes("nf4", 1, 0)


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

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), operations.without_values():
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
    for what in ("inference, zero_shot", "inference, tuned", "inference, other form"):
        assert four[what].high == pytest.approx(4 * one[what].high)
    assert four["training"] == one["training"]


def with_rows(kind, **rows):
    return {**REAL, "nodules": {**REAL["nodules"], kind: rows}}


def hours(found, what):
    return found[what].low, found[what].high


def test_every_row_that_loads_a_model_has_a_line_and_their_sum_is_the_whole():
    found = by_name(REAL)
    for row in REAL["nodules"]["localizers"]:
        assert f"localization, {row}" in found
        assert (f"choosing, {row}" in found) == (len(REAL["nodules"]["localizers"][row]["prompts"]) > 1)
    for row, values in REAL["nodules"]["classifiers"].items():
        assert (f"inference, {row}" in found) == (values["kind"] == "medgemma")
    stages = [line for name, line in found.items() if line.unit == "h" and not name.startswith("all")]
    whole = found["all, one after another"]
    assert (whole.low, whole.high) == pytest.approx((sum(o.low for o in stages), sum(o.high for o in stages)))
    three = by_name({**REAL, "study": {**REAL["study"], "seeds": [0, 1, 2]}})["all, one after another"]
    assert (three.low, three.high) == pytest.approx((3 * whole.low, 3 * whole.high))
    twice = with_rows("localizers", a=BANK, b=BANK)
    assert hours(by_name(twice), "localization, a") == hours(by_name(twice), "localization, b")


def test_localization_takes_as_long_as_its_images_views_prompts_steps_and_places_say():
    one = hours(by_name(REAL), "localization, attribution")
    for change, times in (({"shifts": 4}, 4), ({"batch_size": 1}, 1)):
        more = hours(by_name(with_rows("localizers", attribution=BANK | change)), "localization, attribution")
        assert more == pytest.approx([times * value for value in one])
    views = changed(localize={"views": ["whole", "mirrored"]})
    assert hours(by_name(views), "localization, attribution") == pytest.approx([2 * value for value in one])
    both = changed(select={"max_prompts": 2})
    assert hours(by_name(both), "localization, attribution") == pytest.approx([2 * value for value in one])
    assert "choosing, attribution" not in by_name(changed(select={"max_prompts": 3}))
    deeper = by_name(with_rows("localizers", attribution=BANK | {"steps": 8}))["localization, attribution"]
    occluded = by_name(with_rows("localizers", attribution=BANK | {"method": "occlusion"}))["localization, attribution"]
    assert one[0] < deeper.low < 2 * one[0] < 10 * one[0] < occluded.low


def test_a_localizer_that_a_classifier_ranks_images_by_is_run_on_validation_images_too(tmp_path):
    images = stage_costs.count_images(tmp_path, REAL)
    rows = {name: row for name, row in REAL["nodules"]["classifiers"].items() if row["kind"] == "medgemma"}
    ranks = {"peak": {"kind": "points", "localizer": "attribution"}}
    without, of_one, of_all = (
        by_name(with_rows("classifiers", **rows, **more), images=images)
        for more in ({}, ranks, {"peak": {"kind": "points", "localizer": "combined"}})
    )
    more = 1 + images.validation / images.measured
    for name, found, times in (
        ("attribution", of_one, more),
        ("medgemma", of_one, 1),
        ("attribution", of_all, more),
        ("medgemma", of_all, more),
    ):
        what = f"localization, {name}"
        assert hours(found, what) == pytest.approx([times * value for value in hours(without, what)])
    assert "inference, peak" not in of_one


def test_a_response_takes_longer_the_more_tokens_it_may_have_and_the_fewer_are_generated_together():
    row = REAL["nodules"]["localizers"]["medgemma"]
    base, longer, alone = (
        by_name(with_rows("localizers", medgemma=row | change))["localization, medgemma"]
        for change in ({}, {"max_new_tokens": 2 * row["max_new_tokens"]}, {"batch_size": 1})
    )
    assert longer.low == pytest.approx(base.low, rel=1e-6), "the shortest response does not grow"
    assert 1.5 * base.high < longer.high < 2.2 * base.high
    assert alone.high > 8 * base.high


def test_a_kind_without_a_formula_is_named_and_not_passed_over():
    document = with_rows("localizers", strange={"kind": "strange", "prompts": ["Where?"]})
    images = stage_costs.count_images(ROOT, document)
    assert "localization, strange" not in by_name(document, images=images)
    assert "localizer strange: its kind 'strange' has no formula" in "\n".join(stage_costs.told(document, RTX, images))
    assert stage_costs.without_formula(REAL) == []


def test_each_shard_loads_its_models_again():
    few, many = (by_name({**REAL, "study": {**REAL["study"], "shards": shards}}) for shards in (1, 16))
    trained = by_name(REAL)["loading of models"]
    assert few["loading of models"].low < trained.low < many["loading of models"].low
    stages = [one for one in stage_costs.stages(REAL, RTX, stage_costs.count_images(ROOT, REAL)) if one.jobs > 1]
    again = sum(one.load[1] for one in stages) / 3600
    assert many["loading of models"].high - few["loading of models"].high == pytest.approx(15 * again)
    assert hours(few, "localization, medgemma") == hours(many, "localization, medgemma")


@pytest.mark.parametrize("name", ["nodulocc", "nodulocc_published"])
def test_the_presets_have_as_many_shards_as_cost_least_on_the_gpu_that_they_are_for(name, tmp_path):
    document = yaml.safe_load((ROOT / f"workflow/presets/{name}.yaml").read_text())
    images = stage_costs.count_images(tmp_path, document)
    assert document["study"]["shards"] == stage_costs.best_shards(document, RTX, images)
    costs_ = [stage_costs.cost_of_shards(document, RTX, images, shards) for shards in (1, 4, 64)]
    assert costs_[1] < min(costs_[0], costs_[2])


def test_images_that_choose_and_those_that_localizers_are_run_on_are_those_of_the_evaluation_sets(tmp_path):
    names = ["train"] * 20 + ["val"] * 10 + ["test"] * 10
    rows = [
        {"image_id": f"{i:02d}", "patient_id": f"{i:02d}", "label": int(i % 3 == 0), "split": name}
        for i, name in enumerate(names)
    ]
    points = [{"image_id": f"{i:02d}", "point": 0, "x": 1.0, "y": 1.0} for i in range(0, 40, 6)]
    images = [
        {"image_id": row["image_id"], "file_name": "f", "path": f"{REAL['data']['ingest']['root']}/f", "source": "nih"}
        | {"patient_id": row["patient_id"], "status": "ok"}
        for row in rows
    ]
    made = {"manifest": images, "split": rows, "points": points}
    found = {name: tables.from_rows(row, tables.SCHEMAS[name]) for name, row in made.items()}
    for name, table in found.items():
        tables.write(tmp_path / f"data/{name}.parquet", table, tables.SCHEMAS[name])
    for splits, n in ((["train", "val"], 3), (["val"], 200)):
        how = {"splits": splits, "negative_images": n}
        counted = stage_costs.count_images(tmp_path, changed(select=how))
        sample = {"negative_images": n, "seed": 1}
        choosing = evaluation_sets.choosing_images(found["split"], found["points"], splits, **sample)
        measured = evaluation_sets.localized_images(found["split"], found["points"], splits, **sample)
        assert (counted.choosing, counted.measured) == (len(choosing), len(measured))


def test_a_gpu_is_known_by_name_or_by_its_numbers_and_else_refused():
    assert costs.gpu("A100").memory == 40e9
    assert costs.gpu("165e12, 1008e9, 24e9").bandwidth == 1008e9
    for text in ("4090", "1,2", "1,2,x", "0,1,1"):
        with pytest.raises(ParamsError, match="wanted one of RTX 4090, A100, H100"):
            costs.gpu(text)


def test_images_are_counted_from_the_results_and_else_taken_from_the_challenge(tmp_path):
    assert stage_costs.count_images(tmp_path, REAL).total == 63_179
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
    assert stage_costs.count_images(tmp_path, REAL).total == 8
    tables.write(tmp_path / "data/split.parquet", tables.from_rows(rows, tables.SPLIT), tables.SPLIT)
    found = stage_costs.count_images(tmp_path, REAL)
    assert (found.total, found.validation, found.asked) == (10, 3, 6)
    other = {**REAL, "data": {**REAL["data"], "ingest": {**REAL["data"]["ingest"], "root": "elsewhere"}}}
    found = stage_costs.count_images(tmp_path, other)
    assert found.total == 63_179, "the images of another study are not counted"
    assert "challenge" in found.source


def test_the_estimate_says_that_it_is_computed_and_warns_where_memory_may_not_suffice():
    images = stage_costs.count_images(ROOT, REAL)
    text = "\n".join(stage_costs.told(REAL, RTX, images))
    assert "computed, not measured" in text
    assert "may not fit" not in text
    greedy = changed(train={"gradient_checkpointing": False})
    assert "memory, training may not fit 24 GB" in "\n".join(stage_costs.told(greedy, RTX, images))
    row = REAL["nodules"]["localizers"]["medgemma"] | {"batch_size": 32}
    assert "memory, medgemma may not fit" in "\n".join(
        stage_costs.told(with_rows("localizers", medgemma=row), RTX, images)
    )


def test_a_study_on_a_processor_gets_no_estimate_but_a_word():
    demo = yaml.safe_load((ROOT / "workflow/presets/demo.yaml").read_text())
    (line,) = stage_costs.told(demo, RTX, stage_costs.count_images(ROOT, demo))
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
    assert "zoo, computed, not measured" in checkouts.run(folder, "snakemake", "-n", "--nocolor", "--", "zoo")
    assert "estimate" not in checkouts.run(folder, "snakemake", "--list")
    assert json.loads(checkouts.run(folder, "dvc", "status", "--json")) is not None


def test_the_table_of_the_document_about_gpus_has_the_rounded_estimates(tmp_path):
    text = (ROOT / "workflow/docs/gpu.md").read_text()
    columns = []
    for name in ("nodulocc", "nodulocc_published"):
        document = yaml.safe_load((ROOT / f"workflow/presets/{name}.yaml").read_text())
        columns.append(by_name(document, images=stage_costs.count_images(tmp_path, document)))
    wanted = {}
    for what, line in columns[0].items():
        pair = [column.get(what) for column in columns]
        wanted[f"{what}, {line.unit}"] = [rounded(one) if one else "none" for one in pair]
    cells = [line.split("|")[1:4] for line in text.splitlines() if line.startswith("| ")]
    shown = {row[0].strip(): [cell.strip().partition(";")[0] for cell in row[1:]] for row in cells}
    found = {name: row for name, row in shown.items() if name in wanted}
    assert found == {name: wanted[name] for name in found}
    assert {"training, h", "localization, medgemma, h", "localization, attribution, h"} <= set(found)
    assert {name for name in wanted if name.endswith("h") or "memory" in name} <= set(found)


def rounded(line):
    """A range as the documents have it."""
    form = ".2g" if line.unit.endswith("h") else ".0f"
    return f"{line.low:{form}} to {line.high:{form}}"
