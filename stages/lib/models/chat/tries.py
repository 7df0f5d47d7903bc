"""Which tries are followed by another, and after what wait.

What can pass (429, 408, 409, 5xx, a broken connection, a timeout, a response that is no answer) is tried again, after
the wait that the server asks for or else a random one up to a limit that doubles. What cannot (other 4xx) is not.
"""

import email.utils
import math
import random
import time
from collections.abc import Mapping

from stages.lib.models.chat.endpoint_params import EndpointParams

PASSING = (408, 409, 425, 429)  # statuses below 500 that are tried again


class PassingError(Exception):
    """A try that gave no answer, where another may.

    Attributes:
        timed_out: Whether there was no response in time.
        wait_s: What the server wants to be waited for; None if it said nothing.
        at_once: Whether its reason is mended already.
    """

    def __init__(
        self, problem: str, *, timed_out: bool = False, wait_s: float | None = None, at_once: bool = False
    ) -> None:
        super().__init__(problem)
        self.timed_out, self.wait_s, self.at_once = timed_out, wait_s, at_once


class RefusedError(Exception):
    """A try that the server refuses, and would refuse again.

    Attributes:
        status: Of the response.
    """

    def __init__(self, problem: str, status: int) -> None:
        super().__init__(problem)
        self.status = status


def may_pass(status: int) -> bool:
    """Whether a request of such a status is tried again.

    >>> [may_pass(status) for status in (429, 500, 503, 400, 401, 404)]
    [True, True, True, False, False, False]
    """
    return status in PASSING or status >= 500


def wait(params: EndpointParams, attempt: int, error: PassingError) -> float:
    """Seconds before the next try: a random part of a limit that doubles, on top of what the server asks for.

    Args:
        params: The limits.
        attempt: Number of the try that failed, from 1.
        error: Why it did.

    Source: Brooker, Exponential Backoff and Jitter (AWS, 2015): full jitter.
    """
    if error.at_once:
        return 0.0
    drawn = random.uniform(0.0, min(params.first_wait_s * 2 ** (attempt - 1), params.max_wait_s))
    if not error.wait_s:
        return drawn
    return min(error.wait_s + min(drawn, params.first_wait_s), params.max_wait_s)


def asked_wait(headers: Mapping[str, str]) -> float | None:
    """Seconds that a server asks to wait, from now: Retry-After in seconds or as a date; None if it does not.

    >>> asked_wait({"retry-after": "2.5"}), asked_wait({"retry-after": "soon"}), asked_wait({})
    (2.5, None, None)
    """
    said = headers.get("retry-after", "")
    try:
        seconds = float(said)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(said).timestamp() - time.time()
        except ValueError:
            return None
    return max(seconds, 0.0) if math.isfinite(seconds) else None
