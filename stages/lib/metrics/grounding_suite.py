"""Measures of grounders: with intervals over patients, against their own blind rows, against each other and a reader.

Sentences tell much of the place by themselves. So each grounder is asked the same sentences with other images and with
a grey one: what does not beat these rows by the paired interval has grounded nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from stages.lib.core.errors import MetricInputError
from stages.lib.metrics import boxes, catalog, grounding
from stages.lib.metrics.bootstrap import resamples
from stages.lib.metrics.grounding import Scored, Sentence
from stages.lib.metrics.grounding_tables import Grounded
from stages.lib.metrics.measures import Estimate, Key, Subject, estimates
from stages.lib.metrics.parts import Floats, Measured, difference, drawn_difference, measure, within

TASK = "grounding"
SECOND_READER = "second_reader"
TEST = "test"
TWO_READERS = "test/two_readers"
OWN = "own"
BLIND = {"shuffled": "the image of another patient", "grey": "a grey image"}
JUDGED_BY = Literal["f1", "rodeo_localization", "pointing_accuracy"]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How it is measured.

    Attributes:
        draws: Resamples of patients.
        seed: Of them.
        confidence: Of the intervals.
        iou: From which a box is right, (0, 1].
        judged_by: Metric that decides whether a grounder beats its blind rows, named before anything is measured.
        size_edges: Fractions of the image that a sentence's boxes cover, between two strata.
        min_stratum_sentences: Sentences below which a stratum is not measured.
    """

    draws: int
    seed: int
    confidence: float
    iou: float
    judged_by: JUDGED_BY
    size_edges: Sequence[float]
    min_stratum_sentences: int

    @property
    def key(self) -> Key:
        """Metric that decides."""
        return Key("f1", grounding.at(self.iou)) if self.judged_by == "f1" else Key(self.judged_by)


@dataclass(frozen=True)
class Verdict:
    """Whether a grounder does better with a sentence's own image than with one that says nothing of it.

    Attributes:
        grounder: Its name.
        blind: What it was shown instead: "shuffled" or "grey".
        key: Metric that decides.
        difference: With the own image less without, with its paired interval.
        grounds: Whether the whole interval is above 0.
    """

    grounder: str
    blind: str
    key: Key
    difference: Estimate
    grounds: bool

    @property
    def sentence(self) -> str:
        """What the table says.

        >>> gap = Estimate(value=0.5, low=-0.1, high=1.5, n=20, n_patients=9)
        >>> Verdict("copy", "grey", Key("rodeo_localization"), gap, False).sentence
        'copy has grounded nothing: RoDeO localization 0.5 [-0.1, 1.5] above its own with a grey image (n = 20)'
        """
        found, label = self.difference, catalog.metric(self.key.metric).label
        if found.value is None:
            return f"{self.grounder} has grounded nothing: {found.reason} (n = {found.n})"
        numbers = " ".join(
            (f"{found.value:.3g}", f"[{found.low:.3g}, {found.high:.3g}]" if found.low is not None else "")
        )
        start = f"{self.grounder} beats itself blind" if self.grounds else f"{self.grounder} has grounded nothing"
        return f"{start}: {label} {numbers.strip()} above its own with {BLIND[self.blind]} (n = {found.n})"


@dataclass(frozen=True)
class Results:
    """Measures of all grounders, and whether each beats each of its blind rows."""

    measures: dict[Subject, dict[Key, Estimate]]
    verdicts: tuple[Verdict, ...]

    @property
    def grounds(self) -> dict[str, bool]:
        """Whether a grounder has grounded anything, by name: it beats all of its blind rows.

        A grey image alone is beaten by whoever says nothing of what it never saw the like of.
        """
        names = dict.fromkeys(one.grounder for one in self.verdicts)
        return {name: all(one.grounds for one in self.verdicts if one.grounder == name) for name in names}


def measure_all(
    found: Mapping[str, Grounded],
    settings: Settings,
    *,
    reader: tuple[Sequence[Sentence], Sequence[grounding.Answer]] | None = None,
    compared: Sequence[tuple[str, str]] = (),
) -> Results:
    """Measures of every grounder, of its blind rows, of what is between them, of comparisons, and of a second reader.

    Subjects: (grounder, "test") with its own images; (grounder, "test/shuffled") and ("test/grey") the blind rows;
    (grounder, "test", other "grounder/shuffled") the difference; (grounder, "test/label/..."), ("test/boxes/...") and
    ("test/size/...") the strata; (grounder, "test", other grounder) a comparison; ("second_reader",
    "test/two_readers") the human row, and each grounder on its sentences beside it.

    Args:
        found: What each grounder drew, by its name.
        settings: How.
        reader: Sentences with boxes of a second reader, and those boxes as answers; None without.
        compared: Pairs of grounders, on the sentences that both were asked.

    Raises:
        MetricInputError: As `grounding.score`, or if a grounder was not asked with the own images.
    """
    made: dict[Subject, dict[Key, Estimate]] = {}
    verdicts: list[Verdict] = []
    for name, one in found.items():
        if OWN not in one.answers:
            raise MetricInputError(f"{name}: found {sorted(one.answers)}, wanted the own images among them")
        weights = drawn(one.sentences, settings)
        scored = {seen: grounding.score(one.sentences, answers, settings.iou) for seen, answers in one.answers.items()}
        measured = {seen: measured_on(one.sentences, each, weights, settings) for seen, each in scored.items()}
        for seen, each in measured.items():
            made[Subject(TASK, name, TEST if seen == OWN else f"{TEST}/{seen}")] = dict(each.estimates)
        for seen in (seen for seen in BLIND if seen in measured):
            gap = gaps(measured[OWN], measured[seen], facts(one.sentences, scored[OWN]), settings.confidence)
            made[Subject(TASK, name, TEST, f"{name}/{seen}")] = gap
            verdicts.append(verdict(name, seen, gap, settings))
        for subset, members in strata(one.sentences, settings).items():
            made[Subject(TASK, name, f"{TEST}/{subset}")] = _stratum(
                one.sentences, scored[OWN], members, weights, settings
            )
    for first, second in compared:
        made[Subject(TASK, first, TEST, second)] = compare(found[first], found[second], settings)
    if reader is not None and reader[0]:
        made |= _human(found, reader, settings)
    return Results(made, tuple(verdicts))


def verdict(name: str, blind: str, gap: Mapping[Key, Estimate], settings: Settings) -> Verdict:
    """Whether a grounder beats one of its blind rows: by the paired interval of one metric, the whole of it above 0."""
    one = gap[settings.key]
    return Verdict(name, blind, settings.key, one, one.low is not None and one.low > 0)


def drawn(sentences: Sequence[Sentence], settings: Settings) -> Floats:
    """How often each sentence stands in each resample of patients, shape (draws, n)."""
    patients = np.array([one.patient_id for one in sentences], str)
    blocks = list(resamples(patients, draws=settings.draws, seed=settings.seed))
    return np.concatenate(blocks).astype(np.float64) if blocks else np.zeros((0, len(sentences)))


def facts(sentences: Sequence[Sentence], scored: Scored) -> dict[str, Any]:
    """What stands behind the measures: sentences, patients, true and predicted boxes."""
    return {
        "n": len(sentences),
        "n_patients": len({one.patient_id for one in sentences}),
        "n_points": int(scored.truths.sum()),
        "n_predictions": int(scored.predictions.sum()),
    }


def measured_on(sentences: Sequence[Sentence], scored: Scored, weights: Floats, settings: Settings) -> Measured:
    """Measures of what was drawn for some sentences, and their values on the resamples."""
    return measure(grounding.parts(scored, settings.iou), weights, facts(sentences, scored), settings.confidence)


def gaps(first: Measured, second: Measured, known: Mapping[str, Any], confidence: float) -> dict[Key, Estimate]:
    """First less second in each measure, both on the same sentences and the same resamples."""
    outcomes = {key: difference(first, second, key) for key in first.estimates if key in second.estimates}
    return estimates(outcomes, drawn_difference(first, second), known, confidence=confidence)


def compare(first: Grounded, second: Grounded, settings: Settings) -> dict[Key, Estimate]:
    """First grounder less the second on the sentences that both were asked, with the own images, paired."""
    shared = first.names & second.names
    a, b = (first.only(shared), second.only(shared))
    scored = [grounding.score(one.sentences, one.answers[OWN], settings.iou) for one in (a, b)]
    weights = drawn(a.sentences, settings)
    of_first, of_second = (measured_on(a.sentences, each, weights, settings) for each in scored)
    return gaps(of_first, of_second, facts(a.sentences, scored[0]), settings.confidence)


def strata(sentences: Sequence[Sentence], settings: Settings) -> dict[str, NDArray[np.bool_]]:
    """Sentences by group of findings, by number of true boxes, and by the fraction of the image that these cover.

    Returns:
        Members, shape (n,), by name: "label/effusion", "boxes/1", "boxes/2", "boxes/3_or_more", "size/0_to_0.01", ...
    """
    made: dict[str, NDArray[np.bool_]] = {}
    for label in sorted({label for one in sentences for label in one.labels}):
        made[f"label/{label}"] = np.array([label in one.labels for one in sentences], bool)
    counts = np.array([len(one.truths) for one in sentences], np.int64)
    made |= {"boxes/1": counts == 1, "boxes/2": counts == 2, "boxes/3_or_more": counts > 2}
    size = np.array([boxes.covered_area(one.truths) / (one.width_px * one.height_px) for one in sentences], np.float64)
    edges = [0.0, *settings.size_edges, 1.0]
    for low, high in pairwise(edges):
        made[f"size/{low:g}_to_{high:g}"] = (size >= low) & ((size < high) | (high == edges[-1]))
    return {name: members for name, members in made.items() if members.any()}


def _stratum(
    sentences: Sequence[Sentence], scored: Scored, members: NDArray[np.bool_], weights: Floats, settings: Settings
) -> dict[Key, Estimate]:
    """Measures on one stratum; on one of too few sentences the reason why there are none."""
    kept = [one for one, inside in zip(sentences, members, strict=True) if inside]
    known = facts(kept, Scored(**{name: value[members] for name, value in vars(scored).items()}))
    parts = within(grounding.parts(scored, settings.iou), members)
    if len(kept) < settings.min_stratum_sentences:
        least = settings.min_stratum_sentences
        return {
            key: Estimate(value=None, reason=f"too few sentences: {len(kept)}, wanted at least {least}", **known)
            for key in parts
        }
    return dict(measure(parts, weights[:, members], known, settings.confidence).estimates)


def _human(
    found: Mapping[str, Grounded],
    reader: tuple[Sequence[Sentence], Sequence[grounding.Answer]],
    settings: Settings,
) -> dict[Subject, dict[Key, Estimate]]:
    """The second reader against the first, and each grounder on the same sentences, with what is between them."""
    human = Grounded(tuple(reader[0]), {OWN: tuple(reader[1])})
    made: dict[Subject, dict[Key, Estimate]] = {}
    for name, one in {SECOND_READER: human, **found}.items():
        kept = one.only(human.names)
        if not kept.sentences:
            continue
        scored = grounding.score(kept.sentences, kept.answers[OWN], settings.iou)
        measured = measured_on(kept.sentences, scored, drawn(kept.sentences, settings), settings)
        made[Subject(TASK, name, TWO_READERS)] = dict(measured.estimates)
        if name != SECOND_READER:
            made[Subject(TASK, name, TWO_READERS, SECOND_READER)] = compare(one, human, settings)
    return made
