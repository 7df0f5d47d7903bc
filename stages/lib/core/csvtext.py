"""CSV files that the pipeline writes: any text in a cell comes back as it was."""

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from stages.lib.core.errors import TableError


def csv_bytes(heading: Sequence[str], rows: Iterable[Sequence[Any]]) -> bytes:
    """A CSV file; a name with a comma, a quote or a line break is quoted.

    >>> csv_bytes(["file_name"], [['a,"b".png']])
    b'file_name\\n"a,""b"".png"\\n'
    """
    lines = []
    for row in (heading, *rows):
        # With "\n" alone as the end of a line, the csv module would leave a bare "\r" in a name unquoted.
        line = io.StringIO(newline="")
        csv.writer(line, lineterminator="\r\n").writerow(row)
        lines.append(line.getvalue().removesuffix("\r\n"))
    return "".join(f"{line}\n" for line in lines).encode()


def read(path: str | Path, heading: Sequence[str]) -> list[list[str]]:
    """Rows of a file that `csv_bytes` made, without its heading.

    Args:
        path: File.
        heading: That it must have.

    Raises:
        TableError: If there is no such file, or it has another heading.
    """
    try:
        text = Path(path).read_bytes().decode()
    except (OSError, UnicodeDecodeError) as error:
        raise TableError(f"{path}: cannot be read ({error}); run the pipeline again") from error
    found = list(csv.reader(io.StringIO(text, newline="")))
    if found[:1] != [list(heading)]:
        raise TableError(
            f"{path}: found the heading {','.join(found[0]) if found else ''!r}, wanted {','.join(heading)}"
        )
    return found[1:]
