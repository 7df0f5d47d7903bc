"""Build the environment of vision models of other libraries: timm, torchxrayvision, open_clip, at locked versions.

    python -m workflow.vision_env [--folder FOLDER] [--layered | --python PATH] [--out FILE]

An environment that is whole and of the same locks is kept. --layered, for tests, puts only the three libraries and what
they alone want into an environment that takes all else, torch with it, from this one. --python takes an interpreter
that was made by other means (conda, a container) and checks it. FILE is the record that the pipeline reads.
"""

from collections.abc import Sequence
from pathlib import Path

from stages.lib.core import cli
from stages.lib.core.errors import EnvironmentBuildError
from stages.lib.models.own_environment import Environment
from stages.lib.models.vision.worker import __main__ as worker
from workflow import own_env

MEND = "run 'make setup-vision' where the package index can be reached"


def check(python: Path) -> own_env.Versions:
    """Versions that an interpreter finds, after it has imported torch, torchvision and the three libraries.

    Raises:
        EnvironmentBuildError: If it cannot import them, or one of them is not installed as a package.
    """
    found = own_env.versions(python, Path(worker.__file__), "the worker of vision models", MEND)
    absent = sorted(name for name, version in found.items() if version is None)
    if absent:
        raise EnvironmentBuildError(f"{python}: found no {', '.join(absent)}; {MEND}")
    return found


ENV = own_env.OwnEnv(
    name="vision_env",
    folder=Path(".venv-vision"),
    locks=Path(__file__).parent / "envs" / "vision",
    # The three libraries and what they want that the main environment may lack.
    layer=(
        "timm",
        "torchxrayvision",
        "open-clip-torch",
        "scikit-image",
        "imageio",
        "lazy-loader",
        "tifffile",
        "ftfy",
        "wcwidth",
        "requests",
        "urllib3",
        "certifi",
        "charset-normalizer",
        "idna",
    ),
    beside=("torchvision==0.28.0",),  # of torch 2.13, that of the main environment
    mend=MEND,
    check=check,
    told=("timm", "torchxrayvision", "open_clip_torch"),
)


def build(folder: Path, *, layered: bool = False, python: Path | None = None) -> Environment:
    """Record of the environment in `folder`, built if it is not there as its locks say; see `own_env.build`."""
    return own_env.build(ENV, folder, layered=layered, python=python)


def main(argv: Sequence[str] | None = None) -> None:
    """Build the environment, or find it built, and write its record."""
    own_env.main(ENV, __doc__, argv)


if __name__ == "__main__":
    cli.run(main)
