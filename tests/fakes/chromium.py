"""Chromium without a window: what a browser makes of a page."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


class Browser:
    """Chromium, spoken to over its debugging pipe; no network, no port."""

    def __init__(self, program: str, folder: Path) -> None:
        its_input, self._say = os.pipe()
        self._hear, its_output = os.pipe()
        switches = (
            "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
            f"--disable-component-update --disable-sync --user-data-dir={folder} --remote-debugging-pipe"
        )
        command = f"exec {program} {switches} 3<&{its_input} 4>&{its_output} 2>/dev/null"
        self._process = subprocess.Popen(["bash", "-c", command], pass_fds=(its_input, its_output))
        os.close(its_input)
        os.close(its_output)
        self._stream = os.fdopen(self._hear, "rb")
        self._number = 0
        self.events: list[dict[str, Any]] = []

    def ask(self, method: str, session: str | None = None, **given: Any) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": given}
        os.write(self._say, json.dumps(message | ({"sessionId": session} if session else {})).encode() + b"\0")
        while (response := self._next()).get("id") != self._number:
            self.events.append(response)
        assert "error" not in response, response
        return dict(response["result"])

    def wait(self, event: str) -> None:
        while not any(heard.get("method") == event for heard in self.events):
            self.events.append(self._next())

    def show(self, file: Path, *, width: int, height: int = 900, scheme: str = "light") -> str:
        """Session of a page that shows a file."""
        self.events.clear()
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        session = str(self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"])
        for domain in ("Page", "Log", "Runtime", "Network"):
            self.ask(f"{domain}.enable", session)
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.ask("Emulation.setDeviceMetricsOverride", session, **size)
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.ask("Emulation.setEmulatedMedia", session, features=[feature])
        self.ask("Page.navigate", session, url=file.as_uri())
        self.wait("Page.loadEventFired")
        return session

    def value(self, session: str, script: str) -> Any:
        """What a script gives on the page of a session."""
        return self.ask("Runtime.evaluate", session, expression=script, returnByValue=True)["result"].get("value")

    def press(self, session: str, key: str) -> None:
        """Press and release a key."""
        for kind in ("keyDown", "keyUp"):
            self.ask("Input.dispatchKeyEvent", session, type=kind, key=key, text=key if kind == "keyDown" else "")

    def complaints(self) -> list[dict[str, Any]]:
        """What the browser complained of: errors, refused scripts, files that it could not load."""
        names = ("Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Network.loadingFailed")
        return [event for event in self.events if event.get("method") in names]

    def _next(self) -> dict[str, Any]:
        text = bytearray()
        while (byte := self._stream.read(1)) != b"\0":
            assert byte, "Chromium ended"
            text += byte
        return dict(json.loads(text))

    def close(self) -> None:
        os.close(self._say)
        self._process.wait(timeout=30)
        self._stream.close()


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    program = shutil.which("chromium")
    if not program:
        pytest.skip("chromium is not installed: apt-get install chromium")
    started = Browser(program, tmp_path / "profile")
    yield started
    started.close()
