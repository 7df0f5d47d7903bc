"""Names of files of the chapter zoo, the same for all rows that share them, whatever a row is called."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stages.lib.core import files
from stages.lib.models.backbone import STUDY_BASE, VISION
from stages.weights import pickled

CONVERTED_KEYS = ("source", "revision", "library", "architecture")  # what decides a model that is converted
BACKBONE_KEYS = ("library", "source", "revision", "architecture", "side_px", "shifts")


def short(document: object) -> str:
    """The first digits of a document's hash."""
    return files.sha256_json(document)[:8]


def weights(row: Mapping[str, Any]) -> str:
    """Name of the files of a row's model.

    Of a pickled file they are also what its library and class make of it.

    >>> weights({"source": "microsoft/rad-dino", "revision": "main"})
    'rad-dino-85ede2ef'
    """
    keys = CONVERTED_KEYS if is_pickled(row) else CONVERTED_KEYS[:2]
    return f"{_plain_name(row)}-{short([row[key] for key in keys])}"


def own_weights(row: Mapping[str, Any]) -> bool:
    """Whether a row brings a model of its own."""
    return row.get("source", STUDY_BASE) != STUDY_BASE


def has_features(row: Mapping[str, Any]) -> bool:
    """Whether a row has all that decides features."""
    return {*BACKBONE_KEYS} <= {*row}


def backbone(row: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of a row that decide its features."""
    return {key: row[key] for key in BACKBONE_KEYS}


def needs_vision(row: Mapping[str, Any]) -> bool:
    """Whether a row's library is one of the vision environment, and runs in a process of its own."""
    return row.get("library") in VISION


def is_pickled(row: Mapping[str, Any]) -> bool:
    """Whether a row's weights are published as pickled files, which are converted before they are read.

    >>> is_pickled({"library": "timm", "source": "models/tiny.pt"}), is_pickled({"kind": "prevalence"})
    (True, False)
    """
    return pickled.is_pickled(row.get("library"), row.get("source", STUDY_BASE))


def is_release(row: Mapping[str, Any]) -> bool:
    """Whether a row's source is the name of a release, which is downloaded, and no path.

    >>> is_release({"library": "torchxrayvision", "source": "densenet121-res224-all"})
    True
    >>> is_release({"library": "timm", "source": "tiny.pt"})
    False
    """
    return row.get("library") == pickled.RELEASED and "/" not in row["source"]


def hub_file(row: Mapping[str, Any]) -> pickled.HubFile | None:
    """The pickled file of the hub that a row names, if it names one."""
    return pickled.hub_file(row.get("library"), row.get("source", STUDY_BASE), row.get("revision", "none"))


def beside(row: Mapping[str, Any]) -> list[str]:
    """Files that say how a pickled model on this machine is built: what they say may change."""
    if not is_pickled(row) or is_release(row) or hub_file(row) or row["source"].startswith("results/"):
        return []
    config = Path(row["source"]).parent / pickled.CONFIGS.get(row["library"], "")
    return [str(config)] if config.is_file() else []


def fetched_by(row: Mapping[str, Any]) -> str:
    """Rule that finds a row's model."""
    return "zoo_convert" if is_pickled(row) else "zoo_weights"


def wants(row: Mapping[str, Any]) -> tuple[str, ...]:
    """What the folder of a row's model has to have, in the names of `weights.fetch`.

    A model that reads no text has no tokenizer; one of open_clip has a configuration of another name, which is looked
    for when it is loaded.

    >>> wants({"kind": "probe", "library": "open_clip"}), wants({"kind": "vlm"})
    (('weights',), ('config.json', 'weights', 'tokenizer'))
    """
    whole = ("weights",) if row.get("library") == "open_clip" else ("config.json", "weights")
    return (*whole, "tokenizer") if row["kind"] == "vlm" else whole


def rows(document: Mapping[str, Any]) -> list[tuple[str, str, Mapping[str, Any]]]:
    """Every row of the chapter that may bring a model: its section, its name, and itself; models come first."""
    zoo = document["zoo"]
    return [(section, name, row) for section in ("models", "localizers") for name, row in zoo[section].items()]


def sides(document: Mapping[str, Any]) -> list[int]:
    """Sides of the images that are made for the chapter alone, pixels, in ascending order.

    >>> models = {"a": {"side_px": 896}, "b": {"side_px": 448}, "c": {"side_px": 448}, "d": {}}
    >>> sides({"zoo": {"models": models, "localizers": {}}, "data": {"normalize": {"side_px": 896}}})
    [448]
    """
    found = {row["side_px"] for _, _, row in rows(document) if "side_px" in row}
    return sorted(found - {document["data"]["normalize"]["side_px"]})


def plain(document: dict[str, Any]) -> None:
    """Write `seen: no` as the text that it is, in every row: YAML reads it as false where DVC wrote it without quotes.

    >>> document = {"zoo": {"models": {"a": {"seen": False}}, "localizers": {}}}
    >>> plain(document)
    >>> document["zoo"]["models"]["a"]["seen"]
    'no'
    """
    zoo = document.get("zoo")
    for section in ("models", "localizers"):
        rows = zoo.get(section) if isinstance(zoo, dict) else None
        for row in rows.values() if isinstance(rows, dict) else ():
            if isinstance(row, dict) and row.get("seen") is False:
                row["seen"] = "no"


def features(row: Mapping[str, Any]) -> str:
    """Name of the features of a row: model, side of the images, shifts, and a hash of all that decides them."""
    return f"{_plain_name(row)}-{row['side_px']}px-{row['shifts']}-{short(backbone(row))}"


def _plain_name(row: Mapping[str, Any]) -> str:
    """`model_name` without what a shell, a rule or a command that zoo_check prints would read otherwise.

    >>> _plain_name({"source": "/data/My {models}/RAD dino"})
    'rad-dino'
    """
    return re.sub(r"[^a-z0-9._-]+", "-", model_name(row)).strip("-.") or "model"


def model_name(row: Mapping[str, Any]) -> str:
    """Name of a row's model on the hub without its owner, or of its folder or file, in small letters.

    >>> model_name({"library": "open_clip", "source": "owner/Name/weights.bin", "revision": "main"})
    'name'
    """
    found = hub_file(row)
    return Path(found.repository if found else str(row["source"])).name.lower()
