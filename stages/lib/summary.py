"""metrics.json as a page shows it: the first sentence, the tiles, and the tables."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from stages.lib.thresholds import NAMES as THRESHOLDS
from stages.lib.wording import cell, decimal, name, threshold_name

Facts = Mapping[str, Any]
LOWER_IS_BETTER = ("brier", "ece", "brier_calibrated", "ece_calibrated")
FREE = ("roc_auc", "pr_auc", "brier", "ece", "brier_calibrated", "ece_calibrated", "prevalence")
CELLS = ("true_positives", "false_positives", "false_negatives", "true_negatives")
TITLES = {"films": "Films with marked nodules, whatever the distance", "healthy": "Test films without a nodule"}


def is_metric(value: Any) -> bool:
    """Return whether `value` is a metric of metrics.json: a mapping with a value, be it null."""
    return isinstance(value, Mapping) and "value" in value


def warnings(metrics: Facts) -> list[str]:
    """Return what a reader has to know before any number: the study's warnings, and whether its films are simulated."""
    found = [str(warning) for warning in metrics.get("warnings", ())]
    parameters = metrics.get("provenance", {}).get("parameters", {})
    if parameters.get("split", {}).get("unit") == "image":
        found.append(
            "The films were split by image, not by patient: films of one patient may be in training and in test."
        )
    root = parameters.get("ingest", {}).get("root", "")
    if Path(str(root)).parts[:2] == ("results", "simulate"):
        found.append(
            "The films are simulated, and every number here with them: this page shows that the pipeline works, "
            "and nothing about any patient."
        )
    return found


def headline(metrics: Facts) -> dict[str, Any]:
    """Return the numbers of the first sentence: the ROC areas on the test split, and the recall of each localizer."""
    measured = {model: splits.get("test", {}) for model, splits in metrics.get("classification", {}).items()}
    areas = {model: facts["roc_auc"] for model, facts in measured.items() if is_metric(facts.get("roc_auc"))}
    some: Facts = next(iter(areas.values()), {})
    difference = metrics.get("comparison", {}).get("test", {}).get("roc_auc")
    return {
        "n": some.get("n"),
        "n_positive": some.get("n_positive"),
        "areas": {model: cell(area) for model, area in areas.items()},
        "difference": cell(difference, signed=True) if is_metric(difference) else None,
        "places": list(_places(metrics)),
    }


def _places(metrics: Facts) -> Iterator[dict[str, Any]]:
    for localizer, groups in metrics.get("localization", {}).items():
        near = groups.get("tolerant", {})
        if is_metric(near.get("recall")):
            chance = near.get("chance_recall")
            found = {"recall": cell(near["recall"]), "chance": cell(chance) if chance is not None else None}
            yield {"localizer": localizer, "healthy": groups.get("healthy", {}), **found}


def tiles(metrics: Facts, model: str) -> list[dict[str, Any]]:
    """Return the four or so numbers to remember: of `model` on the test split, and of each localizer."""
    measured = metrics.get("classification", {}).get(model, {}).get("test", {})
    keys = ("roc_auc", "pr_auc", "sensitivity_at_specificity_95")
    made = [
        {"what": f"{_tile_name(key)}, {name(model).lower()}", "cell": cell(measured[key]), "more": ""}
        for key in keys
        if is_metric(measured.get(key))
    ]
    for place in _places(metrics):
        localizer = name(place["localizer"])
        chance = place["chance"]
        more = f"chance {chance.text}" if chance else ""
        made.append({"what": f"Nodules found, {localizer}", "cell": place["recall"], "more": more})
        points = place["healthy"].get("false_points_per_film")
        if is_metric(points):
            made.append({"what": f"False points per healthy film, {localizer}", "cell": cell(points), "more": ""})
    return made


def _tile_name(key: str) -> str:
    return "Sensitivity at a specificity of 0.95" if key == "sensitivity_at_specificity_95" else name(key)


def classification(metrics: Facts, chosen: str) -> dict[str, dict[str, Any]]:
    """Return the classification table of each split, test first: a row per metric, in groups by threshold.

    Args:
        metrics: The document.
        chosen: The threshold that is shown at once, beside 0.5; the others are folded away.
    """
    models: Mapping[str, Facts] = metrics.get("classification", {})
    splits = dict.fromkeys(split for facts in models.values() for split in facts)
    made = {}
    for split in sorted(splits, key=lambda split: (split != "test", split)):
        measured = {model: facts.get(split, {}) for model, facts in models.items()}
        differences = metrics.get("comparison", {}).get(split, {})
        groups = _groups(measured, differences)
        order = [None, chosen, "half", *(key for key in THRESHOLDS if key not in (chosen, "half"))]
        shown = [groups[key] | {"folded": key not in order[:3]} for key in order if key in groups]
        behind = next((facts["roc_auc"] for facts in measured.values() if is_metric(facts.get("roc_auc"))), None)
        made[split] = {
            "columns": list(measured),
            "groups": shown,
            "tests": _tests(differences),
            "behind": cell({**behind, "value": 0, "skipped_draws": 0}).note if behind else "",
        }
    return made


def _groups(measured: Mapping[str, Facts], differences: Facts) -> dict[str | None, dict[str, Any]]:
    groups: dict[str | None, dict[str, Any]] = {}
    for key in dict.fromkeys(key for facts in measured.values() for key, value in facts.items() if is_metric(value)):
        metric, threshold = at_threshold(key)
        if metric in CELLS:
            continue
        title = f"At the {threshold_name(threshold)}" if threshold else "Without a threshold"
        difference = differences.get(key)
        some = next(facts[key] for facts in measured.values() if key in facts)
        prevalence = f" ({decimal(float(some['prevalence']))})" if "prevalence" in some else ""
        row = {
            "key": key,
            "name": name(metric) + prevalence,
            "lower": metric in LOWER_IS_BETTER,
            "cells": {model: cell(facts.get(key)) for model, facts in measured.items()},
            "difference": cell(difference, signed=True) if is_metric(difference) else None,
        }
        groups.setdefault(threshold, {"title": title, "rows": []})["rows"].append(row)
    return groups


def at_threshold(key: str) -> tuple[str, str | None]:
    """Return the metric and the threshold that a key of metrics.json names; None for a metric that needs none.

    >>> at_threshold("sensitivity_at_youden"), at_threshold("sensitivity"), at_threshold("roc_auc")
    (('sensitivity', 'youden'), ('sensitivity', 'half'), ('roc_auc', None))
    """
    metric, _, threshold = key.partition("_at_")
    if threshold in THRESHOLDS:
        return metric, threshold
    return key, None if key in FREE else "half"


def matrices(metrics: Facts, chosen: str) -> list[dict[str, Any]]:
    """Return one confusion matrix of the test split for each model, at 0.5 and at the chosen threshold."""
    made = []
    for model, splits in metrics.get("classification", {}).items():
        for threshold, suffix in (("half", ""), (chosen, f"_at_{chosen}")):
            counts = {key: splits.get("test", {}).get(key + suffix) for key in CELLS}
            if all(is_metric(count) for count in counts.values()):
                values = {key: count["value"] for key, count in counts.items()}
                where = {"at": threshold_name(threshold), "threshold": counts[CELLS[0]].get("threshold")}
                made.append({"model": model, **where, "counts": values})
    return made


def _tests(differences: Facts) -> list[str]:
    """Return the paired tests of two models as sentences."""
    titles = {
        "delong": "DeLong's test of the two ROC areas",
        "mcnemar": "McNemar's exact test of the two sets of calls",
    }
    made = []
    for key, title in titles.items():
        facts = differences.get(key)
        if isinstance(facts, Mapping):
            p = facts.get("p")
            made.append(f"{title}: p = {p:.2g}." if p is not None else f"{title}: none ({facts.get('reason')}).")
    return made


def localization(metrics: Facts) -> dict[str, dict[str, Any]]:
    """Return the localization tables of each localizer.

    Those with a column per distance come first: what was found, the published numbers of another study, FROC where
    there are confidences, and label and point taken together. Then come those without a distance.
    """
    made = {}
    for localizer, groups in metrics.get("localization", {}).items():
        near = [{"title": "Films with marked nodules", "rows": _near(groups, "chance_recall", "recall")}]
        near.append({"title": "FROC", "rows": _near(groups.get("froc", {}))})
        for model, facts in groups.get("joint", {}).items():
            near.append(
                {"title": f"Together with the {name(model).lower()} model's label, test films", "rows": _near(facts)}
            )
        plain = [{"key": key, "title": title, "rows": _plain(groups.get(key, {}))} for key, title in TITLES.items()]
        made[localizer] = {
            "near": [table for table in near if table["rows"]],
            "plain": [table for table in plain if table["rows"]],
            "no_curve": groups.get("froc", {}).get("reason"),
        }
    return made


def _near(groups: Facts, moved: str = "", anchor: str = "") -> list[dict[str, Any]]:
    """Return a row for each metric that `groups` has by distance; the row `moved` right after the row `anchor`."""
    near = {group: groups.get(group, {}) for group in ("tight", "tolerant")}
    keys = list(dict.fromkeys(key for facts in near.values() for key, value in facts.items() if is_metric(value)))
    if moved in keys and anchor in keys:
        keys.remove(moved)
        keys.insert(keys.index(anchor) + 1, moved)
    return [
        {"key": key, "name": name(key), "cells": {group: cell(facts.get(key)) for group, facts in near.items()}}
        for key in keys
    ]


def _plain(facts: Facts) -> list[dict[str, Any]]:
    """Return one row for every metric of a group."""
    return [{"key": key, "name": name(key), "cell": cell(value)} for key, value in facts.items() if is_metric(value)]


def reference(metrics: Facts) -> dict[str, Any]:
    """Return the published numbers: a note, and a table of each kind with a row per system or metric."""
    facts = metrics.get("reference", {})
    systems = facts.get("classification", {})
    keys = list(dict.fromkeys(key for row in systems.values() for key in row))
    near = facts.get("localization", {})
    measures = dict.fromkeys(key for row in near.values() for key in row)
    return {
        "note": facts.get("note", ""),
        "columns": [name(key) for key in keys],
        "systems": [
            {"name": f"Published, {name(system).lower()}", "cells": [cell(row.get(key)) for key in keys]}
            for system, row in systems.items()
        ],
        "near": [
            {"name": name(key), "cells": [cell(near.get(group, {}).get(key)) for group in ("tight", "tolerant")]}
            for key in measures
        ],
    }


def provenance(metrics: Facts, base: Facts) -> dict[str, Any]:
    """Return where the numbers come from: the short facts, and the long lists apart.

    Args:
        metrics: The document.
        base: fetch.json of the base model; empty if there is none.
    """
    facts = {key: value for key, value in metrics.get("provenance", {}).items() if key != "train"}
    git = facts.pop("git", None) or {}
    long = {key: facts.pop(key, {}) for key in ("parameters", "versions")}
    model = {f"base model, {key}": base[key] for key in ("base", "revision", "commit", "sha256") if key in base}
    state = ", with changes that were not committed" if git.get("dirty") else ""
    revision = git.get("revision")
    shown = f"{revision}{state}" if revision else "not a git checkout"
    return {"revision": revision, "short": {"git revision": shown, **facts, **model}, **long}
