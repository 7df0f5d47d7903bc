"""What of the rows of arms cannot be true together."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_cases import arm

from stages.findings import arms, items
from stages.lib.core import kinds
from stages.lib.core.errors import ParamsError
from stages.lib.core.params import parse


def rows(**given):
    return parse({"arms": given}, {"arms": kinds.rows(kinds.ARMS)}).arms


def after(name):
    return arm(prompt="elaborate", after=name)


def test_the_shipped_kinds_of_rows_are_found_sound():
    found = rows(one=arm(), two=after("one"), guess=arm("constant", text="x"))
    assert arms.problems(found, ()) == []


def test_arms_that_wait_for_each_other_are_named_once_as_a_cycle():
    found = rows(a=after("b"), b=after("c"), c=after("a"), d=after("a"))
    assert arms.problems(found) == ["findings.arms: a -> b -> c -> a: each waits for the other's answers"]
    assert arms.cycles(rows(own=after("own"))) == [["own", "own"]]


def test_an_unknown_arm_or_retriever_and_one_of_another_unit_are_named():
    found = rows(
        images=arm(unit="image", images="first"),
        two=after("imags"),
        three=after("images"),
        four=arm(examples="retrieved", n_examples=1, retriever="siglib"),
    )
    assert arms.problems(found, ["siglip"]) == [
        "findings.arms.two.after imags: unknown; did you mean 'after images'?",
        "findings.arms.three.unit: found 'case', wanted 'image' as of the arm images before",
        "findings.arms.four.retriever siglib: unknown; did you mean 'findings.arms.four.retriever siglip'?",
    ]
    assert "findings.retrievers is empty" in arms.problems(found, ())[-1]


def of_one(**changes):
    return arms.of_one(rows(one=arm(**changes))["one"].params)


def test_a_request_has_room_for_an_image_of_the_case_and_of_each_example():
    assert of_one(max_images=1) == []
    shown = {"examples": "few_shot", "n_examples": 2, "example_images": True}
    assert of_one(max_images=3, **shown) == [] and of_one(max_images=2, images="none", **shown) == []
    assert of_one(max_images=1, **{**shown, "example_images": False}) == []
    assert of_one(max_images=2, **shown) == [
        "max_images: found 2, wanted at least 3: an image of the case and of each example"
    ]


def test_examples_stand_in_the_prompt_or_in_turns_before_it_as_the_family_has_them(tmp_path):
    own = tmp_path / "own.yaml"
    own.write_text(
        "{name: own, version: 1, system: null, user: '{examples} What is seen?', by_region: {}, by_modality: {},"
        " questions: [], none_found: null, answer_form: text}"
    )
    shots = {"examples": "few_shot", "n_examples": 1}
    assert of_one(prompt=str(own), **shots) == []
    assert of_one(prompt=str(own)) == [f"prompt {own}: the family has {{examples}}, and examples is none"]
    (problem,) = of_one(prompt=str(own), example_images=True, **shots)
    assert problem == f"example_images: the family {own} has {{examples}} as text, wanted false"
    for name, what in {"structured": "JSON", "brief_focused": "questions"}.items():
        assert of_one(prompt=name) == []
        assert of_one(prompt=name, **shots) == [
            f"examples: a gold text is no answer to the family {name} with {what}; wanted none"
        ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"samples": 3}, "samples 3 at temperature 0 are one answer 3 times"),
        ({"samples": 3, "temperature": 0.7}, "consensus 'none' with 3 sample"),
        ({"unit": "image"}, "images 'all' with unit 'image'"),
        ({"examples": "few_shot"}, "n_examples 0 with examples 'few_shot'"),
        ({"examples": "retrieved", "n_examples": 1}, "retriever 'none' with examples 'retrieved'"),
    ],
)
def test_a_row_that_contradicts_itself_is_refused_when_it_is_read(changes, message):
    with pytest.raises(ParamsError, match=message):
        rows(one=arm(**changes))


@settings(deadline=None)
@given(st.integers(1, 40), st.integers(1, 40))
def test_images_are_spread_evenly_with_the_first_and_last_among_them(count, most):
    most = min(count, most)
    found = items.spread(count, most)
    assert len(set(found)) == most and found == sorted(found) and found[0] >= 0 and found[-1] < count
    if most > 1:
        gaps = [second - first for first, second in itertools.pairwise(found)]
        assert (found[0], found[-1]) == (0, count - 1) and max(gaps) - min(gaps) <= 1
