"""Put a preset's parameters in force: params.yaml is replaced, and dvc.yaml follows.

What was in params.yaml is kept as params.yaml.before, or params.yaml.before-2 and so on, if it is no preset itself.
"""

import sys
from itertools import chain, count
from pathlib import Path

import yaml

from stages.lib.core.errors import ParamsError
from workflow import dvc_sync, registry

PRESETS = Path("workflow/presets")


def free_name(path: Path) -> Path:
    """A name beside `path` that no file has: what a user wrote is never written over."""
    kept = path.with_name(f"{path.name}.before")
    others = (kept.with_name(f"{kept.name}-{number}") for number in count(2))
    return next(name for name in chain([kept], others) if not name.exists())


def main() -> None:
    """Take the preset named on the command line."""
    names = sorted(path.stem for path in PRESETS.glob("*.yaml"))
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name not in names:
        sys.exit(f"preset {name!r}: unknown; known are {', '.join(names)}: make preset NAME={names[0]}")
    wanted, path = (PRESETS / f"{name}.yaml").read_text(), Path("params.yaml")
    try:
        registry.check(yaml.safe_load(wanted))
    except ParamsError as error:
        sys.exit(str(error))
    if path.exists() and path.read_bytes() not in {(PRESETS / f"{known}.yaml").read_bytes() for known in names}:
        kept = free_name(path)
        path.replace(kept)
        print(f"your params.yaml is kept as {kept}")
    path.write_text(wanted)
    Path("dvc.yaml").write_text(dvc_sync.render(Path.cwd()))
    print(f"params.yaml and dvc.yaml are those of the preset {name}; `snakemake -n` shows the plan")


if __name__ == "__main__":
    main()
