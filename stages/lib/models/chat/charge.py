"""What the answers of a row of parameters cost: by the token, by the hour, or nobody knows."""

import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stages.lib.models.chat import prices
from stages.lib.models.chat.client_params import ClientParams
from stages.lib.models.chat.request import Reply

NONE = "none"


@dataclass(frozen=True)
class Charged:
    """Price of a row's answers.

    Attributes:
        tariff: What a try costs; None where there is nothing to pay for.
        price: Entry of the price table with its name, or the price of an hour; None if neither is known.
        warning: What a reader must know of it; None if nothing.
    """

    tariff: prices.Tariff | None
    price: Mapping[str, str | float | None] | None
    warning: str | None

    def dollars(self, reply: Reply) -> float | None:
        """Dollars of the try that gave an answer; None if they are not known."""
        return None if self.tariff is None else self.tariff.spent(reply.usage, reply.seconds)


def of(params: Any, client: ClientParams, today: datetime.date | None = None) -> Charged:
    """Price of the answers of a row of arms or judges, of whatever kind.

    Args:
        params: The row; it may have a `price`, which names an entry of the price table, and `dollars_per_gpu_hour`.
        client: Names the price table.
        today: Day by which the age of a price is told; None for that of the clock.

    Raises:
        PricesError: If there is no such price table, or it is none.
    """
    name, hour = getattr(params, "price", NONE), getattr(params, "dollars_per_gpu_hour", 0.0)
    if name == NONE and not hour:
        return Charged(None, None, None)
    found = prices.read(client.prices).get(name) if name != NONE else None
    told: dict[str, str | float | None] = {"dollars_per_gpu_hour": hour} if hour else {}
    warning = None
    if found is None and name != NONE:
        warning = f"no price of {name} in the price table {client.prices}"
    elif found is not None:
        told |= {"model": name, "date": found.date, "source": found.source, "input": found.input}
        told |= {"output": found.output, "cached": found.cached, "reasoning": found.reasoning}
        days = prices.age_days(found, today or datetime.date.today())
        warning = f"the price of {name} is {days} days old" if days > prices.OLD_DAYS else None
    return Charged(prices.Tariff(found, hour, 0, 0.0), told or None, warning)
