"""The locked versions are those that pyproject.toml asks for."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

LOCKED = dict(
    re.findall(
        r"^([A-Za-z0-9_.-]+)==([^\s;]+)",
        "\n".join(Path(name).read_text() for name in ("requirements.lock", "requirements-torch.lock")),
        flags=re.MULTILINE,
    )
)
PROJECT = tomllib.loads(Path("pyproject.toml").read_text())["project"]
WANTED = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["dev"]]


@pytest.mark.parametrize("line", WANTED)
def test_each_package_of_the_project_is_locked_at_a_version_that_it_allows(line: str) -> None:
    wanted = Requirement(line)
    name = re.sub(r"[-_.]+", "-", wanted.name).lower()
    assert name in LOCKED, f"{name} is in pyproject.toml and not in requirements.lock: make lock"
    assert wanted.specifier.contains(LOCKED[name], prereleases=True), f"{line} wanted, {LOCKED[name]} locked: make lock"
