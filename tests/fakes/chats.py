"""Requests and responders of tests of conversations."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

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
