"""Folders that are whole or absent: a checkpoint is complete when its COMMIT file, written last, says so.

COMMIT holds the SHA-256 of every other file, so a torn write and a flipped byte are both found.
"""

import json
import os
import re
import shutil
from collections.abc import Collection
from pathlib import Path

from stages.lib.core import files
from stages.lib.core.log import LOG

COMMIT = "COMMIT"
NAME = re.compile(r"checkpoint-(\d+)")


def commit(folder: Path) -> None:
    """Force every file of `folder` to the disk and write its COMMIT, which makes the folder a complete checkpoint."""
    sums = {}
    for path in _contents(folder):
        with path.open("rb") as handle:
            os.fsync(handle.fileno())
        sums[str(path.relative_to(folder))] = files.sha256_file(path)
    files.write_json(folder / COMMIT, sums)
    files.sync_folder(folder)


def problem(folder: Path) -> str | None:
    """What is wrong with a checkpoint, or None if it is complete and its bytes are as they were written."""
    try:
        sums = json.loads((folder / COMMIT).read_text())
    except FileNotFoundError:
        return f"it has no {COMMIT}: writing it was interrupted"
    except (OSError, ValueError) as error:
        return f"its {COMMIT} cannot be read ({error})"
    found = {str(path.relative_to(folder)) for path in _contents(folder)}
    if not isinstance(sums, dict) or set(sums) - found:
        return f"files are missing: {sorted(set(sums) - found)}" if isinstance(sums, dict) else f"odd {COMMIT}"
    changed = [name for name, digest in sums.items() if files.sha256_file(folder / name) != digest]
    return f"bytes have changed in {changed}" if changed else None


def complete(root: Path) -> list[Path]:
    """Complete checkpoints below `root`, oldest step first; set broken ones aside, and say so.

    A broken `checkpoint-40` becomes `broken-checkpoint-40`, so that it is neither used nor lost.
    """
    good = []
    for folder in sorted(filter(_is_checkpoint, root.glob("*")), key=step):
        reason = problem(folder)
        if reason is None:
            good.append(folder)
            continue
        aside = folder.with_name(f"broken-{folder.name}")
        if aside.exists():
            shutil.rmtree(aside)
        folder.rename(aside)
        LOG.warning("warning: checkpoint %s is set aside as %s: %s", folder, aside.name, reason)
    return good


def step(folder: Path) -> int:
    """Optimizer step that a checkpoint was written after; -1 of a folder that is no checkpoint.

    >>> step(Path("checkpoints/checkpoint-40")), step(Path("checkpoints/broken-checkpoint-40"))
    (40, -1)
    """
    match = NAME.fullmatch(folder.name)
    return int(match[1]) if match else -1


def prune(root: Path, keep: int, spare: Collection[int]) -> None:
    """Delete the oldest complete checkpoints below `root` until `keep` are left, not counting the steps to `spare`.

    COMMIT goes first, so that a checkpoint half deleted is not taken for a whole one.
    """
    done = sorted((f for f in root.glob("*") if _is_checkpoint(f) and (f / COMMIT).exists()), key=step)
    for folder in [folder for folder in done if step(folder) not in spare][:-keep]:
        (folder / COMMIT).unlink()
        shutil.rmtree(folder)


def _contents(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name != COMMIT)


def _is_checkpoint(folder: Path) -> bool:
    return folder.is_dir() and NAME.fullmatch(folder.name) is not None
