"""What is refused, or warned of, before the first request is sent."""

import datetime
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from stages.lib.core.errors import EndpointError, RequestsError
from stages.lib.core.params import Row
from stages.lib.models.chat import prices, token
from stages.lib.models.chat.endpoint_params import NONE, EndpointParams, is_loopback
from stages.lib.models.chat.request import Picture, Request

MAX_NAMED = 20  # problems that a message lists
LET_LEAVE = "set data_may_leave to true if the cases may be sent there"
OPEN = "open"  # terms under which data may be sent to another machine, if the user says so


def refuse(where: str, problems: Sequence[str]) -> None:
    """Raise RequestsError if there are problems; it lists the first of many."""
    more = [f"and {len(problems) - MAX_NAMED} more"] if len(problems) > MAX_NAMED else []
    if problems:
        raise RequestsError(f"{where}: nothing was sent:", [*problems[:MAX_NAMED], *more])


def address(params: EndpointParams, terms: str = OPEN) -> list[str]:
    """Problems of sending cases to where an endpoint is.

    Args:
        params: The endpoint.
        terms: Terms of use of the data, as findings.ingest.terms.
    """
    if is_loopback(params.base_url):
        return []
    if terms != OPEN:
        return [f"base_url {params.base_url} is another machine, and data under {terms} terms are sent to none"]
    if not params.data_may_leave:
        return [f"base_url {params.base_url} is another machine: {LET_LEAVE}"]
    return []


def credentials(params: EndpointParams) -> list[str]:
    """Problem of the key's variable, if it is not set. The key is not shown."""
    try:
        token.key(params.key_variable)
    except EndpointError as error:
        return [str(error)]
    return []


def requests(params: EndpointParams, asked: Iterable[Request]) -> list[str]:
    """Problems of requests: more images than the server takes, another model than the endpoint's."""
    problems = []
    for request in asked:
        images = sum(isinstance(part, Picture) for message in request.messages for part in message.parts)
        if images > params.takes_images:
            problems.append(f"{request.item}: {images} images, more than takes_images {params.takes_images}")
        if request.model != params.model:
            problems.append(f"{request.item}: found model {request.model!r}, wanted {params.model!r}")
    return problems


def study(arms: Mapping[str, Row], judges: Mapping[str, Row], terms: str = OPEN) -> list[str]:
    """Problems of the arms and judges of a study, as their parameters alone show them.

    Args:
        arms: Rows of findings.arms.
        judges: Rows of findings.judges.
        terms: Terms of use of the data, as findings.ingest.terms.
    """
    problems = []
    for section, rows in (("findings.arms", arms), ("findings.judges", judges)):
        for name, row in rows.items():
            if isinstance(row.params, EndpointParams):
                problems += [f"{section}.{name}: {problem}" for problem in address(row.params, terms)]
    for name, judge in judges.items():
        same = [arm for arm, row in arms.items() if _system(judge) is not None and _system(row) == _system(judge)]
        if same:
            problems.append(
                f"findings.judges.{name}: is the model of the arm(s) {', '.join(same)}, wanted a judge that is none of "
                "those it judges"
            )
    return problems


def _system(row: Row) -> tuple[Any, ...] | None:
    """What a row's answers come from; None without a model."""
    model = getattr(row.params, "model", None)
    return None if model is None else (model, getattr(row.params, "adapter", NONE))


def old_prices(table: Mapping[str, prices.Price], used: Iterable[str], today: datetime.date) -> list[str]:
    """Warnings of prices that are missing, or were read more than a year ago.

    Args:
        table: The price table.
        used: Entries that endpoints name.
        today: The day.
    """
    warnings = []
    for name in sorted(set(used) - {NONE}):
        price = table.get(name)
        if price is None:
            warnings.append(f"price {name}: not in the price table, so its cost is not known")
        elif prices.age_days(price, today) > prices.OLD_DAYS:
            warnings.append(
                f"price {name}: read on {price.date}, more than a year ago; read it again at {price.source}"
            )
    return warnings
