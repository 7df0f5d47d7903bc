"""Claims about stages.lib.metrics.text.looping and status."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.lib.metrics.text.extract import extractor
from stages.lib.metrics.text.looping import MIN_TIMES, MIN_WORDS, cycle, is_looping
from stages.lib.metrics.text.status import status

PLACES = ["head", "chest", "liver", "spleen", "left kidney", "right kidney", "pancreas", "spine", "pelvis", "bladder"]
words = st.text(alphabet="abcdefgh", min_size=1, max_size=6)
sentences = st.lists(words, min_size=3, max_size=9, unique=True).map(" ".join)


@given(
    st.lists(sentences, max_size=5), st.lists(sentences, min_size=1, max_size=3), st.integers(0, 5), st.integers(0, 30)
)
def test_sentences_repeated_to_the_end_are_a_loop_wherever_it_is_cut(before, again, more, cut):
    stretch = ". ".join(again) + ". "
    times = MIN_TIMES + 1 + more + MIN_WORDS // len(stretch.split())
    text = ". ".join(before) + ". " + stretch * times
    assert is_looping(text[: len(text) - min(cut, len(stretch))])


@given(st.integers(0, 10_000), st.integers(50, 400))
def test_a_long_varied_text_is_no_loop(seed, n):
    rng = random.Random(seed)
    listed = [f"{rng.choice('bcdfg')}{rng.choice('aeiou')}{number}" for number in range(40)]
    text = [" ".join(rng.sample(listed, rng.randint(4, 9))) for _ in range(n // 6)]
    assert not is_looping(". ".join(text) + ".")


def test_sentences_that_are_alike_and_differ_are_no_loop():
    assert not is_looping(" ".join(f"There is no mass, cyst or calcification in the {place}." for place in PLACES * 1))
    assert not is_looping("\n".join(f"- {place}: no abnormality is seen here." for place in PLACES))
    assert not is_looping("\n".join(f"Level C{n}-C{n + 1}: no disc bulge. No stenosis." for n in range(30)))


def test_sentences_that_were_all_said_before_in_whatever_order_are_a_loop_from_eight_on():
    said = {name: f"{name} is normal." for name in "abcde"}

    def text(names):
        return " ".join(said[name] for name in names)

    assert is_looping(text("abcdbadcacbd"))
    assert is_looping(text("abcdbadcacbd") + " a is")
    assert not is_looping(text("abcdbadcacb"))
    assert not is_looping(text("abcdebadecbcd"))


def test_a_cycle_is_a_loop_from_24_words_on():
    assert is_looping("no " * MIN_WORDS)
    assert not is_looping("no " * (MIN_WORDS - 1))


def test_a_very_long_word_is_looked_at_letter_by_letter():
    assert is_looping("a" * 41)
    assert not is_looping("a" * 40)


def test_one_that_says_everything_twice_is_no_loop():
    text = " ".join(f"There is no mass in the {place}." for place in PLACES)
    assert not is_looping(f"FINDINGS: {text} IMPRESSION: {text}")


@pytest.mark.parametrize(
    "text",
    [
        "The liver is normal. " * 20,
        "no " * 30,
        "\n".join(f"{n}. There is a mass in the left kidney." for n in range(12)),
        "Some words before. "
        + "The liver is normal. The spleen is normal in size and shape. " * 6
        + "The liver is nor",
        "a" * 200,
        "x " + "01" * 100,
        " ".join(random.Random(3).choices(["The liver is normal.", "The spleen is normal.", "No mass."], k=40)),
    ],
)
def test_known_loops(text):
    assert is_looping(text)


@pytest.mark.parametrize("text", ["", "no", "no no no no", "There is a mass. " * 2, "-" * 500, "A mass.\n\n\n\n\n"])
def test_short_texts_and_lines_of_marks_are_none(text):
    assert not is_looping(text)


@given(st.lists(st.sampled_from("ab"), max_size=14), st.integers(0, 3))
def test_a_cycle_is_what_its_definition_says(given_words, more):
    sequence = given_words + given_words[-2:] * more
    n, longest = len(sequence), 0
    for period in range(1, n):
        length = period
        while length < n and sequence[n - 1 - length] == sequence[n - 1 - length + period]:
            length += 1
        longest = max(longest, length if length >= MIN_TIMES * period else 0)
    assert cycle(sequence) == longest


LOOP = "There is a mass. " * 20


@pytest.mark.parametrize(
    ("text", "reason", "wanted"),
    [
        ("A mass.", "stop", "ok"),
        ("A mass.", None, "ok"),
        ("A mass in the", "length", "truncated"),
        (LOOP, "length", "looping"),
        (LOOP, "stop", "looping"),
        (" \n", "stop", "empty"),
        ("...", "length", "empty"),
        ("", "content_filter", "refused"),
        ("I'm sorry, but I can't help with that.", "stop", "refused"),
        ("As an AI, I am unable to provide a diagnosis.", "stop", "refused"),
        ("I cannot interpret this image. Please consult a radiologist.", "length", "refused"),
        ("I cannot provide a diagnosis, but there is a mass in the liver.", "stop", "ok"),
        ("I am unable to see any abnormality. The liver is normal.", "stop", "ok"),
        ("The mass cannot be seen on these images.", "stop", "ok"),
    ],
)
def test_what_became_of_an_answer(text, reason, wanted):
    assert status(text, reason, extractor()) == wanted
