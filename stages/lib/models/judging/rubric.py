"""Rubrics: how a judge is to rate, as versioned files. Two are shipped; a user's own has the same form."""

from pathlib import Path
from typing import Annotated

import yaml
from pydantic import Field

from stages.lib.core import files, params
from stages.lib.core.errors import ParamsError

FOLDER = Path(__file__).parents[1] / "rubrics"


@params.section
class Rubric:
    """How a judge is to rate.

    Attributes:
        name: Its name.
        version: Its version; a rubric whose text changes is another version.
        system: What the judge is told that it is.
        instructions: What the primary finding is, and what each grade means.
    """

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    version: params.Count
    system: params.Text
    instructions: params.Text

    @property
    def label(self) -> str:
        """Name and version, as tables have it."""
        return f"{self.name}-{self.version}"

    @property
    def sha256(self) -> str:
        """Hash of its texts."""
        return files.sha256_json([self.system, self.instructions])


def shipped() -> list[str]:
    """Names of the shipped rubrics, sorted.

    >>> shipped()
    ['long', 'short']
    """
    return sorted(file.stem for file in FOLDER.glob("*.yaml"))


def place(name: str) -> Path:
    """File of a shipped rubric, or of a user's.

    Args:
        name: Name of a shipped rubric, or a path; what ends in .yaml or .yml or has a / is a path.
    """
    is_path = "/" in name or name.endswith((".yaml", ".yml"))
    return Path(name) if is_path else FOLDER / f"{name}.yaml"


def read(name: str) -> Rubric:
    """Rubric by name or path, see `place`.

    Raises:
        ParamsError: If there is no such file, or it is no rubric; with every problem.
    """
    path = place(name)
    where = f"rubric {name!r}:"
    if not path.is_file():
        wanted = f"wanted {', '.join(shipped())}, or the path of a file with name, version, system and instructions"
        raise ParamsError(where, [f"found no file {path}, {wanted}"])
    try:
        document = yaml.safe_load(path.read_bytes().decode("utf-8-sig"))
        found: Rubric = params.parse({"rubric": document}, {"rubric": Rubric}).rubric
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise ParamsError(where, [f"{path} is not YAML in UTF-8: {error}"]) from error
    except ParamsError as error:
        raise ParamsError(f"{where} {path} is none:", error.problems) from error
    if (
        path.parent.resolve() != FOLDER.resolve()
        and found.name in shipped()
        and found.sha256 != read(found.name).sha256
    ):
        raise ParamsError(
            where, [f"{path} has the name {found.name!r} of a shipped rubric and another text; rename it"]
        )
    return found
