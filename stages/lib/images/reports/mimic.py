"""The layout of MIMIC-CXR: reports of LLaVA-Rad's annotations, boxes of MIMIC-Ext-CXR-QBA, quality of CheXmask.

*.jpg (or .dcm, .png), named by dicom_id, at any depth; any part of them
chat_{train,dev,test}_MIMIC_CXR_all_gpt4extract_rulebased_v1.json   reports
mimic-cxr-2.0.0-split.csv.gz                                        patient, study and split of each image
OriginalResolution/MIMIC-CXR-JPG.csv                                quality; not wanted with lofi.ingest.min_quality 0
exports/, quality_mappings.csv                                      boxes; see `mimic_boxes`

A report is taken if it was extracted by GPT-4 ("gpt4") and its image is a PA or AP view; its text is its findings,
which are split into sentences here. Of several images of a study, the one of the highest quality is taken, if that is
at least `min_quality`. Sentences with boxes are those of the answers, and stand beside the report. What is left out is
counted. Known by its description, not from the files themselves.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.lib.images import columns, csvfile, jsonlist, names
from stages.lib.images.dataset import Context
from stages.lib.images.listing import Entry, Listing, Places
from stages.lib.images.reports import chexmask, mimic_boxes, sentences
from stages.lib.images.reports.reported import Options, Sentence, Tables, Told, split_named

CREDENTIALED = True
REPORTS = re.compile(r"chat_(train|dev|test)_MIMIC_CXR.*\.json")
SPLIT, QUALITY = "mimic-cxr-2.0.0-split", "mimic-cxr-jpg.csv"
METHOD, VIEWS = "gpt4", ("PA", "AP")
COLUMNS = {"image": "dicom_id", "study": "study_id", "patient": "subject_id", "split": "split"}
NOTHING_POSITIVE = ("no finding", "support devices")  # labels that make no study abnormal
POSITIVE = ("1", "1.0", "true", "pos", "positive")


@dataclass(frozen=True)
class Report:
    """A report that is taken, with one of the images of its study.

    Attributes:
        image: dicom_id.
        where: Its entry, for messages.
        view: PA or AP.
        text: Its findings.
        normal: Whether none of its labels is positive; None if it has none.
    """

    image: str
    where: str
    view: str
    text: str
    normal: bool | None


def recognized(listing: Listing) -> bool:
    """Whether a file of annotations is there, at any depth."""
    return any(REPORTS.fullmatch(entry.name) for entry in listing.entries)


def tables(listing: Listing, options: Options) -> Tables:
    """What all its tables say of the image of each study that is taken."""
    found = Tables(entries=listing.of("image"), flat=True)
    left_out: Counter[str] = Counter()
    of_image = _split(listing, found.problems)
    reports = list(_reports(listing, left_out, found.problems))
    quality = _quality(listing, options, found.problems)
    least = 0.0 if quality is None else options.min_quality  # whatever else is wrong is to be told, too
    quality = quality or {}
    answers = mimic_boxes.find(listing, options.grades, found.problems)
    places = Places(found.entries)
    of_study: defaultdict[str, list[Report]] = defaultdict(list)
    for report in reports:
        if report.image in of_image:
            of_study[of_image[report.image]["study"]].append(report)
        elif of_image:
            left_out[f"images that {SPLIT}.csv does not name"] += 1
    for study, candidates in sorted(of_study.items()):
        one = max(candidates, key=lambda report: (quality.get(report.image, -1.0), report.image))
        if least and quality.get(one.image, -1.0) < least:
            left_out[f"studies without an image of a quality of {least:g} or more"] += 1
        elif not places.find(one.image):
            left_out["studies whose image is not in the folder"] += 1
        else:
            told = _told(one, of_image[one.image], found.problems)
            if answers is not None:
                boxed, told.boxes = mimic_boxes.sentences(
                    answers, study, one.image, len(told.sentences), found.problems
                )
                told.sentences += boxed
            found.told.append(told)
    found.remarks += [f"left out: {count} {what}" for what, count in sorted(left_out.items())]
    if answers is None:
        found.remarks.append(f"found no file *{mimic_boxes.ENDING}: no sentence has a box")
    else:
        found.remarks += [f"left out: {count} {what}" for what, count in sorted(answers.left_out.items())]
    if not found.told and not found.problems:
        found.problems.append(f"found no report with an image in {listing.base}: {'; '.join(found.remarks)}")
    return found


def _told(report: Report, row: Mapping[str, str], problems: list[str]) -> Told:
    split = split_named(row["split"])
    if split is None:
        problems.append(f"{row['where']}: {report.image!r}: split {row['split']!r}, wanted train, validate or test")
    told = Told(report.image, row["where"], names.known_id(row["patient"]), row["study"], split)
    told.context = Context(view=report.view)
    abnormal = False if report.normal else None
    told.sentences = [Sentence(number, text, abnormal) for number, text in enumerate(sentences.split(report.text))]
    return told


def _reports(listing: Listing, left_out: Counter[str], problems: list[str]) -> Iterable[Report]:
    """The reports that are taken; the others are counted."""
    for file in listing.entries:
        if not REPORTS.fullmatch(file.name):
            continue
        for number, entry in enumerate(jsonlist.read(Path(file.path), problems, file.relative)):
            where = f"{file.relative}/{number}"
            found = _report(entry, where)
            if isinstance(found, str):
                problems.append(f"{where}: {found}")
            elif entry.get("generate_method") != METHOD:
                left_out[f"reports that were not extracted by {METHOD}"] += 1
            elif found.view not in VIEWS:
                left_out["reports of another view than PA or AP"] += 1
            elif not found.text.strip():
                left_out["reports without findings"] += 1
            else:
                yield found


def _report(entry: Any, where: str) -> Report | str:
    """The report of an entry, or what is wrong with it."""
    if not isinstance(entry, Mapping) or not isinstance(entry.get("image"), str):
        return f"found {jsonlist.spelt(entry)}, wanted an object with image, view and conversations"
    said = entry.get("conversations")
    text = said[1].get("value") if isinstance(said, list) and len(said) > 1 and isinstance(said[1], Mapping) else None
    if not isinstance(text, str):
        return f"{entry['image']!r}: conversations: found {jsonlist.spelt(said)}, wanted a second one with a text"
    image = names.without_ending(entry["image"].rpartition("/")[2])
    return Report(image, where, str(entry.get("view") or ""), text, is_normal(entry.get("chexpert_labels")))


def is_normal(labels: Any) -> bool | None:
    """Whether no label but No Finding and Support Devices is positive; None without labels.

    >>> is_normal({"No Finding": 1.0, "Edema": 0}), is_normal(["Edema"]), is_normal(None)
    (True, False, None)
    """
    if isinstance(labels, Mapping):
        positive = [str(name) for name, value in labels.items() if str(value).casefold() in POSITIVE]
    elif isinstance(labels, list):
        positive = [str(name) for name in labels]
    else:
        return None
    return all(name.casefold() in NOTHING_POSITIVE for name in positive)


def _split(listing: Listing, problems: list[str]) -> dict[str, dict[str, str]]:
    """Cells of each image in the table of splits, and where they stand."""
    entry = next((one for one in listing.of("table") if one.name.casefold().startswith(SPLIT)), None)
    if entry is None:
        problems.append(f"found no {SPLIT}.csv.gz in {listing.base}, wanted the official patients, studies and splits")
        return {}
    table = csvfile.table(Path(entry.path), entry.relative, tuple(COLUMNS.values()))
    titles = {key: table.find([title]) for key, title in COLUMNS.items()}
    if missing := columns.absent(table, {COLUMNS[key]: title for key, title in titles.items()}):
        problems += missing
        return {}
    rows, wrong = table.select(titles)
    problems += wrong
    return {row.cells["image"]: {**row.cells, "where": table.where(row)} for row in rows}


def _quality(listing: Listing, options: Options, problems: list[str]) -> dict[str, float] | None:
    """Quality of each image; None if it cannot be told."""
    entry: Entry | None = next((one for one in listing.of("table") if one.name.casefold().startswith(QUALITY)), None)
    if entry is not None:
        return chexmask.read(entry, problems)
    if options.min_quality:
        wanted = "wanted CheXmask's OriginalResolution/MIMIC-CXR-JPG.csv, or lofi.ingest.min_quality 0"
        problems.append(f"found no MIMIC-CXR-JPG.csv in {listing.base}, {wanted}")
    return None
