"""Small changes are planted where they are said to be, in a copy alone, and are noticed or survive."""

from collections import Counter
from pathlib import Path

import pytest

from workflow import mutate

SOURCE = """
LIMIT = 3  # one number


def share(part: float, whole: float = 1.0) -> "list[int] | None":
    found = (  # a comment with 7 and < in it
        part
    ) / whole
    if not whole or found > LIMIT and part is not None:
        raise ValueError(f"{part + 1} of " + "two")
    LOG.info("%d", 1 + 1)
    found += -1
    return found
"""


def test_every_comparison_sign_and_number_is_changed_once_and_text_annotations_and_messages_are_not():
    found = [(one.number, one.becomes.strip()) for one in mutate.changes("a.py", SOURCE)]
    assert found == [
        (2, "LIMIT = 4  # one number"),
        (5, 'def share(part: float, whole: float = 2.0) -> "list[int] | None":'),
        (8, ") * whole"),
        (9, "if not whole and found > LIMIT and part is not None:"),
        (9, "if not whole or found >= LIMIT and part is not None:"),
        (9, "if not whole or found > LIMIT or part is not None:"),
        (12, "found -= -1"),
        (12, "found += +1"),
        (12, "found += -2"),
    ]


def test_a_planted_change_is_the_only_difference_also_behind_letters_of_two_bytes():
    source = 'x = "µ" if 1 < 2 else "é"\ny = 5\n'
    assert [one.planted(source) for one in mutate.changes("a.py", source)] == [
        'x = "µ" if 2 < 2 else "é"\ny = 5\n',
        'x = "µ" if 1 <= 2 else "é"\ny = 5\n',
        'x = "µ" if 1 < 3 else "é"\ny = 5\n',
        'x = "µ" if 1 < 2 else "é"\ny = 6\n',
    ]


def test_the_sample_takes_modules_in_turn_and_depends_on_the_seed():
    pools = {
        name: [mutate.Change(name, k, str(k), "") for k in range(n)] for name, n in (("a", 2), ("b", 40), ("c", 40))
    }
    drawn = mutate.sample(pools, 20, seed=1)
    assert Counter(one.module for one in drawn) == {"a": 2, "b": 9, "c": 9}
    assert drawn == mutate.sample(pools, 20, seed=1) != mutate.sample(pools, 20, seed=2)
    assert mutate.sample(pools, 10, seed=1) == drawn[:10]
    assert len(mutate.sample(pools, 999, seed=1)) == 82


def test_a_change_is_noticed_or_survives_and_the_module_is_as_it_was(tmp_path: Path):
    source = "def larger(a, b):\n    return a if a > b else b + 0\n"
    (tmp_path / "larger.py").write_text(source)
    test = "from larger import larger\n\ndef test_it():\n    assert larger(1, 2) == 2 and larger(2, 2) == 2\n"
    (tmp_path / "test_larger.py").write_text(test)
    for one in mutate.changes("larger.py", source)[::2]:
        outcome = mutate.judge(tmp_path, one, ["test_larger.py"], limit_s=60)
        assert outcome == ("noticed" if "b + 1" in one.becomes else "survived"), one
        assert (tmp_path / "larger.py").read_text() == source
    endless = mutate.Change("larger.py", 2, "    return", "    while True: pass")
    assert mutate.judge(tmp_path, endless, ["test_larger.py"], limit_s=1) == "noticed by its time"


def test_each_listed_change_still_exists_and_each_listed_test_too():
    listed = mutate.listed()
    assert len(listed.modules) >= 18 and set(listed.tests) <= set(listed.modules)
    there = set()
    for module in listed.modules:
        assert all((mutate.ROOT / path).is_file() for path in listed.tests_of(module)), module
        found = mutate.changes(module, (mutate.ROOT / module).read_text())
        assert found, module
        there |= {one.key for one in found}
    gone = [one for one in listed.equivalent if (one.module, one.line, one.becomes) not in there]
    assert not gone


def test_a_list_of_another_form_is_refused(tmp_path: Path):
    (tmp_path / "a.yaml").write_text("modules: [a.py]\ntests: {}\nequivalent: [{module: a.py}]\n")
    with pytest.raises(Exception, match=r"mutants.equivalent.0.becomes: missing"):
        mutate.listed(tmp_path / "a.yaml")
