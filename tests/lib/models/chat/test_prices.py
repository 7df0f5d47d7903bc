"""A cost is counted from dated prices and the server's own tokens, and is not known without either."""

import datetime
from pathlib import Path

import pytest
from chats import request
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.lib.core.errors import PricesError
from stages.lib.models.chat import checks, prices
from stages.lib.models.chat.prices import Price, Tariff
from stages.lib.models.chat.request import Picture, Usage

PRICE = Price(date="2026-11-20", source="a page", input=2.0, output=8.0, cached=0.5, reasoning=4.0)
PLAIN = Price(date="2026-11-20", source="a page", input=2.0, output=8.0, cached=None, reasoning=None)
TABLE = """
one:
  - {date: "2025-01-02", source: old page, input: 1.0, output: 2.0, cached: null, reasoning: null}
  - {date: "2026-03-04", source: new page, input: 3, output: 4.0, cached: 0.5, reasoning: null}
"""


def test_a_cost_by_hand():
    usage = Usage(prompt_tokens=1000, cached_tokens=400, completion_tokens=300, reasoning_tokens=100)
    assert prices.cost(usage, PRICE) == pytest.approx((600 * 2 + 400 * 0.5 + 200 * 8 + 100 * 4) / 1e6)
    assert prices.cost(usage, PLAIN) == pytest.approx((1000 * 2 + 300 * 8) / 1e6)


def test_tokens_that_are_not_told_apart_cost_what_the_others_do():
    assert prices.cost(Usage(prompt_tokens=10, completion_tokens=10), PRICE) == pytest.approx((10 * 2 + 10 * 8) / 1e6)


@pytest.mark.parametrize("usage", [Usage(), Usage(prompt_tokens=5), Usage(completion_tokens=5)])
def test_tokens_that_were_not_counted_have_no_cost(usage):
    assert prices.cost(usage, PRICE) is None


def test_without_a_price_there_is_no_cost():
    assert prices.cost(Usage(1, 0, 1, 0), None) is None
    assert prices.hours_cost(3600.0, 0.0) is None
    assert prices.hours_cost(1800.0, 1.5) == pytest.approx(0.75)


def test_of_several_dates_the_latest_counts(tmp_path):
    path = tmp_path / "prices.yaml"
    path.write_text(TABLE)
    found = prices.read(str(path))["one"]
    assert (found.date, found.input, found.source) == ("2026-03-04", 3.0, "new page")


def test_the_shipped_table_holds_no_price_that_somebody_made_up():
    assert prices.read() == {}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("- 1", "wanted a mapping of models"),
        ("one: 3", "one: found 3, wanted a list"),
        ("one: [{date: '2026-13-01', source: s, input: 1, output: 1, cached: null, reasoning: null}]", "wanted a day"),
        ("one: [{date: '2026-11-01', source: s, input: -1, output: 1, cached: null, reasoning: null}]", "one.0.input"),
        ("one: [{date: '2026-11-01', source: s, input: 1, cached: null, reasoning: null}]", "one.0.output: missing"),
        ("one: [{date: '2026-11-01', in: 1}]", "one.0.in: unknown"),
        ("one: [", "cannot be read as YAML"),
    ],
)
def test_a_table_that_is_none_is_refused_with_its_problems(tmp_path, text, says):
    path = tmp_path / "prices.yaml"
    path.write_text(text)
    with pytest.raises(PricesError, match=says):
        prices.read(str(path))
    with pytest.raises(PricesError, match="cannot be read"):
        prices.read(str(tmp_path / "none.yaml"))


@given(
    st.text(max_size=60),
    st.integers(0, 3),
    st.integers(0, 200),
    st.integers(0, 1000),
    st.integers(0, 1000),
)
@settings(deadline=None)
def test_no_answer_costs_more_than_what_was_set_aside_for_it(text, images, tokens_out, hidden, cached):
    """A token is a byte at least, an image has so many tokens at most, and the answer ends at its limit."""
    tariff = Tariff(PRICE, 0.0, 256, 5.0)
    asked = request(text=text, pictures=[Picture(Path(), "0" * 64)] * images, max_tokens=200)
    tokens_in = len(text.encode()) + 16 + 256 * images
    usage = Usage(tokens_in, min(cached, tokens_in), tokens_out, min(hidden, tokens_out))
    spent = tariff.spent(usage, 1.0)
    assert spent is not None
    assert spent <= tariff.most(asked) + 1e-12


def test_what_is_set_aside_by_hand():
    """Two bytes, 16 tokens of the template and an image of 256, at the dearest price of each kind."""
    asked = request(text="ab", pictures=[Picture(Path(), "0" * 64)], max_tokens=200)
    assert Tariff(PRICE, 0.0, 256, 5.0).most(asked) == pytest.approx(((2 + 16 + 256) * 2.0 + 200 * 8.0) / 1e6)
    cheap = Price(date="2026-11-20", source="a page", input=0.2, output=0.3, cached=None, reasoning=None)
    assert Tariff(cheap, 0.0, 256, 5.0).most(asked) == pytest.approx(((2 + 16 + 256) * 0.2 + 200 * 0.3) / 1e6)
    dear = Price(date="2026-11-20", source="a page", input=1.0, output=1.0, cached=3.0, reasoning=5.0)
    assert Tariff(dear, 0.0, 256, 5.0).most(asked) == pytest.approx(((2 + 16 + 256) * 3.0 + 200 * 5.0) / 1e6)


def test_a_server_by_the_hour_costs_its_seconds():
    tariff = Tariff(None, 3.6, 256, 5.0)
    assert tariff.known
    assert tariff.spent(Usage(), 2.0) == pytest.approx(0.002)
    assert tariff.most(request()) == pytest.approx(0.005)
    assert not Tariff(None, 0.0, 256, 5.0).known


def test_a_price_older_than_a_year_is_warned_of():
    day = datetime.date(2026, 11, 26)
    old = Price(date="2025-11-01", source="a page", input=1.0, output=1.0, cached=None, reasoning=None)
    leap = prices.OLD_DAYS
    dates = [str(day - datetime.timedelta(days=days)) for days in (leap, leap + 1)]
    assert leap == 366
    for date, warned in zip(dates, (False, True), strict=True):
        one = Price(date=date, source="a page", input=1.0, output=1.0, cached=None, reasoning=None)
        assert bool(checks.old_prices({"one": one}, ["one"], day)) is warned
    found = checks.old_prices({"new": PRICE, "old": old}, ["new", "old", "none", "gone"], day)
    assert len(found) == 2
    assert "gone" in found[0] and "not in the price table" in found[0]
    assert "2025-11-01, more than a year ago; read it again at a page" in found[1]
