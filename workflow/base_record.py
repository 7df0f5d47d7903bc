"""Record of the demo's base: its bytes, its parameters, and the losses of the first steps of its training.

    python -m workflow.base_record          write workflow/demo_base.json for the base in workflow/demo_base
    python -m workflow.base_record --check  compare base, parameters and code with it

Making the base takes ten minutes, and its quality depends on the processor's rounding. So the check does not make it:
it runs a few steps of both phases and compares their losses with the record. A renamed or moved module changes none of
them; a changed image, loss or schedule does.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import yaml

from stages.lib.core import files, kinds, params
from stages.lib.models import prompts
from stages.weights import pretrain

BASE, RECORD, PRESET = Path("workflow/demo_base"), Path("workflow/demo_base.json"), Path("workflow/presets/demo.yaml")
FEW = {"tower_images": 6, "tower_steps": 4, "tower_batch": 4, "text_images": 6, "text_steps": 4, "text_batch": 4}
RELATIVE = 1e-3  # losses of two types of processor differ by less after so few steps
SECTIONS: dict[str, params.Section] = {
    "weights.pretrain": pretrain.Params,
    "nodules.prompt": prompts.PromptParams,
    "nodules.localizers": kinds.rows(kinds.LOCALIZERS),
}
REMAKE = "make it anew: snakemake --cores 1 results/weights/pretrain, copy it to workflow/demo_base, make base-record"


def record(root: Path) -> dict[str, Any]:
    """Record of the base in a checkout, of its parameters and its code.

    Args:
        root: Folder of the checkout.
    """
    given = params.parse(yaml.safe_load((root / PRESET).read_text()), SECTIONS)
    boxes = given.localizers["medgemma"].params
    with tempfile.TemporaryDirectory() as folder:
        losses = pretrain.pretrain(Path(folder) / "base", replace(given.pretrain, **FEW), given.prompt, boxes)
    return {
        "sha256": files.sha256_file(root / BASE / "model.safetensors"),
        "parameters": {
            "pretrain": json.loads(json.dumps(asdict(given.pretrain))),
            "prompt": asdict(given.prompt),
            "box_prompt": boxes.prompts[0],
        },
        "losses_of_a_few_steps": losses,
    }


def differences(found: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    """What differs between two records, one sentence each; losses may differ by rounding.

    >>> differences({"a": 1.0, "b": [2.0]}, {"a": 1.0001, "b": [2.5]})
    ['b.0: found 2.0, recorded 2.5']
    """
    one, other = dict(_leaves(found)), dict(_leaves(wanted))
    return [
        f"{key}: found {one.get(key)!r}, recorded {other.get(key)!r}"
        for key in sorted(one.keys() | other.keys())
        if not _same(one.get(key), other.get(key))
    ]


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, float) and isinstance(b, float):
        return abs(a - b) <= RELATIVE * max(abs(a), abs(b))
    return bool(a == b)


def _leaves(value: Any, within: str = "") -> list[tuple[str, Any]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if items is None:
        return [(within, value)]
    return [leaf for key, inner in items for leaf in _leaves(inner, f"{within}.{key}".lstrip("."))]


def main(argv: Sequence[str] | None = None) -> None:
    """Write the record, or check it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="exit with 1 if the record does not agree")
    if not parser.parse_args(argv).check:
        files.write_json(RECORD, record(Path()))
        return
    wrong = differences(record(Path()), json.loads(RECORD.read_text()))
    if wrong:
        sys.exit("\n".join([f"{RECORD} does not agree; {REMAKE}", *(f"  - {line}" for line in wrong)]))


if __name__ == "__main__":
    main()
