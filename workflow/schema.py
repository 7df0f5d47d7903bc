"""Write workflow/schemas/params.schema.json, for editors, from the stages' Params; `--check` compares."""

import argparse
import json
import sys
from pathlib import Path

from stages.lib.core import params
from workflow import registry
from workflow.chapters import ROOTS

PATH = Path("workflow/schemas/params.schema.json")


def render() -> str:
    """Text that the schema must have."""
    optional = {*registry.DEMO, *ROOTS}
    return json.dumps(params.json_schema(registry.sections(), optional), indent=2) + "\n"


def main() -> None:
    """Write the schema, or check it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="exit with 1 if the schema is not as it must be")
    args = parser.parse_args()
    if not args.check:
        PATH.parent.mkdir(parents=True, exist_ok=True)
        PATH.write_text(render())
    elif not PATH.exists() or PATH.read_text() != render():
        sys.exit(f"{PATH} does not agree with the stages' Params; run `make sync`")


if __name__ == "__main__":
    main()
