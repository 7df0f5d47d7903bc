"""Claims about stages.zoo.failures."""

import logging

import pytest

from stages.lib.core.errors import ModelError, PreemptedError
from stages.zoo.failures import attempt
from stages.zoo.records import Failure

GIVEN = Failure(stage="embed", error="ModelError", reason="dino: gone")


def outcome(work, given=()):
    told = []
    attempt("fit", "dino", work, told.append, given)
    return told


def fails(error):
    def work():
        raise error

    return work


def test_a_step_that_succeeds_writes_no_failure():
    done = []
    assert outcome(lambda: done.append(1), [None, None]) == []
    assert done == [1]


def test_an_error_that_a_user_can_act_on_is_told_with_its_step_class_and_reason(caplog):
    [failure] = outcome(fails(ModelError("no such weights")))
    assert (failure.stage, failure.error, failure.reason) == ("fit", "ModelError", "no such weights")
    [line] = caplog.records
    assert (line.levelno, line.getMessage()) == (logging.ERROR, "fit failed: dino: no such weights")


def test_a_card_without_memory_is_a_failure_and_says_what_to_do():
    import torch

    [failure] = outcome(fails(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.")))
    assert failure.error == "OutOfMemoryError"
    assert failure.reason.startswith("CUDA out of memory. Tried to allocate 2 GiB. Take a card with more memory")


@pytest.mark.parametrize(
    "error", [RuntimeError("a fault"), KeyError("x"), PreemptedError("go on"), KeyboardInterrupt()]
)
def test_a_fault_of_the_code_and_a_training_that_was_told_to_stop_end_the_run(error):
    with pytest.raises(type(error)):
        outcome(fails(error))


def test_a_failure_of_an_input_is_passed_on_and_nothing_is_tried(caplog):
    done = []
    assert outcome(lambda: done.append(1), [None, GIVEN, Failure(stage="x", error="y", reason="z")]) == [GIVEN]
    assert done == []
    assert caplog.messages == ["fit is left out, as embed failed: dino: gone"]
