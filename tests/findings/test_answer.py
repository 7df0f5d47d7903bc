"""Answers of arms about cases: what is asked, what is refused, what is written."""

import json

import pytest
from tiny_cases import arm

from stages.findings.answer import main
from stages.findings.timing import Timing
from stages.lib.core import documents, tables
from stages.lib.core.case_tables import ANSWERS, CASE_IMAGES, RETRIEVED
from stages.lib.core.errors import ParamsError


@pytest.fixture(autouse=True)
def ledger(tmp_path, monkeypatch):
    monkeypatch.setenv("NODULEFLOW_LEDGER", str(tmp_path / "ledger"))
    return tmp_path / "ledger"


@pytest.fixture
def answers(tmp_path, tiny_cases, tiny_base):
    """What the stage writes for an arm."""
    documents.write(tmp_path / "fetched.json", tiny_base)

    def run(row, name="one", rows=None, **more):
        more = {"fetched": tmp_path / "fetched.json", **more} if row["kind"] == "local" else more
        main(tiny_cases.options(tmp_path, {name: row, **(rows or {})}, name, **more))
        table = tables.read(tmp_path / f"{name}.parquet", ANSWERS)
        return table.to_pylist(), documents.read(tmp_path / f"{name}_timing.json", Timing)

    return run


def test_every_test_case_has_a_row_and_a_clock_and_no_other_case_has(answers):
    rows, timing = answers(arm())
    assert [row["item"] for row in rows] == ["MPX0000", "MPX0001", "MPX0002", "MPX0003"]
    assert all(row["final"] and row["sample"] == 0 and row["finish_reason"] for row in rows)
    assert [len(row["images"]) for row in rows] == [1, 2, 3, 1]
    assert all(row["prompt_tokens"] > 64 * len(row["images"]) and row["completion_tokens"] <= 8 for row in rows)
    assert sorted(one.item for one in timing.clocked) == [row["item"] for row in rows]
    assert all(one.seconds > 0 and one.dollars is None for one in timing.clocked)


def test_the_same_arm_twice_is_the_same_bytes_and_the_second_time_no_model_is_loaded(answers, tmp_path, monkeypatch):
    answers(arm())
    first = (tmp_path / "one.parquet").read_bytes()
    monkeypatch.setenv("NODULEFLOW_FINDINGS_CLIENT", json.dumps({"network": "replay", **UNLIMITED}))
    answers(arm())
    assert (tmp_path / "one.parquet").read_bytes() == first


UNLIMITED = {"max_dollars": 0.0, "max_requests": 0, "prices": "shipped"}


def test_a_constant_answers_every_case_with_the_most_frequent_finding_of_cases_that_are_not_tested(answers, ledger):
    rows, timing = answers(arm("constant", text="most_frequent"))
    assert {row["text"] for row in rows} == {"There is mass on the left in the abdomen."}
    assert all(row["request"] is None and row["model"] is None and row["status"] == "ok" for row in rows)
    assert timing.ledger_sha256 is None and not ledger.exists()


def test_an_arm_whose_unit_is_the_image_answers_about_each_image(answers):
    rows, _ = answers(arm(unit="image", images="first", max_tokens=2))
    assert [row["item"] for row in rows][:3] == ["MPX0000/0", "MPX0001/0", "MPX0001/1"]
    assert len(rows) == 1 + 2 + 3 + 1 and {len(row["images"]) for row in rows} == {1}


def test_questions_are_asked_one_by_one_and_their_answers_are_one_row(answers):
    single, _ = answers(arm(), "single")
    rows, timing = answers(arm(prompt="brief_focused"), "focused")
    assert len(rows) == 4 and all(row["request"] is None for row in rows)
    assert all(row["prompt_tokens"] > 3 * other["prompt_tokens"] for row, other in zip(rows, single, strict=True))
    assert len(timing.clocked) == 4 and all(one.attempts == 4 for one in timing.clocked)


def test_an_arm_after_another_has_its_answer_in_the_prompt_and_fails_where_there_is_none(answers, tmp_path):
    answers(arm("constant", text="A mass {region} of 2 cm."), "finder")
    after = {"after": tmp_path / "finder.parquet"}
    rows, _ = answers(arm(prompt="elaborate", after="finder", images="none"), "second", **after)
    assert {row["status"] for row in rows} <= {"ok", "truncated"} and not any(row["images"] for row in rows)
    answers(arm("constant", text=" "), "finder")
    rows, _ = answers(arm(prompt="elaborate", after="finder", images="none"), "second", **after)
    assert {row["status"] for row in rows} == {"error"} and {row["text"] for row in rows} == {None}
    assert {row["problem"] for row in rows} == {"the arm finder has no answer about it"}


def test_samples_have_seeds_of_their_own_and_a_consensus_that_is_the_answer(answers, monkeypatch):
    row = arm(temperature=1.0, top_p=0.95, samples=3, consensus="medoid", images="first")
    rows, timing = answers(row)
    drawn = [one for one in rows if one["sample"] is not None]
    agreed = [one for one in rows if one["sample"] is None]
    assert len(drawn) == 12 and [one["item"] for one in agreed] == ["MPX0000", "MPX0001", "MPX0002", "MPX0003"]
    assert all(one["final"] for one in agreed) and not any(one["final"] for one in drawn)
    assert len({one["request"] for one in drawn}) == 12 and len({one["text"] for one in drawn}) > 4
    assert all(one["text"] in {other["text"] for other in drawn} for one in agreed)
    assert {one["prompt_tokens"] for one in agreed} == {None} and {one["request"] for one in agreed} == {None}
    assert len(timing.clocked) == 12
    monkeypatch.setenv("NODULEFLOW_FINDINGS_CLIENT", json.dumps({"network": "replay", **UNLIMITED}))
    fewer, _ = answers({**row, "samples": 2})  # the first two are those that were asked before
    assert [one["text"] for one in fewer if one["sample"] == 1] == [one["text"] for one in drawn if one["sample"] == 1]


def test_few_shot_examples_are_turns_before_the_question_with_or_without_their_images(answers, ledger):
    def sent(**changes):
        rows, _ = answers(arm(examples="few_shot", n_examples=2, max_images=3, **changes))
        return [len(row["images"]) for row in rows], [row["prompt_tokens"] for row in rows]

    without, short = sent(example_images=False)
    images, long = sent(example_images=True)
    assert without == [1, 2, 3, 1] and images == [3, 3, 3, 3]
    assert all(one > other + 64 for one, other in zip(long[:2], short[:2], strict=True))


def test_retrieved_examples_are_of_the_role_train_as_alike_as_wanted_and_never_the_case_itself(
    answers, tmp_path, tiny_cases
):
    near = [
        {"case_id": case, "rank": rank, "neighbour": other, "similarity": similarity}
        for case in ("MPX0000", "MPX0001", "MPX0002", "MPX0003")
        for rank, (other, similarity) in enumerate([("MPX0006", 0.9), ("MPX0007", 0.5 if case != "MPX0003" else 0.7)])
    ]
    tables.write(tmp_path / "near.parquet", tables.from_rows(near, RETRIEVED), RETRIEVED)
    row = arm(examples="retrieved", n_examples=2, retriever="near", min_similarity=0.6, images="none")
    rows, _ = answers(row, retrieved=tmp_path / "near.parquet")
    tokens = [one["prompt_tokens"] for one in rows]
    assert len(set(tokens[:3])) == 1 and tokens[3] > tokens[0]
    none, _ = answers({**row, "min_similarity": 0.95}, "none", retrieved=tmp_path / "near.parquet")
    assert all(one["prompt_tokens"] < tokens[0] for one in none)
    own = [{**one, "neighbour": "MPX0001"} for one in near if one["rank"] == 0]
    tables.write(tmp_path / "own.parquet", tables.from_rows(own, RETRIEVED), RETRIEVED)
    tested, _ = answers(row, "tested", retrieved=tmp_path / "own.parquet")
    assert [one["prompt_tokens"] for one in tested] == [one["prompt_tokens"] for one in none]


@pytest.mark.parametrize("shard", ["1-of-1", "2-of-2"])  # the tested case is in the first of two
def test_an_example_that_shares_an_image_with_a_tested_case_is_refused(tmp_path, tiny_cases, tiny_base, ledger, shard):
    rows = tiny_cases.case_images.to_pylist()
    for row in rows:
        if row["case_id"] in ("MPX0002", "MPX0004"):
            row["duplicate_group"] = "image7"
    tables.write(tmp_path / "images.parquet", tables.from_rows(rows, CASE_IMAGES), CASE_IMAGES)
    given = arm(examples="few_shot", n_examples=1)
    documents.write(tmp_path / "fetched.json", tiny_base)
    more = {"case-images": tmp_path / "images.parquet", "fetched": tmp_path / "fetched.json"}
    options = tiny_cases.options(tmp_path, {"one": given}, "one", **more)
    options[options.index("--shard") + 1] = shard
    with pytest.raises(ParamsError, match="MPX0004 has an image of the tested case MPX0002"):
        main(options)
    assert not ledger.exists()


def test_an_unreadable_image_is_a_row_with_its_reason_and_the_other_cases_are_answered(
    tmp_path, tiny_base, monkeypatch
):
    from tiny_cases import write_cases

    cases = write_cases(tmp_path / "cases")
    (tmp_path / "cases/MPX0001_1.png").write_bytes(b"no image")
    documents.write(tmp_path / "fetched.json", tiny_base)
    main(cases.options(tmp_path, {"one": arm()}, "one", fetched=tmp_path / "fetched.json"))
    rows = tables.read(tmp_path / "one.parquet", ANSWERS).to_pylist()
    assert [row["status"] == "error" for row in rows] == [False, True, False, False]
    assert "image 1, MPX0001_1.png" in rows[1]["problem"] and rows[1]["prompt_sha256"] is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prompt": "breif"}, r"did you mean 'brief'"),
        ({"prompt": "elaborate"}, r"\{findings\} is what the arm before answered"),
        ({"pixels": "gray"}, r"pixels: found 'gray'"),
        (
            {"examples": "few_shot", "n_examples": 2, "example_images": True, "max_images": 2},
            r"max_images: found 2, wanted at least 3",
        ),
        ({"examples": "few_shot", "n_examples": 1, "prompt": "brief_focused"}, r"brief_focused with questions"),
        (
            {"examples": "retrieved", "n_examples": 1, "retriever": "siglip"},
            r"--retrieved: found none, wanted what the retriever siglip found",
        ),
    ],
)
def test_an_arm_that_cannot_be_asked_is_refused_before_the_first_request(answers, ledger, changes, message):
    with pytest.raises(ParamsError, match=message):
        answers(arm(**changes))
    assert not ledger.exists()
