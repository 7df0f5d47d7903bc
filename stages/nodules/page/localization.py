"""The part on localizers: where is the nodule?"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

from stages.lib.detect.choice import Choice
from stages.lib.detect.cutoff import Cutoff
from stages.lib.metrics import catalog
from stages.lib.metrics.measures import Estimate, Key
from stages.lib.report import published
from stages.lib.report.blocks import Block, Charts, Column, Fold, Heading, Note, Number, Part, Row, Rows, Table
from stages.lib.report.numbers import decimal, fact, label, number
from stages.nodules.notes import Division
from stages.nodules.page import curves
from stages.nodules.page.study import Study
from stages.nodules.page.words import name

Measured = Mapping[Key, Estimate]
DIVISIONS = {"size": "Diameter", "contrast": "Contrast", "height": "Height on the image", "side": "Side"}
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
    "and beside the distance of every point to its nearest nodule, which knows no tolerance. The "
    "random-placement baseline places as many points at random on the same images. Distances in mm are over the images "
    "whose spacing is known; rest the pointer on one to see how many those are."
)
RATES = {"malformed_fraction": "Malformed", "cut_fraction": "Cut"}  # of the responses to a prompt
FROC = ("froc_sensitivity", "cpm")
EMPTY = Estimate(value=None)


ALL_IMAGES = (
    "A point on a negative image is a false point: precision, F1, false positives and numbers of points are over all "
    "test images, negative ones included. Recall and distances are over the images with nodules."
)
TUNED = (
    "the adapter was trained on images of the train split, which may be among these. Its prompt and cutoff were chosen "
    "on validation images alone, and so were the cutoffs of combinations with it."
)
POSITIVES = (
    "As the published study counts: points on negative images are left out, which flatters precision and F1. Numbers "
    "that do not differ from those above are not repeated."
)


def part(study: Study) -> Part:
    """Metrics on test images and on all marked images, FROC curves, strata, prompts, and published numbers."""
    blocks: list[Block] = []
    if study.localizers:
        blocks += [*_test(study), *_all(study), *_banks(study)]
    else:
        blocks.append(Note(text=("No localizer was run.",)))
    blocks += _published()
    return Part(name="localization", title="Where is it?", short="Localization", blocks=tuple(blocks))


def _test(study: Study) -> Iterator[Block]:
    """Test images: the metrics, the FROC curves, and the nodules by kind."""
    near = study.settings
    yield Note(
        text=(
            f"Tight is within {near.tight:g} of the diagonal of the original image, tolerant within "
            f"{near.tolerant:g}. These are the images of the test split, which the choice of prompts, thresholds and "
            "combinations leaves alone.",
        )
    )
    yield Note(text=(_behind(study, "test"),), style="strong")
    yield Note(text=(ALL_IMAGES,))
    yield from _sources(study)
    yield _table(study, list(_shown(study, "test", f", all test images{_across(study)}")), "test")
    yield Note(text=(f"{RADIAL} {_placement(study)}".strip(),))
    alone = _table(study, list(_positives(study)), "test/positives")
    yield Fold(title="The test images with nodules alone", blocks=(Note(text=(POSITIVES,)), alone))
    charts = curves.of_localizers(study)
    if charts:
        yield Charts(charts=charts)
    for system in study.localizers.values():
        cpm = study.of("localization", system.name).get(Key("cpm", "tolerant"), EMPTY)
        if cpm.value is None and cpm.reason:
            yield Note(text=(f"{system.label} has no FROC curve: {cpm.reason}.",))
    more = list(_folded(study, "test", _across(study)))
    if more:
        title = f"Sensitivity at fixed rates of false points, and label and point together{_across(study)}"
        yield Fold(title=title, blocks=(_table(study, more, "test"),))
    yield from _within(study)
    note = "recall on the nodules of the test images by kind, at the tolerant distance"
    yield Heading(title="Which nodules are found", note=note)
    yield _strata_table(study, "test", "tolerant")
    yield Fold(title="The same at the tight distance", blocks=(_strata_table(study, "test", "tight"),))


def _all(study: Study) -> Iterator[Block]:
    """All images with marked nodules, of every split."""
    yield Heading(title="All images with marked nodules", note="of every split, as the published study measured")
    flatter = "Prompts may have been chosen on some of these images, so these numbers flatter; no negative image is"
    counted = "so precision and F1 are of images with nodules alone"
    yield Note(text=(f"{flatter} among them, {counted}. {_behind(study, 'all')}.",))
    tuned = [system.label for system in study.localizers.values() if system.name in study.settings.tuned_localizers]
    if tuned:
        yield Note(text=(f"{' and '.join(tuned)}: {TUNED}",))
    table = _table(study, list(_shown(study, "all", ", images with nodules alone")), "all")
    yield Fold(title="The numbers of all images with marked nodules", blocks=(table,))
    strata = _strata_table(study, "all", "tolerant")
    yield Fold(title="Which of all marked nodules are found, at the tolerant distance", blocks=(strata,))


def _columns(study: Study) -> tuple[Column, ...]:
    return tuple(Column(title=system.label, look=system.look) for system in study.localizers.values())


def _table(study: Study, groups: list[Rows], subset: str) -> Table:
    return Table(name=f"localization.{subset}", columns=_columns(study), groups=tuple(groups), style="measured")


def _shown(study: Study, subset: str, images: str) -> Iterator[Rows]:
    """Rows that are shown at once: at each tolerance, at none, and on negative images; `images` ends their titles."""
    measured = [study.of("localization", localizer, subset) for localizer in study.localizers]
    yield from _measured(measured, images)
    negatives = [study.of("localization", localizer, f"{subset}/negatives") for localizer in study.localizers]
    yield from _rows("Negative images", negatives, lambda key: True)


def _measured(measured: Sequence[Measured], images: str) -> Iterator[Rows]:
    """Rows at each tolerance, and at none."""
    for at, title in catalog.TOLERANCES.items():
        yield from _rows(f"{title.capitalize()}{images}", measured, partial(_near, at))
    yield from _rows(f"Whatever the distance{images}", measured, lambda key: key.at is None)


def _positives(study: Study) -> Iterator[Rows]:
    """Rows of the test images with nodules alone, as far as they differ from those of all test images."""
    pairs = [
        [study.of("localization", localizer, subset) for subset in ("test/positives", "test")]
        for localizer in study.localizers
    ]
    differ = {key for alone, both in pairs for key, one in alone.items() if one != both.get(key)}
    alone = [{key: one for key, one in found.items() if key in differ} for found, _ in pairs]
    yield from _measured(alone, ", images with nodules alone")


def _across(study: Study) -> str:
    """What the title of a number says that compares images of different sources."""
    return ", across sources" if study.across() else ""


def _sources(study: Study) -> Iterator[Block]:
    """Where the images with nodules and the negative ones are from, if not from the same sources."""
    words: dict[str, list[str]] = {}
    for one in study.notes.sources:
        if one.subset == "test" and one.sources.across and one.localizer in study.localizers:
            marked, negative = (_counted(counts) for counts in (one.sources.marked, one.sources.negative))
            text = f"marked nodules are on images of {marked}, the negative images are of {negative}"
            words.setdefault(text, []).append(study.localizers[one.localizer].label)
    for text, labels in words.items():
        which = "" if len(words) == 1 else f"{', '.join(labels)}: "
        yield Note(
            text=(
                f"Across sources: {which}{text}. What compares the two kinds of images also measures how well a "
                "localizer tells the sources apart. Numbers within one source are below, as far as there are any.",
            ),
            style="warning",
        )


def _placement(study: Study) -> str:
    """Where the random-placement baseline throws its points."""
    found = study.notes.placement
    if found is None:
        return ""
    images = found.lung_field + found.body + found.image
    where = f"The points of that baseline lie in the lung field on {found.lung_field:,} of {images:,} images"
    rest = f"; on {found.body:,} in the body, as no lung field passed the check" if found.body else ""
    where += " with marked nodules"
    return where + rest + (f"; on {found.image:,} anywhere" if found.image else "") + "."


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name(source)} ({n:,})" for source, n in counts.items())


def _within(study: Study) -> Iterator[Block]:
    """Test images of one source: the same numbers, or why there are none."""
    prefix = "test/source/"
    subsets = {one.subset for one in study.measures if one.task == "localization" and one.subset.startswith(prefix)}
    for subset in sorted(subsets):
        found = [study.of("localization", localizer, subset) for localizer in study.localizers]
        source = name(subset.removeprefix(prefix))
        if any(one.value is not None for measured in found for one in measured.values()):
            within = f", within {source}"
            groups = [*_measured(found, within), *_folded(study, subset, within)]
            yield Fold(title=f"The same within one source: {source}", blocks=(_table(study, groups, subset),))
        else:
            reasons = sorted({one.reason for measured in found for one in measured.values() if one.reason})
            yield Note(text=(f"Within one source, {source}: no number, as {'; '.join(reasons)}.",))


def _folded(study: Study, subset: str = "test", images: str = "") -> Iterator[Rows]:
    """Rows that are folded away: FROC, and label and point together, at each tolerance; `images` ends their titles."""
    measured = [study.of("localization", localizer, subset) for localizer in study.localizers]
    for at, title in catalog.TOLERANCES.items():
        yield from _rows(f"FROC, {title}{images}", measured, partial(_froc, at))
    for classifier in study.classifiers.values():
        joint = [study.of("joint", localizer, subset, classifier.name) for localizer in study.localizers]
        fitted = study.calibration.get(classifier.name)
        chosen = fitted is not None and fitted.thresholds.get(study.settings.submitted) is not None
        called = f"{catalog.at_label(study.settings.submitted)}, as submitted," if chosen else catalog.at_label("half")
        for at, title in catalog.TOLERANCES.items():
            together = f"Label of {classifier.label} at the {called} and point together, {title}{images}"
            yield from _rows(together, joint, partial(_near, at), f"{classifier.name}/")


def _near(at: str, key: Key) -> bool:
    return key.at == at and key.metric not in FROC


def _froc(at: str, key: Key) -> bool:
    return key.metric in FROC and key.at is not None and key.at.partition("/")[0] == at


def _rows(title: str, measured: Sequence[Measured], wanted: Callable[[Key], bool], prefix: str = "") -> Iterator[Rows]:
    """A row per metric that is wanted and that a localizer has; nothing if there is none."""
    keys = sorted({key for found in measured for key in found if wanted(key)}, key=lambda key: key.order)
    rows = tuple(
        Row(
            title=_title(key), key=f"{prefix}{key.text}", cells=tuple(number(key, found.get(key)) for found in measured)
        )
        for key in keys
    )
    if rows:
        yield Rows(title=title, rows=rows)


def _title(key: Key) -> str:
    if key.metric == "froc_sensitivity" and key.at:
        return f"Sensitivity at {key.at.partition('/')[2].replace('_', '/')} false points per image"
    return label(key.metric)


def _behind(study: Study, subset: str) -> str:
    """How many images, patients and nodules stand behind a view, once if the localizers were run on the same."""
    words: dict[str, list[str]] = {}
    for system in study.localizers.values():
        inside = "test/positives" if subset == "test" else subset
        found = study.of("localization", system.name, inside).get(Key("count_exact"))
        negatives = study.of("localization", system.name, f"{subset}/negatives").get(Key("fraction_with_point"))
        if found:
            text = f"{found.n:,} images with {found.n_points:,} marked nodules, of {found.n_patients:,} patients"
            text += f"; {negatives.n:,} negative images" if negatives else ""
            words.setdefault(text, []).append(system.label)
    if len(words) == 1:
        return next(iter(words))
    return ". ".join(f"{', '.join(names)}: {text}" for text, names in words.items())


def _strata_table(study: Study, subset: str, near: str) -> Table:
    """Nodules by kind: a row per stratum, with the recall of each localizer."""
    columns = (Column(title="Nodules", count=True), *_columns(study))
    groups = tuple(_strata(study, subset, near))
    return Table(name=f"localization.{subset}", columns=columns, groups=groups, style="measured")


def _strata(study: Study, subset: str, near: str) -> Iterator[Rows]:
    key = Key("recall", near)
    for kind, title in DIVISIONS.items():
        divided = [one for one in study.notes.divisions if (one.subset, one.name) == (subset, kind)]
        if not divided:
            continue
        bounds = {stratum: ends for one in divided for stratum, ends in one.strata.items()}
        rows = []
        for stratum, ends in bounds.items():
            inside = f"{subset}/{kind}/{stratum}"
            found = [study.of("localization", localizer, inside).get(key) for localizer in study.localizers]
            counts = sorted({one.n_points for one in found if one is not None and one.n_points is not None})
            nodules = " to ".join(f"{count:,}" for count in dict.fromkeys((counts[0], counts[-1])))
            cells: tuple[str | Number, ...] = (nodules, *(number(key, one) for one in found))
            rows.append(
                Row(title=stratum_name(ends, stratum, UNITS.get(kind, "")), key=f"{inside}/{near}", cells=cells)
            )
        yield Rows(title=title, note=_remarks(divided[0], bool(rows)), rows=tuple(rows))


def _remarks(division: Division, has_rows: bool) -> str:
    unknown = f"not known of {division.n_unknown:,} nodules" if division.n_unknown and has_rows else ""
    reason = f"not divided: {division.reason}" if division.reason else ""
    return "; ".join(text for text in (division.note, unknown, reason) if text)


def stratum_name(bounds: tuple[float | None, float | None], key: str, unit: str = "") -> str:
    """What a stratum of the nodules is called.

    >>> stratum_name((None, 10.0), "below_10", " mm"), stratum_name((10.0, 22.5), "", " mm")
    ('below 10 mm', '10 to 22.5 mm')
    >>> stratum_name((None, None), "upper")
    'upper third'
    """
    low, high = bounds
    if low is None and high is None:
        return STRATUM_NAMES.get(key, name(key))
    if low is None:
        return f"below {high:g}{unit}"
    return f"from {low:g}{unit}" if high is None else f"{low:g} to {high:g}{unit}"


def _banks(study: Study) -> Iterator[Block]:
    """Every prompt of each localizer with what it found, and the cutoff of its confidence."""
    for system in study.localizers.values():
        choice, cutoff = study.choice.get(system.name), study.cutoff.get(system.name)
        if choice or cutoff:
            title = f"Prompts of {system.label}, and the confidence from which its points are shown"
            of_prompts = {
                row.prompt: study.of("responses", system.name, f"choosing/{row.prompt}")
                for row in (choice.bank if choice else ())
            }
            yield Fold(title=title, blocks=bank(choice, cutoff, of_prompts))


def bank(choice: Choice | None, cutoff: Cutoff | None, responses: Mapping[str, Measured]) -> tuple[Block, ...]:
    """The prompt bank of one localizer, and its cutoff as a sentence.

    Args:
        choice: What each prompt found, and the chosen ones.
        cutoff: Of the confidence.
        responses: Rates of malformed and cut responses by prompt.
    """
    blocks: list[Block] = []
    if choice and choice.bank:
        rows = tuple(
            Row(
                title=row.prompt,
                cells=(
                    f"{row.true_positives} of {row.nodules}",
                    f"{row.points:,}",
                    decimal(row.f1),
                    "none" if row.cutoff is None else decimal(row.cutoff),
                    fact(row.false_points_per_image),
                    *(number(Key(rate), responses[row.prompt].get(Key(rate))) for rate in RATES),
                    "chosen" if row.prompt in choice.prompts else "",
                ),
            )
            for row in choice.bank
        )
        titles = (
            *("Nodules found", "Points", "F1", "Least confidence", "False points per negative image"),
            *RATES.values(),
            "",
        )
        columns = tuple(Column(title=title) for title in titles)
        blocks.append(Table(corner="Prompt", columns=columns, groups=(Rows(rows=rows),), style="measured"))
        splits, plural = " and ".join(choice.splits), "s" if len(choice.splits) > 1 else ""
        text = (
            f"Each prompt at its own least confidence, on {choice.bank[0].images} images of the {splits} split{plural}"
            f", {choice.bank[0].negatives} of them negative; no test image is among them."
        )
        blocks.append(Note(text=(text,)))
    least = cutoff.cutoff if cutoff else None
    sentence = "All its points are shown." if least is None else f"Points of {decimal(least)} or more are shown."
    if cutoff and cutoff.f1 is not None:
        sentence += (
            f" On the {cutoff.images} images that choose, {cutoff.negatives} of them negative, they find "
            f"{cutoff.true_positives} of {cutoff.nodules} nodules with {cutoff.points} points, F1 {decimal(cutoff.f1)}."
        )
    if cutoff and cutoff.wanted_rate is not None:
        sentence += (
            f" Wanted: the least confidence with at most {cutoff.wanted_rate:g} false points per negative image; there "
            f"are {fact(cutoff.false_points_per_image)}."
        )
        sentence += "" if cutoff.kept else " No confidence keeps to that rate."
    if cutoff and cutoff.sources and cutoff.sources.across:
        marked, negative = (_counted(counts) for counts in (cutoff.sources.marked, cutoff.sources.negative))
        sentence += f" Chosen across sources: marked nodules on images of {marked}, negative images of {negative}."
    reason = (choice.reason if choice else None) or (cutoff.reason if cutoff else None)
    blocks.append(Note(text=(f"{sentence} Nothing could be chosen: {reason}." if reason else sentence,)))
    return tuple(blocks)


def _published() -> Iterator[Block]:
    """Published numbers of a localizer, apart."""
    rows = tuple(
        Row(title=name(near), cells=tuple(decimal(value) for value in values.values()))
        for near, values in published.LOCALIZATION.items()
    )
    columns = tuple(Column(title=label(metric)) for metric in next(iter(published.LOCALIZATION.values())))
    yield Heading(title="Published, other data and another localizer: not comparable")
    yield Table(columns=columns, groups=(Rows(rows=rows),), style="aside")
    challenge = published.CHALLENGE
    yield Note(
        text=(
            "Measured on 113 images with 179 marked nodules and on no negative image: read it beside all images with "
            "marked nodules, not beside the test images. The challenge reports the right number of points on "
            f"{100 * challenge.count_exact:g} % of its images and a median distance of {challenge.median_distance_mm} "
            f"mm: {challenge.note}.",
        )
    )
