"""Registry of parameters: the class of each section of params.yaml."""

from collections.abc import Collection, Mapping
from importlib import import_module
from types import SimpleNamespace
from typing import Annotated, Any, Literal

from pydantic import Field

from stages.data import ingest
from stages.findings import arms, judges, retrieve
from stages.lib.core import kinds, params
from stages.lib.core.errors import ParamsError
from stages.lib.models.chat import checks
from workflow import lofi_checks, renamed, zoo_checks
from workflow.chapters import CHAPTERS, ROOTS

NAME = r"^[a-z][a-z0-9]*(_[a-z0-9]+)*$"


@params.section
class StudyParams:
    """Parameters of the study as a whole."""

    chapters: tuple[
        Literal["nodules", "zoo", "findings", "lofi"], ...
    ]  # whose results `rule all`, dvc.yaml and the report take
    commercial: bool  # whether it serves a commercial purpose, which some licences forbid
    shards: params.Count  # that normalize, infer, select and localize are cut into; a shard is the unit of restart
    # repeats of split and training; each is added to data.split.seed and nodules.train.seed. The first is the study
    # itself, the others lie below results/nodules/seeds/
    seeds: tuple[params.NonNegativeInt, ...]

    def __post_init__(self) -> None:
        """Check what the types do not say."""
        for name in ("chapters", "seeds"):
            found = getattr(self, name)
            if not found or len(set(found)) < len(found):
                raise ValueError(f"{name} {list(found)}, wanted one or more, none of them twice")


@params.section
class ExternalParams:
    """Other data that the study's classifiers are measured on."""

    roots: dict[Annotated[str, Field(pattern=NAME)], params.Text]  # a data folder by name


@params.section
class PredictParams:
    """Inputs of `snakemake predict`."""

    root: params.Text  # folder of images, without labels or with them
    layout: ingest.Layout  # of that folder, as data.ingest.layout
    accept: tuple[ingest.Accepted, ...]  # what an image may be, by its header, and get an answer
    max_rejected: params.NonNegativeInt  # images without an answer beyond which nothing is predicted
    max_pixels: params.Count  # pixels of one image beyond which it is not decoded
    outputs: tuple[Literal["csv", "json", "sr", "gsps"], ...]  # kinds of files; sr and gsps of DICOM images alone
    list_rejected: bool  # whether images without an answer have rows in classification_test_results.csv
    model: params.Text  # row of zoo.models, as it was fitted here, that says whether; none: nodules.submit.classifier
    adapter: params.Text  # folder of the trained adapter
    calibration: params.Text  # calibration that was fitted with it
    localize: params.Text  # folder of the chosen prompts and cutoffs; none: whole banks, and no cutoff

    def __post_init__(self) -> None:
        """Check what the types do not say."""
        if not self.outputs or len(set(self.outputs)) < len(self.outputs):
            raise ValueError(f"outputs {list(self.outputs)}, wanted one or more, none of them twice")


HOMES = {
    "study": "workflow.registry:StudyParams",
    "data.simulate": "stages.data.simulate:Params",
    "data.ingest": "stages.data.ingest:Params",
    "data.normalize": "stages.data.normalize:Params",
    "data.split": "stages.data.split:Params",
    "data.external": "workflow.registry:ExternalParams",
    "weights.pretrain": kinds.BASES,
    "weights.fetch": "stages.weights.fetch:Params",
    "nodules.cohort": "stages.lib.metrics.cohort:CohortParams",
    "nodules.model": "stages.lib.models.gemma3:ModelParams",
    "nodules.prompt": "stages.lib.models.prompts:PromptParams",
    "nodules.train": "stages.nodules.train:Params",
    "nodules.classifiers": kinds.CLASSIFIERS,
    "nodules.infer": "stages.nodules.infer:Params",
    "nodules.calibrate": "stages.nodules.calibrate:CalibrateParams",
    "nodules.localizers": kinds.LOCALIZERS,
    "nodules.localize": "stages.lib.detect.driver:Params",
    "nodules.select": "stages.lib.detect.choice:SelectParams",
    "nodules.tolerance": "stages.lib.metrics.cohort:ToleranceParams",
    "nodules.link": "stages.lib.detect.detection_rows:LinkParams",
    "nodules.cascade": "stages.nodules.cascade:Params",
    "nodules.measure": "stages.nodules.measuring.results:MeasureParams",
    "nodules.submit": "stages.nodules.submission:SubmitParams",
    "nodules.audit": "stages.lib.images.variants:AuditParams",
    "nodules.audit_measure": "stages.nodules.audit_measure:Params",
    "nodules.section": "stages.nodules.section:Params",
    "zoo.models": kinds.MODELS,
    "zoo.localizers": kinds.TRAINED_LOCALIZERS,
    "zoo.embed": "stages.zoo.embed:Params",
    "zoo.bank": "stages.lib.learn.candidate:Bank",
    "zoo.select": "stages.zoo.select:SelectParams",
    "zoo.measure": "stages.zoo.measuring:MeasureParams",
    "zoo.curve": "stages.zoo.curve:CurveParams",
    "zoo.localizer_cv": "stages.zoo.localizer_cv:Params",
    "zoo.section": "stages.zoo.section:Params",
    "zoo.report": "stages.report:Params",
    "findings.simulate": "stages.findings.simulate:Params",
    "findings.ingest": "stages.findings.ingest:Params",
    "findings.sample": "stages.findings.sample:Params",
    "findings.retrievers": kinds.RETRIEVERS,
    "findings.arms": kinds.ARMS,
    "findings.judges": kinds.JUDGES,
    "findings.client": "stages.lib.models.chat.client_params:ClientParams",
    "findings.train": "stages.findings.train:Params",
    "findings.measure": "stages.findings.measuring.settings:MeasureParams",
    "findings.audit": "stages.findings.audits:Params",
    "findings.audit_measure": "stages.findings.audit_measure:Params",
    "findings.section": "stages.findings.section:Params",
    "findings.report": "stages.report:Params",
    "lofi.simulate": "stages.lofi.simulate:Params",
    "lofi.ingest": "stages.lofi.ingest:Params",
    "lofi.normalize": "stages.data.normalize:Params",
    "lofi.pair": "stages.lofi.pair:Params",
    "lofi.model": "stages.lib.models.lofi.params:ModelParams",
    "lofi.train": "stages.lofi.train:Params",
    "lofi.encoders": kinds.ENCODERS,
    "lofi.embed": "stages.lofi.embed:Params",
    "lofi.retrieve": "stages.lofi.retrieve:Params",
    "lofi.tune": "stages.lofi.tune:Params",
    "lofi.grounders": kinds.GROUNDERS,
    "lofi.ground": "stages.lofi.ground:Params",
    "lofi.measure": "stages.lofi.measuring:MeasureParams",
    "lofi.ablations": "stages.lofi.ablations:Params",
    "lofi.alike": "stages.lofi.alike:Params",
    "lofi.export": "stages.lofi.export:Params",
    "lofi.section": "stages.lofi.section:Params",
    "lofi.report": "stages.report:Params",
    "report": "stages.report:Params",
    "predict": "workflow.registry:PredictParams",
}

APART = (
    "study",
    "weights.pretrain",
    "nodules.audit",
    "nodules.audit_measure",
    "nodules.section",
    "zoo.section",
    "zoo.report",
    "findings.section",
    "findings.report",
    "findings.client",
    "lofi.section",
    "lofi.report",
    "report",
    "predict",
)  # sections that no number depends on
DEMO = (
    "data.simulate",
    "weights.pretrain",
    "findings.simulate",
    "lofi.simulate",
)  # what only the demo study has: the others bring their images and model


def sections() -> dict[str, params.Section]:
    """Class of every section of params.yaml, in the order of the flow; of systems, how rows are checked."""
    found: dict[str, params.Section] = {}
    for name, home in HOMES.items():
        module, _, cls = home.partition(":")
        found[name] = getattr(import_module(module), cls) if cls else kinds.rows(home)
    return found


def has(document: Any, name: str) -> bool:
    """Whether a section, by its dotted name, is in a parameter document."""
    chapter, _, last = name.rpartition(".")
    inside = document.get(chapter) if chapter else document
    return isinstance(inside, Mapping) and last in inside


def chapters(document: Any) -> list[str]:
    """Chapters that a parameter document is about: those of which it has a section, and those of study.chapters.

    One that names none is taken for the nodules, as every one was before there was another chapter.

    >>> chapters({"study": {"chapters": ["findings"]}, "data": {}})
    ['nodules', 'findings']
    """
    inside = document if isinstance(document, Mapping) else {}
    study = inside.get("study")
    named = study.get("chapters") if isinstance(study, Mapping) else None
    named = named if isinstance(named, list) else []
    found = [name for name, one in CHAPTERS.items() if name in named or any(root in inside for root in one.roots)]
    return found or ["nodules"]


def absent(document: Any) -> set[str]:
    """Sections of chapters that a parameter document is not about."""
    elsewhere = {*ROOTS} - {root for name in chapters(document) for root in CHAPTERS[name].roots}
    return {name for name in HOMES if name.partition(".")[0] in elsewhere}


def check(document: Any) -> None:
    """Check a whole parameter document, and that each system it names is there.

    Raises:
        ParamsError: With every problem of every section; an old parameter's has its name now.
    """
    left_out = absent(document)
    wanted = {
        name: cls
        for name, cls in sections().items()
        if name not in left_out and (name not in DEMO or has(document, name))
    }
    params.parse(document, wanted, whole=True, renamed=renamed.everywhere())
    problems = [*renamed.moved_paths(document), *_unknown_row(document)]
    for chapter, unknown in WRONG.items():
        inside = {name: cls for name, cls in wanted.items() if name.startswith(f"{chapter}.")}
        problems += unknown(params.parse(document, inside), document) if inside else []
    if problems:
        raise ParamsError(f"{len(problems)} problem(s) in the parameters:", problems)


def _unknown_row(document: Mapping[str, Any]) -> list[str]:
    """A sentence if predict names a row of the zoo that is not there."""
    row = document.get("predict", {}).get("model", "none")
    rows = document.get("zoo", {}).get("models", {})
    return [] if row == "none" else _not_there({"predict.model": (row, [*rows])})


def _wrong_systems(given: SimpleNamespace, document: Mapping[str, Any]) -> list[str]:
    """A sentence for each thing that is wrong with the systems of the chapter findings, and each that is not there."""
    named = {"findings.measure.primary_judge": (given.measure.primary_judge, [*given.judges])}
    named |= {
        f"findings.measure.comparisons.{number}.{place}": (one, [*given.arms])
        for number, pair in enumerate(given.measure.comparisons)
        for place, one in enumerate(pair)
    }
    return [
        *_not_there(named),
        *arms.problems(given.arms, tuple(given.retrievers)),
        *retrieve.problems(given.retrievers),
        *judges.problems(given.judges),
        *checks.study(given.arms, given.judges, given.ingest.terms),
    ]


def _not_there(named: Mapping[str, tuple[str, Collection[str]]]) -> list[str]:
    """A sentence for each parameter that names a system which is not there.

    Args:
        named: What is named and what is there, by the parameter.
    """
    return [
        f"{key}: found {found!r}, wanted one of {', '.join(known) or 'those that are there, which are none'}"
        for key, (found, known) in named.items()
        if found not in known
    ]


def _unknown_systems(given: SimpleNamespace, document: Mapping[str, Any]) -> list[str]:
    """A sentence for each system of the chapter nodules that is named and is not there."""
    derived = ("combined", "cascade")
    localizers, classifiers = (*given.localizers, *derived), tuple(given.classifiers)
    named = {
        "nodules.submit.localizer": (given.submit.localizer, localizers),
        "nodules.submit.classifier": (given.submit.classifier, classifiers),
        "nodules.cascade.localizer": (given.cascade.localizer, (*given.localizers, "combined")),
        "nodules.cascade.classifier": (given.cascade.classifier, classifiers),
    }
    named |= {
        f"nodules.classifiers.{name}.localizer": (row.params.localizer, (*given.localizers, "combined"))
        for name, row in given.classifiers.items()
        if row.kind == "points"
    }
    named |= {
        f"nodules.measure.comparisons.{number}.{place}": (one, classifiers)
        for number, pair in enumerate(given.measure.comparisons)
        for place, one in enumerate(pair)
    }
    return _not_there(named) + [
        f"nodules.localizers.{name}: wanted another name, this one is a localizer of the study's own"
        for name in derived
        if name in given.localizers
    ]


def _wrong_lofi(given: SimpleNamespace, document: Mapping[str, Any]) -> list[str]:
    """A sentence for each encoder or grounder of the chapter lofi that is named and is not there, or does not fit."""
    return [*_not_there(lofi_checks.named(given)), *lofi_checks.problems(given)]


def _wrong_zoo(given: SimpleNamespace, document: Mapping[str, Any]) -> list[str]:
    """A sentence for each row of the chapter zoo that is named and is not there, or does not fit."""
    return [*_not_there(zoo_checks.named(given, document)), *zoo_checks.problems(given, document)]


WRONG = {"nodules": _unknown_systems, "findings": _wrong_systems, "lofi": _wrong_lofi, "zoo": _wrong_zoo}
