"""Errors that a user can act on. A message names the thing, what was found and what was wanted."""

from collections.abc import Sequence


class NoduleflowError(Exception):
    """Root of the project's errors, shown to the user as a sentence without a traceback."""


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


class VocabularyError(ProblemsError):
    """A vocabulary of findings cannot be used as it stands."""


class TableError(NoduleflowError):
    """A Parquet artifact is missing, damaged, or not what its schema says."""


class DocumentError(NoduleflowError):
    """A JSON artifact is missing, damaged, or not of the kind that is wanted."""


class ImageError(NoduleflowError):
    """One file cannot be read as a grey image; its row of the manifest is rejected.

    Attributes:
        kind: Why, as a kind of `stages.lib.images.notices`.
    """

    def __init__(self, message: str, kind: str = "unreadable") -> None:
        self.kind = kind
        super().__init__(message)


class SplitError(NoduleflowError):
    """The images cannot be split as the parameters want."""


class SplitFileError(ProblemsError):
    """A split from outside cannot be read, or does not fit the images."""


class SampleError(ProblemsError):
    """Cases cannot be sampled as the parameters want."""


class PoolError(ProblemsError):
    """Vectors cannot be searched as wanted: too few items, patients on both sides, or no vectors of one encoder."""


class ModelError(NoduleflowError):
    """A model cannot be found, loaded or used as the parameters want."""


class MismatchError(ModelError):
    """Pixels or prompts differ from those that a model was trained on."""


class BlindModelError(ModelError):
    """A model gives the same response to every image, a grey square included."""


class EnvironmentBuildError(NoduleflowError):
    """A model's own environment cannot be built, or is no longer as it was built."""


class WorkerError(NoduleflowError):
    """A model's own process refused to work or ended early; its responses so far are kept."""


class TrainingError(NoduleflowError):
    """Training cannot start, or cannot go on."""


class PreemptedError(NoduleflowError):
    """Training was told to stop and wrote a checkpoint; started again, it resumes."""


class UndefinedMetricError(NoduleflowError):
    """A metric is undefined on these data; the message is the reason."""


class MetricInputError(NoduleflowError):
    """The input of a metric is not valid; the message says what was found."""


class CalibrationError(NoduleflowError):
    """Scores cannot be calibrated, or a threshold is needed that was never chosen."""


class ChoiceError(NoduleflowError):
    """A prompt cannot be chosen, or the choice is not of the bank."""


class ExperimentError(NoduleflowError):
    """An experiment or a Git revision cannot be found, or has no results."""


class LedgerError(NoduleflowError):
    """A ledger is damaged, or another process writes to it."""


class ReplayError(ProblemsError):
    """An answer is not in the ledger, and no connection may be opened."""


class BudgetError(NoduleflowError):
    """The next request could cost more than the budget allows; what was answered is kept."""


class EndpointError(NoduleflowError):
    """An endpoint cannot be asked, or refuses what it is asked."""


class RequestsError(ProblemsError):
    """Requests that may not be sent: refused before the first of them."""


class PricesError(ProblemsError):
    """A price table cannot be used, or has no price of a model."""


class VerdictError(NoduleflowError):
    """A judge's response is no verdict; the message says what is wrong with its form."""
