"""A copy of this checkout in a folder of its own, with a study small enough for a test."""

import fcntl
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from importlib.util import cache_from_source
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
CASES = ROOT.parent / "shared" / "data" / "cases"
REAL_IMAGES = ROOT.parent / "shared" / "data" / "nodulocc_mini"  # beside the checkout, where it is given
QUICK_MAP = {
    "steps": 1,
    "shifts": 1,
    "prompts": ["A nodule?"],
    "answers": ["Yes/No"],
    "response_prefixes": [""],
}
SMALL: Mapping[str, Mapping[str, Any]] = {
    "study": {"shards": 1},
    "data.simulate": {"nih_patients": 24, "lidc_images": 6, "lidc_negative_images": 6}
    | {"nih_marked_fraction": 0.3, "unlabelled_images": 4},
    "data.split": {"fractions": [0.5, 0.2, 0.3]},
    "nodules.train": {"max_steps": 4, "eval_steps": 2, "save_steps": 2},
    "nodules.localize": {"views": ["whole", "mirrored"]},
    "nodules.localizers.attribution": QUICK_MAP,
    "nodules.localizers.attribution_tuned": QUICK_MAP,
    "nodules.localizers.medgemma": {"max_new_tokens": 24, "prompts": ["Where are lung nodules? Answer with boxes."]},
    "nodules.measure": {"draws": 100},
}


def copy(target: Path, changes: Mapping[str, Mapping[str, Any] | None] = SMALL) -> Path:
    """Copy the files that git knows or would take into `target`, change some parameters, and commit.

    What is compiled of them goes along, so that the first process of the copy need not compile it anew.
    """
    listed = run(ROOT, "git", "ls-files", "--cached", "--others", "--exclude-standard").splitlines()
    for name in listed:
        source, destination = ROOT / name, target / name
        if source.exists() or source.is_symlink():
            destination.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, destination, follow_symlinks=False)
            if source.suffix == ".py" and (compiled := Path(cache_from_source(str(source)))).exists():
                beside = Path(cache_from_source(str(destination)))
                beside.parent.mkdir(exist_ok=True)
                shutil.copy2(compiled, beside)
    change(target, changes)
    run(target, "git", "init", "-q")
    run(target, "git", "add", "-A")
    run(target, "git", "-c", "user.name=test", "-c", "user.email=test@localhost", "commit", "-qm", "a study")
    return target


def finished(tmp_path_factory: pytest.TempPathFactory, target: Path) -> Path:
    """A small study in `target` that `dvc repro` has run; it runs once for all who ask, and each gets a copy."""
    root = tmp_path_factory.getbasetemp()
    root = root.parent if os.environ.get("PYTEST_XDIST_WORKER") else root
    whole, begun = root / "finished", root / "begun"
    with (root / "finished.lock").open("w") as handle:  # processes of one run share it
        fcntl.flock(handle, fcntl.LOCK_EX)
        if not whole.exists():
            shutil.rmtree(begun, ignore_errors=True)
            run(copy(begun), "dvc", "repro")
            begun.rename(whole)
    run(root, "cp", "-a", str(whole), str(target))
    return target


def change(checkout: Path, changes: Mapping[str, Mapping[str, Any] | None]) -> None:
    """Change parameters in params.yaml; a section is named with dots, and None takes it out."""
    path = checkout / "params.yaml"
    document = yaml.safe_load(path.read_text())
    for section, values in changes.items():
        inside, *names = document, *section.split(".")
        for name in names[:-1]:
            inside = inside[name]
        if values is None:
            del inside[names[-1]]
            continue
        inside = inside[names[-1]]
        unknown = set(values) - set(inside)
        if unknown:
            raise KeyError(f"{section}: params.yaml has no {sorted(unknown)}")
        inside.update(values)
    path.write_text(yaml.safe_dump(document, sort_keys=False))


def run(folder: Path, *command: str, fails: bool = False, **environment: str) -> str:
    """Return what a command prints; it must succeed, or fail if `fails`."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    who = {f"GIT_{role}_{part}": "test@localhost" for role in ("AUTHOR", "COMMITTER") for part in ("NAME", "EMAIL")}
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **who, "PATH": path, "OMP_NUM_THREADS": "1", **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if bool(done.returncode) != fails:
        raise AssertionError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout[-6000:]}")
    return done.stdout


def planned(checkout: Path, *arguments: str) -> set[str]:
    """Names of the rules that Snakemake would run; empty if there is nothing to be done."""
    text = run(checkout, "snakemake", "-n", "--nocolor", *arguments)
    return set(re.findall(r"^(?:local)?rule (\w+):$", text, re.MULTILINE)) - {"all"}
