"""Price table of endpoints, and what a request cost, or costs at most.

Prices are dated and have a source. Without a price, or without the server's count of tokens, a cost is None: it is
never guessed. A server of one's own costs its hours.
"""

import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError

from stages.lib.core import params
from stages.lib.core.errors import PricesError
from stages.lib.models.chat.client_params import SHIPPED
from stages.lib.models.chat.request import Picture, Request, Usage

FILE = Path(__file__).with_name("prices.yaml")
MILLION = 1e6
OLD_DAYS = 366
MESSAGE_TOKENS = 16  # that a chat template puts round a message, at most


@params.section
class Price:
    """Price of a model's tokens, in dollars per million."""

    date: params.Text  # day on which it was read, year-month-day
    source: params.Text  # where
    input: params.NonNegativeFloat
    output: params.NonNegativeFloat
    cached: params.NonNegativeFloat | None  # of a token of the prompt that was cached; None: as input
    reasoning: params.NonNegativeFloat | None  # of a token that was not shown; None: as output

    def __post_init__(self) -> None:
        """Check what the types do not say."""
        try:
            datetime.date.fromisoformat(self.date)
        except ValueError as error:
            raise ValueError(f"date {self.date!r}, wanted a day as 2026-11-20") from error


def read(prices: str = SHIPPED) -> dict[str, Price]:
    """The latest price of each model.

    Args:
        prices: Path of a price table; "shipped" for the project's own.

    Raises:
        PricesError: If there is no such file, or it is no price table; with every problem.
    """
    path = FILE if prices == SHIPPED else Path(prices)
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise PricesError(f"prices: {path}:", [f"cannot be read as YAML ({error})"]) from error
    if not isinstance(document, Mapping):
        raise PricesError(f"prices: {path}:", [f"found {document!r}, wanted a mapping of models to their prices"])
    found, problems = {}, []
    for model, entries in document.items():
        listed: list[Any] = entries if isinstance(entries, list) else []
        if not listed:
            problems.append(f"{model}: found {entries!r}, wanted a list of dated prices")
        dated = []
        for number, entry in enumerate(listed):
            try:
                dated.append(TypeAdapter(Price).validate_python(entry))
            except ValidationError as error:
                keys = list(getattr(Price, "__dataclass_fields__", ()))
                where = f"{model}.{number}"
                problems += [params.describe(where, dict(detail), keys, {}) for detail in error.errors()]
        if dated:
            found[str(model)] = max(dated, key=lambda price: price.date)
    if problems:
        raise PricesError(f"prices: {path}: {len(problems)} problem(s):", problems)
    return found


def cost(usage: Usage, price: Price | None) -> float | None:
    """Dollars of a request; None if its price or its tokens are not known.

    The tokens of an answer include those that were not shown, as OpenAI counts; cached tokens are a part of the prompt.

    >>> example = Price(date="2026-11-20", source="s", input=1.0, output=10.0, cached=0.5, reasoning=None)
    >>> cost(Usage(prompt_tokens=1_000_000, cached_tokens=200_000, completion_tokens=100_000), example)
    1.9
    """
    if price is None or usage.prompt_tokens is None or usage.completion_tokens is None:
        return None
    cached, hidden = usage.cached_tokens or 0, usage.reasoning_tokens or 0
    dollars = (
        (usage.prompt_tokens - cached) * price.input
        + cached * (price.input if price.cached is None else price.cached)
        + (usage.completion_tokens - hidden) * price.output
        + hidden * (price.output if price.reasoning is None else price.reasoning)
    )
    return dollars / MILLION


def hours_cost(seconds: float, dollars_per_hour: float) -> float | None:
    """Dollars of a server of one's own for the seconds of good tries; None if its hour has no price (0.0)."""
    return seconds * dollars_per_hour / 3600 if dollars_per_hour else None


def age_days(price: Price, today: datetime.date) -> int:
    """How long ago a price was read."""
    return (today - datetime.date.fromisoformat(price.date)).days


@dataclass(frozen=True)
class Tariff:
    """What a try costs, and what it costs at most.

    Attributes:
        price: Of its tokens; None if not known.
        dollars_per_hour: Of the server; 0.0 if it is not paid by the hour.
        max_image_tokens: Tokens of one image, at most.
        timeout_s: Seconds after which a try ends.
    """

    price: Price | None
    dollars_per_hour: float
    max_image_tokens: int
    timeout_s: float

    @property
    def known(self) -> bool:
        """Whether a try has a price."""
        return self.price is not None or self.dollars_per_hour > 0

    def most(self, request: Request) -> float:
        """Dollars of one try at most: no token is shorter than a byte, and an answer is as long as it may be."""
        dollars = hours_cost(self.timeout_s, self.dollars_per_hour) or 0.0
        if self.price is not None:
            tokens_in = 0
            for message in request.messages:
                tokens_in += MESSAGE_TOKENS
                for part in message.parts:
                    tokens_in += self.max_image_tokens if isinstance(part, Picture) else len(part.text.encode())
            dearest = max(self.price.output, self.price.reasoning or 0.0)
            dearest_in = max(self.price.input, self.price.cached or 0.0)
            dollars += (tokens_in * dearest_in + request.sampling.max_tokens * dearest) / MILLION
        return dollars

    def spent(self, usage: Usage, seconds: float) -> float | None:
        """Dollars of a try that gave an answer; None if they are not known."""
        if self.price is not None:
            tokens = cost(usage, self.price)
            return None if tokens is None else tokens + (hours_cost(seconds, self.dollars_per_hour) or 0.0)
        return hours_cost(seconds, self.dollars_per_hour)
