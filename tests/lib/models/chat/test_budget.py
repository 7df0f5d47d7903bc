"""What a try could cost is set aside before it is sent, and the jobs of a run share one budget."""

import subprocess
import sys
import threading
import time

import pytest
from chat_stub import Stub
from chats import ENDPOINT, endpoint, request
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.lib.core.errors import BudgetError, ParamsError
from stages.lib.models.chat import budget, ledger
from stages.lib.models.chat.budget import Budget
from stages.lib.models.chat.client_params import ClientParams

CLIENT = ClientParams(network="live", max_dollars=0.0, max_requests=10, prices="shipped")


@given(st.lists(st.tuples(st.floats(0.001, 3.0), st.floats(0.0, 1.0), st.booleans()), max_size=40))
@settings(deadline=None)
def test_whatever_is_asked_in_whatever_order_the_limit_is_not_passed(tries):
    """Each try could cost some dollars, costs a fraction of them, and ends at once or only at the end."""
    found, under_way = Budget(5.0, 0), []
    for most, fraction, at_once in tries:
        if found.reserve(most):
            if at_once:
                found.settle(most, most * fraction)
            else:
                under_way.append((most, most * fraction))
        assert found.dollars + found.reserved <= 5.0 + 1e-9
    for most, spent in under_way:
        found.settle(most, spent)
    assert found.dollars <= 5.0 + 1e-9
    assert found.reserved == pytest.approx(0.0, abs=1e-9)


def test_without_the_name_of_a_run_each_process_has_the_whole_budget(monkeypatch, tmp_path):
    monkeypatch.setenv(ledger.VARIABLE, str(tmp_path))
    monkeypatch.delenv(budget.VARIABLE, raising=False)
    assert Budget.of(CLIENT).accounts is None
    assert not list(tmp_path.iterdir())


def test_a_name_that_is_a_path_is_refused(monkeypatch, tmp_path):
    monkeypatch.setenv(budget.VARIABLE, "../elsewhere")
    with pytest.raises(ParamsError, match="wanted letters, digits"):
        Budget.of(CLIENT)


OTHER = """
import sys
sys.path.insert(0, "tests/fakes")
from stages.lib.models.chat.budget import Budget
from stages.lib.models.chat.client_params import ClientParams
found = Budget.of(ClientParams(network="live", max_dollars=0.0, max_requests=10, prices="shipped"))
print(sum(found.reserve(0.0) for _ in range(int(sys.argv[1]))), flush=True)
sys.stdin.read()
"""


def test_the_jobs_of_a_run_share_its_requests_and_another_run_begins_anew(monkeypatch, tmp_path):
    monkeypatch.setenv(ledger.VARIABLE, str(tmp_path))
    monkeypatch.setenv(budget.VARIABLE, "run-1")
    done = subprocess.run([sys.executable, "-c", OTHER, "7"], capture_output=True, text=True, check=True, input="")
    assert done.stdout.split() == ["7"]
    own = Budget.of(CLIENT)
    assert [own.reserve(0.0) for _ in range(4)] == [True, True, True, False]
    assert not own.may_grow()
    with pytest.raises(BudgetError, match=r"10 of findings.client.max_requests 10 are sent"):
        raise own.error(None, request())
    monkeypatch.setenv(budget.VARIABLE, "run-2")
    assert Budget.of(CLIENT).reserve(0.0)


def test_two_jobs_at_once_do_not_pass_the_limit_of_their_run(monkeypatch, tmp_path):
    monkeypatch.setenv(ledger.VARIABLE, str(tmp_path))
    monkeypatch.setenv(budget.VARIABLE, "run-3")
    jobs = [
        subprocess.Popen([sys.executable, "-c", OTHER, "9"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    assert sum(int(job.communicate("")[0]) for job in jobs) == 10


HOLDER = """
import sys
from pathlib import Path
from stages.lib.models.chat.budget import Budget
found = Budget(0.05, 0, accounts=Path(sys.argv[1]))
print(found.reserve(0.04), flush=True)
sys.stdin.readline()
found.settle(0.04, 0.0)
sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """Another job of a run, which has set aside most of its dollars."""
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "run.json")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as job:
        assert job.stdout is not None and job.stdin is not None
        assert job.stdout.readline() == "True\n"
        yield job
        job.kill()


def asked(path) -> list[str]:
    """Statuses of one request that could cost 0.02 dollars."""
    with Stub({"good": ["yes"]}) as stub:
        made = endpoint(**{**ENDPOINT, "base_url": stub.url, "model": "good", "dollars_per_gpu_hour": 14.4})
        return [reply.status for _, reply in made.metered([request(model="good")], Budget(0.05, 0, accounts=path))]


def test_what_another_job_has_set_aside_is_waited_for(holder, tmp_path):
    """It could cost more than is left; when it turns out cheap, the try that waited is sent."""
    began = time.monotonic()
    threading.Timer(0.6, lambda: (holder.stdin.write("\n"), holder.stdin.flush())).start()
    assert asked(tmp_path / "run.json") == ["ok"]
    assert time.monotonic() - began > 0.6


def test_what_a_killed_job_had_set_aside_may_be_spent_and_is_not_waited_for(holder, tmp_path):
    holder.kill()
    holder.wait()
    with pytest.raises(BudgetError, match=r"\$0.0400 of findings.client.max_dollars \$0.0500 are spent.*\$0.0200"):
        asked(tmp_path / "run.json")
