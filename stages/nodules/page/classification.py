"""The part on classifiers: does the image show a nodule?"""

from collections.abc import Iterator, Mapping

from stages.lib.metrics import catalog
from stages.lib.metrics.evaluation_sets import MEASURED_SPLITS
from stages.lib.metrics.measures import Estimate, Key
from stages.lib.report import published
from stages.lib.report.blocks import (
    Block,
    Charts,
    Column,
    Fold,
    Heading,
    Matrices,
    Matrix,
    MatrixCell,
    MatrixRow,
    Note,
    Part,
    Row,
    Rows,
    Table,
)
from stages.lib.report.numbers import KNOWN, decimal, label, note, number
from stages.nodules.page import curves, subgroups
from stages.nodules.page.study import Study
from stages.nodules.page.words import name

Measured = Mapping[Key, Estimate]
CELLS = ("true_positives", "false_positives", "false_negatives", "true_negatives")
TESTS = {
    Key("delong_p"): "DeLong's test of the two ROC areas",
    Key("mcnemar_p", "half"): "McNemar's exact test of the two sets of calls",
}
CHANGES = (Key("margin_change_median"), Key("margin_change_largest"), Key("calls_changed"))


def part(study: Study) -> Part:
    """Metrics at each threshold, differences, published numbers, curves and confusion matrices."""
    chosen = study.settings.threshold
    blocks: list[Block] = [
        Note(
            text=(
                f"Values with their {100 * study.settings.confidence:g} % intervals over patients. The thresholds were "
                "chosen on validation; at 0.5 the score is as the model gave it, at the others it is calibrated. Rest "
                "the pointer on a number to see what is behind it.",
                " An interval at a chosen threshold redraws the validation patients too, and chooses the threshold "
                f'anew each time; beside it, "{KNOWN}" redraws the measured patients alone.',
            )
        )
    ]
    blocks += _calibrated(study)
    for split in reversed(MEASURED_SPLITS):
        blocks += _split(study, split)
    for subset in dict.fromkeys(one.subset for one in study.measures if one.subset.startswith("external/")):
        known = "The model, its calibration and its thresholds are the study's; nothing was chosen on these images."
        title = f"External data: {name(subset.removeprefix('external/'))}"
        blocks += [Heading(title=title, note=known), *_split(study, subset)]
    blocks += [*subgroups.blocks(study), *_adapter(study), *published.classifiers()]
    marked = f"test images; full dots are the {catalog.at_label(chosen)}, open ones the score 0.5"
    blocks.append(Heading(title="Curves", note=marked))
    charts = curves.of_classifiers(study)
    none = Note(text=("No image of the test split has a label and a score.",))
    blocks.append(Charts(charts=charts) if charts else none)
    found = tuple(matrices(study))
    if found:
        blocks += [Heading(title="Confusion matrix", note="test images"), Matrices(matrices=found)]
    return Part(
        name="classification", title="Does the image show a nodule?", short="Classification", blocks=tuple(blocks)
    )


def _calibrated(study: Study) -> Iterator[Block]:
    """The form that the scores are calibrated in, and why."""
    fitted = [one for one in study.calibration.values() if one.form_losses]
    if fitted:
        losses = sorted(fitted[0].form_losses.items(), key=lambda item: item[1])
        loss = " against ".join(f"{loss:.4f} ({form})" for form, loss in losses)
        why = f"all scores are calibrated in the form that does best on patients it was not fitted on; log loss {loss}"
        alone = [study.classifiers[one.model].label for one in fitted if one.method != losses[0][0]]
        also = f" Without logits, {', '.join(alone)} can take Platt's alone." if alone else ""
        yield Note(
            text=(f"Calibration: {why}, cross-validated on validation images and summed over classifiers.{also}",)
        )


def _split(study: Study, split: str) -> Iterator[Block]:
    """Table of one split; that of the test split in the open, with the tests of the difference."""
    measured = {system: study.of("classification", system, split) for system in study.classifiers}
    differences = study.compared(split)
    groups = groups_of(measured, differences, study.settings.other_prevalence)
    chosen = study.settings.threshold
    order = [None, chosen, "half", *(at for at in catalog.THRESHOLDS if at not in (chosen, "half"))]
    shown = [(groups[at], place < 3) for place, at in enumerate(order) if at in groups]
    area = next((found[Key("roc_auc")] for found in measured.values() if Key("roc_auc") in found), None)
    behind = _behind(area) if area else ""
    columns = [
        Column(title=study.classifiers[system].label, look=study.classifiers[system].look) for system in measured
    ]
    columns += [Column(title="Difference" if len(differences) == 1 else title) for title in differences]

    def table(groups: list[Rows]) -> Table:
        return Table(
            name=f"classification.{split}",
            style="measured",
            whiskers=len(measured),
            columns=tuple(columns),
            groups=tuple(groups),
        )

    if split == "val":
        flatter = "The thresholds and the checkpoint were chosen on these images, so these numbers flatter."
        inner = (Note(text=(f"{behind}. {flatter}",)), table([group for group, _ in shown]))
        yield Fold(title=f"{name(split)} images", blocks=inner)
        return
    yield Note(text=(behind,), style="strong")
    yield table([group for group, first in shown if first])
    for title, found in differences.items():
        tests = " ".join(_tests(found))
        yield Note(
            text=(f"{title}: {tests} Both take images as independent; the interval of the difference does not.",)
        )
    more = [group for group, first in shown if not first]
    if more:
        images = "Test images" if split == "test" else "The same images"
        yield Fold(title=f"{images} at the other thresholds", blocks=(table(more),))


def _behind(area: Estimate) -> str:
    return note(Estimate(value=0.0, n=area.n, n_positive=area.n_positive, n_patients=area.n_patients))


def groups_of(
    measured: Mapping[str, Measured], differences: Mapping[str, Measured], prevalence: float
) -> dict[str | None, Rows]:
    """A row per metric, in groups by threshold (None: without one).

    Args:
        measured: Measures of each classifier on a split.
        differences: Differences of two of them, by what they are called.
        prevalence: The other prevalence that predictive values are translated to.
    """
    rows: dict[str | None, list[Row]] = {}
    for key in sorted({key for found in measured.values() for key in found}, key=lambda key: key.order):
        if key.metric in CELLS:
            continue
        cells = [number(key, found.get(key)) for found in measured.values()]
        pairs = [number(key, found[key], signed=True) if key in found else "" for found in differences.values()]
        title = label(key.metric) + (f" ({decimal(prevalence)})" if key.metric.endswith("_by_bayes") else "")
        lower = "↓" if catalog.metric(key.metric).higher_is_better is False else ""
        rows.setdefault(key.at, []).append(Row(title=title, key=key.text, hint=lower, cells=(*cells, *pairs)))
    titles = {at: f"At the {catalog.at_label(at)}" if at else "Without a threshold" for at in rows}
    return {at: Rows(title=titles[at], rows=tuple(found)) for at, found in rows.items()}


def _tests(differences: Measured) -> Iterator[str]:
    """Paired tests of two classifiers, a sentence each."""
    for key, title in TESTS.items():
        found = differences.get(key)
        if found is not None:
            shown = f"p = {found.value:.2g}" if found.value is not None else f"none ({found.reason})"
            yield f"{title}: {shown}."


def _adapter(study: Study) -> Iterator[Block]:
    """How the answers on validation change with the form of the weights, if that was measured."""
    for subject, differences in study.measures.items():
        if subject.task != "adapter" or subject.other is None:
            continue
        forms = (subject.system, subject.other)
        measured = [study.of("adapter", form, subject.subset) for form in forms]
        rows = tuple(
            Row(
                title=label(key.metric),
                hint="lower is better" if catalog.metric(key.metric).higher_is_better is False else "",
                cells=(
                    *(number(key, one.get(key)) for one in measured),
                    number(key, differences.get(key), signed=True),
                ),
            )
            for key in measured[0]
        )
        median, largest, calls = (number(key, differences.get(key)).text for key in CHANGES)
        columns = (*(Column(title=name(form)) for form in forms), Column(title="Difference"))
        text = (
            f"The adapted model classified {differences[CHANGES[2]].n:,} validation images twice; every other number "
            "here is of the first form. Its margin (logit of the positive answer less that of the negative one) moves "
            f"by {median} in the median and by {largest} at most; the call at 0.5 changes on {calls} images."
        )
        table = Table(columns=columns, groups=(Rows(rows=rows),), style="measured")
        yield Fold(title="Merged and unmerged adapter, validation images", blocks=(Note(text=(text,)), table))


def matrices(study: Study) -> Iterator[Matrix]:
    """A confusion matrix of the test split for each classifier, at 0.5 and at the chosen threshold."""
    for system in study.classifiers.values():
        measured = study.of("classification", system.name)
        for at in ("half", study.settings.threshold):
            counts = [measured.get(Key(metric, at)) for metric in CELLS]
            if not all(count is not None and count.value is not None for count in counts):
                continue
            tp, fp, fn, tn = (int(count.value) for count in counts if count and count.value is not None)
            threshold = counts[0].threshold if counts[0] else None
            exact = f" ({threshold:.3f})" if threshold is not None and at != "half" else ""
            yield Matrix(
                title=system.label,
                note=f"{catalog.at_label(at)}{exact}",
                look=system.look,
                columns=("predicted nodule", "predicted none"),
                rows=(
                    _matrix_row("nodule", (tp, "tp"), (fn, "fn"), right=0),
                    _matrix_row("no nodule", (fp, "fp"), (tn, "tn"), right=1),
                ),
            )


def _matrix_row(title: str, *counts: tuple[int, str], right: int) -> MatrixRow:
    total = sum(count for count, _ in counts)
    cells = tuple(
        MatrixCell(name=short, count=count, fraction=count / total if total else 0.0, right=k == right)
        for k, (count, short) in enumerate(counts)
    )
    return MatrixRow(title=title, cells=cells)
