"""Claims about stages.lib.core.documents: what is written is read, and nothing else is."""

from typing import ClassVar

import numpy as np
import pytest

from stages.lib.core import documents, params
from stages.lib.core.errors import DocumentError


@params.section
class Inner:
    """A part of it."""

    name: params.Text


@params.section
class Log:
    """A document."""

    written_by: ClassVar[str] = "train"

    steps: params.Count
    loss: float | None
    inner: tuple[Inner, ...] = ()


@params.section
class Numbers:
    """Doubles."""

    values: tuple[float, ...]


def test_a_document_is_read_as_it_was_written_to_the_last_bit(tmp_path):
    log = Log(steps=3, loss=0.1 + 0.2, inner=(Inner(name="a"), Inner(name="b")))
    documents.write(tmp_path / "log.json", log)
    assert documents.read(tmp_path / "log.json", Log) == log
    nothing = Log(steps=1, loss=None)
    documents.write(tmp_path / "log.json", nothing)
    assert documents.read(tmp_path / "log.json", Log) == nothing


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "not readable as JSON"),
        ("[]", "found [], wanted"),
        ('{"loss": 0.5}', "log.steps: missing"),
        ('{"steps": 0, "loss": 0.5}', "log.steps: found 0, wanted greater than or equal to 1"),
        ('{"steps": "3", "loss": 0.5}', "log.steps: found '3', wanted a valid integer"),
        ('{"steps": 1, "loss": NaN}', "log.loss"),
        ('{"steps": 1, "loss": 1, "stepz": 1}', "log.stepz: unknown; did you mean 'log.steps'?"),
        ('{"steps": 1, "loss": 1, "inner": [{"name": ""}]}', "log.inner.0.name: found ''"),
        ('{"steps": 1, "loss": 1, "inner": [{"name": "a", "nam": 1}]}', "log.inner.0.nam: unknown"),
    ],
)
def test_what_is_no_such_document_is_refused_with_the_key_what_was_found_and_wanted(tmp_path, text, sentence):
    (tmp_path / "log.json").write_text(text)
    with pytest.raises(DocumentError) as caught:
        documents.read(tmp_path / "log.json", Log)
    assert str(tmp_path / "log.json") in str(caught.value) and sentence in str(caught.value)
    assert "run train again" in str(caught.value)


def test_all_problems_are_named_at_once_and_a_missing_file_is_one(tmp_path):
    (tmp_path / "log.json").write_text('{"steps": -1, "extra": 2}')
    with pytest.raises(DocumentError) as caught:
        documents.read(tmp_path / "log.json", Log)
    assert all(part in str(caught.value) for part in ("log.steps", "log.loss: missing", "log.extra: unknown"))
    with pytest.raises(DocumentError, match=r"absent\.json: no such file; build it first$"):
        documents.read(tmp_path / "absent.json", Log, "build it first")


def test_the_whole_message_names_the_file_every_key_and_what_to_do(tmp_path):
    path = tmp_path / "log.json"
    path.write_text('{"steps": "3", "loss": Infinity, "stepz": 1, "inner": [{}]}')
    with pytest.raises(DocumentError) as caught:
        documents.read(path, Log)
    assert str(caught.value).splitlines() == [
        f"{path}: is no log; run train again:",
        "log.steps: found '3', wanted a valid integer",
        "log.loss: found inf, wanted a finite number",
        "log.inner.0.name: missing",
        "log.stepz: unknown; did you mean 'log.steps'?",
    ]


def test_a_field_with_a_default_is_a_key_only_where_it_differs_and_null_is_kept_elsewhere(tmp_path):
    assert documents.as_mapping(Log(steps=1, loss=None)) == {"steps": 1, "loss": None}
    inner = Log(steps=1, loss=None, inner=(Inner(name="a"),))
    assert documents.as_mapping(inner) == {"steps": 1, "loss": None, "inner": [{"name": "a"}]}


def test_doubles_of_any_size_come_back_to_the_last_bit(tmp_path):
    bits = np.random.default_rng(0).integers(0, 2**64, 20000, np.uint64).view(np.float64)
    values = tuple(bits[np.isfinite(bits)].tolist())
    documents.write(tmp_path / "numbers.json", Numbers(values=values))
    assert documents.read(tmp_path / "numbers.json", Numbers).values == values


def test_a_document_that_is_not_whole_cannot_be_made():
    with pytest.raises(ValueError, match="steps"):
        Log(steps=0, loss=0.5)
    with pytest.raises(ValueError, match="loss"):
        Log(steps=1, loss=float("inf"))
