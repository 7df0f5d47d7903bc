"""Join the measures of all variants and seeds: mean and spread of each, and what lies between it and the one as it is.

in   measures  tables.MEASURES of each run
     runs      variant and seed of each, with a stroke between them, in the same order
out  ablations  tables.MEASURES: rows of each seed with the variant as system, and means over the seeds
     notes      JSON: the runs that were joined
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pyarrow as pa

from stages.lib.core import cli, files, tables
from stages.lib.core.errors import ParamsError
from stages.lib.metrics import measures
from stages.lib.metrics.measures import Estimate, Key, Measured, Measures, Subject
from stages.lib.metrics.over_seeds import join
from stages.lofi.ablations import AS_IS
from stages.lofi.notes import CHAPTER


def ablate(runs: Mapping[tuple[str, int], Measures]) -> pa.Table:
    """Measures of all runs under the names of their variants, their means over seeds, and differences from `AS_IS`.

    A difference is taken seed by seed, so it is paired; its spread is that over seeds.

    Args:
        runs: Measures of one encoder and one grounder, by variant and seed.

    Returns:
        Table of `tables.MEASURES`. Means have no seed; their spread is that of training alone, so no interval.

    Raises:
        MetricInputError: If a metric is not in the catalog.
    """
    of_seeds: dict[int, dict[Subject, dict[Key, Estimate]]] = {}
    for (variant, seed), found in runs.items():
        named = {_renamed(subject, variant): dict(measured) for subject, measured in found.items()}
        as_is = {_renamed(subject, AS_IS): measured for subject, measured in runs.get((AS_IS, seed), {}).items()}
        if variant != AS_IS:
            named |= {
                subject._replace(other=AS_IS): _less(measured, as_is[plain])
                for subject, measured in list(named.items())
                if subject.other is None and (plain := subject._replace(system=AS_IS)) in as_is
            }
        of_seeds.setdefault(seed, {}).update(named)
    rows = [measures.table(CHAPTER, found, seed) for seed, found in of_seeds.items()]
    if len(of_seeds) > 1:
        rows.append(measures.table(CHAPTER, join(of_seeds, {}, confidence=0.0)))
    return pa.concat_tables(rows)


def _renamed(subject: Subject, variant: str) -> Subject:
    """The same with the variant in place of the system, and of the system's own blind rows."""
    other = subject.other
    if other is not None:
        _, stroke, seen = other.partition("/")
        other = f"{variant}{stroke}{seen}"
    return subject._replace(system=variant, other=other)


def _less(first: Measured, second: Measured) -> dict[Key, Estimate]:
    """First less second, measure by measure, without an interval."""
    keys = [key for key in first if key in second]
    return {key: replace(measures.estimate(measures.difference(first, second, key)), n=first[key].n) for key in keys}


def main(argv: Sequence[str] | None = None) -> None:
    """Read the measures of all runs, join them, write."""
    many = ("measures", "runs")
    args = cli.parse(__doc__, argv, reads=many, writes=("ablations", "notes"), many=many)
    if len(args.measures) != len(args.runs):
        raise ParamsError("--runs:", [f"found {len(args.runs)}, wanted {len(args.measures)}, one for each measures"])
    runs = {}
    for name, path in zip(args.runs, args.measures, strict=True):
        variant, _, seed = name.rpartition("/")
        runs[variant, int(seed)] = measures.from_table(tables.read(path, tables.MEASURES)).get(CHAPTER, {})
    tables.write(args.ablations, ablate(runs), tables.MEASURES)
    files.write_json(args.notes, {"runs": list(args.runs)})


if __name__ == "__main__":
    cli.run(main)
