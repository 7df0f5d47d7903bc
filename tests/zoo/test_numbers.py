"""The numbers of the page against a second computation of each, which shares no function with the first."""

import json
from itertools import pairwise

import numpy as np
import pytest
import zoo_tables as fake

from stages.lib.core import tables

REFERENCE = "qlora"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("numbers")
    fake.write(made)
    fake.choose(made)
    fake.measured(made)
    fake.shown(made)
    return made


def scored(folder, split, column="score"):
    """Labels, patients and the scores of each row on the images of a split, in the order of their ids."""
    facts = {row["image_id"]: row for row in tables.read(folder / "manifest.parquet", tables.MANIFEST).to_pylist()}
    rows, found = [], {}
    for name in fake.ROWS:
        table = tables.read(folder / f"infer/{name}.parquet", tables.INFER).to_pylist()
        rows = sorted((one for one in table if one["split"] == split), key=lambda one: one["image_id"])
        rows = [one for one in rows if facts[one["image_id"]]["source"] == "nih"]
        found[name] = np.array([one[column] for one in rows])
    names = [one["image_id"] for one in rows]
    return np.array([facts[name]["label"] for name in names]), [facts[name]["patient_id"] for name in names], found


def average_precision(labels, scores):
    """Precision at each score that is reached, weighted by what it adds to recall."""
    reached = scores >= np.unique(scores)[::-1, None]  # (thresholds, images)
    found = reached @ labels
    return float(np.sum(np.diff(found, prepend=0) * found / reached.sum(axis=1)) / labels.sum())


def test_the_second_average_precision_is_that_of_scikit_learn():
    from sklearn.metrics import average_precision_score

    rng = np.random.default_rng(1)
    labels, scores = rng.integers(0, 2, 50), rng.integers(0, 9, 50) / 9
    assert average_precision(labels, scores) == pytest.approx(average_precision_score(labels, scores))


def redrawn(labels, patients, scores, draws, seed):
    """Average precision on resamples of patients, each image as often as its patient was drawn."""
    names = sorted(set(patients))
    drawn = np.random.default_rng(seed).integers(len(names), size=(draws, len(names)))
    images = {name: [n for n, one in enumerate(patients) if one == name] for name in names}
    found = []
    for one in drawn:
        rows = [n for number in one for n in images[names[number]]]
        found.append(average_precision(labels[rows], scores[rows]))
    return np.array(found)


def shown(folder, table):
    """Rows of a table of the page by their key."""
    found = {}

    def walk(block):
        for one in block.get("blocks") or []:
            walk(one)
        if block.get("name") == table:
            found.update({row["key"]: row["cells"] for group in block["groups"] for row in group["rows"]})

    for part in json.loads((folder / "section.json").read_text())["parts"]:
        walk(part)
    return found


def test_differences_and_their_intervals_and_p_values_are_those_of_resampled_patients(folder):
    how = fake.DOCUMENT["zoo"]["measure"]
    labels, patients, scores = scored(folder, "test")
    page, p = shown(folder, "zoo.differences"), {}
    assert set(page) == set(fake.ROWS) - {REFERENCE}
    for name, cells in page.items():
        gap = cells[0]
        point = average_precision(labels, scores[name]) - average_precision(labels, scores[REFERENCE])
        assert gap["value"] == pytest.approx(point)
        few, many = (
            np.subtract(*(redrawn(labels, patients, scores[one], draws, how["seed"]) for one in (name, REFERENCE)))
            for draws in (how["draws"], how["test_draws"])
        )
        assert [gap["low"], gap["high"]] == pytest.approx(np.percentile(few, [2.5, 97.5]).tolist())
        rarer = min((many >= 0).sum(), (many <= 0).sum())
        p[name] = min(1.0, 2 * (rarer + 1) / (how["test_draws"] + 1))
    falling = sorted(p, key=p.get)
    least, corrected = 0.0, {}
    for place, name in enumerate(falling):  # Holm: the smallest times all, the next times one fewer, never falling
        least = corrected[name] = max(least, min(1.0, p[name] * (len(p) - place)))
    assert {name: [float(cell) for cell in cells[-2:]] for name, cells in page.items()} == {
        name: pytest.approx([p[name], corrected[name]], abs=6e-4) for name in p
    }


def test_the_rule_is_that_of_paired_errors_of_resampled_validation_patients(folder):
    labels, patients, scores = scored(folder, "val")
    choice = json.loads((folder / "select.json").read_text())
    standing = {one["model"]: one for one in choice["rows"]}
    precision = {name: average_precision(labels, one) for name, one in scores.items()}
    free = set(fake.ROWS) - {"published", "prevalence"}
    best = max(free, key=precision.get)
    how = fake.DOCUMENT["zoo"]["select"]
    drawn = {name: redrawn(labels, patients, one, how["draws"], how["seed"]) for name, one in scores.items()}
    tied = set()
    for name in fake.ROWS:
        error = np.std(drawn[best] - drawn[name], ddof=1)
        behind = precision[best] - precision[name]
        assert standing[name]["average_precision"] == pytest.approx(precision[name])
        assert (standing[name]["behind"], standing[name]["standard_error"]) == pytest.approx((behind, error))
        tied |= {name} if name in free and behind <= error else set()
    assert {name for name, one in standing.items() if one["tied"]} == tied
    costs = {**fake.OPERATIONS, "both": fake.OPERATIONS["qlora"] + fake.OPERATIONS["probe"]}
    assert (choice["best"], choice["chosen"]) == (best, min(tied, key=costs.get))


def test_the_front_and_what_a_step_along_it_costs_are_those_of_comparing_all_pairs(folder):
    how = fake.DOCUMENT["zoo"]["measure"]
    labels, patients, scores = scored(folder, "test")
    costs = {**fake.OPERATIONS, "both": fake.OPERATIONS["qlora"] + fake.OPERATIONS["probe"]}
    free = set(fake.ROWS) - {"published", "prevalence"}
    worth = {name: average_precision(labels, scores[name]) for name in free}
    front = {a for a in free if not any(costs[b] <= costs[a] and worth[b] >= worth[a] for b in free - {a})}
    notes = json.loads((folder / "measure/notes.json").read_text())
    steps = notes["front"]
    assert [one["model"] for one in steps] == sorted(front, key=costs.get)
    for before, one in pairwise(steps):
        a, b = before["model"], one["model"]
        gain = worth[b] - worth[a]
        drawn = np.subtract(*(redrawn(labels, patients, scores[name], how["draws"], how["seed"]) for name in (b, a)))
        assert one["price"] == pytest.approx((costs[b] - costs[a]) / (gain / 0.01))
        assert [one["gain_low"], one["gain_high"]] == pytest.approx(np.percentile(drawn, [2.5, 97.5]).tolist())
        assert (one["reason"] is not None) == (np.percentile(drawn, 2.5) <= 0)


def test_who_finds_what_is_counted_from_the_calibrated_scores(folder):
    labels, _, scores = scored(folder, "test", "score_calibrated")
    negative = scored(folder, "val", "score_calibrated")
    found = {}
    for name in ("qlora", "probe", "small"):
        calibration = json.loads((folder / f"infer/{name}_calibration.json").read_text())
        threshold = calibration["thresholds"]["specificity_95"]
        assert (negative[2][name][negative[0] == 0] >= threshold).mean() <= 0.05
        found[name] = scores[name] >= threshold
    by = np.sum(list(found.values()), axis=0)
    page = shown(folder, "zoo.alone")
    assert set(page) == set(found)
    for name, cells in page.items():
        alone = found[name] & (by == 1) & (labels == 1)
        wanted = (found[name] & (labels == 1)).sum(), (found[name] & (labels == 0)).sum(), alone.sum()
        assert tuple(int(cell) for cell in cells[:3]) == wanted
