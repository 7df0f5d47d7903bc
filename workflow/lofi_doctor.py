"""What the chapter lofi lacks here: the folder of images with reports, and the models that its rows name."""

from collections.abc import Iterator, Mapping
from typing import Any

from stages.lib.core import params
from stages.lib.core.errors import DataError
from workflow import hub_line
from workflow.chapters import Line

SPELT_OUT = 3  # problems of the folder


def lines(document: Mapping[str, Any]) -> list[Line]:
    """A line for each thing that the chapter needs.

    Args:
        document: The parameters, checked.
    """
    lofi = document["lofi"]
    made = [_data(document)]
    if "lofi" in document["study"]["chapters"]:
        made += _models(lofi)
    return made


def _data(document: Mapping[str, Any]) -> Line:
    """The folder as ingest reads its tables; no image is opened."""
    from stages.lib.images import reports
    from stages.lofi import ingest

    root = document["lofi"]["ingest"]["root"]
    if root.startswith("results/"):
        return f"images with reports: {root} is made by the chapter itself", None
    section = params.parse(document, {"lofi.ingest": ingest.Params}).ingest
    try:
        folder = reports.read(root, section.options)
    except DataError as error:
        return f"images with reports: {root}", f"{'; '.join(error.problems[:SPELT_OUT])}; see workflow/docs/lofi.md"
    if folder.problems:
        more = f" and {len(folder.problems) - SPELT_OUT} more" if len(folder.problems) > SPELT_OUT else ""
        return f"images with reports: {root}", "; ".join(folder.problems[:SPELT_OUT]) + more
    sentences = sum(len(one.told.sentences) for one in folder.images)
    return f"images with reports: {root}, {len(folder.images)} images, {sentences} sentences ({folder.layout})", None


def _models(lofi: Mapping[str, Any]) -> Iterator[Line]:
    """A line for each model, once, however many rows name it."""
    model, seen = lofi["model"], set()
    named = [(f"LoFi's {part}", f"lofi.model.{part}", f"lofi.model.{part}_revision") for part in ("encoder", "decoder")]
    values = [(model[part], model[f"{part}_revision"], False) for part in ("encoder", "decoder")]
    for kind in ("encoders", "grounders"):
        for name, row in lofi[kind].items():
            if "model" in row:
                where = f"lofi.{kind}.{name}"
                named.append((f"{kind.removesuffix('s')} {name}", f"{where}.model", f"{where}.revision"))
                values.append((row["model"], row["revision"], kind == "grounders"))
    for (shown, *keys), (folder, revision, asked) in zip(named, values, strict=True):
        if (folder, revision, asked) not in seen:
            seen.add((folder, revision, asked))
            yield hub_line.model(shown, folder, revision, keys=(keys[0], keys[1]), asked=asked)
