"""A training of a tiny LoFi: its parameters, the task on `lofi_reports`, and a step in a process of its own.

`python tests/fakes/lofi_training.py STUDY BASES OUT CHANGES` writes loss and gradients of the first step, to a file for
each of the changed parameters in a JSON list.
"""

import json
import sys
from pathlib import Path

import lofi_models
from lofi_models import params as model_params

from stages.lib.core import documents, tables
from stages.lib.core.sentence_tables import PAIRS
from stages.lib.learn.lofi import LofiParams, LofiTask
from stages.lib.models import snapshot
from stages.lofi.train import reports_of

TRAIN = {
    "per_device_train_batch_size": 4,
    "gradient_accumulation_steps": 1,
    "learning_rate": 0.01,
    "warmup_ratio": 0.1,
    "max_steps": 4,
    "max_grad_norm": 1.0,
    "weight_decay": 0.01,
    "eval_steps": 2,
    "save_steps": 2,
    "select_by": "recall_at_10",
    "patience": 0,
    "save_total_limit": 2,
    "dataloader_num_workers": 0,
    "seed": 3,
    "start": "none",
    "tasks": ["sigmoid", "caption", "ground", "describe"],
    "every_task": True,
    "location_weight": 5.0,
    "positives": "masked",
    "sentences": [2, 4],
    "rounding": "round",
    "max_answer_tokens": 128,
    "samples_per_pass": 4,
    "gradient_checkpointing": "none",
    "schedule": "cosine",
}


def train_params(**changes) -> LofiParams:
    found = {**TRAIN, **changes}
    return LofiParams(**{**found, "tasks": tuple(found["tasks"]), "sentences": tuple(found["sentences"])})


def write_bases(folder: Path) -> None:
    """Both bases with their records, encoder.json and decoder.json."""
    for name, found in zip(("encoder", "decoder"), lofi_models.both(folder), strict=True):
        documents.write(folder / f"{name}.json", found)


def task(study: Path, bases: Path, model=None, **changes) -> LofiTask:
    read = {"manifest": tables.MANIFEST, "normalized": tables.NORMALIZED, "pairs": PAIRS}
    found = {name: tables.read(study / f"{name}.parquet", schema) for name, schema in read.items()}
    learn, val = (
        reports_of(found["pairs"], found["normalized"], found["manifest"], split, study) for split in ("train", "val")
    )
    return LofiTask(
        train=learn,
        val=val,
        preprocessing_hash="c0ffee",
        encoder=snapshot.read(bases / "encoder.json"),
        decoder=snapshot.read(bases / "decoder.json"),
        model=model_params(**(model or {})),
        params=train_params(**changes),
        start=None,
    )


def options(study: Path, bases: Path, out: Path, model=None, **changes) -> list[str]:
    """The options of stages.lofi.train."""
    sections = {"train": {**TRAIN, **changes}, "model": {**lofi_models.MODEL, **(model or {})}}
    named = {name: study / f"{name}.parquet" for name in ("manifest", "normalized", "pairs")}
    named |= {name: bases / f"{name}.json" for name in ("encoder", "decoder")}
    named |= {"results": study, "params": json.dumps({"lofi": sections})}
    named |= {"checkpoints": out / "checkpoints", "adapter": out / "adapter", "live": out / "live"}
    named |= {"log": out / "train.json", "curve": out / "curve.csv"}
    return [text for name, value in named.items() for text in (f"--{name}", str(value))]


def step(asked: LofiTask, *, stir: bool = True):
    """Loss of the first step, over all processes, and the gradient of each trained parameter; and validation's metrics.

    Args:
        asked: The task.
        stir: Whether LoRA's B is made other than 0, so that A has a gradient.
    """
    import torch
    from accelerate import Accelerator
    from torch.nn.parallel import DistributedDataParallel

    from stages.lib.learn import loader
    from stages.lib.models.lofi import weights

    accelerator, learner = Accelerator(cpu=True), asked.load()
    torch.manual_seed(0)
    for name, parameter in learner.loaded.network.named_parameters():
        if stir and "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.05)
    model = learner.model.train()
    if accelerator.num_processes > 1:
        model = DistributedDataParallel(model)
    size = asked.params.per_device_train_batch_size
    dealt = loader.deal(asked.order, size, accelerator.process_index, accelerator.num_processes)
    batch = learner.collate([learner.examples[number] for number in dealt[0]])
    loss = learner.loss(model, batch, asked.params.samples_per_step) * accelerator.num_processes
    loss.backward()
    whole = accelerator.gather(loss.detach()[None]).mean()
    learner.model.eval()
    measured = [value for _, value in sorted(learner.evaluate(2).items()) if value is not None]
    gradients = {name: one.grad for name, one in weights.trained(learner.loaded.network).items()}
    return whole, {**gradients, "validation": torch.tensor(measured)}


if __name__ == "__main__":
    from safetensors.torch import save_file

    for number, changes in enumerate(json.loads(sys.argv[4])):
        found, gradients = step(task(Path(sys.argv[1]), Path(sys.argv[2]), **changes))
        save_file({"loss": found, **gradients}, f"{sys.argv[3]}-{number}")
