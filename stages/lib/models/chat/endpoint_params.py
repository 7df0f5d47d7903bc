"""Parameters of an endpoint: where it is, how it is asked, and what it costs."""

import ipaddress
from urllib.parse import urlsplit

from stages.lib.core import params

NONE = "none"


@params.section
class EndpointParams:
    """A server that answers chat completions as OpenAI's does: vLLM, Vertex, Gemini, `transformers serve`, others."""

    base_url: params.Text  # up to /v1 or what stands in its place; no part of a request's key
    model: params.Text  # as the server knows it
    revision: params.Text  # what is known of the weights behind it, a part of a request's key; none
    key_variable: params.Text  # environment variable with the key; none
    token_command: params.Text  # command that prints a short-lived token, instead of a key; none
    data_may_leave: bool  # whether cases may be sent to another machine
    concurrency: params.Count  # requests under way at once
    timeout_s: params.PositiveFloat  # of one try
    max_tries: params.Count  # of one request
    first_wait_s: (
        params.PositiveFloat
    )  # after the first try, at most; it doubles with each, and is drawn from 0 to that
    max_wait_s: params.PositiveFloat  # between two tries; a server that wants a longer one is not waited for
    total_timeout_s: params.PositiveFloat  # of one request; more than all tries and waits can take
    stop_after: params.Count  # refused requests, or failed ones in a row, after which nothing more is asked
    takes_seed: bool  # whether a seed is sent
    takes_images: params.NonNegativeInt  # of one request at most; a vLLM server takes one unless told otherwise
    max_image_tokens: params.Count  # tokens of one image at most, for the budget
    price: params.Text  # entry of the price table; none: not known
    dollars_per_gpu_hour: params.NonNegativeFloat  # of a server that is paid by the hour; 0.0: not

    def __post_init__(self) -> None:
        """Check what the types do not say."""
        problems = []
        longest = self.max_tries * (self.timeout_s + self.max_wait_s)
        if self.total_timeout_s <= longest:
            problems.append(
                f"total_timeout_s {self.total_timeout_s:g}, wanted more than max_tries x (timeout_s + max_wait_s) = "
                f"{longest:g}: a shorter one would end requests that are still being tried"
            )
        if self.first_wait_s > self.max_wait_s:
            problems.append(f"first_wait_s {self.first_wait_s:g}, wanted at most max_wait_s {self.max_wait_s:g}")
        if self.key_variable != NONE and self.token_command != NONE:
            problems.append("key_variable and token_command, wanted one of them")
        if urlsplit(self.base_url).scheme not in ("http", "https") or not urlsplit(self.base_url).hostname:
            problems.append(f"base_url {self.base_url!r}, wanted http:// or https:// and a host")
        elif urlsplit(self.base_url).username or urlsplit(self.base_url).password:
            problems.append("base_url with a name or password in it, wanted the name of a key_variable")
        if problems:
            raise ValueError("; ".join(problems))


def is_loopback(base_url: str) -> bool:
    """Whether an address is of this machine.

    >>> is_loopback("http://127.0.0.1:8000/v1"), is_loopback("http://localhost/v1"), is_loopback("http://[::1]:1/v1")
    (True, True, True)
    >>> is_loopback("https://localhost.example.com/v1"), is_loopback("http://10.0.0.1/v1")
    (False, False)
    """
    host = urlsplit(base_url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
