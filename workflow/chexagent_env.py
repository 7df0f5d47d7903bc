"""Build CheXagent-2's own environment: transformers 4.40.0 and its dependencies, at locked versions.

    python -m workflow.chexagent_env [--folder FOLDER] [--layered | --python PATH] [--out FILE]

An environment that is whole and of the same locks is kept. --layered, for tests, puts only the pinned
packages into an environment that takes all else, torch with it, from this one. --python takes an interpreter that was
made by other means (conda, a container) and checks it. FILE is the record that the pipeline reads.
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

from stages.lib.core import cli, documents, files
from stages.lib.core.errors import DocumentError, EnvironmentBuildError
from stages.lib.core.log import LOG
from stages.lib.models.chexagent import worker
from stages.lib.models.chexagent.records import Environment, Kind

LOCKS = Path(__file__).parent / "envs" / "chexagent2"
FOLDER = Path(".venv-chexagent2")
READY = "ready.json"
PYTHONS = ((3, 12), (3, 11))  # tokenizers 0.19.1 has no wheel for a newer one
# What transformers 4.40.0 and its pins bring with them; the rest of the lock is in the main environment too.
LAYER = (
    "transformers",
    "tokenizers",
    "huggingface-hub",
    "requests",
    "urllib3",
    "certifi",
    "charset-normalizer",
    "idna",
)
MEND = "run 'make setup-chexagent' where the package index can be reached"


def build(folder: Path, *, layered: bool = False, python: Path | None = None) -> Environment:
    """Record of the environment in `folder`, built if it is not there as its locks say.

    Args:
        folder: Where it is, or shall be.
        layered: Whether to take all but the pinned packages from the environment that runs this.
        python: An interpreter made by other means, to be checked and recorded in `folder`.

    Returns:
        What was built or found.

    Raises:
        EnvironmentBuildError: If no fit Python is found, a package cannot be had, or what was built is not as wanted.
    """
    import fcntl

    folder = folder.absolute()
    kind: Kind = "given" if python else "layered" if layered else "full"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f"{folder.name}.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        if python is None and (found := ready(folder)):
            return found
        if folder.exists():
            _remove(folder)
        own = python.absolute() if python else _venv(folder, _python(layered))
        if layered:
            _install_layer(own)
        elif python is None:
            _install(own)
        record = Environment(python=_from_here(own), kind=kind, locks=digest(), versions=check(own))
        folder.mkdir(exist_ok=True)
        documents.write(folder / READY, record)
        return record


def ready(folder: Path) -> Environment | None:
    """Record of an environment that was built whole and of the locks as they are now, else None."""
    try:
        record = documents.read(folder / READY, Environment)
    except DocumentError:
        return None
    return record if record.locks == digest() and record.python.exists() else None


def digest() -> str:
    """A hash of the lock files."""
    return files.sha256_json([files.sha256_file(path) for path in sorted(LOCKS.glob("*.lock"))])[:16]


def check(python: Path) -> dict[str, str | None]:
    """Versions that an interpreter finds, after it has imported torch and transformers.

    Raises:
        EnvironmentBuildError: If it cannot import them, or transformers is another one.
    """
    program = Path(worker.__file__).resolve()
    done = subprocess.run(
        [str(python), "-I", str(program), "--versions"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        found: dict[str, str | None] = json.loads(done.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        raise EnvironmentBuildError(
            f"{python} cannot run CheXagent-2's worker; {MEND}:\n{done.stderr[-2000:]}"
        ) from None
    if found["transformers"] != worker.TRANSFORMERS:
        raise EnvironmentBuildError(
            f"{python}: found transformers {found['transformers']}, wanted exactly {worker.TRANSFORMERS}"
        )
    return found


def fit_python(version: tuple[int, int] = sys.version_info[:2]) -> str | None:
    """An interpreter that the pins have wheels for, this one (of `version`) first; None without one."""
    if version in PYTHONS:
        return sys.executable
    return next(filter(None, (shutil.which(f"python{major}.{minor}") for major, minor in PYTHONS)), None)


def layer_of(text: str) -> str:
    """A lock file's text with only the packages of the layer.

    >>> layer_of("idna==3 \\\\\\n    --hash=x\\nnumpy==2 \\\\\\n    --hash=y\\n")
    'idna==3 \\\\\\n    --hash=x\\n'
    """
    blocks = re.split(r"^(?=\S)", text, flags=re.MULTILINE)
    return "".join(block for block in blocks if re.split(r"[=\s]", block, maxsplit=1)[0] in LAYER)


def _from_here(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _python(layered: bool) -> str:
    names = " or ".join(f"{major}.{minor}" for major, minor in PYTHONS)
    found = fit_python()
    if found is None or (layered and found != sys.executable):
        raise EnvironmentBuildError(
            f"CheXagent-2 wants Python {names}, since its tokenizers has no wheel for a newer one; found "
            f"{sys.version.split()[0]}: install one of them, or give one with --python"
        )
    return found


def _venv(folder: Path, python: str) -> Path:
    LOG.info("chexagent_env: making %s with %s", folder, python)
    _run([python, "-m", "venv", "--without-pip", str(folder)])
    return folder / "bin" / "python"


def _install(python: Path) -> None:
    _pip(python, "-r", str(LOCKS / "requirements-torch.lock"))
    _pip(python, "--no-deps", "--require-hashes", "-r", str(LOCKS / "requirements.lock"))


def _install_layer(python: Path) -> None:
    home = python.parents[1]
    chosen = home / "layer.lock"
    chosen.write_text(layer_of((LOCKS / "requirements.lock").read_text()))
    _pip(python, "--no-deps", "--require-hashes", "-r", str(chosen))
    (packages,) = home.glob("lib/python*/site-packages")
    below = dict.fromkeys([sysconfig.get_path("purelib"), sysconfig.get_path("platlib")])
    (packages / "below.pth").write_text("".join(f"{path}\n" for path in below))


def _pip(python: Path, *what: str) -> None:
    LOG.info("chexagent_env: installing %s", what[-1])
    options = ["--quiet", "--no-input", "--disable-pip-version-check"]
    _run([sys.executable, "-m", "pip", "--python", str(python), "install", *options, *what])


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        raise EnvironmentBuildError(f"'{' '.join(command)}' failed; {MEND}:\n{(done.stderr or done.stdout)[-2000:]}")


def _remove(folder: Path) -> None:
    if not (folder / "pyvenv.cfg").is_file() and not (folder / READY).is_file() and any(folder.iterdir()):
        raise EnvironmentBuildError(f"{folder} is no environment; move it away, or name another folder with --folder")
    shutil.rmtree(folder)


def main(argv: Sequence[str] | None = None) -> None:
    """Build the environment, or find it built, and write its record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=FOLDER, help=f"where it shall be; {FOLDER} if left out")
    way = parser.add_mutually_exclusive_group()
    way.add_argument("--layered", action="store_true", help="on top of this environment")
    way.add_argument("--python", type=Path, metavar="PATH", help="an interpreter made by other means")
    parser.add_argument("--out", metavar="FILE", help="write the record there as well")
    args = parser.parse_args(argv)
    record = build(args.folder, layered=args.layered, python=args.python)
    LOG.info("chexagent_env: %s, %s, transformers %s", record.python, record.kind, record.versions["transformers"])
    if args.out:
        documents.write(args.out, record)


if __name__ == "__main__":
    cli.run(main)
