"""The whole study's parameters: which section belongs to which class."""

from importlib import import_module
from typing import Any

from stages.lib.core import params


@params.section
class StudyParams:
    """What holds for the study as a whole."""

    shards: params.Count  # pieces that normalize, infer and localize are cut into; a piece is the unit of restart


@params.section
class PredictParams:
    """What `snakemake predict` works on."""

    root: params.Text  # folder of unlabelled images
    adapter: params.Text  # folder of the trained adapter
    calibration: params.Text  # calibration that was fitted with it
    localize: params.Text  # folder of the requests and cutoffs that were chosen; none: whole banks, and no cutoff


HOMES = {
    "study": "workflow.registry:StudyParams",
    "simulate": "stages.data.simulate:Params",
    "pretrain": "stages.weights.pretrain:Params",
    "ingest": "stages.data.ingest:Params",
    "normalize": "stages.data.normalize:Params",
    "split": "stages.data.split:Params",
    "fetch": "stages.weights.fetch:Params",
    "model": "stages.lib.models.gemma3:ModelParams",
    "prompt": "stages.lib.models.prompts:PromptParams",
    "train": "stages.nodules.train:Params",
    "infer": "stages.nodules.infer:Params",
    "calibrate": "stages.nodules.calibrate:Params",
    "localize": "stages.lib.detect.driver:Params",
    "choose": "stages.lib.detect.choice:ChooseParams",
    "medgemma": "stages.lib.detect.medgemma:Params",
    "attribution": "stages.lib.detect.attribution:AttributionParams",
    "chexagent": "stages.lib.detect.chexagent.client:ChexagentParams",
    "merge": "stages.lib.detect.detection_rows:MergeParams",
    "combine": "stages.lib.detect.detection_rows:MergeParams",
    "cascade": "stages.nodules.cascade:Params",
    "metrics": "stages.nodules.measure:Params",
    "submit": "stages.nodules.submit:Params",
    "report": "stages.report:Params",
    "predict": "workflow.registry:PredictParams",
}

DEMO = ("simulate", "pretrain")  # sections that only the demo study has: the others bring their images and model
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
