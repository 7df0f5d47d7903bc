"""Files of CheXagent, as they were found before it runs."""

from typing import ClassVar

from stages.lib.core import params
from stages.lib.models.snapshot import Snapshot


@params.section
class Parts:
    """The sets of files that the model consists of, each pinned."""

    written_by: ClassVar[str] = "fetch_chexagent"

    model: Snapshot
    code: Snapshot
    encoder: Snapshot | None  # of CheXagent-2; null for the first CheXagent, which has its encoder in itself

    @property
    def whole(self) -> dict[str, Snapshot]:
        """Those that there are, by name."""
        found = {"model": self.model, "code": self.code, "encoder": self.encoder}
        return {name: part for name, part in found.items() if part}
