"""What does not fit together in the chapter lofi, though each section is right by itself."""

from collections.abc import Iterator, Mapping
from types import SimpleNamespace

from stages.lib.core import kinds
from stages.lofi import ablations
from stages.lofi.page import finding

SPLITS = {  # of lofi.embed: what is wanted among them, and why
    "image_splits": (("train", "val", "test"), "training images are found by every encoder"),
    "text_splits": (("test",), "test reports are ranked by every encoder"),
}


def named(given: SimpleNamespace) -> Mapping[str, tuple[str, tuple[str, ...]]]:
    """What is named and what is there, by the parameter.

    Args:
        given: Checked sections of the chapter, by the last part of their names.
    """
    encoders, grounders = tuple(given.encoders), tuple(given.grounders)
    tuned = tuple(name for name, row in given.grounders.items() if row.kind == "tuned")
    found = {
        f"lofi.measure.compared_{kind}s.{number}.{place}": (one, known)
        for kind, known in {"encoder": encoders, "grounder": grounders}.items()
        for number, pair in enumerate(getattr(given.measure, f"compared_{kind}s"))
        for place, one in enumerate(pair)
    }
    found |= {
        f"lofi.grounders.{name}.encoder": (row.params.encoder, encoders)
        for name, row in given.grounders.items()
        if hasattr(row.params, "encoder")
    }
    return {**found, "lofi.ablations.grounder": (given.ablations.grounder, (*tuned, ablations.NONE))}


def problems(given: SimpleNamespace) -> Iterator[str]:
    """A sentence for each thing that does not fit.

    Args:
        given: As for `named`.
    """
    if not given.encoders:
        yield "lofi.encoders: found no row, wanted one or more: the first is what the chapter is about"
    yield from _silent(given)
    yield from ablations.problems(given.ablations, given.train, given.model)
    shown, ks = int(finding.AT), list(given.measure.ks)
    if shown not in ks:
        yield f"lofi.measure.ks: found {ks}, wanted {shown} among them, which the page begins with"
    for key, (wanted, reason) in SPLITS.items():
        found = list(getattr(given.embed, key))
        if not {*wanted} <= {*found}:
            yield f"lofi.embed.{key}: found {found}, wanted {', '.join(wanted)} among them, as {reason}"
    most = given.retrieve.neighbours
    for name, row in given.grounders.items():
        k = getattr(row.params, "k", 0)
        if k > most and getattr(row.params, "demonstrations", "nearest") == "nearest":
            yield f"lofi.grounders.{name}.k: found {k} examples, wanted at most lofi.retrieve.neighbours, {most}"


def _silent(given: SimpleNamespace) -> Iterator[str]:
    """Encoders without a text side where one is wanted."""
    reads = [name for name, row in given.encoders.items() if kinds.module(kinds.ENCODERS, row.kind).READS]
    asked = {
        f"lofi.grounders.{name}.encoder": row.params.encoder
        for name, row in given.grounders.items()
        if row.kind == "map"
    }
    compared = {key: one for key, (one, _) in named(given).items() if key.startswith("lofi.measure.compared_encoders.")}
    for key, one in {**compared, **asked}.items():
        if one in given.encoders and one not in reads:
            yield f"{key}: found {one!r}, which does not read, wanted one of {', '.join(reads)}"
