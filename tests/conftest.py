"""What all tests share: the real images if they are there, and what a skipped test means."""

import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from checkout import CASES, REAL_IMAGES
from chexagent_environment import chexagent_environment  # noqa: F401
from chromium import browser  # noqa: F401
from hypothesis import HealthCheck, settings
from real_server import real_server  # noqa: F401
from slurm_cluster import slurm_cluster  # noqa: F401
from tiny_base import tiny_base, tiny_study, trained  # noqa: F401
from tiny_cases import tiny_cases  # noqa: F401
from vision_env import vision_environment  # noqa: F401

from stages.lib.images import pseudonym

# Pseudonyms of tests have a key of their own: that of the user is never touched.
KEY = Path(tempfile.gettempdir()) / f"noduleflow-test-{os.getuid()}.key"
os.environ["NODULEFLOW_PSEUDONYM_KEY"] = str(KEY)
pseudonym.key()  # one process makes it, whichever is first

# Tests start Python some thousand times; what it compiles is kept, whatever the shell says, and so are the tests.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# A busy machine is no reason for a property test to fail.
settings.register_profile("project", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("project")

collect_ignore = ["fakes/standin_model"]  # runs under another transformers, in a process of its own


# Files of minutes, longest first: handed out in this order, so that no process is left with a long one at the end.
# test_systems takes up the study that test_engines has made, so it stands well behind it.
LONGEST = (
    *(f"study/test_{name}" for name in ("engines", "zoo_demo", "seeds", "lofi", "findings_demo", "findings")),
    *(f"study/test_{name}" for name in ("zoo", "systems", "slurm", "findings_endpoints", "real_images")),
    "study/test_zoo_libraries",
    *(f"lib/models/test_{name}" for name in ("chexagent", "vision")),
    *("lib/learn/test_zoo_chexagent", "nodules/test_train", "weights/test_served_base", "weights/test_lofi_base"),
)
PLACES = {Path(__file__).parent / f"{name}.py": place for place, name in enumerate(LONGEST)}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out tests of what cannot be here, images that are not part of the project and a GPU; long files first."""
    absent = {
        name
        for name, here in (
            ("real_images", REAL_IMAGES.is_dir()),
            ("cases", CASES.is_dir()),
            ("gpu", shutil.which("nvidia-smi") is not None),
        )
        if not here
    }
    left_out = [item for item in items if absent & {mark.name for mark in item.iter_markers()}]
    config.hook.pytest_deselected(items=left_out)
    kept = [item for item in items if item not in left_out]
    items[:] = sorted(kept, key=lambda item: PLACES.get(item.path, len(PLACES)))


def pytest_terminal_summary(terminalreporter, exitstatus: int, config: pytest.Config) -> None:
    """Say why each skipped test was skipped."""
    for report in terminalreporter.stats.get("skipped", []):
        terminalreporter.write_line(f"skipped: {report.nodeid}: {report.longrepr[2]}")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Make a skipped test a failure where NODULEFLOW_NO_SKIPS is set."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped: Sequence[object] = reporter.stats.get("skipped", []) if reporter else []
    if skipped and os.environ.get("NODULEFLOW_NO_SKIPS"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture
def real_images() -> Path:
    """The folder of real images; only for tests marked `real_images`."""
    return REAL_IMAGES
