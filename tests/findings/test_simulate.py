"""`findings.simulate`: MedPix 2.0's layout, exact fractions, and the oddities of the real texts."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from stages.findings import simulate
from stages.lib.core.errors import ParamsError
from stages.lib.core.params import parse
from stages.lib.demo.synthetic import case_texts, slice_texts
from stages.lib.demo.synthetic.slice_findings import KINDS
from stages.lib.metrics.text import extract

VALUES = {
    "seed": 4,
    "cases_per_stratum": 10,
    "copied_cases": 2,
    "normal_fraction": 0.2,
    "second_finding_fraction": 0.25,
    "two_images_fraction": 0.6,
    "second_only_fraction": 0.5,
    "contrast": [0.5, 0.9],
    "both_modalities_fraction": 0.1,
    "drawing_fraction": 0.1,
    "montage_fraction": 0.1,
    "other_studies_fraction": 0.2,
    "at_captions_fraction": 0.1,
    "diagnosis_in_history_fraction": 0.1,
    "diagnosis_in_gold_fraction": 0.1,
    "beyond_ascii_fraction": 0.1,
    "missing_fraction": 0.1,
    "missing_findings": 2,
}
SECTIONS = {"findings.simulate": simulate.Params}
PARAMS = parse({"findings": {"simulate": VALUES}}, SECTIONS).simulate


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("simulated") / "medpix"
    simulate.main(["--params", json.dumps({"findings": {"simulate": VALUES}}), "--out", str(out)])
    return out


@pytest.fixture(scope="module")
def topics(folder) -> list[dict]:
    return json.loads((folder / "Case_topic.json").read_text())


@pytest.fixture(scope="module")
def described(folder) -> list[dict]:
    return json.loads((folder / "Descriptions.json").read_text())


@pytest.fixture(scope="module")
def truth(folder) -> dict[str, dict]:
    return {case["U_id"]: case for case in json.loads((folder / "truth.json").read_text())}


def test_equal_parameters_give_equal_bytes_and_another_seed_gives_others(folder, tmp_path):
    simulate.write(PARAMS, tmp_path / "same")
    simulate.write(replace(PARAMS, seed=5), tmp_path / "other")
    names = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    assert names == sorted(p.relative_to(tmp_path / "same") for p in (tmp_path / "same").rglob("*") if p.is_file())
    for name in names:
        assert (tmp_path / "same" / name).read_bytes() == (folder / name).read_bytes(), name
    assert (tmp_path / "other/Case_topic.json").read_bytes() != (folder / "Case_topic.json").read_bytes()


def test_the_keys_are_those_of_medpix(topics, described):
    for case in topics:
        assert set(case) == {"U_id", "TAC", "MRI", "Case", "Topic"}
        assert {"Title", "Case Diagnosis", "History", "Findings", "Exam"} <= set(case["Case"])
        assert {"Title", "Disease Discussion", "ACR Code", "Category"} <= set(case["Topic"])
    wanted = {"ACR Codes", "Age", "Caption", "Figure Part", "Modality", "Plane", "Sex"}
    for image in described:
        assert set(image) == {"Type", "U_id", "image", "Description", "Location", "Location Category"}
        assert set(image["Description"]) == wanted
        assert image["Location Category"] in case_texts.CATEGORIES.values()


def test_each_image_is_listed_once_described_once_and_there_once(folder, topics, described):
    listed = [(name, case["U_id"], key) for case in topics for key in ("TAC", "MRI") for name in case[key]]
    lists = {"CT": "TAC", "MR": "MRI"}
    assert sorted(listed) == sorted((one["image"], one["U_id"], lists[one["Type"]]) for one in described)
    assert len({name for name, _, _ in listed}) == len(listed)
    assert sorted(path.name for path in (folder / "images").iterdir()) == sorted(f"{name}.png" for name, _, _ in listed)


def test_an_image_is_an_8_bit_rgb_png_of_the_side_that_the_base_takes(folder):
    from PIL import Image

    for path in (folder / "images").iterdir():
        with Image.open(path) as image:
            assert (image.format, image.mode, image.size) == ("PNG", "RGB", (112, 112)), path


def test_each_stratum_has_its_cases_and_each_fraction_is_exact_in_it():
    orders = simulate.plan(PARAMS)
    assert [order.number for order in orders] == list(range(100))
    strata = Counter((order.region, order.modality) for order in orders)
    assert len(strata) == 10 and set(strata.values()) == {10}
    for name in simulate.ODD:
        wanted = round(10 * VALUES[f"{name}_fraction"])
        counts = Counter((order.region, order.modality) for order in orders if name in order.odd)
        assert all(counts[stratum] == wanted for stratum in strata), name
    late = Counter((order.region, order.modality) for order in orders if order.shown == (False, True))
    assert set(late.values()) == {3} and len(late) == 10
    assert sum("missing_findings" in order.odd for order in orders) == 2
    assert sum(order.findings == 2 for order in orders) == 20  # 2 of 8 abnormal ones of each stratum


def test_the_gold_names_what_is_drawn_and_where_the_findings_are_on_the_second_image_the_first_shows_none(
    topics, described, truth
):
    captions = {one["image"]: one["Description"]["Caption"] for one in described}
    late = 0
    for case in topics:
        known = truth[case["U_id"]]
        gold = case["Case"]["Findings"]
        if gold == case_texts.MISSING:
            assert "missing_findings" in known["odd"]
            continue
        kinds = [finding["kind"] for finding in known["findings"]]
        assert [kind for kind in KINDS if kind in gold] == [k for k in KINDS if k in kinds or not kinds]
        assert (slice_texts.NORMAL in gold) == (not kinds)
        names = case["TAC"] + case["MRI"]
        for name, on in zip(names, known["on"], strict=True):
            if on is not None:
                assert all(kind in captions[name] for kind in kinds) if on else slice_texts.NORMAL in captions[name]
        late += bool(kinds) and known["on"][:2] == [False, True]
    assert late >= 15


def test_the_benchmark_reads_in_each_gold_text_and_caption_what_was_drawn_and_no_more(topics, described, truth):
    reader = extract.extractor()

    def present(text: str) -> list[tuple[str, str]]:
        read = reader.read(text).findings
        return sorted((one.entity, one.side) for one in read if one.presence == "present")

    for case in topics:
        wanted = sorted((f"NF:{one['kind']}", one["side"]) for one in truth[case["U_id"]]["findings"])
        if case["Case"]["Findings"] != case_texts.MISSING:
            assert present(case["Case"]["Findings"]) == wanted, case["Case"]["Findings"]
    for image in described:
        on = dict(
            zip(
                next(case["TAC"] + case["MRI"] for case in topics if case["U_id"] == image["U_id"]),
                truth[image["U_id"]]["on"],
                strict=True,
            )
        )[image["image"]]
        wanted = sorted((f"NF:{one['kind']}", one["side"]) for one in truth[image["U_id"]]["findings"])
        assert present(image["Description"]["Caption"]) == (wanted if on else [])


def test_a_copy_shows_the_same_pixels_under_another_id(folder, topics, truth):
    copies = {name: one["copy_of"] for name, one in truth.items() if one["copy_of"]}
    assert len(copies) == 2
    images = {case["U_id"]: case["TAC"] + case["MRI"] for case in topics}
    for copy, original in copies.items():
        assert not set(images[copy]) & set(images[original])
        for one, other in zip(images[copy], images[original], strict=True):
            assert (folder / f"images/{one}.png").read_bytes() == (folder / f"images/{other}.png").read_bytes()


def test_odd_texts_have_what_makes_them_odd(topics, described, truth):
    ages = {one["U_id"]: one["Description"]["Age"] for one in described}
    seen = Counter()
    for case in topics:
        odd, texts = truth[case["U_id"]]["odd"], case["Case"]
        for name, there in {
            "beyond_ascii": not texts["Findings"].isascii() and "\r\n" in texts["Findings"],
            "other_studies": any(study in texts["Findings"] for study in case_texts.OTHER_STUDIES),
            "at_captions": case_texts.AT_CAPTIONS in texts["Findings"],
            "diagnosis_in_history": texts["Case Diagnosis"].lower() in texts["History"],
            "diagnosis_in_gold": texts["Case Diagnosis"].lower() in texts["Findings"],
        }.items():
            assert there == (name in odd) or "missing_findings" in odd, (case["U_id"], name)
            seen[name] += there
        assert (ages[case["U_id"]] == texts["Exam"] == case_texts.MISSING) == ("missing" in odd)
    assert all(seen.values()) and len(seen) == 5


def test_drawings_and_montages_say_so_themselves_and_show_no_finding(topics, described, truth):
    of_case = {case["U_id"]: case["TAC"] + case["MRI"] for case in topics}
    told = {one["image"]: one["Description"] for one in described}
    for case_id, known in truth.items():
        apart = [name for name, on in zip(of_case[case_id], known["on"], strict=True) if on is None]
        said = {("Drawing" in told[name]["Modality"], "montage" in told[name]["Plane"]) for name in apart}
        assert said == {
            pair for pair, name in (((True, False), "drawing"), ((False, True), "montage")) if name in known["odd"]
        }


def test_both_modalities_show_the_findings_of_the_same_patient(topics, truth):
    both = [case for case in topics if case["TAC"] and case["MRI"]]
    assert len(both) >= 10
    for case in both:
        assert "both_modalities" in truth[case["U_id"]]["odd"]


def test_more_cases_of_a_stratum_leave_the_seed_its_pixels():
    orders = simulate.plan(PARAMS)
    one, again = (simulate.simulate(orders[0], params) for params in (PARAMS, replace(PARAMS, copied_cases=0)))
    for first, second in zip(one.images, again.images, strict=True):
        assert np.array_equal(first.pixels, second.pixels)


def test_impossible_parameters_are_refused_all_at_once():
    wrong = {**VALUES, "contrast": [0.9, 0.5], "normal_fraction": 1.5}
    with pytest.raises(ParamsError) as refused:
        parse({"findings": {"simulate": wrong}}, SECTIONS)
    assert "normal_fraction" in str(refused.value)
    with pytest.raises(ParamsError, match="of at most 100"):
        parse({"findings": {"simulate": {**VALUES, "copied_cases": 101}}}, SECTIONS)
