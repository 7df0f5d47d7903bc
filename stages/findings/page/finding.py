"""The first sentence of the page, what a reader has to know before it, and the numbers to remember."""

from collections.abc import Iterator

from stages.findings.page.study import Study, constant, number
from stages.lib.metrics.measures import Key
from stages.lib.report.blocks import Number, Sentence, Tile
from stages.lib.report.numbers import label
from stages.lib.report.systems import System

GOOD, F1, FOUND = Key("good_fraction"), Key("finding_f1"), Key("key_finding_rate")
FEW = 3  # arms that the first sentence names


def warnings(study: Study) -> tuple[str, ...]:
    """What a reader has to know before any number."""
    more = []
    if study.simulated:
        more.append(
            "The cases are drawn, and every number here with them: this page shows that the benchmark works, and "
            "nothing about any patient."
        )
    return (*study.notes.warnings, *more)


def ranked(study: Study) -> list[System]:
    """Arms with a grade, best first."""
    found = [arm for arm in study.arms.values() if _value(study, arm) is not None]
    return sorted(found, key=lambda arm: -(_value(study, arm) or 0.0))


def _value(study: Study, arm: System) -> float | None:
    found = study.of(arm.name).get(GOOD)
    return found.value if found else None


def sentence(study: Study) -> Sentence:
    """The answer: how often the best arms are good, whether that is decided, and whether another judge agrees."""
    arms = ranked(study)
    if not arms:
        return (f"On {study.n_cases:,} cases, no answer was rated by {study.primary.label}.",)
    said: list[str | Number] = [f"On {study.n_cases:,} cases, {study.primary.label} calls good "]
    for place, arm in enumerate(arms[:FEW]):
        said += ["; " if place else "", number(GOOD, study.of(arm.name)[GOOD]), f" of the answers of {arm.label}"]
    more = len(arms) - FEW
    said.append(f"; {more} more {'arm is' if more == 1 else 'arms are'} below. " if more > 0 else ". ")
    said += list(_decided(study))
    said += list(_second(study))
    return tuple(part for part in said if part != "")


def _decided(study: Study) -> Iterator[str]:
    mine = [one for one in study.notes.verdicts if one.judge == study.primary.name]
    if not mine:
        yield "No comparison was declared. "
        return
    decided = [one for one in mine if one.better]
    for one in decided:
        other = one.second if one.better == one.first else one.first
        yield f"{study.arms[one.better or ''].label} is better than {study.arms[other].label}. "
    if len(decided) < len(mine):
        rest = len(mine) - len(decided)
        yield f"{rest} of {len(mine)} declared comparisons {'is' if rest == 1 else 'are'} undecided. "


def _second(study: Study) -> Iterator[str]:
    """Whether each other judge comes to the same verdicts."""
    mine = {(one.first, one.second): one.better for one in study.notes.verdicts if one.judge == study.primary.name}
    for judge in study.judges.values():
        theirs = {(one.first, one.second): one.better for one in study.notes.verdicts if one.judge == judge.name}
        if judge == study.primary or not theirs:
            continue
        same = sum(mine[pair] == better for pair, better in theirs.items())
        yield f"{judge.label} comes to the same verdict in {same} of {len(theirs)}. "


def tiles(study: Study) -> tuple[Tile, ...]:
    """The numbers to remember, of the best arm by the primary judge and of the best constant guess."""
    arms = ranked(study)
    made = []
    models = [arm for arm in arms if not constant(arm)]
    guesses = [arm for arm in arms if constant(arm)]
    for arm in models[:1]:
        measured = study.of(arm.name)
        titles = {GOOD: "Rated good", FOUND: "Key finding found", F1: label("finding_f1")}
        made += [
            Tile(title=f"{title}, {arm.label}", number=number(key, measured[key]))
            for key, title in titles.items()
            if key in measured
        ]
    for arm in guesses[:1]:
        made.append(Tile(title=f"Rated good, {arm.label}", number=number(GOOD, study.of(arm.name)[GOOD])))
    return tuple(made)
