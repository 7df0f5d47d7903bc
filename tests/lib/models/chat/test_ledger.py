"""A ledger keeps every answer, finds every flipped byte, and is written by one process alone."""

import json
import random
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from chats import request
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.lib.core.errors import LedgerError
from stages.lib.models.chat import ledger
from stages.lib.models.chat.ledger import Ledger
from stages.lib.models.chat.request import Failure, Picture, Reply, Usage

GOOD = Reply("ok", "There is no mass.", "stop", None, "tiny@main", "f1", Usage(100, None, 7, None), 2, 0.25, 1.5)


def fill(folder: Path, n: int = 3, shard: str = "1-of-1") -> bytes:
    with Ledger(folder, shard) as book:
        for number in range(n):
            book.write(request(f"case{number}", text=f"about {number}"), GOOD)
    return (folder / f"{shard}.jsonl").read_bytes()


def test_an_answer_comes_back_with_all_that_was_said_of_it(tmp_path):
    with Ledger(tmp_path, "1-of-1") as book:
        book.write(request(), replace(GOOD, seconds=0.25000049, total_seconds=1.5000004))  # to the microsecond
        at_once = book.find(request().key)
    with Ledger(tmp_path, "1-of-1") as book:
        later = book.find(request().key)
    assert at_once == later
    assert later is not None and later.kept
    for name in ("status", "text", "finish_reason", "model", "fingerprint", "usage", "attempts", "seconds"):
        assert getattr(later, name) == getattr(GOOD, name)
    assert later.usage.cached_tokens is None
    assert later.total_seconds == 1.5


def test_each_try_is_a_line(tmp_path):
    failures = (Failure("429", 0.1, 1.0), Failure("500", 0.2, 2.0))
    with Ledger(tmp_path, "1-of-1") as book:
        book.write(request(), Reply("ok", "text", attempts=3, failures=failures))
        found = list(book.records())
        at_once = book.find(request().key)
    assert at_once is not None and (at_once.text, at_once.attempts) == ("text", 3)
    assert [(one["status"], one["attempt"]) for one in found] == [("retried", 1), ("retried", 2), ("ok", 3)]
    assert {one["key"] for one in found} == {request().key}


@pytest.mark.parametrize("status", ["error", "timeout"])
def test_a_failure_never_answers_a_later_request_and_a_good_answer_does_whatever_the_number_of_tries(tmp_path, status):
    with Ledger(tmp_path, "1-of-1") as book:
        book.write(request(), Reply(status, problem="down"))
        assert book.find(request().key) is None
        book.write(request(), GOOD)
        assert book.find(request().key) is not None
    with Ledger(tmp_path, "1-of-1") as book:
        assert (len(book), book.lines) == (1, 2)
        assert book.find(request().key) is not None


def test_another_number_of_shards_finds_what_the_last_one_asked_for(tmp_path):
    fill(tmp_path, shard="1-of-2")
    with Ledger(tmp_path, "3-of-7") as book:
        assert book.find(request("case0", text="about 0").key) is not None


@pytest.mark.parametrize(
    "change",
    [
        {"model": "other"},
        {"revision": "c0ffee"},
        {"temperature": 0.5},
        {"top_p": 0.9},
        {"max_tokens": 21},
        {"seed": 1},
        {"sample": 1},
        {"prompt_version": "short 2"},
        {"form": "json_object"},
        {"schema": {"type": "object"}},
        {"text": "Describe!"},
        {"pictures": [Picture(Path("a.png"), "0" * 64)]},
    ],
)
def test_a_ledger_of_other_parameters_is_never_used(tmp_path, change):
    with Ledger(tmp_path, "1-of-1") as book:
        book.write(request(), GOOD)
        assert book.find(request(**change).key) is None


def test_the_item_and_the_place_of_an_image_are_no_part_of_the_key():
    one, other = (request(item, pictures=[Picture(Path(item), "0" * 64)]) for item in ("case1", "case2"))
    assert one.key == other.key


def test_it_holds_no_image_no_path_of_one_and_no_header(tmp_path):
    with Ledger(tmp_path, "1-of-1") as book:
        book.write(request(pictures=[Picture(tmp_path / "secret.png", "0" * 64)]), GOOD, "http://127.0.0.1:1/v1")
        (found,) = book.records()
    text = json.dumps(found)
    assert not re.search("secret|base64|data:|authorization|[A-Za-z0-9+/]{80}", text, re.IGNORECASE)


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_a_line_torn_at_any_byte_is_dropped_counted_and_cut_off_by_the_next_writer(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("ledger")
    whole = fill(folder)
    lines = whole.splitlines(keepends=True)
    cut = data.draw(st.integers(1, len(lines[-1]) - 1))
    file = folder / "1-of-1.jsonl"
    file.write_bytes(whole[:-cut])
    with Ledger(folder, "1-of-1") as book:
        assert (book.torn, book.lines, len(book)) == (1, 2, 2)
        book.write(request("case2", text="about 2"), GOOD)
    with Ledger(folder, "1-of-1") as book:
        assert (book.torn, book.lines, len(book)) == (0, 3, 3)


def test_a_line_torn_at_its_very_first_byte_or_before_it_leaves_nothing(tmp_path):
    whole = fill(tmp_path, 2)
    start = len(whole.splitlines(keepends=True)[0])
    for end, torn in ((start, 0), (start + 1, 1), (len(whole) - 1, 1)):
        (tmp_path / "1-of-1.jsonl").write_bytes(whole[:end])
        with Ledger(tmp_path, "1-of-1") as book:
            assert (book.torn, len(book)) == (torn, 1)


@given(st.integers(0, 2**32), st.integers(1, 255))
@settings(max_examples=200, deadline=None)
def test_a_flipped_byte_is_found_and_named(tmp_path_factory, place, flip):
    folder = tmp_path_factory.getbasetemp() / "flipped"
    whole = (folder / "whole").read_bytes() if folder.exists() else fill(folder)
    (folder / "whole").write_bytes(whole)
    place %= len(whole)
    changed = bytearray(whole)
    changed[place] ^= flip
    (folder / "1-of-1.jsonl").write_bytes(changed)
    line = whole.count(b"\n", 0, place) + 1
    with pytest.raises(LedgerError, match=rf"1-of-1\.jsonl, line {line}: "), Ledger(folder, "1-of-1"):
        pass


def test_after_a_damaged_ledger_was_refused_another_process_may_try(tmp_path):
    whole = fill(tmp_path)
    (tmp_path / "1-of-1.jsonl").write_bytes(b"x" + whole[1:])
    for _ in range(2):
        with pytest.raises(LedgerError, match="line 1"), Ledger(tmp_path, "1-of-1"):
            pass


def test_a_second_writer_is_refused_and_told_who_writes(tmp_path):
    hold = (
        "import sys, pathlib\nfrom stages.lib.models.chat.ledger import Ledger\n"
        f"with Ledger(pathlib.Path({str(tmp_path)!r}), '1-of-1'):\n    print('held', flush=True)\n    sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None and other.stdin is not None
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(LedgerError, match=rf"process {other.pid} on .* writes to it"), Ledger(tmp_path, "1-of-1"):
            pass
        with Ledger(tmp_path, "2-of-2"):  # another shard is another file
            pass
        other.kill()
        other.wait()
    with Ledger(tmp_path, "1-of-1"):  # the system gives a killed process's file back
        pass


def test_the_hash_of_answers_does_not_depend_on_their_order_their_shards_or_clocks(tmp_path):
    numbers = list(range(6))
    for name, shards in (("a", 1), ("b", 2)):
        random.Random(name).shuffle(numbers)
        for number in numbers:
            with Ledger(tmp_path / name, f"{number % shards + 1}-of-{shards}") as book:
                seconds = random.Random(name + str(number)).random()
                book.write(request(f"case{number}", text=f"about {number}"), Reply("ok", "text", seconds=seconds))
    assert ledger.sha256_answers(tmp_path / "a") == ledger.sha256_answers(tmp_path / "b")
    with Ledger(tmp_path / "b", "1-of-1") as book:
        book.write(request("case9", text="about 9"), GOOD)
    assert ledger.sha256_answers(tmp_path / "a") != ledger.sha256_answers(tmp_path / "b")


def test_its_root_is_the_environment_s_or_the_one_in_results(monkeypatch, tmp_path):
    monkeypatch.delenv(ledger.VARIABLE, raising=False)
    assert ledger.root() == Path("results/findings/ledger")
    monkeypatch.setenv(ledger.VARIABLE, str(tmp_path))
    assert ledger.root() == tmp_path


def test_a_full_disk_leaves_no_half_line(tmp_path):
    """The limit of a process's files stands in for the disk."""
    code = (
        "import pathlib, resource, signal, sys\nsys.path.insert(0, 'tests/fakes')\n"
        "from chats import request\nfrom stages.lib.models.chat.ledger import Ledger\n"
        "from stages.lib.models.chat.request import Reply\n"
        f"book = Ledger(pathlib.Path({str(tmp_path)!r}), '1-of-1').__enter__()\n"
        "book.write(request(text='one'), Reply('ok', 'a'))\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (book.file.stat().st_size + 50, resource.RLIM_INFINITY))\n"
        "try:\n    book.write(request(text='two'), Reply('ok', 'b'))\nexcept OSError:\n    print('full')\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))\n"
        "book.write(request(text='three'), Reply('ok', 'c'))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "full\n"
    with Ledger(tmp_path, "1-of-1") as book:
        assert (book.torn, [record["text"] for record in book.records()]) == (0, ["a", "c"])


def test_a_damaged_line_is_found_by_whoever_reads(tmp_path):
    whole = fill(tmp_path)
    (tmp_path / "1-of-1.jsonl").write_bytes(whole.replace(b"no mass", b"a  mass", 1))
    with pytest.raises(LedgerError, match="line 1"):
        ledger.sha256_answers(tmp_path)
