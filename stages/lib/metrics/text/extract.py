"""Structured findings of a text: what is named, whether it is there, on which side, in which part of the body."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from stages.lib.metrics.text import describe
from stages.lib.metrics.text.negation import Presence, Scopes
from stages.lib.metrics.text.phrases import Phrases, Span, Token, tokens
from stages.lib.metrics.text.vocabulary import NONE, Term, Vocabulary, load

Side = Literal["left", "right", "both", "midline"]
STATED = {"normal": "present", "abnormality": "absent"}  # presence by which a word says that nothing is abnormal


@dataclass(frozen=True)
class Finding:
    """One finding of a text.

    Attributes:
        entity: Id of what was found, as NF:mass.
        presence: Whether the text says that it is there.
        side: Its side; None if none is said.
        place: Id of the part of the body, as NP:liver; None if none is said.
        start: First character of the entity's words in the text.
        end: Character behind the last one.
    """

    entity: str
    presence: Presence
    side: Side | None
    place: str | None
    start: int
    end: int


@dataclass(frozen=True)
class Reading:
    """A text as it was read.

    Attributes:
        findings: Its findings, repeated ones once, in the order of the text.
        says_normal: Whether it says that nothing is abnormal: it has no finding that is present or uncertain, and
            denies one, denies any abnormality, or says normal.
    """

    findings: tuple[Finding, ...]
    says_normal: bool

    @property
    def says_anything(self) -> bool:
        """Whether it has a finding, or says that nothing is abnormal."""
        return bool(self.findings) or self.says_normal

    @property
    def present(self) -> tuple[Finding, ...]:
        """Findings that are there."""
        return tuple(one for one in self.findings if one.presence == "present")


@dataclass(frozen=True)
class Extractor:
    """Reader of findings.

    Attributes:
        vocabulary: What it knows.
    """

    vocabulary: Vocabulary = field(default_factory=load)
    _names: Phrases[Term] = field(init=False, repr=False, compare=False)
    _parts: Phrases[Term] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_names", self.vocabulary.names())
        object.__setattr__(self, "_parts", self.vocabulary.parts())

    def read(self, text: str) -> Reading:
        """Findings of a text.

        >>> found = extractor().read("No mass in the left lobe; effusion on the right.").findings
        >>> [(one.entity, one.presence, one.side) for one in found]
        [('NF:mass', 'absent', 'left'), ('NF:effusion', 'present', 'right')]
        """
        words = tokens(text)
        named = list(self._names.find(words))
        scopes = Scopes(words, [span for span in named if span.value.kind == "entity"])
        marks = list(self._parts.find(words))
        findings = distinct(list(_mentions(words, named, marks, scopes, self.vocabulary)), self.vocabulary)
        denied = any(one.presence == "absent" for one in findings) or any(
            scopes.presence(span.first) == STATED[span.value.kind] for span in named if span.value.kind in STATED
        )
        return Reading(tuple(findings), denied and all(one.presence == "absent" for one in findings))


_KEPT: dict[str, Extractor] = {}


def extractor(path: str = NONE) -> Extractor:
    """Reader with the project's own vocabulary, and what a user's file adds; see `vocabulary.load`."""
    if path not in _KEPT:
        _KEPT[path] = Extractor(load(path))
    return _KEPT[path]


def _mentions(
    words: Sequence[Token],
    named: Sequence[Span[Term]],
    marks: Sequence[Span[Term]],
    scopes: Scopes,
    vocabulary: Vocabulary,
) -> Iterator[Finding]:
    """Every naming of an entity, in the order of the text."""
    entities = [span for span in named if span.value.kind == "entity"]
    if not entities:
        return
    about = describe.windows(words, entities, [span for span in named if span.value.kind == "normal"], scopes)
    sides = [span for span in marks if span.value.kind == "side"]
    places = [span for span in marks if span.value.kind == "place"]
    for span, windows in zip(entities, about, strict=True):
        yield Finding(
            span.value.name,
            scopes.presence(span.first),
            _side({found.value.name for found in windows.first_with(sides)}),
            _place([found.value.name for found in windows.all_of(places)], vocabulary),
            words[span.first].start,
            words[span.last - 1].end,
        )


def _side(said: set[str]) -> Side | None:
    """One side of all that are said of a finding.

    >>> _side({"left", "right"}), _side(set())
    ('both', None)
    """
    if "both" in said or {"left", "right"} <= said:
        return "both"
    found: Sequence[Side] = ("left", "right", "midline")
    return next((side for side in found if side in said), None)


def _place(said: Sequence[str], vocabulary: Vocabulary) -> str | None:
    """The first place that is said of a finding, or a part of it that is said behind."""
    best = said[0] if said else None
    for place in said[1:]:
        if best is not None and vocabulary.is_part(place, best):
            best = place
    return best


def distinct(findings: Sequence[Finding], vocabulary: Vocabulary) -> list[Finding]:
    """Findings of which repetitions are one: of an entity and presence, where sides and places do not differ.

    A finding that is named again without a side or place is the same. Left and right of one place are both.

    >>> read = extractor().read("There is a mass in the left kidney. The mass is large.")
    >>> [(one.side, one.place) for one in read.findings]
    [('left', 'NP:kidney')]
    """
    kept: list[Finding] = []
    for one in findings:
        for number, other in enumerate(kept):
            joined = _joined(other, one, vocabulary)
            if joined is not None:
                kept[number] = joined
                break
        else:
            kept.append(one)
    return kept


def _joined(first: Finding, second: Finding, vocabulary: Vocabulary) -> Finding | None:
    """Both as one finding; None if they are two."""
    if (first.entity, first.presence) != (second.entity, second.presence):
        return None
    here, there = first.place, second.place
    if here is not None and there is not None and not vocabulary.related(here, there):
        return None
    place = there if here is None or (there is not None and vocabulary.is_part(there, here)) else here
    sides = {side for side in (first.side, second.side) if side is not None}
    if len(sides) < 2:
        return replace(first, side=next(iter(sides), None), place=place)
    return replace(first, side="both", place=place) if "midline" not in sides else None
