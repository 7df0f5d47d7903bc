"""Labels of images: words that mean a nodule or none, and one label where several readers have read an image."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from stages.lib.images import columns, readers
from stages.lib.images.dataset import Options
from stages.lib.images.notices import Notice

# The words of a table that is of no data set that we know.
POSITIVE = (
    "nodule",
    "nodules",
    "lung nodule",
    "pulmonary nodule",
    "positive",
    "pos",
    "present",
    "yes",
    "y",
    "true",
    "1",
)
NEGATIVE = (
    "no finding", "no findings", "no nodule", "no nodules", "without nodule", "negative", "neg", "absent", "normal",
    "healthy", "no", "n", "false", "0",
)  # fmt: skip
SEPARATORS = "|;"  # of several findings in one cell


@dataclass(frozen=True)
class Words:
    """Words that mean a nodule, and those that mean none, as `folded`.

    Attributes:
        positive: They mean a nodule.
        negative: They mean none.
        open: Whether the parameters name them, so that another word is one that is left out, and not a wrong one.
    """

    positive: frozenset[str]
    negative: frozenset[str]
    open: bool = False

    def label(self, words: Iterable[str]) -> int | None:
        """1 if one of the words means a nodule, 0 if all of them mean none, else None.

        >>> both = chosen(Options(), ["Nodule"], ["No Finding"])
        >>> both.label(["Mass", "nodule"]), both.label(["No_Finding"]), both.label(["Mass"]), both.label([])
        (1, 0, None, None)
        """
        found = {folded(word) for word in words}
        if found & self.positive:
            return 1
        return 0 if found and found <= self.negative else None


def chosen(options: Options, positive: Sequence[str], negative: Sequence[str]) -> Words:
    """The words of the parameters where they name some, else those of the layout.

    Args:
        options: With `positive_labels` and `negative_labels`.
        positive: The layout's words for a nodule.
        negative: Its words for none.
    """
    return Words(
        frozenset(map(folded, options.positive_labels or positive)),
        frozenset(map(folded, options.negative_labels or negative)),
        bool(options.positive_labels or options.negative_labels),
    )


def unknown(found: Iterable[str], words: Words) -> list[str]:
    """Those that mean neither a nodule nor none.

    >>> unknown(["Mass", "No Finding"], chosen(Options(), ["Nodule"], ["No Finding"]))
    ['Mass']
    """
    return [word for word in found if words.label([word]) is None]


def notice(*words: str) -> Notice:
    """Why an image is not labelled.

    >>> notice("").text, notice("Mass").text
    ('no label', "no label: found 'Mass', which is no word for a nodule or for none")
    """
    told = [word for word in words if not columns.is_nothing(word)]
    spelt = ", ".join(map(repr, dict.fromkeys(told)))
    said = f"found {spelt}, which {'is no word' if len(set(told)) == 1 else 'are no words'} for a nodule or for none"
    return Notice("label", f"no label: {said}" if told else "no label")


def folded(word: str) -> str:
    """What the spellings of one word have in common; a number is its value.

    >>> folded("No_Finding"), folded("1.0"), folded("-1")
    ('nofinding', '1', '-1')
    """
    value = columns.number(word)
    if value is not None:
        return f"{value:g}"
    return columns.folded(word)


def findings(cell: str) -> list[str]:
    """The findings that a cell lists.

    >>> findings("Infiltration|Nodule"), findings(" "), findings("Nodule")
    (['Infiltration', 'Nodule'], [], ['Nodule'])
    """
    for separator in SEPARATORS:
        cell = cell.replace(separator, SEPARATORS[0])
    return [word.strip() for word in cell.split(SEPARATORS[0]) if not columns.is_nothing(word.strip())]


def of_readers(readings: Mapping[str, Iterable[str]], words: Words, rule: str) -> int | None:
    """Label of an image that several readers have read.

    It has a nodule if as many readers as `rule` wants see one; it has none if that is not so and each reader who sees
    none says so in a word that means it. Otherwise it is not labelled: some reader has seen something else.

    Args:
        readings: The words of each reader.
        words: What they mean.
        rule: any, majority (more than half) or all.

    >>> both = chosen(Options(), ["Nodule"], ["No Finding"])
    >>> readings = {"a": ["Nodule"], "b": ["No Finding"], "c": ["No Finding"]}
    >>> [of_readers(readings, both, rule) for rule in ("any", "majority", "all")]
    [1, 0, 0]
    >>> of_readers({"a": ["Nodule"], "b": ["Mass"], "c": ["No Finding"]}, both, "majority") is None
    True
    """
    labels = [words.label(said) for said in readings.values()]
    seen = labels.count(1)
    if readers.enough(seen, len(labels), rule):
        return 1
    return 0 if labels and seen + labels.count(0) == len(labels) else None
