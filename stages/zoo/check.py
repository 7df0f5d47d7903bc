"""Check that all rows stand: silent but for a count, or an error with each row's reason and a command that tries again.

in   fits      records.Fit of each row; the file's name is the row's
     inferred  records.Inferred of each row, likewise
     embedded  records.Embedded of the features: features/<name>.json, or tokens/<name>/<purpose>.json
     localized  records.Localized of each trained localizer
out  check     JSON: the rows that stand
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from stages.lib.core import cli, documents, params
from stages.lib.core.errors import ProblemsError
from stages.lib.core.log import LOG
from stages.zoo.record_files import features_name
from stages.zoo.records import Embedded, Failure, Fit, Inferred, Localized
from stages.zoo.rows import failure

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
) -> Checked:
    """Rows that stand, if all do.

    Args:
        fits: Record of each row's fit, by the path of its file.
        inferred: Record of each row's scores, likewise.
        embedded: Record of each features, likewise.
        localized: Record of each trained localizer, likewise.

    Raises:
        FailedRowsError: If a row failed: the row, the stage, the reason and the command, for each.
    """
    of_infer = {one.model: one for one in inferred.values()}
    raw = {one.model: path for path, one in inferred.items()}
    where = {**raw, **{one.model: path for path, one in fits.items()}}  # the fit's, if there is one
    of_fit = {one.model: one for one in fits.values()}
    problems = []
    for name in where:
        failed = failure(of_fit.get(name), of_infer.get(name))
        if failed is not None:
            files = _files(name, failed, of_fit.get(name), embedded, where, raw)
            reason = " ".join(failed.reason.split())
            problems.append(f"{name}: {failed.stage}: {reason}\n    {AGAIN.format(files=' '.join(files))}")
    found = localized or {}
    for path, one in found.items():
        if one.failure is not None:
            same = [file for file, its in embedded.items() if its.failure == one.failure]
            files = [shard for file in same for shard in shards(file)] or [path]
            reason = " ".join(one.failure.reason.split())
            problems.append(
                f"{one.localizer}: {one.failure.stage}: {reason}\n    {AGAIN.format(files=' '.join(files))}"
            )
    if problems:
        stand = len(where) + len(found) - len(problems)
        count = "1 row" if len(problems) == 1 else f"{len(problems)} rows"
        raise FailedRowsError(
            f"{count} of zoo.models{' and zoo.localizers' * bool(found)} failed, {stand} stand:", problems
        )
    return Checked(rows=(*of_fit, *(one.localizer for one in found.values())))


def _files(
    name: str,
    failed: Failure,
    fit: Fit | None,
    embedded: Mapping[str, Embedded],
    where: Mapping[str, str],
    raw: Mapping[str, str],
) -> list[str]:
    """Files that are to be made again, from where the row failed."""
    if failed.stage in ("embed", "tokens"):
        same = [path for path, one in embedded.items() if one.failure == failed]
        own = [path for path in same if fit is not None and features_name(path) == fit.features]
        return [shard for path in own or same for shard in shards(path)] or [where[name]]
    return [raw.get(name, where[name])] if failed.stage == "infer" else [where[name]]


def shards(path: str) -> list[str]:
    """Records of the shards that a record of features was joined from, which are those that are made again."""
    return sorted(str(one) for one in Path(path).with_suffix("").glob("*.json")) or [path]


def main(argv: Sequence[str] | None = None) -> None:
    """Read the records, check them, write the names of the rows."""
    args = cli.parse(
        __doc__,
        argv,
        reads=("fits", "inferred", "embedded", "localized"),
        writes=("check",),
        many=("fits", "inferred", "embedded", "localized"),
        optional=("embedded", "localized"),
    )
    found = check(
        {path: documents.read(path, Fit) for path in args.fits},
        {path: documents.read(path, Inferred) for path in args.inferred},
        {path: documents.read(path, Embedded) for path in args.embedded or ()},
        {path: documents.read(path, Localized) for path in args.localized or ()},
    )
    LOG.info("check: all %d rows stand", len(found.rows))
    documents.write(args.check, found)


if __name__ == "__main__":
    cli.run(main)
