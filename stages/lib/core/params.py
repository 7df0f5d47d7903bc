"""Checks of parameters. params.yaml is the only home of a value, and this module the only check of one.

Snakemake (at load), DVC (which runs Snakemake) and a bare `python -m stages.x` all come through `parse`. Every problem
is reported at once, with the key's full name, what was found and what was wanted.
"""

import difflib
import json
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as pydantic_dataclass
from pydantic_core import ErrorDetails
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

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the same in C, where it is there

T = TypeVar("T")


@dataclass_transform(kw_only_default=True, frozen_default=True)
def section(cls: type[T]) -> type[T]:
    """Make a frozen keyword-only dataclass whose types and ranges are checked when it is made."""
    config = ConfigDict(extra="forbid", allow_inf_nan=False)
    return pydantic_dataclass(frozen=True, kw_only=True, config=config)(cls)  # type: ignore[return-value]


@dataclass(frozen=True)
class Rows:
    """A section of systems: a mapping of names to rows, each of one kind.

    Attributes:
        kinds: The class of the parameters of each kind; a row names its kind under the key `kind`, and under `label`,
            if it has one, what it is called in the report.
    """

    kinds: Mapping[str, type]


@dataclass(frozen=True)
class Row:
    """One system.

    Attributes:
        kind: Its kind.
        params: An instance of its kind's class.
        label: What it is called in the report; None for its name.
    """

    kind: str
    params: Any
    label: str | None = None


Section = type | Rows


def parse(
    document: Any, sections: Mapping[str, Section], *, whole: bool = False, renamed: Mapping[str, str] | None = None
) -> SimpleNamespace:
    """One checked instance per section of `document`, under the last part of the section's name.

    Args:
        document: Nested mappings, as YAML or JSON gives them: chapter, section, key, value.
        sections: The class of each section wanted, by dotted name: "data.split", or "study".
        whole: Whether a section that is not wanted is a problem.
        renamed: New names of parameters and sections that moved, for the message that refuses the old ones.

    Returns:
        An instance of the class of each section; for `Rows`, a mapping of names to `Row`.

    Raises:
        ParamsError: With every problem found in any section.
    """
    if not isinstance(document, Mapping):
        raise ParamsError("parameters:", [f"found {document!r}, wanted a mapping of sections"])
    renamed = renamed or {}
    problems = _unknown_sections(document, sections, renamed) if whole else []
    parsed: dict[str, Any] = {}
    for name, section_ in sections.items():
        chapter, _, last = name.rpartition(".")
        inside = document.get(chapter, {}) if chapter else document
        if not isinstance(inside, Mapping) or last not in inside:
            problems.append(f"{name}: section is missing")
        elif isinstance(section_, Rows):
            parsed[last] = _rows(inside[last], name, section_, problems, renamed)
        else:
            parsed[last] = _checked(inside[last], name, section_, problems, renamed)
    if problems:
        raise ParamsError(f"{len(problems)} problem(s) in the parameters:", problems)
    return SimpleNamespace(**parsed)


def names(document: Mapping[Any, Any], sections: Collection[str]) -> list[str]:
    """Dotted names of the sections that are in a document, of which some are known."""
    chapters = {name.partition(".")[0] for name in sections if "." in name}
    found: list[str] = []
    for name, value in document.items():
        whole = name not in chapters or not isinstance(value, Mapping)
        found += [str(name)] if whole else [f"{name}.{inner}" for inner in value]
    return found


def _unknown_sections(document: Mapping[Any, Any], sections: Collection[str], renamed: Mapping[str, str]) -> list[str]:
    """A sentence for each unknown section; for each of its keys if the section has moved."""
    problems = []
    for name in names(document, sections):
        value = document.get(name)
        if name in sections:
            continue
        inside = [f"{name}.{key}" for key in value] if name in renamed and isinstance(value, Mapping) else []
        problems += [unknown(path, sections, renamed) for path in inside or [name]]
    return problems


def _checked(value: Any, name: str, cls: type, problems: list[str], renamed: Mapping[str, str]) -> Any:
    """An instance of `cls`; None if there are problems, which are added to the list."""
    try:
        return TypeAdapter(cls).validate_json(json.dumps(value), strict=True)
    except ValidationError as error:
        keys = list(getattr(cls, "__dataclass_fields__", {}))
        problems += [describe(name, dict(detail), keys, renamed) + _dot(detail) for detail in error.errors()]
    except (TypeError, ValueError):
        problems.append(f"{name}: found a value that is no text, number or list, such as a date; put it in quotes")
    return None


def _rows(value: Any, name: str, rows: Rows, problems: list[str], renamed: Mapping[str, str]) -> dict[str, Row]:
    """Each row; problems are added to the list."""
    if not isinstance(value, Mapping):
        problems.append(f"{name}: found {value!r}, wanted a mapping of names to rows")
        return {}
    parsed = {}
    for key, row in value.items():
        where = f"{name}.{key}"
        if where in renamed:
            problems.append(unknown(where, [], renamed))
        elif not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", str(key)):
            problems.append(f"{where}: found a name that is not made of a-z, 0-9 and single _, wanted such a name")
        elif not isinstance(row, Mapping) or "kind" not in row:
            problems.append(f"{where}: found no kind, wanted one of {', '.join(rows.kinds)}")
        elif str(row["kind"]) not in rows.kinds:
            problems.append(unknown(f"{where}.kind {row['kind']}", [f"{where}.kind {kind}" for kind in rows.kinds]))
        else:
            inner = {field: given for field, given in row.items() if field not in ("kind", "label")}
            checked = _checked(inner, where, rows.kinds[str(row["kind"])], problems, renamed)
            label = row.get("label")
            if not (label is None or (isinstance(label, str) and label)):
                problems.append(f"{where}.label: found {label!r}, wanted a text")
            parsed[str(key)] = Row(str(row["kind"]), checked, label)
    return parsed


def document(source: str) -> Any:
    """Document of parameters from `source`: the path of a YAML file, or the parameters themselves as JSON.

    Raises:
        ParamsError: If there is no such file, it is not UTF-8 or not YAML, or a key stands in it twice.
    """
    try:
        inside = source.lstrip().startswith("{")
        text = source if inside else Path(source).read_bytes().decode("utf-8-sig")
        twice = [] if inside else repeated(text)
        if twice:
            raise ParamsError(f"parameters from {source!r}:", twice)
        return yaml.load(text, LOADER)
    except UnicodeDecodeError as error:
        raise ParamsError(f"parameters from {source!r}:", ["not UTF-8 text: save it as UTF-8"]) from error
    except OSError as error:
        raise ParamsError(f"parameters from {source!r}:", [f"cannot be read: {error.strerror}"]) from error
    except yaml.YAMLError as error:
        raise ParamsError(f"parameters from {source!r}:", [f"not YAML: {error}"]) from error


def repeated(text: str) -> list[str]:
    """A sentence for each key that stands twice in a mapping of a YAML text; YAML would drop the first in silence.

    >>> repeated("models: {a: 1, b: 2, a: 3}")
    ['models.a: found twice, in lines 1 and 1; wanted another name for one of them']
    """
    return _repeated(yaml.compose(text, LOADER), "")


def _repeated(node: Any, where: str) -> list[str]:
    found: list[str] = []
    if isinstance(node, yaml.SequenceNode):
        return [one for number, inner in enumerate(node.value) for one in _repeated(inner, f"{where}{number}.")]
    if not isinstance(node, yaml.MappingNode):
        return found
    lines: dict[str, int] = {}
    for key, value in node.value:
        name, line = str(key.value), key.start_mark.line + 1
        if name in lines:
            found.append(
                f"{where}{name}: found twice, in lines {lines[name]} and {line}; wanted another name for one of them"
            )
        lines[name] = line
        found += _repeated(value, f"{where}{name}.")
    return found


def read(source: str, sections: Mapping[str, Section]) -> SimpleNamespace:
    """Checked sections from `source`, see `document`.

    Raises:
        ParamsError: As `document`, or if a value is not as wanted.
    """
    return parse(document(source), sections)


def subset(
    document: Mapping[str, Any], names: Iterable[str], changes: Mapping[str, Mapping[str, Any]] | None = None
) -> dict[str, Any]:
    """A document with some sections alone.

    Args:
        document: All parameters.
        names: Dotted names of the sections.
        changes: Values that differ from the document's, by the name of their section.

    >>> subset({"data": {"split": {"seed": 1}, "ingest": {}}}, ["data.split"], {"data.split": {"seed": 2}})
    {'data': {'split': {'seed': 2}}}
    """
    found: dict[str, Any] = {}
    for name in names:
        chapter, _, last = name.rpartition(".")
        source, target = (document[chapter], found.setdefault(chapter, {})) if chapter else (document, found)
        target[last] = {**source[last], **(changes or {}).get(name, {})}
    return found


def unknown(name: str, known: Collection[str], renamed: Mapping[str, str] | None = None) -> str:
    """Sentence about an unknown name: what it is called now, or the nearest known one.

    >>> unknown("train.learning_rat", ["train.learning_rate", "train.seed"])
    "train.learning_rat: unknown; did you mean 'train.learning_rate'?"
    >>> unknown("train.peak_lr", ["train.learning_rate"], {"train.peak_lr": "train.learning_rate"})
    'train.peak_lr: unknown; it is train.learning_rate now'
    """
    if renamed and name in renamed:
        return f"{name}: unknown; it is {renamed[name]} now"
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"
    return f"{name}: unknown; {hint}"


def describe(section_name: str, detail: Mapping[str, Any], keys: list[str], renamed: Mapping[str, str]) -> str:
    """One sentence for one problem that pydantic found in a section or a document."""
    where = ".".join([section_name, *(str(part) for part in detail["loc"])])
    if detail["type"] == "unexpected_keyword_argument":
        nested = len(detail["loc"]) > 1
        return f"{where}: unknown" if nested else unknown(where, [f"{section_name}.{key}" for key in keys], renamed)
    if detail["type"] in ("missing", "missing_argument", "missing_keyword_only_argument"):
        return f"{where}: missing"
    found = detail.get("input")
    wanted = str(detail["msg"]).removeprefix("Value error, ").removeprefix("Input should be ")
    return f"{where}: found {found!r}, wanted {wanted}"


def _dot(detail: ErrorDetails) -> str:
    """What to write instead of a number that YAML reads as text; nothing about any other problem."""
    found = detail["input"]
    try:
        return f" (YAML reads {found} as text; write it with a dot: {float(found)!r})" if isinstance(found, str) else ""
    except ValueError:
        return ""


def json_schema(sections: Mapping[str, Section], optional: Collection[str]) -> dict[str, Any]:
    """JSON Schema of the whole parameter file, for editors; `optional` are sections and chapters that may be absent."""
    whole = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "noduleflow parameters", **_object()}
    for name, section_ in sections.items():
        chapter, _, last = name.rpartition(".")
        inside = whole["properties"].setdefault(chapter, _object()) if chapter else whole
        inside["properties"][last] = _schema(section_)
        if name not in optional:
            inside["required"].append(last)
    whole["required"] += [name for name in whole["properties"] if name not in {*sections, *optional}]
    return whole


def _object() -> dict[str, Any]:
    return {"type": "object", "properties": {}, "required": [], "additionalProperties": False}


def _schema(section_: Section) -> dict[str, Any]:
    if not isinstance(section_, Rows):
        return TypeAdapter(section_).json_schema()
    kinds = []
    for kind, cls in section_.kinds.items():
        row = TypeAdapter(cls).json_schema()
        shared = {"kind": {"const": kind}, "label": {"type": "string", "minLength": 1}}
        row["properties"] = {**shared, **row.get("properties", {})}
        kinds.append({**row, "required": ["kind", *row.get("required", ())]})
    return {"type": "object", "additionalProperties": {"oneOf": kinds}}
