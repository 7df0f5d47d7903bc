"""What each stage of the real study takes on one GPU: hours, loads of the model, memory and disk.

`costs` has the formulas behind it. A study that ran here tells its own numbers of images; else they are those of the
challenge.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workflow import costs, lofi_costs
from workflow.costs import GB, TERA, UTILISATION, Gpu

CHALLENGE_IMAGES, CHALLENGE_MARKED = 63_179, 113  # as published: all, and those with marked nodules
NORMALIZE_SECONDS = (0.02, 0.1)  # of an image on one core, timed on images of 1,024 px (8 bit) and 2,022 px (16 bit)
# Of a job before its model answers, assumed: imports, and reading the weights at 3 to 0.5 GB/s
START_SECONDS, READ_BYTES = (10.0, 30.0), (3.0e9, 0.5e9)
SHARDS = (1, 2, 4, 8, 16, 32, 64)


@dataclass(frozen=True, kw_only=True)
class Images:
    """Numbers of images of the study.

    Attributes:
        total: Images that take part.
        validation: Those of the validation split that training evaluates on.
        asked: Those of the splits of inference.
        test: Those of the test split.
        marked: Those with points.
        choosing: Those that prompts are chosen on: with points, and a sample of negative ones.
        measured: Those that a localizer is run on: these, all others with points, and the test split.
        source: Where the numbers come from.
    """

    total: int
    validation: int
    asked: int
    test: int
    marked: int
    choosing: int
    measured: int
    source: str


@dataclass(frozen=True)
class Range:
    """One line of the estimate: a range, its unit, and the formula behind it."""

    what: str
    low: float
    high: float
    unit: str
    formula: str

    def __str__(self) -> str:
        return f"{self.what:26} {self.low:.3g} to {self.high:.3g} {self.unit}: {self.formula}"


@dataclass(frozen=True)
class Work:
    """A stage that loads a model.

    Attributes:
        what: Its name in the estimate.
        low: Seconds of its work, at the least.
        high: At the most.
        formula: What was multiplied.
        jobs: Jobs that load the model.
        bytes: Of the model's files.
    """

    what: str
    low: float
    high: float
    formula: str
    jobs: int
    bytes: float = costs.DOWNLOAD_GB * GB

    @property
    def line(self) -> Range:
        """It as a line of the estimate."""
        return Range(self.what, self.low / 3600, self.high / 3600, "h", self.formula)

    @property
    def load(self) -> tuple[float, float]:
        """Seconds of one of its jobs before the model answers."""
        low, high = (start + self.bytes / read for start, read in zip(START_SECONDS, READ_BYTES, strict=True))
        return low, high


def count_images(results: Path, document: Mapping[str, Any]) -> Images:
    """Number of images of a results folder; where it has no manifest of this study's folder, those of the challenge.

    Only the columns counted are read, without their checksums: a dry run has no time for more.
    """
    import pyarrow.compute as pc
    from pyarrow import parquet

    manifest, split, points = (results / f"data/{name}.parquet" for name in ("manifest", "split", "points"))
    own = manifest.is_file() and _is_of(manifest, document["data"]["ingest"]["root"])
    marked: set[str] = set()
    if own and points.is_file():
        marked = set(parquet.read_table(points, columns=["image_id"])["image_id"].to_pylist())
    if own and split.is_file():
        table = parquet.read_table(split, columns=["image_id", "patient_id", "label", "split"])
        return _counted(table, marked, document, f"images of {split}")
    total, n_marked = CHALLENGE_IMAGES, CHALLENGE_MARKED
    source = f"the challenge's {CHALLENGE_IMAGES:,} images, as published"
    if own:
        usable = parquet.read_table(manifest, columns=["status"])["status"]
        total, n_marked = pc.sum(pc.equal(usable, "ok")).as_py() or 0, len(marked)
        source = f"images of {manifest}"
    train, val, test = document["data"]["split"]["fractions"]
    if folds := document["data"]["split"]["folds"]:
        train, val = (part / (train + val) * (1 - 1 / folds) for part in (train, val))
        test = 1 / folds
    fractions = {"train": train, "val": val, "test": test}
    counts = {name: round(fraction * total) for name, fraction in fractions.items()}
    choose = round(n_marked * sum(fractions[name] for name in document["nodules"]["select"]["splits"]))
    elsewhere = n_marked - round(n_marked * fractions["test"])
    return Images(
        total=total,
        validation=counts["val"],
        asked=sum(counts[name] for name in document["nodules"]["infer"]["splits"]),
        test=counts["test"],
        marked=n_marked,
        choosing=choose + document["nodules"]["select"]["negative_images"],
        # negative images that choose for localizers without and with an adapter; few are both
        measured=counts["test"] + elsewhere + 2 * document["nodules"]["select"]["negative_images"],
        source=source,
    )


def _counted(split: Any, marked: set[str], document: Mapping[str, Any], source: str) -> Images:
    """Numbers of images of a split that was made, see `evaluation_sets`."""
    import pyarrow as pa

    from stages.lib.metrics import evaluation_sets

    names = split["split"].to_pylist()
    points, select = pa.table({"image_id": pa.array(sorted(marked), pa.string())}), document["nodules"]["select"]
    sample = {"negative_images": select["negative_images"], "seed": select["seed"]}
    return Images(
        total=len(names),
        validation=names.count("val"),
        asked=sum(names.count(name) for name in document["nodules"]["infer"]["splits"]),
        test=names.count("test"),
        marked=len(marked),
        choosing=len(evaluation_sets.choosing_images(split, points, select["splits"], **sample)),
        measured=len(evaluation_sets.localized_images(split, points, select["splits"], **sample)),
        source=source,
    )


def _is_of(manifest: Path, root: str) -> bool:
    """Whether a manifest lists images of a folder: another study may have run here last."""
    from pyarrow import parquet

    paths = parquet.read_table(manifest, columns=["path"])["path"]
    return len(paths) > 0 and Path(paths[0].as_py()).is_relative_to(root)


Seconds = tuple[float, float, str]  # of one response, at the least and at the most, and what it is made of


def generation(row: Mapping[str, Any], prompts: Sequence[str], document: Mapping[str, Any], on: Gpu) -> Seconds:
    """Seconds of one response of MedGemma: from a box without reasoning to `max_new_tokens`."""
    tokens = max(costs.text_tokens(prompt) for prompt in prompts)
    most = row["max_new_tokens"]
    slow, fast = UTILISATION
    low, high = (
        costs.generation_seconds(
            on,
            utilisation,
            quantization=document["nodules"]["model"]["quantization"],
            batch=row["batch_size"],
            text_tokens=tokens,
            new_tokens=new,
            fused=fused,
        )
        for utilisation, new, fused in ((fast, min(costs.BOX_TOKENS, most), True), (slow, most, False))
    )
    first = costs.forward_flops(text_tokens=tokens) / TERA
    moved = costs.step_bytes(document["nodules"]["model"]["quantization"], row["batch_size"], tokens) / GB
    formula = (
        f"({first:.2f} TFLOP + {min(costs.BOX_TOKENS, most)} to {most} tokens, each up to {moved:.0f} GB of memory for "
        f"{row['batch_size']} responses together)"
    )
    return low, high, formula


def attribution(row: Mapping[str, Any], prompts: Sequence[str], document: Mapping[str, Any], on: Gpu) -> Seconds:
    """Seconds of one attribution map."""
    tokens = max(costs.text_tokens(prompt) for prompt in prompts)
    flops = sum(
        costs.attribution_flops(row["steps"], row["shifts"], occlusion=row["method"] == "occlusion", text_tokens=tokens)
    )
    slow, fast = UTILISATION
    passes = f"{row['shifts']} x {row['shifts']} places x "
    passes += "every token left out once" if row["method"] == "occlusion" else f"{row['steps']} gradient steps"
    return flops / (fast * on.flops), flops / (slow * on.flops), f"{flops / TERA:.0f} TFLOP ({passes})"


def chexagent(row: Mapping[str, Any], prompts: Sequence[str], document: Mapping[str, Any], on: Gpu) -> Seconds:
    """Seconds of one response of CheXagent-2, by its published size."""
    tokens, most = max(costs.text_tokens(prompt) for prompt in prompts), row["max_new_tokens"]
    slow, fast = UTILISATION
    least = min(costs.CHEXAGENT_BOX_TOKENS, most)
    low, high = (
        costs.chexagent_seconds(on, utilisation, batch=row["batch_size"], text_tokens=tokens, new_tokens=new)
        for utilisation, new in ((fast, least), (slow, most))
    )
    size = costs.CHEXAGENT_PARAMETERS
    first = 2 * size * (costs.CHEXAGENT_TOKENS + tokens) / TERA
    formula = f"({first:.1f} TFLOP + {least} to {most} tokens, each {2 * size / GB:.1f} GB of memory for "
    return low, high, f"{formula}{row['batch_size']} responses together), by its {size / 1e9:.2f} G parameters"


def lofi_map(row: Mapping[str, Any], prompts: Sequence[str], document: Mapping[str, Any], on: Gpu) -> Seconds:
    """Seconds of one map of LoFi at its published size; the sentence is read once for all images."""
    flops = lofi_costs.map_flops(each_patch=row["method"] == "head")
    slow, fast = UTILISATION
    return flops / (fast * on.flops), flops / (slow * on.flops), f"{flops / TERA:.2f} TFLOP, at 512 px"


KINDS: Mapping[str, Callable[[Mapping[str, Any], Sequence[str], Mapping[str, Any], Gpu], Seconds]] = {
    "medgemma": generation,
    "attribution": attribution,
    "chexagent": chexagent,
    "lofi_map": lofi_map,
}
OWN_BYTES = {  # files of kinds that do not load the base model
    "chexagent": 2 * costs.CHEXAGENT_PARAMETERS,
    "lofi_map": 2 * (lofi_costs.parameters()["tower"] + lofi_costs.parameters()["text"]),
}
WITHOUT_MODEL = ("points",)  # kinds of classifiers that run no model


def localizers(document: Mapping[str, Any], on: Gpu, images: Images) -> list[Work]:
    """Choosing of prompts, and localization, of each localizer whose kind has a formula."""
    nodules, shards = document["nodules"], document["study"]["shards"]
    most, views = nodules["select"]["max_prompts"], len(nodules["localize"]["views"])
    found = []
    for name, row in nodules["localizers"].items():
        if row["kind"] not in KINDS:
            continue
        bank = row["prompts"]
        run = _localized(name, document, images)
        parts = [("choosing", images.choosing, len(bank), 1)] if len(bank) > most else []
        parts.append(("localization", run, min(most, len(bank)), views))
        for what, count, prompts, seen in parts:
            if not count:
                continue
            low, high, each = KINDS[row["kind"]](row, bank, document, on)
            times = count * prompts * seen
            formula = f"{count:,} images x {prompts} prompts x {seen} views x {each}"
            size = OWN_BYTES.get(row["kind"], costs.DOWNLOAD_GB * GB)
            found.append(Work(f"{what}, {name}", times * low, times * high, formula, shards, size))
    return found


def _localized(name: str, document: Mapping[str, Any], images: Images) -> int:
    """Images that a localizer is run on; those of validation too if a classifier ranks images by its points.

    The few images of validation that are measured or choose anyway are counted twice.
    """
    nodules = document["nodules"]
    which = nodules["localize"]["images"]
    if which == "all":
        return images.total
    if which == "choosing":
        return images.choosing
    ranked = {row.get("localizer") for row in nodules["classifiers"].values() if row["kind"] in WITHOUT_MODEL}
    return images.measured + (images.validation if which == "scored" or ranked & {name, "combined"} else 0)


def classifiers(document: Mapping[str, Any], on: Gpu, images: Images) -> list[Work]:
    """Inference of each classifier that runs MedGemma, and of the tuned one with its adapter in the other form."""
    nodules, shards = document["nodules"], document["study"]["shards"]
    cached = _cached(document)
    places, flops = nodules["infer"]["shifts"] ** 2, costs.forward_flops(cached=cached)
    rows = nodules["classifiers"]
    asked = [(f"inference, {name}", images.asked) for name, row in rows.items() if row["kind"] == "medgemma"]
    if "tuned" in rows:
        asked.append(("inference, other form", images.validation))
    found = []
    for what, count in asked:
        low, high = (count / rate for rate in reversed(rates(document, on)))
        formula = f"{count:,} images x {places} places x {flops / TERA:.2f} TFLOP"
        found.append(Work(what, low, high, formula, shards))
    return found


def _cached(document: Mapping[str, Any]) -> bool:
    """Whether the tower's features of an image are kept and used again."""
    nodules = document["nodules"]
    return bool(nodules["model"]["cache_features"] and nodules["train"]["lora_target_modules"] == "language")


def _unpacked(document: Mapping[str, Any]) -> float:
    """Bytes of one pass over 4-bit weights beside their own: written out in full for the multiplication, and read."""
    return costs.QUANTIZED * (2 + 2) if document["nodules"]["model"]["quantization"] == "nf4" else 0.0


def held_bytes(document: Mapping[str, Any]) -> float:
    """Bytes of the weights that inference holds."""
    model = document["nodules"]["model"]
    merged = document["nodules"]["infer"]["weights"] == "merged"
    return costs.weight_bytes("none" if merged else model["quantization"], model["dtype"])


def _answer_seconds(document: Mapping[str, Any], on: Gpu, utilisation: float) -> float:
    """Seconds of one pass of inference on one image."""
    asked = document["nodules"]["infer"]
    moved = held_bytes(document) + (0.0 if asked["weights"] == "merged" else _unpacked(document))
    flops = costs.forward_flops(cached=_cached(document))
    return max(flops / (utilisation * on.flops), moved / on.bandwidth / asked["batch_size"])


def rates(document: Mapping[str, Any], on: Gpu) -> tuple[float, float]:
    """Images per second of inference, at the least and at the most."""
    places = document["nodules"]["infer"]["shifts"] ** 2
    slow, fast = (1 / (places * _answer_seconds(document, on, utilisation)) for utilisation in UTILISATION)
    return slow, fast


def training(document: Mapping[str, Any], on: Gpu, images: Images) -> Work:
    """Training, with its passes over validation, and the tower's once if its features are kept."""
    model, train, asked = (document["nodules"][name] for name in ("model", "train", "infer"))
    cached, checkpointing = _cached(document), train["gradient_checkpointing"]
    targets, batch = train["lora_target_modules"], train["per_device_train_batch_size"]
    samples = train["max_steps"] * batch * train["gradient_accumulation_steps"]
    sample = costs.training_flops(targets, train["lora_r"], checkpointing=checkpointing, cached=cached)
    image = costs.forward_flops(cached=cached)
    weights = costs.weight_bytes(model["quantization"], model["dtype"])
    read = (weights + _unpacked(document)) * (3 if checkpointing else 2) / on.bandwidth / batch
    measured = train["max_steps"] // train["eval_steps"] * images.validation
    # passes of the tower, if cached; training measures images at their own place alone
    through = asked["shifts"] ** 2 * images.asked + train["shifts"] ** 2 * (images.total - images.asked)
    once = through * sum(costs.tower_flops()) if cached else 0.0

    def seconds(utilisation: float) -> float:
        learning = samples * max(sample / (utilisation * on.flops), read)
        return learning + measured * _answer_seconds(document, on, utilisation) + once / (utilisation * on.flops)

    slow, fast = UTILISATION
    formula = (
        f"{samples:,} images x {sample / TERA:.1f} TFLOP + {measured:,} measured on validation x "
        f"{image / TERA:.2f}{f' + {through:,} through the tower once' if cached else ''}"
    )
    return Work("training", seconds(fast), seconds(slow), formula, 1)


def stages(document: Mapping[str, Any], on: Gpu, images: Images) -> list[Work]:
    """Every stage that loads a model, in the order in which they run."""
    trains = "tuned" in document["nodules"]["classifiers"]
    learnt = [training(document, on, images)] if trains else []
    return [*learnt, *classifiers(document, on, images), *localizers(document, on, images)]


def cost_of_shards(document: Mapping[str, Any], on: Gpu, images: Images, shards: int) -> float:
    """Seconds of loading the models, and of work that is lost if one job is interrupted once, at any time.

    A job is made again from its start: on average half of it is lost. Training is not cut into shards, and goes on from
    its checkpoint. Everything runs on one GPU, one job after the other.
    """
    cut = [one for one in stages(document, on, images) if one.what != "training"]
    seconds = [(one.low + one.high) / 2 for one in cut]
    loads = sum(shards * sum(one.load) / 2 for one in cut)
    lost = sum(one * one / (2 * shards) for one in seconds) / max(sum(seconds), 1e-9)
    return loads + lost


def best_shards(document: Mapping[str, Any], on: Gpu, images: Images) -> int:
    """Number of shards, a power of 2, at which `cost_of_shards` is least."""
    return min(SHARDS, key=lambda shards: cost_of_shards(document, on, images, shards))


def estimate(document: Mapping[str, Any], on: Gpu, images: Images) -> list[Range]:
    """What the study takes on one GPU: hours of each stage, images per second, memory and disk.

    Args:
        document: The parameters, section by section; the base is MedGemma 1.5 4B.
        on: The GPU.
        images: How many images.
    """
    work = stages(document, on, images)
    least, most = rates(document, on)
    places = document["nodules"]["infer"]["shifts"] ** 2
    image = costs.forward_flops(cached=_cached(document)) / TERA
    normalize = [images.total * each / 3600 for each in NORMALIZE_SECONDS]
    seeds = len(document["study"]["seeds"])
    loads = [sum(one.jobs * one.load[end] for one in work) / 3600 for end in (0, 1)]
    hours = [sum(getattr(one, end) for one in work) / 3600 for end in ("low", "high")]
    shards = document["study"]["shards"]
    longest = max((one for one in work if one.what != "training"), key=lambda one: one.high, default=None)
    lost = f" (the longest, of {longest.what}: up to {longest.high / shards / 3600:.1f} h)" if longest else ""
    return [
        Range("inference", least, most, "images/s", f"{places} x {image:.2f} TFLOP an image"),
        *(one.line for one in work),
        Range(
            "loading of models",
            loads[0],
            loads[1],
            "h",
            f"{sum(one.jobs for one in work)} jobs, each {START_SECONDS[0]:.0f} to {START_SECONDS[1]:.0f} s and "
            f"its files at {READ_BYTES[0] / GB:g} to {READ_BYTES[1] / GB:g} GB/s, assumed; study.shards is {shards}: "
            f"an interrupted shard is made again{lost}; with one interruption, {best_shards(document, on, images)} "
            "cost least",
        ),
        Range(
            "all, one after another",
            seeds * (hours[0] + loads[0]),
            seeds * (hours[1] + loads[1]),
            "h",
            "the sum of the above" + (f" x {seeds} seeds" if seeds > 1 else ""),
        ),
        Range(
            "normalize, no GPU",
            normalize[0],
            normalize[1],
            "core-h",
            f"{images.total:,} images x {NORMALIZE_SECONDS[0]} to {NORMALIZE_SECONDS[1]} s of one core",
        ),
        *_memory(document, on),
        _disk(document, images),
    ]


def _memory(document: Mapping[str, Any], on: Gpu) -> list[Range]:
    """Memory of the GPU in training and in inference."""
    model, train, asked = (document["nodules"][name] for name in ("model", "train", "infer"))
    targets, batch = train["lora_target_modules"], train["per_device_train_batch_size"]
    adapter = costs.lora_parameters(targets, train["lora_r"])
    kept = costs.activation_bytes(targets, checkpointing=train["gradient_checkpointing"], cached=_cached(document))
    weights, held = costs.weight_bytes(model["quantization"], model["dtype"]), held_bytes(document)
    layer = costs.TOWER_KEPT_BYTES * costs.PATCHES
    needed: dict[str, tuple[float, str]] = {
        "training": (
            (weights + 16 * adapter + batch * kept) / GB,
            f"weights {weights / GB:.1f} + LoRA {adapter / 1e6:.1f} M x 16 bytes + {batch} images x {kept / GB:.2f}, "
            f"up to {costs.MEMORY_MARGIN[1] - 1:.0%} for gaps, and {costs.MEMORY_BESIDE[0]} to "
            f"{costs.MEMORY_BESIDE[1]} beside",
        ),
        "inference": (
            (held + asked["batch_size"] * layer) / GB,
            f"weights {held / GB:.1f} + {asked['batch_size']} images x one layer of the tower {layer / GB:.2f}",
        ),
    }
    for name, row in document["nodules"]["localizers"].items():
        if row["kind"] == "medgemma":
            longest = max(costs.text_tokens(prompt) for prompt in row["prompts"])
            tokens = costs.IMAGE_TOKENS + longest + row["max_new_tokens"]
            each = layer + tokens * costs.CACHE_BYTES
            formula = f"weights {weights / GB:.1f} + {row['batch_size']} responses x {each / GB:.2f}: one layer of the "
            formula += f"tower, and keys and values of {tokens:,} tokens"
            needed[name] = (weights + row["batch_size"] * each) / GB, formula
    unit = f"of {on.memory / GB:.0f} GB"
    made = []
    for what, (found, formula) in needed.items():
        ends = zip(costs.MEMORY_MARGIN, costs.MEMORY_BESIDE, strict=True)
        low, high = (found * margin + beside for margin, beside in ends)
        made.append(Range(f"memory, {what}", low, high, unit, formula))
    return made


def _disk(document: Mapping[str, Any], images: Images) -> Range:
    """Disk that download, normalized images, kept features and checkpoints take."""
    train, asked = document["nodules"]["train"], document["nodules"]["infer"]
    side = document["data"]["normalize"]["side_px"]
    pngs = [images.total * side**2 * each / GB for each in costs.PNG_BYTES_PER_PIXEL]
    through = asked["shifts"] ** 2 * images.asked + train["shifts"] ** 2 * (images.total - images.asked)
    features = through * costs.FEATURE_BYTES / GB if _cached(document) else 0.0
    adapter = costs.lora_parameters(train["lora_target_modules"], train["lora_r"])
    saved = (train["save_total_limit"] + 1) * 12 * adapter / GB
    low, high = (costs.DOWNLOAD_GB + features + saved + each for each in pngs)
    kept = f" + vision features {features:.0f}" if features else ""
    formula = f"download {costs.DOWNLOAD_GB} + PNGs {pngs[0]:.0f} to {pngs[1]:.0f}{kept} + checkpoints {saved:.1f}"
    return Range("disk", low, high, "GB", formula)


def without_formula(document: Mapping[str, Any]) -> list[str]:
    """A sentence for each system whose kind has no formula here, so that it is missing above."""
    known = {"classifiers": ("medgemma", *WITHOUT_MODEL), "localizers": tuple(KINDS)}
    return [
        f"{what[:-1]} {name}: its kind {row['kind']!r} has no formula; its hours are not in the sum"
        for what, kinds in known.items()
        for name, row in document["nodules"][what].items()
        if row["kind"] not in kinds
    ]


def not_counted(document: Mapping[str, Any]) -> list[str]:
    """A sentence for images that the study reads beyond its own.

    >>> not_counted({"data": {"external": {"roots": {"hospital_b": "/data/b"}}}})
    ['external data (hospital_b): their images are not counted, and their hours are not in the sum']
    """
    roots = document["data"]["external"]["roots"]
    names = ", ".join(roots)
    return (
        [f"external data ({names}): their images are not counted, and their hours are not in the sum"] if roots else []
    )


def lines(document: Mapping[str, Any], on: Gpu, results: Path) -> list[str]:
    """Estimate as lines of text, or one that says why there is none; images are counted in the folder of results."""
    return told(document, on, count_images(results, document))


def told(document: Mapping[str, Any], on: Gpu, images: Images) -> list[str]:
    """Estimate for so many images."""
    if not costs.needs_gpu(document):
        base = document.get("weights", {}).get("fetch", {}).get("base")
        return [f"estimate: none for {base}, which runs on a processor in minutes; it is for MedGemma 1.5 4B"]
    found = estimate(document, on, images)
    slow, fast = UTILISATION
    head = [
        f"estimate on one {on.name}, computed, not measured; {images.source}; MedGemma 1.5 4B at 896 px",
        f"  TFLOP at {100 * slow:.0f} to {100 * fast:.0f} % of {on.flops / TERA:.0f} TFLOP/s, memory at as much of "
        f"{on.bandwidth / GB:.0f} GB/s",
    ]
    warning = [
        f"  {each.what} may not fit {on.memory / GB:.0f} GB: lower its batch size"
        for each in found
        if each.what.startswith("memory, ") and each.high > on.memory / GB
    ]
    more = [f"  {sentence}" for sentence in (*without_formula(document), *not_counted(document))]
    return [*head, *(f"  {each}" for each in found), *more, *warning]
