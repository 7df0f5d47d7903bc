"""Records of the rows, read from the files that carry their names."""

from collections.abc import Iterable, Mapping
from pathlib import PurePath
from typing import Any

from stages.lib.core import documents
from stages.zoo.records import Embedded

FOLDERS = ("features", "tokens")


def features_name(path: str) -> str:
    """Name of features by the path of their record: what stands behind results/zoo.

    >>> features_name("results/zoo/features/siglip-448-2.json"), features_name("results/zoo/tokens/dino/cohort.json")
    ('features/siglip-448-2', 'tokens/dino/cohort')
    """
    parts = PurePath(path).with_suffix("").parts
    first = next((place for place in reversed(range(len(parts))) if parts[place] in FOLDERS), len(parts) - 1)
    return "/".join(parts[first:])


def embedded(paths: Iterable[str]) -> dict[str, Embedded]:
    """Records of features by their names."""
    return {features_name(path): documents.read(path, Embedded) for path in paths}


def commercial(document: Mapping[str, Any]) -> bool:
    """Whether the study is commercial, by a document of parameters."""
    return bool((document.get("study") or {}).get("commercial", False))
