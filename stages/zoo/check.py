"""Check that all rows stand: silent but for a count, or an error with each row's reason and a command that tries again.

in   fits       records.Fit of each row; the file's name is the row's
     inferred   records.Inferred of each row, likewise
     embedded   records.Embedded of the features: features/<name>.json, or tokens/<name>/<purpose>.json
     localized  records.Localized of each trained localizer
     weights    JSON of each model, as lib.models.snapshot.Snapshot or Missing
     parts      JSON of each model of several sets of files, as lib.models.chexagent.records.Parts or Missing
     environments  records of environments of their own, as lib.models.own_environment.Environment or Unbuilt
out  check      JSON: the rows that stand
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from stages.lib.core import cli, documents, params
from stages.lib.core.errors import ProblemsError
from stages.lib.core.log import LOG
from stages.lib.models.chexagent.records import Parts
from stages.lib.models.own_environment import Environment, Unbuilt
from stages.lib.models.snapshot import Missing, Snapshot
from stages.zoo.record_files import features_name
from stages.zoo.records import Embedded, Failure, Fit, Inferred, Localized
from stages.zoo.rows import failure

OF_MEMBER = ("its member {} failed:", "scores of {}: lacks")  # how an ensemble says that a member has no scores
Needed = Snapshot | Parts | Missing | Environment | Unbuilt  # what a row stands on
AGAIN = "snakemake --cores 2 --forcerun {files} -- zoo_check"


@params.section
class Checked:
    """Rows that stand."""

    rows: tuple[str, ...]


class FailedRowsError(ProblemsError):
    """Rows failed; the others stand."""


def check(
    fits: Mapping[str, Fit],
    inferred: Mapping[str, Inferred],
    embedded: Mapping[str, Embedded],
    localized: Mapping[str, Localized] | None = None,
    weights: Mapping[str, Needed] | None = None,
) -> Checked:
    """Rows that stand, if all do.

    Args:
        fits: Record of each row's fit, by the path of its file.
        inferred: Record of each row's scores, likewise.
        embedded: Record of each features, likewise.
        localized: Record of each trained localizer, likewise.
        weights: Record of each model and each environment, likewise; one that could not be had is looked for again.

    Raises:
        FailedRowsError: If a row failed: the row, the stage, the reason and the command, for each.
    """
    of_infer = {one.model: one for one in inferred.values()}
    raw = {one.model: path for path, one in inferred.items()}
    where = {**raw, **{one.model: path for path, one in fits.items()}}  # the fit's, if there is one
    of_fit = {one.model: one for one in fits.values()}
    failures = [(name, failure(of_fit.get(name), of_infer.get(name)), where[name]) for name in where]
    failures += [(one.localizer, one.failure, path) for path, one in (localized or {}).items()]
    problems = []
    why = {name: failed for name, failed, _ in failures if failed is not None}
    paths = {name: path for name, _, path in failures}
    for name, failed, _ in failures:
        if failed is not None:
            lacking = [file for file, one in (weights or {}).items() if _is_missing(one, failed)]
            first = _origin(name, why)
            path = paths[first]
            files = lacking or _files(why[first], of_fit.get(first), embedded, path, raw.get(first, path))
            reason = " ".join(failed.reason.split())
            problems.append(f"{name}: {failed.stage}: {reason}\n    {AGAIN.format(files=' '.join(files))}")
    if problems:
        stand = len(failures) - len(problems)
        count = "1 row" if len(problems) == 1 else f"{len(problems)} rows"
        raise FailedRowsError(
            f"{count} of zoo.models{' and zoo.localizers' * bool(localized)} failed, {stand} stand:", problems
        )
    return Checked(rows=tuple(name for name, _, _ in failures))


def _origin(name: str, why: Mapping[str, Failure]) -> str:
    """The row by which a row failed: a member that it names, which is to be tried again before it; or itself."""
    reason = why[name].reason
    members = [one for one in why if one != name and any(said.format(one) in reason for said in OF_MEMBER)]
    return _origin(members[0], why) if members else name


def _is_missing(found: Needed, failed: Failure) -> bool:
    """Whether a row failed as a model or an environment could not be had."""
    return isinstance(found, Missing | Unbuilt) and found.missing in failed.reason


def _files(failed: Failure, fit: Fit | None, embedded: Mapping[str, Embedded], fitted: str, scored: str) -> list[str]:
    """Files that are to be made again, from where the row failed."""
    if failed.stage in ("embed", "tokens"):
        same = [path for path, one in embedded.items() if one.failure == failed]
        own = [path for path in same if fit is not None and features_name(path) == fit.features]
        return [shard for path in own or same for shard in shards(path)] or [fitted]
    return [scored] if failed.stage == "infer" else [fitted]


def shards(path: str) -> list[str]:
    """Records of the shards that a record of features was joined from, which are those that are made again."""
    return sorted(str(one) for one in Path(path).with_suffix("").glob("*.json")) or [path]


def main(argv: Sequence[str] | None = None) -> None:
    """Read the records, check them, write the names of the rows."""
    args = cli.parse(
        __doc__,
        argv,
        reads=("fits", "inferred", "embedded", "localized", "weights", "parts", "environments"),
        writes=("check",),
        many=("fits", "inferred", "embedded", "localized", "weights", "parts", "environments"),
        optional=("embedded", "localized", "weights", "parts", "environments"),
    )
    found = check(
        {path: documents.read(path, Fit) for path in args.fits},
        {path: documents.read(path, Inferred) for path in args.inferred},
        {path: documents.read(path, Embedded) for path in args.embedded or ()},
        {path: documents.read(path, Localized) for path in args.localized or ()},
        {
            **{path: documents.read_either(path, Snapshot, Missing) for path in args.weights or ()},
            **{path: documents.read_either(path, Parts, Missing) for path in args.parts or ()},
            **{path: documents.read_either(path, Environment, Unbuilt) for path in args.environments or ()},
        },
    )
    LOG.info("check: all %d rows stand", len(found.rows))
    documents.write(args.check, found)


if __name__ == "__main__":
    cli.run(main)
