"""A sample or a split of cases from outside: what a study has published, or the one of an earlier run."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from stages.lib.core.case_tables import MODALITIES
from stages.lib.core.errors import SplitFileError
from stages.lib.core.log import LOG
from stages.lib.images import csvfile

ROLES: Mapping[str, str] = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "dev", "valid", "validation"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
    **dict.fromkeys(("example", "examples", "few_shot"), "example"),
}
IDS = ("case_id", "uid", "U_id", "id")  # keys and columns, best first
IMAGES = ("images", "image", "image_id", "image_path")


@dataclass(frozen=True)
class Named:
    """A case that a file names.

    Attributes:
        case_id: The case.
        role: Its role, or the part of a split that it is in.
        modality: CT or MR; None if the file does not say.
        images: Names of the images that were sent, without folder and ending; empty if it does not say.
    """

    case_id: str
    role: str
    modality: str | None = None
    images: tuple[str, ...] = ()


@dataclass(frozen=True)
class SampleFile:
    """What a file says of cases.

    Attributes:
        name: Of the file, as messages call it.
        kind: roles: each case that it names has that role, and no other has one; test: it names the test cases alone;
            split: it names the parts that cases of each role may be drawn from.
        cases: By case_id.
    """

    name: str
    kind: Literal["roles", "test", "split"]
    cases: Mapping[str, Named]


@dataclass
class _Found:
    """Cases so far, and what is wrong."""

    cases: dict[str, Named] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def add(self, where: str, entry: Any, role: str) -> None:
        """Take one entry: an id, or an object with one."""
        told = entry if isinstance(entry, Mapping) else {"case_id": entry}
        case_id = next((told[key] for key in IDS if key in told), None)
        if not isinstance(case_id, str) or not case_id:
            self.problems.append(f"{where}: found no case_id (or {', '.join(IDS[1:])}), wanted the name of a case")
            return
        if case_id in self.cases:
            self.problems.append(f"{where}: {case_id!r} is named twice, as {self.cases[case_id].role} before")
            return
        modality = told.get("modality", told.get("Type"))
        if modality not in (None, *MODALITIES):
            self.problems.append(f"{where}: {case_id!r} has the modality {modality!r}, wanted CT or MR")
            modality = None
        images = next((told[key] for key in IMAGES if key in told), ())
        listed = [images] if isinstance(images, str) else images
        if not isinstance(listed, list | tuple) or not all(isinstance(one, str) for one in listed):
            self.problems.append(f"{where}: {case_id!r} has images that are no list of names")
            listed = ()
        self.cases[case_id] = Named(case_id, role, modality, tuple(_stem(one) for one in listed))


def read(path: str | Path) -> SampleFile:
    """Content of a file of cases.

    Args:
        path: JSON or CSV. JSON is a sample of this pipeline (`sample.json`); a list of test cases, each an id or an
            object with one (case_id, uid, U_id) and perhaps its modality and images; or lists of ids by part (train,
            dev or val, test, examples). A CSV has a column case_id, and a column role, or split for parts.

    Raises:
        SplitFileError: With all problems.
    """
    file, found = Path(path), _Found()
    kind: Literal["roles", "test", "split"] = "test"
    if file.suffix.lower() in (".csv", ".tsv", ".parquet"):
        kind = _table(file, found)
    else:
        try:
            document = json.loads(file.read_bytes().decode("utf-8-sig"))
        except OSError as error:
            found.problems.append(error.strerror or str(error))
        except (ValueError, RecursionError) as error:
            found.problems.append(f"not JSON: {error}")
        else:
            kind = _document(document, found)
    if not found.cases and not found.problems:
        found.problems.append("found no case in it")
    if found.problems:
        raise SplitFileError(f"findings.sample.file {str(path)!r}:", found.problems)
    return SampleFile(file.name, kind, found.cases)


def _document(document: Any, found: _Found) -> Literal["roles", "test", "split"]:
    if isinstance(document, list):
        for number, entry in enumerate(document):
            found.add(f"entry {number}", entry, "test")
        return "test"
    if isinstance(document, Mapping) and isinstance(document.get("cases"), list):
        for number, entry in enumerate(document["cases"]):
            role = ROLES.get(str(entry.get("role"))) if isinstance(entry, Mapping) else None
            if role is None:
                found.problems.append(f"entry {number} of cases: found no role, wanted one of {_wanted()}")
            else:
                found.add(f"entry {number} of cases", entry, role)
        return "roles"
    parts = document if isinstance(document, Mapping) else {}
    known = {key: entries for key, entries in parts.items() if key.casefold() in ROLES and isinstance(entries, list)}
    if not known:
        found.problems.append(f"found no list of cases, no key cases, and none of {_wanted()}")
    if other := sorted(set(parts) - set(known)):
        LOG.warning("warning: findings.sample.file: the keys %s are not read", ", ".join(other))
    for key, entries in known.items():
        for number, entry in enumerate(entries):
            found.add(f"{key}, entry {number}", entry, ROLES[key.casefold()])
    return "split"


def _table(file: Path, found: _Found) -> Literal["roles", "split"]:
    table = csvfile.table(file, wanted=(*IDS, "role", "split", "modality"))
    found.problems += table.problems
    names: dict[str, str | None] = {"case_id": table.find(IDS), "modality": table.find(["modality"])}
    kind: Literal["roles", "split"] = "roles" if table.find(["role"]) else "split"
    names["role"] = table.find(["role"]) or table.find(["split"])
    missing = [key for key in ("case_id", "role") if names[key] is None]
    if missing and not table.problems:
        wanted = " and ".join({"role": "role (or split)"}.get(key, key) for key in missing)
        found.problems.append(f"no column {wanted}; found {', '.join(table.titles)}")
    rows, problems = table.select(names) if not found.problems else ([], [])
    found.problems += problems
    for row in rows:
        where, role = table.where(row), ROLES.get(row.cells["role"].casefold())
        if role is None:
            found.problems.append(f"{where}: found the role {row.cells['role']!r}, wanted one of {_wanted()}")
        else:
            modality = {"modality": row.cells["modality"]} if row.cells["modality"] else {}
            found.add(where, {"case_id": row.cells["case_id"], **modality}, role)
    return kind


def _stem(name: str) -> str:
    last = name.replace("\\", "/").rpartition("/")[2]
    return last.rpartition(".")[0] if last.lower().endswith((".png", ".jpg", ".jpeg")) else last


def _wanted() -> str:
    return ", ".join(dict.fromkeys(ROLES.values()))


def some(names: Sequence[str], most: int = 20) -> str:
    """The first names, and how many more there are.

    >>> some(["a", "b", "c"], 2)
    'a, b and 1 more'
    """
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
