"""Cases are sampled by region and modality into roles that share nothing, or it is said what is missing."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import medpix_folder
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from medpix_folder import CATEGORIES, IMAGED_ONLY, LONG

from stages.findings import drawing, ingest, sample, sample_file
from stages.findings.sample_document import Sample
from stages.lib.core import documents, tables
from stages.lib.core.case_tables import CASE_IMAGES, CASES, SAMPLE
from stages.lib.core.errors import ParamsError, SampleError, SplitFileError

Row = dict[str, Any]
REGIONS = tuple(CATEGORIES)
DEFAULT = {
    "seed": 1,
    "regions": REGIONS,
    "modalities": ("CT", "MR"),
    "per_stratum": 1,
    "min_gold_words": 10,
    "gold_scope": "any",
    "min_images": 1,
    "examples": 0,
    "train_fraction": 0.8,
    "val_fraction": 0.2,
    "file": "none",
}


def params(**changes: Any) -> sample.Params:
    return sample.Params(**{**DEFAULT, **changes})


def made(rows: Sequence[Mapping[str, Any]]) -> tuple[pa.Table, pa.Table]:
    """Tables of cases; each row has case_id, region, ct, mr and what else differs from a case that takes part.

    `same` is the name of the duplicate group of its first image.
    """
    cases, images = [], []
    for row in rows:
        case_id, ct, mr = row["case_id"], row.get("ct", 1), row.get("mr", 0)
        modality = "+".join(name for name, count in (("CT", ct), ("MR", mr)) if count)
        cases.append(
            {
                "case_id": case_id,
                "region": row.get("region", "head"),
                "modality": modality,
                "n_images": ct + mr,
                "history": f"History of {case_id}.",
                "gold": f"Findings of {case_id}.",
                "gold_words": row.get("words", 12),
                "gold_scope": row.get("scope", "imaged_only"),
                "other_studies": [],
                "gold_points_at_caption": False,
                "diagnosis_in_history": row.get("leak", False),
                "diagnosis_in_gold": False,
                "status": row.get("status", "ok"),
                "notices": [],
            }
        )
        for number in range(ct + mr):
            images.append(
                {
                    "case_id": case_id,
                    "number": number,
                    "image_id": f"{case_id}_{number}",
                    "path": f"{case_id}_{number}.png",
                    "modality": "CT" if number < ct else "MR",
                    "shows": "slice",
                    "sha256": f"file {case_id} {number}",
                    "pixel_sha256": row.get("pixels", f"pixels {case_id}") if number == 0 else f"{case_id} {number}",
                    "duplicate_group": row.get("same") if number == 0 else None,
                    "status": "ok",
                }
            )
    return tables.from_rows(cases, CASES), tables.from_rows(images, CASE_IMAGES)


def many(n: int = 6, regions: Sequence[str] = REGIONS) -> list[Row]:
    """Cases of each region, of CT, of MR and of both."""
    kinds = ((2, 0), (0, 1), (1, 1))
    return [
        {"case_id": f"{region}{kind}{number}", "region": region, "ct": ct, "mr": mr}
        for region in regions
        for kind, (ct, mr) in enumerate(kinds)
        for number in range(n)
    ]


def roles(table: pa.Table) -> dict[str, str]:
    return dict(zip(table["case_id"].to_pylist(), table["role"].to_pylist(), strict=True))


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> ingest.Ingested:
    """A folder with the layout and the counts of MedPix 2.0, ingested."""
    root = tmp_path_factory.mktemp("medpix")
    cases, described = medpix_folder.as_published()
    medpix_folder.write(root, cases)
    medpix_folder.tell(root, [medpix_folder.entry(case) for case in cases], described)
    given = ingest.Params(
        root=str(root), terms="open", accept=(), max_rejected=17, max_pixels=10_000, same_correlation=0.96
    )
    return ingest.ingest(given)


def test_the_folder_has_the_counts_of_medpix(published: ingest.Ingested) -> None:
    cases, images = published.cases.to_pylist(), published.case_images.to_pylist()
    assert (len(cases), len(images)) == (671, 2050)
    assert Counter(row["modality"] for row in images) == {"CT": 1062, "MR": 988}
    assert sum(row["gold"] is None for row in cases) == 17
    shown = Counter(row["shows"] for row in images)
    assert (shown["drawing"], shown["reconstruction"], shown["montage"]) == (3, 2 + 19, 1 + 21)
    for wanted, scopes in ((LONG, {"imaged_only", "other_studies"}), (IMAGED_ONLY, {"imaged_only"})):
        kept = [row for row in cases if row["gold_words"] >= 10 and row["gold_scope"] in scopes]
        counts = Counter((row["region"], row["modality"]) for row in kept)
        found = {region: tuple(counts[region, kind] for kind in ("CT", "CT+MR", "MR")) for region in REGIONS}
        assert found == wanted


def test_fifty_cases_of_medpix_are_five_of_each_region_and_modality(published: ingest.Ingested) -> None:
    table, left_out = sample.sample(published.cases, published.case_images, params(per_stratum=5, examples=2))
    rows = table.to_pylist()
    test = [row for row in rows if row["role"] == "test"]
    assert Counter((row["region"], row["modality"]) for row in test) == {
        (region, modality): 5 for region in REGIONS for modality in ("CT", "MR")
    }
    assert Counter(row["role"] for row in rows) == {"test": 50, "example": 2, "val": 116, "train": 462}
    assert left_out == {"fewer than 10 words of findings": 24, "rejected by ingest": 17}
    assert sample.shared_images(table, published.case_images) == []


def test_findings_about_imaged_studies_alone_leave_one_stratum_short_and_it_is_named(
    published: ingest.Ingested,
) -> None:
    asked = params(per_stratum=5, gold_scope="imaged_only")
    with pytest.raises(SampleError) as error:
        sample.sample(published.cases, published.case_images, asked)
    assert error.value.problems == (
        "urinary x MR: 4 of 5",
        "there are of head: 57 CT alone, 81 MR alone, 40 CT and MR",
        "there are of thorax: 54 CT alone, 3 MR alone, 4 CT and MR",
        "there are of abdomen: 80 CT alone, 3 MR alone, 5 CT and MR",
        "there are of spine: 18 CT alone, 35 MR alone, 7 CT and MR",
        "there are of urinary: 34 CT alone, 3 MR alone, 1 CT and MR",
    )
    assert "1 of 10 strata cannot be filled (gold_scope imaged_only" in str(error.value)


def test_of_a_case_of_both_modalities_only_those_of_its_stratum_are_sent() -> None:
    cases, images = made([{"case_id": f"c{number}", "ct": 2, "mr": 3} for number in range(4)])
    table, _ = sample.sample(cases, images, params(regions=("head",), per_stratum=2))
    sent = {row["modality"]: row["numbers"] for row in table.to_pylist()}
    assert sent == {"CT": [0, 1], "MR": [2, 3, 4]}


def test_a_case_needs_its_images_of_one_modality() -> None:
    cases, images = made([{"case_id": "a", "ct": 1, "mr": 2}, {"case_id": "b", "ct": 2, "mr": 0}])
    table, _ = sample.sample(cases, images, params(regions=("head",), min_images=2))
    assert {row["case_id"]: row["modality"] for row in table.to_pylist()} == {"a": "MR", "b": "CT"}


def test_the_draw_does_not_depend_on_the_order_of_rows_nor_test_cases_on_the_rest() -> None:
    cases, images = made(many())
    whole, _ = sample.sample(cases, images, params(per_stratum=3, examples=2))
    order = np.random.default_rng(0).permutation(cases.num_rows)
    again, _ = sample.sample(
        cases.take(pa.array(order)), images.take(pa.array(range(images.num_rows))), params(per_stratum=3, examples=2)
    )
    assert again.equals(whole)
    fewer, _ = sample.sample(cases, images, params(per_stratum=3, examples=0, train_fraction=0.5, val_fraction=0.0))
    tested = [{case for case, role in roles(table).items() if role == "test"} for table in (whole, fewer)]
    assert tested[0] == tested[1]
    other, _ = sample.sample(cases, images, params(per_stratum=3, examples=2, seed=2))
    assert roles(other) != roles(whole)


def test_cases_that_share_an_image_are_never_in_two_roles() -> None:
    rows = many(4, ("head",))
    for number, row in enumerate(rows):
        row |= {"same": f"pair {number // 2}"} if number % 4 < 2 else {"pixels": f"twin {number // 3}"}
    cases, images = made(rows)
    table, left_out = sample.sample(cases, images, params(regions=("head",), per_stratum=2))
    assert sample.shared_images(table, images) == []
    assert left_out["shares an image with a case of the role test"] > 0
    assert table.num_rows + sum(left_out.values()) == len(rows)


def test_examples_are_cases_of_their_own_from_the_fullest_strata() -> None:
    cases, images = made([*many(2), *({"case_id": f"more{number}", "region": "spine"} for number in range(20))])
    table, _ = sample.sample(cases, images, params(examples=2))
    examples = [row for row in table.to_pylist() if row["role"] == "example"]
    assert len(examples) == 2
    assert examples[0]["region"] == "spine" or examples[1]["region"] == "spine"
    with pytest.raises(SampleError, match="few-shot cases are left for examples"):
        sample.sample(*made(many(1, ("head",))), params(regions=("head",), examples=4))


def test_cases_without_a_role_are_counted_by_the_reason() -> None:
    rows = [
        *many(2, ("head",)),
        {"case_id": "short", "words": 9},
        {"case_id": "long_enough", "words": 10},
        {"case_id": "odd", "scope": "other_studies"},
        {"case_id": "far", "region": "spine"},
        {"case_id": "bad", "status": "rejected"},
    ]
    cases, images = made(rows)
    asked = params(regions=("head",), gold_scope="imaged_only", train_fraction=0.0, val_fraction=0.0)
    table, left_out = sample.sample(cases, images, asked)
    assert left_out == {
        "fewer than 10 words of findings": 1,
        "its findings name other studies": 1,
        "not drawn": 5,
        "of no region of the sample": 1,
        "rejected by ingest": 1,
    }
    assert table.num_rows == 2


def test_an_image_that_takes_no_part_is_not_sent_and_ties_no_cases() -> None:
    cases, images = made([{"case_id": "a", "ct": 2, "pixels": "same"}, {"case_id": "b", "ct": 2, "pixels": "same"}])
    rows = [row | ({"status": "rejected"} if row["number"] == 0 else {}) for row in images.to_pylist()]
    asked = params(regions=("head",), modalities=("CT",), train_fraction=1.0, val_fraction=0.0)
    table, _ = sample.sample(cases, tables.from_rows(rows, CASE_IMAGES), asked)
    assert sorted((row["role"], row["numbers"]) for row in table.to_pylist()) == [("test", [1]), ("train", [1])]


def test_another_seed_divides_what_is_left_otherwise(tmp_path: Path) -> None:
    found = write(tmp_path, "sample.json", ["head00"])
    both = [roles(sample.sample(*made(many(4)), params(seed=seed, examples=1), found)[0]) for seed in (1, 2)]
    assert [both[0][name] for name in ("head00",)] == ["test"]
    assert both[0] != both[1]


def test_a_leak_is_a_flag_of_the_sampled_case() -> None:
    table, _ = sample.sample(*made([{"case_id": "a", "leak": True}]), params(regions=("head",), modalities=("CT",)))
    assert table.to_pylist()[0]["flags"] == ["diagnosis_in_history"]


def write(folder: Path, name: str, content: Any) -> sample_file.SampleFile:
    (folder / name).write_text(content if isinstance(content, str) else json.dumps(content))
    return sample_file.read(folder / name)


def test_a_published_sample_decides_the_test_cases_and_the_image_that_is_first(tmp_path: Path) -> None:
    published = [
        {"uid": "head20", "image_path": "data/images/head20_1.png", "gold_findings": "not read"},
        {"uid": "spine10", "image_path": "spine10_0.png"},
        {"uid": "thorax00"},
    ]
    found = write(tmp_path, "sample.json", published)
    cases, images = made(many(2))
    table, _ = sample.sample(cases, images, params(per_stratum=5, examples=1), found)
    test = {row["case_id"]: (row["modality"], row["numbers"]) for row in table.to_pylist() if row["role"] == "test"}
    assert test == {"head20": ("MR", [1]), "spine10": ("MR", [0]), "thorax00": ("CT", [0, 1])}
    assert set(roles(table).values()) == {"test", "example", "train", "val"}
    second = write(tmp_path, "sample.json", [{"uid": "thorax00", "image": "thorax00_1"}])
    table, _ = sample.sample(cases, images, params(), second)
    assert [row["numbers"] for row in table.to_pylist() if row["role"] == "test"] == [[1, 0]]


def test_a_split_of_medpix_is_what_each_role_is_drawn_from(tmp_path: Path) -> None:
    cases, images = made(many(6, ("head",)))
    ids = cases["case_id"].to_pylist()
    parts = {"train": ids[::2], "train_1": ids[:1], "dev": ids[1::4], "test": ids[3::4]}
    found = write(tmp_path, "uid_list.json", parts)
    table, _ = sample.sample(cases, images, params(regions=("head",), examples=1), found)
    by_role: dict[str, set[str]] = {}
    for case_id, role in roles(table).items():
        by_role.setdefault(role, set()).add(case_id)
    assert by_role["test"] <= set(parts["test"])
    assert by_role["train"] | by_role["example"] == set(parts["train"])
    assert by_role["val"] == set(parts["dev"])


def test_parts_of_a_split_that_share_an_image_do_not_both_keep_it(tmp_path: Path) -> None:
    rows = [{"case_id": name, "same": "pair"} for name in ("a", "b")] + [{"case_id": name} for name in ("c", "d", "e")]
    cases, images = made(rows)
    found = write(tmp_path, "split.json", {"train": ["a", "c"], "val": ["b", "d"], "test": ["e"]})
    table, left_out = sample.sample(cases, images, params(regions=("head",), modalities=("CT",)), found)
    assert sample.shared_images(table, images) == []
    assert set(roles(table).values()) == {"test", "train", "val"}
    assert sum(left_out.values()) == 1


def test_images_that_a_file_names_are_the_case_s_own_and_of_one_modality(tmp_path: Path) -> None:
    cases, images = made([{"case_id": "a", "ct": 1, "mr": 1}, {"case_id": "b", "ct": 1}])
    entries = [{"uid": "a", "images": ["a_0", "a_1"]}, {"uid": "b", "images": ["a_0"]}]
    with pytest.raises(SplitFileError) as error:
        sample.sample(cases, images, params(), write(tmp_path, "sample.json", entries))
    assert error.value.problems == (
        "'a': found the images a_0, a_1, wanted of a_0, a_1, of one modality",
        "'b': found the images a_0, wanted of b_0, of one modality",
    )


def test_the_sample_of_an_earlier_run_gives_the_same_sample(tmp_path: Path) -> None:
    cases, images = made(many(4))
    table, left_out = sample.sample(cases, images, params(per_stratum=2, examples=2))
    record = sample.document(table, images, params(), left_out, None)
    documents.write(tmp_path / "sample.json", record)
    again, _ = sample.sample(cases, images, params(seed=9), sample_file.read(tmp_path / "sample.json"))
    assert again.equals(table)


def test_a_csv_with_roles_decides_all_of_them(tmp_path: Path) -> None:
    found = write(tmp_path, "roles.csv", "case_id,role,modality\nhead20,test,MR\nhead00,few_shot,\nhead01,train,CT\n")
    table, left_out = sample.sample(*made(many(2, ("head",))), params(), found)
    assert {row["case_id"]: (row["role"], row["modality"]) for row in table.to_pylist()} == {
        "head00": ("example", "CT"),
        "head01": ("train", "CT"),
        "head20": ("test", "MR"),
    }
    assert sum(left_out.values()) == 3


def test_what_does_not_fit_the_cases_is_told_at_once(tmp_path: Path) -> None:
    text = "case_id,role,modality\na,test,CT\nb,train,CT\nc,train,MR\nd,test,CT\ne,test,CT\n"
    rows = [{"case_id": "a", "same": "g"}, {"case_id": "b", "same": "g"}, {"case_id": "c"}]
    cases, images = made([*rows, {"case_id": "d", "status": "rejected"}])
    with pytest.raises(SplitFileError) as error:
        sample.sample(cases, images, params(), write(tmp_path, "roles.csv", text))
    assert error.value.problems == (
        "'c' has no MR image that takes part",
        "'d' takes no part: None",
        "'e' is no case of this data set",
        "equal or nearly equal images in two roles: test: a; train: b",
    )


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.json", "[", "not JSON"),
        ("a.json", {"x": 1}, "found no list of cases"),
        ("a.json", [], "found no case in it"),
        ("a.json", ["a", "a"], "entry 1: 'a' is named twice"),
        ("a.json", [{"name": "a"}, 3], "entry 1: found no case_id"),
        ("a.json", [{"uid": "a", "modality": "XR"}], "'a' has the modality 'XR', wanted CT or MR"),
        ("a.json", {"cases": [{"case_id": "a", "role": "tset"}]}, "found no role, wanted one of"),
        ("a.json", {"train": ["a"], "test": ["a"]}, "test, entry 0: 'a' is named twice, as train before"),
        ("a.csv", "case_id,part\na,test\n", "no column role (or split)"),
        ("a.csv", "case_id,split\na,tset\n", "line 2: found the role 'tset'"),
    ],
)
def test_a_file_that_is_no_sample_is_named(name: str, content: Any, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(SplitFileError) as error:
        write(tmp_path, name, content)
    assert sentence in str(error.value)


def test_parameters_that_contradict_themselves_are_refused() -> None:
    for changes, sentence in (
        ({"train_fraction": 0.9}, "of 1 together at most"),
        ({"regions": ()}, "wanted one or more"),
        ({"modalities": ("CT", "CT")}, "none of them twice"),
    ):
        with pytest.raises((ParamsError, ValueError), match=sentence):
            params(**changes)


def test_the_hash_of_a_sample_changes_with_a_case_a_text_and_an_image() -> None:
    cases, images = made(many(2, ("head",)))
    table, _ = sample.sample(cases, images, params(regions=("head",)))
    hashes = {sample.document(table, images, params(), {}, None).sample_sha256}
    rows = table.to_pylist()
    rows[0]["gold"] += " "
    hashes.add(sample.document(tables.from_rows(rows, SAMPLE), images, params(), {}, None).sample_sha256)
    hashes.add(sample.document(table.slice(1), images, params(), {}, None).sample_sha256)
    other = [row | {"sha256": "other"} for row in images.to_pylist()]
    hashes.add(sample.document(table, tables.from_rows(other, CASE_IMAGES), params(), {}, None).sample_sha256)
    assert len(hashes) == 4


def test_the_stage_writes_the_same_bytes_twice(tmp_path: Path) -> None:
    cases, images = made(many(2))
    tables.write(tmp_path / "cases.parquet", cases, CASES)
    tables.write(tmp_path / "case_images.parquet", images, CASE_IMAGES)
    asked = json.dumps({"findings": {"sample": {**DEFAULT, "regions": list(REGIONS), "modalities": ["CT", "MR"]}}})
    for name in ("one", "two"):
        options = {name: tmp_path / f"{name}.parquet" for name in ("cases", "case_images")}
        options |= {"sample": tmp_path / name / "sample.parquet", "record": tmp_path / name / "sample.json"}
        named = [text for key, path in options.items() for text in (f"--{key.replace('_', '-')}", str(path))]
        sample.main(["--params", asked, *named])
    for name in ("sample.parquet", "sample.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    record = documents.read(tmp_path / "one/sample.json", Sample)
    assert sum(one.cases for one in record.strata) == len(record.cases) == 30
    assert record.parameters["per_stratum"] == 1
    assert "10 cases test: abdomen CT 1, abdomen MR 1, head CT 1," in sample.told(record)[0]


CANDIDATES = st.lists(st.tuples(st.sampled_from(["CT", "MR", "CT MR"]), st.integers(0, 9)), max_size=12)


@settings(max_examples=200, deadline=None)
@given(drawn=CANDIDATES, ct=st.integers(0, 6), mr=st.integers(0, 6))
def test_as_many_places_are_filled_as_can_be_and_no_group_twice(drawn: list[tuple[str, int]], ct: int, mr: int) -> None:
    """The most that can be filled is counted in another way, by a search over all flows of the two strata."""
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import maximum_bipartite_matching

    candidates = [
        drawing.Candidate(f"c{number}", "head", dict.fromkeys(kinds.split(), (0,)), group)
        for number, (kinds, group) in enumerate(drawn)
    ]
    places = [("head", "CT")] * ct + [("head", "MR")] * mr
    found = drawing.fill(places, candidates)
    taken = [one for one in found if one is not None]
    assert len({one.group for one in taken}) == len(taken)
    assert all(one is None or one.fits(place) for place, one in zip(places, found, strict=True))
    fits = np.zeros((max(len(places), 1), 10), int)
    for row, place in enumerate(places):
        for one in candidates:
            fits[row, one.group] |= one.fits(place)
    most = int((maximum_bipartite_matching(csr_matrix(fits), perm_type="column") >= 0).sum())
    assert len(taken) == most


SHARING = st.lists(
    st.tuples(st.sampled_from(["ct", "mr", "both"]), st.none() | st.integers(0, 3), st.none() | st.integers(0, 3)),
    min_size=4,
    max_size=24,
)


@settings(max_examples=100, deadline=None)
@given(drawn=SHARING, seed=st.integers(0, 9), examples=st.integers(0, 2))
def test_whatever_images_cases_share_no_two_roles_share_one(
    drawn: list[tuple[str, int | None, int | None]], seed: int, examples: int
) -> None:
    rows = [
        {"case_id": f"c{number:02d}", "ct": kind != "mr", "mr": kind != "ct"}
        | ({} if pixels is None else {"pixels": f"pixels {pixels}"})
        | ({} if same is None else {"same": f"group {same}"})
        for number, (kind, pixels, same) in enumerate(drawn)
    ]
    cases, images = made([{**row, "ct": int(row["ct"]), "mr": int(row["mr"])} for row in rows])
    asked = params(regions=("head",), seed=seed, examples=examples, train_fraction=0.5, val_fraction=0.3)
    try:
        table, left_out = sample.sample(cases, images, asked)
    except SampleError as error:
        assert error.problems
        return
    role = roles(table)
    assert len(role) + sum(left_out.values()) == len(drawn)
    marks: dict[tuple[str, str], set[str]] = {}
    tested: Counter[tuple[str, str]] = Counter()
    for row in images.to_pylist():
        for key in ("pixel_sha256", "duplicate_group"):
            if row[key] is not None and row["case_id"] in role:
                marks.setdefault((key, row[key]), set()).add(role[row["case_id"]])
                tested[key, row[key]] += role[row["case_id"]] == "test" and row["number"] == 0
    assert all(len(found) == 1 for found in marks.values())
    assert all(count <= 1 for count in tested.values())
