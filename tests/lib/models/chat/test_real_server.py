"""A real server answers an endpoint with what the model answers in this process."""

import itertools
from dataclasses import replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
from chats import ENDPOINT, endpoint
from real_server import DEMO_BASE, Served
from tiny_base import EXACT

from stages.lib.demo import tiny
from stages.lib.images import pictures
from stages.lib.models import gemma3
from stages.lib.models.chat import local
from stages.lib.models.chat.endpoint_params import EndpointParams
from stages.lib.models.chat.probe import probe
from stages.lib.models.chat.request import Message, Picture, Reply, Request, Sampling, Text

pytestmark = pytest.mark.slow
PROMPTS = ("Where are lung nodules? Answer with boxes.", "Does this chest X-ray show a lung nodule?")
MAX_TOKENS = 40


@pytest.fixture(scope="module")
def shown(tmp_path_factory) -> list[Path]:
    """Six squares of the model's side: noise around a bright disc."""
    folder = tmp_path_factory.mktemp("shown")
    random = np.random.default_rng(7)
    paths = []
    for number in range(6):
        image = random.normal(110, 25, (tiny.SIDE_PX, tiny.SIDE_PX)).clip(0, 255).astype(np.uint8)
        cv2.circle(image, tuple(int(at) for at in random.integers(20, 90, 2)), 3 + 2 * number, 230, -1)
        paths.append(folder / f"{number}.png")
        cv2.imwrite(str(paths[-1]), np.dstack([image] * 3))
    return paths


def asking(served: Served, paths: list[Path], text: str, *, image_first: bool) -> Request:
    images = tuple(Picture(path, pictures.sent_sha256(path, "file")) for path in paths)
    parts = (*images, Text(text)) if image_first else (Text(text), *images)
    return Request(
        item=",".join(path.stem for path in paths),
        model=served.model,
        revision="none",
        messages=(Message("user", parts),),
        sampling=Sampling(temperature=0.0, top_p=1.0, max_tokens=MAX_TOKENS, seed=None),
    )


def replies(served: Served, requests: list[Request]) -> dict[int, Reply]:
    made = endpoint(served.url, model=served.model, timeout_s=60.0, total_timeout_s=600.0, concurrency=8)
    return dict(made.replies(requests))


def test_it_says_what_the_model_says_in_this_process_in_both_orders(real_server, shown):
    loaded = gemma3.load(DEMO_BASE, EXACT)
    squares = [cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) for path in shown]
    for text in PROMPTS:
        for image_first in (True, False):
            requests = [asking(real_server, [path], text, image_first=image_first) for path in shown]
            found = replies(real_server, requests)
            wanted = gemma3.generate(loaded, squares, text, MAX_TOKENS, image_first=image_first)
            assert [found[number].status for number in range(len(shown))] == ["ok"] * len(shown)
            assert [found[number].text for number in range(len(shown))] == [one.text for one in wanted]
            assert [found[number].finish_reason == "length" for number in range(len(shown))] == [
                one.cut for one in wanted
            ]


def test_the_arm_in_this_process_gives_the_same_replies_to_every_form_of_request(real_server, shown):
    """One and two images, before and after the text, with a system message and without, and an example before."""
    inside = local.Local(partial(gemma3.load, DEMO_BASE, EXACT), real_server.model, "none", batch_size=4)
    system = Message("system", (Text("You are a radiologist."),))
    requests = []
    for number, image_first in itertools.product(range(4), (True, False)):
        one = asking(real_server, shown[number : number + 1 + number % 2], PROMPTS[0], image_first=image_first)
        example = (*asking(real_server, shown[5:], PROMPTS[0], image_first=image_first).messages,)
        example += (Message("assistant", (Text("[]"),)),)
        requests += [
            one,
            replace(one, messages=(system, *one.messages)),
            replace(one, messages=(*example, *one.messages)),
            replace(one, messages=(Message("user", (Text(PROMPTS[number % 2]),)),)),
        ]
    outside, known = replies(real_server, requests), dict(inside.replies(requests))
    for number in range(len(requests)):
        assert (outside[number].status, known[number].status) == ("ok", "ok")
        assert outside[number].text == known[number].text
        assert outside[number].finish_reason == known[number].finish_reason
        assert outside[number].usage.prompt_tokens == known[number].usage.prompt_tokens
    assert len({reply.text for reply in outside.values()}) > 3


def test_doctor_finds_nothing_to_mend_in_it(real_server):
    changes = {"base_url": real_server.url, "model": real_server.model, "timeout_s": 60.0, "total_timeout_s": 600.0}
    lines = probe(EndpointParams(**{**ENDPOINT, **changes}))
    assert all(good for good, _ in lines), lines
    assert any("answers 4 image(s)" in said for _, said in lines)
    assert any("does not obey it" in said for _, said in lines)  # it takes response_format, and ignores it


def test_it_takes_several_images_and_counts_their_tokens(real_server, shown):
    one, two = (asking(real_server, shown[:n], PROMPTS[0], image_first=True) for n in (1, 2))
    found = replies(real_server, [one, two])
    tokens = [found[number].usage.prompt_tokens for number in range(2)]
    assert None not in tokens
    assert tokens[1] - tokens[0] > 16
    assert found[1].status == "ok"


def test_a_model_that_it_does_not_have_is_refused_at_once(real_server, shown):
    other = replace(real_server, model="google/medgemma-4b-it")
    reply = replies(other, [asking(other, shown[:1], PROMPTS[0], image_first=True)])[0]
    assert (reply.status, reply.attempts) == ("error", 1)
    assert reply.problem is not None and reply.problem.startswith("400: ")


def test_the_model_comes_back_under_the_name_of_its_folder(real_server, shown):
    reply = replies(real_server, [asking(real_server, shown[:1], PROMPTS[0], image_first=True)])[0]
    assert reply.model is not None and reply.model.startswith(str(DEMO_BASE))
