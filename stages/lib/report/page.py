"""The page: sections of whatever chapters, in one HTML file without font or address.

A page has a script only if a block wants one. It is a file beside the templates that holds no data: it reads the page,
and the policy of the page allows it by its hash and no other.
"""

import base64
import hashlib
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from stages.lib.report import charts, palette
from stages.lib.report.blocks import Block, Browser, Fold, HeatColumn, Number, Section

TEMPLATES = Path(__file__).parent / "templates"
BROWSER = TEMPLATES / "browser.js"


def render(title: str, sections: Sequence[Section]) -> str:
    """HTML of a page; every value is escaped.

    Args:
        title: Title of the page.
        sections: What it shows, in this order.
    """
    surroundings = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    surroundings.globals.update(colours=palette.COLOURS, dashes=palette.DASHES, mark=palette.mark)
    surroundings.filters.update(drawing=charts.draw, style=palette.style, groups=_groups)
    surroundings.tests["measured"] = lambda cell: isinstance(cell, Number)
    script = (
        BROWSER.read_text(encoding="utf-8") if any(_scripted(part.blocks) for s in sections for part in s.parts) else ""
    )
    return surroundings.get_template("page.html.j2").render(
        title=title,
        sections=sections,
        policy=policy(script),
        # The file is ours and holds no value of a study.
        script=Markup(script),
    )


def policy(script: str) -> str:
    """Content security policy of a page: nothing from outside, and the one script if there is one.

    >>> policy("")
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    """
    allowed = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    if not script:
        return allowed
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return f"{allowed}; script-src 'sha256-{digest}'"


def _groups(columns: Sequence[HeatColumn]) -> list[tuple[str, int]]:
    """Groups of the columns of a heat map, and how many columns each has."""
    return [(group, len(list(inside))) for group, inside in groupby(columns, key=lambda column: column.group)]


def _scripted(blocks: Iterable[Block]) -> bool:
    return any(isinstance(one, Browser) or (isinstance(one, Fold) and _scripted(one.blocks)) for one in blocks)
