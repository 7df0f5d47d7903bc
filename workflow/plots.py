"""Make the page that `dvc plots show` and `dvc plots diff` fill, with its scripts inlined: it needs no network.

DVC's own page loads Vega, Vega-Lite and vega-embed from the network and is blank without it. Snakemake ships all three
for its reports. `make setup` writes the page to .dvc/plots.html, which .dvc/config names; git does not keep it.
"""

import re
import sys
from importlib import resources
from pathlib import Path

from stages.lib.core import files

PAGE = Path(".dvc/plots.html")
SCRIPTS = ("vega/vega.js", "vega-lite/vega-lite.js", "vega-embed/vega-embed.js")  # each wants those before it
PLACEHOLDERS = ("{refresh_tag}", "{plot_divs}")


def page(scripts: list[str]) -> str:
    """Page that DVC fills: its two placeholders, and the scripts themselves.

    Args:
        scripts: Texts of the scripts, in order.

    Raises:
        ValueError: If a script holds what would end it in a page, or a placeholder of DVC's.
    """
    for script in scripts:
        if found := re.search("|".join(["</script", *map(re.escape, (*PLACEHOLDERS, "{scripts}"))]), script):
            raise ValueError(f"a script holds {found[0]!r} and cannot stand in a page")
    inlined = "\n".join(f"<script>{script}</script>" for script in scripts)
    refresh, plots = PLACEHOLDERS
    return (
        f'<!DOCTYPE html>\n<html>\n<head>\n<meta charset="utf-8">\n{refresh}\n<title>Curves</title>\n{inlined}\n'
        f"</head>\n<body>\n{plots}\n</body>\n</html>\n"
    )


def main() -> None:
    """Write the page."""
    folder = resources.files("snakemake") / "assets" / "data"
    if missing := [name for name in SCRIPTS if not (folder / name).is_file()]:
        sys.exit(f"{folder}: this Snakemake ships no {', '.join(missing)}; run 'make setup' for the locked version")
    files.write_bytes(PAGE, page([(folder / name).read_text() for name in SCRIPTS]).encode())


if __name__ == "__main__":
    main()
