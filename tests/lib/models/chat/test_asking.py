"""What is in the ledger is not asked again; what is not is asked, kept and handed on."""

import pytest
from chats import Speaker, request

from stages.lib.core.errors import BudgetError, ReplayError
from stages.lib.models.chat.asking import ask
from stages.lib.models.chat.budget import Budget
from stages.lib.models.chat.client_params import UNLIMITED, VARIABLE, ClientParams, read
from stages.lib.models.chat.ledger import Ledger
from stages.lib.models.chat.request import Reply, Usage

REPLAY = ClientParams(network="replay", max_dollars=0.0, max_requests=0, prices="shipped")


def numbered(n: int, **changes):
    return [request(f"case{number}", text=f"about {number}", **changes) for number in range(n)]


def asked(folder, requests, responder, client=UNLIMITED) -> dict[int, Reply]:
    with Ledger(folder, "1-of-1") as book:
        return dict(ask(requests, responder, book, client, "answer"))


def test_nothing_that_was_answered_is_asked_again(tmp_path):
    first = asked(tmp_path, numbered(3), Speaker())
    speaker = Speaker()
    second = asked(tmp_path, numbered(5), speaker)
    assert speaker.asked == ["case3", "case4"]
    assert [second[number].text for number in range(3)] == [first[number].text for number in range(3)]
    assert [second[number].kept for number in range(5)] == [True, True, True, False, False]


def test_failures_are_asked_again(tmp_path):
    found = asked(tmp_path, numbered(2), Speaker(lambda one: Reply("error", problem="down")))
    assert {reply.status for reply in found.values()} == {"error"}
    speaker = Speaker()
    asked(tmp_path, numbered(2), speaker)
    assert speaker.asked == ["case0", "case1"]


def test_two_items_with_the_same_messages_are_asked_about_once(tmp_path):
    speaker = Speaker()
    found = asked(tmp_path, [request("case1"), request("case2"), request("case3", text="other")], speaker)
    assert speaker.asked == ["case1", "case3"]
    assert found[0] == found[1] != found[2]


def test_a_reply_is_kept_before_it_is_handed_on(tmp_path):
    with Ledger(tmp_path, "1-of-1") as book:
        for number, _ in ask(numbered(3), Speaker(), book, UNLIMITED, "answer"):
            assert len((tmp_path / "1-of-1.jsonl").read_bytes().splitlines()) == number + 1


def test_a_replay_asks_nobody(tmp_path):
    asked(tmp_path, numbered(3), Speaker())
    speaker = Speaker()
    assert len(asked(tmp_path, numbered(3), speaker, REPLAY)) == 3
    assert not speaker.asked


def test_a_miss_of_a_replay_names_the_case_and_the_parameter_that_changed(tmp_path):
    asked(tmp_path, numbered(3), Speaker())
    speaker = Speaker()
    with pytest.raises(ReplayError) as caught:
        asked(tmp_path, [*numbered(2, temperature=0.7, seed=3), request("case9")], speaker, REPLAY)
    assert not speaker.asked
    assert caught.value.problems == (
        "case0: asked before with another temperature, seed",
        "case1: asked before with another temperature, seed",
        "case9: never asked about before",
    )


def test_a_miss_is_held_against_the_nearest_of_what_was_asked(tmp_path):
    asked(tmp_path, [*numbered(1, temperature=0.7, seed=3), *numbered(1, max_tokens=99)], Speaker())
    with pytest.raises(ReplayError, match=r"case0: asked before with another max_tokens$"):
        asked(tmp_path, numbered(1), Speaker(), REPLAY)


def test_a_limit_of_requests_stops_and_the_same_command_goes_on(tmp_path):
    client = ClientParams(network="live", max_dollars=0.0, max_requests=2, prices="shipped")
    for kept in (2, 4):
        with pytest.raises(BudgetError, match=r"2 of findings.client.max_requests 2 are sent.*goes on"):
            asked(tmp_path, numbered(5), Speaker(), client)
        with Ledger(tmp_path, "1-of-1") as book:
            assert len(book) == kept
    assert len(asked(tmp_path, numbered(5), Speaker(), client)) == 5


def test_another_system_behind_the_same_name_is_a_warning(tmp_path, caplog):
    def says(one):
        return Reply("ok", "text", model="tiny", fingerprint="new" if one.item == "case2" else "old", usage=Usage())

    asked(tmp_path, numbered(2), Speaker(says))
    assert "systems" not in caplog.text
    asked(tmp_path, numbered(3), Speaker(says))
    assert "the answers are of 2 systems" in caplog.text


def test_the_client_s_parameters_are_those_of_the_environment(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    assert read() == UNLIMITED
    monkeypatch.setenv(VARIABLE, '{"network": "replay", "max_dollars": 1.5, "max_requests": 7, "prices": "p.yaml"}')
    assert read() == ClientParams(network="replay", max_dollars=1.5, max_requests=7, prices="p.yaml")


def test_a_run_that_asks_several_times_has_one_budget(tmp_path):
    client = ClientParams(network="live", max_dollars=0.0, max_requests=3, prices="shipped")
    budget = Budget.of(client)
    with Ledger(tmp_path, "1-of-1") as book:
        assert len(dict(ask(numbered(2), Speaker(), book, client, "judge", budget))) == 2
        with pytest.raises(BudgetError, match="max_requests 3"):
            list(ask(numbered(4), Speaker(), book, client, "judge", budget))
        assert len(book) == 3
