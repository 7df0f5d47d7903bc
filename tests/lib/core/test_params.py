"""Parameters: all problems at once, each with its name, what was found and what was wanted."""

import json
from typing import Literal

import pytest

from stages.lib.core import params
from stages.lib.core.errors import ParamsError


@params.section
class Shape:
    """A section with one of each."""

    side_px: params.Count
    learning_rate: params.PositiveFloat
    unit: Literal["patient", "image"]
    fractions: tuple[params.Fraction, params.Fraction]


GOOD = {"side_px": 112, "learning_rate": 1.0e-4, "unit": "patient", "fractions": [0.5, 0.5]}


def problems(document: object, *, whole: bool = False) -> tuple[str, ...]:
    with pytest.raises(ParamsError) as caught:
        params.parse(document, {"shape": Shape}, whole=whole)
    return caught.value.problems


def test_good_values_come_back_typed_and_frozen() -> None:
    shape = params.parse({"shape": GOOD}, {"shape": Shape}).shape
    assert (shape.side_px, shape.fractions) == (112, (0.5, 0.5))
    with pytest.raises(AttributeError):
        shape.side_px = 3


def test_every_problem_of_every_section_is_reported_at_once() -> None:
    found = problems(
        {"shape": {"side_px": 0, "learning_rate": "fast", "unit": "scan", "fractions": [2, 0]}, "shap": {}}, whole=True
    )
    assert len(found) == 5
    assert {sentence.split(":")[0] for sentence in found} == {
        "shap",
        "shape.side_px",
        "shape.learning_rate",
        "shape.unit",
        "shape.fractions.0",
    }


def test_an_unknown_key_gets_the_nearest_known_one() -> None:
    found = problems({"shape": {**GOOD, "learning_rat": 1.0}})
    assert found == ("shape.learning_rat: unknown; did you mean 'shape.learning_rate'?",)


def test_a_number_that_yaml_reads_as_text_is_explained() -> None:
    (sentence,) = problems({"shape": {**GOOD, "learning_rate": "1e-4"}})
    assert "write it with a dot: 0.0001" in sentence


@pytest.mark.parametrize("value", [True, 112.5, "112", None, float("nan")])
def test_no_value_is_bent_into_a_count(value: object) -> None:
    (sentence,) = problems({"shape": {**GOOD, "side_px": value}})
    assert sentence.startswith("shape.side_px")


def test_a_missing_key_and_a_missing_section_are_named() -> None:
    assert problems({"shape": {k: v for k, v in GOOD.items() if k != "unit"}}) == ("shape.unit: missing",)
    assert problems({}) == ("shape: section is missing",)


def test_json_on_the_command_line_and_a_yaml_file_are_the_same(tmp_path) -> None:
    file = tmp_path / "params.yaml"
    file.write_text("shape: {side_px: 112, learning_rate: 1.0e-4, unit: patient, fractions: [0.5, 0.5]}\nother: {}\n")
    text = json.dumps({"shape": GOOD})
    assert params.read(str(file), {"shape": Shape}).shape == params.read(text, {"shape": Shape}).shape


def test_a_missing_or_broken_file_is_an_error_with_its_name(tmp_path) -> None:
    broken = tmp_path / "params.yaml"
    broken.write_text("shape: [")
    for source in (str(broken), str(tmp_path / "none.yaml")):
        with pytest.raises(ParamsError, match=r"yaml"):
            params.read(source, {"shape": Shape})


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        ("data: {a: 1}\n".encode("utf-16"), "not UTF-8 text: save it as UTF-8"),
        (b"data: {a: 1\n", "not YAML: "),
        (None, "cannot be read: No such file or directory"),
    ],
)
def test_a_file_of_parameters_that_cannot_be_read_is_refused_in_words(tmp_path, content, wanted):
    path = tmp_path / "params.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ParamsError, match=wanted):
        params.document(str(path))


def test_a_file_of_parameters_may_have_a_byte_order_mark(tmp_path):
    (tmp_path / "params.yaml").write_bytes("data: {a: 1}\n".encode("utf-8-sig"))
    assert params.document(str(tmp_path / "params.yaml")) == {"data": {"a": 1}}
