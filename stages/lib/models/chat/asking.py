"""Asking: from the ledger what is there, from the model what is not, and each answer kept before it is handed on."""

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from typing import Protocol, runtime_checkable

from stages.lib.core.errors import ReplayError
from stages.lib.core.log import LOG
from stages.lib.core.progress import track
from stages.lib.models.chat.budget import Budget
from stages.lib.models.chat.client_params import ClientParams
from stages.lib.models.chat.ledger import Ledger
from stages.lib.models.chat.request import Reply, Request, Responder

MAX_NAMED = 10  # misses that a message lists


@runtime_checkable
class Metered(Protocol):
    """A responder whose tries are counted against a budget."""

    @property
    def address(self) -> str:
        """Where it is asked."""
        ...

    def metered(self, requests: Sequence[Request], budget: Budget) -> Iterator[tuple[int, Reply]]:
        """As `Responder.replies`; raises BudgetError when the next try does not fit, after those under way."""
        ...


def ask(
    requests: Sequence[Request],
    responder: Responder,
    ledger: Ledger,
    client: ClientParams,
    what: str,
    budget: Budget | None = None,
) -> Iterator[tuple[int, Reply]]:
    """Number and reply of each request: first those that are kept, in order, then the others as they are answered.

    Two requests of one key are one, and have one reply. A reply is in the ledger before it is yielded.

    Args:
        requests: What is asked.
        responder: Who is asked what the ledger does not know.
        ledger: Answers so far; open.
        client: Whether a model may be asked, and what may be spent.
        what: The verb shown, such as "answer tuned".
        budget: What is left, of a run that asks several times; by default, all that the client may spend.

    Raises:
        ReplayError: If answers are missing and no model may be asked; with the fields that changed.
        BudgetError: If the next request could pass a limit; after those under way have been yielded.
        EndpointError: If the endpoint refuses.
        OSError: If the ledger cannot be written.
    """
    kept, missing = _known(requests, ledger)
    if missing and client.network == "replay":
        raise _misses([requests[numbers[0]] for numbers in missing], ledger)
    if kept:
        LOG.info("%s: %d of %d are in the ledger", what, len(kept), len(requests))
    systems: set[tuple[str | None, str | None]] = set()
    for number, key in kept:
        reply = ledger.find(key)
        if reply is not None:
            systems.add((reply.model, reply.fingerprint))
            yield number, reply
    asked = [requests[numbers[0]] for numbers in missing]
    address = responder.address if isinstance(responder, Metered) else None
    with closing(_replies(asked, responder, budget or Budget.of(client))) as replies:
        for place, reply in track(replies, total=len(asked), what=what, unit="requests"):
            ledger.write(asked[place], reply, address)
            if reply.status == "ok":
                systems.add((reply.model, reply.fingerprint))
            for number in missing[place]:
                yield number, reply
    if len(systems) > 1:
        LOG.warning("%s: the answers are of %d systems: %s", what, len(systems), sorted(map(str, systems)))


def _known(requests: Sequence[Request], ledger: Ledger) -> tuple[list[tuple[int, str]], list[list[int]]]:
    """Number and key of each request that is kept, and the numbers of those that are not, those of one key together."""
    kept: list[tuple[int, str]] = []
    missing: dict[str, list[int]] = {}
    for number, request in enumerate(requests):
        key = request.key
        if key in ledger:
            kept.append((number, key))
        else:
            missing.setdefault(key, []).append(number)
    return kept, list(missing.values())


def _replies(
    asked: Sequence[Request], responder: Responder, budget: Budget
) -> Generator[tuple[int, Reply], None, None]:
    if not asked:
        return
    if isinstance(responder, Metered):
        yield from responder.metered(asked, budget)
        return
    most = max(budget.max_requests - budget.requests, 0) if budget.max_requests else len(asked)
    for number, reply in responder.replies(asked[:most]):
        budget.requests += 1
        yield number, reply
    if len(asked) > most:
        raise budget.error(None, asked[most])


def _misses(requests: Sequence[Request], ledger: Ledger) -> ReplayError:
    problems = []
    for number, changed in ledger.differences(requests[:MAX_NAMED]).items():
        reason = f"asked before with another {', '.join(changed)}" if changed else "never asked about before"
        problems.append(f"{requests[number].item}: {reason}")
    if len(requests) > MAX_NAMED:
        problems.append(f"and {len(requests) - MAX_NAMED} more")
    return ReplayError(
        f"{ledger.folder}: {len(requests)} answer(s) are not in the ledger, and findings.client.network is replay; set "
        "it to live, or the parameters back:",
        problems,
    )
