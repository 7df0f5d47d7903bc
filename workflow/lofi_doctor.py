"""What the chapter lofi lacks here: the folder of images with reports, and the models that its rows name."""

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from stages.lib.core import params
from stages.lib.core.errors import DataError
from workflow import hub_line, lofi_costs
from workflow.chapters import Line
from workflow.costs import GB

SPELT_OUT = 3  # problems of the folder
BYTES_PER_PIXEL = 0.46  # of a normalized image, as doctor counts the study's


def lines(document: Mapping[str, Any]) -> list[Line]:
    """A line for each thing that the chapter needs.

    Args:
        document: The parameters, checked.
    """
    lofi = document["lofi"]
    made = [*_data(document)]
    if "lofi" in document["study"]["chapters"]:
        made += _models(lofi)
    return made


def _data(document: Mapping[str, Any]) -> Iterator[Line]:
    """The folder as ingest reads its tables; no image is opened. What its results take, if it can be used."""
    from stages.lib.images import reports
    from stages.lofi import ingest

    root = document["lofi"]["ingest"]["root"]
    if root.startswith("results/"):
        yield f"images with reports: {root} is made by the chapter itself", None
        return
    section = params.parse(document, {"lofi.ingest": ingest.Params}).ingest
    try:
        folder = reports.read(root, section.options)
    except DataError as error:
        yield f"images with reports: {root}", f"{'; '.join(error.problems[:SPELT_OUT])}; see workflow/docs/lofi.md"
        return
    if folder.problems:
        more = f" and {len(folder.problems) - SPELT_OUT} more" if len(folder.problems) > SPELT_OUT else ""
        yield f"images with reports: {root}", "; ".join(folder.problems[:SPELT_OUT]) + more
        return
    sentences = sum(len(one.told.sentences) for one in folder.images)
    yield f"images with reports: {root}, {len(folder.images)} images, {sentences} sentences ({folder.layout})", None
    boxed = sum(bool(one.told.boxes) for one in folder.images if one.told.split != "test")
    free = shutil.disk_usage("results" if Path("results").is_dir() else ".").free
    yield disk(document["lofi"], len(folder.images), boxed, free)


def disk(lofi: Mapping[str, Any], images: int, boxed: int, free: int) -> Line:
    """What normalized images, and patches that a frozen tower leaves for fine-tuning, take on the disk.

    Args:
        lofi: Parameters of the chapter.
        images: Images of the folder.
        boxed: Those of train and val that have boxes.
        free: Bytes that are free.
    """
    tuned = any(row["kind"] == "tuned" for row in lofi["grounders"].values()) and lofi["tune"]["tower"] == "frozen"
    model = lofi["model"]
    known = lofi_costs.known(model)
    number = {"bfloat16": 2, "float32": 4}[model["dtype"]]
    one = lofi_costs.TOWER.tokens // (4 if model["average_patches"] else 1) * lofi_costs.TOWER.hidden * number
    pixels = images * lofi["normalize"]["side_px"] ** 2 * BYTES_PER_PIXEL
    starts = len({row["start"] for row in lofi["grounders"].values() if row["kind"] == "tuned"})  # each has its tower
    patches = starts * boxed * one if tuned and known else 0
    needs = (pixels + patches) / GB
    kept = f"patches of {boxed} images with boxes {patches / GB:.0f}" if known or not tuned else "patches not counted"
    said = f"disk for them: {free / GB:.0f} GB free, wanted {needs:.0f} (normalized images {pixels / GB:.0f}, {kept})"
    return (
        said,
        None if free >= pixels + patches else "free space, make results/ a link to a larger disk, or tower: lora",
    )


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
