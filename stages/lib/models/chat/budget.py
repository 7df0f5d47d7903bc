"""Budget of a run, in dollars and in requests: what a try could cost is set aside before it is sent."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from stages.lib.core.errors import BudgetError
from stages.lib.models.chat import prices
from stages.lib.models.chat.client_params import ClientParams
from stages.lib.models.chat.prices import Price, Tariff
from stages.lib.models.chat.request import Request


@dataclass
class Budget:
    """What is spent and set aside.

    Attributes:
        max_dollars: Limit; 0.0 for none.
        max_requests: Limit of tries; 0 for none.
        prices: The price table.
        dollars: Spent so far. A try whose cost the server does not tell counts with what it could cost at most.
        reserved: Set aside for tries under way.
        requests: Tries so far, those under way included.
    """

    max_dollars: float
    max_requests: int
    prices: Mapping[str, Price] = field(default_factory=dict)
    dollars: float = 0.0
    reserved: float = 0.0
    requests: int = 0

    @classmethod
    def of(cls, client: ClientParams) -> "Budget":
        """That of a run that has spent nothing.

        Raises:
            PricesError: If dollars are limited, and there is no price table.
        """
        return cls(client.max_dollars, client.max_requests, prices.read(client.prices) if client.max_dollars else {})

    def reserve(self, most: float) -> bool:
        """Set aside what a try could cost; False, and nothing set aside, if a limit could be passed."""
        if self.max_requests and self.requests >= self.max_requests:
            return False
        if self.max_dollars and self.dollars + self.reserved + most > self.max_dollars:
            return False
        self.requests += 1
        self.reserved += most
        return True

    def settle(self, most: float, spent: float) -> None:
        """Replace what was set aside for a try by what it cost."""
        self.reserved -= most
        self.dollars += spent

    def error(self, tariff: Tariff | None, request: Request) -> BudgetError:
        """What is said when a request does not fit any more."""
        if self.max_requests and self.requests >= self.max_requests:
            said = f"{self.requests} of findings.client.max_requests {self.max_requests} are sent"
        else:
            most = tariff.most(request) if tariff else 0.0
            said = (
                f"${self.dollars:.4f} of findings.client.max_dollars ${self.max_dollars:.4f} are spent, and the next "
                f"request ({request.item}) could cost ${most:.4f}"
            )
        return BudgetError(f"budget: {said}; what was answered is in the ledger: the same command, run again, goes on")
