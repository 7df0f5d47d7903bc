"""Claims about stages.lib.metrics.text.extract and describe."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.lib.demo.synthetic import case_texts, slice_texts
from stages.lib.metrics.text.extract import extractor


def described(text):
    return described_by(extractor().read(text))


def described_by(read):
    return [(one.entity[3:], one.side, one.place and one.place[3:]) for one in read.findings]


SENTENCES = {
    "Right renal cyst and left renal mass.": [("cyst", "right", "kidney"), ("mass", "left", "kidney")],
    "Cyst in the right kidney and mass in the left.": [("cyst", "right", "kidney"), ("mass", "left", None)],
    "Mass and cyst in the left kidney.": [("mass", "left", "kidney"), ("cyst", "left", "kidney")],
    "A mass and a cyst in the left kidney.": [("mass", "left", "kidney"), ("cyst", "left", "kidney")],
    "No mass, a small effusion on the right.": [("mass", None, None), ("effusion", "right", None)],
    "Mass and left effusion.": [("mass", None, None), ("effusion", "left", None)],
    "Left kidney: cyst, stone. Right kidney: normal.": [("cyst", "left", "kidney"), ("stone", "left", "kidney")],
    "The left kidney is normal, and there is a cyst in the liver.": [("cyst", None, "liver")],
    "On the left, there is a mass.": [("mass", "left", None)],
    "A mass is present, on the left.": [("mass", "left", None)],
    "Cysts in the left kidney and right kidney.": [("cyst", "both", "kidney")],
    "Left effusion. Right effusion.": [("effusion", "both", None)],
    "Cyst in the left kidney. Cyst in the liver.": [("cyst", "left", "kidney"), ("cyst", None, "liver")],
    "Mass of the frontal lobe. The mass of the brain.": [("mass", None, "frontal_lobe")],
    "Mass of the brain. The mass of the frontal lobe.": [("mass", None, "frontal_lobe")],
    "Nodule in the left lobe near a cyst.": [("nodule", "left", None), ("cyst", None, None)],
    "Nodule left of cyst.": [("nodule", "left", None), ("cyst", None, None)],
    "There is a left cyst and a right stone.": [("cyst", "left", None), ("stone", "right", None)],
    "Mass, cyst and stone in the left head.": [(name, "left", "head") for name in ("mass", "cyst", "stone")],
    "Left mass and cyst.": [("mass", "left", None), ("cyst", None, None)],
    "Cysts in the left kidney and right kidney; mass.": [("cyst", "both", "kidney"), ("mass", None, None)],
    "Bilateral pleural effusions.": [("effusion", "both", None)],
    "Pulmonary nodule in the left lower lobe.": [("nodule", "left", "lower_lobe")],
    "The midline mass. Midline shift to the right.": [("mass", "midline", None), ("midline_shift", "right", None)],
    "Enlarged left axillary nodes.": [("lymphadenopathy", "left", "breast")],
    "An enlarged mesenteric lymph node.": [("lymphadenopathy", None, "mesentery")],
    "Renal stones on the right.": [("stone", "right", "kidney")],
    "Enlargement of the right breast compared to the left.": [("enlargement", "right", "breast")],
    "Effusions, left greater than right.": [("effusion", "both", None)],
    "A soft mass of the tongue - a cyst on the left": [("mass", None, None), ("cyst", "left", None)],
    "Mass and/or cyst in the left kidney.": [("mass", "left", "kidney"), ("cyst", "left", "kidney")],
    "A 2.4-cm left-sided lesion of the brain, in the frontal lobe": [("mass", "left", "frontal_lobe")],
}


@pytest.mark.parametrize(("text", "wanted"), SENTENCES.items())
def test_side_and_place_are_those_that_a_reader_would_give(text, wanted):
    assert described(text) == wanted


@pytest.mark.parametrize("template", slice_texts.TEMPLATES)
@pytest.mark.parametrize("kind", ["mass", "cyst", "calcification", "collection"])
@pytest.mark.parametrize("place", slice_texts.REGION_WORDS.values())
def test_the_sentences_of_the_demo_are_read_exactly(template, kind, place):
    first = template.format(size="small", kind=kind, side="left", place=place)
    second = template.format(size="large", kind="stone", side="right", place=place)
    for before in ("", f"Axial CT of the {place}. ", "Yes, ", *(f"{study} " for study in case_texts.OTHER_STUDIES)):
        read = extractor().read(f"{before}{first} {second} {case_texts.BEYOND_ASCII} {slice_texts.NO_OTHER}")
        assert described_by(read) == [(kind, "left", place), ("stone", "right", place)]
        assert [one.presence for one in read.findings] == ["present", "present"]
        assert not read.says_normal
    assert extractor().read(f"{case_texts.OTHER_STUDIES[1]} {slice_texts.NORMAL} {case_texts.AT_CAPTIONS}").says_normal


def test_a_text_says_something_if_it_has_a_finding_or_says_normal():
    assert extractor().read("A mass.").says_anything
    assert extractor().read("The head is normal.").says_anything
    assert not extractor().read("See the figure.").says_anything


def test_a_trigger_within_the_name_of_an_entity_is_none():
    read = extractor().read("Absence of the corpus callosum, cyst. No mass.")
    assert [one.entity for one in read.present] == ["NF:cerebral_anomaly", "NF:cyst"]


def test_words_are_found_again_at_their_characters():
    text = "There is a ring-enhancing\nlesion, and épanchement. Pleural effusions!"
    found = extractor().read(text).findings
    assert [text[one.start : one.end] for one in found] == ["enhancing\nlesion", "Pleural effusions"]


def test_a_finding_that_is_named_again_is_one():
    read = extractor().read(
        "Mass in the left kidney. The mass is large. No other masses. The mass displaces the ureter."
    )
    assert [(one.presence, one.side) for one in read.findings][:2] == [("present", "left"), ("absent", None)]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("There is no mass, cyst, calcification or collection.", True),
        ("The brain is unremarkable.", True),
        ("No acute abnormality.", True),
        ("There are no abnormal findings.", True),
        ("The lungs are clear.", True),
        ("The brain is not normal.", False),
        ("There is an abnormality.", False),
        ("An axial CT of the abdomen.", False),
        ("", False),
        ("The liver is normal. There is a cyst.", False),
        ("Normal. A fracture cannot be excluded.", False),
        ("There is a mass. There are no other findings.", False),
    ],
)
def test_nothing_abnormal_is_what_a_text_says_and_not_what_it_leaves_out(text, says):
    assert extractor().read(text).says_normal == says


@given(st.text())
def test_any_text_is_read(text):
    for one in extractor().read(text).findings:
        assert 0 <= one.start < one.end <= len(text)


@given(st.permutations(["There is no mass.", "Left effusion.", "A cyst in the liver.", "Possible fracture."]))
def test_the_order_of_sentences_does_not_change_what_is_said(sentences):
    found = extractor().read(" ".join(sentences)).findings
    assert {(one.entity[3:], one.presence, one.side) for one in found} == {
        ("mass", "absent", None),
        ("effusion", "present", "left"),
        ("cyst", "present", None),
        ("fracture", "uncertain", None),
    }
