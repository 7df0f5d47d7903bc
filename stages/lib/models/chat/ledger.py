"""Ledger: every try to get an answer, kept for good, so that no answer is paid for twice.

A ledger is a folder of one arm or judge, `<root>/answer/<arm>` or `<root>/judge/<judge>`, with a file of JSON lines per
shard. A file has one writer and is only ever added to. An answer is looked for in all files of the folder, so another
number of shards finds what the last one asked for; of two good answers to one request the first by file and line is
taken. Answers are found by the key of their request, so a ledger of other parameters has none that fits.

Each line ends with the CRC-32 of what stands before it, which finds every flipped byte. A last line without its line
break was torn by a killed process: it is dropped and counted, and the next writer of the file cuts it off.
"""

import fcntl
import json
import os
import time
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from stages.lib.core import files
from stages.lib.core.errors import LedgerError
from stages.lib.core.log import LOG
from stages.lib.models.chat.request import Reply, Request, Usage

VARIABLE = "NODULEFLOW_LEDGER"
DEFAULT = Path("results/findings/ledger")
SEAL = b',"crc":"00000000"}'  # how a line ends
SYNC_SECONDS = 1.0  # between writes to the disk itself; a killed process loses none of them, a power cut at most these


def root() -> Path:
    """Folder of all ledgers: the environment's, or the one in results."""
    return Path(os.environ.get(VARIABLE) or DEFAULT)


def sealed(record: dict[str, Any]) -> bytes:
    """A record as a line, with its checksum and its line break.

    >>> sealed({"a": 1})
    b'{"a":1,"crc":"561bacaf"}\\n'
    """
    body = json.dumps(record, ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode()
    return body[:-1] + b',"crc":"%08x"}\n' % zlib.crc32(body)


def opened(line: bytes) -> dict[str, Any] | None:
    """Record of a line, without its line break; None if a byte of it is not as it was written."""
    body, seal = line[: -len(SEAL)] + b"}", line[-len(SEAL) :]
    if seal != b',"crc":"%08x"}' % zlib.crc32(body):
        return None
    record: dict[str, Any] = json.loads(body)
    return record


@dataclass(frozen=True)
class _Place:
    """Where a good answer stands."""

    file: int
    offset: int
    length: int


class Ledger:
    """Answers of one arm or judge; a context that holds its shard's file for itself.

    Attributes:
        folder: Folder of the arm or judge.
        file: The shard's own file.
        torn: Torn last lines that were dropped.
        lines: Whole lines that were found.

    Raises:
        LedgerError: If a line is damaged, or another process writes to the shard's file.
    """

    def __init__(self, folder: Path, shard: str) -> None:
        self.folder, self.file = folder, folder / f"{shard}.jsonl"
        self.torn = self.lines = 0
        self._files: list[Path] = []
        self._places: dict[bytes, _Place] = {}
        self._readers: dict[int, IO[bytes]] = {}
        self._writer: IO[bytes] | None = None
        self._lock: IO[str] | None = None
        self._synced = 0.0

    def __enter__(self) -> "Ledger":
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = _locked(self.file.with_suffix(".lock"))
        try:
            self._files = [*sorted(set(self.folder.glob("*.jsonl")) | {self.file})]
            for number, file in enumerate(self._files):
                whole = self._index(number, file)
                if file == self.file:
                    self._writer = file.open("ab", buffering=0)
                    self._writer.truncate(whole)
        except BaseException:
            self.close()
            raise
        if self.torn:
            LOG.info("%s: %d torn line(s) of killed processes dropped", self.folder, self.torn)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Write to the disk what is not there yet, and let others have the file."""
        if self._writer is not None:
            os.fsync(self._writer.fileno())
            self._writer.close()
        for reader in self._readers.values():
            reader.close()
        if self._lock is not None:
            self._lock.close()
        self._writer, self._lock, self._readers = None, None, {}

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, key: str) -> bool:
        return bytes.fromhex(key) in self._places

    def find(self, key: str) -> Reply | None:
        """Good answer to the request of a key; None if there is none."""
        place = self._places.get(bytes.fromhex(key))
        if place is None:
            return None
        reader = self._readers.get(place.file)
        if reader is None:
            reader = self._readers[place.file] = self._files[place.file].open("rb")
        reader.seek(place.offset)
        record = opened(reader.read(place.length))
        if record is None:
            raise LedgerError(f"{self._files[place.file]}: changed while it was read; run again")
        return _reply(record)

    def write(self, request: Request, reply: Reply, address: str | None = None) -> None:
        """Add the tries of a request: a line for each that failed, and one for what came of it.

        Raises:
            OSError: If the disk is full.
        """
        if self._writer is None:
            raise LedgerError(f"{self.file}: not open")
        same = {"key": request.key, "item": request.item}
        lines = [
            sealed({**same, "status": "retried", "attempt": number, **asdict(failure)})
            for number, failure in enumerate(reply.failures, 1)
        ]
        last = sealed({**same, **_record(request, reply, address)})
        before = b"".join(lines)
        start = self._writer.seek(0, os.SEEK_END)
        offset = start + len(before)
        try:
            _write(self._writer, before + last)
        except OSError:
            self._writer.truncate(start)  # or half a line would stand before the next one
            raise
        if reply.status == "ok":
            number = self._files.index(self.file)
            self._places.setdefault(bytes.fromhex(request.key), _Place(number, offset, len(last) - 1))
        if (now := time.monotonic()) - self._synced > SYNC_SECONDS:
            os.fsync(self._writer.fileno())
            self._synced = now

    def differences(self, requests: Iterable[Request]) -> dict[int, list[str]]:
        """For each of some requests, by number, the fields in which the nearest kept request of its item differs.

        The list is empty for an item that was never asked about.
        """
        wanted: dict[str, list[tuple[int, dict[str, Any]]]] = {}
        for number, request in enumerate(requests):
            wanted.setdefault(request.item, []).append((number, request.fields))
        nearest: dict[int, list[str]] = {number: [] for same in wanted.values() for number, _ in same}
        for record in self.records():
            for number, fields in wanted.get(record["item"], ()) if record["status"] == "ok" else ():
                found = [name for name in fields if fields[name] != record["fields"].get(name)]
                if not nearest[number] or len(found) < len(nearest[number]):
                    nearest[number] = found
        return nearest

    def records(self) -> Iterator[dict[str, Any]]:
        """Each whole line, file by file."""
        for file in self._files:
            for _, _, record in read(file):
                yield record

    def _index(self, number: int, file: Path) -> int:
        """Take in a file; the number of bytes of its whole lines."""
        offset = lines = 0
        for at, length, record in read(file):
            lines += 1
            if record["status"] == "ok":
                self._places.setdefault(bytes.fromhex(record["key"]), _Place(number, at, length))
            offset = at + length + 1
        self.lines += lines
        rest = _rest(file, offset)
        if b"\n" in rest:  # another process goes on writing to its own file
            return offset
        if rest and opened(rest[:-1]) is not None:  # a whole line, but for the byte that should end it
            raise LedgerError(f"{file}, line {lines + 1}: found another byte than a line break behind it")
        self.torn += bool(rest)
        return offset


def read(file: Path) -> Iterator[tuple[int, int, dict[str, Any]]]:
    """Offset, length and record of each line that ends with a line break; nothing of a file that is not there.

    Raises:
        LedgerError: If a line is damaged.
    """
    if not file.exists():
        return
    at = 0
    with file.open("rb") as handle:
        for number, line in enumerate(handle, 1):
            if line.endswith(b"\n"):
                record = opened(line[:-1])
                if record is None:
                    raise LedgerError(
                        f"{file}, line {number}: its checksum is not that of its text; take the line out, and what it "
                        "answered will be asked again"
                    )
                yield at, len(line) - 1, record
            at += len(line)


def sha256_answers(folder: Path) -> str:
    """SHA-256 over the good answers in a folder and all below it, whatever their order and times; 64 digits.

    Raises:
        LedgerError: If a line is damaged.
    """
    found: dict[str, str] = {}
    for file in sorted(folder.rglob("*.jsonl")):
        for _, _, record in read(file):
            if record["status"] == "ok":
                found.setdefault(record["key"], sha256(line_text(record)).hexdigest())
    return files.sha256_json(found)


def line_text(record: dict[str, Any]) -> bytes:
    """What of a line is the answer, without clock readings."""
    kept = {name: record[name] for name in ("text", "finish_reason", "model", "fingerprint", "usage")}
    return json.dumps(kept, sort_keys=True).encode()


def _record(request: Request, reply: Reply, address: str | None) -> dict[str, Any]:
    return {
        "status": reply.status,
        "attempt": reply.attempts,
        "text": reply.text,
        "finish_reason": reply.finish_reason,
        "problem": reply.problem,
        "model": reply.model,
        "fingerprint": reply.fingerprint,
        "usage": asdict(reply.usage),
        "seconds": round(reply.seconds, 6),
        "total_seconds": round(reply.total_seconds, 6),
        "fields": request.fields,
        "address": address,
        "written": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def _reply(record: dict[str, Any]) -> Reply:
    return Reply(
        status=record["status"],
        text=record["text"],
        finish_reason=record["finish_reason"],
        problem=record["problem"],
        model=record["model"],
        fingerprint=record["fingerprint"],
        usage=Usage(**record["usage"]),
        attempts=record["attempt"],
        seconds=record["seconds"],
        total_seconds=record["total_seconds"],
        kept=True,
    )


def _rest(file: Path, offset: int) -> bytes:
    if not file.exists():
        return b""
    with file.open("rb") as handle:
        handle.seek(offset)
        return handle.read()


def _write(handle: IO[bytes], content: bytes) -> None:
    """All of `content`, in one call where the system takes it."""
    view = memoryview(content)
    while view:
        view = view[handle.write(view) :]


def _locked(path: Path) -> IO[str]:
    """A file that this process holds for itself, and that names it.

    Raises:
        LedgerError: If another process holds it.
    """
    handle = path.open("a+")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        handle.seek(0)
        holder = handle.read().strip() or "unknown"
        handle.close()
        raise LedgerError(
            f"{path.with_suffix('.jsonl')}: process {holder} writes to it; wait until it ends, or end it"
        ) from error
    handle.truncate(0)
    handle.write(f"{os.getpid()} on {files.HOST}")
    handle.flush()
    return handle
