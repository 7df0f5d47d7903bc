"""What may not be asked is refused before the first request, and doctor asks at no cost what a server can do."""

from dataclasses import dataclass

import chat_stub
import pytest
from chat_stub import Said, Status, Stub
from chats import ENDPOINT

from stages.lib.core.params import Row
from stages.lib.models.chat import checks, prices
from stages.lib.models.chat.endpoint_params import EndpointParams
from stages.lib.models.chat.probe import probe

AWAY = "https://example.invalid/v1"


def row(**changes) -> Row:
    return Row("endpoint", EndpointParams(**{**ENDPOINT, **changes}))


@dataclass(frozen=True)
class Local:
    model: str
    adapter: str = "none"


def test_data_go_to_another_machine_only_where_both_the_user_and_their_terms_allow_it():
    here, there, allowed = row(), row(base_url=AWAY, model="j"), row(base_url=AWAY, data_may_leave=True)
    assert checks.study({"here": here, "allowed": allowed}, {}) == []
    (problem,) = checks.study({"here": here}, {"there": there})
    assert problem.startswith("findings.judges.there: ") and "set data_may_leave to true" in problem
    (problem,) = checks.study({"here": here, "allowed": allowed}, {}, "credentialed")
    assert problem.startswith("findings.arms.allowed: ") and "credentialed terms" in problem


def test_a_judge_is_none_of_the_arms_that_it_judges():
    arms = {
        "a": row(model="m"),
        "b": Row("local", Local("m")),
        "c": Row("local", Local("m", "tuned")),
        "d": row(model="n"),
    }
    (problem,) = checks.study(arms, {"j": row(model="m"), "k": row(model="o"), "rules": Row("rules", object())})
    assert problem.startswith("findings.judges.j: is the model of the arm(s) a, b,")


@pytest.fixture(scope="module")
def stub():
    def rates(body):
        schema = body.get("response_format", {}).get("type") == "json_schema"
        return Said('{"rating": "poor"}' if schema else "a")

    scripts = {
        "obeys": [rates],
        "babbles": [Said("a mass", "length", None)],
        "one_image": [lambda body: Status(400, "At most 1 image(s)") if len(chat_stub.images(body)) > 1 else Said("a")],
    }
    with Stub(scripts) as server:
        yield server


def lines(stub, **changes) -> list[tuple[bool, str]]:
    stub.forget()
    return probe(EndpointParams(**{**ENDPOINT, "base_url": stub.url, **changes}))


def test_a_server_that_does_all_that_is_wanted_has_nothing_to_mend(stub):
    found = lines(stub, model="obeys")
    assert [good for good, _ in found] == [True] * 4
    assert [said.split()[0] for _, said in found] == [f"{stub.url}:", "knows", "answers", "obeys"]
    assert len(stub.asked) == 2
    assert len(chat_stub.images(stub.asked[0].body)) == 4


def test_a_server_that_takes_one_image_is_found_out(stub):
    good, said = lines(stub, model="one_image")[2]
    assert not good
    assert "does not answer 4 image(s)" in said and "At most 1 image(s)" in said
    assert all(good for good, _ in lines(stub, model="one_image", takes_images=1))


def test_a_model_that_does_not_obey_is_told(stub):
    good, said = lines(stub, model="babbles")[-1]
    assert good and "does not obey" in said


def test_a_model_that_is_not_there_is_named_beside_those_that_are(stub):
    found = lines(stub, model="gone")
    assert any("does not list the model gone; lists obeys, babbles" in said for _, said in found)
    assert not all(good for good, _ in found)


def test_a_server_that_is_not_there_is_one_line():
    ((good, said),) = probe(EndpointParams(**{**ENDPOINT, "base_url": "http://127.0.0.1:9/v1"}))
    assert not good
    assert "http://127.0.0.1:9/v1: not there" in said


def test_whether_the_key_is_set_is_said_and_the_key_is_not(stub, monkeypatch):
    monkeypatch.setenv("STUB_KEY", "sk-secret-77")
    found = lines(stub, model="obeys", key_variable="STUB_KEY")
    assert (True, "key_variable STUB_KEY is set") in found
    assert "secret" not in str(found)
    assert stub.asked[0].headers["Authorization"] == "Bearer sk-secret-77"
    monkeypatch.delenv("STUB_KEY")
    ((good, said),) = lines(stub, model="obeys", key_variable="STUB_KEY")
    assert not good
    assert "STUB_KEY: not set" in said
    assert not stub.asked


def test_what_would_cost_is_told_and_not_done(stub):
    elsewhere = stub.url.replace("127.0.0.1", "0.0.0.0")  # which leads here, and is no address of loopback
    price = prices.Price(date="2026-11-20", source="s", input=10.0, output=10.0, cached=None, reasoning=None)
    params = EndpointParams(
        **{**ENDPOINT, "base_url": elsewhere, "model": "obeys", "price": "p", "data_may_leave": True}
    )
    stub.forget()
    good, said = probe(params, price)[-1]
    assert good
    assert "$0.0111 at most for 4 image(s), by the price of 2026-11-20" in said
    assert "its price 'p' is not known" in probe(params)[-1][1]
    assert not stub.asked
