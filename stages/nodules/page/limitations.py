"""The part on limitations: what the numbers rest on, each with the count behind it."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from stages.lib.core import tables
from stages.lib.images import patients
from stages.lib.metrics import catalog
from stages.lib.metrics.measures import Estimate, Key
from stages.lib.report.blocks import Column, Note, Part, Row, Rows, Table
from stages.lib.report.numbers import label, number
from stages.nodules.page.study import Study
from stages.nodules.page.words import name

AREA, COUNT = Key("roc_auc"), Key("count_exact")
BASE = {
    "none": "By its makers, the base model was trained on none of the test images",
    "some": "By its makers, the base model was trained on some of the test images, so the numbers flatter it",
    "unknown": "Whether the base model was trained on test images is not known",
}


@dataclass(frozen=True)
class Limitation:
    """One thing that the numbers rest on.

    Attributes:
        key: Its name, for a program that reads the page.
        title: Its name on the page.
        text: What the run says of it.
    """

    key: str
    title: str
    text: str


def part(study: Study) -> Part:
    """A row for each limitation."""
    rows = tuple(Row(title=one.title, key=f"limitation/{one.key}", cells=(one.text,)) for one in of(study))
    note = Note(text=("Written by the run, from its tables and parameters.",))
    table = Table(name="limitations", columns=(Column(title="In this study"),), groups=(Rows(rows=rows),))
    return Part(name="limitations", title="Limitations", short="Limitations", blocks=(note, table))


def of(study: Study) -> Iterator[Limitation]:
    """Limitations of a study, as CLAIM and TRIPOD+AI ask for them."""
    yield Limitation("origin", "Images", _origin(study))
    yield Limitation("labels", "Source of the labels", _labels(study))
    yield Limitation("spectrum", "Spectrum", _spectrum(study))
    yield Limitation("sources", "Sources", _sources(study))
    yield Limitation("sample", "Sample size", _sample(study))
    yield Limitation("base", "Seen by the models before", _base(study))
    yield Limitation("seeds", "Repeats", _seeds(study))
    yield Limitation("thresholds", "Thresholds and calibration", _thresholds(study))
    yield Limitation("patients", "Patients", _patients(study))


def _origin(study: Study) -> str:
    used = study.manifest["status"].to_pylist().count("ok")
    if study.settings.simulated:
        return f"All {used:,} images are simulated: no number here is about a patient."
    return f"The {used:,} images are those of {study.settings.root}, which this study did not make."


def _labels(study: Study) -> str:
    rows = study.split.num_rows
    labelled = tables.lookup(study.split, study.manifest, ["source"]).to_pylist()
    counts = Counter(row["source"] for row in labelled if row["label"] is not None)
    if study.settings.simulated:
        return f"The {counts.total():,} labels are the simulator's, right by construction; those of patients are not."
    mined = study.settings.report_mined_labels
    said = [
        f"{name(source)}: {count:,} labels, "
        + ("mined from radiology reports" if source in mined else "not mined from reports as far as is known")
        for source, count in sorted(counts.items())
    ]
    without = rows - counts.total()
    return "; ".join([*said, *([f"{without:,} images have no label"] if without else [])]) + "."


def _spectrum(study: Study) -> str:
    test = [row["label"] for row in study.split.to_pylist() if row["split"] == "test" and row["label"] is not None]
    return (
        f"{test.count(0):,} of {len(test):,} labelled test images are negative, which is the label No Finding. No "
        "other finding is told of any image, so how often one of them is taken for a nodule is not known."
    )


def _sources(study: Study) -> str:
    rows = tables.lookup(study.split, study.manifest, ["source"]).to_pylist()
    counts = Counter((row["source"], row["label"]) for row in rows if row["split"] == "test")
    sources = sorted({source for source, _ in counts})
    said = [
        f"{name(source)}: {counts[source, 1]:,} with a nodule and {counts[source, 0]:,} negative" for source in sources
    ]
    one_sided = [name(source) for source in sources if not (counts[source, 1] and counts[source, 0])]
    text = f"Test images: {'; '.join(said) or 'none'}."
    if one_sided and len(sources) > 1:
        text += f" Of {' and '.join(one_sided)} there is one kind alone, so that the source tells the label."
    if len(sources) == 1:
        text += " Images of another source were not tested."
    return text


def _sample(study: Study) -> str:
    area = study.of("classification", study.chosen.name).get(AREA) if study.chosen else None
    text = (
        f"{area.n or 0:,} test images of {area.n_patients or 0:,} patients, {area.n_positive or 0:,} with a nodule, "
        "stand behind the classification"
        if area
        else "No test image stands behind a classification"
    )
    counted = [study.of("localization", system).get(COUNT) for system in study.localizers]
    found = next((one for one in counted if one is not None), None)
    if found:
        text += (
            f"; {found.n_points or 0:,} nodules on {found.n or 0:,} images of {found.n_patients or 0:,} patients "
            "behind the localization"
        )
    widest = _widest(study)
    if widest is None:
        return f"{text}. No headline metric has an interval."
    system, key, estimate = widest
    at = f" at the {catalog.at_label(key.at)}" if key.at else ""
    shown = number(key, estimate)
    return (
        f"{text}. The widest interval of a headline metric is {shown.interval}: {label(key.metric)}{at} of {system}, "
        f"{shown.text}."
    )


def _widest(study: Study) -> tuple[str, Key, Estimate] | None:
    """Headline metric without a unit, on the test split, whose interval is the widest, and its system."""
    labels = {one.name: one.label for one in (*study.classifiers.values(), *study.localizers.values())}
    found = [
        (one.high - one.low, labels[subject.system], key, one)
        for subject, measured in study.measures.items()
        if subject.subset == "test" and subject.other is None and subject.system in labels
        for key, one in measured.items()
        if key.headline and not catalog.metric(key.metric).unit and one.low is not None and one.high is not None
    ]
    if not found:
        return None
    _, system, key, estimate = max(found, key=lambda one: one[0])
    return system, key, estimate


def _base(study: Study) -> str:
    base = f" ({study.fetch.base})" if study.fetch else ""
    said = [f"{BASE[study.settings.test_images_in_base]}{base}."]
    said += [f"Whether {model} was, is not known." for model in study.settings.own_models]
    return " ".join(said)


def _seeds(study: Study) -> str:
    seeds = sorted(seed for seed in study.of_seeds if seed is not None)
    if len(seeds) < 2:
        return "1 split and 1 training: how the numbers change with another seed was not measured."
    listed = ", ".join(str(seed) for seed in seeds)
    said = "a number is of the first unless it is said to be over seeds"
    return f"{len(seeds)} repeats of split and training, seeds {listed}; {said}."


def _thresholds(study: Study) -> str:
    areas = [study.of("classification", system, "val").get(AREA) for system in study.classifiers]
    behind = [one for one in areas if one is not None]
    if not behind:
        return "There is no validation image to estimate them on."
    least = min(behind, key=lambda one: one.n_positive or 0)
    return (
        f"Estimated on {least.n or 0:,} validation images of {least.n_patients or 0:,} patients, of which "
        f"{least.n_positive or 0:,} show a nodule."
    )


def _patients(study: Study) -> str:
    rows = study.split.select(["image_id", "patient_id"]).to_pylist()
    lonely = set(patients.unknown(study.manifest)["image_id"].to_pylist())
    unknown = sum(row["image_id"] in lonely for row in rows)
    text = f"{len(rows):,} images of {len({row['patient_id'] for row in rows}):,} patients, "
    text += f"split by {study.settings.split_unit}."
    if unknown:
        text += (
            f" Of {unknown:,} images the patient is not known; each counts as a patient of its own, and if they share "
            "one, a patient may be in two splits."
        )
    return text
