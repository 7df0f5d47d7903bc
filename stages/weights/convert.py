"""Make safetensors of a model whose weights are published as a pickle, once, before any GPU is requested.

A pickle may run any code: a process of the vision environment opens it, without a network or a token; this one never
does. Of TorchXRayVision it may be a whole model. Of timm and open_clip it is a state, weights by name, which torch
reads without running anything. What was fetched is kept where TorchXRayVision, or the hub's library, keeps it.

in   keys         dotted names of four parameters: source, revision, library, architecture. Source is a file, and
                  revision none, or sha256: and the hash of the file, compared before it is opened. Of TorchXRayVision
                  source may also be the name of a release, or a folder that was converted before; of the others
                  organisation/name/file, with the revision of that repository on the hub
     environment  record of the vision environment
out  folder       model.safetensors, and config.json or open_clip_config.json, which tells the file and hash that it was
                  made of; of TorchXRayVision the class, its arguments and its targets too
     out          JSON, as lib.models.snapshot.Snapshot; with --missing, for a model that cannot be had, as its Missing
"""

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from stages.lib.core import cli, files, params
from stages.lib.core.errors import ModelError, ParamsError
from stages.lib.core.log import LOG
from stages.lib.models.snapshot import Snapshot
from stages.lib.models.vision import client
from stages.lib.models.vision.worker.checkpoint import WEIGHTS
from stages.weights import fetch, fetch_model, released, states
from stages.weights.pickled import RELEASED, Found, Wanted

MADE_OF = "converted_from"  # key of a configuration


def convert(wanted: Wanted, environment: Path, folder: Path, token: str | None, offline: bool) -> Snapshot:
    """A pickled model as safetensors in `folder`; one that was made of the same files before is kept.

    Args:
        wanted: Which model.
        environment: Record of the vision environment.
        folder: Where to.
        token: Read token of the hub; None to use a stored login, if any.
        offline: Whether nothing may be fetched.

    Returns:
        Its files, hashed.

    Raises:
        ModelError: If it cannot be found or fetched, has another hash than the revision's, or is no such model.
        EnvironmentBuildError: If the environment is gone.
        WorkerError: If the process that opens it failed.
    """
    if Path(wanted.source).is_dir():
        return _copied(wanted, Path(wanted.source), folder)
    of_library = wanted.library == RELEASED
    found = released.find(wanted, environment, offline) if of_library else states.find(wanted, token, offline)
    wanted.check(str(found.file), found.sha256)
    beside = _marked(wanted, found)
    if kept := _kept(wanted, found, beside, folder):
        LOG.info("convert: %s holds what %s was made into before", folder, found.file)
        return kept
    LOG.info("convert: %s, sha256:%s, into %s", found.file, found.sha256, folder)
    with files.replacing_folder(folder) as part:
        if of_library:
            client.convert(found.file, part, environment, None, found.release)
        else:
            for line in client.unpickle(found.file, part, environment, None):
                LOG.info("convert: %s", line)
        _check(wanted, part, found)
        for name, content in beside.items():
            (part / name).write_bytes(content)
    return replace(_snapshot(wanted, folder), commit=found.commit)


def _copied(wanted: Wanted, source: Path, folder: Path) -> Snapshot:
    """A model that was converted before, in its place."""
    found = _snapshot(wanted, source)
    told = _made_of(source / wanted.config)
    if not told:
        raise ModelError(
            f"{source / wanted.config}: found no {MADE_OF} with a sha256, wanted a model that was converted"
        )
    wanted.check(f"the file that {source} was made of", told["sha256"])
    with files.replacing_folder(folder) as part:
        for name in found.files:
            shutil.copyfile(source / name, part / name)
    return _snapshot(wanted, folder)


def _marked(wanted: Wanted, found: Found) -> dict[str, bytes]:
    """The small files beside the weights; the model's configuration tells what it was made of."""
    beside = dict(found.beside)
    if wanted.config in beside:
        beside[wanted.config] = states.text({**json.loads(beside[wanted.config]), MADE_OF: found.told})
    return beside


def _kept(wanted: Wanted, found: Found, beside: dict[str, bytes], folder: Path) -> Snapshot | None:
    """What the same files were made into before, if it is whole."""
    try:
        kept = _snapshot(wanted, folder)
    except ModelError:
        return None
    same = all(name in kept.files and (folder / name).read_bytes() == content for name, content in beside.items())
    return replace(kept, commit=found.commit) if same and _made_of(folder / wanted.config) == found.told else None


def _check(wanted: Wanted, part: Path, found: Found) -> None:
    """Refuse what the process should not have left: a pickle may have run code of its own."""
    own = () if found.beside else (wanted.config,)  # what the process tells of a model of TorchXRayVision
    odd = sorted(path.name for path in part.iterdir() if path.is_symlink() or path.name not in (WEIGHTS, *own))
    if odd or (own and _made_of(part / wanted.config) != found.told):
        told = ", ".join(odd) or f"a {wanted.config} of another file"
        raise ModelError(
            f"{found.file}: found {told} after it was converted, wanted {' and '.join((WEIGHTS, *own))} made of "
            "it: do not trust it"
        )


def _made_of(config: Path) -> dict[str, str]:
    """File name and hash that a folder was converted from; none if its configuration does not tell."""
    try:
        found = json.loads(config.read_text(encoding="utf-8"))[MADE_OF]
        return {name: str(found[name]) for name in ("file", "sha256")}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _snapshot(wanted: Wanted, folder: Path) -> Snapshot:
    names = (wanted.config,) if wanted.library == RELEASED else states.SMALL
    source = fetch.Source(str(folder), fetch.FOLDER, wanted.keys, (WEIGHTS, *names), (wanted.config, "weights"))
    return replace(fetch.fetch(source, None, True), base=wanted.source, revision=wanted.revision)


def main(argv: Sequence[str] | None = None) -> None:
    """Convert it and write its record."""
    args = cli.parse(
        __doc__,
        argv,
        params={},
        reads=["params", "keys", "environment"],
        writes=["folder", "out"],
        many=["keys"],
        flags=["missing"],
    )
    wanted = _wanted(params.document(args.params), args.keys)
    folder = Path(args.folder)
    token = fetch.read_token(os.environ) if wanted.on_hub else None
    fetch_model.record(
        args.out,
        (wanted.source, wanted.revision),
        lambda: convert(wanted, Path(args.environment), folder, token, fetch.is_offline(os.environ)),
        missing=args.missing,
    )
    folder.mkdir(parents=True, exist_ok=True)  # of a model that is missing, an empty one: rules want it


def _wanted(document: dict[str, object], keys: Sequence[str]) -> Wanted:
    if len(keys) != 4:
        raise ParamsError(
            "model:", [f"--keys: found {len(keys)} names, wanted those of source, revision, library and architecture"]
        )
    source, revision = fetch_model.named(document, keys[:2])
    library, architecture = fetch_model.named(document, keys[2:])
    return Wanted(source, revision, library, architecture, (keys[0], keys[1]))


if __name__ == "__main__":
    cli.run(main)
