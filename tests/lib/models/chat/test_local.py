"""A model in this process, asked as a server would be."""

import base64
import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from checkout import ROOT
from PIL import Image
from tiny_base import EXACT

from stages.lib.core import documents
from stages.lib.core.errors import ParamsError
from stages.lib.demo.synthetic import slice_anatomy, slice_findings
from stages.lib.demo.synthetic.slice_anatomy import REGIONS
from stages.lib.demo.synthetic.slices import draw as draw_slice
from stages.lib.models import gemma3
from stages.lib.models.arm import Setting
from stages.lib.models.chat import local
from stages.lib.models.chat.request import Message, Picture, Request, Sampling, Text

PARAMS = local.LocalParams(
    model="tiny",
    revision="none",
    adapter="none",
    dtype="float32",
    attention="sdpa",
    quantization="none",
    batch_size=3,
    dollars_per_gpu_hour=0.0,
)
GREEDY = Sampling(temperature=0.0, top_p=1.0, max_tokens=12, seed=1)
DRAWN = Sampling(temperature=1.0, top_p=0.9, max_tokens=12, seed=1)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Images of several sizes: grey and in colour."""
    folder, rng = tmp_path_factory.mktemp("pictures"), np.random.default_rng(3)
    found = []
    for number in range(6):
        shape = (60 + 10 * number, 90) if number % 2 else (64, 64 + number, 3)
        path = folder / f"{number}.png"
        Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).save(path)
        found.append(Picture(path, "0" * 64))
    return found


@pytest.fixture(scope="module")
def model(tiny_base, tmp_path_factory):
    record = tmp_path_factory.mktemp("record") / "fetched.json"
    documents.write(record, tiny_base)
    return local.responder(PARAMS, Setting(fetched=record))


def asking(pictures, text="Describe the findings.", sampling=GREEDY, image_first=True, system=None, turns=()):
    parts = (*pictures, Text(text)) if image_first else (Text(text), *pictures)
    said = () if system is None else (Message("system", (Text(system),)),)
    return Request("MPX1", "tiny", "none", (*said, *turns, Message("user", parts)), sampling)


def texts(model, requests):
    replies = dict(model.replies(requests))
    assert sorted(replies) == list(range(len(requests)))
    return [replies[number].text for number in range(len(requests))]


def served_inputs(loaded, request):
    """What `transformers serve` gives the model: its own processor on a conversation with images as data URLs."""
    turns = []
    for message in request.messages:
        content = []
        for part in message.parts:
            if isinstance(part, Text):
                content.append({"type": "text", "text": part.text})
            else:
                url = "data:image/png;base64," + base64.b64encode(part.path.read_bytes()).decode()
                content.append({"type": "image", "url": url})
        turns.append({"role": message.role, "content": content})
    return loaded.processor.apply_chat_template(
        turns, add_generation_prompt=True, return_tensors="pt", return_dict=True, tokenize=True
    )


@pytest.mark.parametrize("image_first", [True, False])
@pytest.mark.parametrize("count", [0, 1, 3])
def test_the_model_gets_the_tokens_and_pixels_that_a_server_would_give_it(model, pictures, count, image_first):
    example = (Message("user", (pictures[5], Text("And here?"))), Message("assistant", (Text("A mass."),)))
    request = asking(pictures[:count], image_first=image_first, system="You are a radiologist.", turns=example)
    ours, theirs = local.inputs(model.loaded, request), served_inputs(model.loaded, request)
    assert sorted(ours) == sorted(theirs)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert ours["pixel_values"].shape[0] == count + 1


@pytest.fixture(scope="module")
def slices(tmp_path_factory):
    """Eight drawn slices."""
    folder, rng, found = tmp_path_factory.mktemp("slices"), np.random.default_rng(4), []
    for number in range(8):
        region = str(rng.choice(REGIONS))
        body, findings = slice_anatomy.body(rng, region), slice_findings.findings(rng, region, number % 3)
        drawn = draw_slice(rng, body, "CT" if number % 2 else "MR", findings, contrast=(0.6, 1.0))
        Image.fromarray(drawn.pixels).save(folder / f"{number}.png")
        found.append(Picture(folder / f"{number}.png", "0" * 64))
    return found


def test_answers_in_batches_are_those_of_one_by_one_and_in_any_order(slices, tmp_path):
    loaded = gemma3.load(ROOT / "workflow/demo_findings_base", EXACT)
    model = local.Local(lambda: loaded, "slices", "none", 5)
    longer = replace(GREEDY, max_tokens=30)
    requests = [asking([one], sampling=longer) for one in slices]
    requests += [asking(slices[n : n + 2], "What do you see?", longer) for n in range(0, 8, 2)]
    together = texts(model, requests)
    assert [texts(model, [request])[0] for request in requests] == together
    assert texts(model, requests[::-1])[::-1] == together
    assert len(set(together)) > 4 and all("There is" in text for text in together)


def test_a_drawn_answer_depends_on_its_own_seed_alone(model, pictures):
    requests = [asking(pictures[:1], sampling=replace(DRAWN, seed=seed)) for seed in (1, 2, 1, 3)]
    torch.manual_seed(99)
    state = torch.get_rng_state()
    together = texts(model, requests)
    assert torch.equal(torch.get_rng_state(), state)
    assert together[0] == together[2] and len(set(together)) == 3
    assert texts(model, requests[2:]) == together[2:]
    assert [texts(model, [request])[0] for request in requests] == together


def test_tokens_are_drawn_with_the_probabilities_of_the_temperature_from_the_most_probable_ones():
    logits = torch.log(torch.tensor([[0.5, 0.3, 0.15, 0.05]]))
    n = 4000
    seeds = [replace(DRAWN, temperature=0.5, top_p=0.97, seed=seed) for seed in range(n)]
    found = local.drawing(seeds)(None, logits.expand(n, 4)).argmax(dim=1)
    squared = torch.tensor([0.5, 0.3, 0.15, 0.0]) ** 2  # the last one is beyond 0.97 of the mass at this temperature
    shares = torch.bincount(found, minlength=4) / n
    assert torch.allclose(shares, squared / squared.sum(), atol=0.03) and shares[3] == 0
    assert set(
        local.drawing([replace(one, top_p=0.0) for one in seeds[:50]])(None, logits.expand(50, 4)).argmax(1).tolist()
    ) == {0}


def test_tokens_are_counted_and_an_answer_that_ends_at_the_limit_says_so(model, pictures):
    replies = dict(model.replies([asking(pictures[:1]), asking(pictures[:2])]))
    for number, reply in replies.items():
        assert (reply.status, reply.finish_reason) == ("ok", "length")
        assert reply.usage.completion_tokens == 12 and reply.model == "tiny" and reply.seconds > 0
        assert (
            reply.usage.prompt_tokens
            == served_inputs(model.loaded, asking(pictures[: number + 1]))["input_ids"].shape[1]
        )
    ends = model.loaded.model.generation_config.eos_token_id
    model.loaded.model.generation_config.eos_token_id = list(range(model.loaded.model.config.text_config.vocab_size))
    try:
        ((_, stopped),) = model.replies([asking(pictures[:1])])
    finally:
        model.loaded.model.generation_config.eos_token_id = ends
    assert (stopped.finish_reason, stopped.usage.completion_tokens) == ("stop", 1)


def test_a_request_that_cannot_be_answered_is_an_error_and_the_others_of_its_batch_are_answered(
    model, pictures, tmp_path
):
    broken = tmp_path / "broken.png"
    broken.write_bytes(pictures[0].path.read_bytes()[:200])
    requests = [
        asking(pictures[:1]),
        asking([Picture(broken, "0" * 64)]),
        asking([Picture(tmp_path / "gone.png", "0" * 64)]),
        asking(pictures[:1], "Two <start_of_image> marks"),
        asking(pictures[:1], "long " * 3000),
    ]
    replies = dict(model.replies(requests))
    assert [replies[number].status for number in range(5)] == ["ok", "error", "error", "error", "error"]
    assert "gone.png" in replies[2].problem and "found 2 marks of an image" in replies[3].problem
    assert "wanted at most 2048" in replies[4].problem


def test_the_bytes_decide_what_is_seen_and_a_file_that_lies_on_its_side_is_turned(model, tmp_path):
    grey = np.random.default_rng(1).integers(0, 256, (40, 60), dtype=np.uint8)
    upright, turned = Image.fromarray(grey), Image.fromarray(np.rot90(grey))
    exif = Image.Exif()
    exif[0x0112] = 6  # the viewer turns it clockwise
    content = io.BytesIO()
    turned.save(content, "PNG", exif=exif)
    (tmp_path / "turned.png").write_bytes(content.getvalue())
    upright.save(tmp_path / "upright.png")
    seen = [
        local.inputs(model.loaded, asking([Picture(tmp_path / name, "0" * 64)]))["pixel_values"]
        for name in ("upright.png", "turned.png")
    ]
    assert torch.equal(*seen)


def test_no_model_is_loaded_to_know_its_name_and_one_without_its_record_is_refused(tmp_path, tiny_base):
    documents.write(tmp_path / "fetched.json", tiny_base)
    found = local.responder(PARAMS, Setting(fetched=tmp_path / "fetched.json"))
    assert (found.name, found.revision) == ("tiny", tiny_base.sha256[:16]) and "loaded" not in vars(found)
    with pytest.raises(ParamsError, match=r"--fetched:\n  - found none, wanted a path"):
        local.responder(PARAMS, Setting())
