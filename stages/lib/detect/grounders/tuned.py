"""LoFi's decoder after fine-tuning on grounding: it reads an image's visual tokens and writes the boxes."""

from collections.abc import Iterator, Sequence
from itertools import groupby
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
        for _, group in groupby(asked, key=lambda one: one.group):
            sentences = list(group)
            prefix = loaded.prefixes([sentences[0].pixels(loaded.network.side_px)])  # (1, visual_tokens, h)
            for start in range(0, len(sentences), params.batch_size):
                some = sentences[start : start + params.batch_size]
                for one, made in zip(some, written(loaded, prefix, some, params.max_new_tokens), strict=True):
                    read = box_text.read(made.text, "lofi", cut=made.cut)
                    turn = Turn("user", ground_prompt(one.text), one.shown_id or one.seen)
                    yield answered(read, made.text, turns=(turn,))

    return ask


def written(loaded: weights.Loaded, prefix: Any, asked: Sequence[Asked], max_new_tokens: int) -> list[gemma3.Generated]:
    """What the decoder writes about one image for each of some sentences.

    Args:
        loaded: The network.
        prefix: Visual tokens of the image, float tensor of shape (1, visual_tokens, h).
        asked: n sentences.
        max_new_tokens: An answer is cut there.
    """
    prompts = [ground_prompt(one.text) for one in asked]
    return loaded.generate(prefix.expand(len(prompts), -1, -1), prompts, max_new_tokens)
