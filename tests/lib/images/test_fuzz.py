"""Files of which some bytes are wrong: read, or refused in words, within a bound on memory; never a crash."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from checkout import ROOT
from mutations import in_words, mutated, sources

RUNNER = ROOT / "tests" / "fakes" / "mutations.py"
KINDS = ("png", "dicom", "jpeg", "tiff", "csv")


def outcomes(kinds: str, count: int, seed: int) -> dict[str, dict[str, int]]:
    """How many mutated files of each kind came out how, in a process of at most 1.5 GB."""
    done = subprocess.run(
        [sys.executable, str(RUNNER), kinds, str(count), "--seed", str(seed)],
        cwd=ROOT,
        env={"PYTHONPATH": f"{ROOT}:{RUNNER.parent}", "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"}
        | {"NODULEFLOW_PSEUDONYM_KEY": os.environ["NODULEFLOW_PSEUDONYM_KEY"]},
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    told = done.stderr.strip().splitlines()[-3:]
    assert done.returncode == 0, f"the process ended with {done.returncode}, after {told}"
    return json.loads(done.stdout)


def expect_words(found: dict[str, dict[str, int]], count: int) -> None:
    for kind, ends in found.items():
        assert sum(ends.values()) == count
        assert set(ends) <= {"read", "compared", "refused"}, kind
        assert ends["refused"] > count // 20, kind
        assert ends.get("read", 0) + ends.get("compared", 0) > count // 20, kind


def test_mutated_files_are_read_or_refused_in_words_and_a_png_is_what_pillow_sees() -> None:
    found = outcomes(",".join(KINDS), 50, seed=0)
    assert found.keys() == set(KINDS)
    expect_words(found, 50)
    assert found["png"]["compared"] > 5


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_a_thousand_mutated_files_of_a_kind_are_read_or_refused_in_words(kind: str, seed: int) -> None:
    expect_words(outcomes(kind, 1000, seed), 1000)


@pytest.mark.parametrize("kind", KINDS)
def test_a_mutation_is_a_function_of_its_number_and_most_change_the_file(kind: str, tmp_path: Path) -> None:
    whole, mutate, _, _ = sources(kind)
    first, again = ([mutate(whole, np.random.default_rng((0, n))) for n in range(20)] for _ in range(2))
    assert first == again
    assert len(set(first) - set(whole)) > 15


def test_a_sentence_with_a_class_of_python_or_a_line_break_is_no_sentence() -> None:
    in_words("a damaged PNG")
    for message in ("", "damaged (ValueError)", "a\nb", "Traceback (most recent call last)"):
        with pytest.raises(AssertionError, match="not in words"):
            in_words(message)
    assert mutated(b"", np.random.default_rng(0), head=4) == b""
