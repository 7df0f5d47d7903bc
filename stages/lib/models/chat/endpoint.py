"""An endpoint as a responder: the one place that opens a connection to a model.

A request is tried at most `max_tries` times, here alone: the SDK's own retries are off. `tries` says which are
followed by another, and when.

Nothing ends a try that is under way but its own time limit: at a spent budget or after too many refusals no new one
begins, and those under way are handed on.
"""

import asyncio
import contextlib
import json
import queue
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from stages.lib.core.errors import EndpointError, ImageError, NoduleflowError, RequestsError
from stages.lib.models.chat import checks, tries, wire
from stages.lib.models.chat.budget import Budget
from stages.lib.models.chat.endpoint_params import EndpointParams, is_loopback
from stages.lib.models.chat.prices import Tariff
from stages.lib.models.chat.request import Failure, Reply, ReplyStatus, Request
from stages.lib.models.chat.token import Token
from stages.lib.models.chat.tries import PassingError, RefusedError

UNAUTHORIZED = 401
LOOK_AGAIN_SECONDS = 0.5
Done: TypeAlias = "queue.SimpleQueue[tuple[int, Reply, asyncio.Event] | BaseException | None]"  # what came of requests


@dataclass
class Endpoint:
    """A server that answers chat completions.

    Attributes:
        params: Where it is and how it is asked.
    """

    params: EndpointParams

    @property
    def name(self) -> str:
        """The model, as the server knows it."""
        return self.params.model

    @property
    def revision(self) -> str:
        """What is known of the weights behind it."""
        return self.params.revision

    @property
    def address(self) -> str:
        """Where it is."""
        return self.params.base_url

    def replies(self, requests: Sequence[Request]) -> Iterator[tuple[int, Reply]]:
        """Number and reply of each request, without a budget."""
        return self.metered(requests, Budget(0.0, 0))

    def metered(self, requests: Sequence[Request], budget: Budget) -> Iterator[tuple[int, Reply]]:
        """Number and reply of each request, as they are answered.

        A reply's place is given to the next request once the caller asks for more, which is when it has kept the reply:
        a killed process has lost no more answers than there are requests under way at once.

        Closed early, it lets go of what is under way.

        Raises:
            BudgetError: If the next try could pass the budget; after those under way have been yielded.
            EndpointError: If the key cannot be had, or the server refuses too often.
            RequestsError: If the endpoint may not be sent these requests, or there is a budget in dollars and no price.
        """
        checks.refuse(self.params.base_url, [*checks.address(self.params), *checks.requests(self.params, requests)])
        price = budget.prices.get(self.params.price)
        tariff = Tariff(price, self.params.dollars_per_gpu_hour, self.params.max_image_tokens, self.params.timeout_s)
        if budget.max_dollars and not tariff.known:
            raise RequestsError(
                f"{self.params.base_url}:",
                [f"found a budget in dollars and no price {self.params.price!r}, wanted one in findings.client.prices"],
            )
        done: Done = queue.SimpleQueue()
        run = _Run(self.params, requests, budget, tariff, done)
        thread = threading.Thread(target=run.start, name="endpoint", daemon=True)
        thread.start()
        try:
            while (found := done.get()) is not None:
                if isinstance(found, BaseException):
                    raise found
                number, reply, kept = found
                yield number, reply
                run.go_on(kept)
        finally:
            run.abandon()
            thread.join()


@dataclass
class _Run:
    """Requests that are sent by one event loop, in a thread of its own."""

    params: EndpointParams
    requests: Sequence[Request]
    budget: Budget
    tariff: Tariff
    done: Done
    stopped: NoduleflowError | None = None
    refused: int = 0
    failed_in_a_row: int = 0
    under_way: int = 0
    loop: asyncio.AbstractEventLoop | None = None
    tasks: list["asyncio.Task[None]"] = field(default_factory=list)
    abandoned: bool = False

    def start(self) -> None:
        """Send all; the queue ends with None, or with an error."""
        try:
            asyncio.run(self._all())
            self.done.put(self.stopped)
        except asyncio.CancelledError:
            self.done.put(None)
        except BaseException as error:
            self.done.put(error)

    def go_on(self, kept: asyncio.Event) -> None:
        """Let the worker whose reply was kept send its next request; from another thread."""
        if self.loop is not None:
            with contextlib.suppress(RuntimeError):  # closed in the meantime
                self.loop.call_soon_threadsafe(kept.set)

    def abandon(self) -> None:
        """End at once, if it has not ended; from another thread."""
        self.abandoned = True
        if self.loop is not None and not self.loop.is_closed():
            try:
                self.loop.call_soon_threadsafe(lambda: [task.cancel() for task in self.tasks])
            except RuntimeError:  # closed in the meantime
                return

    async def _all(self) -> None:
        import openai

        self.loop = asyncio.get_running_loop()
        self.settled, self.stopping = asyncio.Event(), asyncio.Event()
        self.token = Token(self.params)
        async with openai.AsyncOpenAI(
            base_url=self.params.base_url,
            api_key=await self.token.get(),
            admin_api_key="",  # of the environment, as the next two: not for this server
            organization="",
            project="",
            max_retries=0,
            timeout=self.params.timeout_s,
            # no proxy of the environment stands between this machine and itself
            http_client=openai.DefaultAsyncHttpxClient(
                follow_redirects=False, trust_env=not is_loopback(self.params.base_url)
            ),
        ) as client:
            client.organization = client.project = None
            pending = iter(enumerate(self.requests))
            workers = min(self.params.concurrency, len(self.requests))
            self.tasks = [asyncio.create_task(self._work(client, pending)) for _ in range(workers)]
            if not self.abandoned:
                await asyncio.gather(*self.tasks)

    async def _work(self, client: Any, pending: Iterator[tuple[int, Request]]) -> None:
        """Send one request after the other until there is none, or nothing more is to be asked."""
        while self.stopped is None and (following := next(pending, None)) is not None:
            number, request = following
            try:
                reply = await self._reply(client, request)
            except NoduleflowError as error:  # the budget, or the key
                self._stop(error)
                return
            kept = asyncio.Event()
            self.done.put((number, reply, kept))
            await kept.wait()

    def _stop(self, error: NoduleflowError) -> None:
        self.stopped = self.stopped or error
        self.settled.set()
        self.stopping.set()

    async def _sleep(self, seconds: float) -> None:
        """Wait, but no longer than there is something to wait for."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.stopping.wait(), seconds)

    async def _reply(self, client: Any, request: Request) -> Reply:
        """What comes of a request, after all its tries."""
        import tenacity

        failures: list[Failure] = []
        began = last = time.monotonic()
        renewed = False

        def wait(state: tenacity.RetryCallState) -> float:
            error = state.outcome.exception() if state.outcome else None
            return tries.wait(self.params, state.attempt_number, error) if isinstance(error, PassingError) else 0.0

        def note(state: tenacity.RetryCallState) -> None:
            problem = str(state.outcome.exception()) if state.outcome else ""
            seconds = time.monotonic() - last
            failures.append(Failure(problem, round(seconds, 6), round(state.upcoming_sleep, 6)))

        trying = tenacity.AsyncRetrying(
            stop=tenacity.stop_after_attempt(self.params.max_tries)
            | tenacity.stop_after_delay(self.params.total_timeout_s),
            wait=wait,
            retry=tenacity.retry_if_exception(self._may_pass),
            before_sleep=note,
            sleep=self._sleep,
            reraise=True,
        )
        try:
            body = wire.body(request, takes_seed=self.params.takes_seed)
        except ImageError as error:
            return Reply("error", problem=str(error), attempts=0)
        attempts = 0
        try:
            async for attempt in trying:
                with attempt:
                    attempts += 1
                    if self.token.renewable:
                        client.api_key = await self.token.get()
                    await self._admitted(request)
                    last, used = time.monotonic(), client.api_key
                    try:
                        answer = await self._try(client, body, request)
                    except RefusedError as error:
                        if error.status != UNAUTHORIZED or not self.token.renewable or renewed:
                            raise
                        renewed = True
                        client.api_key = await self.token.get(refused=used)
                        raise PassingError(str(error), at_once=True) from error
        except (PassingError, RefusedError) as error:
            return self._failed(error, attempts, failures, began, last)
        now = time.monotonic()
        self.failed_in_a_row = 0
        return Reply(
            "ok",
            answer.text,
            answer.finish_reason,
            None,
            answer.model,
            answer.fingerprint,
            answer.usage,
            attempts,
            now - last,
            now - began,
            tuple(failures),
        )

    def _may_pass(self, error: BaseException) -> bool:
        """Whether to try again after an error."""
        return (
            isinstance(error, PassingError) and (error.wait_s or 0.0) <= self.params.max_wait_s and self.stopped is None
        )

    def _failed(
        self, error: PassingError | RefusedError, attempts: int, failures: list[Failure], began: float, last: float
    ) -> Reply:
        """The reply to a request that is given up; too many of them end the run."""
        problem = str(error)
        if isinstance(error, PassingError):
            self.failed_in_a_row += 1
            if error.wait_s is not None and error.wait_s > self.params.max_wait_s:
                problem += f"; it asks to wait {error.wait_s:g} s, more than max_wait_s {self.params.max_wait_s:g}"
        else:
            self.refused += 1
        where = f"{self.params.base_url}, {self.params.model}"
        if self.refused >= self.params.stop_after:
            self._stop(
                EndpointError(
                    f"{where}: refused {self.refused} request(s), the last with: {problem}; stopped after stop_after "
                    f"{self.params.stop_after}. What was answered is in the ledger; mend that, and run again"
                )
            )
        elif self.failed_in_a_row >= self.params.stop_after:
            self._stop(
                EndpointError(
                    f"{where}: no answer to {self.failed_in_a_row} request(s) in a row, after all tries; the last: "
                    f"{problem}; stopped after stop_after {self.params.stop_after}. What was answered is in the "
                    "ledger; run again when the server is back"
                )
            )
        status: ReplyStatus = "timeout" if isinstance(error, PassingError) and error.timed_out else "error"
        now = time.monotonic()
        return Reply(
            status,
            problem=problem,
            attempts=attempts,
            seconds=now - last,
            total_seconds=now - began,
            failures=tuple(failures),
        )

    async def _admitted(self, request: Request) -> None:
        """Wait until a try fits into the budget.

        Raises:
            BudgetError: If it does not, and no try is under way whose cost may turn out lower.
            EndpointError: If nothing more is to be asked.
        """
        while self.stopped is None:
            if self.budget.reserve(self.tariff.most(request)):
                self.under_way += 1
                return
            if self.under_way == 0 and not self.budget.may_grow():
                raise self.budget.error(self.tariff, request)
            self.settled.clear()
            with contextlib.suppress(TimeoutError):  # what another process gives back tells nobody
                await asyncio.wait_for(self.settled.wait(), LOOK_AGAIN_SECONDS)
        raise self.stopped

    async def _try(self, client: Any, body: dict[str, Any], request: Request) -> wire.Answer:
        """One request to the server.

        Raises:
            PassingError: If it gave no answer, and may yet.
            RefusedError: If it will not.
        """
        import openai

        most, began = self.tariff.most(request), time.monotonic()
        spent = most  # what a try costs that is cut off, nobody tells
        try:
            async with asyncio.timeout(self.params.timeout_s):
                # As extra_body the SDK sends it as it is; over messages it walks part by part, a fifth of its time.
                said = await client.chat.completions.create(model=request.model, messages=[], extra_body=body)
            answer = wire.answer(said)
            told = self.tariff.spent(answer.usage, time.monotonic() - began)
            spent = most if told is None else told
            return answer
        except (TimeoutError, openai.APITimeoutError) as error:
            raise PassingError(f"no answer in {self.params.timeout_s:g} s", timed_out=True) from error
        except openai.APIStatusError as error:
            spent = 0.0
            said = error.message.removeprefix(f"Error code: {error.status_code} - ")
            problem = wire.one_line(f"{error.status_code}: {said}", client.api_key)
            if tries.may_pass(error.status_code):
                raise PassingError(problem, wait_s=tries.asked_wait(error.response.headers)) from error
            raise RefusedError(problem, error.status_code) from error
        except openai.APIConnectionError as error:
            cause = error.__cause__ or error
            if "connect" in type(cause).__name__.lower():
                spent = 0.0
            raise PassingError(wire.one_line(f"{type(cause).__name__}: {cause}", client.api_key)) from error
        except json.JSONDecodeError as error:
            raise PassingError(f"200, but JSON that breaks off or is none ({error.msg})") from error
        except (wire.MalformedError, openai.OpenAIError) as error:
            raise PassingError(wire.one_line(f"200, but {error}", client.api_key)) from error
        finally:
            self.budget.settle(most, spent)
            self.under_way -= 1
            self.settled.set()
