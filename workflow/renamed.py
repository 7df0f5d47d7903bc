"""Old names of parameters and sections, each with the name it has now.

The old names are those of version 0.2.0, before the chapters. `workflow.registry.check` refuses them with the new name;
CHANGELOG.md has the same table.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

RENAMED = {
    "simulate": "data.simulate",
    "simulate.seed": "data.simulate.seed",
    "simulate.nih_patients": "data.simulate.nih_patients",
    "simulate.films_per_patient_max": "data.simulate.max_images_per_patient",
    "simulate.nih_side_px": "data.simulate.nih_side_px",
    "simulate.rgba_share": "data.simulate.rgba_fraction",
    "simulate.lidc_films": "data.simulate.lidc_images",
    "simulate.lidc_side_px": "data.simulate.lidc_side_px",
    "simulate.prevalence": "data.simulate.prevalence",
    "simulate.nodules_max": "data.simulate.max_nodules",
    "simulate.diameter_min_mm": "data.simulate.min_diameter_mm",
    "simulate.diameter_max_mm": "data.simulate.max_diameter_mm",
    "simulate.contrast_min": "data.simulate.min_contrast",
    "simulate.contrast_max": "data.simulate.max_contrast",
    "simulate.unlabelled_films": "data.simulate.unlabelled_images",
    "ingest": "data.ingest",
    "ingest.root": "data.ingest.root",
    "ingest.max_rejected": "data.ingest.max_rejected",
    "ingest.max_pixels": "data.ingest.max_pixels",
    "normalize": "data.normalize",
    "normalize.low_percentile": "data.normalize.low_percentile",
    "normalize.high_percentile": "data.normalize.high_percentile",
    "normalize.side_px": "data.normalize.side_px",
    "split": "data.split",
    "split.fractions": "data.split.fractions",
    "split.unit": "data.split.unit",
    "split.seed": "data.split.seed",
    "pretrain": "weights.pretrain",
    "pretrain.seed": "weights.pretrain.chest.seed",
    "pretrain.side_px": "weights.pretrain.chest.side_px",
    "pretrain.low_percentile": "weights.pretrain.chest.low_percentile",
    "pretrain.high_percentile": "weights.pretrain.chest.high_percentile",
    "pretrain.film_px": "weights.pretrain.chest.image_px",
    "pretrain.padded_share": "weights.pretrain.chest.padded_fraction",
    "pretrain.diameter_mm": "weights.pretrain.chest.diameter_mm",
    "pretrain.contrast": "weights.pretrain.chest.contrast",
    "pretrain.tower_films": "weights.pretrain.chest.tower_images",
    "pretrain.tower_nodules": "weights.pretrain.chest.tower_nodules",
    "pretrain.tower_steps": "weights.pretrain.chest.tower_steps",
    "pretrain.tower_batch": "weights.pretrain.chest.tower_batch",
    "pretrain.tower_peak_lr": "weights.pretrain.chest.tower_peak_lr",
    "pretrain.text_films": "weights.pretrain.chest.text_images",
    "pretrain.text_nodule_share": "weights.pretrain.chest.text_nodule_fraction",
    "pretrain.text_nodules_most": "weights.pretrain.chest.max_text_nodules",
    "pretrain.text_steps": "weights.pretrain.chest.text_steps",
    "pretrain.text_batch": "weights.pretrain.chest.text_batch",
    "pretrain.text_peak_lr": "weights.pretrain.chest.text_peak_lr",
    "pretrain.box_share": "weights.pretrain.chest.box_fraction",
    "fetch": "weights.fetch",
    "fetch.base": "weights.fetch.base",
    "fetch.revision": "weights.fetch.revision",
    "model": "nodules.model",
    "model.dtype": "nodules.model.dtype",
    "model.attention": "nodules.model.attention",
    "model.quantization": "nodules.model.quantization",
    "model.cache_features": "nodules.model.cache_features",
    "prompt": "nodules.prompt",
    "prompt.question": "nodules.prompt.question",
    "prompt.answers": "nodules.prompt.answers",
    "prompt.image_first": "nodules.prompt.image_first",
    "train": "nodules.train",
    "train.sources": "nodules.cohort.sources",
    "train.sampler": "nodules.train.sampler",
    "train.positive_weight": "nodules.train.positive_weight",
    "train.rank": "nodules.train.lora_r",
    "train.alpha": "nodules.train.lora_alpha",
    "train.dropout": "nodules.train.lora_dropout",
    "train.lora_targets": "nodules.train.lora_target_modules",
    "train.micro_batch": "nodules.train.per_device_train_batch_size",
    "train.accumulation": "nodules.train.gradient_accumulation_steps",
    "train.peak_lr": "nodules.train.learning_rate",
    "train.warmup_share": "nodules.train.warmup_ratio",
    "train.max_steps": "nodules.train.max_steps",
    "train.max_grad_norm": "nodules.train.max_grad_norm",
    "train.weight_decay": "nodules.train.weight_decay",
    "train.gradient_checkpointing": "nodules.train.gradient_checkpointing",
    "train.eval_every_steps": "nodules.train.eval_steps",
    "train.save_every_steps": "nodules.train.save_steps",
    "train.select_by": "nodules.train.select_by",
    "train.patience": "nodules.train.patience",
    "train.keep_checkpoints": "nodules.train.save_total_limit",
    "train.data_loader_workers": "nodules.train.dataloader_num_workers",
    "train.seed": "nodules.train.seed",
    "infer": "nodules.infer",
    "infer.batch_size": "nodules.infer.batch_size",
    "infer.splits": "nodules.infer.splits",
    "infer.readers": "nodules.infer.readers",
    "infer.weights": "nodules.infer.weights",
    "calibrate": "nodules.calibrate",
    "calibrate.sources": "nodules.cohort.sources",
    "calibrate.world_prevalence": "nodules.calibrate.world_prevalence",
    "localize": "nodules.localize",
    "localize.localizers": "nodules.localizers",
    "localize.views": "nodules.localize.views",
    "localize.films": "nodules.localize.images",
    "choose": "nodules.select",
    "choose.splits": "nodules.select.splits",
    "choose.requests_kept": "nodules.select.max_prompts",
    "choose.tolerance_share": "nodules.tolerance.tolerant_fraction",
    "medgemma": "nodules.localizers.medgemma",
    "medgemma.requests": "nodules.localizers.medgemma.prompts",
    "medgemma.image_first": "nodules.localizers.medgemma.image_first",
    "medgemma.max_new_tokens": "nodules.localizers.medgemma.max_new_tokens",
    "medgemma.batch_size": "nodules.localizers.medgemma.batch_size",
    "relevance": "nodules.localizers.attribution",
    "relevance.requests": "nodules.localizers.attribution.prompts",
    "relevance.answers": "nodules.localizers.attribution.answers",
    "relevance.prefixes": "nodules.localizers.attribution.response_prefixes",
    "relevance.image_first": "nodules.localizers.attribution.image_first",
    "relevance.method": "nodules.localizers.attribution.method",
    "relevance.steps": "nodules.localizers.attribution.steps",
    "relevance.moves": "nodules.localizers.attribution.shifts",
    "relevance.smoothing_share": "nodules.localizers.attribution.smoothing_fraction",
    "relevance.distance_share": "nodules.localizers.attribution.peak_distance_fraction",
    "relevance.peaks_most": "nodules.localizers.attribution.max_peaks",
    "relevance.half_logits": "nodules.localizers.attribution.even_odds_logits",
    "relevance.confidence_least": "nodules.localizers.attribution.min_confidence",
    "relevance.batch_size": "nodules.localizers.attribution.batch_size",
    "chexagent": "nodules.localizers.chexagent",
    "chexagent.model": "nodules.localizers.chexagent.model",
    "chexagent.revision": "nodules.localizers.chexagent.revision",
    "chexagent.code_revision": "nodules.localizers.chexagent.code_revision",
    "chexagent.encoder": "nodules.localizers.chexagent.encoder",
    "chexagent.encoder_revision": "nodules.localizers.chexagent.encoder_revision",
    "chexagent.requests": "nodules.localizers.chexagent.prompts",
    "chexagent.max_new_tokens": "nodules.localizers.chexagent.max_new_tokens",
    "chexagent.batch_size": "nodules.localizers.chexagent.batch_size",
    "chexagent.dtype": "nodules.localizers.chexagent.dtype",
    "chexagent.probe_films": "nodules.localizers.chexagent.probe_images",
    "chexagent.start_timeout_s": "nodules.localizers.chexagent.start_timeout_s",
    "chexagent.batch_timeout_s": "nodules.localizers.chexagent.batch_timeout_s",
    "merge": "nodules.link",
    "merge.link": "nodules.link.link",
    "merge.link_share": "nodules.link.link_fraction",
    "merge.link_iou": "nodules.link.link_iou",
    "merge.points_most": "nodules.link.max_points",
    "combine": "nodules.link",
    "combine.link": "nodules.link.link",
    "combine.link_share": "nodules.link.link_fraction",
    "combine.link_iou": "nodules.link.link_iou",
    "combine.points_most": "nodules.link.max_points",
    "cascade": "nodules.cascade",
    "cascade.threshold": "nodules.cascade.threshold",
    "metrics": "nodules.measure",
    "metrics.draws": "nodules.measure.draws",
    "metrics.seed": "nodules.measure.seed",
    "metrics.confidence": "nodules.measure.confidence",
    "metrics.tight_share": "nodules.tolerance.tight_fraction",
    "metrics.tolerant_share": "nodules.tolerance.tolerant_fraction",
    "metrics.ece_bins": "nodules.measure.ece_bins",
    "metrics.other_prevalence": "nodules.measure.other_prevalence",
    "metrics.sources": "nodules.cohort.sources",
    "metrics.size_edges_mm": "nodules.measure.size_edges_mm",
    "metrics.contrast_edges": "nodules.measure.contrast_edges",
    "metrics.stratum_nodules_min": "nodules.measure.min_stratum_nodules",
    "submit": "nodules.submit",
    "submit.localizer": "nodules.submit.localizer",
    "submit.threshold": "nodules.submit.threshold",
    "submit.max_points": "nodules.submit.max_points",
    "submit.points_for": "nodules.submit.points_for",
    "report.film_px": "nodules.section.image_px",
    "report.examples": "nodules.section.examples",
    "report.operating_point": "nodules.section.operating_point",
}

BASE = (  # keys of weights.pretrain before a base was a row of it
    "seed side_px low_percentile high_percentile image_px padded_fraction diameter_mm contrast tower_images "
    "tower_nodules tower_steps tower_batch tower_peak_lr text_images text_nodule_fraction max_text_nodules text_steps "
    "text_batch text_peak_lr box_fraction"
)
RENAMED |= {f"weights.pretrain.{key}": f"weights.pretrain.chest.{key}" for key in BASE.split()}

FOLDERS = {  # of results/
    "simulate": "data/simulate",
    "normalized": "data/normalized",
    "pretrain": "weights.pretrain",
    "train": "nodules/train",
    "infer": "nodules/infer",
    "localize": "nodules/localize",
}


def moved_paths(document: Any, name: str = "") -> list[str]:
    """A sentence for each value that is a path of the old layout of results/.

    >>> moved_paths({"predict": {"adapter": "results/train/adapter", "root": "data"}})
    ["predict.adapter: found 'results/train/adapter', which is results/nodules/train/adapter now"]
    """
    if isinstance(document, Mapping):
        return [problem for key, value in document.items() for problem in moved_paths(value, f"{name}{key}.")]
    parts = Path(document).parts if isinstance(document, str) else ()
    if parts == ("results", "weights", "pretrain"):
        now = Path(*parts, "chest")  # a folder per row since there are several bases
    elif parts[:1] == ("results",) and len(parts) > 1 and parts[1] in FOLDERS:
        now = Path("results", FOLDERS[parts[1]], *parts[2:])
    else:
        return []
    return [f"{name.rstrip('.')}: found {document!r}, which is {now} now"]


def everywhere() -> dict[str, str]:
    """Table, and each old name in its new place too: a file may have been changed in part.

    >>> table = everywhere()
    >>> table["train.peak_lr"], table["nodules.train.peak_lr"], table["nodules.choose"]
    ('nodules.train.learning_rate', 'nodules.train.learning_rate', 'nodules.select')
    """
    moved = {}
    for old, new in RENAMED.items():
        section, _, key = old.rpartition(".")
        place = RENAMED.get(section, section) if section else new.partition(".")[0]
        moved[f"{place}.{key}"] = new
    return {**{old: new for old, new in moved.items() if old != new}, **RENAMED}
