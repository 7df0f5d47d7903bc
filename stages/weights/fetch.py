"""Find the base model before any GPU is requested: a folder on this machine, or a snapshot of the hub.

in   a folder, or a model id and revision on huggingface.co
out  fetch.json, as lib.models.snapshot.Snapshot
"""

import io
import json
import os
import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import NoReturn

from stages.lib.core import cli, documents, files, params
from stages.lib.core.errors import ModelError
from stages.lib.core.log import LOG
from stages.lib.models import first_use
from stages.lib.models.snapshot import Snapshot

FOLDER = "none"
HUB_ID = r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*"
COMMIT = r"[0-9a-f]{40}"
# The files that decide the output of a model; a README or a training log beside them does not change its hash.
PATTERNS = (
    "*.safetensors",
    "*.safetensors.index.json",
    "config.json",
    "generation_config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab*",
    "merges.txt",
    "chat_template*",
)
TOKEN_PAGE = "https://huggingface.co/settings/tokens"


WHOLE = ("config.json", "weights", "tokenizer")  # what any model wants
BASE = (*WHOLE, "first use")  # and the base: all that the first use of it would refuse
KINDS = ("weights", "tokenizer", "first use")  # those of them that are no names of files


@dataclass(frozen=True)
class Source:
    """A model to be found, and the files that make it whole.

    Attributes:
        base: A folder, or an id of the hub.
        revision: Commit, tag or branch; "none" for a folder.
        keys: Names of the parameters that hold the two.
        patterns: Names of the files that belong to it, all at the top of its folder, or of `inside`.
        whole: What it needs, of `BASE`, or names of files.
        inside: Folder in a repository of the hub that holds the files; empty for its top.
    """

    base: str
    revision: str
    keys: tuple[str, str] = ("weights.fetch.base", "weights.fetch.revision")
    patterns: Sequence[str] = PATTERNS
    whole: Sequence[str] = BASE
    inside: str = ""

    @property
    def on_hub(self) -> bool:
        """Whether the model comes from the hub, not from a folder."""
        return self.revision != FOLDER


@params.section
class Params:
    """The base model: a folder or a model of the hub."""

    base: params.Text  # a folder, or the id of a model on huggingface.co
    revision: params.Text  # commit hash, tag or branch on the hub; "none" for a folder

    def __post_init__(self) -> None:
        if self.revision != FOLDER and not re.fullmatch(HUB_ID, self.base):
            raise ValueError(
                f"base as organisation/name when revision is {self.revision!r}, found {self.base!r}; "
                f"for a folder write revision: {FOLDER}"
            )

    @property
    def on_hub(self) -> bool:
        """Whether the model comes from the hub, not from a folder."""
        return self.source.on_hub

    @property
    def source(self) -> Source:
        """The base model, to be found."""
        return Source(self.base, self.revision)


def fetch(params: Params | Source, token: str | None, offline: bool) -> Snapshot:
    """Place and identity of the model on this machine; download it if it is not there.

    Args:
        params: Which model.
        token: Read token of the hub; None to use a stored login, if any.
        offline: Whether only the local cache of the hub may be used.

    Returns:
        Its files, hashed.

    Raises:
        ModelError: If it cannot be found or may not be read, or its files are not whole.
    """
    source = params if isinstance(params, Source) else params.source
    root = _snapshot(source, token, offline) if source.on_hub else Path(source.base)
    folder = root / source.inside
    names = _names(source, folder)
    size = sum((folder / name).stat().st_size for name in names)
    LOG.info("fetch: hashing %d files of %s, %.2f GB", len(names), folder, size / 1e9)
    hashes = {name: files.sha256_file(folder / name) for name in names}
    return Snapshot(
        base=source.base,
        revision=source.revision,
        commit=_commit(source, root) if source.on_hub else None,
        folder=folder,
        sha256=files.sha256_json(hashes),
        files=hashes,
    )


def check(params: Params | Source) -> None:
    """Refuse a folder that the first use of its model would refuse; no weights are read.

    Raises:
        ModelError: With all problems.
    """
    source = params if isinstance(params, Source) else params.source
    _names(source, Path(source.base))


def access(params: Params | Source, token: str | None, offline: bool, timeout_s: float) -> str:
    """Whether a model of the hub is available, without fetching it: a small request about each file that it needs.

    Args:
        params: Which model.
        token: Read token of the hub; None to use a stored login, if any.
        offline: Whether only the local cache of the hub may be used.
        timeout_s: How long to wait for the hub, seconds.

    Returns:
        "cached" if it is here, "allowed" if the hub would hand it out, "unreachable" if the hub does not answer.

    Raises:
        ModelError: If the hub refuses, or `offline` forbids to query it.
    """
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    import huggingface_hub

    source = params if isinstance(params, Source) else params.source
    try:
        _names(source, _snapshot(source, token, True) / source.inside)
        return "cached"
    except ModelError:
        if offline:
            raise
    for name in [one for one in source.whole if one not in KINDS] or ["config.json"]:
        url = huggingface_hub.hf_hub_url(source.base, name, subfolder=source.inside or None, revision=source.revision)
        try:
            huggingface_hub.get_hf_file_metadata(url, token=token, timeout=timeout_s)
        except huggingface_hub.errors.RemoteEntryNotFoundError:
            if name in source.whole:
                raise ModelError(no_file(source, name)) from None
        except Exception as error:  # as in _snapshot
            if getattr(error, "response", None) is None:
                return "unreachable"
            _explain(error, source, token, offline)
    return "allowed"


def no_file(source: Source, name: str) -> str:
    """Sentence about a file that a repository of the hub has not.

    >>> no_file(Source("a/b", "main", inside="c"), "d.bin")
    "a/b has no file c/d.bin at 'main'; see https://huggingface.co/a/b/tree/main for those it has"
    """
    path = "/".join(filter(None, (source.inside, name)))
    page = f"https://huggingface.co/{source.base}/tree/{source.revision}"
    return f"{source.base} has no file {path} at {source.revision!r}; see {page} for those it has"


def read_token(environ: Mapping[str, str], dotenv: str | Path = ".env") -> str | None:
    """Hub's token from HF_TOKEN in the environment, else in the file `dotenv`; None if neither has one.

    The file is UTF-8, with or without a byte order mark.

    Raises:
        ModelError: If the file cannot be read or is not UTF-8, or the token holds characters that no token has. The
            message does not repeat it.
    """
    token = environ.get("HF_TOKEN", "").strip()
    place = "the environment"
    if not token:
        from dotenv import dotenv_values

        values = dotenv_values(stream=io.StringIO(_dotenv(Path(dotenv))))
        token, place = (values.get("HF_TOKEN") or "").strip(), str(dotenv)
    if token and not re.fullmatch(r"[\x21-\x7e]+", token):
        raise ModelError(f"HF_TOKEN in {place} holds a blank or a character that no token has; copy it again")
    return token or None


def _dotenv(path: Path) -> str:
    """Text of a .env file; none if there is no such file."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise ModelError(f"{str(path)!r} cannot be read: {error.strerror}") from None
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:  # UTF-16 of plain letters without its mark is UTF-8 too, with zeros between
        utf_16 = content[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\0" in content
        told = " (it is UTF-16, as PowerShell writes it)" if utf_16 else ""
        raise ModelError(f"{str(path)!r} is not UTF-8 text{told}: save it as UTF-8")
    return text


def is_offline(environ: Mapping[str, str]) -> bool:
    """Whether HF_HUB_OFFLINE forbids the network, spelt as the hub's library reads it.

    >>> is_offline({"HF_HUB_OFFLINE": "1"}), is_offline({"HF_HUB_OFFLINE": "0"}), is_offline({})
    (True, False, False)
    """
    return environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")


def _snapshot(source: Source, token: str | None, offline: bool) -> Path:
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    import huggingface_hub

    LOG.info("fetch: %s at %s%s", source.base, source.revision, ", from the local cache only" if offline else "")
    inside = f"{source.inside}/" if source.inside else ""
    try:
        folder = huggingface_hub.snapshot_download(
            source.base,
            revision=source.revision,
            token=token,
            local_files_only=offline,
            allow_patterns=[inside + pattern for pattern in source.patterns],
            ignore_patterns=[f"{inside}*/*"],
        )
    except Exception as error:  # what the network raises is open-ended, and its words may quote the request's headers
        _explain(error, source, token, offline)
    return Path(folder)


def _explain(error: Exception, source: Source, token: str | None, offline: bool) -> NoReturn:
    from huggingface_hub import errors

    base_key, revision_key = source.keys
    page = f"https://huggingface.co/{source.base}"
    login = f"make a read token at {TOKEN_PAGE} and write it to .env as HF_TOKEN=..."
    status = getattr(getattr(error, "response", None), "status_code", None)
    known = token is not None or _stored_login()
    if isinstance(error, errors.GatedRepoError):
        if known:
            text = (
                f"{source.base} is gated, and the account of your token may not read it: log in, accept the licence at "
                f"{page} and run again (a fine-grained token also needs the right to read gated repositories)"
            )
        else:
            text = f"{source.base} is gated, and there is no token: accept the licence at {page}, then {login}"
    elif isinstance(error, errors.RevisionNotFoundError):
        text = f"{source.base} has no revision {source.revision!r}; see {page}/commits/main for those it has"
    elif status == 401 and known:
        text = f"the hub does not accept your token (expired, revoked or mistyped?); {login}"
    elif isinstance(error, errors.RepositoryNotFoundError):
        text = f"there is no model {source.base} on the hub, or it is private and wants a token; look at {page}"
        text += "" if known else f", or {login}"
    elif isinstance(error, errors.LocalEntryNotFoundError) and offline:
        text = (
            f"{source.base} at {source.revision!r} is not whole in the local cache, and HF_HUB_OFFLINE forbids to "
            f"fetch it: run once with HF_HUB_OFFLINE=0, or set {base_key} to a folder and {revision_key} to none"
        )
    elif isinstance(error, errors.LocalEntryNotFoundError | ConnectionError | TimeoutError):
        text = (
            f"the hub cannot be reached, and {source.base} at {source.revision!r} is not whole in the local cache: "
            f"check the network and run again (what was fetched is kept), or set {base_key} to a folder and "
            f"{revision_key} to none"
        )
    else:
        said = " ".join(str(error).split()) or "nothing more is known"
        words = said.replace(token, "the token") if token else said
        text = f"{source.base} could not be fetched (run again: what came is kept): {words}"
    raise ModelError(text) from None


def _stored_login() -> bool:
    import huggingface_hub

    return bool(huggingface_hub.get_token())


def _commit(source: Source, folder: Path) -> str:
    if re.fullmatch(COMMIT, folder.name):
        return folder.name
    raise ModelError(f"{source.base}: the snapshot {folder} is not named after a commit; clear it from the hub's cache")


def _names(source: Source, folder: Path) -> list[str]:
    """Names of the model's files, sorted; refuse a folder where they are not whole."""
    if not folder.is_dir() and source.on_hub and not source.whole:
        return []  # nothing of the repository fits the patterns
    if not folder.is_dir():
        base_key, revision_key = source.keys
        hint = f"; for a model on the hub set {revision_key} to its commit hash, tag or branch"
        raise ModelError(f"{base_key}: there is no folder {folder}{hint if re.fullmatch(HUB_ID, source.base) else ''}")
    names = sorted(p.name for p in folder.iterdir() if p.is_file() and any(fnmatch(p.name, q) for q in source.patterns))
    problems = _problems(folder, names, source.whole)
    if problems:
        raise ModelError("\n".join([f"the model in {folder} cannot be used:", *(f"  - {p}" for p in problems)]))
    return names


def _problems(folder: Path, names: Sequence[str], whole: Sequence[str]) -> list[str]:
    found = [f"{name} is missing" for name in whole if name not in KINDS and name not in names]
    weights = [name for name in names if name.endswith(".safetensors")]
    if "weights" in whole and not weights:
        found.append("there are no weights (*.safetensors)")
    if (
        "tokenizer" in whole
        and "first use" not in whole
        and not any(name.startswith(("tokenizer", "vocab")) for name in names)
    ):
        found.append("there is no tokenizer (tokenizer.json or tokenizer.model)")
    if "first use" in whole:
        found += first_use.problems(folder)
    for name in (name for name in names if name.endswith(".safetensors.index.json")):
        try:
            parts = set(json.loads((folder / name).read_text()).get("weight_map", {}).values())
        except (ValueError, AttributeError, TypeError):
            found.append(f"{name} is not whole JSON; fetch or copy it again")
        else:
            found += [f"{part} is missing, which {name} names" for part in sorted(parts - set(weights))]
    return found + [problem for name in weights if (problem := _damage(folder / name))]


def _damage(path: Path) -> str | None:
    """What is wrong with a file of weights, by its header alone; None if its length is what the header says."""
    size = path.stat().st_size
    with path.open("rb") as handle:
        start = handle.read(8)
        if start == b"version ":
            return f"{path.name} is a pointer of Git LFS, not the weights; run 'git lfs pull' there"
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else size
        text = handle.read(length) if length < size else b""
    try:
        header = json.loads(text)
        wanted = 8 + length + max(v["data_offsets"][1] for k, v in header.items() if k != "__metadata__")
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"{path.name} does not start as a safetensors file; fetch or copy it again"
    return (
        None if size == wanted else f"{path.name} has {size} bytes, its header wants {wanted}; fetch or copy it again"
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Find the model and write its record."""
    args = cli.parse(__doc__, argv, params={"weights.fetch": Params}, writes=["out"])
    section: Params = args.params.fetch
    token = read_token(os.environ) if section.on_hub else None
    documents.write(args.out, fetch(section, token, is_offline(os.environ)))


if __name__ == "__main__":
    cli.run(main)
