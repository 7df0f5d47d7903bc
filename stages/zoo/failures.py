"""Failures of a row: its step ends with empty outputs and the reason, and the other rows stand."""

import sys
from collections.abc import Callable, Iterable

from stages.lib.core.errors import NoduleflowError, PreemptedError
from stages.lib.core.log import LOG
from stages.zoo.records import Failure


def attempt(
    stage: str,
    row: str,
    work: Callable[[], None],
    give_up: Callable[[Failure], None],
    given: Iterable[Failure | None] = (),
) -> None:
    """Do one step of a row; where it fails, or an input of it has failed, write its outputs empty, with the reason.

    What is not the row's own is not turned into a failure of it: read the study's tables before.

    Args:
        stage: Name of the step.
        row: Name of the row.
        work: Does the step and writes its outputs.
        give_up: Writes the outputs empty, and the record with the failure.
        given: Failures in the records of the inputs; the first is passed on.

    Raises:
        PreemptedError: Of `work`; started again, it goes on.
    """
    failure = next((one for one in given if one is not None), None)
    if failure is None:
        try:
            work()
        except PreemptedError:
            raise
        except Exception as error:
            if not (isinstance(error, NoduleflowError) or _out_of_memory(error)):
                raise
            failure = Failure(stage=stage, error=type(error).__name__, reason=_reason(error))
        else:
            return
        LOG.error("%s failed: %s", stage, _of(row, failure.reason))
    else:
        LOG.error("%s is left out, as %s failed: %s", stage, failure.stage, _of(row, failure.reason))
    give_up(failure)


def _of(row: str, reason: str) -> str:
    """A reason that begins with the row's name."""
    return reason if reason.startswith(f"{row}:") else f"{row}: {reason}"


def _out_of_memory(error: Exception) -> bool:
    """Whether a card has no memory left; without torch nothing was on one."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(error, torch.OutOfMemoryError)


def _reason(error: Exception) -> str:
    if isinstance(error, NoduleflowError):
        return str(error) or type(error).__name__
    said = str(error).splitlines()[0] if str(error) else "out of memory"
    return f"{said} Take a card with more memory, a smaller side_px or a smaller zoo.embed.batch_size"
