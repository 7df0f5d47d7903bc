"""Provenance of the numbers: code, parameters, data, seeds and versions."""

import platform
import subprocess
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import pyarrow as pa

from stages.lib.core import closure, files

PACKAGES = (
    "torch",
    "transformers",
    "peft",
    "bitsandbytes",
    "accelerate",
    "numpy",
    "scipy",
    "scikit-learn",
    "pyarrow",
    "pillow",
    "opencv-python-headless",
    "pydicom",
    "snakemake",
    "dvc",
)


def record(parameters: Mapping[str, Any], manifest: pa.Table, points: pa.Table) -> dict[str, Any]:
    """Everything that decided the numbers, without a clock or a path in it.

    Args:
        parameters: The parameters as given, all sections.
        manifest: Table tables.MANIFEST.
        points: Table tables.POINTS.

    Returns:
        Mapping of: git (as `revision`), parameters, seeds (of each section), data_sha256, versions.
    """
    return {
        "git": revision(),
        "parameters": dict(parameters),
        "seeds": seeds(parameters),
        "data_sha256": data_sha256(manifest, points),
        "versions": versions(),
    }


def seeds(parameters: Mapping[str, Any], within: str = "") -> dict[str, Any]:
    """Every seed of nested parameters by its dotted name.

    >>> seeds({"data": {"split": {"seed": 1, "unit": "patient"}}})
    {'data.split.seed': 1}
    """
    found: dict[str, Any] = {}
    for key, value in parameters.items():
        if isinstance(value, Mapping):
            found |= seeds(value, f"{within}{key}.")
        elif key == "seed" or key.endswith("_seed"):
            found[f"{within}{key}"] = value
    return found


def revision(root: Path = closure.ROOT) -> dict[str, Any] | None:
    """Git revision and whether files differ from it; None if `root` is not the top of a clone."""
    try:
        top, head, changes = (
            subprocess.run(["git", *command], cwd=root, capture_output=True, text=True, check=True, timeout=60).stdout
            for command in (["rev-parse", "--show-toplevel"], ["rev-parse", "HEAD"], ["status", "--porcelain"])
        )
    except (OSError, subprocess.SubprocessError):
        return None
    if Path(top.strip()).resolve() != root.resolve():
        return None
    return {"revision": head.strip(), "dirty": bool(changes.strip())}


def checkout(git: Mapping[str, Any] | None) -> str:
    """What `revision` found, in words.

    >>> checkout({"revision": "c0ffee", "dirty": True}), checkout(None)
    ('c0ffee, with changes that were not committed', 'not a git checkout')
    """
    if not git or not git.get("revision"):
        return "not a git checkout"
    return f"{git['revision']}{', with changes that were not committed' if git.get('dirty') else ''}"


def data_sha256(manifest: pa.Table, points: pa.Table) -> str:
    """A hash of the images' pixels and sizes, their labels, patients and points.

    No path is in it.
    """
    columns = ["image_id", "source", "patient_id", "label", "spacing_mm", "pixel_sha256", "status"]
    return files.sha256_json([manifest.select(columns).to_pydict(), points.to_pydict()])


def versions() -> dict[str, str | None]:
    """Version of Python and of each package that a number may depend on; None if it is not installed."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = None
    return found
