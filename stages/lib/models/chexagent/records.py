"""Files of CheXagent-2, as they were found before it runs."""

from typing import ClassVar

from stages.lib.core import params
from stages.lib.models.snapshot import Snapshot


@params.section
class Parts:
    """The three sets of files that the model consists of, each pinned."""

    written_by: ClassVar[str] = "fetch_chexagent"

    model: Snapshot
    code: Snapshot
    encoder: Snapshot
