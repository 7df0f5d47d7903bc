"""Parameters of the chapter lofi that fit alone and not together are refused before any job, in one sentence."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from stages.lib.core.errors import ParamsError
from workflow import registry

SHIPPED = (Path(__file__).parents[2] / "workflow" / "presets" / "demo.yaml").read_text()
X = "lofi.ablations.variants.x"


def changed(changes: dict[str, Any]) -> dict[str, Any]:
    """The shipped parameters with other values of the chapter, by dotted name."""
    document: dict[str, Any] = yaml.safe_load(SHIPPED)
    for name, value in changes.items():
        *way, last = name.split(".")
        inside = document["lofi"]
        for part in way:
            inside = inside[part]
        inside[last] = value
    return document


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"grounders.copied.encoder": "other"},
            "lofi.grounders.copied.encoder: found 'other', wanted one of lofi, base",
        ),
        ({"ablations.grounder": "copied"}, "lofi.ablations.grounder: found 'copied', wanted one of tuned_lofi"),
        ({"grounders.in_context_4.k": 25}, "lofi.grounders.in_context_4.k: found 25 examples, wanted at most lofi"),
        ({"ablations.variants.x": {"poolings": "heads"}}, f"{X}: poolings: unknown"),
        ({"ablations.variants.x": {"pooling": "head"}}, f"{X}: lofi.model.pooling: found 'head', wanted 'heads' or"),
        ({"ablations.variants.x": {"encoder": "a/b"}}, f"{X}: encoder: unknown"),
        ({"ablations.variants.x": {"tasks": ["caption"]}}, f"{X}: lofi.train: found"),
        ({"ablations.variants": {"a/b": {"pooling": "heads"}}}, "lofi.ablations.variants.a/b"),
        ({"embed.image_splits": ["test"]}, "lofi.embed.image_splits: found ['test'], wanted train, val, test"),
        ({"embed.text_splits": ["val"]}, "lofi.embed.text_splits: found ['val'], wanted test"),
        ({"measure.ks": [1, 5]}, "lofi.measure.ks: found [1, 5], wanted 10 among them"),
        ({"encoders": {}}, "lofi.encoders: found no row, wanted one or more"),
        ({"grounders": {}}, "lofi.ablations.grounder: found 'tuned_lofi', wanted one of none"),
    ],
)
def test_what_does_not_fit_together_is_refused_with_what_was_found_and_wanted(
    changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(ParamsError) as error:
        registry.check(changed(changes))
    assert said in str(error.value)


def test_an_encoder_that_does_not_read_is_neither_compared_nor_asked_for_a_map() -> None:
    shipped = yaml.safe_load(SHIPPED)["lofi"]
    base = {name: value for name, value in shipped["encoders"]["base"].items() if name != "label"}
    encoders = {"lofi": shipped["encoders"]["lofi"], "base": {**base, "kind": "medgemma"}}
    with pytest.raises(ParamsError) as error:
        registry.check(changed({"encoders": encoders, "grounders.map.encoder": "base"}))
    assert list(error.value.problems) == [
        "lofi.measure.compared_encoders.0.1: found 'base', which does not read, wanted one of lofi",
        "lofi.grounders.map.encoder: found 'base', which does not read, wanted one of lofi",
    ]


def test_a_study_needs_no_grounder() -> None:
    registry.check(changed({"grounders": {}, "measure.compared_grounders": [], "ablations.grounder": "none"}))


def test_one_encoder_is_enough() -> None:
    encoders = {"lofi": yaml.safe_load(SHIPPED)["lofi"]["encoders"]["lofi"]}
    registry.check(changed({"encoders": encoders, "measure.compared_encoders": []}))
