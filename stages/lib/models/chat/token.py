"""The key that an endpoint wants: from an environment variable, or a short-lived one from a command."""

import asyncio
import os
import shlex
import time
from pathlib import Path

from stages.lib.core.errors import EndpointError
from stages.lib.models.chat.endpoint_params import NONE, EndpointParams

RENEW_SECONDS = 3000.0  # tokens of clouds live for an hour
COMMAND_SECONDS = 60.0
ENV_FILE = Path(".env")
SET_IT = "export it, or write it to .env"
NO_KEY = "EMPTY"  # what is sent to a server that wants none


class Token:
    """A key that is renewed in time."""

    def __init__(self, params: EndpointParams) -> None:
        self.variable, self.command = params.key_variable, params.token_command
        self._value = ""
        self._made = 0.0
        self._lock = asyncio.Lock()

    @property
    def renewable(self) -> bool:
        """Whether another one can be had."""
        return self.command != NONE

    async def get(self, refused: str | None = None) -> str:
        """The key, made anew if it is old or the one that was refused.

        Raises:
            EndpointError: If the variable is not set, or the command fails.
        """
        if not self.renewable:
            return key(self.variable)
        async with self._lock:
            old = time.monotonic() - self._made > RENEW_SECONDS
            if not self._value or old or self._value == refused:
                self._value, self._made = await self._run(), time.monotonic()
            return self._value

    async def _run(self) -> str:
        """What the command prints; what it says of an error is its own to show."""
        try:
            process = await asyncio.create_subprocess_exec(
                *shlex.split(self.command), stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE
            )
        except (OSError, ValueError) as error:
            raise EndpointError(f"token_command {self.command!r}: cannot be run ({error})") from error
        try:
            said, _ = await asyncio.wait_for(process.communicate(), COMMAND_SECONDS)
        except TimeoutError as error:
            process.kill()
            raise EndpointError(f"token_command {self.command!r}: not done in {COMMAND_SECONDS:g} s") from error
        found = said.decode(errors="replace").strip()
        if process.returncode or not found or len(found.split()) > 1:
            raise EndpointError(
                f"token_command {self.command!r}: exit code {process.returncode} and {len(found.split())} word(s), "
                "wanted 0 and the token alone"
            )
        return found


def key(variable: str) -> str:
    """Key in an environment variable, or in the file .env; a word that means nothing if none is wanted.

    Raises:
        EndpointError: If it is in neither, or .env cannot be read.
    """
    if variable == NONE:
        return NO_KEY
    found = os.environ.get(variable, "").strip() or _in_file(variable)
    if not found:
        raise EndpointError(f"key_variable {variable}: not set; {SET_IT}")
    return found


def _in_file(variable: str) -> str:
    from dotenv import dotenv_values

    if not ENV_FILE.is_file():
        return ""
    try:
        return (dotenv_values(ENV_FILE).get(variable) or "").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise EndpointError(f"{ENV_FILE}: cannot be read for {variable} ({type(error).__name__})") from error
