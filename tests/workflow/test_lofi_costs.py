"""What LoFi takes at its published size: the formulas against what is counted, and both against the reference."""

import pytest
import yaml

from stages.lib.models.lofi import weights
from workflow import costs, lofi_costs
from workflow.bench import lofi
from workflow.costs import GB, TERA


@pytest.fixture(scope="module")
def queries():
    return lofi.network(lofi.params("queries", average=False))


def test_the_formulas_count_the_parameters_that_the_network_has(queries):
    found = {
        name: sum(
            one.numel()
            for label, one in queries.named_parameters()
            if label.startswith(begins) and ".lora_" not in label
        )
        for name, begins in {"tower": "encoder.vision", "text": "encoder.text", "decoder": "decoder."}.items()
    }
    assert found == lofi_costs.parameters()
    trained = sum(one.numel() for one in queries.parameters() if one.requires_grad)
    assert trained == lofi_costs.trained("queries", head=False)
    lora = sum(one.numel() for label, one in queries.named_parameters() if ".lora_" in label)
    assert lora == lofi_costs.lora_parameters()
    heads = sum(one.numel() for label, one in queries.named_parameters() if label.startswith(weights.HEADS))
    assert heads == lofi_costs.trained("queries", head=True) - trained


def test_parameters_are_those_of_the_reference():
    millions = {name: number / 1e6 for name, number in lofi_costs.parameters().items()}
    assert millions == pytest.approx({"tower": 428.8, "text": 707.8, "decoder": 268.1}, abs=0.05)
    assert lofi_costs.pooling_parameters("heads") / 1e6 == pytest.approx(382.8, abs=0.05)
    assert lofi_costs.pooling_parameters("queries") / 1e6 == pytest.approx(5.4, abs=0.05)
    assert lofi_costs.trained("heads", head=False) / 1e6 == pytest.approx(392, abs=0.5)
    assert lofi_costs.trained("queries", head=False) / 1e6 == pytest.approx(15, abs=0.5)


@pytest.mark.slow
def test_operations_and_activations_are_those_of_the_reference_and_of_the_formulas(queries):
    """The 49.3 GB of the reference hold the matrices of attention; a fused kernel keeps 20.3 GB."""
    found = lofi.parts(queries, ("tower", "text", "pooling", "decoder"))
    forward = {name: part.forward / TERA for name, part in found.items()}
    assert forward == pytest.approx({"tower": 0.98, "text": 0.053, "pooling": 0.006, "decoder": 0.058}, rel=0.02)
    step = {name: part.step / TERA for name, part in found.items()}
    assert step["tower"] == pytest.approx(2.10, abs=0.01)
    assert step["text"] == pytest.approx(0.108, abs=0.001)
    unfused = {name: lofi.BATCH * part.unfused / GB for name, part in found.items()}
    assert unfused == pytest.approx({"tower": 49.3, "text": 1.4, "pooling": 0.27, "decoder": 3.8}, rel=0.03)
    assert lofi.BATCH * lofi.checkpointed("tower") / GB == pytest.approx(1.1, abs=0.05)
    for fused in (True, False):
        kept = lofi_costs.kept("queries", average=False, checkpointing="none", fused=fused)
        for name, part in found.items():
            assert kept[name] == pytest.approx(part.kept if fused else part.unfused, rel=0.03), name
    counted = sum(step.values()) + 4.0 * lofi_costs.VOCABULARY * 640 * lofi_costs.ANSWER / TERA
    assert lofi_costs.flops("queries", average=False, checkpointing="none") / TERA == pytest.approx(counted, rel=0.03)


@pytest.mark.slow
@pytest.mark.parametrize(("average", "forward", "step"), [(False, 0.349, 1.05), (True, 0.087, 0.26)])
def test_the_heads_cost_what_the_reference_says(average, forward, step):
    made = lofi.network(lofi.params("heads", average=average))
    found = lofi.parts(made, ["pooling"])["pooling"]
    assert (found.forward / TERA, found.step / TERA) == pytest.approx((forward, step), rel=0.01)
    assert lofi_costs.pooling_flops("heads", average=average) == pytest.approx(found.forward, rel=0.01)
    kept = lofi_costs.kept("heads", average=average, checkpointing="none")["pooling"]
    assert kept == pytest.approx(found.kept, rel=0.02)


def needs(pooling, average, checkpointing, at_once=16):
    given = {"checkpointing": checkpointing, "batch": 16, "at_once": at_once, "head": False}
    return sum(lofi_costs.memory(pooling, average=average, **given).values()) / GB


def test_on_24_gb_heads_want_checkpoints_beyond_the_tower_or_fewer_images_at_once():
    assert needs("heads", False, "none") > needs("heads", False, "tower") > 24 > needs("heads", False, "all")
    assert needs("heads", False, "tower", at_once=8) < 24
    assert needs("heads", True, "tower") < 24
    assert needs("queries", False, "tower") < 17
    held = lofi_costs.memory("heads", average=False, checkpointing="all", batch=16, at_once=16, head=False)
    assert held["frozen weights"] / GB == pytest.approx(2.8, abs=0.05)
    assert held["what is trained"] / GB == pytest.approx(6.3, abs=0.05)


DOCUMENT = yaml.safe_load("""
lofi:
  model: {encoder: google/siglip2-so400m-patch16-512, decoder: google/gemma-3-270m, pooling: heads,
          average_patches: false, train_head: true}
  train: {gradient_checkpointing: all, per_device_train_batch_size: 16, samples_per_pass: 16,
          gradient_accumulation_steps: 1, max_steps: 142400}
""")


def test_the_estimate_says_parameters_memory_and_hours(tmp_path):
    told = "\n".join(lofi_costs.lines(DOCUMENT, costs.GPUS["RTX 4090"], tmp_path))
    assert "409 M parameters trained" in told
    assert "fits 24 GB of one RTX 4090" in told
    assert "2278400 images" in told


def test_of_other_models_nothing_is_estimated(tmp_path):
    document = {"lofi": {**DOCUMENT["lofi"], "model": {**DOCUMENT["lofi"]["model"], "encoder": "workflow/demo"}}}
    [told] = lofi_costs.lines(document, costs.GPUS["RTX 4090"], tmp_path)
    assert "whose sizes are not known here" in told
