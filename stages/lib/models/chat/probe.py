"""What an endpoint can do, asked at no cost where it can be: for `make doctor`.

A server on this machine is asked in earnest: as many images as it should take, and an answer that obeys a JSON Schema.
Of another only the list of models is asked for, and what the rest would cost is said.
"""

import json
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from stages.lib.core.errors import NoduleflowError
from stages.lib.images import pictures
from stages.lib.models.chat import checks, prices, token
from stages.lib.models.chat.endpoint import Endpoint
from stages.lib.models.chat.endpoint_params import NONE, EndpointParams, is_loopback
from stages.lib.models.chat.request import Message, Picture, Reply, Request, Sampling, Text

Line = tuple[bool, str]  # whether all is well, and a sentence
SECONDS = 10.0
SIDE_PX = 64
SCHEMA = {
    "type": "object",
    "properties": {"rating": {"type": "string", "enum": ["good", "poor"]}},
    "required": ["rating"],
    "additionalProperties": False,
}


def probe(params: EndpointParams, price: prices.Price | None = None, *, schema: bool = True) -> list[Line]:
    """Whether an endpoint is there, knows its model, takes its images and obeys a schema; a line for each.

    Args:
        params: The endpoint.
        price: Of its tokens, if it is known.
        schema: Whether it will be asked for JSON, as a judge is.
    """
    lines: list[Line] = [(False, problem) for problem in checks.address(params)]
    unset = checks.credentials(params)
    lines += [(False, problem) for problem in unset]
    if params.key_variable != NONE and not unset:
        lines.append((True, f"key_variable {params.key_variable} is set"))
    if params.token_command != NONE:
        lines.append((True, f"its token comes from: {params.token_command}"))
    if unset:
        return lines
    there = list(_listed(params))
    lines += there
    if not all(good for good, _ in there):
        return lines
    if not is_loopback(params.base_url):
        return [*lines, (True, f"not asked in earnest, as that costs: {_cost(params, price)}")]
    try:
        with tempfile.TemporaryDirectory() as folder:
            lines.append(_images(params, Path(folder)))
        if schema:
            lines.append(_obeys(params))
    except NoduleflowError as error:
        lines.append((False, str(error)))
    return lines


def _listed(params: EndpointParams) -> Iterator[Line]:
    """Whether the server is there, and has the model in its list."""
    base = params.base_url.rstrip("/")
    try:
        document = _get(f"{base}/models", params)
        known = [str(model["id"]) for model in document["data"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        try:
            _get(f"{base.removesuffix('/v1')}/health", params, read=False)
        except (OSError, ValueError):
            yield False, f"{base}: not there, or no such server ({_said(error)})"
            return
        yield True, f"{base}: is there, but lists no models ({_said(error)})"
        return
    yield True, f"{base}: is there"
    names = {name.removeprefix("models/").removesuffix("@main") for name in known}
    if params.model in names or params.model in known:
        yield True, f"knows the model {params.model}"
    elif is_loopback(params.base_url):  # transformers serve lists what is in a cache; the request below tells
        yield True, f"does not list the model {params.model}; lists {', '.join(known[:5]) or 'none'}"
    else:
        yield False, f"does not list the model {params.model}; lists {', '.join(known[:5]) or 'none'}"


def _get(url: str, params: EndpointParams, *, read: bool = True) -> Any:
    headers = {}
    if params.key_variable != NONE:
        headers["Authorization"] = f"Bearer {token.key(params.key_variable)}"
    without = [urllib.request.ProxyHandler({})] if is_loopback(url) else []
    opener = urllib.request.build_opener(*without)
    with opener.open(urllib.request.Request(url, headers=headers), timeout=SECONDS) as response:
        return json.loads(response.read()) if read else None


def _said(error: Exception) -> str:
    return f"HTTP {error.code}" if isinstance(error, urllib.error.HTTPError) else str(getattr(error, "reason", error))


def _images(params: EndpointParams, folder: Path) -> Line:
    """Whether the server takes as many images as it should."""
    import cv2

    shown = []
    for number in range(params.takes_images):
        path = folder / f"{number}.png"
        noise = np.random.default_rng(number).integers(0, 256, (SIDE_PX, SIDE_PX, 3), np.uint8)
        cv2.imwrite(str(path), noise)
        shown.append(Picture(path, pictures.sent_sha256(path, pictures.FILE)))
    reply = _asked(params, Message("user", (Text("Describe."), *shown)), max_tokens=1)
    if reply.status != "ok":
        return False, f"does not answer {params.takes_images} image(s) and a text: {reply.problem}"
    counted = reply.usage.prompt_tokens
    tokens = f" ({counted} tokens in)" if counted is not None else " (it does not count tokens)"
    return True, f"answers {params.takes_images} image(s) and a text in {reply.seconds:.1f} s{tokens}"


def _obeys(params: EndpointParams) -> Line:
    """Whether the server makes a model obey a JSON Schema; one that does not is asked again by words."""
    message = Message("user", (Text('Rate the answer "no mass" against the truth "a mass", as JSON.'),))
    reply = _asked(params, message, max_tokens=64, schema=SCHEMA, form="json_schema")
    if reply.status != "ok":
        return False, f"does not take a JSON Schema: {reply.problem}"
    try:
        rating = json.loads(reply.text or "")["rating"]
    except (ValueError, KeyError, TypeError):
        rating = None
    if rating in ("good", "poor"):
        return True, "obeys a JSON Schema"
    return True, "takes a JSON Schema and does not obey it: its responses are checked, and asked for again"


def _asked(params: EndpointParams, message: Message, max_tokens: int, **form: Any) -> Reply:
    sampling = Sampling(temperature=0.0, top_p=1.0, max_tokens=max_tokens, seed=None)
    request = Request("probe", params.model, params.revision, (message,), sampling, **form)
    once = replace(params, max_tries=1, stop_after=2)
    ((_, reply),) = Endpoint(once).replies([request])
    return reply


def _cost(params: EndpointParams, price: prices.Price | None) -> str:
    if price is None:
        return f"its price {params.price!r} is not known" if params.price != NONE else "its price is not known"
    tariff = prices.Tariff(price, 0.0, params.max_image_tokens, params.timeout_s)
    shown = [Picture(Path(), "0" * 64)] * params.takes_images
    sampling = Sampling(temperature=0.0, top_p=1.0, max_tokens=64, seed=None)
    message = Message("user", (Text("Describe."), *shown))
    dollars = tariff.most(Request("probe", params.model, "none", (message,), sampling))
    return f"${dollars:.4f} at most for {params.takes_images} image(s), by the price of {price.date}"
