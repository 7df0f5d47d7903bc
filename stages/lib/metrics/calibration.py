"""From a score to a probability: p = sigmoid((z + shift) / temperature), z the difference of the two logits."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stages.lib.core import params
from stages.lib.core.errors import CalibrationError

Floats = NDArray[np.float64]

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
        method: "prior and temperature" (the shift follows from training, the temperature is fitted), "platt" (both are
            fitted), or "none".
        shift: Added to the difference of the logits; None if nothing was fitted.
        temperature: The sum is divided by it; None if nothing was fitted.
        at_bound: Whether the temperature stopped at the edge of what is allowed.
        world_prevalence: Fraction of images with a nodule that the probabilities hold for; None if nothing was fitted.
        sources: Sources of the images it was fitted on.
        n: Number of images it was fitted on.
        n_positive: Those with a nodule.
        thresholds_on: Column of an image's confidence, and of all thresholds but `half`, which is for "score":
            "score_calibrated", or "score" if nothing was fitted.
        thresholds: Threshold by name, as thresholds.NAMES; None where there is none.
        reason: Why nothing was fitted; None if it was.
    """

    written_by: ClassVar[str] = "calibrate"

    model: params.Text
    method: Literal["prior and temperature", "platt", "none"]
    shift: float | None
    temperature: params.PositiveFloat | None
    at_bound: bool
    world_prevalence: params.Fraction | None
    sources: tuple[str, ...]
    n: params.NonNegativeInt
    n_positive: params.NonNegativeInt
    thresholds_on: Literal["score_calibrated", "score"]
    thresholds: Mapping[str, float | None]
    reason: str | None

    def probability(self, z: Floats) -> Floats | None:
        """Calibrated probability for each difference of logits; None if nothing was fitted.

        Args:
            z: Logit of the positive answer minus logit of the negative one, shape (n,).
        """
        if self.shift is None or self.temperature is None:
            return None
        return sigmoid((z + self.shift) / self.temperature)

    def threshold(self, name: str) -> Threshold:
        """Threshold by its name, with the column that it is applied to.

        Raises:
            CalibrationError: If it was not chosen.
        """
        value = self.thresholds.get(name)
        if value is None:
            why = self.reason or "no score of a validation image fulfils it"
            raise CalibrationError(f"{self.model}: threshold {name!r} was not chosen ({why}); 'half' always exists")
        return Threshold(name, value, column(name, calibrated=self.shift is not None))


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


def prior_shift(prevalence: float, training_odds: float, positive_weight: float) -> float:
    """What to add to a logit that was trained at other odds than the world's.

    Args:
        prevalence: Fraction of images with a nodule in the world, in (0, 1).
        training_odds: Images with a nodule for each image without, as the sampler showed them.
        positive_weight: Weight of an image with a nodule in the loss, one without having 1.

    Raises:
        CalibrationError: If a number is out of range.

    Source: Saerens et al., Neural Computation 14: 21, 2002; a weight in the loss acts like as many more samples.

    >>> round(prior_shift(0.5, 1.0, 20.0), 6)
    -2.995732
    """
    if not (0 < prevalence < 1 and 0 < training_odds < np.inf and 0 < positive_weight < np.inf):
        raise CalibrationError(
            f"found prevalence {prevalence}, training odds {training_odds} and positive weight {positive_weight}; "
            "wanted a fraction between 0 and 1 and two positive numbers"
        )
    return float(np.log(prevalence / (1 - prevalence)) - np.log(training_odds) - np.log(positive_weight))


def fit_temperature(labels: NDArray[Any], z: Floats, weights: Floats) -> float:
    """Temperature T in `TEMPERATURES` with the least log loss of z / T.

    Source: Guo et al., ICML 2017, section 4.2.
    """
    from scipy.optimize import minimize_scalar

    low, high = np.log(TEMPERATURES)
    found = minimize_scalar(
        lambda t: log_loss(labels, z / np.exp(t), weights),
        bounds=(low, high),
        method="bounded",
        options={"xatol": 1e-9},
    )
    return float(np.exp(found.x))


def fit_platt(labels: NDArray[Any], z: Floats, weights: Floats) -> tuple[float, float]:
    """Shift and the temperature in `TEMPERATURES` with the least log loss of (z + shift) / temperature.

    Source: Platt, Advances in Large Margin Classifiers, 1999, without his smoothed targets.
    """
    from scipy.optimize import minimize

    # In slope and intercept of the centred logits the loss is convex and well scaled.
    centre, spread = float(np.average(z, weights=weights)), max(float(np.std(z)), 1e-9)
    unit = (z - centre) / spread

    def loss(x: Floats) -> tuple[float, Floats]:
        logit = x[0] * unit + x[1]
        error = weights * (sigmoid(logit) - labels) / weights.sum()
        return log_loss(labels, logit, weights), np.array([np.dot(error, unit), error.sum()])

    fraction = float(np.average(labels, weights=weights))
    slopes = (spread / TEMPERATURES[1], spread / TEMPERATURES[0])
    start = np.array([np.clip(1.0, *slopes), np.log(fraction / (1 - fraction))])
    options = {"ftol": 1e-15, "gtol": 1e-10, "maxiter": 1000}
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=[slopes, (None, None)], options=options).x
    temperature = spread / float(found[0])
    return float(found[1]) * temperature - centre, temperature


def at_bound(temperature: float) -> bool:
    """Whether a fitted temperature stopped at an end of `TEMPERATURES`."""
    low, high = TEMPERATURES
    return temperature <= low * 1.001 or temperature >= high / 1.001
