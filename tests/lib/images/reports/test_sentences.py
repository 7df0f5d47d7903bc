"""Reports are split where a sentence ends, and nowhere else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.lib.images.reports.sentences import split

SENTENCES = {  # of one report each, which is these sentences with a blank between them
    "titles": ["Discussed with Dr. Smith.", "Read by Prof. J. Doe."],
    "hours before a list": ["Seen at 10 a.m.", "1. Stable"],
    "hours in a sentence": ["Paged at 9 p.m. on Monday.", "Fine."],
    "hours before a day": ["Paged at 9 a.m. 5 May 2001."],
    "hours at an end": ["Paged at 9 a.m.", "The heart is normal."],
    "decimals": ["A 1.5 cm nodule.", "Heart 12.0 cm."],
    "a number at an end": ["It measures 12.", "The heart is big."],
    "a list": ["1. Stable.", "2. No effusion.", "3) Fine."],
    "a list after a colon": ["Impression: 1. Stable.", "2. Fine."],
    "blanked names": ["Compared to ___.", "___ is new.", "Dr. ___ knows."],
    "abbreviations": ["Scar vs. Nodule, e.g. RUL, i.e. Old.", "See No. 3 and Fig. 2."],
    "no as an answer": ["Is it new?", "No.", "It is old."],
    "a letter at an end": ["Hepatitis C.", "No effusion."],
    "other marks": ["Is it new?", "Yes!", "(Unlike before.)", "So be it..."],
    "no capital letters": ["the heart is normal.", "no effusion by dr. j. smith."],
    "a small letter after a stop": ["Seen in the l. lung.", "Fine"],
    "nothing": [],
}
LINES = {
    "Findings:\n1. Stable\n2. No effusion\n- tube": ["Findings:", "1. Stable", "2. No effusion", "- tube"],
    "The heart\nis normal.\nNo effusion.": ["The heart is normal.", "No effusion."],
    "The heart is normal\n \nNo effusion": ["The heart is normal", "No effusion"],
    " \n\n ": [],
}


@pytest.mark.parametrize("name", SENTENCES)
def test_a_report_is_split_where_a_radiologist_ends_a_sentence(name: str) -> None:
    assert split(" ".join(SENTENCES[name])) == SENTENCES[name]


@pytest.mark.parametrize("text", LINES)
def test_a_broken_line_ends_no_sentence_but_an_empty_one_and_an_entry_of_a_list_do(text: str) -> None:
    assert split(text) == LINES[text]


@given(st.text(alphabet="aB1. \n?)(-", max_size=60))
def test_the_sentences_joined_are_the_text_and_none_is_empty(text: str) -> None:
    found = split(text)
    assert " ".join(found).split() == text.split()
    assert all(sentence and sentence == " ".join(sentence.split()) for sentence in found)


@pytest.mark.parametrize("sentence", [one for report in SENTENCES.values() for one in report])
def test_a_sentence_is_not_split_again(sentence: str) -> None:
    assert split(sentence) == [sentence]
