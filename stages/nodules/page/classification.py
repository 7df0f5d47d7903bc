"""The part on classifiers: does the image show a nodule?"""

from collections.abc import Iterator, Mapping
from typing import Any

from stages.lib.metrics.thresholds import NAMES as THRESHOLDS
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
from stages.lib.report.numbers import decimal
from stages.nodules.page import curves
from stages.nodules.page.study import Study, System
from stages.nodules.page.words import cell, is_metric, name, threshold_name

Facts = Mapping[str, Any]
LOWER_IS_BETTER = ("brier", "ece", "brier_calibrated", "ece_calibrated")
FREE = ("roc_auc", "pr_auc", "brier", "ece", "brier_calibrated", "ece_calibrated", "prevalence")
CELLS = ("true_positives", "false_positives", "false_negatives", "true_negatives")
TESTS = {
    "delong": "DeLong's test of the two ROC areas",
    "mcnemar": "McNemar's exact test of the two sets of calls",
}


def part(study: Study) -> Part:
    """Metrics at each threshold, differences, published numbers, curves and confusion matrices."""
    chosen = study.settings.threshold
    blocks: list[Block] = [
        Note(
            text=(
                f"Values with their {100 * study.settings.confidence:g} % intervals over patients. The thresholds were "
                "chosen on validation; at 0.5 the score is as the model gave it, at the others it is calibrated. Rest "
                "the pointer on a number to see what is behind it.",
            )
        )
    ]
    splits = dict.fromkeys(split for facts in study.metrics.get("classification", {}).values() for split in facts)
    for split in sorted(splits, key=lambda split: (split != "test", split)):
        blocks += _split(study, split)
    blocks += [*_weights(study.metrics), *_published(study.metrics)]
    marked = f"test images; full dots are the {threshold_name(chosen)}, open ones the score 0.5"
    blocks.append(Heading(title="Curves", note=marked))
    charts = curves.of_classifiers(study)
    none = Note(text=("No image of the test split has a label and a score.",))
    blocks.append(Charts(charts=charts) if charts else none)
    found = tuple(matrices(study.metrics, study.classifiers, chosen))
    if found:
        blocks += [Heading(title="Confusion matrix", note="test images"), Matrices(matrices=found)]
    return Part(
        name="classification", title="Does the image show a nodule?", short="Classification", blocks=tuple(blocks)
    )


def _split(study: Study, split: str) -> Iterator[Block]:
    """Table of one split; that of the test split in the open, with the tests of the difference."""
    measured = {model: splits.get(split, {}) for model, splits in study.metrics["classification"].items()}
    differences = study.metrics.get("comparison", {}).get(split, {})
    groups = groups_of(measured, differences)
    chosen = study.settings.threshold
    order = [None, chosen, "half", *(key for key in THRESHOLDS if key not in (chosen, "half"))]
    shown = [(groups[key], number < 3) for number, key in enumerate(order) if key in groups]
    area = next((facts["roc_auc"] for facts in measured.values() if is_metric(facts.get("roc_auc"))), None)
    behind = cell({**area, "value": 0, "skipped_draws": 0}).note if area else ""
    columns = [Column(title=study.classifiers[model].label, look=study.classifiers[model].look) for model in measured]
    columns += [Column(title="Difference")] if differences else []

    def table(groups: list[Rows]) -> Table:
        tag = {"name": f"classification.{split}", "style": "measured", "whiskers": len(measured)}
        return Table(columns=tuple(columns), groups=tuple(groups), **tag)

    if split != "test":
        flatter = "The thresholds and the checkpoint were chosen on these images, so these numbers flatter."
        inner = (Note(text=(f"{behind}. {flatter}",)), table([group for group, _ in shown]))
        yield Fold(title=f"{name(split)} images", blocks=inner)
        return
    yield Note(text=(behind,), style="strong")
    yield table([group for group, first in shown if first])
    tests = _tests(differences)
    if tests:
        yield Note(text=(f"{tests} Both take images as independent; the interval of the difference does not.",))
    more = [group for group, first in shown if not first]
    if more:
        yield Fold(title="Test images at the other thresholds", blocks=(table(more),))


def groups_of(measured: Mapping[str, Facts], differences: Facts) -> dict[str | None, Rows]:
    """A row per metric, in groups by threshold (None: without one).

    Args:
        measured: Metrics of each classifier on a split.
        differences: Differences of two of them; empty where nothing is compared.
    """
    rows: dict[str | None, list[Row]] = {}
    for key in dict.fromkeys(key for facts in measured.values() for key, value in facts.items() if is_metric(value)):
        metric, threshold = at_threshold(key)
        if metric in CELLS:
            continue
        some = next(facts[key] for facts in measured.values() if key in facts)
        prevalence = f" ({decimal(float(some['prevalence']))})" if "prevalence" in some else ""
        cells = [cell(facts.get(key)) for facts in measured.values()]
        if differences:
            difference = differences.get(key)
            cells.append(cell(difference, signed=True) if is_metric(difference) else "")
        lower = "↓" if metric in LOWER_IS_BETTER else ""
        row = Row(title=name(metric) + prevalence, key=key, hint=lower, cells=tuple(cells))
        rows.setdefault(threshold, []).append(row)
    titles = {key: f"At the {threshold_name(key)}" if key else "Without a threshold" for key in rows}
    return {key: Rows(title=titles[key], rows=tuple(found)) for key, found in rows.items()}


def at_threshold(key: str) -> tuple[str, str | None]:
    """Metric and threshold that a key of metrics.json names; None for a metric that needs none.

    >>> at_threshold("sensitivity_at_youden"), at_threshold("sensitivity"), at_threshold("roc_auc")
    (('sensitivity', 'youden'), ('sensitivity', 'half'), ('roc_auc', None))
    """
    metric, _, threshold = key.partition("_at_")
    if threshold in THRESHOLDS:
        return metric, threshold
    return key, None if key in FREE else "half"


def _tests(differences: Facts) -> str:
    """Paired tests of two classifiers as sentences."""
    made = []
    for key, title in TESTS.items():
        facts = differences.get(key)
        if isinstance(facts, Mapping):
            p = facts.get("p")
            made.append(f"{title}: p = {p:.2g}." if p is not None else f"{title}: none ({facts.get('reason')}).")
    return " ".join(made)


def _weights(metrics: Facts) -> Iterator[Block]:
    """How the answers on validation change with the form of the weights, if that was measured."""
    facts = metrics.get("weights")
    if not facts:
        return
    forms: Mapping[str, Facts] = facts["forms"]
    rows = tuple(
        Row(
            title=name(key),
            hint="lower is better" if key in LOWER_IS_BETTER else "",
            cells=(
                *(cell(form.get(key)) for form in forms.values()),
                cell(facts["difference"].get(key), signed=True),
            ),
        )
        for key in next(iter(forms.values()))
    )
    median, largest, calls = (
        cell(facts[key]).text for key in ("margin_change_median", "margin_change_largest", "calls_changed")
    )
    columns = (*(Column(title=name(form)) for form in forms), Column(title="Difference"))
    text = (
        f"The adapted model classified {facts['calls_changed']['n']:,} validation images twice; every other number "
        "here is of the first form. Its margin (logit of the positive answer less that of the negative one) moves by "
        f"{median} in the median and by {largest} at most; the call at 0.5 changes on {calls} images."
    )
    table = Table(columns=columns, groups=(Rows(rows=rows),), style="measured")
    yield Fold(title="The weights in two forms, validation images", blocks=(Note(text=(text,)), table))


def _published(metrics: Facts) -> Iterator[Block]:
    """Published numbers of classifiers, apart."""
    facts = metrics.get("reference", {})
    published = facts.get("classification", {})
    if not published:
        return
    keys = list(dict.fromkeys(key for row in published.values() for key in row))
    rows = tuple(
        Row(title=f"Published, {name(system).lower()}", cells=tuple(cell(row.get(key)).text for key in keys))
        for system, row in published.items()
    )
    note = str(facts.get("note", ""))
    yield Heading(title="Published, other data: not comparable")
    columns = tuple(Column(title=name(key)) for key in keys)
    yield Table(columns=columns, groups=(Rows(rows=rows),), style="aside")
    yield Note(text=(f"{note[:1].upper()}{note[1:]}. Read these beside ours; do not rank them with ours.",))


def matrices(metrics: Facts, classifiers: Mapping[str, System], chosen: str) -> Iterator[Matrix]:
    """A confusion matrix of the test split for each classifier, at 0.5 and at the chosen threshold."""
    for model, splits in metrics.get("classification", {}).items():
        for threshold, suffix in (("half", ""), (chosen, f"_at_{chosen}")):
            counts = [splits.get("test", {}).get(key + suffix) for key in CELLS]
            if not all(is_metric(count) for count in counts):
                continue
            tp, fp, fn, tn = (int(count["value"]) for count in counts)
            at = counts[0].get("threshold")
            exact = f" ({at:.3f})" if at is not None and threshold != "half" else ""
            yield Matrix(
                title=classifiers[model].label,
                note=f"{threshold_name(threshold)}{exact}",
                look=classifiers[model].look,
                columns=("predicted nodule", "predicted none"),
                rows=(
                    _matrix_row("nodule", (tp, "tp"), (fn, "fn"), right=0),
                    _matrix_row("no nodule", (fp, "fp"), (tn, "tn"), right=1),
                ),
            )


def _matrix_row(title: str, *counts: tuple[int, str], right: int) -> MatrixRow:
    total = sum(count for count, _ in counts)
    cells = tuple(
        MatrixCell(name=word, count=count, fraction=count / total if total else 0.0, right=k == right)
        for k, (count, word) in enumerate(counts)
    )
    return MatrixRow(title=title, cells=cells)
