"""Training of the tiny base for slices: first its vision tower, patch by patch, then its text model, the tower frozen.

The same way as `pretraining`, with other facts: what kind of finding covers a patch, how large it is, on which side,
and of which region and modality the slice is. Slices are drawn when they are needed, so none is seen twice.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stages.lib.core.progress import track
from stages.lib.demo.pretraining import WEIGHT_DECAY, answer_tokens, optimizer_step, rate, whiten
from stages.lib.demo.synthetic.slice_anatomy import MODALITIES, REGIONS
from stages.lib.demo.synthetic.slice_findings import KINDS
from stages.lib.demo.synthetic.slices import Place, Slice
from stages.lib.models import gemma3

LEAST_REACH_PX = 10.0  # from a finding's middle to that of a patch it covers; at least one patch of 14 px is so near
OF_A_FINDING = 1 + len(KINDS) + 2  # facts of a patch: presence, kinds, size, side
FACTS = OF_A_FINDING + 2 + len(REGIONS) + 1  # and its row and column, the regions, the modality
FINDING_WEIGHT, SLICE_WEIGHT = 5.0, 0.5  # of their squared errors, beside the presence
STRONG = 2.0  # weight of what the text model names, in its first input, over row and column
WHITENED_IMAGES = 400


@dataclass(frozen=True)
class Example:
    """One conversation about the slices of one patient.

    Attributes:
        prompt: What the user says.
        system: What is said before, or nothing.
        image_first: Whether the images stand before the prompt.
        slices: The images, one or more.
        answer: The response.
    """

    prompt: str
    system: str
    image_first: bool
    slices: tuple[Slice, ...]
    answer: str


def dense_facts(slices: Sequence[Slice], grid: int, patch_px: int) -> np.ndarray:
    """Targets of the tower for each patch.

    Args:
        slices: n slices.
        grid: Patches per side.
        patch_px: Side of a patch, pixels.

    Returns:
        float32 of shape (n, grid * grid, FACTS). Of the finding that covers a patch: presence (1), one for its kind,
        size (1 large, -1 small), side (1 left, -1 right), all 0 where there is none. Of every patch: row and column,
        in half images from the middle, one for the region, modality (1 MR, -1 CT).
    """
    middles = (np.arange(grid) + 0.5) * patch_px - 0.5
    facts = np.zeros((len(slices), grid, grid, FACTS), np.float32)
    unit = (2 * np.arange(grid) + 1) / grid - 1
    facts[..., OF_A_FINDING] = unit[:, None]
    facts[..., OF_A_FINDING + 1] = unit[None, :]
    for number, drawn in enumerate(slices):
        facts[number, ..., OF_A_FINDING + 2 + REGIONS.index(drawn.region)] = 1
        facts[number, ..., -1] = 2 * MODALITIES.index(drawn.modality) - 1
        for place in drawn.places:
            distance = np.hypot(middles[:, None] - place.y, middles[None, :] - place.x)
            facts[number, distance <= max(place.radius_px, LEAST_REACH_PX), :OF_A_FINDING] = _of_finding(place)
    return facts.reshape(len(slices), grid * grid, FACTS)


def _of_finding(place: Place) -> list[float]:
    finding = place.finding
    kinds = [float(finding.kind == kind) for kind in KINDS]
    return [1.0, *kinds, 1.0 if finding.size == "large" else -1.0, 1.0 if finding.side == "left" else -1.0]


def teach_tower(
    loaded: gemma3.Loaded,
    draw: Callable[[int], Sequence[Slice]],
    *,
    steps: int,
    batch_size: int,
    learning_rate: float,
    rng: np.random.Generator,
) -> list[float]:
    """Train the vision tower to say what is where, patch by patch, and return the loss of each step.

    Args:
        loaded: The model; its tower is changed in place, and its projector to go with it.
        draw: Returns so many new slices.
        steps: Number of steps.
        batch_size: Slices per step.
        learning_rate: Highest learning rate.
        rng: Decides the first weights of the head and of the projector.
    """
    import torch

    tower = loaded.model.model.vision_tower
    config = loaded.model.config.vision_config
    grid = config.image_size // config.patch_size
    head = torch.nn.Linear(config.hidden_size, 1 + FACTS)
    whiten(loaded, np.stack([one.pixels for one in draw(WHITENED_IMAGES)]))
    with torch.no_grad():
        head.weight.copy_(torch.from_numpy(rng.normal(0, 0.02, tuple(head.weight.shape))))
        head.bias.zero_()
        head.bias[0] = -3  # most patches hold no finding
        for layer in tower.encoder.layers:
            layer.self_attn.out_proj.weight.zero_()  # each patch attends to itself alone at first
    fixed = {id(weight) for weight in tower.embeddings.patch_embedding.parameters()}
    trained = [weight for weight in (*tower.parameters(), *head.parameters()) if id(weight) not in fixed]
    optimizer = torch.optim.AdamW(trained, lr=learning_rate, weight_decay=WEIGHT_DECAY)
    weights = torch.tensor([FINDING_WEIGHT] * OF_A_FINDING + [SLICE_WEIGHT] * (FACTS - OF_A_FINDING))
    losses = []
    for step in track(range(steps), total=steps, what="teach tower", unit="steps"):
        slices = draw(batch_size)
        facts = torch.from_numpy(dense_facts(slices, grid, config.patch_size))
        said = head(tower(pixels(loaded, slices)).last_hidden_state)  # (n, patches, 1 + FACTS)
        loss = torch.nn.functional.binary_cross_entropy_with_logits(said[..., 0], facts[..., 0], reduction="sum")
        loss = (loss + ((said[..., 1:] - facts) ** 2 * weights).sum()) / batch_size
        optimizer_step(optimizer, trained, loss, rate(step, steps, learning_rate))
        losses.append(loss.item())
    _open(loaded.model.model.multi_modal_projector, head, rng)
    return losses


def _open(projector: Any, head: Any, rng: np.random.Generator) -> None:
    """Start the projector with what the head has learned to read: the facts of each patch, in random directions."""
    import torch

    weight = projector.mm_input_projection_weight
    directions = rng.normal(0, 1, (FACTS, weight.shape[1]))
    directions[:OF_A_FINDING] *= STRONG
    noise = torch.from_numpy(rng.normal(0, 0.02, tuple(weight.shape)))
    with torch.no_grad():
        weight.copy_(head.weight[1:].double().T @ torch.from_numpy(directions) + noise)


def teach_text(
    loaded: gemma3.Loaded,
    draw: Callable[[int], Sequence[Example]],
    *,
    steps: int,
    batch_size: int,
    learning_rate: float,
) -> list[float]:
    """Train the text model and the projector to respond, with the tower frozen, and return the loss of each step.

    Args:
        loaded: The model; changed in place but for its tower.
        draw: Returns so many new conversations, all with the same number of slices.
        steps: Number of steps.
        batch_size: Conversations per step.
        learning_rate: Highest learning rate.
    """
    import torch
    from transformers.modeling_outputs import BaseModelOutputWithPooling

    model = loaded.model
    tower, projector = model.model.vision_tower, model.model.multi_modal_projector
    frozen = {id(weight) for weight in tower.parameters()}
    trained = [weight for weight in model.parameters() if id(weight) not in frozen]
    optimizer = torch.optim.AdamW(trained, lr=learning_rate, weight_decay=WEIGHT_DECAY)
    prompts: dict[tuple[str, str, bool, int], list[int]] = {}
    losses = []
    for step in track(range(steps), total=steps, what="teach text", unit="steps"):
        examples = draw(batch_size)
        with torch.no_grad():
            seen = tower(pixels(loaded, [one for example in examples for one in example.slices])).last_hidden_state
        for example in examples:
            key = (example.prompt, example.system, example.image_first, len(example.slices))
            if key not in prompts:
                prompts[key] = prompt_ids(loaded, *key)
        asked = [prompts[one.prompt, one.system, one.image_first, len(one.slices)] for one in examples]
        said = answer_tokens(loaded, [example.answer for example in examples])  # (n, longest)
        ids = _left_padded(asked, loaded.tokenizer.pad_token_id)
        kinds = (ids == loaded.model.config.image_token_id).long()
        real = (ids != loaded.tokenizer.pad_token_id).long()
        logits = model(
            input_ids=torch.cat([ids, said.clamp(min=0)], dim=1),
            attention_mask=torch.cat([real, (said >= 0).long()], dim=1),
            token_type_ids=torch.cat([kinds, torch.zeros_like(said)], dim=1),
            mm_encoder_outputs={"image": BaseModelOutputWithPooling(pooler_output=projector(seen))},
            logits_to_keep=said.shape[1] + 1,
            use_cache=False,
        ).logits[:, :-1]
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), said.flatten(), ignore_index=-1)
        optimizer_step(optimizer, trained, loss, rate(step, steps, learning_rate))
        losses.append(loss.item())
    return losses


def pixels(loaded: gemma3.Loaded, slices: Sequence[Slice]) -> Any:
    """Slices as the tower takes them, float32 tensor of shape (n, 3, side_px, side_px)."""
    import torch

    grey = torch.from_numpy(np.stack([one.pixels for one in slices]).astype(np.int64))
    return loaded.greys[:, grey].transpose(0, 1)


def prompt_ids(loaded: gemma3.Loaded, prompt: str, system: str, image_first: bool, images: int) -> list[int]:
    """Tokens of a conversation up to its answer, as in inference.

    Args:
        loaded: The model.
        prompt: What the user says.
        system: What is said before; nothing for an empty text.
        image_first: Whether the images stand before the prompt.
        images: How many there are.
    """
    text, shown = [{"type": "text", "text": prompt}], [{"type": "image"}] * images
    turns: list[dict[str, Any]] = [{"role": "system", "content": [{"type": "text", "text": system}]}] if system else []
    turns.append({"role": "user", "content": shown + text if image_first else text + shown})
    talk = loaded.processor.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    blank = np.zeros((loaded.side_px, loaded.side_px, 3), np.uint8)
    found = loaded.processor(text=[talk], images=[[blank] * images], add_special_tokens=False)
    return [int(token) for token in found["input_ids"][0]]


def _left_padded(rows: Sequence[Sequence[int]], padding: int) -> Any:
    """Rows of tokens that end together, int tensor of shape (n, longest)."""
    import torch

    longest = max(map(len, rows))
    return torch.tensor([[padding] * (longest - len(row)) + list(row) for row in rows])
