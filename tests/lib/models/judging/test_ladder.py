"""Claims about stages.lib.models.judging.ladder and rating."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import pytest

from stages.lib.core.case_tables import JUDGEMENTS
from stages.lib.core.errors import EndpointError
from stages.lib.models.chat.request import Reply, Request
from stages.lib.models.judging import ladder, rating, rubric
from stages.lib.models.judging.rating import Question
from stages.lib.models.verdict import Verdict

GOOD = json.dumps(
    {
        "rationale": "Named.",
        "rating": "good",
        "primary_found": True,
        "present": ["mass"],
        "missed": [],
        "invented": [],
        "wrong_side": [],
    }
)
REFUSED = Reply("error", problem="400: response_format is not supported")
NO_JSON = Reply("ok", "It is good.", "stop", model="served")


@dataclass
class Server:
    """A judge that says of each request what a function says, and a ledger of its good replies."""

    says: Callable[[Request], Reply]
    sent: list[Request] = field(default_factory=list)
    kept: dict[str, Reply] = field(default_factory=dict)
    stop_after: int = 1000

    def ask(self, requests: Sequence[Request]) -> Iterator[tuple[int, Reply]]:
        refused = 0
        for number, one in enumerate(requests):
            if one.key not in self.kept:
                self.sent.append(one)
                reply = self.says(one)
                if reply.status == "ok":
                    self.kept[one.key] = reply
                refused += (reply.problem or "").startswith("4")
                yield number, reply
                if refused >= self.stop_after:
                    raise EndpointError("refused too often")
            else:
                yield number, replace(self.kept[one.key], kept=True)

    def rater(self, max_reprompts: int = 2, live: bool = True) -> rating.Rater:
        return ladder.rater(
            ladder.Model(
                name="judge",
                revision="none",
                ask=self.ask,
                kept=self.kept.__contains__,
                live=live,
                rubric=rubric.read("short"),
                max_tokens=100,
                max_reprompts=max_reprompts,
            )
        )


def questions(count: int = 3) -> list[Question]:
    return [Question(arm="a", item=f"c{n}", case_id=f"c{n}", gold="A mass.", answer=f"Mass {n}.") for n in range(count)]


def good(_: Request) -> Reply:
    return Reply("ok", GOOD, "stop", model="served")


def forms(server: Server) -> list[str]:
    return [one.form for one in server.sent]


def test_a_judge_that_obeys_is_asked_once_by_schema_reasons_first():
    server = Server(good)
    found = server.rater()(questions())
    assert [(one.status, one.asked, one.judged_by) for one in found] == [("ok", 1, "served")] * 3
    assert forms(server) == ["json_schema"] * 3
    assert next(iter(server.sent[0].schema["properties"])) == "rationale"
    assert found[0].request == server.sent[0].key
    assert all(one.sampling.temperature == 0 for one in server.sent)


def test_a_form_that_the_server_refuses_is_tried_by_one_question_alone():
    server = Server(lambda one: REFUSED if one.form != "text" else good(one), stop_after=1)
    found = server.rater()(questions())
    assert [one.status for one in found] == ["ok"] * 3
    assert forms(server) == ["json_schema", "json_object", "text", "text", "text"]
    assert [one.asked for one in found] == [1, 1, 1], "a refused form is no response of the wrong form"


def test_a_refused_form_is_not_sent_again_by_a_second_run_and_replay_needs_no_connection():
    server = Server(lambda one: REFUSED if one.form == "json_schema" else good(one))
    first = server.rater()(questions())
    sent = len(server.sent)
    again, replayed = server.rater()(questions()), server.rater(live=False)(questions())
    assert len(server.sent) == sent
    assert [one.verdict for one in first] == [one.verdict for one in again] == [one.verdict for one in replayed]


def test_a_question_that_is_refused_in_all_forms_says_nothing_of_the_forms():
    def says(one: Request) -> Reply:
        return Reply("error", problem="400: too long") if one.item == "a:c0" else good(one)

    server = Server(says)
    found = server.rater()(questions())
    assert [one.status for one in found] == ["error", "ok", "ok"]
    assert found[0].problem == "400: too long"
    assert forms(server)[3:] == ["json_schema", "json_schema"]


def test_a_server_that_refuses_everything_stops_the_run():
    server = Server(lambda _: REFUSED, stop_after=2)
    with pytest.raises(EndpointError):
        server.rater()(questions(30))
    assert len(server.sent) == len(ladder.FORMS) * ladder.MAX_ALONE + 2


def test_a_server_that_ignores_the_form_is_asked_again_one_form_lower_with_what_was_wrong():
    server = Server(lambda one: good(one) if len(one.messages) > 2 else NO_JSON)
    found = server.rater()(questions(1))
    assert (found[0].status, found[0].asked, found[0].verdict.rating) == ("repaired", 2, "good")
    assert forms(server) == ["json_schema", "json_object"]
    assert "no complete JSON object" in server.sent[1].messages[-1].parts[0].text
    assert server.sent[1].messages[-2].parts[0].text == "It is good."
    assert len(found[0].replies) == 2


@pytest.mark.parametrize("most", [0, 1, 3])
def test_a_judge_that_never_gives_a_verdict_is_invalid_after_its_own_count(most):
    server = Server(lambda _: NO_JSON)
    found = server.rater(max_reprompts=most)(questions(1))
    assert (found[0].status, found[0].asked, found[0].verdict) == ("invalid", most + 1, None)
    assert len(server.sent) == most + 1
    assert found[0].response == "It is good."


def test_a_contradiction_is_asked_again_and_then_invalid():
    wrong = GOOD.replace("true", "false")
    found = Server(lambda _: Reply("ok", wrong, "stop")).rater()(questions(1))
    assert found[0].status == "invalid"
    assert "rating good, but the primary finding is not found" in found[0].problem


def test_an_empty_response_at_the_limit_says_where_the_tokens_may_have_gone():
    found = Server(lambda _: Reply("ok", "", "length")).rater(max_reprompts=0)(questions(1))
    assert found[0].problem == "no text, and ended at max_tokens 100: reasoning may have used them up"


@pytest.mark.parametrize("status", ["timeout", "error"])
def test_no_answer_of_the_judge_is_no_rating_and_is_not_asked_again(status):
    server = Server(lambda _: Reply(status, problem="no answer in 30 s"))
    found = server.rater()(questions(2))
    assert [(one.status, one.verdict, one.problem) for one in found] == [(status, None, "no answer in 30 s")] * 2
    assert {one.asked for one in found} == {1}
    assert len(server.sent) == 2


def test_repeats_are_requests_of_their_own():
    server = Server(good)
    server.rater()([replace(questions(1)[0], repeat=number) for number in range(2)])
    assert len({one.key for one in server.sent}) == 2
    assert [one.sample for one in server.sent] == [0, 1]


def test_neither_the_arm_nor_a_model_is_in_what_the_judge_is_told():
    asked = [replace(one, arm=arm) for one in questions(1) for arm in ("gemini_flash", "tuned")]
    server = Server(good)
    server.rater()(asked)
    assert len({one.key for one in server.sent}) == 1
    told = "".join(part.text for message in server.sent[0].messages for part in message.parts)
    assert "gemini" not in told
    assert "c0" not in told


def test_the_fallback_is_asked_for_what_the_judge_did_not_rate_and_marked():
    first = Server(lambda one: NO_JSON if one.item == "a:c1" else good(one))
    second = Server(good)
    found = rating.with_fallback(first.rater(1), second.rater())(questions())
    assert [one.status for one in found] == ["ok", "fallback", "ok"]
    assert found[1].problem.startswith("invalid: ")
    assert [one.item for one in second.sent] == ["a:c1"]
    assert (found[1].asked, len(found[1].replies)) == (3, 3)


def test_without_a_verdict_of_either_the_status_is_the_judges_and_both_reasons_stand():
    first, second = Server(lambda _: NO_JSON), Server(lambda _: Reply("timeout", problem="no answer in 30 s"))
    found = rating.with_fallback(first.rater(0), second.rater())(questions(1))
    assert found[0].status == "invalid"
    assert found[0].problem.endswith("the fallback: no answer in 30 s")


def test_rules_are_given_the_gold_text_and_the_answer_and_a_row_has_all_of_the_verdict():
    told: list[tuple[str, str]] = []

    def verdict(gold: str, answer: str) -> Verdict:
        told.append((gold, answer))
        return Verdict(rating="partial", primary_found=True, missed=("a cyst",), rationale="By rules.")

    question = questions(1)[0]
    found = rating.by_rules(verdict)([question])[0]
    assert told == [("A mass.", "Mass 0.")]
    row = rating.row(question, found, "one", "short-1")
    assert {name: row[name] for name in ("rating", "primary_found", "missed", "present", "rationale", "status")} == {
        "rating": "partial",
        "primary_found": True,
        "missed": ["a cyst"],
        "present": [],
        "rationale": "By rules.",
        "status": "ok",
    }
    assert (row["repeat"], row["variant"], row["asked"], row["judged_by"]) == (0, "none", 0, "rules")
    assert (row["request"], row["response"], row["problem"]) == (None, None, None)
    assert set(row) == set(JUDGEMENTS.names)


def test_what_needs_no_judge_is_not_asked_about():
    asked = [
        replace(questions(1)[0], answer=None, problem="timeout"),
        replace(questions(1)[0], answer=" \n"),
        replace(questions(1)[0], gold=None),
        questions(1)[0],
    ]
    server = Server(good)
    found = rating.rate_all(asked, server.rater(), [3, 1, 0, 2], ask_empty=False)
    assert [one.status for one in found] == ["error", "ok", "error", "ok"]
    assert [one.verdict.rating if one.verdict else None for one in found] == [None, "poor", None, "good"]
    assert found[0].problem == "no answer: timeout"
    assert len(server.sent) == 1
    assert len({one.verdict.rating for one in rating.rate_all(asked[1:2], server.rater(), [0], ask_empty=True)}) == 1
    assert len(server.sent) == 2
