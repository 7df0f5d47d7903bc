"""An archive in parts is read as one, without unpacking it."""

import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lofi_folders import cut
from pngs import image, png

from stages.lib.core import files
from stages.lib.core.errors import ImageError
from stages.lib.images import archives, examining, listing, reading

PIXELS = image(0, dtype=np.uint16)


def packed(root: Path, parts: int, data: bytes = png(PIXELS), name: str = "in/a.png") -> Path:
    """Path of an image in an archive."""
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, data)
    if parts == 1:
        (root / "x.zip").write_bytes(written.getvalue())
        return root / "x.zip" / name
    cut(written.getvalue(), root / "x.zip", parts)
    return root / "x.zip.001" / name


@settings(max_examples=20, deadline=None)
@given(st.binary(max_size=300), st.integers(1, 12), st.lists(st.tuples(st.integers(-5, 320), st.integers(0, 40))))
def test_parts_read_as_the_file_that_was_cut(tmp_path_factory, data: bytes, count: int, reads) -> None:
    folder = tmp_path_factory.mktemp("parts")
    cut(data, folder / "x.zip", count)
    joined = archives.Joined(archives.parts(folder / "x.zip.001"))
    assert joined.seek(0, io.SEEK_END) == len(data)
    buffered, whole = io.BufferedReader(joined), io.BytesIO(data)
    for place, size in reads:
        assert buffered.seek(max(place, 0)) == whole.seek(max(place, 0))
        assert buffered.read(size) == whole.read(size)
    buffered.close()


@pytest.mark.parametrize("parts", [1, 2, 9])
def test_an_image_of_an_archive_has_the_facts_of_its_file(tmp_path: Path, parts: int) -> None:
    path = packed(tmp_path, parts)
    found = reading.examine(str(path), 10_000)
    (tmp_path / "a.png").write_bytes(png(PIXELS))
    assert found == reading.examine(str(tmp_path / "a.png"), 10_000)
    assert found.sha256 == files.sha256_file(tmp_path / "a.png") and not found.notices
    assert sorted(file.name for file in tmp_path.iterdir() if file.is_dir()) == []


def test_the_files_of_an_archive_that_look_like_images_are_entries_below_it(tmp_path: Path) -> None:
    packed(tmp_path, 3)
    first = next(entry for entry in listing.read(tmp_path).entries if entry.name.endswith(".001"))
    problems: list[str] = []
    found = archives.entries(first, problems)
    assert [(entry.relative, entry.role, entry.problem) for entry in found] == [("x.zip.001/in/a.png", "image", None)]
    assert found[0].path == str(tmp_path / "x.zip.001" / "in" / "a.png") and problems == []


def test_a_missing_part_is_named_and_a_missing_end_is_guessed(tmp_path: Path) -> None:
    packed(tmp_path, 5)
    (tmp_path / "x.zip.003").unlink()
    assert archives.missing([path.name for path in tmp_path.iterdir()]) == [
        "x.zip: the part(s) 003 are missing, found 4 parts up to 005: an archive is read only with all of them"
    ]
    for number in (4, 5):
        (tmp_path / f"x.zip.{number:03d}").unlink()
    first = next(entry for entry in listing.read(tmp_path).entries if entry.name.endswith(".001"))
    problems: list[str] = []
    assert archives.entries(first, problems) == []
    assert problems == [
        "x.zip.001: no ZIP archive, or its end is missing, wanted a whole one: is a part after x.zip.002 missing?"
    ]


def test_what_cannot_be_read_of_an_archive_is_a_notice_of_its_image(tmp_path: Path) -> None:
    path = packed(tmp_path, 1)
    assert "x.zip has no file 'in/b.png'" in reading.examine(str(path.with_name("b.png")), 10_000).notices[0].text
    assert "wanted at most" in reading.examine(str(packed(tmp_path, 1, bytes(2_000_000))), 10_000).notices[0].text
    path = packed(tmp_path, 1)
    damaged = bytearray((tmp_path / "x.zip").read_bytes())
    damaged[60:90] = bytes(30)
    (tmp_path / "x.zip").write_bytes(damaged)
    assert "damaged in x.zip" in reading.examine(str(path), 10_000).notices[0].text
    (tmp_path / "x.zip").write_bytes(b"PK")
    assert "no ZIP archive, or damaged" in reading.examine(str(path), 10_000).notices[0].text
    with pytest.raises(ImageError, match="no ZIP archive, or damaged"):
        archives.names(tmp_path / "x.zip")
    with pytest.raises(ImageError, match="no ZIP archive"), archives.on_disk(path, 10):
        pass


def test_an_image_of_an_archive_that_did_not_change_is_not_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = packed(tmp_path, 3)
    for part in archives.parts(path.parents[1]):
        os.utime(part, (1_000_000, 1_000_000))
    first = examining.remembered([str(path)], str(tmp_path), 10_000, tmp_path / "cache", verify=False)

    def read_again(path: str, max_pixels: int) -> reading.Facts:
        raise LookupError(path)

    monkeypatch.setattr(reading, "examine", read_again)
    again = examining.remembered([str(path)], str(tmp_path), 10_000, tmp_path / "cache", verify=False)
    assert first == again and again[str(path)].pixel_sha256
    os.utime(tmp_path / "x.zip.002", (1_000_001, 1_000_001))
    with pytest.raises(LookupError):
        examining.remembered([str(path)], str(tmp_path), 10_000, tmp_path / "cache", verify=False)
    assert archives.stamp(tmp_path / "absent.png") is None


def test_a_name_that_leads_out_of_the_archive_is_not_opened(tmp_path: Path) -> None:
    packed(tmp_path, 1, name="../a.png")
    problems: list[str] = []
    found = archives.entries(listing.read(tmp_path).entries[0], problems)
    assert [entry.problem for entry in found] == ["unsafe name: it leads out of the archive"]
