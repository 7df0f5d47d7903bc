"""What does not fit together in the chapter zoo, though each section is right by itself."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from stages.lib.core import kinds, params
from stages.lib.core.errors import ParamsError
from stages.lib.learn.zoo import ensemble
from stages.weights import fetch, pickled
from workflow import zoo_names

PRETRAINED = Path("results/weights/pretrain")
CURVE_FILES = ("section", "metrics", "summary")  # beside those of the rows in results/zoo/curve


def named(given: SimpleNamespace, document: Mapping[str, Any]) -> Mapping[str, tuple[str, tuple[str, ...]]]:
    """What is named and what is there, by the parameter.

    Args:
        given: Checked sections of the chapter, by the last part of their names.
        document: All parameters: the localizers of the study.
    """
    models = tuple(given.models)
    cheap = tuple(
        name
        for name, row in given.models.items()
        if kinds.module(kinds.MODELS, row.kind).READS in ("features", "tokens")
    )
    heatmaps = tuple(name for name, row in given.localizers.items() if row.kind == "heatmap")
    rivals = tuple(document.get("nodules", {}).get("localizers") or ())
    return {
        "zoo.measure.reference": (given.measure.reference, models),
        "zoo.localizer_cv.localizer": (given.localizer_cv.localizer, heatmaps),
        **{f"zoo.localizer_cv.rivals.{number}": (one, rivals) for number, one in enumerate(given.localizer_cv.rivals)},
        **{f"zoo.curve.rows.{number}": (row, cheap) for number, row in enumerate(given.curve.rows)},
    }


def problems(given: SimpleNamespace, document: Mapping[str, Any]) -> Iterator[str]:
    """A sentence for each thing that does not fit.

    Args:
        given: As for `named`.
        document: As for `named`.
    """
    yield from (f"zoo.models.{one}" for one in ensemble.problems(document["zoo"]["models"]))
    yield from _claims(given)
    made = tuple(document.get("weights", {}).get("pretrain", {}))
    for section, name, row in zoo_names.rows(document):
        yield from _sources(f"zoo.{section}.{name}", row, made)
    yield from (
        f"zoo.models.{name}: wanted another name, zoo_curve writes a file of this one"
        for name in CURVE_FILES
        if name in given.models
    )
    lists = {"curve.rows": given.curve.rows, "localizer_cv.rivals": given.localizer_cv.rivals}
    lists |= {"localizer_cv.supervision": given.localizer_cv.supervision}
    yield from (
        f"zoo.{key}: found {', '.join(found)}, wanted each once"
        for key, found in lists.items()
        if len({*found}) < len(found)
    )
    if "nodules" not in document:
        yield "zoo: found no section nodules, wanted it: the zoo compares its rows on the study's split and images"
    classifiers = tuple(document.get("nodules", {}).get("classifiers", {}))
    forbidden = document.get("study", {}).get("commercial", False)
    for section in ("models", "localizers"):
        for name, row in getattr(given, section).items():
            if forbidden and not row.params.commercial:
                yield (
                    f"zoo.{section}.{name}: found a licence that forbids commercial use ({row.params.licence}) with "
                    "study.commercial: true; take the row out, or set study.commercial: false"
                )
            if getattr(row.params, "mirror", False) and (told := _sided(given, document)):
                yield (
                    f"zoo.{section}.{name}.mirror: found true, wanted false: {told!r} speaks of a side, which a "
                    "mirrored image has on the other"
                )
            if row.kind == "study" and row.params.classifier not in classifiers:
                yield (
                    f"zoo.{section}.{name}.classifier: found {row.params.classifier!r}, wanted one of "
                    f"{', '.join(classifiers) or 'nodules.classifiers, which has none'}"
                )


def _sources(key: str, row: Mapping[str, Any], made: Sequence[str]) -> Iterator[str]:
    """What a row names by which no model can be found, on the hub or here.

    Args:
        key: Dotted name of the row.
        row: The row.
        made: Rows of weights.pretrain, whose models the pipeline makes.
    """
    path = Path(str(row.get("source", ""))).parts
    if path[:3] == PRETRAINED.parts and (len(path) != 4 or path[3] not in made):
        hint = params.unknown(path[-1], made)
        yield f"{key}.source: found {row['source']!r}, wanted {PRETRAINED}/ and a row of weights.pretrain; {hint}"
        return
    if zoo_names.is_pickled(row):
        keys = f"{key}.source", f"{key}.revision"
        try:
            pickled.Wanted(row["source"], row["revision"], row["library"], row["architecture"], keys)
        except ParamsError as error:
            yield from error.problems
        return
    for source, revision in (("source", "revision"), ("model", "revision"), ("encoder", "encoder_revision")):
        if row.get(revision, fetch.FOLDER) != fetch.FOLDER and not re.fullmatch(fetch.HUB_ID, row.get(source, "a/b")):
            yield (
                f"{key}.{source}: found {row[source]!r} with {revision} {row[revision]!r}, wanted organisation/name as "
                f"on the hub; for a folder write {revision}: {fetch.FOLDER}"
            )


def _claims(given: SimpleNamespace) -> Iterator[str]:
    """Rows that say different things of the same weights, by which one could be chosen and the other could not.

    A network that begins with random weights takes none of its source's.
    """
    first: dict[tuple[str, str], tuple[str, Mapping[str, object]]] = {}
    for section in ("models", "localizers"):
        for name, row in getattr(given, section).items():
            source = getattr(row.params, "source", getattr(row.params, "model", None))
            if source is None or getattr(row.params, "start", "") == "random":
                continue
            source = source.rstrip("/")
            here = f"zoo.{section}.{name}"
            says = {key: getattr(row.params, key) for key in ("seen", "licence", "commercial")}
            there, others = first.setdefault((source, row.params.revision), (here, says))
            for key, value in says.items():
                if value != others[key]:
                    yield (
                        f"{here}.{key}: found {value!r}, but {there} says {others[key]!r} of the same weights "
                        f"({source}); write the same in both"
                    )


def _sided(given: SimpleNamespace, document: Mapping[str, Any]) -> str:
    """The first text put to a model that speaks of left or right; empty if none does."""
    prompt = document.get("nodules", {}).get("prompt", {})
    own = [str(prompt.get(key, "")) for key in ("question", "answers")]
    pairs = [text for pair in given.bank.text_pairs for text in pair]
    texts = [*own, *given.bank.questions, *given.bank.answers, *pairs]
    return next((text for text in texts if re.search(r"\b(left|right)\b", text, re.IGNORECASE)), "")
