"""The zoo of the nodulocc preset: what it takes at the real size, by formula and by torch, and its plan."""

import re
from pathlib import Path
from typing import Any

import checkout as checkouts
import pytest
import yaml

from stages.lib.core import kinds
from stages.lib.models import operations
from workflow import costs, zoo_costs, zoo_doctor, zoo_names
from workflow.costs import TERA

ROOT = Path(__file__).parents[2]
IMAGES = 63_179  # of the challenge


def preset() -> Any:
    document = yaml.safe_load((ROOT / "workflow/presets/nodulocc.yaml").read_text())
    document["study"]["chapters"] = ["nodules", "zoo"]
    return document


def estimated(document: Any) -> str:
    return "\n".join(zoo_costs.lines(document, costs.gpu("RTX 4090"), Path("nowhere")))


@pytest.mark.parametrize(
    ("row", "published"),
    [
        ("gemma_largest", 5.46),
        ("gemma_asked", 7.5),
        ("medsiglip", 0.97),
        ("rad_dino", 0.30),
        ("dinov3", 0.21),
        ("biomedclip", 0.0351),
    ],
)
def test_an_image_takes_the_operations_that_are_published_of_its_model(row: str, published: float) -> None:
    assert (zoo_costs.flops(preset()["zoo"]["models"][row]) or 0) / TERA == pytest.approx(published, rel=0.04)


@pytest.mark.parametrize("side_px", [224, 512])
def test_the_cnns_take_what_torch_counts_on_their_architecture(side_px: int) -> None:
    import torch
    from transformers import (
        ConvNextV2Config,
        ConvNextV2ForImageClassification,
        EfficientNetConfig,
        EfficientNetForImageClassification,
    )

    small = EfficientNetConfig(width_coefficient=1.0, depth_coefficient=1.0, hidden_dim=1280)
    with torch.device("meta"):
        built: dict[str, Any] = {
            "efficientnet-b0": EfficientNetForImageClassification(small).eval(),
            "convnextv2-tiny-22k-384": ConvNextV2ForImageClassification(ConvNextV2Config()).eval(),
        }
        pixels = torch.zeros(1, 3, side_px, side_px)
    for name, model in built.items():
        row = {"kind": "tuned", "source": f"somebody/{name}", "side_px": side_px}
        with torch.no_grad():
            assert zoo_costs.flops(row) == pytest.approx(operations.count(lambda one=model: one(pixels)), rel=0.01)


def test_every_model_of_the_preset_is_counted_and_features_take_0_6_gb_a_place() -> None:
    text = estimated(preset())
    assert "not counted" not in text
    one, four = re.findall(r"features medsiglip.*, ([\d.]+) GB", text)
    assert float(one) == pytest.approx(IMAGES * 4 * 1152 * 2 / 1e9, abs=0.005)
    assert float(four) == pytest.approx(4 * float(one), abs=0.02)


def test_prefix_tokens_are_kept_beside_the_statistics() -> None:
    [one, _] = re.findall(r"features dinov3.*, ([\d.]+) GB", estimated(preset()))
    assert float(one) == pytest.approx(IMAGES * (4 + 5) * 768 * 2 / 1e9, abs=0.005)


def test_tokens_for_localizers_are_those_of_the_whole_test_split() -> None:
    document = preset()
    [found] = re.findall(r"located medsiglip.* h: ([\d,]+) passes", estimated(document))
    test = round(document["data"]["split"]["fractions"][2] * IMAGES)
    assert test < int(found.replace(",", "")) < test + 1000


def test_scores_that_the_study_has_anyway_are_not_counted_and_others_are() -> None:
    document = preset()
    assert "tuned at 1 place(s)" in estimated(document)
    document["nodules"]["infer"]["shifts"] = 1
    text = estimated(document)
    assert "tuned at 1 place(s)" not in text
    assert "tuned at 4 place(s)" in text


def test_rows_that_compare_texts_are_asked_the_pairs_of_the_bank() -> None:
    document = preset()
    [before] = re.findall(r"medsiglip_pairs.* h: ([\d,]+) passes", estimated(document))
    document["zoo"]["bank"]["text_pairs"].append(["nodule", "clear"])
    [after] = re.findall(r"medsiglip_pairs.* h: ([\d,]+) passes", estimated(document))
    validation = round(document["data"]["split"]["fractions"][1] * IMAGES)
    assert int(after.replace(",", "")) - int(before.replace(",", "")) == validation


def test_places_divide_the_patch_and_sides_are_multiples_of_it() -> None:
    zoo = preset()["zoo"]
    for name, row in {**zoo["models"], **zoo["localizers"]}.items():
        size = zoo_costs.size(row) if "library" in row else None
        if size:
            assert size.patch_px % row["shifts"] == row["side_px"] % size.patch_px == 0, name


def test_doctor_tells_each_model_once_and_the_rows_that_no_company_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    found = [what for what, _ in zoo_doctor.lines(preset())]
    for source in (
        "medsiglip-448",
        "rad-dino",
        "dinov3-vitb16",
        "efficientnet-b0",
        "convnextv2",
        "CheXOne",
        "CheXagent-2-3b",
        "XraySigLIP",
        "CheXagent-8b",
        "BiomedCLIP",
    ):
        assert len([line for line in found if source in line]) == 1, source
    [bound] = [line for line in found if line.startswith("non-commercial")]
    assert "chexone" in bound
    [environment] = [line for line in found if line.startswith("CheXagent's environment")]
    assert "of chexagent, chexagent_first:" in environment
    assert not [line for line in found if ": none" in line]  # the first has no encoder apart


@pytest.mark.slow
def test_it_can_be_planned_on_the_layout_of_the_challenge(tmp_path: Path) -> None:
    folder = checkouts.copy(tmp_path / "checkout", {})
    (folder / "params.yaml").write_text(yaml.safe_dump(preset(), sort_keys=False))
    (folder / "data/nodulocc").mkdir(parents=True)
    for name in ("classification_labels.csv", "localization_labels.csv"):
        (folder / "data/nodulocc" / name).write_text("file_name,label\n")
    text = checkouts.run(folder, "snakemake", "-n", "--nocolor", "--", "zoo")
    models, shards = preset()["zoo"]["models"], preset()["study"]["shards"]
    read = [row for row in models.values() if kinds.module(kinds.MODELS, row["kind"]).READS == "features"]
    features = len({zoo_names.features(row) for row in read})
    assert re.search(rf"^zoo_fit +{len(models)}$", text, re.MULTILINE)
    assert re.search(rf"^zoo_embed_shard +{features * shards}$", text, re.MULTILINE)
    assert "zoo, computed, not measured, on one RTX 4090" in text
