"""A server of chat completions on loopback that plays a script per model, and records what it was sent.

Each conversation plays its model's script from the start: its first try gets the first step, its second the next, and
the last step repeats. A step is a text or a function of the request that gives one, or one of the faults below.
"""

import asyncio
import json
import queue
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from aiohttp import web

Body = dict[str, Any]


@dataclass(frozen=True)
class Said:
    """An answer."""

    text: str | None
    finish_reason: str = "stop"
    usage: Mapping[str, Any] | None = field(default_factory=lambda: {"prompt_tokens": 100, "completion_tokens": 20})
    fingerprint: str | None = "stub 1"


@dataclass(frozen=True)
class Status:
    """An error."""

    status: int
    message: str = "no"
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Raw:
    """A response with status 200 that is none."""

    text: str
    content_type: str = "application/json"


@dataclass(frozen=True)
class Hang:
    """No response for some seconds."""

    seconds: float = 60.0


@dataclass(frozen=True)
class Close:
    """A connection that breaks off: before a byte is sent, or in the middle of the response."""

    midway: bool = False


HTML = Raw("<html><body>503 try later</body></html>", "text/html")
CUT_JSON = Raw('{"id": "1", "object": "chat.completion", "choices": [{"index": 0, "mess')
NO_CHOICES = Raw('{"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": []}')
NULL_CONTENT = Said(None, "length")
WRONG_SCHEMA = Said('{"grade": "quite good"}')
FENCED = Said('Here it is:\n```json\n{"rating": "good"}\n```\n')

Answer = Said | Status | Raw | Hang | Close | str
Step = Answer | Callable[[Body], Answer]


@dataclass
class Asked:
    """A request that came in."""

    model: str
    body: Body
    headers: Mapping[str, str]
    at: float


class Stub:
    """The server; a context that starts and ends it.

    Attributes:
        url: Its address, up to /v1.
        asked: What it was sent, in order.
        wait: Seconds before each response.
        most_at_once: Requests that were under way at the same time, at most.
    """

    def __init__(self, scripts: Mapping[str, list[Step]] | None = None, *, wait: float = 0.0, port: int = 0) -> None:
        self.scripts: dict[str, list[Step]] = dict(scripts or {})
        self.wait, self.port = wait, port
        self.url = ""
        self.asked: list[Asked] = []
        self.under_way = self.most_at_once = 0
        self._played: dict[str, int] = {}
        self._stop: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def __enter__(self) -> "Stub":
        ready: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(ready)), daemon=True)
        self._thread.start()
        self.url = ready.get(timeout=20)
        return self

    def __exit__(self, *_: object) -> None:
        if self._loop is not None and self._stop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(timeout=20)

    def forget(self) -> None:
        """Begin every script anew, as if nothing had been asked."""
        self.asked.clear()
        self._played.clear()
        self.most_at_once = 0

    def count(self, model: str) -> int:
        """How often a model was asked."""
        return sum(one.model == model for one in self.asked)

    async def _serve(self, ready: "queue.SimpleQueue[str]") -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        application = web.Application(client_max_size=1 << 28)
        application.router.add_post("/v1/chat/completions", self._chat)
        application.router.add_get("/v1/models", self._models)
        application.router.add_get("/health", self._health)
        runner = web.AppRunner(application, shutdown_timeout=0.1, access_log=None, handler_cancellation=True)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", self.port)
        await site.start()
        ready.put(f"http://127.0.0.1:{runner.addresses[0][1]}/v1")
        await self._stop.wait()
        await runner.cleanup()

    async def _health(self, request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def _models(self, request: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [{"id": name, "object": "model"} for name in self.scripts]})

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        model = body.get("model", "")
        self.asked.append(Asked(model, body, dict(request.headers), time.monotonic()))
        self.under_way += 1
        self.most_at_once = max(self.most_at_once, self.under_way)
        try:
            await asyncio.sleep(self.wait)
            if model not in self.scripts:
                return web.json_response({"error": {"message": f"The model {model!r} does not exist"}}, status=404)
            return await self._play(request, body, self._next(body))
        finally:
            self.under_way -= 1

    def _next(self, body: Body) -> Step:
        steps = self.scripts[body["model"]]
        conversation = sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
        number = self._played.get(conversation, 0)
        self._played[conversation] = number + 1
        return steps[min(number, len(steps) - 1)]

    async def _play(self, request: web.Request, body: Body, step: Step) -> web.StreamResponse:
        if callable(step):
            step = step(body)
        if isinstance(step, str):
            step = Said(step)
        if isinstance(step, Hang):
            await asyncio.sleep(step.seconds)
            step = Said("late")
        if isinstance(step, Status):
            document = {"error": {"message": step.message, "type": "stub"}}
            return web.json_response(document, status=step.status, headers=dict(step.headers))
        if isinstance(step, Raw):
            return web.Response(text=step.text, content_type=step.content_type)
        if isinstance(step, Close):
            return await self._close(request, step)
        return web.json_response(_completion(body["model"], step))

    async def _close(self, request: web.Request, step: Close) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": "1000"})
        if step.midway:
            await response.prepare(request)
            await response.write(b'{"id": "1", "choices"')
        assert request.transport is not None
        request.transport.abort() if not step.midway else request.transport.close()
        return response


def _completion(model: str, said: Said) -> dict[str, Any]:
    choice = {
        "index": 0,
        "finish_reason": said.finish_reason,
        "message": {"role": "assistant", "content": said.text},
    }
    document = {"id": "stub", "object": "chat.completion", "created": 1, "model": model, "choices": [choice]}
    if said.usage is not None:
        document["usage"] = {"total_tokens": sum(v for v in said.usage.values() if isinstance(v, int)), **said.usage}
    if said.fingerprint is not None:
        document["system_fingerprint"] = said.fingerprint
    return document


def texts(body: Body) -> str:
    """All text of a request."""
    found = []
    for message in body["messages"]:
        content = message["content"]
        parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
        found += [part["text"] for part in parts if part["type"] == "text"]
    return "\n".join(found)


def images(body: Body) -> list[str]:
    """The URL of each image of a request."""
    contents = [message["content"] for message in body["messages"] if not isinstance(message["content"], str)]
    return [part["image_url"]["url"] for parts in contents for part in parts if part["type"] == "image_url"]
