"""A small study with a few rows of the zoo, for plans and for tests that run it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from checkout import SMALL

ROOT = Path(__file__).parents[2]
ROWS = ("prevalence", "zero_shot", "probe_largest", "dinov2", "soft_maximum", "qwen")


def rows(*names: str) -> dict[str, dict[str, Any]]:
    """Rows of zoo.models as shipped."""
    shipped = yaml.safe_load((ROOT / "params.yaml").read_text())["zoo"]["models"]
    return {name: dict(shipped[name]) for name in names}


def small() -> dict[str, Mapping[str, Any] | None]:
    """Changes of the parameters: few images, few rows that need no training of MedGemma."""
    models = rows(*ROWS)
    models["soft_maximum"] |= {"epochs": 2, "repeats": 1, "learning_rates": [0.01], "shifts": 1}
    models["probe_largest"] |= {"pool": ["largest"], "strengths": [0.01, 1.0], "class_weight": ["none"]}
    models["dinov2"] |= {"pool": ["mean"], "strengths": [0.1], "class_weight": ["none"], "side_px": 98}
    models["both"] = rows("together")["together"] | {"members": ["probe_largest", "dinov2"]}
    models["lost"] = {**models["dinov2"], "source": "no/folder/here"}
    return {
        **SMALL,
        "data.simulate": {**SMALL["data.simulate"], "nih_patients": 60, "prevalence": 0.4},
        "zoo": {"models": models},
        "zoo.measure": {"reference": "zero_shot", "draws": 100, "test_draws": 200},
        "zoo.select": {"draws": 100},
        "zoo.curve": {"rows": ["probe_largest"], "draws": 2, "fractions": [0.5, 1.0]},
        "zoo.localizer_cv": {"rivals": [], "draws": 100, "cutoff_images": 8},
    }
