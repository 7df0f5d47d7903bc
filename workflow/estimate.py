"""Print the cost of the study on a GPU, computed from formulas, not measured.

    make estimate                                  on every GPU that is built in
    make estimate GPU="RTX 4090" PRESET=nodulocc
    make estimate GPU=165e12,1008e9,24e9           bfloat16 FLOP/s, bytes/s and bytes of memory

The parameters are those in force, or a preset's. torch is not imported, so it takes no time.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stages.lib.core import params
from stages.lib.core.errors import ParamsError
from workflow import chapters, costs, registry

PRESETS = Path("workflow/presets")


def lines(
    document: Mapping[str, Any], gpu: costs.Gpu, on_demand: Sequence[str] = tuple(chapters.CHAPTERS)
) -> list[str]:
    """Estimate of each chapter of the study, as lines of text, and of some that run on demand.

    Args:
        document: The parameters, checked.
        gpu: On which models run.
        on_demand: Chapters that are told beside those of the study.
    """
    return list(chapters.estimates(document, gpu, Path("results"), on_demand))


def main(argv: Sequence[str] | None = None) -> None:
    """Print the estimate for one GPU or for all that are built in."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gpu", default="", help=f"{', '.join(costs.GPUS)}, or FLOP/s,bytes/s,bytes; all if left out")
    parser.add_argument("--preset", default="", help="of workflow/presets; the parameters in force if left out")
    args = parser.parse_args(argv)
    path = PRESETS / f"{args.preset}.yaml" if args.preset else Path("params.yaml")
    if not path.is_file():
        known = ", ".join(sorted(found.stem for found in PRESETS.glob("*.yaml")))
        sys.exit(f"preset {args.preset!r}: unknown; known are {known}")
    try:
        document = params.document(str(path))
        registry.check(document)
        gpus = [costs.gpu(args.gpu)] if args.gpu else list(costs.GPUS.values())
    except ParamsError as error:
        sys.exit(str(error))
    print("\n\n".join(dict.fromkeys("\n".join(lines(document, gpu)) for gpu in gpus)))


if __name__ == "__main__":
    main()
