"""Build CheXagent-2's own environment: transformers 4.40.0 and its dependencies, at locked versions.

    python -m workflow.chexagent_env [--folder FOLDER] [--layered | --python PATH] [--out FILE]

An environment that is whole and of the same locks is kept. --layered, for tests, puts only the pinned
packages into an environment that takes all else, torch with it, from this one. --python takes an interpreter that was
made by other means (conda, a container) and checks it. FILE is the record that the pipeline reads.
"""

from collections.abc import Sequence
from pathlib import Path

from stages.lib.core import cli
from stages.lib.core.errors import EnvironmentBuildError
from stages.lib.models.chexagent import __main__ as program
from stages.lib.models.chexagent.worker import TRANSFORMERS
from stages.lib.models.own_environment import Environment
from workflow import own_env

MEND = "run 'make setup-chexagent' where the package index can be reached"


def check(python: Path) -> own_env.Versions:
    """Versions that an interpreter finds, after it has imported torch and transformers.

    Raises:
        EnvironmentBuildError: If it cannot import them, or transformers is another one.
    """
    found = own_env.versions(python, Path(program.__file__), "CheXagent-2's worker", MEND)
    if found["transformers"] != TRANSFORMERS:
        raise EnvironmentBuildError(
            f"{python}: found transformers {found['transformers']}, wanted exactly {TRANSFORMERS}"
        )
    return found


ENV = own_env.OwnEnv(
    name="chexagent_env",
    folder=Path(".venv-chexagent2"),
    locks=Path(__file__).parent / "envs" / "chexagent2",
    # What transformers 4.40.0 and its pins bring with them; the rest of the lock is in the main environment too.
    layer=(
        "transformers",
        "tokenizers",
        "huggingface-hub",
        "requests",
        "urllib3",
        "certifi",
        "charset-normalizer",
        "idna",
    ),
    pythons=((3, 12), (3, 11)),
    wants="CheXagent-2 wants Python {}, since its tokenizers has no wheel for a newer one",
    mend=MEND,
    check=check,
    told=("transformers",),
)


def build(folder: Path, *, layered: bool = False, python: Path | None = None) -> Environment:
    """Record of the environment in `folder`, built if it is not there as its locks say; see `own_env.build`."""
    return own_env.build(ENV, folder, layered=layered, python=python)


def main(argv: Sequence[str] | None = None) -> None:
    """Build the environment, or find it built, and write its record."""
    own_env.main(ENV, __doc__, argv)


if __name__ == "__main__":
    cli.run(main)
