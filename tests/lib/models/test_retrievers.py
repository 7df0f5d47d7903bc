"""Similar cases are found, and never the same case, an image of it or a nearly equal one."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from medpix_folder import noise
from pngs import png

from stages.lib.core.errors import ParamsError
from stages.lib.models import image_retrieval
from stages.lib.models.encoder import Encoder
from stages.lib.models.retriever import Case, Neighbour, Setting, nearest
from stages.lib.models.retrievers import shuffled, text

COUNT = st.integers(1, 8)


def case(name: str, history: str | None = None, group: int | None = None, *images: Path) -> Case:
    return Case(name, history, images, hash(name) if group is None else group)


@settings(max_examples=60, deadline=None)
@given(n=COUNT, m=COUNT, k=st.integers(1, 5), seed=st.integers(0, 99))
def test_neighbours_are_the_nearest_of_other_groups_in_falling_order(n: int, m: int, k: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    cases = [case(f"c{number}", None, int(rng.integers(4))) for number in range(n + m)]
    vectors = rng.integers(-2, 3, (n + m, 3)).astype(float)
    index = rng.permutation(n + m)[:m]
    found = nearest(cases[:n], [cases[place] for place in index], vectors[:n], vectors[index], k)
    for place, query in enumerate(cases[:n]):
        near = found[query.case_id]
        allowed = [
            other
            for other in index
            if cases[other].group != query.group and vectors[other].any() and vectors[place].any()
        ]
        assert len(near) == min(k, len(allowed))
        cosines = sorted(
            (
                float(vectors[place] @ vectors[other] / np.linalg.norm(vectors[place]) / np.linalg.norm(vectors[other]))
                for other in allowed
            ),
            reverse=True,
        )
        assert [one.similarity for one in near] == pytest.approx(cosines[:k], abs=1e-6)
        assert all(-1 <= one.similarity <= 1 for one in near)


def test_neighbours_do_not_depend_on_the_order_of_the_index() -> None:
    cases = [case(name) for name in "abcd"]
    same = np.ones((4, 2))
    there = nearest(cases[:1], cases[1:], same[:1], same[1:], 2)
    back = nearest(cases[:1], cases[:0:-1], same[:1], same[1:], 2)
    assert there == back == {"a": [Neighbour("b", 1.0), Neighbour("c", 1.0)]}


def test_a_case_is_not_found_for_itself() -> None:
    twice = [case("a", None, 1), case("a", None, 2)]
    assert nearest(twice[:1], twice[1:], np.ones((1, 2)), np.ones((1, 2)), 3) == {"a": []}


def test_texts_are_compared_by_their_histories_and_without_one_nothing_is_found() -> None:
    index = [
        case("knee", "A runner with pain of the knee."),
        case("liver", "Pain of the upper abdomen and jaundice."),
        case("silent"),
    ]
    queries = [case("q1", "Jaundice and pain"), case("q2", None), case("q3", "Épistaxis")]
    find = text.retriever(text.Params(k=3, max_ngram=2), Setting())
    found = find(queries, index)
    assert [one.case_id for one in found["q1"]] == ["liver", "knee"]
    assert found["q1"][0].similarity > 0.3
    assert 0 < found["q1"][1].similarity < found["q1"][0].similarity
    assert found["q2"] == found["q3"] == []
    assert find(queries, index[2:]) == {"q1": [], "q2": [], "q3": []}


@settings(max_examples=60, deadline=None)
@given(n=st.integers(2, 9), seed=st.integers(0, 99))
def test_shuffled_neighbours_are_the_same_lists_and_none_is_kept(n: int, seed: int) -> None:
    queries = [case(f"q{number}", None, number) for number in range(n)]
    index = [case(f"t{number}", None, 100 + number) for number in range(n)]
    found = {query.case_id: [Neighbour(one.case_id, 0.5)] for query, one in zip(queries, index, strict=True)}
    dealt = shuffled.retriever(shuffled.Params(k=1, of="x", seed=seed), Setting(neighbours=found))(queries, index)
    assert sorted(map(repr, dealt.values())) == sorted(map(repr, found.values()))
    assert all(dealt[name] != found[name] for name in found)
    again = shuffled.retriever(shuffled.Params(k=1, of="x", seed=seed), Setting(neighbours=found))
    assert again(queries[::-1], index) == dealt


def test_a_shuffled_neighbour_that_shares_an_image_with_the_case_is_left_out() -> None:
    queries, index = [case("a", None, 1), case("b", None, 2)], [case("t", None, 1), case("u", None, 3)]
    found = {"a": [Neighbour("u", 0.9)], "b": [Neighbour("t", 0.8), Neighbour("u", 0.7)]}
    dealt = shuffled.retriever(shuffled.Params(k=2, of="x", seed=0), Setting(neighbours=found))(queries, index)
    assert dealt == {"a": [Neighbour("u", 0.7)], "b": [Neighbour("u", 0.9)]}


def test_shuffling_needs_neighbours_and_two_cases() -> None:
    asked = shuffled.Params(k=2, of="alike", seed=0)
    with pytest.raises(ParamsError, match="what the retriever alike found"):
        shuffled.retriever(asked, Setting())
    with pytest.raises(ParamsError, match="wanted two or more"):
        shuffled.retriever(asked, Setting(neighbours={}))([case("a")], [])


def image_params(**changes: Any) -> image_retrieval.ImageParams:
    return image_retrieval.ImageParams(**{"k": 3, "pixels": "file", "centred": False, **changes})


def by_colour(calls: list[int]) -> Encoder:
    """Features are the mean of each channel."""

    def features(image: np.ndarray) -> np.ndarray:
        calls.append(1)
        return image.mean(axis=(0, 1)).astype(np.float32)

    return Encoder("colours", lambda: features)


def flat(folder: Path, name: str, red: int, green: int, blue: int) -> Path:
    pixels = np.full((8, 8, 3), (red, green, blue), np.uint8)
    (folder / name).write_bytes(png(pixels))
    return folder / name


def test_cases_are_compared_by_the_mean_of_their_images(tmp_path: Path) -> None:
    red, green = flat(tmp_path, "r.png", 200, 0, 0), flat(tmp_path, "g.png", 0, 90, 0)
    index = [case("red", None, 1, red), case("both", None, 2, red, green), case("green", None, 3, green)]
    query = case("q", None, 4, flat(tmp_path, "q.png", 100, 0, 0))
    found = image_retrieval.retriever(image_params(), by_colour([]), None)([query], index)
    assert [(one.case_id, round(one.similarity, 4)) for one in found["q"]] == [
        ("red", 1.0),
        ("both", 0.7071),
        ("green", 0.0),
    ]


def test_what_the_index_has_in_common_can_be_taken_out(tmp_path: Path) -> None:
    index = [
        case("a", None, 1, flat(tmp_path, "a.png", 200, 210, 200)),
        case("b", None, 2, flat(tmp_path, "b.png", 210, 200, 200)),
    ]
    query = case("q", None, 3, flat(tmp_path, "q.png", 200, 211, 200))
    plain, centred = (
        image_retrieval.retriever(image_params(centred=one), by_colour([]), None)([query], index)["q"]
        for one in (False, True)
    )
    assert min(one.similarity for one in plain) > 0.99
    assert [one.case_id for one in centred] == ["a", "b"]
    assert centred[0].similarity > 0.9
    assert centred[1].similarity < -0.9


def test_features_are_kept_by_the_bytes_of_the_image_and_the_encoder_and_a_flipped_bit_is_found(tmp_path: Path) -> None:
    calls: list[int] = []
    encoder, kept = by_colour(calls), tmp_path / "kept"
    (tmp_path / "a.png").write_bytes(noise(1))
    first = image_retrieval.features(tmp_path / "a.png", "file", encoder, kept)
    again = image_retrieval.features(tmp_path / "a.png", "file", encoder, kept)
    assert np.array_equal(first, again)
    assert len(calls) == 1
    (file,) = kept.rglob("*.bin")
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    assert np.array_equal(image_retrieval.features(tmp_path / "a.png", "file", encoder, kept), first)
    assert len(calls) == 2
    image_retrieval.features(tmp_path / "a.png", "side_16", encoder, kept)
    image_retrieval.features(tmp_path / "a.png", "file", Encoder("another", encoder.load), kept)
    assert len(calls) == 4
    assert len(list(kept.rglob("*.bin"))) == 3


def test_pixels_that_are_no_word_are_refused() -> None:
    with pytest.raises(ValueError, match="wanted file, or grey"):
        image_params(pixels="gray")
