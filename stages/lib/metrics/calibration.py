"""From a score to a probability: p = sigmoid(z / temperature + intercept), z the evidence that a classifier gives.

The intercept is what an image without evidence gets: it stands outside of the division, so that a temperature bends the
evidence and never the prevalence.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stages.lib.core import params
from stages.lib.core.errors import CalibrationError

Floats = NDArray[np.float64]
Form = Literal["prior and temperature", "platt"]

FORMS: tuple[Form, ...] = ("prior and temperature", "platt")  # of equally good ones the first is taken
FOLDS = 5  # of validation patients, when a form is chosen
TEMPERATURES = (0.01, 20.0)  # a fit outside has no data behind it: separable classes, or a score that knows nothing
Column = Literal["score", "score_calibrated"]


class Threshold(NamedTuple):
    """A threshold, its value, and the column of `tables.INFER` that it is applied to."""

    name: str
    value: float
    column: Column


def column(name: str, *, calibrated: bool) -> Column:
    """Column that a threshold belongs to: `half` is for the score as the model gave it, the others for the calibrated.

    Args:
        name: One of `thresholds.NAMES`.
        calibrated: Whether calibrated scores exist.

    >>> column("half", calibrated=True), column("f1", calibrated=True), column("f1", calibrated=False)
    ('score', 'score_calibrated', 'score')
    """
    return "score_calibrated" if calibrated and name != "half" else "score"


@params.section
class Calibration:
    """How one model's scores become probabilities, and which scores call an image positive.

    Attributes:
        model: Name of the model.
        method: "prior and temperature" (the intercept follows from training and prevalence, the temperature is fitted),
            "platt" (both are fitted), or "none".
        intercept: Log odds of an image whose evidence is 0; None if nothing was fitted.
        temperature: The evidence is divided by it; None if nothing was fitted.
        at_bound: Whether the temperature stopped at the edge of what is allowed.
        world_prevalence: Fraction of images with a nodule that the probabilities hold for; None if nothing was fitted.
        sources: Sources of the images it was fitted on.
        n: Number of images it was fitted on.
        n_positive: Those with a nodule.
        form_losses: Log loss of each form, cross-validated on validation patients and summed over the classifiers of
            the study that could take either; the method is the form with the least. Empty if there was no choice.
        thresholds_on: Column of an image's confidence, and of all thresholds but `half`, which is for "score":
            "score_calibrated", or "score" if nothing was fitted.
        thresholds: Threshold by name, as thresholds.NAMES; None where there is none.
        reason: Why nothing was fitted; None if it was.
    """

    written_by: ClassVar[str] = "calibrate"

    model: params.Text
    method: Literal["prior and temperature", "platt", "none"]
    intercept: float | None
    temperature: params.PositiveFloat | None
    at_bound: bool
    world_prevalence: params.Fraction | None
    sources: tuple[str, ...]
    n: params.NonNegativeInt
    n_positive: params.NonNegativeInt
    form_losses: Mapping[str, params.NonNegativeFloat]
    thresholds_on: Literal["score_calibrated", "score"]
    thresholds: Mapping[str, float | None]
    reason: str | None

    @property
    def fitted(self) -> bool:
        """Whether there are calibrated scores."""
        return self.intercept is not None and self.temperature is not None

    def probability(self, z: Floats) -> Floats | None:
        """Calibrated probability for each image; None if nothing was fitted.

        Args:
            z: Evidence, see `evidence`, shape (n,).
        """
        if self.intercept is None or self.temperature is None:
            return None
        return Curve(self.temperature, self.intercept).probability(z)

    def threshold(self, name: str) -> Threshold:
        """Threshold by its name, with the column that it is applied to.

        Raises:
            CalibrationError: If it was not chosen.
        """
        value = self.thresholds.get(name)
        if value is None:
            why = self.reason or "no score of a validation image fulfils it"
            raise CalibrationError(f"{self.model}: threshold {name!r} was not chosen ({why}); 'half' always exists")
        return Threshold(name, value, column(name, calibrated=self.fitted))


def sigmoid(z: Floats) -> Floats:
    """1 / (1 + exp(-z)), without overflow.

    >>> sigmoid(np.array([-1000.0, 0.0]))
    array([0. , 0.5])
    """
    return np.exp(-np.logaddexp(0.0, -z))


def log_loss(labels: NDArray[Any], z: Floats, weights: Floats) -> float:
    """Weighted mean of -ln(probability given to the truth), z being the logit of the positive answer.

    >>> round(log_loss(np.array([1, 0]), np.array([0.0, 0.0]), np.ones(2)), 6)
    0.693147
    """
    return float(np.average(np.logaddexp(0.0, z) - labels * z, weights=weights))


def logit(fraction: float) -> float:
    """Log odds of a fraction in (0, 1).

    >>> logit(0.5)
    0.0
    """
    return float(np.log(fraction / (1 - fraction)))


def training_offset(training_odds: float, positive_weight: float) -> float:
    """Evidence that training added to every image: ln odds + ln weight.

    Args:
        training_odds: Images with a nodule for each image without, as the sampler showed them.
        positive_weight: Weight of an image with a nodule in the loss, one without having 1.

    Raises:
        CalibrationError: If a number is out of range.

    Source: Saerens et al., Neural Computation 14: 21, 2002; a weight in the loss acts like as many more samples.

    >>> round(training_offset(1.0, 20.0), 6)
    2.995732
    """
    if not (0 < training_odds < np.inf and 0 < positive_weight < np.inf):
        raise CalibrationError(
            f"found training odds {training_odds} and positive weight {positive_weight}; wanted two positive numbers"
        )
    return float(np.log(training_odds) + np.log(positive_weight))


class Curve(NamedTuple):
    """Temperature and intercept."""

    temperature: float
    intercept: float

    def log_odds(self, z: Floats) -> Floats:
        """Log odds of each image, from its evidence."""
        return z / self.temperature + self.intercept

    def probability(self, z: Floats) -> Floats:
        """Probability of a nodule for each image, from its evidence."""
        return sigmoid(self.log_odds(z))


class Sample(NamedTuple):
    """Images that a calibration is fitted on.

    Attributes:
        labels: 0 or 1, shape (n,).
        evidence: Shape (n,), see `evidence`.
        weights: How much each image counts, shape (n,).
        patients: Patient of each image, shape (n,).
        offset: Evidence that training added to every image: ln odds + ln weight as the loss saw the classes. None if
            the evidence is no difference of logits, so that 0 does not stand for even odds.
    """

    labels: NDArray[Any]
    evidence: Floats
    weights: Floats
    patients: NDArray[Any]
    offset: float | None

    def part(self, keep: NDArray[np.bool_]) -> "Sample":
        """Some of the images."""
        return Sample(self.labels[keep], self.evidence[keep], self.weights[keep], self.patients[keep], self.offset)


def margins(infer: pa.Table) -> Floats | None:
    """Logit of the positive answer less that of the negative one, shape (n,); None if an image lacks one of them.

    Args:
        infer: Table of `tables.INFER`.
    """
    logits = infer["logit_positive"], infer["logit_negative"]
    if any(column.null_count for column in logits):
        return None
    return np.asarray(logits[0].to_numpy() - logits[1].to_numpy(), np.float64)


def evidence(infer: pa.Table) -> Floats:
    """What each image speaks for a nodule, shape (n,): the difference of the two logits; without logits, the score.

    Images are ranked by it and not by their score: from a difference of 37 on, the score is exactly 1, and tells none
    of them from another.

    Args:
        infer: Table of `tables.INFER`.

    >>> logits = {"logit_negative": [0.0, 0.0], "logit_positive": [38.0, 45.0], "score": [1.0, 1.0]}
    >>> evidence(pa.table(logits)).tolist()
    [38.0, 45.0]
    """
    found = margins(infer)
    return infer["score"].to_numpy() if found is None else found


def choose_form(samples: Sequence[Sample]) -> tuple[Form, dict[str, float]]:
    """One form for all classifiers of a study: that with the least log loss on patients it was not fitted on.

    Two parameters always fit better than one, so the loss is cross-validated over `FOLDS` folds of patients. It is
    summed over those classifiers that could take either; without one, it is Platt's.

    Returns:
        The form, and the sum of each.
    """
    either = [sample for sample in samples if sample.offset is not None]
    if not either:
        return "platt", {}
    losses = {form: float(sum(_cross_validated(sample, form) for sample in either)) for form in FORMS}
    return min(FORMS, key=lambda form: losses[form]), {str(form): loss for form, loss in losses.items()}


def _cross_validated(sample: Sample, form: Form) -> float:
    """Log loss of the images of each fold under the curve fitted on the others."""
    total = 0.0
    for fold in _folds(sample):
        others, held = sample.part(~fold), sample.part(fold)
        if len(np.unique(others.labels)) < len(np.unique(sample.labels)):
            continue  # nothing can be fitted without both classes
        log_odds = fit(others, form).log_odds(held.evidence)
        total += log_loss(held.labels, log_odds, held.weights) * float(held.weights.sum())
    return total / float(sample.weights.sum())


def _folds(sample: Sample) -> Iterator[NDArray[np.bool_]]:
    """Which images are in each fold: whole patients in turn, those with a nodule first, so that each fold has some."""
    patients, where = np.unique(sample.patients, return_inverse=True)
    positive = np.zeros(len(patients), bool)
    np.logical_or.at(positive, where, sample.labels == 1)
    turn = np.empty(len(patients), int)
    turn[np.argsort(~positive, kind="stable")] = np.arange(len(patients)) % FOLDS
    for fold in range(FOLDS):
        inside = turn[where] == fold
        if inside.any():
            yield inside


def fit(sample: Sample, form: Form) -> Curve:
    """The curve of one form with the least log loss; a sample without logits takes Platt's, whatever the form."""
    if form == "platt" or sample.offset is None:
        return fit_platt(sample.labels, sample.evidence, sample.weights)
    return fit_temperature(sample.labels, sample.evidence, sample.weights, sample.offset)


def fit_temperature(labels: NDArray[Any], z: Floats, weights: Floats, offset: float) -> Curve:
    """The temperature in `TEMPERATURES` with the least log loss of (z - offset) / temperature + logit(prevalence).

    The prevalence is that of the weighted labels. An image whose evidence is what training alone put there gets it,
    whatever the temperature.

    Args:
        labels: 0 or 1, shape (n,), both of them.
        z: Differences of logits, shape (n,).
        weights: How much each image counts, shape (n,).
        offset: See `Sample`.

    Source: Guo et al., ICML 2017, section 4.2, on log likelihood ratios; the prior as Saerens et al. 2002.
    """
    from scipy.optimize import minimize_scalar

    prior, ratio = logit(float(np.average(labels, weights=weights))), z - offset
    low, high = np.log(TEMPERATURES)
    found = minimize_scalar(
        lambda t: log_loss(labels, ratio / np.exp(t) + prior, weights),
        bounds=(low, high),
        method="bounded",
        options={"xatol": 1e-9},
    )
    temperature = float(np.exp(found.x))
    return Curve(temperature, prior - offset / temperature)


def fit_platt(labels: NDArray[Any], z: Floats, weights: Floats) -> Curve:
    """The temperature in `TEMPERATURES` and the intercept with the least log loss of z / temperature + intercept.

    Source: Platt, Advances in Large Margin Classifiers, 1999, without his smoothed targets.
    """
    from scipy.optimize import minimize

    # In slope and intercept of the centred logits the loss is convex and well scaled.
    centre, spread = float(np.average(z, weights=weights)), max(float(np.std(z)), 1e-9)
    unit = (z - centre) / spread

    def loss(x: Floats) -> tuple[float, Floats]:
        log_odds = x[0] * unit + x[1]
        error = weights * (sigmoid(log_odds) - labels) / weights.sum()
        return log_loss(labels, log_odds, weights), np.array([np.dot(error, unit), error.sum()])

    slopes = (spread / TEMPERATURES[1], spread / TEMPERATURES[0])
    start = np.array([np.clip(1.0, *slopes), logit(float(np.average(labels, weights=weights)))])
    options = {"ftol": 1e-15, "gtol": 1e-10, "maxiter": 1000}
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=[slopes, (None, None)], options=options).x
    temperature = spread / float(found[0])
    return Curve(temperature, float(found[1]) - centre / temperature)


def at_bound(temperature: float) -> bool:
    """Whether a fitted temperature stopped at an end of `TEMPERATURES`."""
    low, high = TEMPERATURES
    return temperature <= low * 1.001 or temperature >= high / 1.001
