"""Claims about stages.findings.judge and raters."""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pytest
from judged import GIVEN, answer, answers

from stages.findings import judge, raters
from stages.lib.core import tables
from stages.lib.core.case_tables import CASE_IMAGES, JUDGEMENTS, SAMPLE
from stages.lib.core.errors import ParamsError
from stages.lib.models.judge import JudgeParams
from stages.lib.models.judging import rating
from stages.lib.models.judging.rating import Judged, Question
from stages.lib.models.verdict import Verdict


def given(**changes: Any) -> JudgeParams:
    return JudgeParams(**{**GIVEN, **changes})


def overlap(gold: str, said: str) -> Verdict:
    """A judge for tests: good if the gold text is in the answer."""
    found = gold in said
    return Verdict(rating="good" if found else "poor", primary_found=found, rationale="By its words.")


TABLE = answers(
    [
        answer("all", "c1"),
        answer("all", "c2", text="A mass of c2. More.", status="looping"),
        answer("all", "c2", sample=None, final=False),
        answer("first", "c1", text=None, status="error", problem="timeout", findings_from="none"),
        answer("first", "c2", text="", status="empty", findings_from="none"),
        answer("each", "c1/0"),
        answer("each", "c1/1"),
    ]
)
GOLD = {"c1": "A cyst.", "c2": "A mass of c2.", "c1/0": "A caption.", "c1/1": None}


def run(seed: int = 1, shard: str = "1-of-1", **changes: Any) -> tuple[pa.Table, list[Question]]:
    asked = judge.questions(TABLE, GOLD, given(**changes), shard)
    return judge.judge(asked, rating.by_rules(overlap), "one", "short-1", seed)[0], asked


def test_each_answer_that_counts_has_a_row_whatever_became_of_it():
    table, _ = run()
    found = {(row["arm"], row["item"]): (row["status"], row["rating"]) for row in table.to_pylist()}
    assert found == {
        ("all", "c1"): ("ok", "poor"),
        ("all", "c2"): ("ok", "good"),
        ("first", "c1"): ("error", None),
        ("first", "c2"): ("ok", "poor"),
        ("each", "c1/0"): ("ok", "poor"),
        ("each", "c1/1"): ("error", None),
    }
    problems = [row["problem"] for row in table.to_pylist() if row["rating"] is None]
    assert sorted(problems) == ["no answer: timeout", "no gold text"]


def test_the_order_of_the_questions_is_shuffled_by_the_seed_over_arms_and_items_and_changes_no_row():
    orders: list[list[str]] = []

    def rate(questions: Sequence[Question]) -> list[Judged]:
        orders.append([one.name for one in questions])
        return rating.by_rules(overlap)(questions)

    many = answers([answer(arm, f"c{number}") for arm in ("a", "b") for number in range(20)])
    asked = judge.questions(many, {f"c{number}": "x" for number in range(20)}, given())
    made = [judge.judge(asked, rate, "one", "short-1", seed)[0] for seed in (1, 1, 2)]
    assert orders[0] == orders[1] != orders[2]
    assert orders[0] != sorted(orders[0])
    assert len({name[0] for name in orders[0][:10]}) == 2, "the arms are mixed"
    assert made[0].equals(made[2])


def test_shards_are_of_items_and_together_the_whole():
    whole, _ = run()
    parts = [run(shard=f"{number}-of-3")[0] for number in (1, 2, 3)]
    assert tables.check(pa.concat_tables(parts), JUDGEMENTS).equals(whole)
    items = [set(part["item"].to_pylist()) for part in parts]
    assert sum(map(len, items)) == len(set().union(*items))


def test_repeats_are_rows_of_their_own():
    table, asked = run(repeats=3)
    assert table.num_rows == len(asked) == 3 * 6
    assert set(table["repeat"].to_pylist()) == {0, 1, 2}


def test_an_answer_is_cut_only_if_a_parameter_says_so():
    assert {len(one.answer or "") for one in run(max_answer_chars=3)[1]} <= {0, 3}
    assert "A mass of c2. More." in {one.answer for one in run()[1]}


def test_the_gold_text_of_an_image_is_its_caption():
    sample = {"case_id": "c1", "role": "test", "region": "head", "modality": "CT", "numbers": [0]}
    sample |= {"history": None, "gold": "A cyst.", "gold_scope": "imaged_only", "flags": []}
    image: dict[str, Any] = dict.fromkeys(CASE_IMAGES.names)
    image |= {"case_id": "c1", "number": 0, "image_id": "i", "path": "p", "modality": "CT", "shows": "slice"}
    image |= {"caption": "Axial CT.", "status": "ok"}
    found = judge.golds(tables.from_rows([sample], SAMPLE), tables.from_rows([image], CASE_IMAGES))
    assert found == {"c1": "A cyst.", "c1/0": "Axial CT."}


def test_a_judge_that_is_the_model_of_an_arm_is_refused_with_every_such_arm():
    with pytest.raises(ParamsError) as caught:
        raters.check([raters.Asked(judge="one", model="folder/Tiny@main", words=())], TABLE)
    assert [f"arm {name}" in str(caught.value) for name in ("all", "each", "first")] == [True] * 3


def test_a_judge_of_an_arms_family_is_warned_of():
    table = answers([answer("a", "c1", model="google/medgemma-4b"), answer("b", "c1", model="gpt-5")])
    said = raters.check([raters.Asked(judge="one", model="gemini-3-pro", words=())], table)
    assert said == ["judge one (gemini-3-pro) and arm a (google/medgemma-4b) are of one family: Google"]


def test_the_words_of_a_family_are_read_from_the_parameter():
    assert given(family="Gemma, Med ").families == ("gemma", "med")
    assert given().families == ()
