"""A model that TorchXRayVision has released: its file, fetched if it is not where that library keeps it."""

import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path

from stages.lib.core import files
from stages.lib.core.errors import ModelError
from stages.lib.core.log import LOG
from stages.lib.core.progress import track
from stages.lib.models.vision import client
from stages.weights.pickled import Found, Wanted

BLOCK = 1 << 20  # bytes
PATIENCE_S = 60.0  # with a server that sends nothing


def find(wanted: Wanted, environment: Path, offline: bool) -> Found:
    """The file of a release, or the file that is named.

    Args:
        wanted: Which model.
        environment: Record of the vision environment, whose library knows its releases.
        offline: Whether nothing may be fetched.

    Raises:
        ModelError: If it is not there, cannot be fetched, or is no release.
        EnvironmentBuildError: If the environment is gone.
        WorkerError: If the process that knows the releases failed.
    """
    file, release = Path(wanted.source), None
    if not file.is_file():
        if file.suffix or len(file.parts) > 1:
            raise ModelError(f"{wanted.keys[0]}: there is no file or folder {file}")
        release = wanted.source
        file = fetched(client.released(release, environment, None), release, offline)
    return Found(file, file.name, files.sha256_file(file), None, release, {})


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
