"""Prompt families: versioned files of texts with variables, and the prompts that are made of them for a case.

A family is a YAML file of `stages/lib/models/families`, or a user's. Its texts are templates: each is read once, and
what stands for a variable is data, so that braces in a patient's history are braces and nothing else. There is no
variable for the diagnosis, nor for the title and topic of a case, which name it.
"""

import re
import string
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from stages.lib.core import params
from stages.lib.core.case_tables import MODALITIES, REGIONS
from stages.lib.core.errors import ParamsError

FOLDER = Path(__file__).parent / "families"
VARIABLES = ("history", "region", "modality", "plane", "n_images", "findings", "examples")
OWN = ("question", "by_region", "by_modality")  # texts of the family itself, which may hold variables
NEVER = ("diagnosis", "title", "topic")
REGION_WORDS = {"urinary": "pelvis"}  # in a prompt, where the name of the stratum is no part of the body
NOT_GIVEN = "not given"
SCHEMA = {  # of findings as JSON
    "type": "object",
    "properties": {
        "findings": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "entity": {"type": "string"},
                    "presence": {"type": "string", "enum": ["present", "absent", "uncertain"]},
                    "side": {"type": ["string", "null"], "enum": ["left", "right", "both", "midline", None]},
                    "place": {"type": ["string", "null"]},
                    "description": {"type": ["string", "null"]},
                },
                "required": ["entity", "presence", "side", "place", "description"],
                "additionalProperties": False,
            },
        }
    },
    "required": ["findings"],
    "additionalProperties": False,
}
TOKEN = re.compile(r"<(?=[|/]?[A-Za-z_][A-Za-z0-9_]*\|?>)")  # what tokenizers take for the start or end of a turn


@params.section
class Family:
    """Texts of one kind of prompt."""

    name: params.Text
    version: params.Count  # raised with each change of a text, since answers are kept under it
    system: str | None  # system message; null without one
    user: params.Text  # what the user says; {question} stands for each of the questions
    by_region: dict[str, str]  # what {by_region} stands for, by region
    by_modality: dict[str, str]  # what {by_modality} stands for, by modality
    questions: tuple[params.Text, ...]  # asked one by one, their answers merged; [] for one request
    none_found: str | None  # answer to all of the questions where each was answered with No alone; null without any
    # json: findings, asked for in words alone; json_schema: asked of the server too, as `SCHEMA` has them
    answer_form: Literal["text", "json", "json_schema"]

    def __post_init__(self) -> None:
        """Check the variables of all texts."""
        problems = []
        for where, text in self._texts():
            try:
                names = [name for _, name in pieces(text) if name is not None]
            except ValueError as error:
                problems.append(f"{where}: {error}")
                continue
            allowed = VARIABLES + (OWN if where == "user" else ())
            problems += [f"{where}: {_unknown(name, allowed)}" for name in names if name not in allowed]
        for name, known in (("by_region", REGIONS), ("by_modality", MODALITIES)):
            given = getattr(self, name)
            problems += [
                params.unknown(f"{name}.{key}", [f"{name}.{one}" for one in known]) for key in given if key not in known
            ]
            lacking = [key for key in known if key not in given]
            if f"{{{name}}}" in self.user and lacking:
                problems.append(f"user: {{{name}}} wants a text for each; {name} lacks {', '.join(lacking)}")
        if len({"{question}" in self.user, self.none_found is not None, bool(self.questions)}) > 1:
            problems.append("user: wanted {question}, and none_found, where there are questions, and only there")
        if problems:
            raise ValueError("; ".join(problems))

    @property
    def label(self) -> str:
        """Name and version, which requests carry."""
        return f"{self.name}-{self.version}"

    @property
    def variables(self) -> frozenset[str]:
        """Variables of the case that its texts hold."""
        return frozenset(name for _, text in self._texts() for _, name in pieces(text) if name in VARIABLES)

    def _texts(self) -> Iterator[tuple[str, str]]:
        if self.system is not None:
            yield "system", self.system
        yield "user", self.user
        for group in ("by_region", "by_modality"):
            for key, text in getattr(self, group).items():
                yield f"{group}.{key}", text
        for number, text in enumerate(self.questions):
            yield f"questions.{number}", text


@dataclass(frozen=True, kw_only=True)
class Values:
    """What stands for the variables of a case.

    Attributes:
        history: What is told of the patient; None if nothing.
        region: Region of its stratum.
        modality: Modality of its stratum.
        planes: Planes of the images that are sent, those that are known.
        n_images: Images that are sent.
        findings: Answer of the arm before; None without one.
        examples: Gold texts of other cases; empty without any.
    """

    history: str | None
    region: str
    modality: str
    planes: Sequence[str]
    n_images: int
    findings: str | None = None
    examples: Sequence[str] = ()

    @property
    def texts(self) -> dict[str, str]:
        """Text of each variable."""
        return {
            "history": data(self.history),
            "region": REGION_WORDS.get(self.region, self.region),
            "modality": self.modality,
            "plane": ", ".join(dict.fromkeys(self.planes)) or NOT_GIVEN,
            "n_images": str(self.n_images),
            "findings": data(self.findings),
            "examples": "\n\n".join(
                f"Example {number}:\n{data(text)}" for number, text in enumerate(self.examples, start=1)
            ),
        }


@dataclass(frozen=True)
class Prompt:
    """Texts of one request.

    Attributes:
        system: System message; None without one.
        user: What the user says.
    """

    system: str | None
    user: str


def read(name: str) -> Family:
    """Family of a name, or in the file of a path.

    Raises:
        ParamsError: If there is no such family, or its file is not one.
    """
    path = path_of(name)
    try:
        return params.parse({"prompt": params.document(str(path))}, {"prompt": Family}).prompt
    except ParamsError as error:
        raise ParamsError(f"prompt family {path}:", error.problems) from error


def path_of(name: str) -> Path:
    """File of a family.

    Raises:
        ParamsError: If there is none.

    >>> path_of("brief").name
    'brief.yaml'
    """
    if name.endswith((".yaml", ".yml")):
        return Path(name)
    if name not in names():
        raise ParamsError("prompt:", [params.unknown(name, names()) + "; or give the path of a .yaml file"])
    return FOLDER / f"{name}.yaml"


def names() -> list[str]:
    """Families that are shipped, sorted."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def prompts(family: Family, values: Values, *, system: bool) -> list[Prompt]:
    """Prompt of a case; of a family with questions, one for each.

    Args:
        family: The family.
        values: What stands for its variables.
        system: Whether its system message is sent; without one in the family there is none.
    """
    texts = values.texts
    said = _filled(family.system, texts, {}) if system and family.system is not None else None
    own = {
        "by_region": family.by_region.get(values.region, ""),
        "by_modality": family.by_modality.get(values.modality, ""),
    }
    questions = family.questions or ("",)
    return [Prompt(said, _filled(family.user, texts, {**own, "question": question})) for question in questions]


def data(text: str | None) -> str:
    """Text of a data set or a model as it stands in a prompt: line ends of one kind, and no token of a chat template.

    >>> data("a <start_of_turn>model\\r\\n{b} < 5 mm")
    'a < start_of_turn>model\\n{b} < 5 mm'
    """
    return NOT_GIVEN if text is None else TOKEN.sub("< ", text.replace("\r\n", "\n").replace("\r", "\n"))


def pieces(template: str) -> list[tuple[str, str | None]]:
    """Template as literal texts, each with the name of the variable behind it; None behind the last.

    Raises:
        ValueError: If a brace stands alone, or a variable has anything but a name.

    >>> pieces("A {modality} of {{1}}.")
    [('A ', 'modality'), (' of {', None), ('1}', None), ('.', None)]
    """
    found = []
    for literal, name, form, conversion in string.Formatter().parse(template):
        if name is not None and (form or conversion or not re.fullmatch("[a-z_]+", name)):
            raise ValueError(f"found {{{name}}} with more or less than a name, wanted a variable such as {{history}}")
        found.append((literal, name))
    return found


def _filled(template: str, texts: Mapping[str, str], own: Mapping[str, str]) -> str:
    """Template with its variables in their places; the family's own texts are templates too, values are not."""
    parts = []
    for literal, name in pieces(template):
        parts.append(literal)
        if name is not None:
            parts.append(_filled(own[name], texts, {}) if name in own else texts[name])
    return "".join(parts).strip()


def _unknown(name: str, known: Sequence[str]) -> str:
    if name.lower() in NEVER:
        return f"{{{name}}} can never be a variable, since it names the diagnosis"
    return params.unknown(f"{{{name}}}", [f"{{{one}}}" for one in known]) + f" (known are {', '.join(known)})"
