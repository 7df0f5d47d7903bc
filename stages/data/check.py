"""Check that a study can be made of the images, before any of them is normalized.

in   manifest  tables.MANIFEST
out  check     JSON, as `Check`
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import ClassVar

import pyarrow as pa

from stages.lib.core import cli, documents, params, tables
from stages.lib.core.errors import DataError
from stages.lib.metrics.cohort import CohortParams

TABLE_WANTED = (
    "wanted a table of labels in the folder: classification_labels.csv with file_name, label (Nodule or No Finding) "
    "and LIDC_ID, or a CSV with a column of file names and a column of labels, or the tables of a public data set"
)
PREDICT = "to score images without labels, set predict.root to the folder and run 'snakemake predict'"


@params.section
class Check:
    """Images that a study can be made of.

    Attributes:
        positive: Usable images labelled with a nodule, of each source.
        negative: Usable images labelled without one.
        unlabelled: Usable images without a label: they take no part in the split.
        rejected: Images that are not usable.
        patients_unknown: Usable labelled images whose patient is not known.
    """

    written_by: ClassVar[str] = "check"

    positive: Mapping[str, int]
    negative: Mapping[str, int]
    unlabelled: Mapping[str, int]
    rejected: Mapping[str, int]
    patients_unknown: int


def check(manifest: pa.Table, cohort: CohortParams) -> Check:
    """Counts of the images that a study can be made of.

    Args:
        manifest: Table of `tables.MANIFEST`.
        cohort: With the sources of the images that classifiers are trained and measured on.

    Raises:
        DataError: If no image is labelled, or those of the cohort are of one class, with what helps.
    """
    rows = manifest.to_pylist()
    usable = [row for row in rows if row["status"] == "ok"]
    counts = {label: Counter(row["source"] for row in usable if row["label"] == label) for label in (1, 0, None)}
    labelled = [row for row in usable if row["label"] is not None]
    problems = []
    if not labelled:
        problems = _unlabelled(rows, usable)
    else:
        here = {label: sum(counts[label][source] for source in cohort.sources) for label in (1, 0)}
        found = ", ".join(
            f"{source} ({counts[1][source]} with a nodule, {counts[0][source]} without)"
            for source in sorted({row["source"] for row in labelled})
        )
        sources = f"nodules.cohort.sources is [{', '.join(cohort.sources)}]"
        if not any(here.values()):
            problems.append(f"{sources}, and no labelled image is of them; found {found}: set it to the sources found")
        elif not all(here.values()):
            lacking = "with" if not here[1] else "without"
            problems.append(f"{sources}, and no image of them is labelled {lacking} a nodule; found {found}")
    if problems:
        raise DataError("no study can be made of the images:", problems)
    return Check(
        positive=dict(sorted(counts[1].items())),
        negative=dict(sorted(counts[0].items())),
        unlabelled=dict(sorted(counts[None].items())),
        rejected=dict(sorted(Counter(row["source"] for row in rows if row["status"] == "rejected").items())),
        patients_unknown=sum(row["patient_from"] is None for row in labelled),
    )


def _unlabelled(rows: Sequence[Mapping[str, object]], usable: Sequence[Mapping[str, object]]) -> list[str]:
    """Why no image takes part in a study, and what helps."""
    labelled = sum(row["label"] is not None for row in rows)
    if labelled:
        return [f"all {labelled} labelled images are rejected; see the column problem of the manifest"]
    read = sorted({str(row["label_from"]) for row in rows if row["label_from"]})
    if read:
        words = "see data.ingest.positive_labels and negative_labels"
        return [f"none of {len(usable)} images has a label in {', '.join(read)}; {words}", PREDICT]
    return [f"none of {len(usable)} images is labelled: {TABLE_WANTED}", PREDICT]


def main(argv: Sequence[str] | None = None) -> None:
    """Read the manifest, write the counts."""
    args = cli.parse(__doc__, argv, params={"nodules.cohort": CohortParams}, reads=["manifest"], writes=["check"])
    documents.write(args.check, check(tables.read(args.manifest, tables.MANIFEST), args.params.cohort))


if __name__ == "__main__":
    cli.run(main)
