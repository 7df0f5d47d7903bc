"""The whole study's parameters: which section belongs to which class."""

import hashlib
from importlib import import_module
from pathlib import Path
from typing import Any

from stages.lib import params


@params.section
class StudyParams:
    """What holds for the study as a whole."""

    shards: params.Count  # pieces that normalize, infer and localize are cut into; a piece is the unit of restart


@params.section
class PredictParams:
    """What `snakemake predict` works on."""

    root: params.Text  # folder of unlabelled films
    adapter: params.Text  # folder of the trained adapter
    calibration: params.Text  # calibration that was fitted with it
    localize: params.Text  # folder of the requests and cutoffs that were chosen; none: whole banks, and no cutoff


HOMES = {
    "study": "stages.lib.study:StudyParams",
    "simulate": "stages.simulate:Params",
    "pretrain": "stages.pretrain:Params",
    "ingest": "stages.ingest:Params",
    "normalize": "stages.normalize:Params",
    "split": "stages.split:Params",
    "fetch": "stages.fetch:Params",
    "model": "stages.lib.models:ModelParams",
    "prompt": "stages.lib.prompts:PromptParams",
    "train": "stages.train:Params",
    "infer": "stages.infer:Params",
    "calibrate": "stages.calibrate:Params",
    "localize": "stages.lib.localizing:Params",
    "choose": "stages.lib.choice:ChooseParams",
    "medgemma": "stages.localize_medgemma:Params",
    "relevance": "stages.lib.relevance:RelevanceParams",
    "chexagent": "stages.lib.chexagent:ChexagentParams",
    "merge": "stages.lib.places:MergeParams",
    "combine": "stages.lib.places:MergeParams",
    "cascade": "stages.cascade:Params",
    "metrics": "stages.metrics:Params",
    "submit": "stages.submit:Params",
    "report": "stages.report:Params",
    "predict": "stages.lib.study:PredictParams",
}

DEMO = ("simulate", "pretrain")  # sections that only the demo study has: the others bring their films and model
OPTIONAL = (*DEMO, "chexagent")  # sections that a study may do without; CheXagent-2 is too large for the demo


def sections() -> dict[str, type]:
    """Return the class of every section of params.yaml, in the order of the flow."""
    homes = {name: home.split(":") for name, home in HOMES.items()}
    return {name: getattr(import_module(module), cls) for name, (module, cls) in homes.items()}


def check(document: Any) -> None:
    """Check a whole parameter document.

    Raises:
        ParamsError: With every problem of every section.
    """
    wanted = {name: cls for name, cls in sections().items() if name not in OPTIONAL or name in document}
    params.parse(document, wanted, whole=True)


def fingerprint(path: str) -> str:
    """Return a hash of the names, sizes and times of all files below `path`; "absent" if there is none.

    It notices a changed film without opening 60,000 of them.
    """
    root = Path(path)
    if not root.exists():
        return "absent"
    digest = hashlib.sha256()
    for file in sorted(item for item in root.rglob("*") if item.is_file()):
        stat = file.stat()
        digest.update(f"{file.relative_to(root)}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]
