"""Source files of a stage, computed from its imports."""

import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[3]
IMPORT = re.compile(r"^[ \t]*((?:from|import)[ \t][^\n(]*(?:\([^)]*\))?)", re.MULTILINE)


def closure(module: str) -> list[str]:
    """Source files of `module` and of every module of `stages` that it imports, directly or not.

    Imports inside functions count. A package with code in its `__init__` counts with all its modules, since it may take
    them by name. So does the data of a module: the YAML file of its name beside it. Paths are relative to the
    repository, sorted, without the bare package files.

    >>> "stages/lib/core/errors.py" in closure("stages.data.split")
    True
    >>> "stages/lib/images/layouts/folder.py" in closure("stages.data.ingest")
    True
    """
    found: set[str] = set()
    todo = [module]
    while todo:
        name = todo.pop()
        if name not in found:
            found.add(name)
            todo += _imports(name)
    paths = [_path(name) for name in found]
    paths += [data for path in paths if (data := path.with_suffix(".yaml")).is_file()]
    return sorted(str(path.relative_to(ROOT)) for path in paths)


def imported(text: str) -> set[str]:
    """Names of `stages` that the source text of a module imports, and that may be modules.

    Only the lines of imports are parsed: Snakemake asks this of every module whenever it starts.

    >>> sorted(imported("from stages.lib import core\\nimport json\\ndef f():\\n    import stages.report\\n"))
    ['stages.lib', 'stages.lib.core', 'stages.report']
    """
    lines = [line for line in IMPORT.findall(text) if "stages" in line]
    try:
        nodes = [node for line in lines for node in ast.parse(line).body]
    except SyntaxError:  # a line of other text, or an import of unusual form
        nodes = list(ast.walk(ast.parse(text)))
    names = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return {name for name in names if name.startswith("stages.")}


@cache
def _path(module: str) -> Path:
    place = ROOT.joinpath(*module.split("."))
    return place / "__init__.py" if place.is_dir() else place.with_suffix(".py")


@cache
def _imports(module: str) -> tuple[str, ...]:
    names: list[str] = []
    path = _path(module)
    if path.name == "__init__.py":
        names += [f"{module}.{other.stem}" for other in path.parent.glob("*.py") if other != path]
    names += sorted(imported(path.read_text()))
    return tuple(name for name in names if name.startswith("stages.") and _has_code(_path(name)))


@cache
def _has_code(path: Path) -> bool:
    """Whether a file is there, and is no bare package file: one with nothing but a docstring."""
    return path.is_file() and (path.name != "__init__.py" or len(ast.parse(path.read_text()).body) > 1)
