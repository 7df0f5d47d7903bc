"""Vocabulary of findings: entities, places and sides, and the words for them in a text.

The one that comes with the project is `vocabulary.yaml`, beside this module; a file of the user's adds to it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml

from stages.lib.core.errors import VocabularyError
from stages.lib.metrics.text import radlex
from stages.lib.metrics.text.phrases import Phrases, plain, tokens

OWN = Path(__file__).with_suffix(".yaml")
NONE = "none"
Kind = Literal["entity", "abnormality", "normal", "ignored", "place", "side"]
SIDES = ("left", "right", "both", "midline")
PREFIX = {"entities": "NF:", "places": "NP:"}
KEYS = ("version", "licence", "entities", "abnormality", "normal", "ignored", "places", "sides", "radlex")


@dataclass(frozen=True)
class Term:
    """What a phrase stands for: an entity, place or side by its id, or one of the words for all and nothing."""

    kind: Kind
    name: str


@dataclass(frozen=True)
class Vocabulary:
    """Words for findings.

    Attributes:
        entities: Terms of each entity by its id, such as NF:mass, the first being its name in the report.
        places: Terms of each part of the body, by its id, such as NP:liver.
        within: The place that a place is part of, where it is of one.
        sides: Terms of each side.
        abnormality: Words for an abnormality that is not named.
        normal: Words for there being none.
        ignored: Words that hold those for an entity, and name none: "bowel gas".
        radlex: RadLex id of an entity or place, where a user's file has one.
        licences: Of the files that it is made of.
    """

    entities: Mapping[str, tuple[str, ...]]
    places: Mapping[str, tuple[str, ...]]
    within: Mapping[str, str]
    sides: Mapping[str, tuple[str, ...]]
    abnormality: tuple[str, ...]
    normal: tuple[str, ...]
    ignored: tuple[str, ...]
    radlex: Mapping[str, str]
    licences: tuple[str, ...]

    def name(self, id_: str) -> str:
        """Name of an entity or place in the report; its id if the vocabulary has none."""
        return (self.entities.get(id_) or self.places.get(id_) or (id_,))[0]

    def related(self, first: str, second: str) -> bool:
        """Whether two places are the same, or one is part of the other."""
        return self.is_part(first, second) or self.is_part(second, first)

    def is_part(self, place: str, whole: str) -> bool:
        """Whether a place is part of another, or the same."""
        return whole in self._chain(place)

    def _chain(self, place: str) -> Iterator[str]:
        """A place and all that it is part of."""
        found: str | None = place
        while found is not None:
            yield found
            found = self.within.get(found)

    def names(self) -> Phrases[Term]:
        """Terms of entities, and words for any abnormality or none, with their plurals."""
        terms: list[tuple[Kind, str, tuple[str, ...]]] = [
            ("normal", "normal", self.normal),
            ("ignored", "ignored", self.ignored),
            ("abnormality", "abnormality", self.abnormality),
            *(("entity", id_, terms) for id_, terms in self.entities.items()),
        ]
        return _phrases(terms)

    def parts(self) -> Phrases[Term]:
        """Terms of sides and places, these with their plurals; they may stand within the name of an entity."""
        sides: list[tuple[Kind, str, tuple[str, ...]]] = [("side", side, terms) for side, terms in self.sides.items()]
        return _phrases([*sides, *(("place", id_, terms) for id_, terms in self.places.items())])


def _phrases(entries: Sequence[tuple[Kind, str, tuple[str, ...]]]) -> Phrases[Term]:
    """Phrases of terms; a term that is listed goes before a plural that is made by rule."""
    listed: dict[str, Term] = {}
    made: dict[str, Term] = {}
    for kind, name, terms in entries:
        for term in terms:
            listed[term] = Term(kind, name)
            made |= {one: Term(kind, name) for one in plurals(term) if kind not in ("side", "normal")}
    return Phrases({**made, **listed})


def plurals(term: str) -> list[str]:
    """Plurals of a term's last word, by rules of English and of its Latin; a wrong one is a word that no text has.

    >>> plurals("bone metastasis"), plurals("thrombus"), plurals("opacity")
    (['bone metastases'], ['thrombuses', 'thrombi'], ['opacities'])
    """
    if term.endswith("sis"):
        return [f"{term[:-2]}es"]
    if term.endswith("us"):
        return [f"{term}es", f"{term[:-2]}i"]
    if term.endswith("um"):
        return [f"{term}s", f"{term[:-2]}a"]
    if term.endswith("ma"):
        return [f"{term}s", f"{term}ta"]
    if term.endswith(("s", "x", "ch", "sh", "z")):
        return [f"{term}es"]
    if term.endswith("y") and term[-2:-1] not in "aeiou":
        return [f"{term[:-1]}ies"]
    return [f"{term}s"]


def load(path: str = NONE) -> Vocabulary:
    """The project's own vocabulary, with what a user's file adds.

    Args:
        path: The user's file, of the form of vocabulary.yaml, with any of its keys; none for the own one alone. Terms
            of an id that is known are added to it. Under `radlex` it maps ids, or names a table beside it.

    Raises:
        VocabularyError: If a file cannot be read, or is not of the form; with every problem.
    """
    if path == NONE:
        return _own()
    document = _read(Path(path))
    table = document.get("radlex") if isinstance(document, Mapping) else None
    if not isinstance(table, str):
        return _together(_own(), document, path)
    made = _together(_own(), {**document, "radlex": {}}, path)
    ids = radlex.read(Path(path).parent / table)
    return replace(made, radlex=radlex.mapped({**made.entities, **made.places}, ids))


@cache
def _own() -> Vocabulary:
    return _together(Vocabulary({}, {}, {}, {}, (), (), (), {}, ()), _read(OWN), OWN.name)


def _read(path: Path) -> Any:
    try:
        return yaml.safe_load(path.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        raise VocabularyError(f"vocabulary {path}:", [f"cannot be read: {error.strerror}"]) from error
    except UnicodeDecodeError as error:
        raise VocabularyError(f"vocabulary {path}:", ["not UTF-8 text: save it as UTF-8"]) from error
    except yaml.YAMLError as error:
        raise VocabularyError(f"vocabulary {path}:", [f"not YAML: {error}"]) from error


def _together(base: Vocabulary, document: Any, where: str) -> Vocabulary:
    """`base` with the entries of a document."""
    if not isinstance(document, Mapping):
        raise VocabularyError(f"vocabulary {where}:", [f"found {document!r}, wanted a mapping with {', '.join(KEYS)}"])
    problems = [f"{key}: unknown; known are {', '.join(KEYS)}" for key in document if key not in KEYS]
    entities = _entries(document, "entities", problems)
    places = _entries(document, "places", problems)
    sides = {str(side): _words(terms, f"sides.{side}", problems) for side, terms in _pairs(document, "sides", problems)}
    rids = {str(id_): rid for id_, rid in _pairs(document, "radlex", problems)}
    lists = ("abnormality", "normal", "ignored")
    abnormality, normal, ignored = (_words(document.get(key, []), key, problems) for key in lists)
    made = replace(
        base,
        entities=_added(base.entities, {id_: terms for id_, (terms, _) in entities.items()}),
        places=_added(base.places, {id_: terms for id_, (terms, _) in places.items()}),
        within={**base.within, **{id_: inside for id_, (_, inside) in places.items() if inside}},
        sides=_added(base.sides, sides),
        abnormality=(*base.abnormality, *abnormality),
        normal=(*base.normal, *normal),
        ignored=(*base.ignored, *ignored),
        radlex={**base.radlex, **rids},
        licences=(*base.licences, str(document.get("licence", "not stated"))),
    )
    problems += [f"sides.{side}: unknown; known are {', '.join(SIDES)}" for side in sides if side not in SIDES]
    problems += [
        f"places.{id_}.in: found {inside!r}, wanted a place of the vocabulary"
        for id_, inside in made.within.items()
        if inside not in made.places
    ]
    problems += [
        f"radlex.{id_}: found {rid!r}, wanted an entity or place of the vocabulary, and an id as RID1234"
        for id_, rid in rids.items()
        if (id_ not in made.entities and id_ not in made.places) or not str(rid).startswith("RID")
    ]
    problems += _circles(made) + _twice(made)
    if problems:
        raise VocabularyError(f"vocabulary {where}:", problems)
    return made


def _pairs(document: Mapping[str, Any], key: str, problems: list[str]) -> Iterable[tuple[Any, Any]]:
    value = document.get(key) or {}
    if isinstance(value, Mapping):
        return value.items()
    problems.append(f"{key}: found {value!r}, wanted a mapping")
    return ()


def _entries(
    document: Mapping[str, Any], key: str, problems: list[str]
) -> dict[str, tuple[tuple[str, ...], str | None]]:
    """Terms of each id, and the place that it is in."""
    found = {}
    for id_, value in _pairs(document, key, problems):
        where = f"{key}.{id_}"
        if not str(id_).startswith(PREFIX[key]):
            problems.append(f"{where}: found an id that does not begin with {PREFIX[key]}, wanted {PREFIX[key]}name")
        entry = value if isinstance(value, Mapping) else {"terms": value}
        problems += [f"{where}.{one}: unknown; known are terms, in" for one in entry if one not in ("terms", "in")]
        found[str(id_)] = (_words(entry.get("terms", []), where, problems), entry.get("in"))
    return found


def _words(value: Any, where: str, problems: list[str]) -> tuple[str, ...]:
    """Terms as a text has them: small letters, one space between words."""
    if not isinstance(value, list) or not all(isinstance(one, str) and tokens(one) for one in value):
        problems.append(f"{where}: found {value!r}, wanted a list of terms")
        return ()
    return tuple(" ".join(plain(token.word) for token in tokens(one)) for one in value)


def _added(base: Mapping[str, tuple[str, ...]], more: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    return {**base, **{id_: tuple(dict.fromkeys((*base.get(id_, ()), *terms))) for id_, terms in more.items()}}


def _circles(vocabulary: Vocabulary) -> list[str]:
    """A sentence for each place that is part of itself."""
    found = []
    for place in vocabulary.within:
        seen, at = {place}, vocabulary.within.get(place)
        while at is not None and at not in seen:
            seen.add(at)
            at = vocabulary.within.get(at)
        if at is not None:
            found.append(f"places.{place}: is part of itself")
    return found


def _twice(vocabulary: Vocabulary) -> list[str]:
    """A sentence for each term of two ids of a kind."""
    found = []
    for entries in (vocabulary.entities, vocabulary.places, vocabulary.sides):
        homes: dict[str, str] = {}
        for id_, terms in entries.items():
            for term in terms:
                if homes.setdefault(term, id_) != id_:
                    found.append(f"term {term!r}: found at {homes[term]} and {id_}, wanted at one of them")
    return found
