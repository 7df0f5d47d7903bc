"""Write requirements.lock: the exact version and the hashes of every package that pyproject.toml leads to.

The same is done for environments of their own, from the requirements.in in each: CheXagent-2's, and that of vision
models of other libraries.

    python -m workflow.lock [--upgrade]

Versions that are locked already are kept where they still fit; --upgrade takes the newest. torch and what only its CUDA
build wants are left out, since their files differ from machine to machine: requirements-torch.lock names the version of
torch that was resolved against, and it is installed first. Wants uv and a package index.
"""

import argparse
import re
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from stages.lib.core import cli, files
from stages.lib.core.errors import NoduleflowError

LOCK, TORCH = "requirements.lock", "requirements-torch.lock"
OWN = ("workflow/envs/chexagent2", "workflow/envs/vision")
PYTHON = "3.11"
OF_TORCH = re.compile(r"torch|torchvision|triton|cuda-.*|nvidia-(?!ml-py$).*")
HEADER = """\
# Every package but torch, with hashes, for Python {python} or newer. Written by 'make lock' from {source}.
#   pip install -r {torch}
#   pip install --no-deps --require-hashes -r {lock}
"""


def without_torch(text: str) -> str:
    """A lock file's text without torch and the packages of its CUDA build; its other dependencies stay.

    >>> without_torch("a==1 \\\\\\n    --hash=x\\ntorch==2 \\\\\\n    --hash=y\\n    # via a\\nnvidia-ml-py==3 \\\\\\n")
    'a==1 \\\\\\n    --hash=x\\nnvidia-ml-py==3 \\\\\\n'
    """
    blocks = re.split(r"^(?=\S)", text, flags=re.MULTILINE)
    return "".join(block for block in blocks if not OF_TORCH.fullmatch(re.split(r"[=\s]", block, maxsplit=1)[0]))


def lock(root: Path, upgrade: bool, source: str = "pyproject.toml") -> str:
    """Text of the lock file in `root`.

    Args:
        root: Folder of the lock files.
        upgrade: Whether to take the newest versions.
        source: File in it that names the packages.

    Raises:
        NoduleflowError: If uv is not installed, or finds no set of versions that fits.
    """
    with tempfile.TemporaryDirectory() as folder:
        resolved = Path(folder) / LOCK
        if (root / LOCK).is_file():
            resolved.write_bytes((root / LOCK).read_bytes())
        command = ["uv", "pip", "compile", source, "--constraints", TORCH]
        # A lock without torch among its sources has to resolve what torch wants as well.
        command += ["--extra", "dev"] if source == "pyproject.toml" else [TORCH]
        command += ["--universal", "--fork-strategy", "fewest", "--python-version", PYTHON, "--generate-hashes"]
        command += ["--no-header", "--no-annotate", "--quiet", "--output-file", str(resolved)]
        command += ["--upgrade"] if upgrade else []
        try:
            subprocess.run(command, cwd=root, check=True, capture_output=True, text=True)
        except FileNotFoundError as error:
            raise NoduleflowError("uv is not installed; 'pip install uv' brings it") from error
        except subprocess.CalledProcessError as error:
            raise NoduleflowError(f"uv found no lock:\n{error.stderr}") from error
        return HEADER.format(python=PYTHON, source=source, torch=TORCH, lock=LOCK) + without_torch(resolved.read_text())


def main(argv: Sequence[str] | None = None) -> None:
    """Resolve and write the lock files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--upgrade", action="store_true", help="take the newest versions")
    args = parser.parse_args(argv)
    files.write_bytes(LOCK, lock(Path(), args.upgrade).encode())
    for folder in map(Path, OWN):
        files.write_bytes(folder / LOCK, lock(folder, args.upgrade, "requirements.in").encode())


if __name__ == "__main__":
    cli.run(main)
