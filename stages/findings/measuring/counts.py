"""What there is: cases, answers and ratings by what became of them, and what a reader must know of them."""

from collections import Counter
from collections.abc import Iterator, Mapping

from stages.findings.measuring.costs import LOOPING
from stages.findings.measuring.study import Study
from stages.findings.notes import Cost, Counts

GIVEN = ("ok", "repaired", "fallback")  # statuses of a judgement that has a rating


def counts(study: Study) -> Counts:
    """What there is."""
    sample = study.tables.sample.to_pylist()
    test = [row for row in sample if row["role"] == "test"]
    strata: dict[str, dict[str, int]] = {}
    for row in test:
        inside = strata.setdefault(row["region"], {})
        inside[row["modality"]] = inside.get(row["modality"], 0) + 1
    first = {judge: study.ratings[judge, 0].values() for judge in study.judges}
    return Counts(
        roles=_sorted(Counter(row["role"] for row in sample)),
        strata={region: _sorted(inside) for region, inside in sorted(strata.items())},
        images=sum(len(row["numbers"]) for row in test),
        gold_scope=_sorted(Counter(row["gold_scope"] for row in test)),
        flags=_sorted(Counter(flag for row in test for flag in row["flags"])),
        statuses={arm: _sorted(Counter(asked.statuses.tolist())) for arm, asked in study.arms.items()},
        judgements={judge: _sorted(Counter(row["status"] for row in rows)) for judge, rows in first.items()},
        judged_by={
            judge: _sorted(Counter(row["judged_by"] for row in rows if row["judged_by"]))
            for judge, rows in first.items()
        },
        fingerprints={
            arm: len({(row["model"], row["fingerprint"]) for row in asked.samples if row["model"]})
            for arm, asked in study.arms.items()
        },
    )


def _sorted(found: Mapping[str, int]) -> dict[str, int]:
    return {name: found[name] for name in sorted(found)}


def warnings(study: Study, found: Counts, costs: list[Cost]) -> Iterator[str]:
    """A sentence for everything that a reader must know before trusting a number."""
    without = {(arm, row["item"]) for arm, one in study.arms.items() for row in one.answers if row["status"] == "error"}
    for judge, statuses in found.judgements.items():
        rows = study.ratings[judge, 0]
        lost = Counter(row["status"] for key, row in rows.items() if row["status"] not in GIVEN and key not in without)
        if lost:
            said = ", ".join(f"{name} {n:,}" for name, n in sorted(lost.items()))
            yield (
                f"judge {judge} gave no rating of {lost.total():,} of {len(rows) - len(without):,} answers ({said}): "
                "they leave the fractions, and each comparison says what any rating of them could make"
            )
        if statuses.get("fallback"):
            yield f"judge {judge}: {statuses['fallback']:,} ratings are by its fallback judge"
        elsewhere = [name for name, n in found.judged_by[judge].items() if n]
        if len(elsewhere) > 1 + bool(statuses.get("fallback")):
            yield f"judge {judge} answered as several models: {', '.join(elsewhere)}"
    for arm, statuses in found.statuses.items():
        n = sum(statuses.values())
        if statuses.get("error"):
            yield f"arm {arm}: {statuses['error']:,} of {n:,} requests failed: no rating, and nothing found"
        if statuses.get(LOOPING):
            yield (
                f"arm {arm} repeats itself in {statuses[LOOPING]:,} of {n:,} answers; every measure is shown with and "
                "without them"
            )
        if found.fingerprints[arm] > 1:
            yield f"arm {arm} was answered by {found.fingerprints[arm]:,} systems of different fingerprints"
    yield from (f"{one.name}: {one.price_warning}" for one in costs if one.price_warning)
