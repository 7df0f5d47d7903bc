"""Measures of retrieval: of each encoder, both ways, with intervals over patients, and of two encoders paired.

The resamples are of the patients of the queries. The pools stay as they are, so an interval says how sure a number is
for pools like these, and not for larger ones: R@K falls as a pool grows, and chance stands beside it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from stages.lib.core.errors import MetricInputError, UndefinedMetricError
from stages.lib.metrics import parts, retrieval
from stages.lib.metrics.bootstrap import Outcome, attempt, resamples
from stages.lib.metrics.measures import Estimate, Key, Subject, estimate, estimates
from stages.lib.metrics.parts import Floats, Measured, Part
from stages.lib.metrics.retrieval import Ints

TASK = "retrieval"
TEST = "test"
DIRECTIONS = ("image_to_text", "text_to_image")
NO_QUERY = "there is no query"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How it is measured.

    Attributes:
        draws: Resamples of patients.
        seed: Of them.
        confidence: Of the intervals.
        ks: Values of K at which R@K is measured.
    """

    draws: int
    seed: int
    confidence: float
    ks: Sequence[int]


@dataclass(frozen=True)
class Queries:
    """What the queries of one direction found.

    Attributes:
        names: Image of each query, and its part where a text looks, in their order.
        patients: Patient of each, shape (q,).
        rank: Rank of the first right item, strict, shape (q,).
        rank_lenient: The same, lenient.
        tied: Wrong items as similar as the first right one, shape (q,).
        n_right: Right items of each, strict, shape (q,).
        n_right_lenient: The same, lenient.
        n_pool: Size of the pool.
    """

    names: tuple[tuple[str, int | None], ...]
    patients: NDArray[Any]
    rank: Ints
    rank_lenient: Ints
    tied: Ints
    n_right: Ints
    n_right_lenient: Ints
    n_pool: int

    def among(self, names: set[tuple[str, int | None]]) -> "Queries":
        """Those of some names, in their order."""
        kept = np.array([name in names for name in self.names], bool)
        columns = ("patients", "rank", "rank_lenient", "tied", "n_right", "n_right_lenient")
        return replace(
            self,
            names=tuple(name for name in self.names if name in names),
            **{name: getattr(self, name)[kept] for name in columns},
        )


Asked = Mapping[str, Queries]  # by direction


def of_table(ranks: pa.Table) -> dict[str, Queries]:
    """Queries of each direction of a table `sentence_tables.RANKS`.

    Raises:
        MetricInputError: If the queries of one direction looked in pools of several sizes.
    """
    return {
        direction: _queries(ranks.filter(pc.field("direction") == direction), direction) for direction in DIRECTIONS
    }


def _queries(rows: pa.Table, direction: str) -> Queries:
    pools = sorted(set(rows["n_pool"].to_pylist()))
    if len(pools) > 1:
        raise MetricInputError(f"{direction}: found pools of the sizes {pools}, wanted one pool for all queries")
    counts = ("rank", "rank_lenient", "tied", "n_right", "n_right_lenient")
    return Queries(
        names=tuple(zip(rows["image_id"].to_pylist(), rows["part"].to_pylist(), strict=True)),
        patients=np.array(rows["patient_id"].to_pylist(), str),
        n_pool=pools[0] if pools else 0,
        **{name: np.array(rows[name].to_pylist(), np.int64) for name in counts},
    )


def measure(asked: Asked, settings: Settings) -> dict[str, dict[Key, Estimate]]:
    """Measures of one encoder, by subset: "test/image_to_text" and "test/text_to_image" for the directions.

    Under "test" are means over both directions, `recall_at_k_mean` and `chance_at_k_mean`, on joint resamples.

    Args:
        asked: What each direction's queries found.
        settings: How.
    """
    measured = _measured(asked, settings)
    made = {subset: dict(one.estimates) for subset, one in measured.items()}
    for direction in DIRECTIONS:
        queries = asked[direction]
        made[f"{TEST}/{direction}"][Key("pool_size")] = estimate(float(queries.n_pool), **_facts(queries))
    return made


def compare(first: Asked, second: Asked, settings: Settings) -> dict[str, dict[Key, Estimate]]:
    """First encoder less the second on the queries that both have, paired, by subset as of `measure`.

    Chance, and what is of the pool alone, is left out.
    """
    shared = {direction: {*first[direction].names} & {*second[direction].names} for direction in DIRECTIONS}
    a, b = ({direction: one[direction].among(shared[direction]) for direction in DIRECTIONS} for one in (first, second))
    of_second, made = _measured(b, settings), {}
    for subset, one in _measured(a, settings).items():
        other = of_second[subset]
        keys = [key for key in one.estimates if not key.metric.startswith("chance")]
        made[subset] = estimates(
            {key: parts.difference(one, other, key) for key in keys},
            parts.drawn_difference(one, other),
            _both_facts(a) if subset == TEST else _facts(a[subset.removeprefix(f"{TEST}/")]),
            confidence=settings.confidence,
        )
    return made


def measure_all(
    found: Mapping[str, Asked], settings: Settings, compared: Sequence[tuple[str, str]] = ()
) -> dict[Subject, dict[Key, Estimate]]:
    """Measures of all encoders, and the differences of pairs of them.

    Args:
        found: What each encoder found, by its name.
        settings: How.
        compared: Pairs of names.
    """
    made = {
        Subject(TASK, name, subset): one
        for name, asked in found.items()
        for subset, one in measure(asked, settings).items()
    }
    for first, second in compared:
        for subset, one in compare(found[first], found[second], settings).items():
            made[Subject(TASK, first, subset, second)] = one
    return made


def _measured(asked: Asked, settings: Settings) -> dict[str, Measured]:
    """Measures of each direction and of both, with their values on the same resamples of patients."""
    weights = _weights(asked, settings)
    made = {
        f"{TEST}/{direction}": _direction(asked[direction], weights[direction], settings) for direction in DIRECTIONS
    }
    made[TEST] = _mean(list(made.values()), _both_facts(asked), settings)
    return made


def _weights(asked: Asked, settings: Settings) -> dict[str, Floats]:
    """How often each query stands in each resample of the patients of both directions, shape (draws, q)."""
    patients = np.concatenate([asked[direction].patients for direction in DIRECTIONS])
    blocks = list(resamples(patients, draws=settings.draws, seed=settings.seed))
    drawn = np.concatenate(blocks).astype(np.float64) if blocks else np.zeros((0, len(patients)))
    first = len(asked[DIRECTIONS[0]].names)
    return dict(zip(DIRECTIONS, (drawn[:, :first], drawn[:, first:]), strict=True))


def _direction(queries: Queries, weights: Floats, settings: Settings) -> Measured:
    found = parts.measure(_parts(queries, settings.ks), weights, _facts(queries), settings.confidence)
    ranks = {Key("median_rank"): queries.rank, Key("median_rank_lenient"): queries.rank_lenient}
    outcomes: dict[Key, Outcome] = {key: attempt(retrieval.median_rank, rank) for key, rank in ranks.items()}
    draws = {key: retrieval.resampled_medians(rank, weights) for key, rank in ranks.items()}
    medians = estimates(outcomes, draws, _facts(queries), confidence=settings.confidence)
    return Measured({**found.estimates, **medians}, {**found.draws, **draws})


def _parts(queries: Queries, ks: Sequence[int]) -> dict[Key, Part]:
    """Measures of one direction that are ratios of sums over its queries."""
    made = {}
    for kind, rank, n_right in (
        ("", queries.rank, queries.n_right),
        ("_lenient", queries.rank_lenient, queries.n_right_lenient),
    ):
        made[Key(f"reciprocal_rank{kind}")] = parts.mean(1 / rank, why=NO_QUERY)
        for k in ks:
            chances = retrieval.chances_at_k(n_right, queries.n_pool, k)
            made[Key(f"recall_at_k{kind}", str(k))] = parts.fraction(rank <= k, why=NO_QUERY)
            made[Key(f"chance_at_k{kind}", str(k))] = parts.mean(chances, why=NO_QUERY)
            if not kind:
                hits = (rank <= k).astype(np.float64)
                made[Key("over_chance_at_k", str(k))] = Part(hits, chances, NO_QUERY)
    wrong = (queries.n_pool - queries.n_right).astype(np.float64)
    made[Key("tied_pairs")] = Part(queries.tied.astype(np.float64), wrong, "no query has a wrong item in its pool")
    made[Key("tied_queries")] = parts.fraction(queries.tied > 0, why=NO_QUERY)
    return made


def _mean(both: Sequence[Measured], facts: Mapping[str, Any], settings: Settings) -> Measured:
    """Means of R@K and of its chance over the directions."""
    outcomes: dict[Key, Outcome] = {}
    draws: dict[Key, Floats] = {}
    for metric in ("recall_at_k", "chance_at_k"):
        for at in map(str, settings.ks):
            own, key = Key(metric, at), Key(f"{metric}_mean", at)
            values = [one.estimates[own].value for one in both]
            known = [value for value in values if value is not None]
            outcomes[key] = float(np.mean(known)) if len(known) == len(both) else UndefinedMetricError(NO_QUERY)
            draws[key] = np.mean([one.draws[own] for one in both], axis=0)
    return Measured(estimates(outcomes, draws, facts, confidence=settings.confidence), draws)


def _facts(queries: Queries) -> dict[str, Any]:
    return {"n": len(queries.names), "n_patients": len(set(queries.patients.tolist()))}


def _both_facts(asked: Asked) -> dict[str, Any]:
    """Queries of both directions together, and their patients."""
    patients = {patient for direction in DIRECTIONS for patient in asked[direction].patients.tolist()}
    return {"n": sum(len(asked[direction].names) for direction in DIRECTIONS), "n_patients": len(patients)}
