"""Soups: the mean of weights by hand, the greedy choice on made-up merits, and the kind on tuned rows."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zoo_tuning

from stages.lib.core.errors import MismatchError, ModelError
from stages.lib.learn import soups
from stages.lib.learn.zoo import soup, tuned
from stages.lib.metrics import binary

SAID = {"seen": "no", "licence": "MIT", "commercial": True}


def state(*weights: float, count: int = 1) -> Any:
    import torch

    return {"w": torch.tensor(weights), "fixed": torch.tensor([1 / 3]), "count": torch.tensor(count)}


def test_a_uniform_soup_is_the_mean_and_keeps_what_is_the_same_bit_by_bit() -> None:
    states = {"a": state(1.0, 5.0, count=7), "b": state(2.0, 5.0, count=9), "c": state(6.0, 5.0)}
    found = soups.uniform_soup(states)
    assert found["w"].tolist() == [3.0, 5.0]
    assert found["fixed"].tolist() == states["a"]["fixed"].tolist()
    assert int(found["count"]) == 7
    again = soups.uniform_soup({name: states[name] for name in "cba"})
    assert again["w"].tolist() == found["w"].tolist()


def test_a_soup_of_one_network_is_it() -> None:
    assert soups.uniform_soup({"a": state(0.1, 0.2)})["w"].tolist() == state(0.1, 0.2)["w"].tolist()


def test_a_greedy_soup_keeps_what_makes_it_no_worse_best_first() -> None:
    # the merit is how near the mean is to 3; alone: b 3.5, d 2.2, a 1, c 9
    states = {"a": state(1.0), "b": state(3.5), "c": state(9.0), "d": state(2.2)}

    def merit(found: Any) -> float:
        return -abs(float(found["w"][0]) - 3.0)

    alone = {name: merit(one) for name, one in states.items()}
    kept, tried = soups.greedy_soup(states, alone, merit)
    assert kept == ("b", "d")
    assert list(tried) == [("b", "d"), ("b", "d", "a"), ("b", "d", "c")]
    assert tried["b", "d"] == pytest.approx(-0.15)


def test_a_soup_that_is_worse_than_the_best_alone_is_left_though_it_beats_the_second() -> None:
    states = {"best": state(3.0), "second": state(5.0)}
    kept, tried = soups.greedy_soup(states, {"best": 0.9, "second": 0.5}, lambda found: 0.7)
    assert kept == ("best",) and list(tried.values()) == [0.7]


def test_of_equals_the_first_comes_first_and_a_soup_as_good_is_kept() -> None:
    states = {name: state(1.0) for name in "abc"}
    kept, _ = soups.greedy_soup(states, dict.fromkeys("abc", 0.5), lambda found: 0.5)
    assert kept == ("a", "b", "c")


def test_networks_of_other_shapes_are_refused_all_by_name() -> None:
    states = {"a": state(1.0), "b": state(1.0, 2.0), "c": {**state(1.0), "more": state(1.0)["w"]}}
    with pytest.raises(ModelError, match=r"b differs from a in w \(1 such\); c differs from a in more"):
        soups.uniform_soup(states)
    with pytest.raises(ModelError, match="no network"):
        soups.uniform_soup({})


def params(method: str = "uniform_soup", **changes: Any) -> soup.Params:
    return soup.Params(
        **{"members": ("a", "b"), "method": method, "side_px": zoo_tuning.SIDE, "shifts": 1, **SAID, **changes}
    )


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Validation images, and folders of three members: two that were tuned otherwise, and one of another class."""
    root = tmp_path_factory.mktemp("soup")
    train, val = zoo_tuning.images(root, 24, 1), zoo_tuning.images(root, 24, 2)
    members = {}
    for name, architecture, rate in (
        ("a", "ResNetForImageClassification", 0.01),
        ("b", "ResNetForImageClassification", 0.003),
        ("c", "ConvNextV2ForImageClassification", 0.003),
    ):
        found = zoo_tuning.model(root / architecture, architecture)
        members[name] = root / name
        members[name].mkdir()
        row = zoo_tuning.params(architecture=architecture, learning_rate=rate, max_steps=4)
        tuned.fit(row, zoo_tuning.setting(root / f"work-{name}", found, val, train), members[name])
    return val, members


def fit(row: soup.Params, study: Any, folder: Path) -> Any:
    val, members = study
    return soup.fit(row, zoo_tuning.setting(folder, None, val, members=members), folder)


@pytest.mark.parametrize("method", ["uniform_soup", "greedy_soup"])
def test_a_soup_of_tuned_rows_scores_images_as_one_network(method: str, study: Any, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    val, members = study
    told = fit(params(method), study, tmp_path)
    asked = zoo_tuning.setting(tmp_path, None, replace(val, labels=None))
    scores = soup.score(params(method), asked, tmp_path).score
    by_name = {one.option: one.average_precision for one in told.tried}
    assert binary.average_precision(val.labels, scores) == by_name[told.chosen]
    assert list(by_name)[:2] == ["a", "b"]
    assert told.passes == 1
    assert told.random_weights
    assert any("Running statistics" in note for note in told.notes)
    found = load_file(tmp_path / "network.safetensors")
    kept = [load_file(members[name] / "network.safetensors") for name in told.chosen.split(" + ")]
    wanted = np.mean([one["head.weight"].numpy() for one in kept], axis=0)
    assert found["head.weight"].numpy() == pytest.approx(wanted)
    greedy = [note for note in told.notes if "never worse on validation than its best member" in note]
    if method == "uniform_soup":
        assert told.chosen == "a + b"
        assert not greedy
    else:
        assert by_name[told.chosen] >= max(by_name["a"], by_name["b"])
        assert greedy


def test_a_member_alone_has_the_scores_of_its_own_row(study: Any, tmp_path: Path) -> None:
    val, members = study
    told = fit(params(), study, tmp_path)
    row = zoo_tuning.params()
    own = tuned.score(row, zoo_tuning.setting(tmp_path, None, replace(val, labels=None)), members["b"]).score
    assert told.tried[1].average_precision == binary.average_precision(val.labels, own)


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        (
            {"members": ("a", "c")},
            ModelError,
            r"a \(ResNet.*\), c \(ConvNextV2.*\) are not of one architecture",
        ),
        ({"members": ("a", "d")}, ModelError, "some_row: found no folder of d"),
        ({"side_px": 64}, MismatchError, "found a at 32 px, b at 32 px, wanted members tuned at side_px 64"),
    ],
)
def test_members_that_do_not_fit_are_refused(
    changes: dict[str, Any], error: type[Exception], said: str, study: Any, tmp_path: Path
) -> None:
    with pytest.raises(error, match=said):
        fit(params(**changes), study, tmp_path)


def test_a_soup_of_one_row_is_refused() -> None:
    with pytest.raises(ValueError, match="at least two different rows"):
        params(members=("a",))
