"""Parameters of ingest for a data folder of small images."""

from pathlib import Path
from typing import Any

import yaml

from stages.data import ingest
from stages.lib.core import params as parameters

PARAMS = Path(__file__).parents[2] / "params.yaml"


def folder_params(root: Path, **changes: Any) -> ingest.Params:
    """As `folder_document`, checked."""
    return parameters.parse(folder_document(root, **changes), {"data.ingest": ingest.Params}).ingest


def folder_document(root: Path, **changes: Any) -> dict[str, Any]:
    """Parameters as the demo ships them, for small images and without a rejected one."""
    shipped = yaml.safe_load(PARAMS.read_text())["data"]["ingest"]
    return {"data": {"ingest": {**shipped, "root": str(root), "max_rejected": 0, "max_pixels": 10_000, **changes}}}
