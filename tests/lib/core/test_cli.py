"""A stage ends with a sentence for what a user can mend, and with a traceback only for a fault of its own."""

import datetime
import errno

import pytest

from stages.lib.core import cli, params
from stages.lib.core.errors import DataError, ParamsError


def ended(error: BaseException) -> int:
    def main() -> None:
        raise error

    with pytest.raises(SystemExit) as caught:
        cli.run(main)
    return int(caught.value.code)


@pytest.mark.parametrize(
    ("error", "wanted"),
    [
        (DataError("data folder x:", ["no image"]), "error: data folder x:\n  - no image\n"),
        (MemoryError(), "error: out of memory; close other programs"),
        (OSError(errno.ENOSPC, "No space left on device", "a.png"), "error: No space left on device (a.png); mend"),
        (PermissionError(errno.EACCES, "Permission denied", "b"), "error: Permission denied (b); mend that"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "error: Disk quota exceeded; mend that, and run again"),
    ],
)
def test_what_a_user_can_mend_is_a_sentence(capsys: pytest.CaptureFixture[str], error: Exception, wanted: str) -> None:
    assert ended(error) == 1
    text = capsys.readouterr().err
    assert wanted in text
    assert "Traceback" not in text
    assert type(error).__name__ not in text


@pytest.mark.parametrize("error", [KeyError("x"), FileNotFoundError(errno.ENOENT, "No such file", "gone")])
def test_a_fault_of_the_code_shows_where_it_is_and_asks_to_be_reported(
    capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    assert ended(error) == 1
    text = capsys.readouterr().err
    assert "Traceback (most recent call last)" in text
    assert text.endswith("error: a fault of noduleflow, not of your data; please report it with the lines above\n")


def test_ctrl_c_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert ended(KeyboardInterrupt()) == 130
    assert capsys.readouterr().err == ""


@params.section
class Section:
    seed: int


def test_a_date_that_yaml_reads_is_refused_in_words() -> None:
    with pytest.raises(ParamsError, match="split: found a value that is no text, number or list, such as a date"):
        params.parse({"split": {"seed": datetime.date(2026, 1, 1)}}, {"split": Section})
