"""What answers took: with and without retries, with and without answers that repeat themselves."""

from dataclasses import replace

import pytest

from stages.findings.measuring import costs
from stages.findings.measuring.study import Asked, Item
from stages.findings.timing import Clocked, Timing


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


def test_dollars_are_null_where_those_of_one_answer_are_not_known() -> None:
    paid = [replace(clocked(1, 1), dollars=0.25), replace(clocked(1, 1, "loops"), dollars=0.5)]
    timing = Timing(name="arm", clocked=tuple(paid), price=None, price_warning=None, ledger_sha256=None)
    row = dict.fromkeys(("prompt_tokens", "cached_tokens", "completion_tokens", "reasoning_tokens"))
    rows = tuple(
        {**row, "item": item, "sample": 0, "status": status} for item, status in (("a", "ok"), ("loops", "looping"))
    )
    items = tuple(Item(item=one, case={"case_id": one}, gold="", planes=(), n_images=1) for one in ("a", "loops"))
    asked = Asked(arm="arm", items=items, answers=rows, samples=rows)
    found = costs.of_arm(asked, timing, n_good=1)
    assert (found.dollars, found.dollars_without_looping) == (0.75, 0.25)
    assert (found.dollars_per_case, found.dollars_per_good, found.unpriced) == (0.375, 0.75, 0)
    assert found.retried == 0 and costs.of_arm(asked, timing, n_good=3).dollars_per_good == 0.25
    assert costs.of_arm(asked, replace(timing, clocked=(replace(paid[0], attempts=2),)), n_good=1).retried == 1
    second = (*rows, {**row, "item": "a", "sample": 1, "status": "looping"})
    again = replace(timing, clocked=(*paid, replace(paid[0], sample=1)))
    assert costs.of_arm(replace(asked, samples=second), again, n_good=1).dollars_without_looping == 0.25
    assert costs.of_arm(asked, timing, n_good=0).dollars_per_good is None
    some = replace(timing, clocked=(paid[0], clocked(2, 2, "loops")))
    found = costs.of_arm(asked, some, n_good=1)
    assert (found.dollars, found.dollars_per_case, found.dollars_per_good, found.unpriced) == (None, None, None, 1)
    nothing = costs.of_arm(asked, None, n_good=1)
    assert (nothing.latency, nothing.dollars, nothing.dollars_per_case) == (None, None, None)
    assert costs.spread([]).n == 0
