"""Operations on the meta device: by hand, and without a trace left behind."""

import os

import pytest

from stages.lib.models import operations


def test_a_product_of_matrices_is_two_operations_for_each_multiply_add() -> None:
    import torch

    left, right = torch.zeros((3, 5), device="meta"), torch.zeros((5, 7), device="meta")
    assert operations.count(lambda: left @ right) == 2 * 3 * 5 * 7


def test_a_convolution_is_counted_once_for_each_place_of_its_kernel() -> None:
    import torch

    image = torch.zeros((1, 3, 8, 8), device="meta")
    kernel = torch.zeros((4, 3, 2, 2), device="meta")
    found = operations.count(lambda: torch.nn.functional.conv2d(image, kernel, stride=2))
    assert found == 2 * 4 * 4 * 4 * 3 * 2 * 2


@pytest.mark.parametrize("before", [None, "0"])
def test_the_environment_is_as_it_was_whatever_happens(before: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "TRANSFORMERS_DISABLE_TORCH_CHECK"
    monkeypatch.delenv(name, raising=False)
    if before is not None:
        monkeypatch.setenv(name, before)
    with pytest.raises(ZeroDivisionError), operations.without_values():
        assert os.environ[name] == "1"
        raise ZeroDivisionError
    assert os.environ.get(name) == before
