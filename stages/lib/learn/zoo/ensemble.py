"""Several rows as one: the mean of their ranks, or a logistic regression on their scores.

Both are made on validation images, as members are not to be trusted on the images that they were trained on. An image's
score depends on the members' scores of that image alone, never on the others that are scored with it.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stages.lib.core import documents, params
from stages.lib.core.errors import ModelError, UndefinedMetricError
from stages.lib.learn.candidate import Fitted, Inputs, Scores, Setting, Tried
from stages.lib.metrics.binary import average_precision
from stages.lib.metrics.calibration import sigmoid
from stages.lib.metrics.thresholds import HALF
from stages.lib.models.backbone import Row

READS = "scores"
FILE = "ensemble.json"
SOUP = "soup"  # kind of rows that have members too, and average their weights
SOUPED = "tuned"  # kind of rows whose weights can be averaged
SEEN_ORDER = ("no", "unknown", "pixels", "labels")  # how much weights have seen of the test images
EDGE = 1e-6  # scores nearer to 0 or 1 have the logit of this one
Floats = NDArray[np.float64]


@params.section
class Params(Row):
    """Which rows, and how they are put together."""

    members: tuple[params.Text, ...]  # names of other rows
    method: Literal["rank_mean", "stacking"]
    strengths: tuple[params.PositiveFloat, ...]  # of stacking: inverse strengths of the penalty that are tried
    folds: params.NonNegativeInt  # of stacking: folds of validation patients for scores that no fit has seen

    def __post_init__(self) -> None:
        """Check what the types do not say."""
        problems = []
        if len(set(self.members)) < 2 or len(set(self.members)) < len(self.members):
            problems.append(f"members {list(self.members)}, wanted at least two different rows")
        stacked = self.method == "stacking"
        if stacked and (not self.strengths or self.folds < 2):
            problems.append(
                f"stacking with strengths {list(self.strengths)} and {self.folds} folds; wanted at least "
                "one strength and two folds"
            )
        if not stacked and (self.strengths or self.folds):
            problems.append(
                f"{self.method} with strengths {list(self.strengths)} and {self.folds} folds, which "
                "stacking alone has; wanted [] and 0"
            )
        if problems:
            raise ValueError("; ".join(problems))


@params.section
class Ranks:
    """What ranks validation images by a member, and the fraction of them that lies below each, ties counting half.

    Attributes:
        evidence: Distinct values, rising: differences of the two logits, or scores of a member without logits.
        below: Fraction of the images below each.
        logits: Whether they are differences of logits.
    """

    evidence: tuple[float, ...]
    below: tuple[float, ...]
    logits: bool


@params.section
class Weights:
    """A logistic regression on the members' standardized log odds."""

    centre: tuple[float, ...]
    spread: tuple[float, ...]
    weights: tuple[float, ...]
    intercept: float


@params.section
class Fold:
    """Weights that were fitted without the images of one fold."""

    images: tuple[str, ...]
    fitted: Weights


@params.section
class Ensemble:
    """What an ensemble was fitted to."""

    method: Literal["rank_mean", "stacking"]
    members: tuple[str, ...]
    ranks: tuple[Ranks, ...]
    fitted: Weights | None
    folds: tuple[Fold, ...]


class Said(NamedTuple):
    """What a member says of each image, shape (n,): the difference of its two logits, or its score where it has none.

    In float64 the score of a difference of 37 or more is 1, so that scores tell no two such images apart.
    """

    evidence: Floats
    logits: bool

    def beside(self) -> tuple[Floats, Floats]:
        """Score of each image, and the score less 1, which is exact near 1 where logits are known."""
        if self.logits:
            return sigmoid(self.evidence), -sigmoid(-self.evidence)
        return self.evidence, self.evidence - 1


def problems(rows: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What is wrong with the ensembles and soups among the rows of a section, taken together.

    Args:
        rows: All rows, as the parameters have them.

    >>> problems({"both": {"kind": "ensemble", "members": ["both", "a"]}, "a": {"kind": "probe"}})
    ['both: names itself as a member; take it out of its members']
    """
    found = []
    for name, row in rows.items():
        if row.get("kind") not in ("ensemble", SOUP):
            continue
        members = [str(one) for one in row.get("members") or ()]
        known = [one for one in members if one in rows and one != name]
        if name in members:
            found.append(f"{name}: names itself as a member; take it out of its members")
        found += [f"{name}: member {params.unknown(one, [*rows])}" for one in members if one not in rows]
        ring = _ring(name, rows, [name]) if name not in members else []
        if ring:
            found.append(f"{name}: is a member of itself, by {' of '.join(ring)}; take one of them out")
        seen = max((str(rows[one].get("seen", "no")) for one in known), key=_seen, default="no")
        if _seen(seen) > _seen(str(row.get("seen", "labels"))):
            found.append(f"{name}: seen {row['seen']}, but a member has seen {seen}; write seen: {seen}")
        barred = [one for one in known if rows[one].get("commercial") is False]
        if barred and row.get("commercial") is True:
            found.append(f"{name}: commercial, but its members {', '.join(barred)} are not; write commercial: false")
        if row.get("kind") == SOUP:
            found += _soup_problems(name, row, {one: rows[one] for one in known})
    return found


def _seen(value: str) -> int:
    return SEEN_ORDER.index(value) if value in SEEN_ORDER else 0


def _ring(name: str, rows: Mapping[str, Mapping[str, Any]], way: list[str]) -> list[str]:
    """Rows by which an ensemble is within itself; empty if it is not."""
    for member in rows[way[-1]].get("members") or ():
        if member == name and len(way) > 1:
            return [*way, name]
        if member in rows and member not in way:
            found = _ring(name, rows, [*way, member])
            if found:
                return found
    return []


def _soup_problems(name: str, row: Mapping[str, Any], members: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """A soup averages weights, which only networks of one shape that began alike have in common."""
    method = row.get("method")
    other = [one for one, member in members.items() if member.get("kind") != SOUPED]
    found = [f"{name}: {method} of {', '.join(other)}; wanted rows of kind {SOUPED} alone"] if other else []
    tuned = {one: member for one, member in members.items() if one not in other}
    shapes = {one: (member.get("architecture"), member.get("source")) for one, member in tuned.items()}
    if len(set(shapes.values())) > 1:
        told = ", ".join(f"{one} ({architecture} of {source})" for one, (architecture, source) in shapes.items())
        found.append(f"{name}: {method} of {told}; wanted one architecture from one source")
    starts = {one: (member.get("start"), _seed_of(member)) for one, member in tuned.items()}
    if len(set(starts.values())) > 1:
        told = ", ".join(f"{one} ({start}, seed {tuned[one].get('seed')})" for one, (start, _) in starts.items())
        found.append(f"{name}: {method} of {told}; wanted members that start alike: random weights of one seed")
    sides = {one: member.get("side_px") for one, member in tuned.items() if member.get("side_px") != row.get("side_px")}
    if sides:
        told = ", ".join(f"{one} {side}" for one, side in sides.items())
        found.append(f"{name}: side_px {row.get('side_px')}, but of its members {told}; wanted one side of all")
    return found


def _seed_of(row: Mapping[str, Any]) -> Any:
    """Seed of a row's first weights; None where they are those of its source."""
    return row.get("seed") if row.get("start") == "random" else None


def fit(params: Params, setting: Setting, folder: Path) -> Fitted:
    """Fit on validation images; see the module.

    Raises:
        ModelError: If a member has no scores.
    """
    said = _said(params, setting)
    if params.method == "rank_mean":
        return _fit_ranks(params, setting, said, folder)
    return _fit_stacking(params, setting, _columns(said), folder)


def _fit_ranks(params: Params, setting: Setting, said: Sequence[Said], folder: Path) -> Fitted:
    ranks = tuple(ranks_of(one) for one in said)
    made = Ensemble(method="rank_mean", members=params.members, ranks=ranks, fitted=None, folds=())
    documents.write(folder / FILE, made)
    tried = Tried(option="mean of ranks", average_precision=_precision(_mean_rank(made, said), setting.images))
    return Fitted(
        tried=(tried,),
        notes=("Ranks are those among validation scores, so that an image's score depends on no other test image.",),
    )


def _fit_stacking(params: Params, setting: Setting, members: Floats, folder: Path) -> Fitted:
    images = setting.images
    labels = _labels(setting)
    held = list(folds(labels, images.patients, params.folds, setting.seed))
    if len(held) < 2 or any(len(np.unique(labels[~inside])) < 2 for inside in held):
        raise ModelError(
            f"{setting.row}: validation has too few patients of a class for {params.folds} folds; wanted both classes "
            "outside of each fold: lower zoo.models' folds, or take rank_mean"
        )
    fits, tried = {}, []
    for strength in params.strengths:
        parts = [_regression(members[~inside], labels[~inside], strength) for inside in held]
        crossed = np.zeros(len(labels))
        for inside, part in zip(held, parts, strict=True):
            crossed[inside] = _log_odds(part, members[inside])
        fits[strength] = parts
        tried.append(Tried(option=f"strength {strength:g}", average_precision=_precision(crossed, images)))
    best = max(range(len(tried)), key=lambda place: (tried[place].average_precision or 0.0, -place))
    strength = params.strengths[best]
    made = Ensemble(
        method="stacking",
        members=params.members,
        ranks=(),
        fitted=_regression(members, labels, strength),
        folds=tuple(
            Fold(images=tuple(np.array(images.ids)[inside].tolist()), fitted=part)
            for inside, part in zip(held, fits[strength], strict=True)
        ),
    )
    documents.write(folder / FILE, made)
    return Fitted(
        tried=tuple(tried),
        chosen=tried[best].option,
        trained_parameters=len(params.members) + 1,
        notes=(
            f"Stacking is fitted on validation images. A validation image's score is of the fit without its patient's "
            f"fold ({len(held)} folds), so that its average precision there is comparable with that of other rows; "
            "test images are scored by the fit on all of validation.",
        ),
    )


def score(params: Params, setting: Setting, folder: Path) -> Scores:
    """Score of each image by the members' scores of it.

    Raises:
        ModelError: If a member has no scores.
    """
    made = documents.read(folder / FILE, Ensemble, "fit this row again")
    said = _said(params, setting)
    if made.members != params.members:
        raise ModelError(
            f"{setting.row}: fitted to {list(made.members)}, wanted {list(params.members)}; fit this row again"
        )
    if made.fitted is None:
        if [one.logits for one in made.ranks] != [one.logits for one in said]:
            raise ModelError(f"{setting.row}: members with logits are others than at its fit; fit this row again")
        return Scores(score=_mean_rank(made, said))
    members = _columns(said)
    log_odds = _log_odds(made.fitted, members)
    place = {image: number for number, fold in enumerate(made.folds) for image in fold.images}
    folds_of = np.array([place.get(image, -1) for image in setting.images.ids], int)
    for number, fold in enumerate(made.folds):
        inside = folds_of == number
        log_odds[inside] = _log_odds(fold.fitted, members[inside])
    return Scores(score=sigmoid(log_odds), logits=np.stack([np.zeros(len(log_odds)), log_odds], axis=1))


def _said(params: Params, setting: Setting) -> list[Said]:
    """What each member says of the images."""
    found, wrong = setting.images.scores or {}, []
    for member in params.members:
        one = found.get(member)
        if one is None or len(one) != len(setting.images):
            wrong.append(f"{member} has no scores of these images")
        elif not (np.isfinite(one).all() and (one >= 0).all() and (one <= 1).all()):
            wrong.append(f"{member} has scores outside of 0 to 1")
    if wrong:
        raise ModelError(
            f"{setting.row}: {'; '.join(wrong)}; wanted a score of each member: mend the row that failed, or take it "
            "out of members"
        )
    margins = setting.images.margins
    return [Said(margins.get(member, found[member]), member in margins) for member in params.members]


def _columns(said: Sequence[Said]) -> Floats:
    """Log odds by the members, shape (n, members)."""
    return np.stack([one.evidence if one.logits else logits(one.evidence) for one in said], axis=1)


def _labels(setting: Setting) -> NDArray[np.int64]:
    if setting.images.labels is None:
        raise ModelError(f"{setting.row}: validation images without labels; wanted labelled ones to fit on")
    return setting.images.labels


def ranks_of(said: Said) -> Ranks:
    """Distinct values of a member, and the fraction of all that lies below each, equal ones counting half.

    >>> ranks_of(Said(np.array([0.5, 0.25, 0.5, 1.0]), logits=False)).below
    (0.125, 0.5, 0.875)
    """
    values, counts = np.unique(said.evidence, return_counts=True)
    below = (np.cumsum(counts) - counts / 2) / len(said.evidence)
    return Ranks(evidence=tuple(values.tolist()), below=tuple(below.tolist()), logits=said.logits)


def rank(ranks: Ranks, said: Said) -> Floats:
    """Rank of each image among those that `ranks` was made of, [0, 1], shape (n,).

    Between two of these its score is interpolated, and beyond them towards 0 and 1, so that equal ranks are equal
    scores; of a score above one half what is interpolated is how far it is from 1.

    >>> quarters = Ranks(evidence=(0.25, 0.75), below=(0.25, 0.75), logits=False)
    >>> rank(quarters, Said(np.array([0.25, 0.5, 0.875, 1.0]), logits=False))
    array([0.25 , 0.5  , 0.875, 1.   ])
    """
    from_0, from_1 = said.beside()
    known = Said(np.array(ranks.evidence), ranks.logits).beside()
    low, high = (
        _interpolated(x, knots, ranks.below, start)
        for x, knots, start in zip((from_0, from_1), known, (0.0, -1.0), strict=True)
    )
    return np.where(from_0 <= HALF, low, high)


def _interpolated(x: Floats, knots: Floats, values: Sequence[float], start: float) -> Floats:
    """Linear interpolation between knots, and beyond them to 0 at `start` and to 1 one further on."""
    before, behind = knots[0] > start, knots[-1] < start + 1
    x_knots = [*([start] if before else []), *knots, *([start + 1] if behind else [])]
    return np.interp(x, x_knots, [*([0.0] if before else []), *values, *([1.0] if behind else [])])


def _mean_rank(made: Ensemble, said: Sequence[Said]) -> Floats:
    return np.mean([rank(ranks, one) for ranks, one in zip(made.ranks, said, strict=True)], axis=0)


def logits(scores: Floats) -> Floats:
    """Log odds of scores, those of `EDGE` and 1 - `EDGE` at the ends.

    >>> logits(np.array([0.5, 0.5]))
    array([0., 0.])
    """
    inside = np.clip(scores, EDGE, 1 - EDGE)
    return np.log(inside) - np.log1p(-inside)


def _regression(x: Floats, labels: NDArray[np.int64], strength: float) -> Weights:
    """Logistic regression with a quadratic penalty, by scikit-learn.

    Source: Wolpert, Neural Networks 5: 241, 1992, with two numbers a member: its weight, and one intercept for all.
    """
    from sklearn.linear_model import LogisticRegression

    centre, spread = x.mean(axis=0), x.std(axis=0)
    spread = np.where(spread > 0, spread, 1.0)
    model = LogisticRegression(C=strength, max_iter=2000).fit((x - centre) / spread, labels)
    return Weights(
        centre=tuple(centre.tolist()),
        spread=tuple(spread.tolist()),
        weights=tuple(model.coef_[0].tolist()),
        intercept=float(model.intercept_[0]),
    )


def _log_odds(fitted: Weights, x: Floats) -> Floats:
    terms = (x - fitted.centre) / np.array(fitted.spread) * np.array(fitted.weights)  # (n, members)
    return terms.sum(axis=1) + fitted.intercept  # a product of matrices would round by the number of images


def folds(labels: NDArray[np.int64], patients: NDArray[Any], count: int, seed: int) -> Iterator[NDArray[np.bool_]]:
    """Which images are in each fold, shape (n,): whole patients in turn, those with a nodule first, in a drawn order.

    Args:
        labels: 0 or 1, shape (n,).
        patients: Patient of each image, shape (n,).
        count: Number of folds; fewer if there are fewer patients.
        seed: Of the order of the patients.
    """
    names, where = np.unique(patients, return_inverse=True)
    positive = np.zeros(len(names), bool)
    np.logical_or.at(positive, where, labels == 1)
    drawn = np.random.default_rng(seed).permutation(len(names))
    order = drawn[np.argsort(~positive[drawn], kind="stable")]
    turn = np.empty(len(names), int)
    turn[order] = np.arange(len(names)) % count
    for fold in range(min(count, len(names))):
        yield turn[where] == fold


def _precision(scores: Floats, images: Inputs) -> float | None:
    """Average precision on labelled images; None if a class has none."""
    if images.labels is None:
        return None
    try:
        return average_precision(images.labels, scores)
    except UndefinedMetricError:
        return None
