"""The page: sections of whatever chapters, in one HTML file without script, font or address."""

from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from stages.lib.report import charts, palette
from stages.lib.report.blocks import Number, Section

TEMPLATES = Path(__file__).parent / "templates"


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
    surroundings.filters.update(drawing=charts.draw, style=palette.style)
    surroundings.tests["measured"] = lambda cell: isinstance(cell, Number)
    return surroundings.get_template("page.html.j2").render(title=title, sections=sections)
