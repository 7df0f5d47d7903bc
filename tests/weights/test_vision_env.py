import re
from pathlib import Path

import pytest

VISION = Path("workflow/envs/vision")
OF_ITS_OWN = {"timm", "torchxrayvision", "open-clip-torch", "scikit-image"}


def names(path: Path) -> dict[str, str]:
    """Version of each package of a requirements file."""
    return dict(re.findall(r"^([a-z0-9-]+)==([^\s;]+)", path.read_text(), re.MULTILINE))


def test_vision_environment_locks_what_its_sources_name():
    locked, wanted = names(VISION / "requirements.lock"), names(VISION / "requirements.in")
    assert wanted.items() <= locked.items()
    assert locked.keys() >= OF_ITS_OWN


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-torch.lock"])
def test_torchvision_and_what_needs_it_stay_out_of_the_locked_environment(lock):
    assert not names(Path(lock)).keys() & {*OF_ITS_OWN, "torchvision"}


def test_torch_of_the_vision_environment_is_installed_without_a_hash_and_with_its_torchvision():
    assert names(VISION / "requirements-torch.lock").keys() == {"torch", "torchvision"}
    assert not names(VISION / "requirements.lock").keys() & {"torch", "torchvision"}
