"""Command line of a stage: `python -m stages.<chapter>.<verb> --params ... --<table> PATH`."""

import argparse
import errno
import logging
import os
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import NoReturn

from stages.lib.core import params as parameters
from stages.lib.core.errors import NoduleflowError

OF_THE_MACHINE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES)  # disk full, quota, read-only, not allowed


def parse(
    doc: str | None,
    argv: Sequence[str] | None,
    *,
    params: Mapping[str, parameters.Section] | None = None,
    reads: Sequence[str] = (),
    writes: Sequence[str] = (),
    optional: Sequence[str] = (),
    many: Sequence[str] = (),
    flags: Sequence[str] = (),
) -> argparse.Namespace:
    """Arguments of a stage; every file is a named option.

    `params` holds the checked sections, and `document` the whole document that they were taken from.

    Args:
        doc: Docstring of the stage: the text of `--help`.
        argv: Arguments, without the program's name; None for those of the process.
        params: Class of each section of the parameters that the stage wants.
        reads: Names of the inputs.
        writes: Names of the outputs.
        optional: Those names that may be left out (None then).
        many: Those names that take several paths.
        flags: Names of options without a value, False if they are not given.
    """
    text = doc or ""
    parser = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    if params:
        names = ", ".join(params)
        parser.add_argument(
            "--params", required=True, help=f"params.yaml, or its section(s) {names} as JSON", metavar="FILE|JSON"
        )
    for names_, verb in ((reads, "read"), (writes, "written")):
        for name in names_:
            parser.add_argument(
                f"--{name.replace('_', '-')}",
                required=name not in optional,
                nargs="+" if name in many else None,
                metavar="PATH",
                help=f"{name.replace('_', ' ')}, {verb}",
            )
    for name in flags:
        parser.add_argument(f"--{name}", action="store_true", help="see above")
    args = parser.parse_args(argv)
    if params:
        args.document = parameters.document(args.params)
        args.params = parameters.parse(args.document, params)
    return args


def run(main: Callable[[], None]) -> None:
    """Run a stage's `main`: log lines to stderr, an error as a sentence, exit code 1 on it and 130 on Ctrl-C.

    Only a fault of the code itself shows its traceback, for the report of it.
    """
    # What is wrong with an image is said by the stage, with its name; the decoder would repeat it without.
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    for noisy in ("httpx", "httpx2", "openai", "matplotlib", "PIL"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    try:
        main()
    except NoduleflowError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    except MemoryError:
        print("error: out of memory; close other programs, or take a machine with more", file=sys.stderr)
        sys.exit(1)
    except OSError as error:
        if error.errno not in OF_THE_MACHINE:
            _fault()
        where = f" ({error.filename})" if error.filename else ""
        print(f"error: {error.strerror}{where}; mend that, and run again", file=sys.stderr)
        sys.exit(1)
    except Exception:
        _fault()


def _fault() -> NoReturn:
    traceback.print_exc()
    print("error: a fault of noduleflow, not of your data; please report it with the lines above", file=sys.stderr)
    sys.exit(1)
