"""Texts about the patients of drawn slices: what MedPix 2.0 has of a case, and the oddities that its texts have."""

import numpy as np

from stages.lib.demo.synthetic.slice_texts import REGION_WORDS

DIAGNOSES = {  # of no disease there is, so that a diagnosis in a text is no finding more
    "mass": "Stellate disorder",
    "cyst": "Annular disorder",
    "calcification": "Punctate disorder",
    "collection": "Stratified disorder",
    "": "Ordinary appearance",
}
CATEGORIES = {
    "head": "Head",
    "thorax": "Thorax",
    "abdomen": "Abdomen",
    "spine": "Spine and Muscles",
    "urinary": "Reproductive and Urinary System",
}
LOCATIONS = {
    "head": "Brain and Neuro",
    "thorax": "Chest, Pulmonary",
    "abdomen": "Gastrointestinal",
    "spine": "Spine",
    "urinary": "Genitourinary",
}
SEQUENCES = {"CT": ("CT - noncontrast", "CT w/contrast (IV)"), "MR": ("MR - T2 weighted", "MR - T1W w/Gd")}
COMPLAINTS = ("pain for two weeks", "weight loss", "a fall", "fever", "no complaint, seen for a check")
OTHER_STUDIES = ("Plain radiograph: unremarkable.", "Ultrasound: not diagnostic.", "Bone scan was normal.")
AT_CAPTIONS = "See the captions of the figures."
BEYOND_ASCII = "Measured at 37 °C ± 1, “twice”."
MISSING = "N/A"


def history(rng: np.random.Generator, sex: str, age: int) -> str:
    """What is told of a patient.

    >>> history(np.random.default_rng(0), "female", 50)
    '50-year-old woman with no complaint, seen for a check.'
    """
    who = "woman" if sex == "female" else "man"
    return f"{age}-year-old {who} with {COMPLAINTS[int(rng.integers(len(COMPLAINTS)))]}."


def caption(modality: str, region: str, report: str) -> str:
    """Caption of one slice.

    >>> caption("CT", "urinary", "There is no mass.")
    'Axial CT of the pelvis. There is no mass.'
    """
    return f"Axial {modality} of the {REGION_WORDS[region]}. {report}"
