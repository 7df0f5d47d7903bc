"""Make safetensors of a model that TorchXRayVision has released, once, before any GPU is requested.

Such a model is a pickle, which may run any code: a process of the vision environment opens it, without a network or a
token; this one never does. A file that a release's name stands for is kept where TorchXRayVision keeps it.

in   keys         dotted names of two parameters: source (name of a release, its file, or a folder that was converted
                  before) and revision (none, or sha256: and the hash of the file, compared before it is opened)
     environment  record of the vision environment
out  folder       config.json (class, arguments, targets, file and hash that it was made of) and model.safetensors
     out          JSON, as lib.models.snapshot.Snapshot; with --missing, for a model that cannot be had, as its Missing
"""

import json
import os
import re
import shutil
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from http.client import HTTPException
from pathlib import Path

from stages.lib.core import cli, files, params
from stages.lib.core.errors import ModelError, ParamsError
from stages.lib.core.log import LOG
from stages.lib.core.progress import track
from stages.lib.models.snapshot import Snapshot
from stages.lib.models.vision import client
from stages.weights import fetch, fetch_model

HASH = r"sha256:[0-9a-f]{64}"
PATTERNS = ("config.json", "model.safetensors")
BLOCK = 1 << 20  # bytes
PATIENCE_S = 60.0  # with a server that sends nothing


@dataclass(frozen=True)
class Wanted:
    """Which model, as two parameters say.

    Attributes:
        source: Name of a release, a file, or a folder.
        revision: "none", or "sha256:" and the hash of the file.
        keys: Names of the two parameters.
    """

    source: str
    revision: str
    keys: tuple[str, str]

    def __post_init__(self) -> None:
        """Check what no type says."""
        if self.revision != fetch.FOLDER and not re.fullmatch(HASH, self.revision):
            raise ParamsError(
                "model:",
                [
                    f"{self.keys[1]}: found {self.revision!r}, wanted {fetch.FOLDER}, or sha256: and the 64 digits of "
                    "the file's hash"
                ],
            )

    def check(self, what: str, digest: object) -> None:
        """Refuse a file of another hash than the revision's.

        Raises:
            ModelError: If it is another.
        """
        if self.revision not in (fetch.FOLDER, f"sha256:{digest}"):
            raise ModelError(
                f"{self.keys[1]}: found sha256:{digest} of {what}, wanted {self.revision}: is it damaged, or another "
                "file? Fetch it again, or write its hash"
            )


def convert(wanted: Wanted, environment: Path, folder: Path, offline: bool) -> Snapshot:
    """A model of TorchXRayVision as safetensors in `folder`; one that was made of the same file before is kept.

    Args:
        wanted: Which model.
        environment: Record of the vision environment.
        folder: Where to.
        offline: Whether nothing may be fetched.

    Returns:
        Its files, hashed.

    Raises:
        ModelError: If it cannot be found or fetched, has another hash than the revision's, or is no such model.
        EnvironmentBuildError: If the environment is gone.
        WorkerError: If the process that opens it failed.
    """
    source = Path(wanted.source)
    if source.is_dir():
        return _copied(wanted, source, folder)
    file, release = source, None
    if not source.is_file():
        if source.suffix or len(source.parts) > 1:
            raise ModelError(f"{wanted.keys[0]}: there is no file or folder {source}")
        release = wanted.source
        file = fetched(client.released(release, environment, None), release, offline)
    digest = files.sha256_file(file)
    wanted.check(str(file), digest)
    told = {"file": file.name, "sha256": digest}
    try:
        found = _snapshot(wanted, folder)
    except ModelError:
        found = None
    if found and _made_of(folder) == told:
        LOG.info("convert: %s holds what %s was made into before", folder, file)
        return found
    LOG.info("convert: %s, sha256:%s, into %s", file, digest, folder)
    with files.replacing_folder(folder) as part:
        client.convert(file, part, environment, None, release)
        _check(part, told, file)
    return _snapshot(wanted, folder)


def fetched(url: str, release: str, offline: bool, cache: Path | None = None) -> Path:
    """File of a release, fetched if it is not there.

    Args:
        url: Where it is on the web.
        release: Its name, for the log and errors.
        offline: Whether nothing may be fetched.
        cache: Folder where it is kept; None for that of TorchXRayVision.

    Raises:
        ModelError: If it is not there and cannot be fetched.
    """
    folder = cache or Path.home() / ".torchxrayvision" / "models_data"
    path = folder / Path(urllib.parse.urlsplit(url).path).name
    if path.is_file():
        return path
    if offline:
        raise ModelError(
            f"{release}: there is no {path}, and HF_HUB_OFFLINE forbids to fetch it: run once with HF_HUB_OFFLINE=0, "
            f"or put {url} there"
        )
    LOG.info("convert: fetching %s", url)
    try:
        with files.replacing(path) as part, part.open("wb") as handle:
            for block in _blocks(url, release):
                handle.write(block)
    except (urllib.error.URLError, HTTPException, ConnectionError, TimeoutError, ValueError) as error:
        raise ModelError(
            f"{release}: {url} could not be fetched ({error}): check the network and run again, or put it at {path}"
        ) from error
    return path


def _blocks(url: str, release: str) -> Iterator[bytes]:
    with urllib.request.urlopen(url, timeout=PATIENCE_S) as answer:
        length = int(answer.headers.get("Content-Length") or 0)
        blocks = iter(lambda: answer.read(BLOCK), b"")
        came = 0
        for block in track(blocks, total=max(1, -(-length // BLOCK)), what=f"fetch {release}", unit="MiB"):
            came += len(block)
            yield block
    if came == 0 or came < length:
        raise ConnectionError(f"{came} of {length} bytes came")


def _copied(wanted: Wanted, source: Path, folder: Path) -> Snapshot:
    """A model that was converted before, in its place."""
    _snapshot(wanted, source)
    told = _made_of(source)
    if not told:
        raise ModelError(
            f"{source}/config.json: found no converted_from with a sha256, wanted a model that was converted"
        )
    wanted.check(f"the file that {source} was made of", told["sha256"])
    with files.replacing_folder(folder) as part:
        for name in PATTERNS:
            shutil.copyfile(source / name, part / name)
    return _snapshot(wanted, folder)


def _check(part: Path, told: dict[str, str], file: Path) -> None:
    """Refuse what the process should not have left: the pickle may have run code of its own."""
    odd = sorted(path.name for path in part.iterdir() if path.is_symlink() or path.name not in PATTERNS)
    if odd or _made_of(part) != told:
        raise ModelError(
            f"{file}: found {', '.join(odd) or 'a config.json of another file'} after it was converted, wanted "
            f"{' and '.join(PATTERNS)} made of it: do not trust it"
        )


def _made_of(folder: Path) -> dict[str, str]:
    """File name and hash that a folder was converted from; none if it does not tell."""
    try:
        found = json.loads((folder / "config.json").read_text(encoding="utf-8"))["converted_from"]
        return {name: str(found[name]) for name in ("file", "sha256")}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _snapshot(wanted: Wanted, folder: Path) -> Snapshot:
    source = fetch.Source(str(folder), fetch.FOLDER, wanted.keys, PATTERNS, ("config.json", "weights"))
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
    source, revision = fetch_model.named(params.document(args.params), args.keys)
    wanted = Wanted(source, revision, (args.keys[0], args.keys[1]))
    folder = Path(args.folder)
    fetch_model.record(
        args.out,
        (source, revision),
        lambda: convert(wanted, Path(args.environment), folder, fetch.is_offline(os.environ)),
        missing=args.missing,
    )
    folder.mkdir(parents=True, exist_ok=True)  # of a model that is missing, an empty one: rules want it


if __name__ == "__main__":
    cli.run(main)
