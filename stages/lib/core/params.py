"""Parameters: params.yaml is the only home of a value, and this the only check of one.

Snakemake (at load), DVC (which runs Snakemake) and a bare `python -m stages.x` all come through `parse`. Every problem
is reported at once, with the key's full name, what was found and what was wanted.
"""

import difflib
import json
from collections.abc import Collection, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as pydantic_dataclass
from typing_extensions import dataclass_transform

from stages.lib.core.errors import ParamsError

Fraction = Annotated[float, Field(ge=0, le=1)]
Percent = Annotated[float, Field(ge=0, le=100)]
PositiveFloat = Annotated[float, Field(gt=0)]
NonNegativeFloat = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
NonNegativeInt = Annotated[int, Field(ge=0)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Text = Annotated[str, Field(min_length=1)]

T = TypeVar("T")


@dataclass_transform(kw_only_default=True, frozen_default=True)
def section(cls: type[T]) -> type[T]:
    """Make a frozen keyword-only dataclass whose types and ranges are checked when it is made."""
    config = ConfigDict(extra="forbid", allow_inf_nan=False)
    return pydantic_dataclass(frozen=True, kw_only=True, config=config)(cls)  # type: ignore[return-value]


def parse(document: Any, sections: Mapping[str, type], *, whole: bool = False) -> SimpleNamespace:
    """Return one checked instance per section of `document`.

    Args:
        document: Mapping of section name to mapping of key to value, as YAML or JSON gives it.
        sections: The class of each section wanted.
        whole: Whether a section that is not wanted is a problem.

    Raises:
        ParamsError: With every problem found in any section.
    """
    if not isinstance(document, Mapping):
        raise ParamsError("parameters:", [f"found {document!r}, wanted a mapping of sections"])
    problems: list[str] = []
    if whole:
        problems += [unknown(str(name), sections) for name in document if name not in sections]
    parsed: dict[str, Any] = {}
    for name, cls in sections.items():
        if name not in document:
            problems.append(f"{name}: section is missing")
            continue
        try:
            text = json.dumps(document[name])
            parsed[name] = TypeAdapter(cls).validate_json(text, strict=True)
        except (TypeError, ValueError) as error:
            if not isinstance(error, ValidationError):
                problems.append(f"{name}: {error}")
                continue
            keys = list(getattr(cls, "__dataclass_fields__", {}))
            problems += [describe(name, dict(detail), keys) for detail in error.errors()]
    if problems:
        raise ParamsError(f"{len(problems)} problem(s) in the parameters:", problems)
    return SimpleNamespace(**parsed)


def read(source: str, sections: Mapping[str, type]) -> SimpleNamespace:
    """Return the checked sections from `source`: the path of a YAML file, or the parameters themselves as JSON.

    Raises:
        ParamsError: If there is no such file, it is not YAML, or a value is not as wanted.
    """
    try:
        text = source if source.lstrip().startswith("{") else Path(source).read_text()
        document = yaml.safe_load(text)
    except (OSError, yaml.YAMLError) as error:
        raise ParamsError(f"parameters from {source!r}:", [str(error)]) from error
    return parse(document, sections)


def unknown(name: str, known: Any) -> str:
    """Return the sentence about an unknown name, with the nearest known one.

    >>> unknown("train.learning_rat", ["train.learning_rate", "train.rank"])
    "train.learning_rat: unknown; did you mean 'train.learning_rate'?"
    """
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"
    return f"{name}: unknown; {hint}"


def describe(section_name: str, detail: Mapping[str, Any], keys: list[str]) -> str:
    """Return one sentence for one problem that pydantic found in a section."""
    where = ".".join([section_name, *(str(part) for part in detail["loc"])])
    if detail["type"] == "unexpected_keyword_argument":
        return unknown(where, [f"{section_name}.{key}" for key in keys])
    if detail["type"] in ("missing", "missing_argument", "missing_keyword_only_argument"):
        return f"{where}: missing"
    found = detail.get("input")
    wanted = str(detail["msg"]).removeprefix("Value error, ").removeprefix("Input should be ")
    hint = ""
    if isinstance(found, str) and _is_number(found):
        hint = f" (YAML reads {found} as text; write it with a dot: {float(found)!r})"
    return f"{where}: found {found!r}, wanted {wanted}{hint}"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def json_schema(sections: Mapping[str, type], optional: Collection[str]) -> dict[str, Any]:
    """Return the JSON Schema of the whole parameter file, for editors."""
    properties = {name: TypeAdapter(cls).json_schema() for name, cls in sections.items()}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "noduleflow parameters",
        "type": "object",
        "properties": properties,
        "required": [name for name in sections if name not in optional],
        "additionalProperties": False,
    }
