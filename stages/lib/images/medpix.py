"""Layout of MedPix 2.0: cases with several CT and MR images, a history and findings.

A folder has `Case_topic.json`, a list of cases; `Descriptions.json`, a list of images; and `images/`. What is wrong
with a row is a notice of its case or image, so that all of it is known at once. A row without a name is named by its
place. "N/A" and the like are nothing. Line ends become LF and outer spaces go; texts are else as they are written.

The titles and topics, which are the diagnosis in other words, are never read.

Source: Siragusa et al. (2025), MedPix 2.0; the keys are those of its README and files.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stages.lib.core.errors import DataError
from stages.lib.images import columns, jsonlist, names
from stages.lib.images.notices import Notice

CASES, DESCRIPTIONS, IMAGES = "Case_topic.json", "Descriptions.json", "images"
LISTS = {"TAC": "CT", "MRI": "MR"}  # keys of a case's lists of images
REGIONS = {
    "head": "head",
    "thorax": "thorax",
    "abdomen": "abdomen",
    "spine and muscles": "spine",
    "reproductive and urinary system": "urinary",
}
# What an image shows, by words of its own modality and of its plane; the first that fits. A sequence of MR may be 3D
# and its image a slice, so that this word counts as a plane alone.
SHOWS = (
    ("drawing", r"drawing|diagram|illustration|schematic", r"drawing|diagram"),
    ("photograph", r"photo|gross|endoscop|histolog|patholog|microscop", r"photo"),
    ("montage", r"montage|mosaic|collage", r"montage|mosaic|collage"),
    ("reconstruction", r"virtual|render|shaded surface|surface shaded", r"\b3-? ?d\b|render"),
)
MODALITIES = {
    "CT": re.compile(r"\bcta?\b|computed tomograph", re.IGNORECASE),
    "MR": re.compile(r"\bmr[aisv]?\b|magnetic|\bT[12]|flair|diffusion|\bdwi\b|gradient", re.IGNORECASE),
}
ENDINGS = (".png", ".jpg", ".jpeg")
MAX_ID = 200


@dataclass
class Image:
    """One image of a case, as the tables have it.

    Attributes:
        case_id: Its case.
        number: Its place in the case, from 0: CT before MR, each in the order of its list.
        image_id: Its name.
        modality: That of the list it is in.
        path: Its file; None if there is none.
        described_as: The modality of its description.
        shows: What it is by that and its plane.
        plane: Its plane, in small letters.
        caption: What its author wrote of it.
        notices: What is odd or wrong.
    """

    case_id: str
    number: int
    image_id: str
    modality: str
    path: str | None = None
    described_as: str | None = None
    shows: str = "slice"
    plane: str | None = None
    caption: str | None = None
    notices: list[Notice] = field(default_factory=list)


@dataclass
class Case:
    """One case; None where the tables say nothing."""

    case_id: str
    history: str | None = None
    gold: str | None = None
    diagnosis: str | None = None
    region: str | None = None
    location: str | None = None
    sex: str | None = None
    age_years: float | None = None
    images: list[Image] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)


@dataclass(frozen=True)
class Folder:
    """What a folder holds.

    Attributes:
        cases: In the order of `Case_topic.json`; after them those that only descriptions name.
        unlisted: Names of files in `images/` that no table names.
    """

    cases: tuple[Case, ...]
    unlisted: tuple[str, ...]


@dataclass(frozen=True)
class _Described:
    """A row of `Descriptions.json`."""

    case_id: str | None
    image: str | None
    modality: str | None
    described_as: str | None
    plane: str | None
    caption: str | None
    category: str | None
    location: str | None
    sex: str | None
    age: str | None
    where: str
    notices: tuple[Notice, ...]


def read(root: str) -> Folder:
    """Cases and images of a folder, each with what is wrong with it.

    Raises:
        DataError: With all problems, if a table or the folder of images is missing or cannot be read at all.
    """
    base = Path(root)
    problems: list[str] = []
    entries = jsonlist.read(base / CASES, problems)
    described = jsonlist.read(base / DESCRIPTIONS, problems)
    on_disk = _files(base / IMAGES, problems)
    if problems:
        inside = next((path.parent for path in sorted(base.glob(f"*/{CASES}"))), None) if base.is_dir() else None
        hint = [f"there is one in {inside}: set findings.ingest.root to that"] if inside else []
        raise DataError(f"data folder {root}: no folder in the layout of MedPix 2.0:", [*problems, *hint])
    descriptions = [_description(entry, number) for number, entry in enumerate(described)]
    cases = _cases(entries)
    _describe(cases, descriptions)
    for case in cases.values():
        for image in case.images:
            _find(image, on_disk, base / IMAGES)
    named = {Path(image.path).name for case in cases.values() for image in case.images if image.path}
    unlisted = sorted(names.shown(name) for name in on_disk if name not in named and not name.startswith("."))
    return Folder(tuple(cases.values()), tuple(unlisted))


def _files(folder: Path, problems: list[str]) -> frozenset[str]:
    try:
        return frozenset(item.name for item in folder.iterdir())
    except OSError as error:
        problems.append(f"{IMAGES}/: cannot be listed: {error.strerror}; wanted the folder of the images")
        return frozenset()


def _cases(entries: Sequence[Any]) -> dict[str, Case]:
    """Cases by their ids; one that occurs twice is one case that takes no part."""
    cases: dict[str, Case] = {}
    places: defaultdict[str, list[int]] = defaultdict(list)
    for number, entry in enumerate(entries):
        case = _case(entry, f"{CASES}/{number}")
        places[case.case_id].append(number)
        cases.setdefault(case.case_id, case)
    for case_id, numbers in places.items():
        if len(numbers) > 1:
            told = ", ".join(map(str, numbers))
            cases[case_id].notices.append(Notice("listing", f"{len(numbers)} entries of {CASES} have its U_id: {told}"))
    return cases


def _case(entry: Any, where: str) -> Case:
    """One case, with its images as its lists name them."""
    if not isinstance(entry, Mapping):
        return Case(where, notices=[Notice("listing", f"found {jsonlist.spelt(entry)}, wanted an object")])
    case_id, notices = _id(entry, where)
    told = _get(entry, "Case")
    if not isinstance(told, Mapping):
        notices.append(Notice("listing", f"Case: found {jsonlist.spelt(told)}, wanted an object"))
        told = {}
    history, gold, diagnosis = (
        _text(_get(told, key), key, notices) for key in ("History", "Findings", "Case Diagnosis")
    )
    case = Case(case_id, history, gold, diagnosis, notices=notices)
    for key, modality in LISTS.items():
        listed = _get(entry, key)
        if not isinstance(listed, list):
            if listed is not None:
                notices.append(Notice("listing", f"{key}: found {jsonlist.spelt(listed)}, wanted a list of names"))
            continue
        for place, name in enumerate(listed):
            image = Image(case_id, len(case.images), f"{where}/{key}/{place}", modality)
            if isinstance(name, str) and name.strip() and _writable(name):
                image.image_id = name.strip()
            else:
                image.notices.append(Notice("listing", f"found {jsonlist.spelt(name)}, wanted the name of an image"))
            case.images.append(image)
    return case


def _description(entry: Any, number: int) -> _Described:
    """One row of `Descriptions.json`, whatever it is."""
    where = f"{DESCRIPTIONS}/{number}"
    notices: list[Notice] = []
    if not isinstance(entry, Mapping):
        notices.append(Notice("listing", f"found {jsonlist.spelt(entry)}, wanted an object"))
        entry = {}
    told = _get(entry, "Description")
    if not isinstance(told, Mapping):
        if not notices:
            notices.append(Notice("listing", f"Description: found {jsonlist.spelt(told)}, wanted an object"))
        told = {}
    found = {
        key: _text(_get(entry, key), key, notices) for key in ("Type", "U_id", "image", "Location", "Location Category")
    } | {key: _text(_get(told, key), key, notices) for key in ("Modality", "Plane", "Caption", "Sex", "Age")}
    if found["Type"] not in LISTS.values():
        notices.append(Notice("listing", f"Type: found {jsonlist.spelt(found['Type'])}, wanted CT or MR"))
    return _Described(
        found["U_id"],
        found["image"],
        found["Type"] if found["Type"] in LISTS.values() else None,
        found["Modality"],
        found["Plane"],
        found["Caption"],
        found["Location Category"],
        found["Location"],
        found["Sex"],
        found["Age"],
        where,
        tuple(notices),
    )


def _describe(cases: dict[str, Case], descriptions: Sequence[_Described]) -> None:
    """Join images with their descriptions by name, and note what does not fit; then what they say of the case."""
    by_name: defaultdict[str, list[_Described]] = defaultdict(list)
    for one in descriptions:
        by_name[one.image or one.where].append(one)
    listed: defaultdict[str, list[Image]] = defaultdict(list)
    for case in cases.values():
        for image in case.images:
            listed[image.image_id].append(image)
    for name, images in listed.items():
        if len(images) > 1:
            told = ", ".join(f"{image.case_id} ({image.modality})" for image in images)
            for image in images:
                image.notices.append(Notice("listing", f"{CASES} lists it {len(images)} times: {told}"))
        for image in images:
            _join(image, by_name.get(name, ()))
    for name, found in by_name.items():
        if name not in listed:
            _unlisted(cases, found)
    of_case: defaultdict[str, list[_Described]] = defaultdict(list)
    for name, found in by_name.items():
        owners: set[str | None] = {image.case_id for image in listed.get(name, ())}
        for case_id in owners or {one.case_id for one in found}:
            of_case[case_id or ""] += found
    for case in cases.values():
        _tell(case, of_case.get(case.case_id, ()))


def _join(image: Image, found: Sequence[_Described]) -> None:
    """Fill in what an image's description says of it."""
    if len(found) != 1:
        says = f"has {len(found)} descriptions of it" if found else "does not describe it"
        image.notices.append(Notice("listing", f"{DESCRIPTIONS} {says}, {CASES} lists it"))
    if not found:
        return
    one = found[0]
    image.described_as, image.caption = one.described_as, one.caption
    image.plane = one.plane.lower() if one.plane else None
    image.shows = shows(one.described_as, one.plane)
    image.notices += one.notices
    if one.case_id != image.case_id:
        image.notices.append(Notice("listing", f"{DESCRIPTIONS} has it in the case {one.case_id}"))
    if one.modality not in (None, image.modality):
        image.notices.append(Notice("listing", f"{CASES} lists it as {image.modality}, its Type is {one.modality}"))
    other = next((name for name in MODALITIES if name != image.modality), "")
    own, others = (MODALITIES[name].search(one.described_as or "") for name in (image.modality, other))
    if image.shows == "slice" and others and not own:
        told = f"{CASES} lists it as {image.modality}, its Modality is {one.described_as!r}"
        image.notices.append(Notice("listing", told))
    elif image.shows == "slice" and one.described_as and not own:
        image.shows = "other"
    if image.shows != "slice":
        told = f"no slice but {_article(image.shows)}, by its Modality {one.described_as!r} and Plane {one.plane!r}"
        image.notices.append(Notice("no_slice", told))


def shows(described_as: str | None, plane: str | None) -> str:
    """What an image shows by the words of its description: a slice, if they say nothing else.

    >>> shows("CT w/contrast (IV)", "Axial"), shows("Drawing or Diagram", None), shows("CT - noncontrast", "3D")
    ('slice', 'drawing', 'reconstruction')
    """
    told = ((described_as or "").casefold(), (plane or "").casefold())
    for name, *patterns in SHOWS:
        if any(re.search(pattern, text) for pattern, text in zip(patterns, told, strict=True)):
            return name
    return "slice"


def _unlisted(cases: dict[str, Case], found: Sequence[_Described]) -> None:
    """Give a row to images that only `Descriptions.json` has."""
    for one in found[:1]:
        case_id = one.case_id if one.case_id and _plain_id(one.case_id) else one.where
        if case_id not in cases:
            told = f"{DESCRIPTIONS} names it, {CASES} does not"
            cases[case_id] = Case(case_id, notices=[Notice("listing", told)])
        case = cases[case_id]
        modality = one.modality or "CT"
        image = Image(case_id, len(case.images), one.image or one.where, modality, notices=list(one.notices))
        image.described_as, image.caption = one.described_as, one.caption
        image.plane = one.plane.lower() if one.plane else None
        image.shows = shows(one.described_as, one.plane)
        told = f"{DESCRIPTIONS} describes it, no case of {CASES} lists it"
        image.notices.append(Notice("listing", told if one.image else f"{one.where} has no name of an image"))
        case.images.append(image)


def _tell(case: Case, found: Sequence[_Described]) -> None:
    """Region, location, sex and age of a case, as the descriptions of its images have them."""
    categories = _distinct(one.category for one in found)
    known = {REGIONS.get(category.casefold()) for category in categories}
    if len(known) == 1 and None not in known:
        (case.region,) = known
    elif not categories:
        case.notices.append(Notice("region", "no image of it has a Location Category"))
    else:
        told = ", ".join(map(repr, categories))
        case.notices.append(Notice("region", f"Location Category {told}, wanted one of {', '.join(REGIONS)}"))
    case.location = "; ".join(_distinct(one.location for one in found)) or None
    sexes: set[str | None] = {columns.SEXES.get(sex.casefold()) for sex in _distinct(one.sex for one in found)}
    ages = {columns.age_years(age) for age in _distinct(one.age for one in found)}
    if len(sexes) > 1 or len(ages) > 1:
        case.notices.append(Notice("table", "its images differ in the patient's sex or age"))
    sex = sexes.pop() if len(sexes) == 1 else None
    case.sex = sex if sex in ("F", "M") else None
    case.age_years = ages.pop() if len(ages) == 1 else None
    if case.gold is None:
        case.notices.append(Notice("gold", "no findings"))
    if case.history is None:
        case.notices.append(Notice("history", "no history"))


def _find(image: Image, on_disk: frozenset[str], folder: Path) -> None:
    """Give an image its file, or a notice why it has none."""
    name = image.image_id
    if any(one.kind == "listing" and "wanted the name" in one.text for one in image.notices):
        return
    if not _plain_id(name):
        image.notices.append(Notice("file", "unsafe name: wanted a plain name of a file in images/"))
        return
    wanted = [name] if name.lower().endswith(ENDINGS) else [name + ending for ending in ENDINGS]
    found = next((one for one in wanted if one in on_disk), None)
    if found is None:
        image.notices.append(Notice("file", f"no such file: {IMAGES}/{wanted[0]}"))
    elif names.leaves(folder / found, folder):
        image.notices.append(Notice("file", "a link out of the data folder, which is not followed"))
    else:
        image.path = str(folder / found)


def _id(entry: Mapping[str, Any], where: str) -> tuple[str, list[Notice]]:
    """Id of a case, or its place if it has none that can be used."""
    found = _get(entry, "U_id")
    if isinstance(found, str) and _plain_id(found.strip()):
        return found.strip(), []
    wanted = f"wanted a name of up to {MAX_ID} characters, without strokes and control characters"
    return where, [Notice("listing", f"U_id: found {jsonlist.spelt(found)}, {wanted}")]


def _plain_id(name: str) -> bool:
    return (
        0 < len(name) <= MAX_ID
        and _writable(name)
        and "/" not in name
        and "\\" not in name
        and name not in (".", "..")
        and not names.CONTROL.search(name)
    )


def _get(entry: Mapping[str, Any], key: str) -> Any:
    """Value of a key in whatever letter case: README and files of the data set differ in it."""
    if key in entry:
        return entry[key]
    return next((value for name, value in entry.items() if name.casefold() == key.casefold()), None)


def _text(value: Any, key: str, notices: list[Notice]) -> str | None:
    """A text with LF as its line ends, None if it says nothing; what is wrong with it is added to the notices."""
    if isinstance(value, int | float) and not isinstance(value, bool) and key == "Age":
        value = f"{value:g}"
    if value is not None and not isinstance(value, str):
        notices.append(Notice("text", f"{key}: found {jsonlist.spelt(value)}, wanted text"))
        return None
    if value is not None and not _writable(value):
        notices.append(Notice("text", f"{key}: half of a pair of surrogates, which is no character"))
        return None
    stripped = re.sub(r"\r\n?", "\n", value or "").strip()
    return None if columns.is_nothing(stripped) else stripped


def _writable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _distinct(values: Iterable[str | None]) -> list[str]:
    return list(dict.fromkeys(value for value in values if value is not None))


def _article(word: str) -> str:
    return {"other": "another study"}.get(word, f"a {word}")
