"""One answer of several samples of an arm, and how far they agree.

Source: Wang et al., ICLR 2023 (self-consistency): the answer that most samples give. There it is one number; here it is
each finding on its own, or the sample that is most like the others.
"""

from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from typing import TypeVar

import numpy as np

from stages.lib.core.errors import UndefinedMetricError
from stages.lib.metrics.text.extract import Finding, Reading
from stages.lib.metrics.text.finding_match import similarity
from stages.lib.metrics.text.negation import Presence
from stages.lib.metrics.text.vocabulary import Vocabulary

T = TypeVar("T")
NOTHING_ABNORMAL = "There are no abnormal findings."
NO_MAJORITY = "The samples have no statement in common."


def by_findings(samples: Sequence[Reading]) -> list[Finding]:
    """Findings that more than half of the samples have, in the order of the first sample that has each.

    An entity and its presence are put to the vote, then its side and its place among those that have it. What has no
    majority there is not said.

    Args:
        samples: The samples as they were read, at least one.
    """
    asked = list(dict.fromkeys((one.entity, one.presence) for sample in samples for one in sample.findings))
    kept = []
    for entity, presence in asked:
        said = [found for sample in samples if (found := _of(sample, entity, presence))]
        if 2 * len(said) > len(samples):
            first = said[0][0]
            side = _majority([one[0].side for one in said])
            place = _majority([one[0].place for one in said])
            kept.append(Finding(entity, presence, side, place, first.start, first.end))
    present = {one.entity for one in kept if one.presence == "present"}
    return [one for one in kept if one.presence == "present" or one.entity not in present]


def _of(sample: Reading, entity: str, presence: Presence) -> list[Finding]:
    return [one for one in sample.findings if (one.entity, one.presence) == (entity, presence)]


def _majority(values: Sequence[T]) -> T | None:
    value, count = Counter(values).most_common(1)[0]
    return value if 2 * count > len(values) else None


def text(samples: Sequence[Reading], vocabulary: Vocabulary) -> str:
    """The consensus by findings as a text, from which the same findings are read again.

    Args:
        samples: The samples as they were read, at least one.
        vocabulary: Names of entities and places.
    """
    kept = by_findings(samples)
    if not any(one.presence != "absent" for one in kept) and 2 * sum(one.says_normal for one in samples) > len(samples):
        return " ".join([NOTHING_ABNORMAL, *(_sentence(one, vocabulary) for one in kept)])
    return " ".join(_sentence(one, vocabulary) for one in kept) or NO_MAJORITY


def _sentence(one: Finding, vocabulary: Vocabulary) -> str:
    name = vocabulary.name(one.entity)
    side = {"both": " on both sides", "midline": " in the midline", None: ""}.get(one.side, f" on the {one.side}")
    where = side if one.place is None else f"{side} in the {vocabulary.name(one.place)}"
    begun = {"present": "There is", "absent": "There is no", "uncertain": "There is possible"}[one.presence]
    return f"{begun} {name}{where}."


def medoid(samples: Sequence[Reading]) -> int:
    """Number of the sample with the highest mean finding F1 to the others, the first of equals.

    Args:
        samples: The samples as they were read, at least one.
    """
    alike = np.eye(len(samples))
    for one, other in combinations(range(len(samples)), 2):
        alike[one, other] = alike[other, one] = similarity(samples[one], samples[other])
    return int(np.argmax(alike.sum(axis=1).round(9)))


def agreement(samples: Sequence[Reading]) -> float:
    """Mean finding F1 over all pairs of samples, [0, 1].

    Raises:
        UndefinedMetricError: If there are fewer than two.
    """
    if len(samples) < 2:
        raise UndefinedMetricError(f"found {len(samples)} sample(s), wanted two or more")
    return float(np.mean([similarity(*pair) for pair in combinations(samples, 2)]))
