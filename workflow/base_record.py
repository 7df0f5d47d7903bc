"""Records of the demos' bases: their bytes, their parameters, and the losses of the first steps of their training.

    python -m workflow.base_record          write the record of each base that is shipped: workflow/demo_base.json for
                                            workflow/demo_base, and so on
    python -m workflow.base_record --check  compare bases, parameters and code with them

Making a base takes ten minutes, and its quality depends on the processor's rounding. So the check does not make it:
it runs a few steps of each phase and compares their losses with the record. A renamed or moved module changes none of
them; a changed image, loss or schedule does.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from stages.lib.core import files, kinds, params

PRESET = Path("workflow/presets/demo.yaml")
RELATIVE = 1e-3  # losses of two types of processor differ by less after so few steps
REMAKE = "make it anew: snakemake --cores 1 results/weights/pretrain/{row}, copy it to {folder}, make base-record"


@dataclass(frozen=True)
class Shipped:
    """A base of the demo's parameters, and where it is shipped.

    Attributes:
        name: Its row.
        kind: Module of its kind.
        params: Parameters of its row.
        given: The other sections that its kind reads.
    """

    name: str
    kind: ModuleType
    params: Any
    given: SimpleNamespace

    @property
    def folder(self) -> Path:
        """Where it is shipped."""
        return Path(self.kind.FOLDER)

    @property
    def record(self) -> Path:
        """Its record."""
        return self.folder.with_suffix(".json")

    @property
    def few(self) -> Any:
        """Parameters of the few steps whose losses are recorded."""
        return replace(self.params, **self.kind.FEW)

    @property
    def remake(self) -> str:
        """What to do if it does not agree with its record."""
        return REMAKE.format(row=self.name, folder=self.folder)


def bases(root: Path) -> dict[str, Shipped]:
    """Bases that a checkout ships, by their rows.

    Args:
        root: Folder of the checkout.
    """
    document = params.document(str(root / PRESET))
    rows = params.parse(document, {"weights.pretrain": kinds.rows(kinds.BASES)}).pretrain
    found = {}
    for name, row in rows.items():
        kind = kinds.module(kinds.BASES, row.kind)
        if kind.FOLDER is None:
            continue
        found[name] = Shipped(name, kind, row.params, params.parse(document, kind.WANTED))
    return found


def record(root: Path, base: Shipped) -> dict[str, Any]:
    """Record of a base in a checkout, of its parameters and its code."""
    with tempfile.TemporaryDirectory() as folder:
        losses = base.kind.pretrain(Path(folder) / "base", base.few, base.given)
    return {
        "sha256": {name: files.sha256_file(root / base.folder / name) for name in base.kind.WEIGHTS},
        "parameters": base.kind.recorded(base.params, base.given),
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
    """Write the records, or check them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="exit with 1 if a record does not agree")
    check = parser.parse_args(argv).check
    problems = []
    for base in bases(Path()).values():
        if not check:
            files.write_json(base.record, record(Path(), base))
        elif wrong := differences(record(Path(), base), json.loads(base.record.read_text())):
            problems += [f"{base.record} does not agree; {base.remake}", *(f"  - {line}" for line in wrong)]
    if problems:
        sys.exit("\n".join(problems))


if __name__ == "__main__":
    main()
