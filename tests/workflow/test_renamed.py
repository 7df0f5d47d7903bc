"""Parameters of version 0.2.0 are refused with the names that they have now."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from stages.lib.core.errors import ParamsError
from workflow import registry, renamed

ROOT = Path(__file__).parents[2]
ROWS = "nodules.localizers"


def shipped(preset: str) -> dict[str, Any]:
    return yaml.safe_load((ROOT / f"workflow/presets/{preset}.yaml").read_text())


def leaves(document: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in document.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f"{path}{key}.")
        else:
            yield f"{path}{key}", value


def as_it_was(preset: str) -> dict[str, Any]:
    """The parameters of a preset in the layout of 0.2.0, where a section was a key of the file."""
    document = shipped(preset)
    values = dict(leaves(document)) | {ROWS: list(document["nodules"]["localizers"])}
    old: dict[str, Any] = {"study": {"shards": document["study"]["shards"]}}
    for path, now in renamed.RENAMED.items():
        section, _, key = path.partition(".")
        if key and "." not in key and now in values:
            old.setdefault(section, {})[key] = values[now]
    return old


def problems(document: object) -> list[str]:
    with pytest.raises(ParamsError) as caught:
        registry.check(document)
    return list(caught.value.problems)


def test_a_parameter_file_of_0_2_0_is_refused_with_every_new_name() -> None:
    old = as_it_was("demo")
    names = [f"{section}.{key}" for section, keys in old.items() for key in keys if section != "study"]
    assert len(names) == 130  # all but study.shards, one of report and four of predict, whose names stay
    found = problems(old)
    for name in names:
        assert f"{name}: unknown; it is {renamed.RENAMED[name]} now" in found
    others = [line for line in found if "; it is " not in line]
    assert "nodules.train: section is missing" in others
    assert all(line.endswith("missing") for line in others)


def test_an_old_name_is_refused_beside_other_problems_and_in_its_section_s_new_place() -> None:
    document = shipped("nodulocc")
    document["train"] = {"peak_lr": 1.0}
    document["nodules"]["train"]["rank"] = 16
    document["nodules"]["localizers"]["attribution"]["moves"] = 2
    document["nodules"]["choose"] = {"requests_kept": 1}
    document["data"]["split"]["sead"] = 1
    assert set(problems(document)) == {
        "train.peak_lr: unknown; it is nodules.train.learning_rate now",
        "nodules.train.rank: unknown; it is nodules.train.lora_r now",
        "nodules.localizers.attribution.moves: unknown; it is nodules.localizers.attribution.shifts now",
        "nodules.choose: unknown; it is nodules.select now",
        "data.split.sead: unknown; did you mean 'data.split.seed'?",
    }


def test_a_path_of_the_old_layout_is_refused_with_the_new_one() -> None:
    document = shipped("demo")
    document["predict"] |= {"calibration": "results/infer/tuned_calibration.json", "localize": "results/localize"}
    document["nodules"]["classifiers"]["tuned"]["adapter"] = "results/train/adapter"
    assert problems(document) == [
        "nodules.classifiers.tuned.adapter: found 'results/train/adapter', which is results/nodules/train/adapter now",
        "predict.calibration: found 'results/infer/tuned_calibration.json', which is "
        "results/nodules/infer/tuned_calibration.json now",
        "predict.localize: found 'results/localize', which is results/nodules/localize now",
    ]


def test_the_one_base_of_before_is_refused_with_its_row() -> None:
    document = shipped("demo")
    row = document["weights"]["pretrain"].pop("chest")
    document["weights"]["pretrain"] |= {key: value for key, value in row.items() if key != "kind"}
    document["weights"]["fetch"]["base"] = "results/weights/pretrain"
    found = problems(document)
    assert len(found) == len(row) - 1 == 20
    assert "weights.pretrain.seed: unknown; it is weights.pretrain.chest.seed now" in found
    document["weights"]["pretrain"] = shipped("demo")["weights"]["pretrain"]
    assert problems(document) == [
        "weights.fetch.base: found 'results/weights/pretrain', which is results/weights/pretrain/chest now"
    ]


def test_every_new_name_is_a_name_of_today() -> None:
    today: set[str] = set()
    for preset in ("demo", "nodulocc", "nodulocc_published"):
        for path, _ in leaves(shipped(preset)):
            parts = path.split(".")
            today |= {".".join(parts[:end]) for end in range(1, len(parts) + 1)}
    assert set(renamed.RENAMED.values()) <= today
    assert not set(renamed.everywhere()) & today


def test_the_changelog_has_every_name_that_is_not_its_section_s_new_place_and_the_same_key() -> None:
    text = (ROOT / "CHANGELOG.md").read_text()
    for old, new in renamed.RENAMED.items():
        section, _, key = old.partition(".")
        place = f"{renamed.RENAMED.get(section, section)}.{key}"
        row = place.replace("weights.pretrain.", "weights.pretrain.chest.")  # said in words: each key is one of the row
        assert new in (place, row) or f"| `{old}` | `{new}` |" in text
