"""Requests to a model and its replies, whatever stands behind: a server, a model in this process, or a fixed text."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from stages.lib.core import files

Role = Literal["system", "user", "assistant"]
# ok: a whole answer, or one that ended at the limit of tokens (finish_reason length); error: none
ReplyStatus = Literal["ok", "timeout", "error"]


@dataclass(frozen=True)
class Text:
    """Text of a message."""

    text: str


@dataclass(frozen=True)
class Picture:
    """Image of a message; its bytes are read when it is sent.

    Attributes:
        path: The file.
        sha256: Of the bytes that are sent.
        pixels: What is done to the file before: see `pictures.Pixels`, or "file" for its own bytes.
    """

    path: Path
    sha256: str
    pixels: str = "file"


@dataclass(frozen=True)
class Message:
    """One turn of a conversation."""

    role: Role
    parts: tuple[Text | Picture, ...]


@dataclass(frozen=True)
class Sampling:
    """How text is drawn.

    Attributes:
        temperature: 0 for greedy decoding.
        top_p: Mass of the most probable tokens that are drawn from.
        max_tokens: Tokens after which an answer ends.
        seed: Of the draws; None if the server takes none. With several samples it is derived from the sample's number.
    """

    temperature: float
    top_p: float
    max_tokens: int
    seed: int | None


@dataclass(frozen=True)
class Request:
    """A question to a model.

    Attributes:
        item: What it is about, for messages and progress; no part of the key.
        model: Name of the model, as the server knows it.
        revision: Commit or hash of the weights and adapter, where we know them; else "none".
        messages: The conversation.
        sampling: How text is drawn.
        sample: Number of the answer to the same question, from 0.
        prompt_version: Name and version of the prompt.
        schema: JSON Schema that the answer must obey, as asked of the server; None for free text.
        form: How it is asked for: by schema, as any JSON object, or in words alone.
    """

    item: str
    model: str
    revision: str
    messages: tuple[Message, ...]
    sampling: Sampling
    sample: int = 0
    prompt_version: str = "none"
    schema: Mapping[str, Any] | None = None
    form: Literal["json_schema", "json_object", "text"] = "text"

    @property
    def content(self) -> list[Any]:
        """Messages as JSON, each image as its hash."""
        return [
            [message.role, [part.text if isinstance(part, Text) else {"image": part.sha256} for part in message.parts]]
            for message in self.messages
        ]

    @property
    def prompt_sha256(self) -> str:
        """Hash of the messages."""
        return files.sha256_json(self.content)

    @property
    def fields(self) -> dict[str, Any]:
        """What decides an answer, by name; the address of the server is no part of it."""
        return {
            "model": self.model,
            "revision": self.revision,
            "messages": self.prompt_sha256,
            "temperature": self.sampling.temperature,
            "top_p": self.sampling.top_p,
            "max_tokens": self.sampling.max_tokens,
            "seed": self.sampling.seed,
            "sample": self.sample,
            "prompt_version": self.prompt_version,
            "form": self.form,
            "schema": None if self.schema is None else files.sha256_json(self.schema),
        }

    @property
    def key(self) -> str:
        """SHA-256 over all that decides an answer."""
        return files.sha256_json(self.fields)


@dataclass(frozen=True)
class Usage:
    """Tokens as the server counted them; None where it did not."""

    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    completion_tokens: int | None = None
    reasoning_tokens: int | None = None


@dataclass(frozen=True)
class Failure:
    """A try that gave no answer and was followed by another.

    Attributes:
        problem: What went wrong.
        seconds: How long it took.
        waited: Seconds before the next.
    """

    problem: str
    seconds: float
    waited: float


@dataclass(frozen=True)
class Reply:
    """What a model said, or why it did not.

    Attributes:
        status: Whether there is an answer.
        text: The answer, verbatim; None without one.
        finish_reason: Why it ended, as the server said: stop, length, content_filter, ...
        problem: What went wrong; None if nothing.
        model: The model as the server named it.
        fingerprint: Of the system that answered.
        usage: Tokens.
        attempts: Tries, the last one included.
        seconds: Of the last try.
        total_seconds: Of all tries and the waits between them.
        failures: The tries before the last one.
        kept: Whether it was in the ledger already.
    """

    status: ReplyStatus
    text: str | None = None
    finish_reason: str | None = None
    problem: str | None = None
    model: str | None = None
    fingerprint: str | None = None
    usage: Usage = Usage()
    attempts: int = 1
    seconds: float = 0.0
    total_seconds: float = 0.0
    failures: tuple[Failure, ...] = ()
    kept: bool = False


class Responder(Protocol):
    """A model that can be asked: an endpoint, a model in this process, a fixed text.

    `name` and `revision` are those of the requests that it is sent. `replies` yields (number of the request, reply) in
    the order in which they are ready; what is not yielded when it is closed was not asked, or its answer is lost.
    """

    @property
    def name(self) -> str:
        """Model, as requests name it."""
        ...

    @property
    def revision(self) -> str:
        """Commit or hash of the weights and adapter; none where they are not known."""
        ...

    def replies(self, requests: Sequence[Request]) -> Iterator[tuple[int, Reply]]:
        """Number and reply of each request."""
        ...
