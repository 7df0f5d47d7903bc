"""What not to conclude: what the run itself says against its numbers."""

from collections.abc import Iterator

from stages.lib.report.blocks import Column, Note, Part, Row, Rows, Table
from stages.lofi.page.study import Study

IN_CONTEXT = "in_context"


def part(study: Study) -> Part:
    """A row for each conclusion that the run does not carry."""
    rows = tuple(Row(title=title, cells=(text,), key=f"not/{key}") for key, title, text in of(study))
    note = Note(text=("Written by the run, from its tables and parameters.",))
    table = Table(name="conclusions", columns=(Column(title="Because"),), groups=(Rows(rows=rows),))
    return Part(name="not", title="What not to conclude", short="Not to conclude", blocks=(note, table))


def of(study: Study) -> Iterator[tuple[str, str, str]]:
    """Key, conclusion and reason of each."""
    if study.simulated:
        yield "patients", "Anything about patients", "The images and reports are drawn."
    yield (
        "pool",
        "That R@K would be the same among more images",
        "It is measured in the pool of this test split; the intervals are over patients, not over pools.",
    )
    yield (
        "paper",
        "That these are the paper's numbers",
        "Its prompt in context, its split of 1,521 boxes and the denominators of its R@K are not published; where a "
        "value was guessed, the preset says so beside it.",
    )
    beaten = sorted({one.grounder for one in study.notes.blind if not one.grounds})
    if beaten:
        labels = ", ".join(study.grounders[name].label for name in beaten if name in study.grounders)
        yield (
            "blind",
            f"That {labels} found the place in the image",
            "The same sentences on images that say nothing of it score as well, within the paired interval.",
        )
    if study.simulated and any(one.row.get("kind") == IN_CONTEXT for one in study.grounders.values()):
        yield (
            "examples",
            "That retrieved examples help, or do not",
            "The demo's stand-in for MedGemma was never taught to use examples: it proves the way of prompts, cache, "
            "parsing and scoring alone.",
        )
    if study.simulated:
        yield (
            "taught",
            "That this training alone makes a model look at the image",
            "The demo's base was taught boxes and sentences of other simulated images. From a pooling of random "
            "weights, trials of the same length scored about as well on other patients' images.",
        )
    yield (
        "reader",
        "That a box off the first reader's is wrong",
        "A second reader, where there is one, stands in the table and does not score 1 either.",
    )
