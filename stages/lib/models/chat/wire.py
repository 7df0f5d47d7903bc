"""A request as chat completions take it, and what a server says as an answer. Images are read when they are sent."""

import base64
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from stages.lib.core.errors import ImageError
from stages.lib.images import pictures
from stages.lib.models.chat.request import Message, Picture, Request, Usage

MAX_PROBLEM = 300  # characters of a message


class MalformedError(Exception):
    """What a server sent with status 200 is no answer."""


@dataclass(frozen=True)
class Answer:
    """An answer, as the server gave it."""

    text: str
    finish_reason: str | None
    model: str | None
    fingerprint: str | None
    usage: Usage


def body(request: Request, *, takes_seed: bool) -> dict[str, Any]:
    """Arguments of a chat completion.

    Raises:
        ImageError: If an image cannot be read, or is not the one that was hashed.
    """
    sampling = request.sampling
    found: dict[str, Any] = {
        "model": request.model,
        "messages": [_message(message) for message in request.messages],
        "temperature": sampling.temperature,
        "max_tokens": sampling.max_tokens,
    }
    if sampling.top_p < 1:
        found["top_p"] = sampling.top_p
    if takes_seed and sampling.seed is not None:
        found["seed"] = sampling.seed
    if request.form == "json_object":
        found["response_format"] = {"type": "json_object"}
    elif request.form == "json_schema":
        schema = {"name": "answer", "strict": True, "schema": dict(request.schema or {})}
        found["response_format"] = {"type": "json_schema", "json_schema": schema}
    return found


def _message(message: Message) -> dict[str, Any]:
    if len(message.parts) == 1 and not isinstance(message.parts[0], Picture):
        return {"role": message.role, "content": message.parts[0].text}
    parts: list[dict[str, Any]] = []
    for part in message.parts:
        if isinstance(part, Picture):
            parts.append({"type": "image_url", "image_url": {"url": data_url(part)}})
        else:
            parts.append({"type": "text", "text": part.text})
    return {"role": message.role, "content": parts}


def data_url(picture: Picture) -> str:
    """An image in the request itself; never a path, which a server might open on its own disk.

    Raises:
        ImageError: If it cannot be read, or is not the one that was hashed.
    """
    try:
        content, mime = pictures.sent(picture.path, picture.pixels)
    except OSError as error:
        raise ImageError(f"{picture.path}: {error.strerror}") from error
    if (found := sha256(content).hexdigest()) != picture.sha256:
        raise ImageError(
            f"{picture.path}: found bytes of SHA-256 {found[:12]}, wanted {picture.sha256[:12]}: it changed"
        )
    return f"data:{mime};base64,{base64.b64encode(content).decode()}"


def answer(said: Any) -> Answer:
    """The answer in what the SDK made of a response with status 200.

    Raises:
        MalformedError: If it is a page (then the SDK hands on a text), has no choices, or is of other types.
    """
    if isinstance(said, str):
        raise MalformedError(f"no JSON but {said.strip()[:60]!r}")
    choices = getattr(said, "choices", None)
    if not isinstance(choices, list) or not choices:
        problem = getattr(said, "error", None)
        raise MalformedError("an answer without choices" + (f": {problem}" if problem else ""))
    try:
        message, finish_reason = choices[0].message, choices[0].finish_reason
        content = message.content
        if content is None:  # of a model that thought up to the limit, or refused
            content = getattr(message, "refusal", None) or ""
            finish_reason = "refusal" if content else finish_reason
        if not isinstance(content, str):
            raise MalformedError(f"a content of type {type(content).__name__}")
    except AttributeError as error:
        raise MalformedError("a choice without a message") from error
    return Answer(
        text=content.encode("utf-8", "surrogatepass").decode("utf-8", "replace"),
        finish_reason=_text(finish_reason),
        model=_text(getattr(said, "model", None)),
        fingerprint=_text(getattr(said, "system_fingerprint", None)),
        usage=usage(getattr(said, "usage", None)),
    )


def usage(said: Any) -> Usage:
    """Tokens that a server counted; None for each that it did not."""
    return Usage(
        prompt_tokens=_count(said, "prompt_tokens"),
        cached_tokens=_count(getattr(said, "prompt_tokens_details", None), "cached_tokens"),
        completion_tokens=_count(said, "completion_tokens"),
        reasoning_tokens=_count(getattr(said, "completion_tokens_details", None), "reasoning_tokens"),
    )


def _count(said: Any, name: str) -> int | None:
    found = said.get(name) if isinstance(said, dict) else getattr(said, name, None)
    return found if isinstance(found, int) and not isinstance(found, bool) and found >= 0 else None


def _text(said: Any) -> str | None:
    return said if isinstance(said, str) and said else None


def one_line(said: str, secret: str) -> str:
    """A server's words as one short line, without the key if it repeats it."""
    return (
        " ".join(said.replace(secret, "***").split())[:MAX_PROBLEM] if secret else " ".join(said.split())[:MAX_PROBLEM]
    )
