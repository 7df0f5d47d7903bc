"""Ratings from letters: g good, m partial, p poor, - none; and those of a published study."""

from collections.abc import Sequence

import findings_tables
import numpy as np

from stages.findings.measuring.pairs import Both
from stages.findings.measuring.ratings import Rated
from stages.findings.measuring.settings import MeasureParams
from stages.findings.measuring.verdicts import verdicts
from stages.findings.notes import Verdict

PARAMS = MeasureParams(**findings_tables.PARAMETERS["findings"]["measure"])
GRADES = {"g": 2, "m": 1, "p": 0, "-": -1}
# Of the published study: what each answer of the two models was called, case by case; - where the judge failed.
FIRST = ("gggppppppppppgpp----", "ggpgggppppppm---ggp-")
SECOND = ("gppppmmmpppppppp--p-", "gggggmmmppppppppgp--")


def rated(text: str) -> Rated:
    grades = np.array([GRADES[one] for one in text], np.int64)
    return Rated(grades, np.where(grades < 0, -1, (grades > 0).astype(np.int64)))


def compared(texts: Sequence[str]) -> tuple[Both, Verdict]:
    """MedGemma is the second arm, as in the published sentence the one that is named first."""
    both = Both(rated(texts[1]), rated(texts[0]))
    assert len(both.known) == 20
    (found,) = verdicts("judge", {("flash", "medgemma"): both}, {("flash", "medgemma"): 20}, PARAMS)
    return both, found
