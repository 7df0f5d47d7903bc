"""Boxes of MIMIC-Ext-CXR-QBA: answers to questions about a study, and where they are on its images.

exports/A_frontal/qa/p1x/p1xxxxxxx/sxxxxxxxx.qa.json     questions and answers of a study; or in a ZIP archive
exports/A_frontal/metadata/App                           list of the questions of grade A++ (Ap: A+), if it is there
quality_mappings.csv                                     the grade that a code of question_quality stands for

An answer is taken if its question is of a grade that is wanted and is answered by the report
(contains_report_answers), and it is positive and from the report; each text once per image. Its boxes are in pixels of
the original. Which grade a question is of is told by the list of that grade, and without one by its code.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stages.lib.core.errors import ImageError
from stages.lib.images import archives, columns, csvfile, jsonlist
from stages.lib.images.listing import Entry, Listing
from stages.lib.images.reports.edges import PIXELS
from stages.lib.images.reports.reported import Box, Sentence, edges_of

ENDING = ".qa.json"
LISTS, MAPPINGS = "metadata", "quality_mappings"
QUESTION = ("question_id", "question", "id")
CODE = ("code", "value", "id", "index", "rating_id")
NAME = ("grade", "name", "label", "quality", "rating")


@dataclass(frozen=True)
class Answers:
    """Where the answers of each study are, and which questions are of a grade that is wanted.

    Attributes:
        places: File of each study, in the folder or in an archive: the archive, and the name in it.
        listed: Questions that the lists of the wanted grades name; None without a list.
        grades: Grade by its code; empty without the table of codes.
        wanted: The grades; none: all are taken.
        left_out: How many answers were left out, by the reason.
    """

    places: Mapping[str, tuple[Entry, str | None]]
    listed: frozenset[str] | None
    grades: Mapping[str, str]
    wanted: frozenset[str]
    left_out: Counter[str] = field(default_factory=Counter)


def find(listing: Listing, wanted: Sequence[str], problems: list[str]) -> Answers | None:
    """Where the answers are; None if the folder has none.

    Args:
        listing: Of the folder.
        wanted: Grades of the questions that are taken; none: all.
        problems: Where it is said if grades cannot be told.
    """
    places = dict(_places(listing, problems))
    if not places:
        return None
    listed = _listed(listing, wanted, problems)
    grades = {} if listed is not None else _grades(listing, problems)
    if wanted and listed is None and not grades:
        lists = " or ".join(f"{LISTS}/{grade.replace('+', 'p')}" for grade in wanted)
        problems.append(f"found no {lists} and no {MAPPINGS}.csv in {listing.base}, wanted one, to tell grades by")
    return Answers(places, listed, grades, frozenset(wanted))


def sentences(
    answers: Answers, study: str, image: str, first: int, problems: list[str]
) -> tuple[list[Sentence], list[Box]]:
    """Sentences with boxes that the answers about a study have on an image.

    Args:
        answers: See `Answers`.
        study: Id of the study, without the letter.
        image: Id of the image.
        first: Number of the first of these sentences.
        problems: Where it is said if the file cannot be read.
    """
    if study not in answers.places:
        answers.left_out["studies without a file of answers"] += 1
        return [], []
    entry, inside = answers.places[study]
    where = entry.relative if inside is None else f"{entry.relative}/{inside}"
    document = _document(entry, inside, where, problems)
    if document is None:
        return [], []
    numbers: dict[str, int] = {}
    boxes: list[Box] = []
    for at, answer in _taken(document, where, answers, problems):
        drawn = _on_image(answer, image)
        if not drawn:
            answers.left_out["answers without a box on the image"] += 1
            continue
        text = " ".join(answer["text"].split())
        number = numbers.setdefault(text, first + len(numbers))
        for place, box in enumerate(drawn):
            spelt = jsonlist.spelt(box).strip("[]")
            boxes.append(Box(number, "first", edges_of(box), PIXELS, spelt, f"{at}/bboxes/{place}"))
    return [Sentence(number, text, in_report=False) for text, number in numbers.items()], boxes


def _taken(
    document: Mapping[str, Any], where: str, answers: Answers, problems: list[str]
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The answers that are taken, each with its place, and count the others."""
    for question in document["questions"]:
        if not isinstance(question, Mapping) or not isinstance(question.get("answers"), list):
            problems.append(f"{where}: found {jsonlist.spelt(question)}, wanted a question with answers")
            continue
        at = f"{where}: question {question.get('question_id')!r}"
        if not question.get("contains_report_answers"):
            answers.left_out["questions that the report does not answer"] += 1
        elif not _is_of_grade(question, answers):
            answers.left_out["questions of another grade"] += 1
        else:
            for number, answer in enumerate(question["answers"]):
                if not isinstance(answer, Mapping) or not isinstance(answer.get("text"), str):
                    problems.append(f"{at}, answer {number}: found {jsonlist.spelt(answer)}, wanted one with a text")
                elif answer.get("positiveness") != "pos" or not answer.get("from_report"):
                    answers.left_out["answers that are not positive or not from the report"] += 1
                else:
                    yield f"{at}, answer {number}", answer


def _is_of_grade(question: Mapping[str, Any], answers: Answers) -> bool:
    if not answers.wanted:
        return True
    if answers.listed is not None:
        return str(question.get("question_id")) in answers.listed
    return answers.grades.get(_code(question.get("question_quality"))) in answers.wanted


def _code(value: object) -> str:
    """Code as its table spells it: whole numbers without a dot."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _on_image(answer: Mapping[str, Any], image: str) -> list[Any]:
    localization = answer.get("localization")
    place = localization.get(image) if isinstance(localization, Mapping) else None
    drawn = place.get("bboxes") if isinstance(place, Mapping) else None
    return drawn if isinstance(drawn, list) else []


def _document(entry: Entry, inside: str | None, where: str, problems: list[str]) -> Mapping[str, Any] | None:
    try:
        data = Path(entry.path).read_bytes() if inside is None else archives.read(Path(entry.path), inside)
        document = json.loads(data)
    except (OSError, ValueError, RecursionError, ImageError) as error:
        problems.append(f"{where}: found no JSON ({error}), wanted the answers of a study")
        return None
    if not isinstance(document, Mapping) or not isinstance(document.get("questions"), list):
        problems.append(f"{where}: found {jsonlist.spelt(document)}, wanted an object with questions")
        return None
    return document


def _places(listing: Listing, problems: list[str]) -> Iterator[tuple[str, tuple[Entry, str | None]]]:
    """File of each study: in an archive, or unpacked, which goes before."""
    for entry in listing.of("archive"):
        if entry.name.casefold().endswith(archives.ZIP):
            try:
                inside = archives.names(Path(entry.path))
            except (ImageError, OSError) as error:
                problems.append(f"{entry.relative}: found {error}, wanted a whole ZIP archive")
                continue
            yield from ((_study(name), (entry, name)) for name in inside if name.endswith(ENDING))
    yield from ((_study(entry.name), (entry, None)) for entry in listing.entries if entry.name.endswith(ENDING))


def _study(name: str) -> str:
    return name.rpartition("/")[2].removesuffix(ENDING).removeprefix("s")


def _listed(listing: Listing, wanted: Sequence[str], problems: list[str]) -> frozenset[str] | None:
    """Questions that the lists of some grades name: a file of that name, or the files of a folder; None without one."""
    stems = {grade.replace("+", "p") for grade in wanted}
    found: set[str] = set()
    entries = []
    for entry in listing.entries:
        parts = entry.relative.split("/")
        after = parts[parts.index(LISTS) + 1] if LISTS in parts[:-1] else ""
        if after.partition(".")[0] in stems:
            entries.append(entry)
    for entry in entries:
        table = csvfile.table(Path(entry.path), entry.relative, QUESTION)
        title = table.find(QUESTION)
        rows, wrong = table.select({"question": title}) if title else ([], list(table.problems))
        if title is None and not wrong:
            wrong = [f"{entry.relative}: no column 'question_id'; found {', '.join(table.titles)}"]
        problems += wrong
        found.update(row.cells["question"] for row in rows)
    return frozenset(found) if entries else None


def _grades(listing: Listing, problems: list[str]) -> dict[str, str]:
    """Grade that each code stands for; nothing without the table."""
    entry = next((one for one in listing.of("table") if one.name.casefold().startswith(MAPPINGS)), None)
    if entry is None:
        return {}
    table = csvfile.table(Path(entry.path), entry.relative, (*CODE, *NAME))
    titles = {"code": table.find(CODE), "grade": table.find(NAME)}
    if missing := columns.absent(table, titles):
        problems += missing
        return {}
    rows, wrong = table.select(titles)
    problems += wrong
    return {row.cells["code"]: row.cells["grade"] for row in rows}
