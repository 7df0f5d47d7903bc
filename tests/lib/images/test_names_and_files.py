"""Every file of a folder is accounted for once, and a name in a table finds its file as people spell it."""

import os
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.lib.images import layouts, listing, names
from stages.lib.images.dataset import Folder, Options

# A name of each kind: images, tables, archives, an index, litter, and what is none of these.
NAMES = ["a.png", "A.PNG", "a.dcm", "b", "c.dcm.gz", "t.csv", "t.parquet", "w.xlsx", "x.zip", "DICOMDIR", "note.txt"]
NAMES += [".DS_Store", "._a.png", ".gitkeep", "Thumbs.db", "desktop.ini", "AUTORUN.INF", "~$w.xlsx", "röntgen ä.png"]
FOLDERS = ["", "d", "d/e", "__MACOSX", "$RECYCLE.BIN", ".git/x", "nih_filtered_images", "nih_filtered_images/deep"]


def made(root: Path, *files: str, **tables: str) -> Path:
    for name in files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")
    for name, text in tables.items():
        (root / f"{name}.csv").write_text(text)
    return root


def challenge(root: Path, files: list[str], labels: str, points: str = "file_name,x,y\n") -> Folder:
    made(root, *(f"nih_filtered_images/{name}" for name in files))
    made(root, classification_labels=labels, localization_labels=points)
    return layouts.read(root, Options())


@settings(max_examples=40, deadline=None)
@given(st.sets(st.tuples(st.sampled_from(FOLDERS), st.sampled_from(NAMES)), min_size=1), st.booleans())
def test_every_file_is_an_image_or_passed_over_and_none_is_both(
    tmp_path_factory: pytest.TempPathFactory, files: set[tuple[str, str]], challenge_layout: bool
) -> None:
    root = made(tmp_path_factory.mktemp("tree"), *(f"{folder}/{name}".lstrip("/") for folder, name in files))
    if challenge_layout:
        made(root, "nih_filtered_images/x.png", classification_labels="file_name,label\n")
    there = sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())
    folder = layouts.read(root, Options(layout="nodulocc" if challenge_layout else "folder"))
    told = [os.path.relpath(image.path, root) for image in folder.images] + [o.file_name for o in folder.passed_over]
    assert sorted(told) == there


@pytest.mark.parametrize("name", [".DS_Store", "._x.png", "__MACOSX/x.png", "Thumbs.db", "desktop.ini", "AUTORUN.INF"])
@pytest.mark.parametrize("inside", ["", "a/"])
def test_litter_of_an_operating_system_is_no_image(tmp_path: Path, name: str, inside: str) -> None:
    folder = layouts.read(made(tmp_path, "x.png", inside + name), Options())
    assert [image.file_name for image in folder.images] == ["x.png"]
    assert [(over.file_name, over.role) for over in folder.passed_over] == [(inside + name, "litter")]


def test_a_device_is_not_opened_to_see_what_it_is(tmp_path: Path) -> None:
    os.mkfifo(made(tmp_path, "x.png") / "pipe")  # to open it would wait forever
    (tmp_path / "link").symlink_to("/dev/zero")
    found = {entry.name: (entry.role, entry.problem) for entry in listing.read(tmp_path).entries}
    assert found["pipe"] == ("other", "not a file (a folder, a device, or a link that leads nowhere)")
    assert found["link"][0] == "other" and "a link out of the data folder" in str(found["link"][1])


def test_listing_asks_the_system_about_folders_and_not_about_each_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(tmp_path, *(f"d{number % 3}/{number}.png" for number in range(30)))
    asked: list[str] = []
    scan = os.scandir

    def scanned(place: str) -> object:
        asked.append(place)
        return scan(place)

    def refused(*_: object, **__: object) -> None:
        raise AssertionError("a file was asked about")

    for name in ("stat", "lstat", "open", "readlink"):
        monkeypatch.setattr(os, name, refused)
    monkeypatch.setattr(os, "scandir", scanned)
    entries = listing.read(tmp_path).entries
    monkeypatch.undo()
    assert len(entries) == 30 and asked == [str(tmp_path), *(str(tmp_path / f"d{number}") for number in range(3))]


COMPOSED, DECOMPOSED = (unicodedata.normalize(form, "röntgen") for form in ("NFC", "NFD"))


@pytest.mark.parametrize(
    ("there", "table"),
    [
        ("00000070_000.png", "00000070_000"),
        ("00000070_000.PNG", "00000070_000.png"),
        ("a.png", "A.png"),
        ("scan.dcm.gz", "scan.dcm"),
        (f"{COMPOSED}.png", f"{DECOMPOSED}.png"),
        (f"{DECOMPOSED}.png", f"{COMPOSED}.png"),
        ("a b.png", "./a b.png"),
        ("deep/er/a.png", "er\\a.png"),
        ("deep/er/a.png", "deep//er/./a"),
        ("deep/er/a.png", "/home/someone/nih_filtered_images/deep/er/a.png"),
        ("1.2.840.1", "1.2.840.1.dcm"),
    ],
)
def test_a_name_in_a_table_finds_its_file_and_says_so_where_they_differ(tmp_path: Path, there: str, table: str) -> None:
    file = made(tmp_path, f"nih_filtered_images/{there}") / "nih_filtered_images" / there
    file.write_bytes(bytes(128) + b"DICM")  # an image, whatever its name
    labels = f"file_name,label,LIDC_ID\n{table},Nodule,\n"
    made(tmp_path, classification_labels=labels, localization_labels=f"file_name,x,y\n{table},1,2\n")
    folder = layouts.read(tmp_path, Options())
    assert not folder.problems
    (image,) = folder.images
    assert (image.label, [one.kind for one in image.notices]) == (1, ["name"])
    assert image.path == str(file)
    assert len(folder.points[image.image_id]) == 1


def test_a_name_that_two_files_answer_to_is_a_problem_that_names_both(tmp_path: Path) -> None:
    labels, points = "file_name,label\nx,Nodule\n", "file_name,x,y\nx,1,2\n"
    folder = challenge(tmp_path, ["a/x.png", "b/X.dcm"], labels, points)
    for problem, table in zip(
        folder.problems[:1] + folder.problems[-1:], ["classification", "localization"], strict=True
    ):
        assert problem.startswith(f"{table}_labels.csv line 2: 'x' may be 'nih_filtered_images/a/x.png' and ")
        assert "'nih_filtered_images/b/X.dcm': write the path in the table, or rename one" in problem


def test_an_exact_name_goes_before_a_like_one(tmp_path: Path) -> None:
    entries = listing.read(made(tmp_path, "a.png", "A.png", "b/a.png", "b/c.png")).entries
    places = listing.Places(entries)
    told = {name: [entry.relative for entry in places.find(name)] for name in ("a.png", "A.png", "b/a.png", "c", "d")}
    assert told == {"a.png": ["a.png"], "A.png": ["A.png"], "b/a.png": ["b/a.png"], "c": ["b/c.png"], "d": []}
    assert len(places.find("A")) == 3 and not places.find("../b/c.png")


def test_rows_that_differ_about_one_file_are_a_problem_however_they_spell_it(tmp_path: Path) -> None:
    labels = "file_name,label,LIDC_ID\na.png,Nodule,\na.PNG,No Finding,\n"
    (problem,) = challenge(tmp_path, ["a.png"], labels).problems
    assert "'a.PNG' is listed before with another label (1 in classification_labels.csv line 2, 0 here)" in problem


def test_a_row_without_a_file_whose_id_is_that_of_a_file_is_a_problem_about_the_row(tmp_path: Path) -> None:
    made(tmp_path, "a__b.png", labels="file_name,label\na/b.png,1\na/c.png,1\na__c.png,1\n")
    missing, both = layouts.read(tmp_path, Options()).problems
    assert missing.startswith("labels.csv line 2: there is no file 'a/b.png', and its id would be that of ")
    assert both.startswith("labels.csv line 4: 'a__c.png' and 'a/c.png' (labels.csv line 3), neither of which is there")


def test_messages_speak_of_no_file_that_is_not_there(tmp_path: Path) -> None:
    labels = "file_name,label,LIDC_ID\ngone.png,Nodule,\ngone,Nodule,\nhere.jpg,Nodule,\n"
    folder = challenge(tmp_path, ["here.png"], labels)
    assert not folder.problems
    found = {image.file_name: [one.text for one in image.notices] for image in folder.images}
    assert found == {"here.png": ["'here.jpg' in the table"], "gone.png": ["file missing", "listed twice"]}


@pytest.mark.parametrize(
    "stem",
    ["00000012_001", "Copy of 00000012_001", "00000012_001 (2)", "00000012_001_512x512", "resized-00000012_001",
     "00000012_001-small", "nih.00000012_001.v2", "00000012_001_", "00000012_001a", "CXR00000012_001",
     "00000012_001 - Kopie", "00000012_001@2x"],
)  # fmt: skip
def test_a_copy_of_an_nih_image_keeps_its_patient(stem: str) -> None:
    assert names.nih_patient(stem) == "nih-00000012"


@pytest.mark.parametrize(
    "stem", ["20240131_001", "0026", "00030806_000", "00000000_000", "000000121_001", "00000012_0011", "00000012", "a"]
)
def test_a_name_of_another_kind_has_no_nih_patient(stem: str) -> None:
    assert names.nih_patient(stem) is None


@pytest.mark.parametrize("text", ["nan", "NaN", "NA", "", " ", "None", "null", "N/A", "unknown", "-", "<NA>", "nil"])
def test_a_word_for_nothing_is_no_id(text: str) -> None:
    assert names.known_id(text) is None
