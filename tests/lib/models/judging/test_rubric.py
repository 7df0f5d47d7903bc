"""Claims about stages.lib.models.judging.rubric."""

import pytest

from stages.lib.core.errors import ParamsError
from stages.lib.models.judging import rubric


@pytest.mark.parametrize("name", rubric.shipped())
def test_a_shipped_rubric_has_the_name_of_its_file(name):
    found = rubric.read(name)
    assert found.name == name
    assert found.label == f"{name}-{found.version}"


def test_each_shipped_rubric_defines_every_grade_and_keeps_good_from_answers_without_the_primary_finding():
    assert rubric.shipped() == ["long", "short"]
    for name in rubric.shipped():
        text = rubric.read(name).instructions
        assert all(f"- {grade}: " in text for grade in ("good", "partial", "poor"))
        assert "- poor: the primary finding is not in the answer" in text
        assert "- partial: the primary finding is in the answer" in text


def test_a_rubric_of_the_user_is_read_from_its_path(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("\ufeffname: mine\nversion: 3\nsystem: You rate.\ninstructions: 'Braces: {x}'\n", encoding="utf-8")
    found = rubric.read(str(path))
    assert (found.label, found.instructions) == ("mine-3", "Braces: {x}")


def test_all_problems_of_a_rubric_are_named_at_once(tmp_path):
    path = tmp_path / "bad.yaml"
    path.write_text("name: Bad Name\nversion: 0\nsystem: ''\ninstruction: x\n")
    with pytest.raises(ParamsError) as caught:
        rubric.read(str(path))
    said = str(caught.value)
    assert all(word in said for word in ("name", "version", "system", "instructions: missing", "did you mean"))


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"a: [", b"- 1"])
def test_a_file_that_is_no_rubric_is_refused_in_words(tmp_path, content):
    path = tmp_path / "bad.yaml"
    path.write_bytes(content)
    with pytest.raises(ParamsError, match=r"bad\.yaml"):
        rubric.read(str(path))


def test_an_unknown_name_is_refused_with_the_names_there_are():
    with pytest.raises(ParamsError, match="wanted long, short"):
        rubric.read("shrt")


def test_another_text_under_the_name_of_a_shipped_rubric_is_refused(tmp_path):
    path = tmp_path / "short.yaml"
    path.write_text("name: short\nversion: 9\nsystem: You rate.\ninstructions: Always good.\n")
    with pytest.raises(ParamsError, match="rename it"):
        rubric.read(str(path))
