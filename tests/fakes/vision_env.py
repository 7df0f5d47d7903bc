"""The vision environment of the tests: layered, 121 MB, built once and shared by all processes of pytest."""

import pytest

from stages.lib.core.errors import EnvironmentBuildError
from stages.lib.models.own_environment import Environment
from workflow import own_env
from workflow import vision_env as builder


def built(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """The environment's record; the test is skipped where its packages cannot be had."""
    # The parent is the folder that the processes of pytest-xdist share; the builder lets one of them build.
    folder = tmp_path_factory.getbasetemp().parent / "vision"
    try:
        return own_env.build(builder.ENV, folder, layered=True)
    except EnvironmentBuildError as error:
        pytest.skip(f"the vision environment cannot be built here: {error}")


@pytest.fixture(scope="session")
def vision_environment(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """See `built`."""
    return built(tmp_path_factory)
