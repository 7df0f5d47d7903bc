"""Measures of encoders and grounders together, and what a reader must know beside them."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from stages.lib.core import params
from stages.lib.core.errors import DataError
from stages.lib.metrics import grounding_suite, grounding_tables, retrieval_suite
from stages.lib.metrics.cohort import OpenFraction
from stages.lib.metrics.grounding_suite import JUDGED_BY
from stages.lib.metrics.measures import Estimate, Key, Subject
from stages.lib.metrics.outcomes import Row
from stages.lib.metrics.retrieval_suite import Asked
from stages.lofi.embedded import Embedded
from stages.lofi.notes import Blind, Pools

TIED = 0.01  # fraction of tied pairs from which it is said
Pairs = tuple[tuple[params.Text, params.Text], ...]


@params.section
class MeasureParams:
    """How encoders and grounders are measured."""

    draws: params.Count  # resamples of patients for an interval
    seed: params.Seed  # of the resamples
    confidence: OpenFraction  # of the intervals
    ks: tuple[params.Count, ...]  # values of K at which R@K is measured
    compared_encoders: Pairs  # the first minus the second, on the queries that both have
    iou: OpenFraction  # from which a predicted box is right
    judged_by: JUDGED_BY  # metric that decides whether a grounder beats its blind rows; declared before the run
    size_edges: tuple[OpenFraction, ...]  # fractions of the image that a sentence's boxes cover, between two strata
    min_stratum_sentences: params.Count  # sentences below which a stratum has no measure
    compared_grounders: Pairs  # the first minus the second, on the sentences that both were asked

    def __post_init__(self) -> None:
        """Check what the types do not say."""
        problems = []
        for name in ("compared_encoders", "compared_grounders"):
            pairs = getattr(self, name)
            problems += [f"{name}: {one} is compared with itself" for one, other in pairs if one == other]
            several = Counter(tuple(sorted(pair)) for pair in pairs)
            problems += [f"{name}: {list(pair)} twice" for pair, times in sorted(several.items()) if times > 1]
        problems += [f"{name} that rise" for name in ("ks", "size_edges") if not _rises(getattr(self, name))]
        if problems:
            raise ValueError("; ".join(problems))


@dataclass(frozen=True)
class Tables:
    """Inputs of a measurement.

    Attributes:
        ranks: Table of sentence_tables.RANKS of each encoder, by its name.
        records: What `embed` told of each encoder, by its name.
        grounded: Table of sentence_tables.GROUNDED of each grounder, by its name.
        pairs: Table of sentence_tables.PAIRS.
        manifest: Table of tables.MANIFEST.
    """

    ranks: Mapping[str, pa.Table]
    records: Mapping[str, Embedded]
    grounded: Mapping[str, pa.Table]
    pairs: pa.Table
    manifest: pa.Table


@dataclass
class Results:
    """What was measured, and what to say beside it; see `notes.Notes`."""

    measures: dict[Subject, dict[Key, Estimate]] = field(default_factory=dict)
    outcomes: dict[Subject, Sequence[Row]] = field(default_factory=dict)
    pools: list[Pools] = field(default_factory=list)
    blind: list[Blind] = field(default_factory=list)
    statuses: dict[str, dict[str, int]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


def measure(found: Tables, params: MeasureParams) -> Results:
    """Measures of all encoders and grounders.

    Raises:
        DataError: If the tables contradict each other, or a comparison names what was not measured.
        MetricInputError: As the suites.
    """
    results = Results()
    asked = {name: retrieval_suite.of_table(table) for name, table in found.ranks.items() if table.num_rows}
    _check(params, asked, found)
    results.pools = [_pools(name, asked.get(name), found.records.get(name)) for name in found.ranks]
    settings = retrieval_suite.Settings(
        draws=params.draws, seed=params.seed, confidence=params.confidence, ks=params.ks
    )
    results.measures |= retrieval_suite.measure_all(asked, settings, params.compared_encoders)
    results.outcomes |= {
        Subject(retrieval_suite.TASK, name, retrieval_suite.TEST): _outcomes(one, params.ks)
        for name, one in asked.items()
    }
    _ground(found, params, results)
    results.warnings[:0] = [*_about(results.pools), *_unlike(params.compared_encoders, asked)]
    return results


def _check(params: MeasureParams, asked: Mapping[str, Asked], found: Tables) -> None:
    """Refuse comparisons of what was not measured, all of them at once."""
    problems = [
        f"lofi.measure.{key}: {name}: {reason}"
        for key, pairs, there, reason in (
            ("compared_encoders", params.compared_encoders, asked, "not among the encoders that are ranked"),
            (
                "compared_grounders",
                params.compared_grounders,
                found.grounded,
                "not among the grounders that were asked",
            ),
        )
        for name in dict.fromkeys(name for pair in pairs for name in pair)
        if name not in there
    ]
    if problems:
        raise DataError("measure:", problems)


def _ground(found: Tables, params: MeasureParams, results: Results) -> None:
    """Add the measures of grounders, and whether each has grounded anything."""
    if not found.grounded:
        return
    known = grounding_tables.sentences(found.pairs, found.manifest)
    settings = grounding_suite.Settings(
        draws=params.draws,
        seed=params.seed,
        confidence=params.confidence,
        iou=params.iou,
        judged_by=params.judged_by,
        size_edges=params.size_edges,
        min_stratum_sentences=params.min_stratum_sentences,
    )
    made = grounding_suite.measure_all(
        {name: grounding_tables.grounded(table, known) for name, table in found.grounded.items()},
        settings,
        reader=grounding_tables.second_reader(found.pairs, known),
        compared=params.compared_grounders,
    )
    results.measures |= made.measures
    for one in made.verdicts:
        told = Blind(
            grounder=one.grounder, blind=one.blind, metric=one.key.text, grounds=one.grounds, sentence=one.sentence
        )
        results.blind.append(told)
    results.warnings += [one.sentence for one in made.verdicts if not one.grounds]
    for name, table in found.grounded.items():
        own = table.filter(pc.field("seen") == grounding_suite.OWN)
        results.statuses[name] = dict(sorted(Counter(own["status"].to_pylist()).items()))


def _pools(name: str, asked: Asked | None, told: Embedded | None) -> Pools:
    """What an encoder looked for, and among how many."""
    both = list(asked.values()) if asked else []
    tied, wrong = sum(int(one.tied.sum()) for one in both), sum(int((one.n_pool - one.n_right).sum()) for one in both)
    images, texts = (asked[direction] if asked else None for direction in retrieval_suite.DIRECTIONS)
    return Pools(
        encoder=name,
        reads=asked is not None if told is None else told.reads,
        images=texts.n_pool if texts else 0,
        texts=images.n_pool if images else 0,
        image_queries=len(images.names) if images else 0,
        text_queries=len(texts.names) if texts else 0,
        patients=len({patient for one in both for patient in one.patients.tolist()}),
        tied_fraction=tied / wrong if wrong else None,
        shortened=None if told is None else told.shortened,
        left_out=None if told is None else told.left_out,
        sentences_left_out=None if told is None else told.sentences_left_out,
        identity=None if told is None else told.identity,
    )


def _about(pools: Iterable[Pools]) -> list[str]:
    """What is to be known of the encoders' pools."""
    said = []
    for one in pools:
        if not one.reads:
            said.append(f"{one.encoder} has no text side: it finds neighbours, and is not ranked")
        elif not one.text_queries:
            said.append(f"{one.encoder}: no part of a test report was embedded, so nothing is ranked")
        if one.tied_fraction is not None and one.tied_fraction > TIED:
            said.append(
                f"{one.encoder}: {100 * one.tied_fraction:.1f} % of the wrong items are as similar as the first right "
                "one; ties count as misses"
            )
        if one.sentences_left_out:
            said.append(
                f"{one.encoder}: {one.sentences_left_out} sentences have no room in its text side and are left out: "
                f"{one.shortened} parts are shortened, {one.left_out} are not ranked at all"
            )
        if silent := one.images - one.image_queries:
            said.append(
                f"{one.encoder}: {silent} of {one.images} test images have no text: they are found, but do not look"
            )
    return said


def _unlike(compared: Pairs, asked: Mapping[str, Asked]) -> list[str]:
    """Comparisons of encoders whose queries or pools differ."""
    said = []
    for first, second in compared:
        for direction in retrieval_suite.DIRECTIONS:
            a, b = asked[first][direction], asked[second][direction]
            if {*a.names} != {*b.names} or a.n_pool != b.n_pool:
                shared = len({*a.names} & {*b.names})
                said.append(
                    f"{first} and {second} are compared on the {shared} queries {direction} that both have, in pools "
                    f"of {a.n_pool} and {b.n_pool}"
                )
    return said


def _outcomes(asked: Asked, ks: Sequence[int]) -> list[Row]:
    """A row for each image that looks, and each K: whether one of its own texts is among the first K."""
    queries = asked[retrieval_suite.DIRECTIONS[0]]
    return [
        {"image_id": name, "at": str(k), "correct": rank <= k}
        for (name, _), rank in zip(queries.names, queries.rank.tolist(), strict=True)
        for k in ks
    ]


def counted(pairs: pa.Table) -> tuple[dict[str, int], dict[str, int]]:
    """Training images with boxes and their sentences with boxes; test images, sentences, and those with boxes.

    Args:
        pairs: Table of sentence_tables.PAIRS.
    """
    rows: list[Mapping[str, Any]] = pairs.select(["image_id", "split", "boxes"]).to_pylist()
    boxed = [row["image_id"] for row in rows if row["split"] == "train" and row["boxes"]]
    test = [row for row in rows if row["split"] == "test"]
    return (
        {"images": len(set(boxed)), "sentences": len(boxed)},
        {
            "images": len({row["image_id"] for row in test}),
            "sentences": len(test),
            "with_boxes": sum(bool(row["boxes"]) for row in test),
        },
    )


def _rises(values: Sequence[float]) -> bool:
    return list(values) == sorted(set(values))
