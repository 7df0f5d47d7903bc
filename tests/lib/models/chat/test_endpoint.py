"""An endpoint is asked as often as its fault deserves, and no fault is ever an answer."""

import base64
import email.utils
import time
from dataclasses import replace
from hashlib import sha256

import chat_stub
import cv2
import numpy as np
import pytest
from chat_stub import Close, Hang, Said, Status, Stub
from chats import endpoint, request

from stages.lib.core.errors import BudgetError, EndpointError, RequestsError
from stages.lib.images import pictures
from stages.lib.models.chat.asking import ask
from stages.lib.models.chat.budget import Budget
from stages.lib.models.chat.client_params import UNLIMITED, ClientParams
from stages.lib.models.chat.ledger import Ledger
from stages.lib.models.chat.prices import Price
from stages.lib.models.chat.probe import probe
from stages.lib.models.chat.request import Picture, Reply, Request, Usage

GOOD = "There is no mass."
SCRIPTS: dict[str, list[chat_stub.Step]] = {
    "good": [GOOD],
    "busy": [Status(429), GOOD],
    "busy_and_says_when": [Status(429, headers={"Retry-After": "0.4"}), GOOD],
    "broken_once": [Status(500), GOOD],
    "broken_twice": [Status(500), Status(503), GOOD],
    "broken": [Status(500)],
    "hangs": [Hang()],
    "hangs_once": [Hang(), GOOD],
    "closes": [Close()],
    "closes_once": [Close(), GOOD],
    "closes_midway": [Close(midway=True), GOOD],
    "html": [chat_stub.HTML],
    "html_once": [chat_stub.HTML, GOOD],
    "cut_json": [chat_stub.CUT_JSON],
    "cut_json_once": [chat_stub.CUT_JSON, GOOD],
    "no_choices": [chat_stub.NO_CHOICES],
    "no_choices_once": [chat_stub.NO_CHOICES, GOOD],
    "null_content": [chat_stub.NULL_CONTENT],
    "length": [Said("a mass a mass a mass", "length")],
    "wrong_schema": [chat_stub.WRONG_SCHEMA],
    "fenced": [chat_stub.FENCED],
    "bad_request": [Status(400)],
    "bad_key": [Status(401)],
    "forbidden": [Status(403)],
    "too_many_images": [Status(422, "At most 1 image(s) may be provided")],
    "error_as_200": [chat_stub.Raw('{"error": {"message": "no such pool"}}')],
    "waits_too_long": [Status(429, headers={"Retry-After": "3600"}), GOOD],
}


@pytest.fixture(scope="module")
def stub():
    with Stub(SCRIPTS) as server:
        yield server


def one(stub: Stub, model: str, asked: Request | None = None, **changes) -> Reply:
    """The reply to one request, the only one that the stub remembers."""
    stub.forget()
    made = endpoint(stub.url, model=model, **changes)
    ((number, reply),) = made.replies([replace(asked or request(), model=model)])
    assert number == 0
    return reply


@pytest.mark.parametrize(
    ("model", "requests", "status", "says"),
    [
        ("good", 1, "ok", GOOD),
        ("busy", 2, "ok", GOOD),
        ("busy_and_says_when", 2, "ok", GOOD),
        ("broken_once", 2, "ok", GOOD),
        ("broken_twice", 3, "ok", GOOD),
        ("broken", 4, "error", "500: "),
        ("hangs", 4, "timeout", "no answer in 0.3 s"),
        ("hangs_once", 2, "ok", GOOD),
        ("closes", 4, "error", "disconnected"),
        ("closes_once", 2, "ok", GOOD),
        ("closes_midway", 2, "ok", GOOD),
        ("html", 4, "error", "200, but no JSON but '<html>"),
        ("html_once", 2, "ok", GOOD),
        ("cut_json", 4, "error", "200, but JSON that breaks off"),
        ("cut_json_once", 2, "ok", GOOD),
        ("no_choices", 4, "error", "200, but an answer without choices"),
        ("no_choices_once", 2, "ok", GOOD),
        ("error_as_200", 4, "error", "no such pool"),
        ("null_content", 1, "ok", ""),
        ("length", 1, "ok", "a mass a mass a mass"),
        ("wrong_schema", 1, "ok", chat_stub.WRONG_SCHEMA.text),
        ("fenced", 1, "ok", chat_stub.FENCED.text),
        ("bad_request", 1, "error", "400: "),
        ("bad_key", 1, "error", "401: "),
        ("forbidden", 1, "error", "403: "),
        ("too_many_images", 1, "error", "422: "),
        ("unknown_model", 1, "error", "404: "),
        ("waits_too_long", 1, "error", "asks to wait 3600 s, more than max_wait_s 1.5"),
    ],
)
def test_each_fault_has_its_number_of_requests_and_its_status(stub, model, requests, status, says):
    reply = one(stub, model, timeout_s={"hangs": 0.3, "hangs_once": 1.0}.get(model, 5.0))
    assert (stub.count(model), reply.status, reply.attempts) == (requests, status, requests)
    assert len(reply.failures) == requests - 1
    if status == "ok":
        assert (reply.text, reply.problem) == (says, None)
    else:
        assert reply.text is None
        assert reply.problem is not None and says in reply.problem


def test_an_answer_brings_all_that_the_server_said_of_it(stub):
    details = {"prompt_tokens_details": {"cached_tokens": 30}, "completion_tokens_details": {"reasoning_tokens": 7}}
    stub.scripts["thinks"] = [Said(GOOD, "length", {"prompt_tokens": 100, "completion_tokens": 20, **details}, "f7")]
    reply = one(stub, "thinks")
    assert reply.usage == Usage(100, 30, 20, 7)
    assert (reply.model, reply.fingerprint, reply.finish_reason) == ("thinks", "f7", "length")
    assert 0 < reply.seconds <= reply.total_seconds < 5


def test_tokens_that_the_server_does_not_count_are_not_known(stub):
    stub.scripts["silent"] = [Said(GOOD, usage=None, fingerprint=None)]
    reply = one(stub, "silent")
    assert reply.usage == Usage()
    assert reply.fingerprint is None


def test_the_time_of_the_good_try_is_told_apart_from_that_of_all(stub):
    reply = one(stub, "busy_and_says_when")
    assert reply.total_seconds - reply.seconds >= 0.4


@pytest.mark.parametrize("as_date", [False, True])
def test_a_server_is_waited_for_as_long_as_it_asks(stub, as_date):
    says = email.utils.formatdate(time.time() + 1.2, usegmt=True) if as_date else "0.5"
    stub.scripts["says_when"] = [Status(503, headers={"Retry-After": says}), GOOD]
    began = time.time()
    assert one(stub, "says_when").status == "ok"
    first, second = (asked.at for asked in stub.asked)
    if as_date:  # of whole seconds
        assert time.time() >= email.utils.parsedate_to_datetime(says).timestamp()
        assert time.time() - began < 10
    else:
        assert 0.5 <= second - first < 5


def test_waits_are_drawn_anew_from_a_limit_that_doubles(stub):
    waits = [[failure.waited for failure in one(stub, "broken", first_wait_s=0.05).failures] for _ in range(6)]
    assert all(0 <= wait <= 0.05 * 2**number for each in waits for number, wait in enumerate(each))
    assert len({wait for each in waits for wait in each}) == 18
    assert max(wait for each in waits for wait in each[2:]) > 0.05


def test_a_server_that_asks_for_no_wait_is_waited_for_all_the_same(stub):
    stub.scripts["at_once"] = [Status(429, headers={"Retry-After": said}) for said in ("0", "-1", "nan")] + [GOOD]
    reply = one(stub, "at_once", first_wait_s=0.2)
    assert reply.status == "ok"
    assert sum(failure.waited for failure in reply.failures) > 0.0


def test_no_more_requests_are_under_way_than_wanted_and_so_many_are(stub):
    stub.forget()
    stub.wait = 0.05
    try:
        found = dict(endpoint(stub.url, model="good").replies([request(text=str(n), model="good") for n in range(24)]))
    finally:
        stub.wait = 0.0
    assert sorted(found) == list(range(24))
    assert stub.most_at_once == 4


def test_a_slow_request_holds_no_other(stub):
    stub.scripts["mixed"] = [lambda body: Hang(1.5) if "slow" in chat_stub.texts(body) else Said("quick")]
    requests = [request(text=text, model="mixed") for text in ("slow", *"12345678")]
    order = [number for number, _ in endpoint(stub.url, model="mixed", concurrency=2).replies(requests)]
    assert order[-1] == 0


def test_no_request_is_sent_in_the_place_of_one_whose_reply_was_not_kept(stub):
    """So that a killed process loses no more answers than were under way."""
    requests = [request(text=str(number), model="good") for number in range(9)]
    stub.forget()
    replies = endpoint(stub.url, model="good", concurrency=2).replies(requests)
    for kept in range(3):
        next(replies)
        time.sleep(0.3)
        assert stub.count("good") <= kept + 2
    assert len(list(replies)) == 6


def written(folder, number=0):
    path = folder / f"{number}.png"
    cv2.imwrite(str(path), np.random.default_rng(number).integers(0, 256, (40, 60, 3), np.uint8))
    return path


def test_images_are_sent_as_their_own_bytes_in_the_order_of_the_parts(stub, tmp_path):
    paths = [written(tmp_path, number) for number in range(2)]
    shown = [Picture(path, pictures.sent_sha256(path, "file")) for path in paths]
    one(stub, "good", request(pictures=shown))
    (asked,) = stub.asked
    urls = chat_stub.images(asked.body)
    assert [base64.b64decode(url.removeprefix("data:image/png;base64,")) for url in urls] == [
        path.read_bytes() for path in paths
    ]
    assert [part["type"] for part in asked.body["messages"][0]["content"]] == ["text", "image_url", "image_url"]
    assert str(tmp_path) not in str(asked.body)


def test_what_is_done_to_an_image_is_done_before_it_is_sent(stub, tmp_path):
    path = written(tmp_path)
    one(stub, "good", request(pictures=[Picture(path, pictures.sent_sha256(path, "side_30"), "side_30")]))
    (url,) = chat_stub.images(stub.asked[0].body)
    content = base64.b64decode(url.removeprefix("data:image/png;base64,"))
    assert pictures.rgb(content).shape == (20, 30, 3)
    assert sha256(content).hexdigest() == pictures.sent_sha256(path, "side_30")


def test_an_image_that_changed_or_went_is_not_sent(stub, tmp_path):
    path = written(tmp_path)
    shown = Picture(path, pictures.sent_sha256(path, "file"))
    written(tmp_path, 5).replace(path)
    reply = one(stub, "good", request(pictures=[shown]))
    assert (reply.status, reply.attempts, stub.asked) == ("error", 0, [])
    assert reply.problem is not None and "it changed" in reply.problem
    path.unlink()
    reply = one(stub, "good", request(pictures=[shown]))
    assert reply.problem is not None and "No such file" in reply.problem


def test_the_server_gets_what_decides_an_answer_and_nothing_else(stub, monkeypatch):
    for name in ("OPENAI_API_KEY", "OPENAI_ADMIN_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.setenv(name, "of-another-server")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    schema = {"type": "object", "properties": {"rating": {"type": "string"}}}
    asked = request(temperature=0.7, top_p=0.9, max_tokens=33, seed=5, schema=schema, form="json_schema")
    one(stub, "good", asked)
    (sent,) = stub.asked
    assert sent.body == {
        "model": "good",
        "messages": [{"role": "user", "content": "Describe."}],
        "temperature": 0.7,
        "top_p": 0.9,
        "max_tokens": 33,
        "seed": 5,
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "answer", "strict": True, "schema": schema},
        },
    }
    assert "of-another-server" not in str(sent.headers)
    one(stub, "good", replace(asked, form="json_object"), takes_seed=False)
    assert stub.asked[0].body["response_format"] == {"type": "json_object"}
    assert "seed" not in stub.asked[0].body
    one(stub, "good", replace(asked, form="text"))
    assert "response_format" not in stub.asked[0].body


def test_no_proxy_stands_between_this_machine_and_itself(stub, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    assert one(stub, "good").text == GOOD
    assert all(good for good, _ in probe(replace(endpoint(stub.url, model="good").params, takes_images=1)))


def test_the_key_is_sent_and_never_kept(stub, monkeypatch, tmp_path):
    monkeypatch.setenv("STUB_KEY", "sk-secret-77")
    stub.scripts["tells_the_key"] = [Status(400, "Incorrect API key: sk-secret-77")]
    stub.forget()
    made = endpoint(stub.url, model="tells_the_key", key_variable="STUB_KEY")
    with Ledger(tmp_path, "1-of-1") as book:
        list(ask([request(model="tells_the_key")], made, book, UNLIMITED, "answer"))
    assert stub.asked[0].headers["Authorization"] == "Bearer sk-secret-77"
    content = (tmp_path / "1-of-1.jsonl").read_text()
    assert "Incorrect API key: ***" in content
    assert "sk-secret-77" not in content


def test_without_its_key_nothing_is_asked(stub, monkeypatch):
    monkeypatch.delenv("STUB_KEY", raising=False)
    with pytest.raises(EndpointError, match="STUB_KEY: not set"):
        one(stub, "good", key_variable="STUB_KEY")
    assert not stub.asked


def test_a_key_may_stand_in_a_file_beside_the_parameters(stub, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("STUB_KEY", raising=False)
    (tmp_path / ".env").write_text("OTHER=1\nSTUB_KEY=sk-of-the-file\n")
    one(stub, "good", key_variable="STUB_KEY")
    assert stub.asked[0].headers["Authorization"] == "Bearer sk-of-the-file"
    (tmp_path / ".env").write_bytes(b"STUB_KEY=\xff\xfe")
    with pytest.raises(EndpointError, match=r"\.env: cannot be read"):
        one(stub, "good", key_variable="STUB_KEY")


def test_a_short_lived_token_is_made_once_and_anew_when_it_is_refused(stub, tmp_path):
    script = tmp_path / "token.sh"
    script.write_text(f"echo x >> {tmp_path}/made\necho token-$(wc -l < {tmp_path}/made)\n")
    accepted = ["token-1"]

    def says(body):
        return Said(GOOD) if stub.asked[-1].headers["Authorization"].split()[-1] in accepted else Status(401)

    stub.scripts["short_lived"] = [says]
    stub.forget()
    requests = [request(text=str(number), model="short_lived") for number in range(3)]
    made = endpoint(stub.url, model="short_lived", token_command=f"sh {script}", concurrency=1)
    found = []
    for _, reply in made.replies(requests):
        found.append((reply.status, reply.attempts))
        accepted[:] = ["token-2"]
    assert found == [("ok", 1), ("ok", 2), ("ok", 1)]
    assert (tmp_path / "made").read_text().count("x") == 2
    accepted.clear()
    assert one(stub, "short_lived", token_command=f"sh {script}").problem.startswith("401")
    assert stub.count("short_lived") == 2


def test_a_token_that_many_requests_find_refused_is_made_anew_once(stub, tmp_path):
    script = tmp_path / "token.sh"
    script.write_text(f"echo x >> {tmp_path}/made\necho token-$(wc -l < {tmp_path}/made)\n")

    def says(body):
        return Said(GOOD) if stub.asked[-1].headers["Authorization"] == "Bearer token-2" else Status(401)

    stub.scripts["expired"] = [says]
    requests = [request(text=str(number), model="expired") for number in range(12)]
    made = endpoint(stub.url, model="expired", token_command=f"sh {script}", concurrency=6)
    assert {reply.status for _, reply in made.replies(requests)} == {"ok"}
    assert (tmp_path / "made").read_text().count("x") == 2


def test_a_token_command_that_fails_stops_at_once(stub):
    for command, says in (("false", "exit code 1"), ("no-such-command", "cannot be run"), ("echo a b", "2 word")):
        with pytest.raises(EndpointError, match=says):
            one(stub, "good", token_command=command)
    assert not stub.asked


def replies_until(error, made, requests, budget=None) -> tuple[list[Reply], str]:
    found = []
    with pytest.raises(error) as caught:
        for _, reply in made.metered(requests, budget or Budget(0.0, 0)):
            found.append(reply)
    return found, str(caught.value)


@pytest.mark.parametrize(("model", "each"), [("bad_key", 1), ("broken", 4)])
def test_an_endpoint_that_refuses_or_is_down_is_not_asked_about_every_case(stub, model, each):
    stub.forget()
    requests = [request(text=str(number), model=model) for number in range(50)]
    found, said = replies_until(EndpointError, endpoint(stub.url, model=model, concurrency=1), requests)
    assert len(found) == 3
    assert stub.count(model) == 3 * each
    assert "stop_after 3" in said


def test_a_dead_endpoint_stops_with_its_address():
    found, said = replies_until(
        EndpointError, endpoint("http://127.0.0.1:9/v1"), [request(text=str(n)) for n in range(9)]
    )
    assert "http://127.0.0.1:9/v1" in said and "ConnectError" in said
    assert {reply.status for reply in found} == {"error"}


def test_a_failure_now_and_then_stops_nothing(stub):
    stub.scripts["now_and_then"] = [lambda body: Status(500) if chat_stub.texts(body) in "036" else Said(GOOD)]
    requests = [request(text=str(number), model="now_and_then") for number in range(9)]
    found = dict(endpoint(stub.url, model="now_and_then", concurrency=1).replies(requests))
    assert [number for number in range(9) if found[number].status != "ok"] == [0, 3, 6]


PRICE = Price(date="2026-11-20", source="test", input=1000.0, output=10_000.0, cached=None, reasoning=None)


@pytest.mark.parametrize("concurrency", [1, 4, 32])
def test_a_budget_in_dollars_is_not_passed_and_what_is_under_way_is_handed_on(stub, concurrency):
    stub.forget()
    budget = Budget(2.0, 0, {"p": PRICE})
    requests = [request(text=f"{number:090d}", model="good") for number in range(50)]
    made = endpoint(stub.url, model="good", price="p", concurrency=concurrency)
    found, said = replies_until(BudgetError, made, requests, budget)
    assert all(reply.status == "ok" for reply in found)
    each = (100 * PRICE.input + 20 * PRICE.output) / 1e6
    assert budget.dollars == pytest.approx(len(found) * each)
    assert budget.reserved == pytest.approx(0)
    assert 2.0 - 2 * each < budget.dollars <= 2.0
    assert stub.count("good") == len(found) == budget.requests
    assert "max_dollars $2.0000" in said and "goes on" in said


def test_what_is_under_way_when_the_budget_is_spent_is_kept(stub, tmp_path):
    stub.forget()
    stub.wait = 0.05
    client = ClientParams(network="live", max_dollars=0.0, max_requests=9, prices="shipped")
    requests = [request(text=str(number), model="good") for number in range(30)]
    try:
        with Ledger(tmp_path, "1-of-1") as book, pytest.raises(BudgetError):
            list(ask(requests, endpoint(stub.url, model="good"), book, client, "answer"))
    finally:
        stub.wait = 0.0
    with Ledger(tmp_path, "1-of-1") as book:
        assert len(book) == stub.count("good") == 9


def test_a_try_that_was_cut_off_counts_with_what_it_could_cost(stub):
    budget = Budget(1e9, 0, {"p": PRICE})
    made = endpoint(stub.url, model="hangs_once", price="p", timeout_s=1.0)
    asked = request(text="cut", model="hangs_once")
    list(made.metered([asked], budget))
    each = (100 * PRICE.input + 20 * PRICE.output) / 1e6
    most = ((len("cut") + 16) * PRICE.input + 20 * PRICE.output) / 1e6
    assert budget.dollars == pytest.approx(each + most)


def test_a_refused_try_costs_nothing(stub):
    budget = Budget(1e9, 0, {"p": PRICE})
    list(endpoint(stub.url, model="bad_request", price="p").metered([request(model="bad_request")], budget))
    assert (budget.dollars, budget.requests) == (0.0, 1)


def test_a_limit_of_requests_counts_tries(stub):
    stub.forget()
    requests = [request(text=str(number), model="broken_once") for number in range(9)]
    made = endpoint(stub.url, model="broken_once", concurrency=3)
    found, said = replies_until(BudgetError, made, requests, Budget(0.0, 7))
    assert stub.count("broken_once") == 7
    assert len(found) in (2, 3)  # of each there are two tries; the last may be the first of another
    assert "7 of findings.client.max_requests 7" in said


def test_a_budget_in_dollars_needs_a_price(stub):
    stub.forget()
    with pytest.raises(RequestsError, match="no price 'none'"):
        list(endpoint(stub.url, model="good").metered([request(model="good")], Budget(1.0, 0)))
    assert not stub.asked


def test_what_is_closed_early_lets_go_of_what_is_under_way(stub):
    stub.scripts["first_quick"] = [lambda body: Said(GOOD) if "quick" in chat_stub.texts(body) else Hang()]
    requests = [request(text=text, model="first_quick") for text in ("quick", *"12345678")]
    began = time.monotonic()
    replies = endpoint(stub.url, model="first_quick", timeout_s=30.0, max_tries=1, total_timeout_s=60.0).replies(
        requests
    )
    assert next(replies)[0] == 0
    replies.close()
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"total_timeout_s": 26.0}, "wanted more than max_tries x .timeout_s . max_wait_s. = 26"),
        ({"first_wait_s": 2.0}, "wanted at most max_wait_s 1.5"),
        ({"key_variable": "A", "token_command": "b"}, "wanted one of them"),
        ({"base_url": "example.com/v1"}, "wanted http:// or https://"),
        ({"base_url": "https://name:word@example.com/v1"}, "wanted the name of a key_variable"),
    ],
)
def test_what_does_not_go_together_is_refused(changes, says):
    with pytest.raises(ValueError, match=says):
        endpoint(**{"base_url": "http://127.0.0.1:1/v1", **changes})


def test_no_case_is_sent_to_another_machine_unless_it_may_leave():
    with pytest.raises(RequestsError, match="set data_may_leave to true"):
        list(endpoint("http://example.invalid/v1").replies([request()]))


def test_more_images_than_the_server_takes_are_refused_before_the_first_request(stub, tmp_path):
    stub.forget()
    shown = [Picture(tmp_path / "none.png", "0" * 64)] * 3
    with pytest.raises(RequestsError, match="case2: 3 images, more than takes_images 2"):
        list(endpoint(stub.url, takes_images=2).replies([request("case1"), request("case2", pictures=shown)]))
    assert not stub.asked


def test_another_machine_of_the_same_model_gets_nothing_that_was_answered(stub, tmp_path):
    stub.forget()
    for url in (stub.url, "http://127.0.0.1:9/v1"):
        with Ledger(tmp_path, "1-of-1") as book:
            found = dict(ask([request(model="good")], endpoint(url, model="good"), book, UNLIMITED, "answer"))
        assert found[0].text == GOOD
    assert stub.count("good") == 1
