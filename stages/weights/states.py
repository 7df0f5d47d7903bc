"""A pickled state of weights for timm or open_clip: the file, and the small files beside it, found or fetched."""

import json
import re
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from stages.lib.core import files
from stages.lib.core.errors import ModelError
from stages.lib.core.log import LOG
from stages.lib.models.own_process import RefusalError
from stages.lib.models.vision.worker.checkpoint import WEIGHTS
from stages.lib.models.vision.worker.libraries import EXAMINED
from stages.lib.models.vision.worker.small_files import document
from stages.weights import fetch
from stages.weights.pickled import CONFIGS, HUB_FILE, Found, Wanted

# What a vision model is built by, and shown images. No tokenizer: the text side of open_clip's models is not built.
SMALL = (*CONFIGS.values(), "preprocessor_config.json")
ANY_SIDE = 0  # which each patch divides: rows of several sides share a model
VALUES = '"mean": [<three numbers>], "std": [<three numbers>]'
EXAMPLES = {
    "timm": '{"architecture": "%s", "num_classes": <outputs of the weights, or 0>, "pretrained_cfg": {"input_size": '
    f"[3, <side>, <side>], {VALUES}}}}}",
    "open_clip": '{"model_cfg": {"embed_dim": <width>, "vision_cfg": {"timm_model_name": "%s", ...}}, '
    f'"preprocess_cfg": {{{VALUES}}}}}',
}


def find(wanted: Wanted, token: str | None, offline: bool) -> Found:
    """The file, and what says how its model is built; the latter comes first, as it is small and may be missing.

    Args:
        wanted: Which model.
        token: Read token of the hub; None to use a stored login, if any.
        offline: Whether nothing may be fetched.

    Raises:
        ModelError: If one of them is not there, cannot be fetched, or cannot be read.
    """
    place = wanted.on_hub
    if place is None:
        return _here(wanted, Path(wanted.source))
    source = fetch.Source(place.repository, wanted.revision, wanted.keys, SMALL, (), place.inside)
    small = fetch.fetch(source, token, offline)
    where = "/".join(filter(None, (place.repository, place.inside)))
    beside = _beside(wanted, small.folder, where, on_hub=True)
    pinned = replace(source, revision=small.commit or wanted.revision, patterns=(place.name,))
    found = fetch.fetch(pinned, token, offline)
    if place.name not in found.files:
        raise ModelError(f"{wanted.keys[0]}: {_not_there(wanted, source, place.name, offline)}")
    path = f"{place.inside}/{place.name}".lstrip("/")
    return Found(found.folder / place.name, path, found.files[place.name], found.commit, None, beside)


def _here(wanted: Wanted, file: Path) -> Found:
    if not file.is_file():
        of_hub = re.fullmatch(HUB_FILE, wanted.source)
        hint = f"; for a file of the hub set {wanted.keys[1]} to its commit hash, tag or branch" if of_hub else ""
        raise ModelError(f"{wanted.keys[0]}: there is no file {file}{hint}")
    beside = _beside(wanted, file.parent, str(file.parent), on_hub=False)
    return Found(file, file.name, files.sha256_file(file), None, None, beside)


def _not_there(wanted: Wanted, source: fetch.Source, name: str, offline: bool) -> str:
    if offline:
        return (
            f"{name} of {source.base} at {wanted.revision!r} is not in the local cache, and HF_HUB_OFFLINE forbids to "
            f"fetch it: run once with HF_HUB_OFFLINE=0, or set {wanted.keys[0]} to a file and {wanted.keys[1]} to none"
        )
    return fetch.no_file(source, name)


def _beside(wanted: Wanted, folder: Path, where: str, *, on_hub: bool) -> dict[str, bytes]:
    """Content of the small files by name, of which the loader would refuse none; one of timm names its architecture."""
    found = {name: (folder / name).read_bytes() for name in SMALL if (folder / name).is_file()}
    if wanted.config not in found:
        raise ModelError(_unknown(wanted, where, on_hub=on_hub))
    with tempfile.TemporaryDirectory() as tried:
        place = Path(tried)
        (place / WEIGHTS).touch()
        try:
            (place / wanted.config).write_bytes(found[wanted.config])
            told = document(place / wanted.config)
            if wanted.library == "timm" and "architecture" not in told:
                LOG.info("convert: %s/%s names no architecture, the row does", where, wanted.config)
                found[wanted.config] = text({**told, "architecture": wanted.architecture})
                (place / wanted.config).write_bytes(found[wanted.config])
            EXAMINED[wanted.library](place, wanted.architecture, ANY_SIDE)
        except RefusalError as refusal:
            raise ModelError(f"{wanted.keys[0]}: {str(refusal).replace(tried, where)}") from refusal
    return found


def _unknown(wanted: Wanted, where: str, *, on_hub: bool) -> str:
    """What to do where nothing says how the model is built."""
    add = f"add {wanted.config} there"
    if on_hub:
        add = (
            f"put the file and {wanted.config} in a folder of your own, and set {wanted.keys[0]} to the file there and "
            f"{wanted.keys[1]} to none, or sha256: and the file's hash"
        )
    return (
        f"{wanted.keys[0]}: found no {wanted.config} in {where}, beside {Path(wanted.source).name}, wanted it: a state "
        "says neither how its model is built nor which mean and deviation its images had, and they are not guessed. "
        f"Look them up where it is published, and {add}: {EXAMPLES[wanted.library] % wanted.architecture}"
    )


def text(document: dict[str, Any]) -> bytes:
    """A document as the content of its file."""
    return (json.dumps(document, indent=1) + "\n").encode()
