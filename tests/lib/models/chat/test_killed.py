"""A process that is killed at any moment loses at most the requests under way, and the same command ends the same."""

import json
import subprocess
import sys
import time
from hashlib import sha256
from pathlib import Path

import chat_stub
import pytest
from chat_stub import Said, Stub
from chats import ENDPOINT, endpoint, request

from stages.lib.models.chat import ledger
from stages.lib.models.chat.asking import ask
from stages.lib.models.chat.client_params import UNLIMITED
from stages.lib.models.chat.ledger import Ledger

pytestmark = pytest.mark.slow
N = 60
AT_ONCE = 4
ASKING = """
import json, sys
from pathlib import Path
sys.path.insert(0, "tests/fakes")
from chats import endpoint, request
from stages.lib.models.chat.asking import ask
from stages.lib.models.chat.client_params import UNLIMITED
from stages.lib.models.chat.ledger import Ledger
given = json.loads(sys.argv[1])
requests = [request(f"case{number}", text=f"about {number}", model="says") for number in range(given["n"])]
with Ledger(Path(given["folder"]), "1-of-1") as book:
    for _ in ask(requests, endpoint(**given["endpoint"]), book, UNLIMITED, "answer"):
        pass
"""


def says(body):
    """A text that depends on the question alone."""
    return Said(sha256(chat_stub.texts(body).encode()).hexdigest() * 8)


@pytest.fixture
def stub():
    with Stub({"says": [says]}, wait=0.05) as server:
        yield server


def started(stub: Stub, folder: Path) -> "subprocess.Popen[bytes]":
    row = {**ENDPOINT, "base_url": stub.url, "model": "says", "concurrency": AT_ONCE}
    given = json.dumps({"n": N, "folder": str(folder), "endpoint": row})
    return subprocess.Popen([sys.executable, "-c", ASKING, given], stderr=subprocess.PIPE)


def test_killed_at_ten_moments_it_has_the_same_answers_and_few_were_asked_twice(stub, tmp_path):
    with Ledger(tmp_path / "whole", "1-of-1") as book:
        requests = [request(f"case{number}", text=f"about {number}", model="says") for number in range(N)]
        made = endpoint(stub.url, model="says", concurrency=AT_ONCE)
        list(ask(requests, made, book, UNLIMITED, "answer"))
    stub.forget()
    moments = [1, 2, 3, 5, 4, 7, 6, 9, 8, 5]  # requests of each run after which it is killed
    for moment in moments:
        before = stub.count("says")
        process = started(stub, tmp_path / "killed")
        while stub.count("says") < before + moment and process.poll() is None:
            time.sleep(0.002)
        assert process.poll() is None
        process.kill()
        process.wait()
    last = started(stub, tmp_path / "killed")
    assert last.wait() == 0
    assert ledger.sha256_answers(tmp_path / "killed") == ledger.sha256_answers(tmp_path / "whole")
    assert N < stub.count("says") <= N + len(moments) * AT_ONCE
    again = stub.count("says")
    assert started(stub, tmp_path / "killed").wait() == 0
    assert stub.count("says") == again
