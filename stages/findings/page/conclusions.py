"""What not to conclude: what the run itself says against its numbers."""

from collections.abc import Iterator

from stages.findings.page.study import Study, constant
from stages.lib.metrics.measures import Key
from stages.lib.models.judge import NONE
from stages.lib.report.blocks import Column, Note, Part, Row, Rows, Table
from stages.lib.report.numbers import decimal

ROUGE, F1 = Key("rouge_l_f1"), Key("finding_f1")


def part(study: Study) -> Part:
    """A row for each conclusion that the run does not carry."""
    rows = tuple(Row(title=title, cells=(text,), key=f"not/{key}") for key, title, text in of(study))
    note = Note(text=("Written by the run, from its tables and parameters.",))
    table = Table(name="conclusions", columns=(Column(title="Because"),), groups=(Rows(rows=rows),))
    return Part(name="not", title="What not to conclude", short="Not to conclude", blocks=(note, table))


def of(study: Study) -> Iterator[tuple[str, str, str]]:
    """Key, conclusion and reason of each."""
    if study.simulated:
        yield "patients", "Anything about patients", "The cases are drawn; this page shows that the benchmark works."
    yield from _size(study)
    yield from _failures(study)
    yield from _family(study)
    yield from _primary(study)
    yield from _scope(study)
    yield (
        "radiographs",
        "Anything about radiographs",
        "The cases have CT and MR images alone: no X-ray stratum can be drawn from them.",
    )
    yield from _rouge(study)
    yield from _leaks(study)
    yield from _strata(study)


def _size(study: Study) -> Iterator[tuple[str, str, str]]:
    mine = [one for one in study.notes.verdicts if one.judge == study.primary.name]
    undecided = [one for one in mine if one.better is None]
    text = f"{study.n_cases:,} cases" + (" are a pilot" if study.n_cases < 100 else "")
    if mine:
        text += f"; {len(undecided):,} of {len(mine):,} declared comparisons are undecided"
    needed = [one.cases_needed for one in undecided if one.cases_needed]
    if needed:
        least, most = min(needed), max(needed)
        text += f", and differences as seen would take {least:,}{f' to {most:,}' if most > least else ''} cases"
    yield "size", "That arms of similar numbers are equal, or that they differ", text + "."


def _failures(study: Study) -> Iterator[tuple[str, str, str]]:
    for judge in study.judges.values():
        unrated = {arm.label: n for arm in study.arms.values() if (n := _unrated(study, arm.name, judge.name))}
        if unrated:
            said = ", ".join(f"{label} {n:,}" for label, n in unrated.items())
            yield (
                f"failures/{judge.name}",
                f"That the grades of {judge.label} are of all answers",
                f"It gave none of: {said}. The bounds of each comparison say what any rating of them could make.",
            )


def _unrated(study: Study, arm: str, judge: str) -> int:
    found = study.of(arm).get(Key("unrated_fraction", judge))
    return round((found.value or 0.0) * (found.n or 0)) if found else 0


def _family(study: Study) -> Iterator[tuple[str, str, str]]:
    for judge in study.judges.values():
        family = str(judge.row.get("family", NONE))
        words = [] if family == NONE else [word.strip().lower() for word in family.split(",") if word.strip()]
        kin = [
            arm.label
            for arm in study.arms.values()
            if any(word in str(arm.row.get("model", "")).lower() for word in words)
        ]
        if kin:
            yield (
                f"family/{judge.name}",
                f"That {judge.label} is fair to every arm",
                f"It is of the family of {', '.join(kin)}, and judges favour their own.",
            )


def _primary(study: Study) -> Iterator[tuple[str, str, str]]:
    if study.primary.row.get("kind") == "rules":
        yield (
            "rules",
            "That a grade is a radiologist's",
            f"{study.primary.label} compares the words of a vocabulary: exact on drawn texts, a floor on real ones.",
        )
    elif not study.notes.agreements:
        yield "one_judge", "That another judge would agree", "There is one pass of ratings alone."
    if not any(one.kind == "human" for one in study.notes.agreements):
        yield "people", "That people would agree", "Nobody rated an answer by hand."


def _scope(study: Study) -> Iterator[tuple[str, str, str]]:
    n = study.notes.counts.gold_scope.get("other_studies", 0)
    if n:
        yield (
            "scope",
            "That a missed finding could have been seen",
            f"{n:,} of {study.n_cases:,} gold texts speak of studies that no model was shown; see the heat map.",
        )


def _rouge(study: Study) -> Iterator[tuple[str, str, str]]:
    constants = [arm for arm in study.arms.values() if constant(arm)]
    models = [arm for arm in study.arms.values() if not constant(arm)]
    for guess in constants:
        rouge = study.of(guess.name).get(ROUGE)
        beaten = [
            arm.label
            for arm in models
            if rouge and rouge.value is not None and (study.of(arm.name)[ROUGE].value or 0.0) <= rouge.value
        ]
        if beaten and rouge and rouge.value is not None:
            yield (
                f"rouge/{guess.name}",
                "That ROUGE-L measures findings",
                f"{guess.label}, which says the same of every case, has {decimal(rouge.value)}, no less than "
                f"{', '.join(beaten)}.",
            )


def _leaks(study: Study) -> Iterator[tuple[str, str, str]]:
    n = study.notes.counts.flags.get("diagnosis_in_history", 0)
    if n:
        yield (
            "leaks",
            "That the image alone gave the answer",
            f"{n:,} of {study.n_cases:,} histories hold a word of the diagnosis.",
        )


def _strata(study: Study) -> Iterator[tuple[str, str, str]]:
    subsets = {s.subset for s in study.measures if s.task == "description" and s.subset.startswith("test/stratum/")}
    arm = next(iter(study.arms), None)
    few = [s for s in subsets if arm and study.of(arm, s)[Key("good_fraction")].value is None]
    if few:
        yield (
            "strata",
            "That an arm is better in one region or modality",
            f"{len(few):,} of {len(subsets):,} strata have too few cases for a number, and none were compared.",
        )
