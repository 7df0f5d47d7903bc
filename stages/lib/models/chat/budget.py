"""Budget of a run, in dollars and in requests: what a try could cost is set aside before it is sent.

A run has many jobs: arms, judges, shards. Where the environment names the run, they share its budget through a file
beside the ledgers, in which each process keeps its own account; without a name each process has the whole budget. What
a killed process had set aside stays set aside in its run, as its requests may have been answered.
"""

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from stages.lib.core import files
from stages.lib.core.errors import BudgetError, ParamsError
from stages.lib.models.chat import ledger, prices
from stages.lib.models.chat.client_params import ClientParams
from stages.lib.models.chat.prices import Price, Tariff
from stages.lib.models.chat.request import Request

VARIABLE = "NODULEFLOW_FINDINGS_RUN"
Accounts = dict[str, dict[str, float]]  # of each process: dollars, reserved, requests


@dataclass
class Budget:
    """What is spent and set aside.

    Attributes:
        max_dollars: Limit; 0.0 for none.
        max_requests: Limit of tries; 0 for none.
        prices: The price table.
        accounts: File of the run's accounts; None if it has none.
        dollars: Spent so far by this process. A try whose cost the server does not tell counts with what it could cost
            at most.
        reserved: Set aside for tries of this process that are under way.
        requests: Tries of this process so far, those under way included.
    """

    max_dollars: float
    max_requests: int
    prices: Mapping[str, Price] = field(default_factory=dict)
    accounts: Path | None = None
    dollars: float = 0.0
    reserved: float = 0.0
    requests: int = 0

    @classmethod
    def of(cls, client: ClientParams) -> "Budget":
        """That of a run, as the environment names it; of one without a name that has spent nothing.

        Raises:
            ParamsError: If the name cannot be that of a file.
            PricesError: If dollars are limited, and there is no price table.
        """
        table = prices.read(client.prices) if client.max_dollars else {}
        name = os.environ.get(VARIABLE, "")
        limited = client.max_dollars or client.max_requests
        if name and limited and not name.replace("-", "").replace("_", "").isalnum():
            raise ParamsError(f"{VARIABLE}:", [f"found {name!r}, wanted letters, digits, - and _"])
        accounts = ledger.root() / "runs" / f"{name}.json" if name and limited else None
        return cls(client.max_dollars, client.max_requests, table, accounts)

    def reserve(self, most: float) -> bool:
        """Set aside what a try could cost; False, and nothing set aside, if a limit could be passed."""
        with self._shared() as others:
            dollars, requests = _totals(others)
            if self.max_requests and self.requests + requests >= self.max_requests:
                return False
            if self.max_dollars and self.dollars + self.reserved + dollars + most > self.max_dollars:
                return False
            self.requests += 1
            self.reserved += most
            return True

    def settle(self, most: float, spent: float) -> None:
        """Replace what was set aside for a try by what it cost."""
        with self._shared():
            self.reserved -= most
            self.dollars += spent

    def may_grow(self) -> bool:
        """Whether another process of the run may give back some of what it has set aside."""
        with self._shared() as others:
            _, requests = _totals(others)
            if self.max_requests and self.requests + requests >= self.max_requests:
                return False
            return any(account["reserved"] > 0 and _lives(name) for name, account in others.items())

    def error(self, tariff: Tariff | None, request: Request) -> BudgetError:
        """What is said when a request does not fit any more."""
        with self._shared() as others:
            dollars, requests = _totals(others)
        if self.max_requests and self.requests + requests >= self.max_requests:
            said = f"{self.requests + requests} of findings.client.max_requests {self.max_requests} are sent"
        else:
            most = tariff.most(request) if tariff else 0.0
            said = (
                f"${self.dollars + self.reserved + dollars:.4f} of findings.client.max_dollars ${self.max_dollars:.4f} "
                f"are spent, and the next request ({request.item}) could cost ${most:.4f}"
            )
        return BudgetError(f"budget: {said}; what was answered is in the ledger: the same command, run again, goes on")

    @contextmanager
    def _shared(self) -> Iterator[Accounts]:
        """Accounts of the run's other processes; that of this one is written behind it."""
        if self.accounts is None:
            yield {}
            return
        self.accounts.parent.mkdir(parents=True, exist_ok=True)
        with self.accounts.open("a+b") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            handle.seek(0)
            content = handle.read()
            accounts: Accounts = json.loads(content) if content else {}
            own = _process()
            yield {name: account for name, account in accounts.items() if name != own}
            accounts[own] = {"dollars": self.dollars, "reserved": self.reserved, "requests": self.requests}
            changed = json.dumps(accounts).encode()
            if changed != content:
                handle.seek(0)
                handle.truncate()
                handle.write(changed)
                handle.flush()


def _process() -> str:
    return f"{files.HOST} {os.getpid()}"


def _lives(process: str) -> bool:
    """Whether a process of this machine is there; one of another machine cannot be told, and is not waited for."""
    host, pid = process.split()
    return host == files.HOST and psutil.pid_exists(int(pid))


def _totals(accounts: Accounts) -> tuple[float, int]:
    """Dollars spent and set aside, and tries."""
    dollars = sum(account["dollars"] + account["reserved"] for account in accounts.values())
    return dollars, sum(int(account["requests"]) for account in accounts.values())
