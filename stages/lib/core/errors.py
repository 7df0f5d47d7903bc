"""Every error that a user can act on: what it is about, what was found, what was wanted."""

from collections.abc import Sequence


class NoduleflowError(Exception):
    """The root: shown to the user as a sentence, without a traceback."""


class ProblemsError(NoduleflowError):
    """Several problems of one thing, reported together.

    Attributes:
        problems: One sentence each, in the order found.
    """

    def __init__(self, heading: str, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join([heading, *(f"  - {problem}" for problem in problems)]))


class ParamsError(ProblemsError):
    """A parameter is unknown, missing, of the wrong type or out of range."""


class DataError(ProblemsError):
    """A data folder cannot be used as it stands."""


class TableError(NoduleflowError):
    """A Parquet artifact is missing, damaged, or not what its schema says."""


class ImageError(NoduleflowError):
    """One image cannot be read as a grey image; becomes a rejected row of the manifest."""


class SplitError(NoduleflowError):
    """The images cannot be split as asked."""


class ModelError(NoduleflowError):
    """A model cannot be found, loaded or used as asked."""


class MismatchError(ModelError):
    """The pixels or prompts a model was trained on are not the ones it is asked about."""


class BlindModelError(ModelError):
    """A model gives one answer whatever image it is shown, a grey square included."""


class EnvironmentBuildError(NoduleflowError):
    """An environment of its own cannot be built, or is not there as it was built."""


class WorkerError(NoduleflowError):
    """A model's own process refused to work or ended early; what it has answered is kept."""


class TrainingError(NoduleflowError):
    """Training cannot start, or cannot go on."""


class PreemptedError(NoduleflowError):
    """Training was asked to stop and has written a checkpoint; started again, it goes on."""


class UndefinedMetricError(NoduleflowError):
    """A metric has no value on these data; the message is the reason."""


class MetricInputError(NoduleflowError):
    """What was handed to a metric is not what it wants; the message says what was found."""


class CalibrationError(NoduleflowError):
    """Scores cannot be calibrated as asked, or a threshold is asked for that was never chosen."""


class ChoiceError(NoduleflowError):
    """A request or a cutoff cannot be chosen, or the file of the choice cannot be used."""


class ExperimentError(NoduleflowError):
    """An experiment or a Git revision cannot be found, or has no results."""
