"""A second task for the loop: SigLIP's sigmoid contrastive loss between two tiny towers, in seconds on a CPU.

`python tests/fakes/contrastive.py ROOT KEY=VALUE ...` trains it in a process of its own.
"""

import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stages.lib.learn.task import LoopParams

PARAMS = LoopParams(
    per_device_train_batch_size=4,
    gradient_accumulation_steps=4,
    learning_rate=0.02,
    warmup_ratio=0.1,
    max_steps=12,
    max_grad_norm=1.0,
    weight_decay=0.01,
    eval_steps=2,
    save_steps=2,
    select_by="last",
    patience=0,
    save_total_limit=2,
    dataloader_num_workers=0,
    seed=3,
)


class Pairs:
    """Vectors of an "image" and of its "caption", which is a fixed linear map of it and noise."""

    def __init__(self, first, last, wait=0.0):
        rng = np.random.default_rng(5)
        images, caption = rng.normal(size=(64, 8)), rng.normal(size=(8, 6))
        captions = images @ caption + 0.1 * rng.normal(size=(64, 6))
        self.pairs, self.wait = [(i, c) for i, c in zip(images[first:last], captions[first:last], strict=True)], wait

    def __len__(self):
        return len(self.pairs)

    def __getitem__(self, index):
        time.sleep(self.wait)
        return self.pairs[index]


def siglip_loss(images, captions, scale, bias):
    """Sum over all pairs of a batch of the logistic loss, over the images (Zhai et al., 2023, equation 1)."""
    import torch

    logits = scale.exp() * images @ captions.T + bias  # (n, n)
    same = 2 * torch.eye(len(images)) - 1  # (n, n): 1 on the diagonal, -1 beside it
    return -torch.nn.functional.logsigmoid(same * logits).sum()


def towers(dropout):
    """Two linear towers behind dropout, and SigLIP's temperature and bias."""
    import torch

    class Towers(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.image, self.caption = torch.nn.Linear(8, 5), torch.nn.Linear(6, 5)
            self.scale, self.bias = torch.nn.Parameter(torch.tensor(1.0)), torch.nn.Parameter(torch.tensor(-2.0))
            self.dropout = torch.nn.Dropout(dropout)

        def forward(self, images, captions):
            normalize = torch.nn.functional.normalize
            return normalize(self.image(self.dropout(images))), normalize(self.caption(captions)), self.scale, self.bias

    return Towers()


@dataclass(frozen=True)
class Task:
    """Pairs of the same index belong together."""

    params: LoopParams = PARAMS
    dropout: float = 0.2
    wait: float = 0.0
    metrics: tuple[str, ...] = ("loss", "recall")
    separable: bool = False

    @property
    def identity(self):
        ours = {name: value for name, value in vars(self.params).items() if name != "dataloader_num_workers"}
        return {**ours, "dropout": self.dropout}

    @property
    def order(self):
        rng, samples = np.random.default_rng(self.params.seed), self.params.max_steps * self.params.samples_per_step
        return np.concatenate([rng.permutation(48) for _ in range(samples // 48 + 1)])[:samples]

    def load(self):
        import torch

        torch.manual_seed(self.params.seed)
        return Learner(towers(self.dropout), Pairs(0, 48, self.wait), Pairs(48, 64))


@dataclass(frozen=True)
class Learner:
    """The two towers."""

    model: object
    examples: Pairs
    val: Pairs

    def collate(self, samples):
        import torch

        return tuple(torch.tensor(np.stack(side), dtype=torch.float32) for side in zip(*samples, strict=True))

    def loss(self, model, batch, samples):
        return siglip_loss(*model(*batch)) / samples

    def evaluate(self, batch_size):
        images, captions, scale, bias = self.model(*self.collate(self.val.pairs))
        found = (images @ captions.T).argmax(dim=1).numpy()
        loss = siglip_loss(images, captions, scale, bias) / len(images)
        return {"loss": float(loss), "recall": float((found == np.arange(len(found))).mean())}

    def save(self, folder):
        from safetensors.torch import save_model

        save_model(self.model, folder / "towers.safetensors")

    def restore(self, folder):
        from safetensors.torch import load_model

        load_model(self.model, folder / "towers.safetensors")

    def count(self):
        return (sum(one.numel() for one in self.model.parameters()),) * 2


if __name__ == "__main__":
    import logging
    from dataclasses import replace

    from stages.lib.core.errors import PreemptedError
    from stages.lib.core.log import LOG
    from stages.lib.learn import loop

    logging.basicConfig(level="INFO", format="%(message)s")
    changes = {name: json.loads(value) for name, value in (one.split("=") for one in sys.argv[2:])}
    own = {name: changes.pop(name) for name in ("wait", "dropout") if name in changes}
    try:
        loop.fit(Task(replace(PARAMS, **changes), **own), Path(sys.argv[1]))
    except PreemptedError as stopped:
        LOG.warning(stopped)
        sys.exit(75)
