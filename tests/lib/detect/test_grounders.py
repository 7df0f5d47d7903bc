"""Copying and asking in context: what is shown, what is asked, what is refused."""

from dataclasses import replace

import lofi_grounding as fake
import pytest
from tiny_base import EXACT, localizer_setting

from stages.lib.core import kinds
from stages.lib.core.errors import DataError, ModelError, ParamsError
from stages.lib.core.params import parse
from stages.lib.demo.tiny import SIDE_PX
from stages.lib.detect import demonstrations, shown
from stages.lib.detect.grounder import Setting
from stages.lib.detect.grounders import copy, in_context
from stages.lib.models import conversation
from stages.lofi.ground import neighbours

IN_CONTEXT = {
    "kind": "in_context",
    "model": "tiny",
    "revision": "none",
    "dtype": "float32",
    "attention": "sdpa",
    "quantization": "none",
    "encoder": "lofi",
    "k": 2,
    "demonstrations": "nearest",
    "grouped": False,
    "prompt": "Where is {sentence}?",
    "box_label": "nodule",
    "response_prefix": "",
    "max_new_tokens": 4,
    "seed": 0,
}


def in_context_params(**changes):
    section = {"lofi": {"grounders": {"row": IN_CONTEXT | changes}}}
    return parse(section, {"lofi.grounders": kinds.rows(kinds.GROUNDERS)}).grounders["row"].params


def copy_params(k=1):
    section = {"lofi": {"grounders": {"row": {"kind": "copy", "encoder": "lofi", "k": k, "seed": 0}}}}
    return parse(section, {"lofi.grounders": kinds.rows(kinds.GROUNDERS)}).grounders["row"].params


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return fake.make(tmp_path_factory.mktemp("lofi") / "results", fake.study(), SIDE_PX)


@pytest.fixture(scope="module")
def setting(made, tiny_base, tmp_path_factory):
    folder = tmp_path_factory.mktemp("records")
    base = localizer_setting(folder, tiny_base.folder, EXACT)
    return Setting(
        pool=demonstrations.pool(made.pairs, made.manifest, made.normalized, made.results),
        neighbours=neighbours(made.neighbours),
        base=base.base,
        features=folder / "features",
        preprocessing_hash=fake.HASH,
    )


@pytest.fixture(scope="module")
def asked(made):
    own = shown.sentences(made.pairs, made.manifest, made.normalized, made.results, split="test", most=99, seed=0)
    return {seen: shown.with_images(own, seen, 0) for seen in ("own", "shuffled", "grey")}


def test_the_nearest_examples_boxes_are_copied_unread(setting, asked):
    found = list(copy.grounder(copy_params(1), setting)(asked["own"]))
    assert {one.shown for one in found} == {("train0/0",)}
    assert {one.boxes for one in found} == {setting.pool.by_image["train0"][0].boxes}
    assert {(one.status, one.response, one.confidences) for one in found} == {("ok", None, ())}


def test_of_several_near_examples_the_one_with_the_most_equal_words_is_copied(setting, asked):
    one = replace(asked["own"][0], text="Large heart.")
    assert [found.shown for found in copy.grounder(copy_params(3), setting)([one])] == [("train1/0",)]


def test_with_a_grey_image_the_examples_are_drawn_and_the_same_ones_each_time(setting, asked):
    ask = copy.grounder(copy_params(1), setting)
    found = [one.shown for one in ask(asked["grey"])]
    assert found == [one.shown for one in ask(asked["grey"])]
    assert all(len(one) == 1 for one in found)


def test_without_neighbours_or_without_a_pool_nothing_can_be_copied(setting, asked):
    with pytest.raises(ParamsError, match="--neighbours"):
        copy.grounder(copy_params(), replace(setting, neighbours=None))
    with pytest.raises(DataError, match="no training image with boxes"):
        copy.grounder(copy_params(), replace(setting, pool=demonstrations.Pool({}, {})))
    with pytest.raises(DataError, match="image test0: found no neighbours"):
        list(copy.grounder(copy_params(), replace(setting, neighbours={}))(asked["own"]))


def test_the_most_alike_example_stands_last_and_the_question_behind_it(setting, asked):
    params = in_context_params(k=3)
    found = in_context.examples(params, setting, asked["own"])
    assert [one.name for one in found["own", "test0"]] == ["train1/0", "train0/1", "train0/0"]
    told = [*in_context.demonstrated(params, found["own", "test0"]), in_context.question(params, "A mass.")]
    assert [(turn.role, turn.image) for turn in told] == [
        ("user", "train1"),
        ("model", None),
        ("user", "train0"),
        ("model", None),
        ("user", "train0"),
        ("model", None),
        ("user", "question"),
    ]
    assert (told[0].text, told[-1].text) == ("Where is The heart is large?", "Where is A mass?")
    # 10, 20, 30, 45 of 80 x 100 pixels, padded by 10 columns, y first
    assert told[5].text == '[{"box_2d": [200, 200, 450, 400], "label": "nodule"}]'


def test_grouped_by_image_each_image_stands_once_with_all_its_sentences(setting, asked):
    params = in_context_params(k=3, grouped=True)
    told = in_context.demonstrated(params, in_context.examples(params, setting, asked["own"])["own", "test0"])
    assert [turn.image for turn in told if turn.role == "user"] == ["train1", "train0", None]


def test_all_sentences_of_an_image_share_the_examples_and_random_ones_are_of_others(setting, asked):
    nearest = in_context.examples(in_context_params(), setting, asked["own"])
    drawn = in_context.examples(in_context_params(demonstrations="random"), setting, asked["own"])
    assert nearest.keys() == drawn.keys() == {("own", f"test{k}") for k in range(3)}
    assert {tuple(one.name for one in ones) for ones in nearest.values()} == {("train0/1", "train0/0")}
    assert len({tuple(one.name for one in ones) for ones in drawn.values()}) > 1


def test_more_examples_than_there_are_is_refused_and_says_how_many_there_are(setting, asked):
    with pytest.raises(DataError) as told:
        in_context.examples(in_context_params(k=4), setting, asked["own"])
    assert "the pool has 3 examples on 2 images" in str(told.value)
    assert len(told.value.problems) == 3
    assert "image test0: found 3 examples, wanted 4" in told.value.problems


def test_answers_are_kept_verbatim_with_the_conversation_and_blind_rows_are_asked_the_same_way(setting, asked):
    every = [one for seen in ("own", "shuffled", "grey") for one in asked[seen]]
    found = list(in_context.grounder(in_context_params(), setting)(every))
    assert len(found) == len(every) == 18
    assert {one.status for one in found} == {"malformed"}  # four tokens of random weights
    assert all(one.boxes == () and one.problem and one.response is not None for one in found)
    own = found[0]
    assert own.shown == ("train0/1", "train0/0")
    assert [turn.image for turn in own.turns if turn.image] == ["train0", "train0", "question"]


def test_an_image_is_encoded_once_and_its_beginning_computed_once(setting, asked, monkeypatch):
    counted = []
    prefill = conversation.prefill
    monkeypatch.setattr(conversation, "prefill", lambda *given: counted.append(1) or prefill(*given))
    list(in_context.grounder(in_context_params(), setting)(asked["own"]))
    assert len(counted) == 3  # images, of two sentences each


def test_a_conversation_longer_than_the_model_reads_is_refused_before_anything_is_asked(setting, asked):
    many = demonstrations.Pool(
        {f"x{k:02d}": (replace(setting.pool.by_image["train0"][0], image_id=f"x{k:02d}"),) for k in range(30)}, {}
    )
    near = {f"test{k}": [(name, 0.5) for name in many.by_image] for k in range(3)}
    ask = in_context.grounder(in_context_params(k=30), replace(setting, pool=many, neighbours=near))
    with pytest.raises(
        ModelError, match=r"k=30: the model reads \d+ tokens, .* for 3 of 3 images: test0 \(\d+ tokens\)"
    ):
        list(ask(asked["own"]))


def test_without_examples_no_neighbours_are_wanted(setting, asked):
    found = list(in_context.grounder(in_context_params(k=0), replace(setting, neighbours=None))(asked["own"][:1]))
    assert (found[0].shown, len(found[0].turns)) == ((), 1)


def test_a_prompt_without_a_place_for_the_sentence_is_refused():
    with pytest.raises(ParamsError, match=r"prompt with \{sentence\} once"):
        in_context_params(prompt="Where is it?")


def test_what_is_put_into_the_models_mouth_is_part_of_the_answer(setting, asked):
    one = asked["own"][:1]
    found = next(in_context.grounder(in_context_params(k=0, response_prefix="[] and more, "), setting)(one))
    assert found.response.startswith("[] and more, ")
    assert found.response != next(in_context.grounder(in_context_params(k=0), setting)(one)).response
