"""A finding in words, for lists and reasons."""

from stages.lib.metrics.text.extract import Finding
from stages.lib.metrics.text.vocabulary import Vocabulary


def worded(one: Finding, vocabulary: Vocabulary) -> str:
    """Name, side and place of a finding, and what is said of it beside its being there.

    >>> from stages.lib.metrics.text.extract import extractor
    >>> read = extractor().read("Mass in the left kidney. A fracture cannot be excluded.")
    >>> [worded(found, extractor().vocabulary) for found in read.findings]
    ['mass (left, kidney)', 'fracture (uncertain)']
    """
    more = [
        *([] if one.presence == "present" else [one.presence]),
        *([] if one.side is None else ["both sides" if one.side == "both" else one.side]),
        *([] if one.place is None else [vocabulary.name(one.place)]),
    ]
    name = vocabulary.name(one.entity)
    return f"{name} ({', '.join(more)})" if more else name
