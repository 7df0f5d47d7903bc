"""Imports run downwards only: the contracts of pyproject.toml hold, and each one notices a violation."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PLANTED = [
    ("stages", "stages/nodules/submit.py", "import stages.report"),
    ("stages", "stages/lib/core/files.py", "import workflow.costs"),
    ("rooms", "stages/lib/metrics/binary.py", "import stages.lib.learn.samplers"),
    ("rooms", "stages/lib/metrics/binary.py", "import stages.lib.images.geometry"),
    ("rooms", "stages/lib/attic/__init__.py", '"""A room without a floor."""'),
    ("chapters", "stages/nodules/submit.py", "import stages.data.split"),
    ("torch", "stages/lib/report/charts.py", "def draw():\n    import torch"),
    ("command", "stages/lib/detect/driver.py", "from argparse import Namespace"),
    ("command", "stages/lib/models/prompts.py", "from stages.lib.core import cli"),
    ("demo", "stages/findings/answer.py", "def answer_demo():\n    import stages.lib.demo.tiny"),
    ("demo", "stages/nodules/train.py", "def train_demo():\n    import stages.lib.demo.tiny"),
    ("process", "stages/lib/models/vision/worker/model.py", "def read():\n    import stages.lib.core.errors"),
    ("process", "stages/lib/models/vision/worker/channel.py", "from stages.lib.models import prompts"),
    ("process", "stages/lib/models/vision/worker/small_files.py", "from stages.lib.models.vision import client"),
    (
        "process",
        "stages/lib/models/chexagent/worker.py",
        "from stages.lib.models.chexagent import facts",
    ),
    ("process", "stages/lib/models/own_process.py", "def worker():\n    from stages.lib.models import isolation"),
]


def lint(folder: Path, contract: str) -> subprocess.CompletedProcess[str]:
    """Run one contract on the packages of `folder`."""
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache", "--contract", contract]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for name in ("stages", "workflow"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "*.safetensors"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


@pytest.mark.parametrize(("contract", "path", "line"), PLANTED)
def test_a_planted_violation_is_found(checkout: Path, contract: str, path: str, line: str) -> None:
    assert lint(checkout, contract).returncode == 0
    file = checkout / path
    file.parent.mkdir(exist_ok=True)
    file.write_text((file.read_text() if file.exists() else "") + f"\n{line}\n")
    done = lint(checkout, contract)
    assert done.returncode == 1
    assert "BROKEN" in done.stdout or "Missing layer" in done.stdout + done.stderr, done.stdout + done.stderr
