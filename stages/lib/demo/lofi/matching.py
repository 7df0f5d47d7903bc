"""Teaching of SigLIP's head and text tower by the sigmoid loss, the vision tower frozen."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from stages.lib.core.progress import track
from stages.lib.demo.lofi.examples import Told
from stages.lib.demo.pretraining import WEIGHT_DECAY, batches, optimizer_step, rate
from stages.lib.models.lofi import wording
from stages.lib.models.lofi.words import TowerWords

SCALE = 20.0  # of the cosines


def teach(
    model: Any,
    words: TowerWords,
    patches: Any,
    reports: Sequence[Sequence[Told]],
    *,
    steps: int,
    batch_size: int,
    learning_rate: float,
    sentences: tuple[int, int],
    rng: np.random.Generator,
) -> list[float]:
    """Train head and text tower, and return the loss of each step.

    Equal texts of a batch are not compared. From scratch a bias of -ln(batch - 1) starts at the loss's floor.

    Source: Zhai et al., Sigmoid Loss for Language Image Pre-Training, 2023, equation 1.

    Args:
        model: SiglipModel.
        words: Of its text tower.
        patches: What its vision tower makes of n images, float tensor of shape (n, patches, d).
        reports: Sentences of each.
        steps: Number of steps.
        batch_size: Images per step.
        learning_rate: Highest learning rate.
        sentences: Fewest and most of a report in one text.
        rng: Decides the order of the images, and the sentences.
    """
    import torch
    from torch.nn.functional import logsigmoid, normalize

    with torch.no_grad():
        model.logit_scale.fill_(math.log(SCALE))
        model.logit_bias.fill_(-math.log(batch_size - 1))
    trained = [*model.vision_model.head.parameters(), *model.text_model.parameters()]
    optimizer = torch.optim.AdamW(trained, lr=learning_rate, weight_decay=WEIGHT_DECAY)
    losses = []
    order = batches(len(reports), batch_size, steps, rng)
    for step, chosen in enumerate(track(order, total=steps, what="match texts", unit="steps")):
        texts = [words.fit(wording.sampled([one.text for one in reports[i]], *sentences, rng)).text for i in chosen]
        ids = torch.from_numpy(words.encode(texts))  # (n, length)
        seen = normalize(model.vision_model.head(patches[torch.from_numpy(chosen)]), dim=-1)  # (n, d)
        read = normalize(model.text_model(input_ids=ids).pooler_output, dim=-1)  # (n, d)
        logits = seen @ read.T * model.logit_scale.exp() + model.logit_bias
        own = torch.eye(batch_size)
        same = (ids[:, None] == ids[None]).all(dim=2).float()
        kept = 1 - same * (1 - own)
        loss = -(logsigmoid((2 * own - 1) * logits) * kept).sum() / batch_size
        optimizer_step(optimizer, trained, loss, rate(step, steps, learning_rate))
        losses.append(loss.item())
    return losses
