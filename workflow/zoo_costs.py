"""What the rows of zoo.models take at their real size: operations, hours and disk, as formulas.

Sizes are those of the published configurations. No number of a GPU here was measured; torch is not imported. A model
whose size is not built in is named and left out of the sum: the run itself counts it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.lib.core import kinds
from workflow import costs, stage_costs, zoo_names
from workflow.costs import GB, TERA, UTILISATION

STATISTICS, HALF_BYTES = 4, 2  # of each feature; numbers are float16
BACKWARD = 3.0  # operations of training on an image, in those of a forward pass


@dataclass(frozen=True)
class Vit:
    """One vision transformer.

    Attributes:
        layers: Its layers.
        hidden: Its width.
        inner: Width of its MLPs.
        patch_px: Side of a patch, pixels.
        prefix: Tokens that are no patches.
    """

    layers: int
    hidden: int
    inner: int
    patch_px: int
    prefix: int

    def patches(self, side_px: int) -> int:
        """Patches of an image."""
        return (side_px // self.patch_px) ** 2

    def flops(self, side_px: int) -> float:
        """Operations of one image in one pass, two per multiply-add.

        >>> round(VITS["medsiglip-448"].flops(448) / TERA, 2), round(VITS["rad-dino"].flops(518) / TERA, 2)
        (0.97, 0.3)
        """
        tokens = self.patches(side_px) + self.prefix
        layer = 4 * self.hidden**2 + 2 * self.hidden * self.inner
        embed = self.patches(side_px) * 3 * self.patch_px**2 * self.hidden
        return 2.0 * (tokens * self.layers * layer + embed) + 4.0 * self.layers * tokens**2 * self.hidden


BASE = Vit(12, 768, 3072, 16, 5)
VITS: Mapping[str, Vit] = {  # by the name of the model on the hub
    "medsiglip-448": Vit(27, 1152, 4304, 14, 0),
    "siglip2-so400m-patch14-384": Vit(27, 1152, 4304, 14, 0),
    "rad-dino": Vit(12, 768, 3072, 14, 1),
    "rad-dino-maira-2": Vit(12, 768, 3072, 14, 1),
    "dinov3-vits16-pretrain-lvd1689m": Vit(12, 384, 1536, 16, 5),
    "dinov3-vitb16-pretrain-lvd1689m": BASE,
    "dinov3-vitl16-pretrain-lvd1689m": Vit(24, 1024, 4096, 16, 5),
    "biomedclip-pubmedbert_256-vit_base_patch16_224": Vit(12, 768, 3072, 16, 1),
}


@dataclass(frozen=True)
class Cnn:
    """One CNN. Its operations grow with the area of the image, and were counted by torch on meta tensors.

    Attributes:
        pixel_flops: Operations of one pixel.
        hidden: Features of a cell of its last map.
        patch_px: Side of a cell, pixels.
        prefix: Tokens that are no cells.
    """

    pixel_flops: float
    hidden: int
    patch_px: int = 32
    prefix: int = 0

    def patches(self, side_px: int) -> int:
        """Cells of an image."""
        return (side_px // self.patch_px) ** 2

    def flops(self, side_px: int) -> float:
        """Operations of one image in one pass, two per multiply-add.

        >>> round(CNNS["densenet121-res224-all"].flops(224) / TERA, 4)
        0.0055
        """
        return self.pixel_flops * side_px**2


XRV_DENSENET, XRV_RESNET = Cnn(109_792.0, 1024), Cnn(159_776.0, 2048)
CNNS: Mapping[str, Cnn] = {  # by the name of the model on the hub, or of the release
    "efficientnet-b0": Cnn(15_307.0, 1280),
    "convnextv2-tiny-22k-384": Cnn(177_566.0, 768),
    "tf_efficientnetv2_s.in21k_ft_in1k": Cnn(113_449.0, 1280),
    **{
        f"densenet121-res224-{data}": XRV_DENSENET
        for data in ("all", "nih", "pc", "chex", "mimic_nb", "mimic_ch", "rsna")
    },
    "resnet50-res512-all": XRV_RESNET,
}
TOWER = Vit(costs.TOWER_LAYERS, costs.TOWER_HIDDEN, costs.TOWER_INNER, 14, 0)  # MedGemma's
# Qwen2.5-VL-3B, which CheXOne is made of: a tower with gated MLPs whose layers but four look within windows, merged
# four patches to a token, and a language model of 36 layers.
QWEN_TOWER_LAYERS, QWEN_TOWER, QWEN_TOWER_INNER, QWEN_PATCH_PX, QWEN_MERGED = 32, 1280, 3420, 14, 4
QWEN_LAYERS, QWEN_HIDDEN, QWEN_INNER, QWEN_KEY = 36, 2048, 11008, 256
QWEN = ("chexone", "qwen2.5-vl-3b-instruct")
# The first CheXagent: a tower as that of BLIP-2, 128 tokens that look at its patches, and Mistral-7B, whose 7.1e9
# weights each token passes. What the 128 tokens take themselves is about a hundredth, and left out.
FIRST, FIRST_TOWER = "chexagent-8b", Vit(40, 1408, 6144, 14, 1)
FIRST_SIDE_PX, FIRST_TOKENS, FIRST_LANGUAGE = 448, 128, 7.1e9
QUESTION_TOKENS = 40  # of a question and the conversation around it, assumed


def qwen_flops(side_px: int) -> float:
    """Operations of one question about one image by Qwen2.5-VL-3B; attention within windows is left out.

    >>> round(qwen_flops(504) / TERA, 1)
    3.7
    """
    patches = (side_px // QWEN_PATCH_PX) ** 2
    tower = QWEN_TOWER_LAYERS * (4 * QWEN_TOWER**2 + 3 * QWEN_TOWER * QWEN_TOWER_INNER)
    layer = 2 * QWEN_HIDDEN**2 + 2 * QWEN_HIDDEN * QWEN_KEY + 3 * QWEN_HIDDEN * QWEN_INNER
    tokens = patches // QWEN_MERGED + QUESTION_TOKENS
    return 2.0 * (patches * tower + tokens * QWEN_LAYERS * layer) + 4.0 * QWEN_LAYERS * tokens**2 * QWEN_HIDDEN


def chexagent_flops(model: str) -> float:
    """Operations of one question about one image by CheXagent: the first by its parts, CheXagent-2 by its weights.

    >>> round(chexagent_flops("StanfordAIMI/CheXagent-8b") / TERA, 1)
    4.7
    """
    if Path(model).name.lower() == FIRST:
        return FIRST_TOWER.flops(FIRST_SIDE_PX) + 2.0 * FIRST_LANGUAGE * (FIRST_TOKENS + QUESTION_TOKENS)
    return 2.0 * costs.CHEXAGENT_PARAMETERS * (costs.CHEXAGENT_TOKENS + QUESTION_TOKENS)


def size(row: Mapping[str, Any]) -> Vit | Cnn | None:
    """The vision model of a row, if its size is built in."""
    name = zoo_names.model_name(row)
    return TOWER if not zoo_names.own_weights(row) else VITS.get(name) or CNNS.get(name)


def flops(row: Mapping[str, Any]) -> float | None:
    """Operations of one image in one pass of a row's model; None if its size is not built in."""
    if row["kind"] == "chexagent":
        return chexagent_flops(row["model"])
    if row["kind"] == "vlm":
        if not zoo_names.own_weights(row):
            return costs.forward_flops()
        if zoo_names.model_name(row) in QWEN:
            return qwen_flops(row["side_px"])
    found = size(row)
    return found.flops(row["side_px"]) if found else None


@dataclass(frozen=True)
class Part:
    """Part of the chapter's work.

    Attributes:
        what: Its name.
        operations: Of an image in a pass.
        passes: How often.
        bytes: Of its table of features or tokens; results/zoo/kept holds as many beside, from which a killed run, other
            shards or a renamed row take them.
    """

    what: str
    operations: float
    passes: float
    bytes: float = 0.0


def parts(document: Mapping[str, Any], images: stage_costs.Images) -> tuple[list[Part], list[str]]:
    """What the rows take, and the rows whose models are not known here.

    Features are computed once for all rows that share them. Scores that the study has anyway cost nothing.

    Args:
        document: The parameters.
        images: How many there are.
    """
    zoo = document["zoo"]
    made: dict[str, Part] = {}
    unknown: list[str] = []
    rows = [
        *((f"{label}", row, kinds.module(kinds.MODELS, row["kind"]).READS) for label, row in zoo["models"].items()),
        *((f"localizer {label}", {**row}, "located") for label, row in zoo["localizers"].items()),
    ]
    for label, row, reads in rows:
        if row["kind"] == "study" and row["shifts"] != document["nodules"]["infer"]["shifts"]:
            key = f"{row['classifier']} at {row['shifts'] ** 2} place(s)"
            made.setdefault(key, Part(key, costs.forward_flops(), row["shifts"] ** 2 * images.asked))
        if row["kind"] == "soup":
            unknown.append(f"{label} (a soup)")
        if "source" not in row and row["kind"] != "chexagent":
            continue
        operations = flops({**row, "kind": row["kind"] if reads == "pixels" else "features"})
        if operations is None:
            unknown.append(f"{label} ({zoo_names.model_name(row)})")
            continue
        places = row.get("shifts", 1) ** 2
        if reads == "pixels":
            made[label] = _asked(label, row, operations, places, zoo, images)
        else:
            key = f"{reads} {zoo_names.features(row)}"
            many = images.measured + zoo["embed"]["negative_images"] if reads == "located" else images.total
            made.setdefault(key, _kept(key, row, reads, operations, places * many))
    return list(made.values()), unknown


def _asked(
    label: str, row: Mapping[str, Any], operations: float, places: int, zoo: Mapping[str, Any], images: Any
) -> Part:
    """Images that a row sees when it is fitted and asked."""
    asked = places * images.asked
    if row["kind"] == "tuned":
        samples = row["max_steps"] * row["per_device_train_batch_size"] * row["gradient_accumulation_steps"]
        measured = row["max_steps"] / row["eval_steps"] * images.validation
        return Part(f"{label}: training and scores", operations, BACKWARD * samples + measured + asked)
    if row["kind"] == "published":
        return Part(f"{label}: scores", operations, places * images.validation + asked)
    wordings = len(zoo["bank"]["text_pairs" if row.get("architecture") == "SiglipModel" else "questions"])
    return Part(f"{label}: wordings and scores", operations, wordings * places * images.validation + asked)


def _kept(key: str, row: Mapping[str, Any], reads: str, operations: float, passes: int) -> Part:
    """Images whose features or tokens are computed and kept, each at each of its places."""
    found, numbers = size(row), 0
    if found:
        patches = found.patches(row["side_px"])
        numbers = found.hidden * (STATISTICS + found.prefix if reads == "features" else patches)
    return Part(key, operations, passes, float(passes * numbers * HALF_BYTES))


def lines(document: Mapping[str, Any], on: costs.Gpu, results: Path) -> Iterator[str]:
    """Estimate of the chapter as lines of text, or one that says why there is none.

    Args:
        document: The parameters.
        on: The GPU.
        results: Folder of results, where images are counted that are there.
    """
    if not costs.needs_gpu(document):
        yield f"zoo: no estimate of {document['weights']['fetch']['base']}, which runs on a processor in minutes"
        return
    images = stage_costs.count_images(results, document)
    found, unknown = parts(document, images)
    yield f"zoo, computed, not measured, on one {on.name}; {images.source}"
    for part in found:
        hours = [part.passes * part.operations / (use * on.flops) / 3600 for use in reversed(UTILISATION)]
        disk = f", {part.bytes / GB:.2f} GB on the disk" if part.bytes else ""
        yield (
            f"  {part.what:44} {hours[0]:.3g} to {hours[1]:.3g} h: {part.passes:,.0f} passes x "
            f"{part.operations / TERA:.3g} TFLOP{disk}"
        )
    total = sum(part.passes * part.operations for part in found)
    low, high = (total / (use * on.flops) / 3600 for use in reversed(UTILISATION))
    whole = sum(part.bytes for part in found) / GB
    yield f"  in all {low:.3g} to {high:.3g} h; probes and other heads take minutes of a processor"
    yield f"  {whole:.1f} GB of tables, and as many in results/zoo/kept, which may be deleted at any time"
    if made := zoo_names.sides(document):
        png = [images.total * sum(side**2 for side in made) * each / GB for each in costs.PNG_BYTES_PER_PIXEL]
        yield f"  {png[0]:.3g} to {png[1]:.3g} GB of images at {', '.join(map(str, made))} px"
    if unknown:
        yield f"  not counted, as their sizes are not built in: {', '.join(unknown)}"
