"""Claims about stages.lib.core.closure: what a module imports is found, however it is written."""

import ast
from pathlib import Path

import pytest

from stages.lib.core.closure import imported

ROOT = Path(__file__).parents[3]
SOURCES = sorted(path for room in ("stages", "workflow", "tests") for path in (ROOT / room).rglob("*.py"))


def parsed(text: str) -> set[str]:
    """The names, by a parse of the whole text."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return {name for name in found if name.startswith("stages.")}


def test_the_imports_of_every_module_are_those_that_python_parses() -> None:
    assert len(SOURCES) > 300
    assert [path for path in SOURCES if imported(path.read_text()) != parsed(path.read_text())] == []


@pytest.mark.parametrize(
    "text",
    [
        "from stages.lib import (  # (as told)\n    core,\n    models,\n)\n",
        "from stages.lib import core, \\\n    models\n",
        "import stages.report; import json\n",
        "import stages.report as page, json\n",
        '"""Text\nfrom stages that no line ends (see\n"""\nfrom stages.lib.core import (\n    files\n)\n',
        "try:\n    from stages.lib.core import files\nexcept ImportError:\n    import stages.report\n",
        "from . import stages\nfrom .stages.lib import core\n",
    ],
)
def test_the_form_of_an_import_is_no_matter(text: str) -> None:
    assert imported(text) == parsed(text)
