"""What the first use of a base model would refuse, told from its small files alone: no model is loaded.

`gemma3.load` and `gemma3.encode` want an architecture, an image processor, a chat template, a tokenizer that knows the
tokens of an image, and one number of such tokens.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

MODEL_TYPE, ARCHITECTURE = "gemma3", "Gemma3ForConditionalGeneration"
CONFIG, TOKENIZER, TOKENIZER_CONFIG = "config.json", "tokenizer.json", "tokenizer_config.json"
PROCESSORS = ("processor_config.json", "preprocessor_config.json")
TEMPLATES = ("chat_template.jinja", "chat_template.json")
IMAGE_TOKENS = 256  # of an image in a Gemma 3 whose files do not say
TOKENS = {  # by its name in the tokenizer: the names that config.json has for its number, and the number if it has none
    "boi_token": (("boi_token_index", "boi_token_id"), 255999),
    "eoi_token": (("eoi_token_index", "eoi_token_id"), 256000),
    "image_token": (("image_token_index", "image_token_id"), 262144),
}
LFS = "version https://git-lfs"


def problems(folder: Path) -> list[str]:
    """One sentence for each thing that the first use of the model in `folder` would refuse; each names its file."""
    found: list[str] = []
    names = (CONFIG, TOKENIZER, TOKENIZER_CONFIG, "special_tokens_map.json", *PROCESSORS, TEMPLATES[1])
    known = {name: _read(folder / name, found) for name in names}
    config, processor = known[CONFIG], known[PROCESSORS[0]]
    if config is not None:
        found += _class(config)
    found += _template(folder, known)
    image_processor = next(
        (one for one in ((processor or {}).get("image_processor"), known[PROCESSORS[1]]) if isinstance(one, Mapping)),
        None,
    )
    if image_processor is None:
        if not any((folder / name).is_file() for name in PROCESSORS):
            found.append(f"{PROCESSORS[0]} is missing, and {PROCESSORS[1]}: how an image is prepared for the model")
        elif processor is not None:
            found.append(f"{PROCESSORS[0]} has no image_processor, and there is no {PROCESSORS[1]}")
    elif image_processor.get("do_pan_and_scan"):
        found.append("the image processor has do_pan_and_scan on; wanted each image whole")
    if config is not None and image_processor is not None:
        wanted = config.get("mm_tokens_per_image", IMAGE_TOKENS)
        held = (processor or {}).get("image_seq_length", IMAGE_TOKENS)
        if held != wanted:
            told = PROCESSORS[0] if processor is not None else f"no {PROCESSORS[0]}, which means"
            found.append(f"{told}: image_seq_length {held}, wanted {wanted}, the mm_tokens_per_image of {CONFIG}")
    return found + _tokens(folder, known)


def _read(path: Path, found: list[str]) -> Mapping[str, Any] | None:
    """A JSON object; None if there is no such file, or it is none, which is said."""
    if not path.is_file():
        return None
    try:
        text = path.read_text(encoding="utf-8")
        document = json.loads(text)
    except (OSError, ValueError):
        start = path.read_bytes()[: len(LFS)] if path.is_file() else b""
        pointer = start == LFS.encode()
        found.append(
            f"{path.name} is a pointer of Git LFS; run 'git lfs pull' there"
            if pointer
            else f"{path.name} is not whole JSON; fetch or copy it again"
        )
        return None
    if not isinstance(document, Mapping):
        found.append(f"{path.name} is not whole: found no JSON object; fetch or copy it again")
        return None
    return document


def _class(config: Mapping[str, Any]) -> list[str]:
    """Whether the configuration is of the architecture that is loaded."""
    kind, classes = config.get("model_type"), config.get("architectures") or [ARCHITECTURE]
    if kind == MODEL_TYPE and ARCHITECTURE in classes:
        return []
    told = (
        f"{CONFIG}: found model_type {kind!r} ({', '.join(map(str, classes))})" if kind else f"{CONFIG}: no model_type"
    )
    return [f"{told}, wanted {MODEL_TYPE!r} ({ARCHITECTURE}), the architecture of MedGemma"]


def _template(folder: Path, known: Mapping[str, Mapping[str, Any] | None]) -> list[str]:
    """Whether the processor finds a chat template: in a file of its own, or in its configuration."""
    text = folder / TEMPLATES[0]
    if text.is_file() and text.read_bytes().strip():
        return []
    inside = {name: (known[name] or {}).get("chat_template") for name in (TEMPLATES[1], PROCESSORS[0])}
    if any(inside.values()):
        return []
    if text.is_file():
        return [f"{TEMPLATES[0]} is empty; fetch or copy it again"]
    if (known[TOKENIZER_CONFIG] or {}).get("chat_template"):
        return [
            f"{TEMPLATES[0]} is missing: {TOKENIZER_CONFIG} has a chat_template, but the processor does not read it "
            f"there; write it to {TEMPLATES[0]}"
        ]
    return [f"{TEMPLATES[0]} is missing (or {TEMPLATES[1]}): how a prompt with an image is spelt for the model"]


def _tokens(folder: Path, known: Mapping[str, Mapping[str, Any] | None]) -> list[str]:
    """Whether the tokenizer is there, and gives the tokens of an image the numbers that the model expects."""
    if not any((folder / name).is_file() for name in (TOKENIZER, "tokenizer.model")):
        return [f"{TOKENIZER} is missing (or tokenizer.model): the tokenizer's vocabulary"]
    if not (folder / TOKENIZER_CONFIG).is_file():
        return [f"{TOKENIZER_CONFIG} is missing: it names the tokens of an image"]
    settings, config, tokenizer = known[TOKENIZER_CONFIG], known[CONFIG], known[TOKENIZER]
    if settings is None:
        return []
    found = []
    for name, (keys, usual) in TOKENS.items():
        token = _named(name, settings, known["special_tokens_map.json"] or {})
        if token is None:
            found.append(f"{TOKENIZER_CONFIG} names no {name}, which an image is written with")
        elif config is not None and tokenizer is not None:
            wanted = next((config[key] for key in keys if config.get(key) is not None), usual)
            number = _number(token, tokenizer)
            if number != wanted:
                held = "none" if number is None else number
                found.append(
                    f"{TOKENIZER}: the number of {token!r} is {held}, wanted {wanted}, the {keys[0]} of {CONFIG}"
                )
    return found


def _named(name: str, *places: Mapping[str, Any]) -> str | None:
    """A special token, wherever the tokenizer's files name it."""
    for place in places:
        extra = place.get("extra_special_tokens")
        for inside in (place, extra if isinstance(extra, Mapping) else {}):
            token = inside.get(name)
            token = token.get("content") if isinstance(token, Mapping) else token
            if isinstance(token, str) and token:
                return token
    return None


def _number(token: str, tokenizer: Mapping[str, Any]) -> int | None:
    added = tokenizer.get("added_tokens") or []
    numbers = {one.get("content"): one.get("id") for one in added if isinstance(one, Mapping)}
    if token in numbers:
        return numbers[token]
    model = tokenizer.get("model")
    vocabulary = model.get("vocab") if isinstance(model, Mapping) else None
    return vocabulary.get(token) if isinstance(vocabulary, Mapping) else None
