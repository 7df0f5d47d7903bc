"""CheXagent-2's environment on top of this one: about 110 MB, built once for all that ask the stand-in."""

import os

import pytest

from stages.lib.core.errors import EnvironmentBuildError
from stages.lib.models.own_environment import Environment
from workflow import chexagent_env


@pytest.fixture(scope="session")
def chexagent_environment(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """The layered environment; processes of one run share it, as its builder lets one build it and the others wait."""
    root = tmp_path_factory.getbasetemp()
    root = root.parent if os.environ.get("PYTEST_XDIST_WORKER") else root
    try:
        return chexagent_env.build(root / "chexagent_environment", layered=True)
    except EnvironmentBuildError as error:
        pytest.skip(f"the environment of CheXagent-2 cannot be built here: {error}")
