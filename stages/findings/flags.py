"""What is odd about the texts of a case: other studies, captions and the diagnosis in them."""

import re

# Words for studies that are neither CT nor MR. An angiogram made by CT or MR is one of these two.
OTHER_STUDIES = re.compile(
    r"radiograph\w*|roentgenogra\w*|\bx-?\s?rays?\b|\bcxr\b|\bkub\b|\bplain (?:films?|images?)\b|\bchest films?\b"
    r"|\b(?:pa|ap|lateral) views?\b|\bultraso\w+|\bsonogra\w+|\bechocardiogra\w+|\bdoppler\b|\bbone scans?\b"
    r"|\bscintigra\w+|\b(?-i:PET)\b|\bfluorosc\w+|\bbarium\b|\bupper gi\b|\bfollow[- ]?through\b|\besophagram\w*"
    r"|\bcolonoscop\w+|\bendoscop\w+|\bmammogra\w+|(?<!ct )(?<!mr )(?<!mri )\bangiogra\w+|\barteriogra\w+"
    r"|\bmyelogra\w+|\burogra\w+|\bpyelogra\w+",
    re.IGNORECASE,
)
CAPTION = re.compile(
    r"\bcaptions?\b|\b(?:images?|fig(?:ures?|s?\.))\s*\d"
    r"|\b(?:see|refer to|described in|noted (?:in|on|with))\b[^.;\n]{0,30}"
    r"\b(?:figures?|images?|pictures?|legends?|above|below|attached)\b",
    re.IGNORECASE,
)
WORD = re.compile(r"[^\W\d_]+")
LONG = 7  # letters from which a word of a diagnosis tells something
# Words of many diagnoses, which give none away.
COMMON = frozenset(
    (
        "abnormality", "abscess", "anterior", "arterial", "bilateral", "carcinoma", "chronic", "congenital", "disease",
        "disorder", "findings", "fracture", "inferior", "injury", "lateral", "malignant", "metastatic", "multiple",
        "posterior", "primary", "secondary", "superior", "syndrome", "traumatic", "without",
    )
)  # fmt: skip


def other_studies(text: str) -> list[str]:
    """Words of a text that name studies other than CT and MR, in small letters, each once, in their order.

    >>> other_studies("The chest X-ray and the CT angiogram are normal. PET: uptake. A pet was there. X-ray again.")
    ['x-ray', 'pet']
    """
    return list(dict.fromkeys(found.group().casefold() for found in OTHER_STUDIES.finditer(text)))


def points_at_caption(text: str) -> bool:
    """Whether a text leaves what it says to captions or figures.

    >>> points_at_caption("Image 1: a mass."), points_at_caption("There is a mass, which we see in the left lung.")
    (True, False)
    """
    return CAPTION.search(text) is not None


def shares_long_word(text: str, diagnosis: str) -> bool:
    """Whether a text has a word of `LONG` letters or more of the diagnosis, unless many diagnoses have it.

    >>> shares_long_word("known meningioma", "Parasellar Meningioma"), shares_long_word("a disease", "Crohn disease")
    (True, False)
    """
    words = {word.casefold() for word in WORD.findall(diagnosis) if len(word) >= LONG} - COMMON
    return bool(words & {word.casefold() for word in WORD.findall(text)})


def holds(text: str, diagnosis: str) -> bool:
    """Whether a text holds the whole diagnosis, whatever its case and spaces.

    >>> holds("Most likely a renal  CYST, simple.", "Renal cyst"), holds("A cystic mass.", "Cyst")
    (True, False)
    """
    phrase = r"\s+".join(re.escape(part) for part in diagnosis.split())
    return bool(phrase) and re.search(rf"(?<!\w){phrase}(?!\w)", text, re.IGNORECASE) is not None
