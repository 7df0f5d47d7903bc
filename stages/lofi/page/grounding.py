"""The part on grounding: boxes of sentences, each grounder beside its own blind rows, and a verdict on each."""

from collections.abc import Iterator, Mapping

from stages.lib.metrics import catalog
from stages.lib.metrics.grounding_suite import SECOND_READER, TWO_READERS
from stages.lib.metrics.measures import Estimate, Key
from stages.lib.report.blocks import Block, Column, Fold, Heading, Note, Number, Part, Row, Rows, Table
from stages.lib.report.numbers import DASH, label, number
from stages.lofi.page.study import GROUNDING, NOUNS, SEEN, TEST, Study

BLIND = [seen for seen in SEEN if seen != "own"]
SHOWN = ("f1", "precision", "recall", "rodeo_localization", "rodeo_shape", "best_iou", "pointing_accuracy")
STRATA = {"label": "By group of findings", "boxes": "By number of boxes", "size": "By fraction of the image covered"}


def part(study: Study) -> Part:
    """Tables of grounding."""
    return Part(name="grounding", title="Grounding", short="Grounding", blocks=tuple(_blocks(study)))


def _blocks(study: Study) -> Iterator[Block]:
    iou = study.measured_by["iou"]
    yield Note(
        text=(
            "A unit is an image and a sentence with boxes. A box is right from an intersection over union of "
            f"{iou:g} on, boxes are paired so that most are right, and counts are pooled. An answer that cannot be "
            "read is a miss. Sentences tell much of the place by themselves: so each grounder is asked the same with "
            "the image of another patient and with a grey one, and what does not beat these by the paired interval has "
            "grounded nothing.",
        )
    )
    yield _verdicts(study)
    yield Heading(title="All measures")
    yield _table(study)
    yield from _human(study)
    yield Heading(title="What became of the answers")
    yield _statuses(study)
    for prefix, title in STRATA.items():
        found = list(_stratum(study, prefix))
        if found:
            yield Fold(title=title, blocks=tuple(found))


def _verdicts(study: Study) -> Table:
    """What lies between own images and blind rows, by the metric that was named before the run, and what that means."""
    columns = [Column(title=f"Own less {SEEN[seen]}") for seen in BLIND]
    rows = []
    for one in study.grounders.values():
        mine = {found.blind: found for found in study.notes.blind if found.grounder == one.name}
        cells: list[str | Number] = []
        for seen in BLIND:
            found = study.grounding(one.name, TEST, f"{one.name}/{seen}")
            key = next((key for key in found if seen in mine and key.text == mine[seen].metric), None)
            cells.append(number(key, found[key], signed=True, nouns=NOUNS[GROUNDING]) if key else DASH)
        grounds = bool(mine) and all(found.grounds for found in mine.values())
        verdict = "looks at the image" if grounds else "has grounded nothing" if mine else "was not asked blind"
        rows.append(Row(title=one.label, look=one.look, key=one.name, cells=(*cells, verdict), selected=grounds))
    corner = label(catalog.metric(study.measured_by["judged_by"]).name)
    return Table(
        name="grounding.verdicts",
        corner=corner,
        columns=(*columns, Column(title="Verdict")),
        groups=(Rows(rows=tuple(rows)),),
        style="systems",
    )


def _keys(study: Study) -> list[Key]:
    """Measures that are shown, as they were measured."""
    known = {key for name in study.grounders for key in study.grounding(name)}
    return [key for metric in SHOWN for key in sorted(known, key=lambda one: one.text) if key.metric == metric]


def _row(title: str, keys: list[Key], found: Mapping[Key, Estimate], look: int | None, *, signed: bool = False) -> Row:
    return Row(
        title=title,
        look=look,
        cells=tuple(number(key, found.get(key), signed=signed, nouns=NOUNS[GROUNDING]) for key in keys),
    )


def _columns(keys: list[Key]) -> tuple[Column, ...]:
    return tuple(Column(title=label(key.metric)) for key in keys)


def _table(study: Study) -> Table:
    """A group for each grounder: its own images, its blind rows, and what is between them."""
    keys, groups = _keys(study), []
    for one in study.grounders.values():
        rows = [_row("Own image", keys, study.grounding(one.name), one.look)]
        for seen in BLIND:
            if found := study.grounding(one.name, f"{TEST}/{seen}"):
                rows.append(_row(SEEN[seen].capitalize(), keys, found, None))
        for seen in BLIND:
            if found := study.grounding(one.name, TEST, f"{one.name}/{seen}"):
                rows.append(_row(f"Own less {SEEN[seen]}", keys, found, None, signed=True))
        groups.append(Rows(title=one.label, rows=tuple(rows)))
    compared = sorted(
        (one.system, one.other)
        for one in study.measures
        if one.task == GROUNDING and one.subset == TEST and one.other in study.grounders
    )
    if compared:
        rows = [
            _row(
                f"{study.grounders[first].label} less {study.grounders[second or ''].label}",
                keys,
                study.grounding(first, TEST, second),
                None,
                signed=True,
            )
            for first, second in compared
        ]
        groups.append(Rows(title="Two grounders on the same sentences", rows=tuple(rows)))
    return Table(name="grounding", columns=_columns(keys), groups=tuple(groups), style="systems")


def _human(study: Study) -> Iterator[Block]:
    """The second reader scored against the first, and each grounder on the same sentences."""
    human = study.grounding(SECOND_READER, TWO_READERS)
    if not human:
        return
    keys = _keys(study)
    rows = [_row("Second reader", keys, human, None)]
    rows += [
        _row(one.label, keys, study.grounding(one.name, TWO_READERS), one.look) for one in study.grounders.values()
    ]
    yield Heading(
        title="Images that two readers read",
        note="the second reader scored against the first; a box not drawn is a miss",
    )
    yield Table(name="grounding.readers", columns=_columns(keys), groups=(Rows(rows=tuple(rows)),), style="systems")


def _statuses(study: Study) -> Table:
    """Answers by what was read of them, of each grounder and of what it was shown."""
    names = ("ok", "empty", "malformed")
    rows = []
    for one in study.grounders.values():
        counts: dict[str, dict[str, int]] = {}
        table = study.grounded[one.name]
        for seen, status in zip(table["seen"].to_pylist(), table["status"].to_pylist(), strict=True):
            of_seen = counts.setdefault(seen, dict.fromkeys(names, 0))
            of_seen[status] += 1
        for seen in [seen for seen in SEEN if seen in counts]:
            found = counts[seen]
            fraction = f"{100 * found['malformed'] / sum(found.values()):.1f} %"
            cells = (*(f"{found[name]:,}" for name in names), fraction)
            rows.append(Row(title=f"{one.label}, {SEEN[seen]}", look=one.look, cells=cells))
    titles = ("Read", "Empty", "Malformed", "Malformed of all")
    return Table(
        name="grounding.statuses",
        columns=tuple(Column(title=title, count=True) for title in titles),
        groups=(Rows(rows=tuple(rows)),),
    )


def _stratum(study: Study, prefix: str) -> Iterator[Table]:
    """Each grounder on the subsets of one kind."""
    start = f"{TEST}/{prefix}/"
    keys = _keys(study)
    for one in study.grounders.values():
        subsets = [
            subject.subset
            for subject in study.measures
            if subject[:2] == (GROUNDING, one.name) and subject.subset.startswith(start) and subject.other is None
        ]
        rows = [
            _row(subset.removeprefix(start).replace("_", " "), keys, study.grounding(one.name, subset), None)
            for subset in subsets
        ]
        if rows:
            groups = (Rows(title=one.label, rows=tuple(rows)),)
            yield Table(name=f"grounding.{prefix}.{one.name}", columns=_columns(keys), groups=groups, style="systems")
