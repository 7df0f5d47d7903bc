"""Requests and responders of tests of conversations."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from stages.lib.models.chat.endpoint import Endpoint
from stages.lib.models.chat.endpoint_params import EndpointParams
from stages.lib.models.chat.request import Message, Picture, Reply, Request, Sampling, Text, Usage


def request(item: str = "case1", text: str = "Describe.", pictures: Sequence[Picture] = (), **changes: Any) -> Request:
    """A request about an item; `changes` are of its fields, or of its sampling."""
    sampling = {"temperature": 0.0, "top_p": 1.0, "max_tokens": 20, "seed": None}
    sampling |= {name: changes.pop(name) for name in sampling if name in changes}
    message = Message("user", (Text(text), *pictures))
    given: dict[str, Any] = {"model": "tiny", "revision": "none", "prompt_version": "short 1", **changes}
    return Request(item=item, messages=(message,), sampling=Sampling(**sampling), **given)


@dataclass
class Speaker:
    """A responder in this process that says of each request what a function says."""

    says: Callable[[Request], Reply] = lambda one: Reply("ok", f"about {one.item}", "stop", usage=Usage(10, 0, 4))
    name: str = "tiny"
    revision: str = "none"
    asked: list[str] = field(default_factory=list)

    def replies(self, requests: Sequence[Request]) -> Iterator[tuple[int, Reply]]:
        for number, one in enumerate(requests):
            self.asked.append(one.item)
            yield number, self.says(one)


ENDPOINT: dict[str, Any] = {
    "base_url": "http://127.0.0.1:1/v1",
    "model": "tiny",
    "revision": "none",
    "key_variable": "none",
    "token_command": "none",
    "data_may_leave": False,
    "concurrency": 4,
    "timeout_s": 5.0,
    "max_tries": 4,
    "first_wait_s": 0.02,
    "max_wait_s": 1.5,
    "total_timeout_s": 60.0,
    "stop_after": 3,
    "takes_seed": True,
    "takes_images": 4,
    "max_image_tokens": 256,
    "price": "none",
    "dollars_per_gpu_hour": 0.0,
}  # a row of an endpoint, but for what an arm or judge has beside it


def endpoint(base_url: str, **changes: Any) -> Endpoint:
    """An endpoint at an address."""
    return Endpoint(EndpointParams(**{**ENDPOINT, "base_url": base_url, **changes}))
