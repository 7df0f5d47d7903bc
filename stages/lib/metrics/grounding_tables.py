"""Sentences and answers of the tables as the grounding measures take them; all that does not fit is told at once."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stages.lib.core import tables
from stages.lib.core.errors import DataError
from stages.lib.metrics.grounding import Answer, Sentence

Name = tuple[str, int]  # of a sentence: its image and its number


@dataclass(frozen=True)
class Grounded:
    """What one grounder drew, in the order of the sentences.

    Attributes:
        sentences: Those that it was asked about, n.
        answers: By what was shown: the own image, a shuffled one, a grey one; n each.
    """

    sentences: tuple[Sentence, ...]
    answers: Mapping[str, tuple[Answer, ...]]

    @property
    def names(self) -> set[Name]:
        """Names of the sentences."""
        return {(one.image_id, one.number) for one in self.sentences}

    def only(self, names: Collection[Name]) -> "Grounded":
        """What was drawn for some of the sentences, these sorted by name."""
        places = {(one.image_id, one.number): place for place, one in enumerate(self.sentences)}
        kept = [places[name] for name in sorted(names) if name in places]
        return Grounded(
            tuple(self.sentences[k] for k in kept),
            {seen: tuple(answers[k] for k in kept) for seen, answers in self.answers.items()},
        )


def sentences(pairs: pa.Table, manifest: pa.Table, *, split: str = "test") -> dict[Name, Sentence]:
    """Sentences of a split that have a box of the first reader, by name, in the order of the table.

    Args:
        pairs: Table of `sentence_tables.PAIRS`.
        manifest: Table of `tables.MANIFEST`, with the sizes of these images.
        split: The split.

    Raises:
        DataError: If an image has no size; all such images are named.
    """
    sizes = tables.lookup(
        pairs.filter(pc.equal(pairs["split"], split)), manifest, ["width_px", "height_px"]
    ).to_pylist()
    rows = [row for row in sizes if row["boxes"]]
    if odd := sorted({row["image_id"] for row in rows if not row["width_px"] or not row["height_px"]}):
        raise DataError("pairs:", [f"image {name}: found no size in the manifest, wanted one" for name in odd])
    return {
        (row["image_id"], row["number"]): Sentence(
            image_id=row["image_id"],
            number=row["number"],
            patient_id=row["patient_id"],
            truths=_boxes(row["boxes"]),
            width_px=row["width_px"],
            height_px=row["height_px"],
            labels=tuple(row["labels"]),
        )
        for row in rows
    }


def grounded(table: pa.Table, known: Mapping[Name, Sentence]) -> Grounded:
    """What one grounder drew for sentences, on their own images and on those of its blind rows.

    Args:
        table: Table of `sentence_tables.GROUNDED` of one grounder.
        known: Sentences by name, as `sentences` gives them.

    Raises:
        DataError: If the table has several grounders, a sentence that is not known, or a sentence that was asked with
            one image and not with another.
    """
    rows = table.to_pylist()
    names = sorted({row["grounder"] for row in rows})
    by_seen: dict[str, dict[Name, Answer]] = {}
    for row in rows:
        answer = Answer(row["status"], _boxes(row["boxes"]), np.array(row["confidences"], np.float64))
        by_seen.setdefault(row["seen"], {})[row["image_id"], row["number"]] = answer
    every = sorted({name for answers in by_seen.values() for name in answers})
    problems = [f"found the grounders {names}, wanted one"] if len(names) > 1 else []
    problems += [
        f"image {image}, sentence {number}: not among the sentences with boxes"
        for image, number in every
        if (image, number) not in known
    ]
    problems += [
        f"image {image}, sentence {number}: asked, but not with seen {seen!r}"
        for seen, answers in by_seen.items()
        for image, number in every
        if (image, number) not in answers
    ]
    if problems:
        raise DataError(f"grounded by {', '.join(names)}:", problems)
    return Grounded(
        tuple(known[name] for name in every),
        {seen: tuple(answers[name] for name in every) for seen, answers in by_seen.items()},
    )


def second_reader(pairs: pa.Table, known: Mapping[Name, Sentence]) -> tuple[tuple[Sentence, ...], tuple[Answer, ...]]:
    """Sentences of the images that a second reader read, and that reader's boxes as answers: the human row.

    Who read an image is told by a box on it: a sentence there for which the second reader drew none is a miss, as it is
    for a grounder.

    Args:
        pairs: Table of `sentence_tables.PAIRS`.
        known: Sentences by name, as `sentences` gives them.
    """
    drawn = {(row["image_id"], row["number"]): row["second"] or [] for row in pairs.to_pylist()}
    read = {image_id for (image_id, _), boxes in drawn.items() if boxes}
    names = [name for name in sorted(known) if name[0] in read]
    return (
        tuple(known[name] for name in names),
        tuple(Answer("ok" if drawn[name] else "empty", _boxes(drawn[name]), np.zeros(0)) for name in names),
    )


def _boxes(given: object) -> np.ndarray:
    return np.asarray(given, np.float64).reshape(-1, 4)
