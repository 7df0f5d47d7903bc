"""The part on localizers: where is the nodule?"""

from collections.abc import Iterator, Mapping
from typing import Any

from stages.lib.report.blocks import Block, Charts, Column, Fold, Heading, Note, Part, Row, Rows, Table
from stages.lib.report.numbers import decimal
from stages.nodules.page import curves
from stages.nodules.page.images import Record
from stages.nodules.page.study import Study, System
from stages.nodules.page.words import cell, is_metric, name

Facts = Mapping[str, Any]
STRATA = {"size": "Diameter", "contrast": "Contrast", "height": "Height on the image", "side": "Side"}
UNITS = {"size": " mm"}
STRATUM_NAMES = {
    "upper": "upper third",
    "middle": "middle third",
    "lower": "lower third",
    "patients_right": "left half of the image (the patient's right)",
    "patients_left": "right half of the image (the patient's left)",
}
RADIAL = (
    "Radial errors are over matched pairs only, so they grow with the distance allowed: read them beside the recall, "
    "and beside the distance of every point to its nearest nodule, which knows no tolerance. Recall by chance is the "
    "random-placement baseline: as many points, placed evenly over the same images. Distances in mm are over the images "
    "whose spacing is known; rest the pointer on one to see how many those are."
)


def part(study: Study, images: Mapping[str, Record]) -> Part:
    """Metrics on test images and on all marked images, FROC curves, strata, prompts, and published numbers."""
    blocks: list[Block] = []
    if study.metrics.get("localization"):
        blocks += [*_test(study, images), *_all(study), *_banks(study)]
    else:
        blocks.append(Note(text=("No localizer was run.",)))
    blocks += _published(study.metrics)
    return Part(name="localization", title="Where is it?", short="Localization", blocks=tuple(blocks))


def _views(study: Study, view: str) -> dict[str, Facts]:
    """What was measured of each localizer on the images of a view."""
    return {name: views.get(view, {}) for name, views in study.metrics["localization"].items()}


def _test(study: Study, images: Mapping[str, Record]) -> Iterator[Block]:
    """Test images: the metrics, the FROC curves, and the nodules by kind."""
    measured = _views(study, "test")
    near = study.settings
    yield Note(
        text=(
            f"Tight is within {near.tight:g} of the diagonal of the original image, tolerant within "
            f"{near.tolerant:g}. These are the images of the test split, which the choice of prompts, thresholds and "
            "combinations leaves alone.",
        )
    )
    yield Note(text=(_behind(measured, study.localizers),), style="strong")
    shown, more = _groups(measured, study.classifiers)
    yield _table(study, measured, shown, "test")
    yield Note(text=(RADIAL,))
    charts = curves.of_localizers(study, images.values())
    if charts:
        yield Charts(charts=charts)
    for localizer, facts in measured.items():
        reason = facts.get("froc", {}).get("reason")
        if reason:
            yield Note(text=(f"{study.localizers[localizer].label} has no FROC curve: {reason}.",))
    if more:
        title = "Sensitivity at fixed rates of false points, and label and point together"
        yield Fold(title=title, blocks=(_table(study, measured, more, "test"),))
    note = "recall on the test images’ nodules of a kind, at the tolerant distance"
    yield Heading(title="Which nodules are found", note=note)
    yield _strata_table(study, measured, "tolerant", "test")
    yield Fold(title="The same at the tight distance", blocks=(_strata_table(study, measured, "tight", "test"),))


def _all(study: Study) -> Iterator[Block]:
    """All images with marked nodules, of every split."""
    measured = _views(study, "all")
    yield Heading(title="All images with marked nodules", note="of every split, as the published study measured")
    flatter = "Prompts may have been chosen on some of these images, so these numbers flatter; no negative image is"
    yield Note(text=(f"{flatter} among them. {_behind(measured, study.localizers)}.",))
    shown, _ = _groups(measured, study.classifiers)
    table = _table(study, measured, shown, "all")
    yield Fold(title="The numbers of all images with marked nodules", blocks=(table,))
    strata = _strata_table(study, measured, "tolerant", "all")
    yield Fold(title="Which of all marked nodules are found, at the tolerant distance", blocks=(strata,))


def _columns(study: Study, measured: Mapping[str, Facts]) -> tuple[Column, ...]:
    systems = [study.localizers[localizer] for localizer in measured]
    return tuple(Column(title=system.label, look=system.look) for system in systems)


def _table(study: Study, measured: Mapping[str, Facts], groups: list[Rows], view: str) -> Table:
    name_ = f"localization.{view}"
    return Table(name=name_, columns=_columns(study, measured), groups=tuple(groups), style="measured")


def _groups(measured: Mapping[str, Facts], classifiers: Mapping[str, System]) -> tuple[list[Rows], list[Rows]]:
    """Rows of a view that have a number, a cell per localizer: those shown at once, and those folded away."""
    models = dict.fromkeys(model for facts in measured.values() for model in facts.get("joint", {}))
    near = ("tight", "tolerant")
    shown = [((key,), f"{name(key)} distance") for key in near]
    shown += [(("images",), "Whatever the distance"), (("negatives",), "Negative images")]
    more = [(("froc", key), f"FROC, {key} distance") for key in near]
    for model in models:
        title = f"Label of {classifiers[model].label} and point together"
        more += [(("joint", model, key), f"{title}, {key} distance") for key in near]
    return list(_filled(measured, shown)), list(_filled(measured, more))


def _filled(measured: Mapping[str, Facts], ways: list[Any]) -> Iterator[Rows]:
    for keys, title in ways:
        found = [_at(facts, keys) for facts in measured.values()]
        metrics = list(dict.fromkeys(key for facts in found for key, value in facts.items() if is_metric(value)))
        if "random_placement_recall" in metrics:
            metrics.remove("random_placement_recall")
            metrics.insert(metrics.index("recall") + 1, "random_placement_recall")
        rows = tuple(
            Row(
                title=name(metric),
                key=".".join((*keys, metric)),
                cells=tuple(cell(facts.get(metric)) for facts in found),
            )
            for metric in metrics
        )
        if rows:
            yield Rows(title=title, rows=rows)


def _at(facts: Facts, keys: tuple[str, ...]) -> Facts:
    for key in keys:
        facts = facts.get(key, {})
    return facts


def _behind(measured: Mapping[str, Facts], localizers: Mapping[str, System]) -> str:
    """How many images, patients and nodules stand behind a view, once if the localizers were run on the same."""
    words: dict[str, list[str]] = {}
    for localizer, facts in measured.items():
        found, negatives = _at(facts, ("images", "count_exact")), _at(facts, ("negatives", "fraction_with_point"))
        if found:
            text = (
                f"{found['n']:,} images with {found['n_points']:,} marked nodules, of {found['n_patients']:,} patients"
            )
            text += f"; {negatives['n']:,} negative images" if negatives else ""
            words.setdefault(text, []).append(localizers[localizer].label)
    if len(words) == 1:
        return next(iter(words))
    return ". ".join(f"{', '.join(names)}: {text}" for text, names in words.items())


def _strata_table(study: Study, measured: Mapping[str, Facts], near: str, view: str) -> Table:
    """Nodules by kind: a row per stratum, with the recall of each localizer."""
    columns = (Column(title="Nodules", count=True), *_columns(study, measured))
    groups = tuple(_strata(measured, near))
    return Table(name=f"localization.{view}", columns=columns, groups=groups, style="measured")


def _strata(measured: Mapping[str, Facts], near: str) -> Iterator[Rows]:
    for kind, title in STRATA.items():
        found = {localizer: _at(facts, ("strata", kind)) for localizer, facts in measured.items()}
        found = {localizer: facts for localizer, facts in found.items() if facts}
        if not found:
            continue
        some = next(iter(found.values()))
        rows = []
        for stratum in dict.fromkeys(stratum for facts in found.values() for stratum in facts["parts"]):
            entries = [_at(facts, ("strata", kind, "parts", stratum, near)) for facts in measured.values()]
            counts = sorted({entry["n_points"] for entry in entries if entry})
            nodules = " to ".join(f"{count:,}" for count in dict.fromkeys((counts[0], counts[-1])))
            first = next(facts["parts"][stratum] for facts in found.values())
            rows.append(
                Row(
                    title=stratum_name(first, stratum, UNITS.get(kind, "")),
                    key=f"{kind}.{stratum}.{near}",
                    cells=(nodules, *(cell(entry or None) for entry in entries)),
                )
            )
        unknown = f"not known of {some['n_unknown']:,} nodules" if some["n_unknown"] and rows else ""
        reason = f"not divided: {some['reason']}" if some.get("reason") else ""
        note = "; ".join(text for text in (some.get("note"), unknown, reason) if text)
        yield Rows(title=title, note=note, rows=tuple(rows))


def stratum_name(bounds: Facts, key: str, unit: str = "") -> str:
    """What a stratum of the nodules is called.

    >>> stratum_name({"from": None, "to": 10.0}, "below_10", " mm"), stratum_name({"from": 10.0, "to": 22.5}, "", " mm")
    ('below 10 mm', '10 to 22.5 mm')
    >>> stratum_name({"from": None, "to": None}, "upper")
    'upper third'
    """
    low, high = bounds["from"], bounds["to"]
    if low is None and high is None:
        return STRATUM_NAMES.get(key, name(key))
    if low is None:
        return f"below {high:g}{unit}"
    return f"from {low:g}{unit}" if high is None else f"{low:g} to {high:g}{unit}"


def _banks(study: Study) -> Iterator[Block]:
    """Every prompt of each localizer with what it found, and the cutoff of its confidence."""
    choices, cutoffs = study.metrics.get("choice", {}), study.metrics.get("cutoff", {})
    for localizer in dict.fromkeys([*choices, *cutoffs]):
        label = study.localizers[localizer].label
        title = f"Prompts of {label}, and the confidence from which its points are shown"
        yield Fold(title=title, blocks=bank(choices.get(localizer, {}), cutoffs.get(localizer, {})))


def bank(chosen: Facts, cutoff: Facts) -> tuple[Block, ...]:
    """The prompt bank of one localizer, and its cutoff as a sentence."""
    blocks: list[Block] = []
    rows = tuple(
        Row(
            title=row["request"],
            cells=(
                f"{row['hits']} of {row['nodules']}",
                f"{row['points']:,}",
                decimal(row["f1"]),
                "none" if row["cutoff"] is None else decimal(row["cutoff"]),
                str(row["malformed"]),
                "chosen" if row["request"] in chosen["requests"] else "",
            ),
        )
        for row in chosen.get("bank", ())
    )
    if rows:
        titles = ("Nodules found", "Points", "F1", "Least confidence", "Unreadable", "")
        columns = tuple(Column(title=title) for title in titles)
        blocks.append(Table(corner="Prompt", columns=columns, groups=(Rows(rows=rows),), style="measured"))
        splits, plural = " and ".join(chosen["splits"]), "s" if len(chosen["splits"]) > 1 else ""
        text = (
            f"Each prompt at its best, on {chosen['bank'][0]['images']} images of the {splits} split{plural}, negative "
            "ones included; no test image is among them."
        )
        blocks.append(Note(text=(text,)))
    least = cutoff.get("cutoff")
    sentence = "All its points are shown." if least is None else f"Points of {decimal(least)} or more are shown."
    if "f1" in cutoff:
        sentence += (
            f" On the {cutoff['images']} images that choose, they find {cutoff['hits']} of {cutoff['nodules']} "
            f"nodules with {cutoff['points']} points, F1 {decimal(cutoff['f1'])}."
        )
    reason = chosen.get("reason") or cutoff.get("reason")
    blocks.append(Note(text=(f"{sentence} Nothing could be chosen: {reason}." if reason else sentence,)))
    return tuple(blocks)


def _published(metrics: Facts) -> Iterator[Block]:
    """Published numbers of a localizer, apart."""
    facts = metrics.get("reference", {})
    near, challenge = facts.get("localization", {}), facts.get("challenge")
    if not near:
        return
    keys = list(dict.fromkeys(key for row in near.values() for key in row))
    rows = tuple(
        Row(title=name(group), cells=tuple(cell(row.get(key)).text for key in keys)) for group, row in near.items()
    )
    yield Heading(title="Published, other data and another localizer: not comparable")
    columns = tuple(Column(title=name(key)) for key in keys)
    yield Table(columns=columns, groups=(Rows(rows=rows),), style="aside")
    text = (
        "Measured on 113 images with 179 marked nodules and on no negative image: read it beside all images with "
        "marked nodules, not beside the test images."
    )
    if challenge:
        text += (
            f" The challenge reports the right number of points on {100 * challenge['count_exact']:g} % of its images "
            f"and a median distance of {challenge['median_distance_mm']} mm: {challenge['note']}."
        )
    yield Note(text=(text,))
