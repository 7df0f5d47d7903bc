"""Claims about stages.lib.metrics.text.negation."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.lib.metrics.text.extract import extractor
from stages.lib.metrics.text.negation import Scopes
from stages.lib.metrics.text.phrases import tokens

MARK = {"+": "present", "-": "absent", "?": "uncertain"}


def presences(text):
    """Entities and marks of their presence, as "mass+ cyst-"."""
    marks = {presence: mark for mark, presence in MARK.items()}
    return " ".join(f"{one.entity[3:]}{marks[one.presence]}" for one in extractor().read(text).findings)


NINE = {
    "There is no mass, effusion or calcification.": "mass- effusion- calcification-",
    "A mass without calcification.": "mass+ calcification-",
    "Negative for nodule but mass present.": "nodule- mass+",
    "No mass in the left lobe; effusion on the right.": "mass- effusion+",
    "Effusion is absent.": "effusion-",
    "Lymphadenopathy: none.": "lymphadenopathy-",
    "A fracture cannot be excluded.": "fracture?",
    "The effusion has resolved.": "effusion-",
    "There is a mass. No effusion.": "mass+ effusion-",
}


@pytest.mark.parametrize(("text", "wanted"), NINE.items())
def test_the_nine_trials_in_which_another_library_was_tried_come_out_right(text, wanted):
    assert presences(text) == wanted


OTHERS = {
    "Neither mass nor cyst is seen.": "mass- cyst-",
    "There is not a mass.": "mass-",
    "No mass, a small effusion on the right.": "mass- effusion+",
    "No mass, but an effusion.": "mass- effusion+",
    "No mass and there is an effusion.": "mass- effusion+",
    "No mass and the effusion is large.": "mass- effusion+",
    "CT shows no mass and MR shows a cyst.": "mass- cyst+",
    "A mass is seen, effusion is absent.": "mass+ effusion-",
    "Mass, effusion and calcification are absent.": "mass- effusion- calcification-",
    "Mass, effusion: none.": "mass+ effusion-",
    "Lymphadenopathy: No. Mass: yes.": "lymphadenopathy- mass+",
    "Is there a mass? No. Is there a cyst? Yes.": "mass- cyst+",
    "No significant interval change in the mass.": "mass+",
    "There is no longer a mass. The cyst is no longer seen.": "mass- cyst-",
    "A mass not seen on the prior study is now present.": "mass+",
    "The pneumothorax cannot be ruled out, but a fracture is not seen.": "pneumothorax? fracture-",
    "Possible fracture; suspicious for metastasis.": "fracture? metastasis?",
    "Findings may represent an abscess. An infarct is suspected.": "abscess? infarct?",
    "Mass: absent. Effusion: possible": "mass- effusion?",
    "A non-hemorrhagic mass, not calcified.": "hemorrhage- mass+ calcification-",
    "No mass, consistent with a cyst.": "mass- cyst+",
    "No abnormality other than a cyst.": "cyst+",
    "A cyst rather than a mass.": "cyst+ mass-",
    "There is no mass\nor effusion.\nThere is a cyst": "mass- effusion- cyst+",
    "Pleura: no effusion\r\nLung: mass": "effusion- mass+",
    "- No effusion\n- Mass": "effusion- mass+",
    "No enhancement, i.e. a cyst without hemorrhage.": "enhancement- cyst+ hemorrhage-",
    "No possible mass.": "mass-",
    "Effusion, resolved.": "effusion-",
    "Asymmetry of the tongue - mass cannot be excluded - no cyst.": "mass? cyst-",
    "Abscess versus tumor.": "abscess? mass?",
    "Cyst w/o calcification.": "cyst+ calcification-",
    "No adenopathy, nor evidence of a fracture.": "lymphadenopathy- fracture-",
    "A mass without local invasion, stranding, or adenopathy.": "mass+ invasion- stranding- lymphadenopathy-",
    "Signal change at T4, consistent with metastases.": "signal_abnormality+ metastasis+",
    "Rim-enhancing lesion, suggesting a carcinoma.": "mass+ carcinoma?",
    "There is a mass. No.": "mass+",
    "There is a mass. Resolved.": "mass+",
    "Cannot be excluded: a mass.": "mass+",
    "Neither kidney shows hydronephrosis.": "hydronephrosis-",
    "No sequence shows a mass, and CT shows a cyst.": "mass- cyst+",
    "No contrast was given, CT shows a cyst.": "cyst+",
    "After resection of the tumor. The liver is not enlarged.": "mass- enlargement-",
    "Absence of the corpus callosum without a cyst.": "cerebral_anomaly+ cyst-",
    "No cause, e.g. cyst or mass, is seen.": "cyst- mass-",
    "Not sure, mass excluded.": "mass-",
    "Mass not excluded.": "mass?",
    "Mass excluded.": "mass-",
    "There is no mass, cyst is seen.": "mass- cyst+",
    "Mass never resolved.": "mass+",
    "No cyst vs. mass": "cyst- mass-",
    "No mass. A cyst.": "mass- cyst+",
    "Without contrast there is a cyst.": "cyst+",
    "Absence of the corpus callosum, cyst.": "cerebral_anomaly+ cyst+",
    "NO MASS. MASSES": "mass- mass+",
    "no 2.4 cm mass": "mass-",
}


@pytest.mark.parametrize(("text", "wanted"), OTHERS.items())
def test_the_reach_of_a_trigger_ends_where_a_reader_would_end_it(text, wanted):
    assert presences(text) == wanted


WORDS = [
    "no",
    "mass",
    "cyst",
    "is",
    "absent",
    ";",
    ".",
    ",",
    "and",
    "but",
    "cannot",
    "be",
    "excluded",
    "?",
    ":",
    "a",
    "not",
]


@given(st.lists(st.sampled_from([*WORDS, "\n", "with", "e", "g"])))
def test_clauses_lie_within_sentences_and_cover_every_word_once(words):
    text = tokens(" ".join(words))
    scopes = Scopes(text)
    for place in range(len(text)):
        first, last = scopes.clause(place)
        begun, ended = scopes.sentence(place)
        assert begun <= first <= place < last <= ended
        assert scopes.presence(place) in MARK.values()


@given(st.sampled_from(sorted(NINE)), st.sampled_from(sorted(OTHERS)))
def test_a_sentence_says_the_same_before_another_one_as_alone(first, second):
    alone = Scopes(tokens(first))
    text = tokens(f"{first}\n\n{second}")
    together = Scopes(text)
    for place, token in enumerate(tokens(first)):
        if token.word.isalpha():
            assert alone.presence(place) == together.presence(place)
