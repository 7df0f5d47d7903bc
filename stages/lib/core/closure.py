"""Source files of a stage, computed from its imports."""

import ast
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[3]


def closure(module: str) -> list[str]:
    """Source files of `module` and of every module of `stages` that it imports, directly or not.

    Imports inside functions count. Paths are relative to the repository, sorted, without the bare package files.

    >>> "stages/lib/core/errors.py" in closure("stages.data.split")
    True
    """
    found: set[str] = set()
    todo = [module]
    while todo:
        name = todo.pop()
        if name not in found:
            found.add(name)
            todo += _imports(name)
    return sorted(str(_path(name).relative_to(ROOT)) for name in found)


def _path(module: str) -> Path:
    return ROOT.joinpath(*module.split(".")).with_suffix(".py")


@cache
def _imports(module: str) -> tuple[str, ...]:
    names: list[str] = []
    for node in ast.walk(ast.parse(_path(module).read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return tuple(name for name in names if name.startswith("stages.") and _path(name).is_file())
