"""Claims about stages.lib.metrics.text.sections."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.lib.metrics.text.extract import extractor
from stages.lib.metrics.text.sections import findings


@pytest.mark.parametrize(
    ("text", "wanted", "how"),
    [
        ("A mass.", "A mass.", "whole"),
        ("  \n", "", "none"),
        ("TECHNIQUE: CT.\nFINDINGS: A mass.\nIMPRESSION: Tumor.", "A mass.", "header"),
        ("**Findings:**\nA mass.\n\n**Impression:** Tumor.", "A mass.", "header"),
        ("## Findings\r\n- A mass.\r\n## Recommendations\r\nMRI.", "- A mass.", "header"),
        ("1. FINDINGS\nA mass.\n2. DIAGNOSIS\nTumor.", "A mass.", "header"),
        ("Impression: tumor.", "tumor.", "header"),
        ("FINDINGS:\nIMPRESSION: tumor.", "tumor.", "header"),
        ("The findings: a mass.", "The findings: a mass.", "whole"),
        ("Findings are normal.", "Findings are normal.", "whole"),
        ("<think>FINDINGS: no.</think>A mass.", "A mass.", "whole"),
        ("<unused94>thought\nA cyst?<unused95>FINDINGS: A mass.", "A mass.", "header"),
        ("<think>a mass", "", "none"),
        ('Here: {"findings": "A mass."}', "A mass.", "json"),
        ('{"Findings": ["A mass", "No cyst."]}', "A mass. No cyst.", "json"),
        ('{{"findings": "A mass."}', "A mass.", "json"),
        ('{"findings": []}', '{"findings": []}', "whole"),
        ('{"impression": "A mass"} {"findings": "A cyst"}', "A cyst.", "json"),
        ('{"findings": "A mass"} {"findings": "A cy', "A mass.", "json"),
        ('{"findings": "A mass", }', '{"findings": "A mass", }', "whole"),
    ],
)
def test_the_findings_of_an_answer_are_found_and_it_is_said_how(text, wanted, how):
    found = findings(text)
    assert (found.text, found.how) == (wanted, how)


def test_structured_findings_are_read_as_they_are_meant():
    rows = [
        {"entity": "mass", "presence": "present", "side": "left", "place": "kidney", "size_cm": 2},
        {"entity": "effusion", "presence": "absent", "side": None},
        {"entity": "fracture", "present": "uncertain"},
        {"presence": True},
        {"entity": "stone", "seen_in": ["cyst"], "more": {"a": "infarct"}},
        7,
    ]
    found = findings(f"```json\n{json.dumps({'findings': rows})}\n```")
    read = extractor().read(found.text).findings
    assert found.how == "json"
    assert [(one.entity[3:], one.presence, one.side) for one in read] == [
        ("mass", "present", "left"),
        ("effusion", "absent", None),
        ("fracture", "uncertain", None),
        ("stone", "present", None),
    ]


@given(st.text(alphabet='{}[]":,a FINDGS\n*#<think>/1'))
def test_any_text_has_a_section_that_is_not_empty_unless_it_is_said_so(text):
    found = findings(text)
    assert (found.how == "none") == (not found.text)


leaves = st.none() | st.text(max_size=5)


@settings(max_examples=40)
@given(st.recursive(leaves, lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=5), inner), max_leaves=6))
def test_any_json_is_read(value):
    assert findings(json.dumps({"findings": value})).how in ("json", "whole", "header")
