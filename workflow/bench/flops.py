"""Operations per image of the real 4B model, counted exactly, for each change of the published recipe."""

from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from stages.lib.detect.kinds import attribution
from stages.lib.learn import answers
from stages.lib.models import gemma3, lora, prompts
from stages.lib.models.operations import count
from workflow.bench import architecture
from workflow.bench.result import COUNTED, Result

COMMAND = "make bench ONLY=flops"
TERA = 1e12
ATTRIBUTION_STEPS = 4
ANSWERS = (0, 1)  # two tokens; which they are does not change the work


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One way to train.

    Attributes:
        targets: Layers with LoRA; "language" leaves the vision tower frozen.
        checkpointing: Whether activations are computed twice instead of kept.
        all_logits: Whether every token of the conversation gets its logits over the whole vocabulary, as the usual
            language-model loss has it, or only the last one.
        cached: Whether the image comes as the vision tower's features.
    """

    targets: Literal["all-linear", "language", "vision", "attention"]
    checkpointing: bool
    all_logits: bool
    cached: bool = False


PUBLISHED = Recipe(targets="all-linear", checkpointing=True, all_logits=True)
FROZEN = replace(PUBLISHED, targets="language")
KEPT = replace(FROZEN, checkpointing=False)
ANSWER = replace(KEPT, all_logits=False)
CACHED = replace(ANSWER, cached=True)
RECIPES = {
    "a_published": (PUBLISHED, None, "all-linear LoRA, checkpointing, logits of every token"),
    "b_tower_frozen": (FROZEN, None, "a, with LoRA on the language model alone"),
    "c_no_checkpointing": (KEPT, None, "b, without checkpointing"),
    "d_answer_only": (ANSWER, 9.7, "c, with logits of the last token alone"),
    "e_cached_features": (CACHED, 4.3, "d, with the vision features cached"),
}


def images(loaded: gemma3.Loaded, n: int, *, cached: bool) -> Any:
    """N images without values, as pixels or as features."""
    import torch

    if cached:
        hidden = loaded.model.config.text_config.hidden_size
        return torch.zeros((n, loaded.image_tokens, hidden), device="meta")
    return torch.zeros((n, loaded.side_px, loaded.side_px), dtype=torch.uint8, device="meta")


def forward(prompt: prompts.PromptParams, text_tokens: int, *, cached: bool = False, n: int = 1) -> float:
    """Operations of inference of the real model on one image, by the project's own `gemma3.ask`."""
    import torch

    loaded = architecture.loaded(architecture.real_4b(), prompt, text_tokens)

    def work() -> None:
        with torch.no_grad():
            gemma3.ask(loaded, images(loaded, n, cached=cached), prompt, ANSWERS)

    return count(work) / n


def step(recipe: Recipe, prompt: prompts.PromptParams, text_tokens: int, params: answers.TrainParams) -> float:
    """Operations of training on one image: forward, backward, and what is computed twice."""
    changed = replace(params, lora_target_modules=recipe.targets)
    model = lora.add(architecture.real_4b(), changed).train()
    if recipe.checkpointing:
        lora.checkpoint_activations(model)
    loaded = architecture.loaded(model, prompt, text_tokens)

    def work() -> None:
        image = images(loaded, 1, cached=recipe.cached)
        if recipe.all_logits:
            batch = gemma3.encode(loaded, image, prompt.question, image_first=prompt.image_first)
            logits = model(**batch, use_cache=False).logits
        else:
            logits = gemma3.ask(loaded, image, prompt, ANSWERS).pair
        logits.sum().backward()

    return count(work)


def attribution_map(steps: int, prompt: str, text_tokens: int) -> float:
    """Operations of the attribution map of one image at one place, by the project's own `attribution.attribution`."""
    given = attribution.Params(
        adapter="none",
        prompts=(prompt,),
        answers=("Yes/No",),
        response_prefixes=("",),
        image_first=True,
        method="gradient",
        steps=steps,
        shifts=1,
        smoothing_fraction=0.0,
        peak_distance_fraction=0.1,
        max_peaks=1,
        even_odds_logits=1.0,
        min_confidence=0.0,
        batch_size=1,
    )
    pair, _ = given.contrast(prompt)
    loaded = replace(architecture.loaded(architecture.real_4b(), pair, text_tokens), tokenizer=architecture.Words())

    def work() -> None:
        image = np.zeros((1, loaded.side_px, loaded.side_px), np.uint8)
        with suppress(NotImplementedError):  # at its end, as a map on the meta device has no values to hand over
            attribution.attribution(loaded, image, prompt, given)

    return count(work)


def bench(prompt: prompts.PromptParams, params: answers.TrainParams) -> dict[str, Result]:
    """Operations per image of inference and of training.

    Args:
        prompt: The question, whose length counts.
        params: How the real study trains; the rank of LoRA counts.
    """
    tokens = architecture.text_tokens(prompt)
    where = f"896 px, {256 + tokens} tokens, LoRA of rank {params.lora_r}"
    asked = {
        f"flops.ask{'_cached' if cached else ''}": Result(
            value=forward(prompt, tokens, cached=cached) / TERA,
            unit="TFLOP per image",
            label=COUNTED,
            command=COMMAND,
            note="one forward pass, the vision features cached" if cached else f"one forward pass; {where}",
        )
        for cached in (False, True)
    }
    learnt = {
        f"flops.{name}": Result(
            value=step(recipe, prompt, tokens, params) / TERA,
            unit="TFLOP per sample",
            label=COUNTED,
            command=COMMAND,
            at_most=bound,
            note=words,
        )
        for name, (recipe, bound, words) in RECIPES.items()
    }
    found = attribution_map(ATTRIBUTION_STEPS, prompt.question, tokens) / TERA
    note = f"an attribution map of {ATTRIBUTION_STEPS} gradient steps, at one place; {where}"
    located = Result(value=found, unit="TFLOP per image", label=COUNTED, command=COMMAND, note=note)
    return {**asked, **learnt, "flops.attribution": located}
