"""The part on curves: ROC, and precision and recall, of each row that the rule may choose."""

from collections.abc import Iterator

import numpy as np

from stages.lib.metrics.curves import Curve
from stages.lib.metrics.measures import Key, Subject
from stages.lib.report import figures
from stages.lib.report.blocks import Charts, Note, Part
from stages.lib.report.numbers import number
from stages.zoo.page.study import AREA, CLASSIFICATION, PRECISION, Study


def parts(study: Study) -> Iterator[Part]:
    """Curves of the test images; nothing without one."""
    drawn = [name for name in study.measured if study.standings[name].choosable]
    found = {name: study.curves.get(Subject(CLASSIFICATION, name, "test"), ()) for name in drawn}
    rocs = [_curve(study, name, one, AREA) for name, several in found.items() for one in several if one.curve == "roc"]
    recalls = [
        _curve(study, name, one, PRECISION)
        for name, several in found.items()
        for one in several
        if one.curve == "precision_recall"
    ]
    if not rocs:
        return
    prevalence = next((one.value or 0.0 for name in drawn if (one := study.of(name).get(Key("prevalence")))), 0.0)
    charts = Charts(charts=(figures.roc(rocs), figures.precision_recall(recalls, prevalence)))
    note = Note(text=(f"Rows that the rule may choose, on {study.behind}.",))
    yield Part(name="curves", title="Curves", short="Curves", blocks=(note, charts))


def _curve(study: Study, name: str, curve: Curve, key: Key) -> figures.Curve:
    x, y = curve.x, curve.y
    if curve.curve == "precision_recall":
        x, first = np.unique(x, return_index=True)  # further thresholds of a recall only lose precision
        x, y = x[x > 0], y[first][x > 0]
    text = f"{study.label(name)}, {number(key, study.of(name).get(key)).text}"
    return figures.Curve(study.systems[name].look, text, x.tolist(), y.tolist())
