"""Build a model's own environment from its lock files: what `workflow.chexagent_env` and `workflow.vision_env` share.

An environment that is whole and of the same locks is kept. A layered one, for tests, holds only the named packages and
takes all else, torch with it, from the environment that runs this. Two builders of one folder wait for each other.
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from stages.lib.core import documents, files
from stages.lib.core.errors import DocumentError, EnvironmentBuildError
from stages.lib.core.locks import locked
from stages.lib.core.log import LOG
from stages.lib.models.own_environment import Environment, Kind, Unbuilt

READY = "ready.json"
Versions = dict[str, str | None]


@dataclass(frozen=True, kw_only=True)
class OwnEnv:
    """An environment that can be built.

    Attributes:
        name: Name of its module, before its lines in the log.
        folder: Where it is unless another folder is named.
        locks: Folder of requirements-torch.lock and requirements.lock.
        layer: Packages of requirements.lock that the layered one has of its own.
        beside: Requirements of the layered one that are not in requirements.lock, installed without a hash.
        pythons: Versions of Python that its packages have wheels for; empty for the Python that runs this.
        wants: Who wants such a Python and why, for the error; {} stands for the versions.
        mend: What to do if a package cannot be had or the folder is damaged.
        check: Versions that an interpreter finds; raises EnvironmentBuildError unless they serve.
        told: The packages whose versions are told when it is built.
    """

    name: str
    folder: Path
    locks: Path
    layer: Collection[str]
    beside: tuple[str, ...] = ()
    pythons: tuple[tuple[int, int], ...] = ()
    wants: str = ""
    mend: str
    check: Callable[[Path], Versions]
    told: tuple[str, ...]


def build(env: OwnEnv, folder: Path, *, layered: bool = False, python: Path | None = None) -> Environment:
    """Record of the environment in `folder`, built if it is not there as its locks say.

    Args:
        env: Which one.
        folder: Where it is, or shall be.
        layered: Whether to take all but the packages of the layer from the environment that runs this.
        python: An interpreter made by other means, to be checked and recorded in `folder`.

    Returns:
        What was built or found.

    Raises:
        EnvironmentBuildError: If no fit Python is found, a package cannot be had, or what was built is not as wanted.
    """
    folder = folder.absolute()
    kind: Kind = "given" if python else "layered" if layered else "full"
    with locked(folder.with_name(f"{folder.name}.lock"), f"the environment {folder.name}"):
        if python is None and (found := ready(env, folder)):
            return found
        if folder.exists():
            _remove(folder)
        own = python.absolute() if python else _venv(env, folder, _python(env, layered))
        if layered:
            _install_layer(env, own)
        elif python is None:
            _install(env, own)
        record = Environment(python=_from_here(own), kind=kind, locks=digest(env), versions=env.check(own))
        folder.mkdir(exist_ok=True)
        documents.write(folder / READY, record)
        return record


def ready(env: OwnEnv, folder: Path) -> Environment | None:
    """Record of an environment that was built whole and of the locks as they are now, else None."""
    try:
        record = documents.read(folder / READY, Environment)
    except DocumentError:
        return None
    return record if record.locks == digest(env) and record.python.exists() else None


def digest(env: OwnEnv) -> str:
    """A hash of the lock files."""
    return files.sha256_json([files.sha256_file(path) for path in sorted(env.locks.glob("*.lock"))])[:16]


def versions(python: Path, program: Path, whose: str, mend: str) -> Versions:
    """Versions that a worker finds in an interpreter, after it has imported what its model needs.

    Args:
        python: The interpreter.
        program: File of the worker, which prints them when it is run with --versions.
        whose: The worker, for the error.
        mend: What to do, for the error.

    Raises:
        EnvironmentBuildError: If it cannot import them.
    """
    done = subprocess.run(
        [str(python), "-I", str(program.resolve()), "--versions"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        found: Versions = json.loads(done.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        raise EnvironmentBuildError(f"{python} cannot run {whose}; {mend}:\n{done.stderr[-2000:]}") from None
    return found


def fit_python(env: OwnEnv, version: tuple[int, int] = sys.version_info[:2]) -> str | None:
    """An interpreter that the pins have wheels for, this one (of `version`) first; None without one."""
    if not env.pythons or version in env.pythons:
        return sys.executable
    return next(filter(None, (shutil.which(f"python{major}.{minor}") for major, minor in env.pythons)), None)


def layer_of(text: str, layer: Collection[str]) -> str:
    """A lock file's text with only the packages of a layer.

    >>> layer_of("idna==3 \\\\\\n    --hash=x\\nnumpy==2 \\\\\\n    --hash=y\\n", ["idna"])
    'idna==3 \\\\\\n    --hash=x\\n'
    """
    blocks = re.split(r"^(?=\S)", text, flags=re.MULTILINE)
    return "".join(block for block in blocks if re.split(r"[=\s]", block, maxsplit=1)[0] in layer)


def _from_here(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _python(env: OwnEnv, layered: bool) -> str:
    found = fit_python(env)
    if found is None or (layered and found != sys.executable):
        names = " or ".join(f"{major}.{minor}" for major, minor in env.pythons)
        raise EnvironmentBuildError(
            f"{env.wants.format(names)}; found {sys.version.split()[0]}: install one of them, or give one with --python"
        )
    return found


def _venv(env: OwnEnv, folder: Path, python: str) -> Path:
    LOG.info("%s: making %s with %s", env.name, folder, python)
    _run(env, [python, "-m", "venv", "--without-pip", str(folder)])
    return folder / "bin" / "python"


def _install(env: OwnEnv, python: Path) -> None:
    _pip(env, python, "-r", str(env.locks / "requirements-torch.lock"))
    _pip(env, python, "--no-deps", "--require-hashes", "-r", str(env.locks / "requirements.lock"))


def _install_layer(env: OwnEnv, python: Path) -> None:
    home = python.parents[1]
    chosen = home / "layer.lock"
    chosen.write_text(layer_of((env.locks / "requirements.lock").read_text(), env.layer))
    _pip(env, python, "--no-deps", "--require-hashes", "-r", str(chosen))
    if env.beside:
        _pip(env, python, "--no-deps", *env.beside)
    (packages,) = home.glob("lib/python*/site-packages")
    below = dict.fromkeys([sysconfig.get_path("purelib"), sysconfig.get_path("platlib")])
    (packages / "below.pth").write_text("".join(f"{path}\n" for path in below))


def _pip(env: OwnEnv, python: Path, *what: str) -> None:
    LOG.info("%s: installing %s", env.name, what[-1])
    options = ["--quiet", "--no-input", "--disable-pip-version-check"]
    _run(env, [sys.executable, "-m", "pip", "--python", str(python), "install", *options, *what])


def _run(env: OwnEnv, command: Sequence[str]) -> None:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        words = (done.stderr or done.stdout)[-2000:]
        raise EnvironmentBuildError(f"'{' '.join(command)}' failed; {env.mend}:\n{words}")


def _remove(folder: Path) -> None:
    if not (folder / "pyvenv.cfg").is_file() and not (folder / READY).is_file() and any(folder.iterdir()):
        raise EnvironmentBuildError(f"{folder} is no environment; move it away, or name another folder with --folder")
    shutil.rmtree(folder)


def main(env: OwnEnv, doc: str | None, argv: Sequence[str] | None = None) -> None:
    """Build the environment, or find it built, and write its record.

    Args:
        env: Which one.
        doc: Docstring of its module: the text of `--help`.
        argv: Arguments, without the program's name; None for those of the process.
    """
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=env.folder, help=f"where it shall be; {env.folder} if left out")
    way = parser.add_mutually_exclusive_group()
    way.add_argument("--layered", action="store_true", help="on top of this environment")
    way.add_argument("--python", type=Path, metavar="PATH", help="an interpreter made by other means")
    parser.add_argument("--out", metavar="FILE", help="write the record there as well")
    parser.add_argument("--missing", action="store_true", help="if it cannot be built, write why to FILE, and go on")
    args = parser.parse_args(argv)
    try:
        record = build(env, args.folder, layered=args.layered, python=args.python)
    except EnvironmentBuildError as error:
        if not (args.missing and args.out):
            raise
        LOG.error("%s", error)
        documents.write(args.out, Unbuilt(missing=str(error)))
        return
    told = ", ".join(f"{name} {record.versions[name]}" for name in env.told)
    LOG.info("%s: %s, %s, %s", env.name, record.python, record.kind, told)
    if args.out:
        documents.write(args.out, record)
