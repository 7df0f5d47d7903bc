"""CheXagent's own process: a program that runs under transformers 4.40.0.

    python -I PATH/TO/chexagent/__main__.py TASK JOURNAL | --versions

See `chexagent.worker`.
"""

import sys
from pathlib import Path


def main() -> None:
    """Make the worker importable, behind all that the environment has, and run it."""
    sys.path.append(str(Path(__file__).resolve().parents[4]))
    from stages.lib.models.chexagent import worker

    worker.run(sys.argv[1:])


if __name__ == "__main__":
    main()
