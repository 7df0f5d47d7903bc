"""Claims about the texts of answers against gold texts, stages.findings.measuring.texts."""

import numpy as np
import pytest

from stages.findings.measuring import texts
from stages.findings.measuring.study import Asked, Item
from stages.lib.metrics.measures import Key
from stages.lib.metrics.parts import value
from stages.lib.metrics.text.extract import extractor

PAIRS = [
    ("A mass in the left kidney.", "A mass in the left kidney. A cyst."),
    ("There is no effusion.", "There is no effusion."),
    ("See the figure.", "A mass."),
]


def compared(pairs):
    reader = texts.Reader(extractor(), stemmer=True)
    items = tuple(Item(item=f"C{n}", case={}, gold=gold, planes=(), n_images=1) for n, (gold, _) in enumerate(pairs))
    answers = tuple({"findings": answer} for _, answer in pairs)
    return reader, items, reader.compare(Asked(arm="arm", items=items, answers=answers, samples=answers))


def test_a_case_whose_gold_text_is_not_known_is_in_no_measure_of_findings_and_is_told():
    reader, items, found = compared(PAIRS)
    parts = texts.parts(found)
    assert parts[Key("finding_f1")].under.tolist() == [1, 1, 0]
    assert value(parts[Key("finding_f1")]) == pytest.approx((2 / 3 + 1) / 2)
    assert value(parts[Key("finding_precision")]) == 0.5
    assert value(parts[Key("finding_recall")]) == 1
    assert value(parts[Key("invented_per_case")]) == 0.5
    (told,) = texts.unread(items, reader)
    assert "1 of 3 gold texts (C2)" in told
    assert not list(texts.unread(items[:2], reader))


def test_where_no_gold_text_is_known_a_measure_has_a_reason_instead_of_a_value():
    _, _, found = compared(PAIRS[2:])
    assert "knows no word" in str(value(texts.parts(found)[Key("finding_f1")]))
    assert np.isfinite(value(texts.parts(found)[Key("rouge_l_f1")]))
