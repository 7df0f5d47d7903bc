"""What answers took: with and without retries, with and without answers that repeat themselves."""

import pytest

from stages.findings.measuring import costs
from stages.findings.timing import Clocked


def clocked(seconds: float, total: float, item: str = "a") -> Clocked:
    return Clocked(item=item, sample=0, attempts=1, seconds=seconds, total_seconds=total, dollars=None)


def test_latency_by_hand_with_and_without_retries_and_looping_answers() -> None:
    every = [clocked(1, 1), clocked(2, 9), clocked(3, 3), clocked(70, 70, "loops")]
    found = costs.latency(every, every[:3])
    assert (found.good_try.mean, found.good_try.median, found.good_try.n) == (19.0, 2.5, 4)
    assert (found.all_tries.mean, found.all_tries.median) == (20.75, 6.0)
    assert (found.good_try_without_looping.mean, found.good_try_without_looping.median) == (2.0, 2.0)
    assert found.all_tries_without_looping.mean == pytest.approx(13 / 3)
    assert found.good_try.p95 == pytest.approx(59.95)


def test_tokens_are_those_that_the_server_counted_and_never_guessed() -> None:
    names = ("prompt_tokens", "cached_tokens", "completion_tokens", "reasoning_tokens")
    counted, silent = dict.fromkeys(names, 5) | {"cached_tokens": None}, dict.fromkeys(names)
    found = costs.tokens([counted, counted, silent])
    assert (found.n, found.prompt, found.cached, found.completion) == (2, 10, None, 10)
    assert costs.tokens([silent]).completion is None
