"""LoFi's decoder after fine-tuning on grounding: it reads an image's visual tokens and writes the boxes."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from stages.lib.core import params
from stages.lib.detect.grounder import Answered, Asked, Grounder, Setting, answered, wanted
from stages.lib.models import box_text, gemma3, snapshot
from stages.lib.models.conversation import Turn
from stages.lib.models.lofi import card, weights
from stages.lib.models.lofi.wording import ground_prompt


@params.section
class Params:
    """From where it starts, and how it writes."""

    start: params.Text  # folder of a LoFi adapter that fine-tuning starts from; none: the weights of the bases
    max_new_tokens: params.Count  # an answer is cut there; a box is 20 tokens
    batch_size: params.Count  # sentences at once; changes the time, not the answers


def grounder(params: Params, setting: Setting) -> Grounder:
    """A grounder that writes boxes as LoFi does.

    Raises:
        ParamsError: If a record or the adapter was not given.
        MismatchError: If the adapter is of another base, or of other pixels.
        ModelError: If the model cannot be loaded.
    """
    encoder, decoder = (snapshot.read(wanted(name, getattr(setting, name))) for name in ("base", "decoder"))
    adapter, model = Path(wanted("adapter", setting.adapter)), wanted("model", setting.model)
    card.check(adapter, setting.preprocessing_hash, encoder.identity, decoder.identity, model)
    loaded = weights.load(encoder, decoder, model, adapter)

    def ask(asked: Sequence[Asked]) -> Iterator[Answered]:
        kept: dict[tuple[str, str], Any] = {}
        for start in range(0, len(asked), params.batch_size):
            some = asked[start : start + params.batch_size]
            kept = prefixes(loaded, some, kept)
            for one, made in zip(some, written(loaded, kept, some, params.max_new_tokens), strict=True):
                read = box_text.read(made.text, "lofi", cut=made.cut)
                turn = Turn("user", ground_prompt(one.text), one.shown_id or one.seen)
                yield answered(read, made.text, turns=(turn,))

    return ask


def prefixes(
    loaded: weights.Loaded, asked: Sequence[Asked], kept: Mapping[tuple[str, str], Any]
) -> dict[tuple[str, str], Any]:
    """Visual tokens of what is shown with some sentences, by their group, each tensor of shape (visual_tokens, h).

    Args:
        loaded: The network.
        asked: The sentences.
        kept: Those that are there already.
    """
    first = {one.group: one for one in reversed(asked)}
    lacking = [one for group, one in first.items() if group not in kept]
    found = loaded.prefixes([one.pixels(loaded.network.side_px) for one in lacking]) if lacking else ()
    made = {one.group: prefix for one, prefix in zip(lacking, found, strict=True)}
    return {group: made[group] if group in made else kept[group] for group in first}


def written(
    loaded: weights.Loaded, kept: Mapping[tuple[str, str], Any], asked: Sequence[Asked], max_new_tokens: int
) -> list[gemma3.Generated]:
    """What the decoder writes for each of some sentences.

    Args:
        loaded: The network.
        kept: Visual tokens by group, as `prefixes` gives them.
        asked: n sentences.
        max_new_tokens: An answer is cut there.
    """
    import torch

    prompts = [ground_prompt(one.text) for one in asked]
    return loaded.generate(torch.stack([kept[one.group] for one in asked]), prompts, max_new_tokens)
