"""metrics.json as a page shows it: the first sentence, the tiles, and the tables."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from stages.lib.metrics.thresholds import NAMES as THRESHOLDS
from stages.lib.report.numbers import cell, decimal, name, threshold_name

Facts = Mapping[str, Any]
LOWER_IS_BETTER = ("brier", "ece", "brier_calibrated", "ece_calibrated")
FREE = ("roc_auc", "pr_auc", "brier", "ece", "brier_calibrated", "ece_calibrated", "prevalence")
CELLS = ("true_positives", "false_positives", "false_negatives", "true_negatives")
STRATA = {"size": "Diameter", "contrast": "Contrast", "height": "Height on the image", "side": "Side"}
UNITS = {"size": " mm"}
PARTS = {
    "upper": "upper third",
    "middle": "middle third",
    "lower": "lower third",
    "patients_right": "left half of the image (the patient's right)",
    "patients_left": "right half of the image (the patient's left)",
}


def is_metric(value: Any) -> bool:
    """Return whether `value` is a metric of metrics.json: a mapping with a value, be it null."""
    return isinstance(value, Mapping) and "value" in value


def warnings(metrics: Facts) -> list[str]:
    """Return what a reader has to know before any number: the study's warnings, and whether its images are
    simulated.
    """
    found = [str(warning) for warning in metrics.get("warnings", ())]
    parameters = metrics.get("provenance", {}).get("parameters", {}).get("data", {})
    if parameters.get("split", {}).get("unit") == "image":
        found.append(
            "The images were split by image, not by patient: images of one patient may be in training and in test."
        )
    root = parameters.get("ingest", {}).get("root", "")
    if Path(str(root)).parts[:3] == ("results", "data", "simulate"):
        found.append(
            "The images are simulated, and every number here with them: this page shows that the pipeline works, "
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
    for localizer, views in metrics.get("localization", {}).items():
        groups = views.get("test", {})
        near = groups.get("tolerant", {})
        if is_metric(near.get("recall")):
            chance = near.get("random_placement_recall")
            found = {"recall": cell(near["recall"]), "chance": cell(chance) if chance is not None else None}
            yield {"localizer": localizer, "negatives": groups.get("negatives", {}), **found}


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
        more = [f"chance {place['chance'].text}"] if place["chance"] else []
        points = place["negatives"].get("false_points_per_image")
        more += [f"{cell(points).text} false points per negative image"] if is_metric(points) else []
        what = f"Nodules found, {name(place['localizer'])}"
        made.append({"what": what, "cell": place["recall"], "more": "; ".join(more)})
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


def weights(metrics: Facts) -> dict[str, Any] | None:
    """Return how the tuned model's answers on validation change with the form of its weights; None if not measured."""
    facts = metrics.get("weights")
    if not facts:
        return None
    forms: Mapping[str, Facts] = facts["forms"]
    rows = [
        {
            "name": name(key),
            "lower": key in LOWER_IS_BETTER,
            "cells": [cell(form.get(key)) for form in forms.values()],
            "difference": cell(facts["difference"].get(key), signed=True),
        }
        for key in next(iter(forms.values()))
    ]
    moved = {key: cell(facts[key]) for key in ("margin_change_median", "margin_change_largest", "calls_changed")}
    return {"forms": list(forms), "rows": rows, "n": facts["calls_changed"]["n"], **moved}


def banks(metrics: Facts) -> list[dict[str, Any]]:
    """Return for each localizer every request of its bank with what it found, and the cutoff of its confidence."""
    choices, cutoffs = metrics.get("choice", {}), metrics.get("cutoff", {})
    made = []
    for localizer in dict.fromkeys([*choices, *cutoffs]):
        chosen, cutoff = choices.get(localizer, {}), cutoffs.get(localizer, {})
        rows = [
            {
                **row,
                "f1": decimal(row["f1"]),
                "cutoff": "none" if row["cutoff"] is None else decimal(row["cutoff"]),
                "chosen": row["request"] in chosen["requests"],
            }
            for row in chosen.get("bank", ())
        ]
        least = cutoff.get("cutoff")
        sentence = "All its points are shown." if least is None else f"Points of {decimal(least)} or more are shown."
        if "f1" in cutoff:
            sentence += (
                f" On the {cutoff['images']} images that choose, they find {cutoff['hits']} of {cutoff['nodules']} "
                f"nodules with {cutoff['points']} points, F1 {decimal(cutoff['f1'])}."
            )
        reason = chosen.get("reason") or cutoff.get("reason")
        made.append(
            {
                "localizer": localizer,
                "rows": rows,
                "images": rows[0]["images"] if rows else 0,
                "splits": chosen.get("splits", []),
                "sentence": f"{sentence} Nothing could be chosen: {reason}." if reason else sentence,
            }
        )
    return made


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


def localization(metrics: Facts) -> dict[str, Any]:
    """Return the localization tables: the localizers side by side, a table for each view.

    Returns:
        localizers; views, by "test" and "all": behind (images, patients and nodules), groups (shown at once), more
        (folded away), strata (by tolerance). And no_curve: why a localizer has no FROC curve.
    """
    localizers: Mapping[str, Facts] = metrics.get("localization", {})
    made = {}
    for view in ("test", "all"):
        measured = {localizer: views.get(view, {}) for localizer, views in localizers.items()}
        groups = list(_place_groups(measured))
        made[view] = {
            "behind": _place_behind(measured),
            "groups": [group for group in groups if not group["folded"]],
            "more": [group for group in groups if group["folded"]],
            "strata": {near: list(_strata(measured, near)) for near in ("tolerant", "tight")},
        }
    curves = {localizer: views.get("test", {}).get("froc", {}) for localizer, views in localizers.items()}
    reasons = {localizer: froc["reason"] for localizer, froc in curves.items() if "reason" in froc}
    return {"localizers": list(localizers), "views": made, "no_curve": reasons}


def _place_groups(measured: Mapping[str, Facts]) -> Iterator[dict[str, Any]]:
    """Yield the parts of the table of a view that have a number: a row per metric, a cell per localizer."""
    models = dict.fromkeys(model for facts in measured.values() for model in facts.get("joint", {}))
    near = ("tight", "tolerant")
    ways: list[tuple[tuple[str, ...], str, bool]] = [((key,), f"{name(key)} distance", False) for key in near]
    ways += [(("images",), "Whatever the distance", False), (("negatives",), "Images without a nodule", False)]
    ways += [(("froc", key), f"FROC, {key} distance", True) for key in near]
    for model in models:
        words = f"Label of the {name(model).lower()} model and point together"
        ways += [(("joint", model, key), f"{words}, {key} distance", True) for key in near]
    for keys, title, folded in ways:
        found = {localizer: _at(facts, keys) for localizer, facts in measured.items()}
        metrics = list(
            dict.fromkeys(key for facts in found.values() for key, value in facts.items() if is_metric(value))
        )
        if "random_placement_recall" in metrics:
            metrics.remove("random_placement_recall")
            metrics.insert(metrics.index("recall") + 1, "random_placement_recall")
        rows = [
            {
                "key": ".".join((*keys, metric)),
                "name": name(metric),
                "cells": {localizer: cell(facts.get(metric)) for localizer, facts in found.items()},
            }
            for metric in metrics
        ]
        if rows:
            yield {"key": ".".join(keys), "title": title, "rows": rows, "folded": folded}


def _at(facts: Facts, keys: tuple[str, ...]) -> Facts:
    for key in keys:
        facts = facts.get(key, {})
    return facts


def _place_behind(measured: Mapping[str, Facts]) -> str:
    """Return how many images, patients and nodules stand behind a view, once if the localizers were asked alike."""
    words: dict[str, list[str]] = {}
    for localizer, facts in measured.items():
        found, negatives = _at(facts, ("images", "count_exact")), _at(facts, ("negatives", "fraction_with_point"))
        if found:
            text = (
                f"{found['n']:,} images with {found['n_points']:,} marked nodules, of {found['n_patients']:,} patients"
            )
            text += f"; {negatives['n']:,} images without a nodule" if negatives else ""
            words.setdefault(text, []).append(name(localizer))
    if len(words) == 1:
        return next(iter(words))
    return ". ".join(f"{', '.join(names)}: {text}" for text, names in words.items())


def _strata(measured: Mapping[str, Facts], near: str) -> Iterator[dict[str, Any]]:
    """Yield each division of the nodules: a row per part, with the recall of each localizer."""
    for kind, title in STRATA.items():
        found = {localizer: _at(facts, ("strata", kind)) for localizer, facts in measured.items()}
        found = {localizer: facts for localizer, facts in found.items() if facts}
        if not found:
            continue
        some = next(iter(found.values()))
        parts = dict.fromkeys(part for facts in found.values() for part in facts["parts"])
        rows = []
        for part in parts:
            entries = {
                localizer: _at(facts, ("strata", kind, "parts", part, near)) for localizer, facts in measured.items()
            }
            counts = sorted({entry["n_points"] for entry in entries.values() if entry})
            shown = {
                "key": f"{kind}.{part}.{near}",
                "name": part_name(next(facts["parts"][part] for facts in found.values()), part, UNITS.get(kind, "")),
                "nodules": " to ".join(f"{count:,}" for count in dict.fromkeys((counts[0], counts[-1]))),
                "cells": {localizer: cell(entry or None) for localizer, entry in entries.items()},
            }
            rows.append(shown)
        unknown = f"not known of {some['n_unknown']:,} nodules" if some["n_unknown"] and rows else ""
        note = "; ".join(text for text in (some.get("note"), unknown) if text)
        yield {"title": title, "rows": rows, "note": note, "reason": some.get("reason")}


def part_name(part: Facts, key: str, unit: str = "") -> str:
    """Return what a part of the nodules is called.

    >>> part_name({"from": None, "to": 10.0}, "below_10", " mm"), part_name({"from": 10.0, "to": 22.5}, "", " mm")
    ('below 10 mm', '10 to 22.5 mm')
    >>> part_name({"from": None, "to": None}, "upper")
    'upper third'
    """
    low, high = part["from"], part["to"]
    if low is None and high is None:
        return PARTS.get(key, name(key))
    if low is None:
        return f"below {high:g}{unit}"
    return f"from {low:g}{unit}" if high is None else f"{low:g} to {high:g}{unit}"


def reference(metrics: Facts) -> dict[str, Any]:
    """Return the published numbers: a note, and a table of each kind with a row per system or metric."""
    facts = metrics.get("reference", {})
    systems = facts.get("classification", {})
    keys = list(dict.fromkeys(key for row in systems.values() for key in row))
    near = facts.get("localization", {})
    measures = dict.fromkeys(key for row in near.values() for key in row)
    return {
        "note": facts.get("note", ""),
        "challenge": facts.get("challenge"),
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
