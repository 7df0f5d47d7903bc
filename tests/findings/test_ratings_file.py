"""People's ratings are read from a CSV, or all that is wrong with it is told."""

from pathlib import Path

import pytest

from stages.findings import ratings_file
from stages.lib.core.errors import DataError

ITEMS, ARMS = ("MPX1", "MPX2", "MPX2/0"), ("base", "tuned")


def read(folder: Path, text: str) -> list[dict[str, str]]:
    (folder / "human.csv").write_text(text, encoding="utf-8")
    found: list[dict[str, str]] = ratings_file.read(folder / "human.csv", ITEMS, ARMS).to_pylist()
    return found


def test_ratings_are_rows_and_an_empty_cell_is_none(tmp_path: Path) -> None:
    text = "\ufeffCase ID;Arm;Rater;Rating;note\nMPX2;base;Ann;GOOD;\nMPX1;base;Ann;poor;x\nMPX1;tuned;Ann;;\n"
    assert read(tmp_path, text) == [
        {"item": "MPX1", "arm": "base", "rater": "Ann", "rating": "poor"},
        {"item": "MPX2", "arm": "base", "rater": "Ann", "rating": "good"},
    ]


def test_the_rating_of_an_image_names_the_item(tmp_path: Path) -> None:
    assert read(tmp_path, "item,arm,rater,rating\nMPX2/0,base,B,partial\n")[0]["item"] == "MPX2/0"


def test_without_a_file_there_are_no_ratings() -> None:
    assert ratings_file.read("none", ITEMS, ARMS).num_rows == 0


def test_all_problems_of_a_file_are_told_at_once(tmp_path: Path) -> None:
    rows = ["MPX9,base,A,good", "MPX1,bases,A,good", "MPX1,base,,good", "MPX1,base,A,fair"]
    rows += ["MPX2,base,A,good", "MPX2,base,A,poor"]
    text = "\n".join(["case_id,arm,rater,rating", *rows])
    with pytest.raises(DataError) as error:
        read(tmp_path, text)
    assert len(error.value.problems) == 5
    for sentence in (
        "line 2: 'MPX9' is no case with an answer",
        "line 3: bases: unknown; did you mean 'base'?",
        "line 4: found no rater",
        "line 5: found the rating 'fair', wanted poor, partial, good",
        "line 7: 'A' has rated 'MPX2' of 'base' before",
    ):
        assert sentence in str(error.value)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("", "found no header"), ("case_id,arm\nMPX1,base\n", "no column rater; found case_id, arm")],
)
def test_a_file_that_is_no_such_table_is_named(text: str, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=sentence):
        read(tmp_path, text)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No such file"):
        ratings_file.read(tmp_path / "absent.csv", ITEMS, ARMS)
