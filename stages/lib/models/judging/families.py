"""Families of models: whether a judge is the model that it judges, or related to it.

Judges prefer answers of their own family, so that a relation is warned of, and a judge of its own answers is refused.
"""

import re
from collections.abc import Mapping, Sequence

MAKERS: Mapping[str, tuple[str, ...]] = {
    "Google": ("gemini", "gemma", "medgemma", "paligemma", "palm"),
    "OpenAI": ("gpt", "chatgpt", "o1", "o3", "o4"),
    "Anthropic": ("claude",),
    "Meta": ("llama", "llava"),
    "Alibaba": ("qwen", "qwq", "qvq"),
    "Mistral": ("mistral", "mixtral", "pixtral", "magistral", "ministral"),
    "DeepSeek": ("deepseek",),
    "Microsoft": ("phi",),
}  # words of model names by the maker, whose models are one family


def plain(model: str) -> str:
    """Name of a model without what servers add: the folder, the revision, capitals.

    >>> plain("models/Gemini-3-flash"), plain("/data/MedGemma-4b/@main"), plain("google/medgemma-4b-it@abc")
    ('gemini-3-flash', 'medgemma-4b', 'medgemma-4b-it')
    """
    return model.split("@")[0].rstrip("/").rpartition("/")[2].lower()


def same(first: str, second: str) -> bool:
    """Whether two names are of one model."""
    return plain(first) == plain(second)


def family(model: str) -> str:
    """Family of a model: its maker, where a word of its name is known; else the first word of its name.

    >>> family("google/medgemma-1.5-4b-it"), family("gemini-3-flash"), family("our-model-2")
    ('Google', 'Google', 'our')
    """
    words = [word for word in re.split(r"[^a-z0-9]+", plain(model)) if word]
    for maker, known in MAKERS.items():
        if any(word == one or re.fullmatch(rf"{one}[0-9]+[a-z]*", word) for word in words for one in known):
            return maker
    return re.sub(r"[0-9]+.*", "", words[0]) or words[0] if words else plain(model)


def related(judge: str, words: Sequence[str], model: str) -> str | None:
    """What a judge and a model have in common; None if nothing is known.

    Args:
        judge: Name of the judge's model.
        words: Words of model names that are the judge's family, in small letters, by the parameters.
        model: Name of the model that it judges.

    >>> related("gemini-3-pro", (), "medgemma-4b")
    'Google'
    >>> related("our-judge", ("medgemma",), "google/medgemma-4b")
    'medgemma'
    >>> related("gpt-5", (), "medgemma-4b")
    """
    named = next((word for word in words if word in model.lower()), None)
    if named is not None:
        return named
    return family(judge) if family(judge) == family(model) else None
