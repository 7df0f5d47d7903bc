"""List the images that get no answer, each with the reason.

in   manifest    tables.MANIFEST
out  unanswered  CSV: file_name,reason; one row for each image that was rejected, only the heading without one
"""

from collections.abc import Sequence

import pyarrow as pa

from stages.lib.core import cli, csvtext, files, tables
from stages.lib.core.log import LOG
from stages.nodules.answers import UNANSWERED


def unanswered(manifest: pa.Table) -> list[tuple[str, str]]:
    """File name of each rejected image, and why it was rejected, by image_id.

    Args:
        manifest: Table tables.MANIFEST.
    """
    rows = manifest.select(["file_name", "status", "problem"]).to_pylist()
    return [(row["file_name"], row["problem"] or "rejected") for row in rows if row["status"] == "rejected"]


def main(argv: Sequence[str] | None = None) -> None:
    """Read, list, write."""
    args = cli.parse(__doc__, argv, reads=["manifest"], writes=["unanswered"])
    rows = unanswered(tables.read(args.manifest, tables.MANIFEST))
    files.write_bytes(args.unanswered, csvtext.csv_bytes(UNANSWERED, rows))
    LOG.info("unanswered: %d images get no answer", len(rows))
    for name, reason in rows:
        LOG.info("unanswered: %r: %s", name, reason)


if __name__ == "__main__":
    cli.run(main)
