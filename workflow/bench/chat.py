"""What asking an endpoint costs: throughput, processor time beside the bare SDK, replay from the ledger, and memory.

The server answers after a wait of 200 ms; each request has an image of 100 kB of its own file's bytes.
"""

import asyncio
import base64
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from stages.lib.images import pictures
from stages.lib.models.chat.asking import ask
from stages.lib.models.chat.client_params import UNLIMITED
from stages.lib.models.chat.endpoint import Endpoint
from stages.lib.models.chat.endpoint_params import EndpointParams
from stages.lib.models.chat.ledger import Ledger
from stages.lib.models.chat.request import Message, Picture, Reply, Request, Sampling, Text
from workflow.bench.chat_server import TEXT, serving
from workflow.bench.interleave import Interleaved
from workflow.bench.memory import peak_mb
from workflow.bench.result import MEASURED, Result

COMMAND = "make bench ONLY=chat"
AT_ONCE = 32
WAIT = 0.2  # seconds
IMAGES, SIDE_PX = 40, 183  # noise of 183 x 183 RGB is 100 kB as PNG
REQUESTS = 640  # of a round of throughput
ROUNDS = 5  # against the bare SDK
LINES = 10_000
FEW, MANY = 500, 5_000


def images(folder: Path) -> list[Picture]:
    """Images of 100 kB."""
    import cv2

    found = []
    for number in range(IMAGES):
        path = folder / f"{number}.png"
        cv2.imwrite(str(path), np.random.default_rng(number).integers(0, 256, (SIDE_PX, SIDE_PX, 3), np.uint8))
        found.append(Picture(path, pictures.sent_sha256(path, pictures.FILE)))
    return found


def requests(shown: Sequence[Picture], n: int, first: int = 0) -> list[Request]:
    """Requests about one image each, no two alike."""
    sampling = Sampling(temperature=0.0, top_p=1.0, max_tokens=64, seed=None)
    return [
        Request(
            item=str(number),
            model="bench",
            revision="none",
            messages=(Message("user", (Text(f"Describe case {number}."), shown[number % len(shown)])),),
            sampling=sampling,
        )
        for number in range(first, first + n)
    ]


def endpoint(url: str) -> Endpoint:
    """The bench's server."""
    return Endpoint(
        EndpointParams(
            base_url=url,
            model="bench",
            revision="none",
            key_variable="none",
            token_command="none",
            data_may_leave=False,
            concurrency=AT_ONCE,
            timeout_s=30.0,
            max_tries=2,
            first_wait_s=1.0,
            max_wait_s=10.0,
            total_timeout_s=100.0,
            stop_after=1,
            takes_seed=False,
            takes_images=1,
            max_image_tokens=256,
            price="none",
            dollars_per_gpu_hour=0.0,
        )
    )


def asked(url: str, folder: Path, which: Sequence[Request]) -> None:
    """Ask through the project's own way, into a ledger."""
    with Ledger(folder, "1-of-1") as book:
        for _ in ask(which, endpoint(url), book, UNLIMITED, "bench"):
            pass


def bare(url: str, which: Sequence[Request]) -> None:
    """Send the same through the SDK alone."""
    import openai

    async def send(client: openai.AsyncOpenAI, at_once: asyncio.Semaphore, one: Request) -> None:
        async with at_once:
            text, shown = one.messages[0].parts
            if not isinstance(text, Text) or not isinstance(shown, Picture):
                raise TypeError("a request of the bench is a text and an image")
            encoded = base64.b64encode(shown.path.read_bytes()).decode()
            image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{encoded}"}}
            await client.chat.completions.create(
                model="bench",
                messages=[{"role": "user", "content": [{"type": "text", "text": text.text}, image]}],  # type: ignore
                temperature=0.0,
                max_tokens=64,
            )

    async def run() -> None:
        async with openai.AsyncOpenAI(base_url=url, api_key="EMPTY", max_retries=0) as client:
            at_once = asyncio.Semaphore(AT_ONCE)
            await asyncio.gather(*(send(client, at_once, one) for one in which))

    asyncio.run(run())


def throughput(url: str, folder: Path, shown: Sequence[Picture]) -> tuple[Result, float]:
    """Part of the ideal throughput, and seconds per request."""
    ideal = REQUESTS / AT_ONCE * WAIT
    asked(url, folder / "warm", requests(shown, AT_ONCE))
    runs, sdk = [], []
    for number in range(3):
        which = requests(shown, REQUESTS)
        began = time.monotonic()
        asked(url, folder / f"throughput{number}", which)
        ended = time.monotonic()
        bare(url, which)
        runs.append(ideal / (ended - began))
        sdk.append(ideal / (time.monotonic() - ended))
    result = Result(
        value=statistics.median(runs),
        unit="of the ideal throughput",
        label=MEASURED,
        command=COMMAND,
        low=min(runs),
        high=max(runs),
        runs=runs,
        at_least=0.8,
        note=f"{AT_ONCE} at once, a server that waits {WAIT:g} s, images of 100 kB; the bare SDK in turn with it: "
        f"{statistics.median(sdk):.2f}",
    )
    return result, ideal / result.value / REQUESTS if result.value else float("inf")


def processor(url: str, folder: Path, shown: Sequence[Picture]) -> Result:
    """Processor time beside that of the bare SDK."""
    pieces = [requests(shown, 4 * AT_ONCE, first=1_000 * number) for number in range(ROUNDS)]
    ledgers = iter(range(100))
    found = Interleaved[list[Request]](
        lambda piece: bare(url, piece), lambda piece: asked(url, folder / f"cpu{next(ledgers)}", piece)
    ).run(pieces, what="bench chat")
    each = [1e3 * seconds / len(pieces[0]) for seconds in found.seconds]
    return Result(
        value=found.value,
        unit="times the processor time of the bare SDK",
        label=MEASURED,
        command=COMMAND,
        low=min(found.ratios),
        high=max(found.ratios),
        runs=found.ratios,
        at_most=2.0,
        note=f"{each[1]:.1f} against {each[0]:.1f} ms per request, start and ledger included",
    )


def replay(folder: Path, shown: Sequence[Picture], seconds_asked: float) -> Result:
    """How much faster the ledger is than the server."""
    which = requests(shown, LINES)
    with Ledger(folder / "replay", "1-of-1") as book:
        for one in which:
            book.write(one, Reply("ok", TEXT, "stop", model="bench"))
    runs = []
    for _ in range(3):
        began = time.monotonic()
        asked("http://127.0.0.1:9/v1", folder / "replay", which)
        runs.append(seconds_asked * LINES / (time.monotonic() - began))
    return Result(
        value=statistics.median(runs),
        unit="times as fast as asking",
        label=MEASURED,
        command=COMMAND,
        low=min(runs),
        high=max(runs),
        runs=runs,
        at_least=50.0,
        note=f"{LINES} lines",
    )


def memory(folder: Path) -> Result:
    """How much larger the process is for `MANY` cases than for `FEW`."""
    with serving(0.0) as url:
        few, many = (
            float(
                subprocess.run(
                    [sys.executable, "-m", "workflow.bench.chat", url, str(folder / f"memory{n}"), str(n)],
                    capture_output=True,
                    text=True,
                    check=True,
                ).stdout.split()[-1]
            )
            for n in (FEW, MANY)
        )
    return Result(
        value=many / few,
        unit="times the memory",
        label=MEASURED,
        command=COMMAND,
        at_most=1.1,
        note=f"largest resident size {few:.0f} MB for {FEW} cases and {many:.0f} MB for {MANY}",
    )


def bench() -> dict[str, Result]:
    """Throughput, processor time, replay and memory."""
    folder = Path(tempfile.mkdtemp(prefix="noduleflow-bench-chat-"))
    try:
        shown = images(folder)
        with serving(WAIT) as url:
            found, seconds = throughput(url, folder, shown)
            spent = processor(url, folder, shown)
        return {
            "chat.throughput": found,
            "chat.processor_time": spent,
            "chat.replay": replay(folder, shown, seconds),
            "chat.memory_5000_cases_against_500": memory(folder),
        }
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    place = Path(sys.argv[2])
    place.mkdir(parents=True)
    asked(sys.argv[1], place / "ledger", requests(images(place), int(sys.argv[3])))
    sys.stdout.write(f"{peak_mb()}\n")
