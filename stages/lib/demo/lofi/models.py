"""The two tiny models of the base, before they are taught: a SigLIP, and the demo base's Gemma 3 with more words."""

from pathlib import Path
from typing import Any

from stages.lib.demo import tiny
from stages.lib.demo.synthetic import chest_sentences
from stages.lib.demo.synthetic.chest_findings import SIDES, SIZES

SPECIAL = ("<pad>", "</s>", "<unk>")
PAD, END, UNKNOWN = range(3)
LENGTH = 64  # tokens that the text tower reads
WORDS = tuple(
    sorted(
        {
            *("a", "an", "and", "are", "enlarged", "free", "has", "heart", "in", "is", "its", "lung", "lungs", "no"),
            *("nodule", "nodules", "normal", "of", "on", "opacity", "pacemaker", "pleural", "effusion", "size", "the"),
            *("there", "three", "two", "four", "zone", *SIDES, *SIZES, *chest_sentences.THIRDS),
        }
    )
)
MARKS = (".", ",")
# One token each for the decoder, that reads and writes sentences and boxes; it keeps case.
SAID = tuple(
    dict.fromkeys(
        (
            *("Heart", "A", "Two", "Three", "Four", "Detect", "Describe", "[[", "]]", "],[", "```", '▁"', '".'),
            *("▁all", "▁instances", "▁regions", "▁size", "▁There", "▁A", "▁Two", "▁Three", "▁Four", "▁Heart", "▁The"),
            *('▁"The', '▁"There', '▁"A', '▁"Two', '▁"Three', '▁"Four', '▁"Heart', '▁"No'),
            *(f"▁{word}" for word in WORDS),
        )
    )
)
LANGUAGE = tiny.Language(tuple(dict.fromkeys((*tiny.WORDS, *SAID))), tiny.CHAT_TEMPLATE)


def tower_tokenizer() -> Any:
    """Tokenizer of the text tower: a token for each word in lower case, the end, then padding on the right."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = {word: number for number, word in enumerate((*SPECIAL, *MARKS, *WORDS))}
    found = Tokenizer(models.WordLevel(words, unk_token=SPECIAL[UNKNOWN]))
    found.normalizer = normalizers.Lowercase()
    found.pre_tokenizer = pre_tokenizers.Whitespace()
    found.post_processor = processors.TemplateProcessing(
        single=f"$A {SPECIAL[END]}", special_tokens=[(SPECIAL[END], END)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=found,
        pad_token=SPECIAL[PAD],
        eos_token=SPECIAL[END],
        unk_token=SPECIAL[UNKNOWN],
        padding_side="right",
        model_max_length=LENGTH,
    )


def siglip(start: Any, seed: int) -> Any:
    """SiglipModel whose vision tower is that of `start`, a Gemma3ForConditionalGeneration, and whose rest is random.

    The global random state of torch stays as it was.
    """
    import torch
    from transformers import SiglipConfig, SiglipModel

    vision = start.config.vision_config.to_dict() | {"vision_use_head": True}
    width = vision["hidden_size"]
    text = {
        "vocab_size": len(SPECIAL) + len(MARKS) + len(WORDS),
        "hidden_size": width,
        "intermediate_size": 4 * width,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": LENGTH,
        "projection_size": width,
        "pad_token_id": PAD,
        "bos_token_id": END,
        "eos_token_id": END,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = SiglipModel(SiglipConfig(text_config=text, vision_config=vision))
    tower = model.vision_model
    lacking, superfluous = tower.load_state_dict(start.model.vision_tower.state_dict(), strict=False)
    if superfluous or not all(name.startswith("head.") for name in lacking):
        raise AssertionError([*lacking, *superfluous])
    return model


def gemma(start: Any, words: dict[str, int], seed: int) -> Any:
    """Gemma3ForCausalLM with the text model of `start`, and a vocabulary of more words.

    A new word begins as the mean of the tokens that spelled it.

    Args:
        start: Gemma3ForConditionalGeneration.
        words: Its tokens by their text.
        seed: Of what the configuration leaves to chance; all is overwritten.
    """
    import torch
    from transformers import Gemma3ForCausalLM

    tokens, _ = tiny.vocabulary(LANGUAGE.words)
    config = start.config.text_config.__class__(**{**start.config.text_config.to_dict(), "vocab_size": len(tokens)})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Gemma3ForCausalLM(config)
    state = start.model.language_model.state_dict()
    old = state.pop("embed_tokens.weight")
    rows = torch.stack([old[[words[part] for part in _spelled(token, words)]].mean(dim=0) for token in tokens])
    lacking, superfluous = model.model.load_state_dict(state, strict=False)
    if superfluous or lacking != ["embed_tokens.weight"]:
        raise AssertionError([*lacking, *superfluous])
    with torch.no_grad():
        model.model.embed_tokens.weight.copy_(rows)
    return model


def _spelled(token: str, words: dict[str, int]) -> list[str]:
    """A token itself if it is known, or its characters."""
    return [token] if token in words else list(token)


def image_processor() -> Any:
    """What makes the tower's input of an image, as that of the other tiny bases does."""
    from transformers import SiglipImageProcessorPil

    size = {"height": tiny.SIDE_PX, "width": tiny.SIDE_PX}
    return SiglipImageProcessorPil(size=size, image_mean=[0.5] * 3, image_std=[0.5] * 3)


def save(folder: Path, model: Any, decoder: Any) -> None:
    """Write both models in float32, with what reads images and words, to the folders encoder and decoder."""
    encoder_folder = folder / "encoder"
    model.float().eval().save_pretrained(encoder_folder)
    image_processor().save_pretrained(encoder_folder)
    tower_tokenizer().save_pretrained(encoder_folder)
    save_decoder(folder, decoder)


def save_decoder(folder: Path, decoder: Any) -> None:
    """Write the decoder in float32, with its tokenizer, to the folder decoder."""
    decoder.float().eval().save_pretrained(folder / "decoder")
    tiny.processor(LANGUAGE).tokenizer.save_pretrained(folder / "decoder")
