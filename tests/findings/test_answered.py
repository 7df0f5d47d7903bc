"""Rows of answers, made of replies."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.findings import answered
from stages.findings.items import Item
from stages.findings.requests import Asked
from stages.lib.metrics.text.extract import extractor
from stages.lib.models import prompt_family
from stages.lib.models.arm import ArmParams
from stages.lib.models.chat.request import Message, Reply, Request, Sampling, Text, Usage

FOCUSED, BRIEF = prompt_family.read("brief_focused"), prompt_family.read("brief")
ITEM = Item("MPX1", "MPX1", "test", "abdomen", "CT", None, "A mass.", ())
SAMPLING = Sampling(temperature=0.0, top_p=1.0, max_tokens=8, seed=1)


def params(**changes):
    own = {"prompt": "brief", "system": False, "image_first": True, "images": "all", "max_images": 4, "top_p": 1.0}
    own |= {"choose_images": "first", "pixels": "file", "unit": "case", "temperature": 1.0, "max_tokens": 8, "seed": 1}
    own |= {"samples": 3, "consensus": "findings", "after": "none", "examples": "none", "n_examples": 0}
    return ArmParams(**own | {"example_images": False, "retriever": "none", "min_similarity": 0.0} | changes)


def asked(count, sample=0):
    made = [Request("MPX1", "m", "none", (Message("user", (Text(str(n)),)),), SAMPLING, sample) for n in range(count)]
    return Asked(ITEM, sample, tuple(made))


def rows_of(replies, **changes):
    family = BRIEF
    made = [answered.row("one", asked(1, n), [reply], family, has_model=True) for n, reply in enumerate(replies)]
    return answered.finished(made, params(samples=len(replies), **changes), extractor())


def said(text, reason="stop"):
    return Reply("ok", text=text, finish_reason=reason, model="m", usage=Usage(10, None, 5))


def test_answers_to_questions_are_merged_without_those_that_are_no_more_than_no():
    replies = [said("Yes, there is a mass."), said("No."), said(" no "), said("There is a collection.\n")]
    assert answered.merged(replies, FOCUSED) == "Yes, there is a mass.\nThere is a collection."
    assert answered.merged([said("No.")] * 4, FOCUSED) == "There is no mass, cyst, calcification or collection."


def test_a_failed_question_is_a_failed_answer_and_tokens_are_added_only_where_all_are_known():
    replies = [said("A mass."), Reply("timeout", problem="timed out"), said("No."), said("No.")]
    row = answered.row("one", asked(4), replies, FOCUSED, has_model=True)
    assert (row["text"], row["problem"], row["request"]) == (None, "timed out", None)
    assert row["prompt_tokens"] is None
    whole = answered.row("one", asked(4), [said("No.", "length"), *[said("No.")] * 3], FOCUSED, has_model=True)
    assert (whole["prompt_tokens"], whole["completion_tokens"], whole["cached_tokens"]) == (40, 20, None)
    assert whole["finish_reason"] == "length" and whole["prompt_sha256"] == asked(4).prompt_sha256
    assert answered.clocked(asked(4), replies, lambda reply: 1.0) is None
    clock = answered.clocked(asked(4), [said("No.")] * 4, lambda reply: 0.5)
    assert (clock.attempts, clock.dollars) == (4, 2.0)


@pytest.mark.parametrize(
    ("reply", "status", "findings"),
    [
        (said("There is a mass."), "ok", "There is a mass."),
        (said("FINDINGS: A mass.\nIMPRESSION: Tumor.", "length"), "truncated", "A mass."),
        (said("There is a mass. " * 40, "length"), "looping", ("There is a mass. " * 40).strip()),
        (said(" \n"), "empty", ""),
        (said("I'm sorry, I cannot interpret images."), "refused", "I'm sorry, I cannot interpret images."),
        (Reply("error", problem="no route"), "error", ""),
    ],
)
def test_what_became_of_an_answer_is_its_status_and_nothing_is_cut_off(reply, status, findings):
    (row,) = rows_of([reply], temperature=0.0, consensus="none")
    assert (row["status"], row["findings"], row["final"]) == (status, findings, True)
    assert row["request"] == asked(1).requests[0].key
    assert row["text"] == reply.text


def test_a_consensus_by_findings_has_what_most_samples_have_and_says_how_far_they_agree():
    texts = ["A mass in the left kidney. A cyst.", "A mass in the left kidney.", "A mass in the left kidney. A stone."]
    *samples, agreed = rows_of([said(text) for text in texts])
    assert not any(one["final"] for one in samples) and agreed["final"] and agreed["sample"] is None
    found = extractor().read(agreed["text"]).present
    assert [(one.entity, one.side) for one in found] == [("NF:mass", "left")]
    assert 0 < agreed["agreement"] < 1 and agreed["problem"] is None and agreed["completion_tokens"] is None


def test_a_sample_that_failed_has_no_vote_and_is_counted_and_with_none_left_there_is_no_consensus():
    sorry = said("I'm sorry, I cannot interpret images.")
    replies = [said("A cyst."), said("A mass."), Reply("error", problem="gone"), said(""), sorry]
    *_, agreed = rows_of(replies, consensus="medoid")
    assert (agreed["text"], agreed["problem"]) == ("A cyst.", "3 of 5 samples are no answer")
    *_, none = rows_of([Reply("error", problem="gone")] * 2, consensus="medoid")
    assert (none["status"], none["text"], none["agreement"], none["final"]) == ("error", None, None, True)
    *_, single = rows_of([said("A cyst."), said("")])
    assert single["status"] == "ok" and single["agreement"] is None


def test_the_most_frequent_finding_is_counted_once_a_text_and_has_its_own_most_frequent_side():
    def most(*golds):
        return answered.most_frequent(golds, extractor())

    assert most("A cyst on the left.") == "There is cyst on the left."
    assert most("A cyst. A cyst on the left.", "A mass.", "A mass on the right.", "A mass on the right.") == (
        "There is mass on the right."
    )
    assert most("No mass.", "There is no cyst.") is None and most() is None


@settings(deadline=None)
@given(st.lists(st.sampled_from(["A mass.", "No mass.", "", "A cyst on the left.", None]), min_size=2, max_size=5))
def test_every_item_has_one_final_row_whatever_its_samples_are(texts):
    replies = [Reply("error", problem="x") if text is None else said(text) for text in texts]
    rows = rows_of(replies)
    assert sum(one["final"] for one in rows) == 1 and len(rows) == len(texts) + 1
    assert all((one["text"] is None) == (one["status"] == "error") for one in rows)
