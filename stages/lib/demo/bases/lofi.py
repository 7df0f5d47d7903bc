"""Tiny base for the demo of LoFi: a SigLIP that matches chest images with reports, and a Gemma 3 that writes boxes.

Its vision tower and its text model start from those of another tiny base, MedGemma's stand-in. Beside the two models
it has an adapter to begin with, whose LoRA does nothing yet, and whose pooling puts before the decoder what the tower
tells of a patch: a tiny decoder behind a pooling of random weights does not look at the image in the time of a demo.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from stages.lib.core import documents, files, params
from stages.lib.demo import tiny
from stages.lib.demo.lofi import matching, models, opening, tower, writing
from stages.lib.demo.lofi.examples import Example, examples
from stages.lib.demo.synthetic import chest_cases
from stages.lib.images import preprocess
from stages.lib.models.adapters import CARD
from stages.lib.models.lofi.params import ModelParams
from stages.lib.models.snapshot import Snapshot

WANTED: Mapping[str, params.Section] = {}
FOLDER = "workflow/demo_lofi_base"
ENCODER, DECODER, START = "encoder", "decoder", "start"
WEIGHTS = (f"{ENCODER}/model.safetensors", f"{DECODER}/model.safetensors", f"{START}/whole.safetensors")
ARCHITECTURE = "SigLIP and a tiny Gemma 3 ({parameters:,} parameters with the adapter to begin with, float32),"
ABOUT = """\
taught on simulated chest images with reports: encoder/ matches images with sentences, decoder/ writes boxes, and
start/ is the adapter that joins them. They stand in for SigLIP 2 and Gemma 3 in the demo of LoFi and in its tests."""
FEW = {
    "images": 8,
    "tower_steps": 4,
    "tower_batch": 4,
    "pair_steps": 4,
    "pair_batch": 4,
    "text_steps": 4,
    "text_batch": 4,
}
OPENED_WITH = 2000  # images at most that decide the first weights of the pooling
AT_ONCE = 200  # images in the tower


@params.section
class Params(chest_cases.Content):
    """Images and schedule of the base's training."""

    seed: params.Seed
    start: params.Text  # folder of the tiny base of the kind chest that tower and text model start from
    low_percentile: params.Percent  # grey value that becomes 0
    high_percentile: params.Percent  # grey value that becomes 255
    images: params.Count  # one patient each
    visual_tokens: params.Count  # of the adapter to begin with
    lora_r: params.Count
    decoder_lora_r: params.Count
    tower_steps: params.Count
    tower_batch: params.Count  # images per step
    tower_peak_lr: params.PositiveFloat
    pair_steps: params.Count
    pair_batch: params.Count  # images with their reports per step
    pair_peak_lr: params.PositiveFloat
    pair_sentences: tuple[params.Count, params.Count]  # fewest and most of a report in one text
    text_steps: params.Count
    text_batch: params.Count  # answers per step
    text_peak_lr: params.PositiveFloat

    def __post_init__(self) -> None:
        super().__post_init__()
        problems = []
        if self.low_percentile >= self.high_percentile:
            problems.append(f"low_percentile below high_percentile ({self.low_percentile}, {self.high_percentile})")
        if self.side_px != tiny.SIDE_PX:
            problems.append(f"side_px {tiny.SIDE_PX}, which the tiny base takes (it is {self.side_px})")
        if self.visual_tokens < opening.TOKENS:
            problems.append(f"visual_tokens of at least {opening.TOKENS} (it is {self.visual_tokens})")
        if self.pair_sentences[0] > self.pair_sentences[1]:
            problems.append(f"pair_sentences from few to many (it is {list(self.pair_sentences)})")
        if self.pair_batch < 2:
            problems.append("pair_batch of at least 2: an image is told from another")
        if problems:
            raise ValueError("; ".join(problems))

    @property
    def model(self) -> ModelParams:
        """How the two models are joined."""
        return ModelParams(
            encoder=f"{FOLDER}/{ENCODER}",
            encoder_revision="none",
            decoder=f"{FOLDER}/{DECODER}",
            decoder_revision="none",
            dtype="float32",
            attention="sdpa",
            pooling="queries",
            visual_tokens=self.visual_tokens,
            average_patches=False,
            lora_r=self.lora_r,
            decoder_lora_r=self.decoder_lora_r,
            train_head=True,
            train_scale=False,
        )


def recorded(params: Params, given: SimpleNamespace) -> dict[str, Any]:
    """Parameters that decide the base, as JSON has them."""
    return {"pretrain": json.loads(json.dumps(asdict(params)))}


def pretrain(folder: Path, params: Params, given: SimpleNamespace) -> dict[str, list[float]]:
    """Write the base to `folder`, and return the loss of each step of each phase.

    Args:
        folder: Where to.
        params: See `Params`.
        given: Nothing: no other section is read.
    """
    from transformers import AutoTokenizer, Gemma3ForConditionalGeneration

    from stages.lib.models import gemma3
    from stages.lib.models.lofi import weights
    from stages.lib.models.lofi.words import TowerWords, decoder_words

    gemma3.quiet()
    of_images, of_tower, of_pairs, of_opening, of_text = np.random.default_rng(params.seed).spawn(5)
    taught = examples(of_images, params.images, params, (params.low_percentile, params.high_percentile))
    start = Gemma3ForConditionalGeneration.from_pretrained(params.start, local_files_only=True)
    known = AutoTokenizer.from_pretrained(params.start, local_files_only=True).get_vocab()
    siglip, gemma = models.siglip(start, params.seed), models.gemma(start, known, params.seed)
    greys = gemma3.grey_values(models.image_processor())
    lost = {
        "tower": tower.teach(
            siglip.vision_model,
            greys,
            taught,
            steps=params.tower_steps,
            batch_size=params.tower_batch,
            learning_rate=params.tower_peak_lr,
            rng=of_tower,
        )
    }
    patches = _patches(siglip.vision_model, greys, taught)
    reports = [one.report for one in taught]
    lost["pairs"] = matching.teach(
        siglip,
        TowerWords(models.tower_tokenizer(), models.LENGTH),
        patches,
        reports,
        steps=params.pair_steps,
        batch_size=params.pair_batch,
        learning_rate=params.pair_peak_lr,
        sentences=params.pair_sentences,
        rng=of_pairs,
    )
    models.save(folder, siglip, gemma)
    bases = (_snapshot(folder / ENCODER), _snapshot(folder / DECODER))
    loaded = weights.load(*bases, params.model, trainable=True, seed=params.seed)
    loaded.network.to("cpu")
    grid = tiny.SIDE_PX // tiny.PATCH_PX
    facts = tower.dense_facts([one.found for one in taught[:OPENED_WITH]], grid)
    opening.open_pooling(loaded.network, patches[:OPENED_WITH], facts, of_opening)
    lost["text"] = writing.teach(
        loaded.network,
        decoder_words(folder / DECODER, loaded.network.decoder.config.max_position_embeddings),
        patches,
        reports,
        steps=params.text_steps,
        batch_size=params.text_batch,
        learning_rate=params.text_peak_lr,
        rng=of_text,
    )
    weights.merge(loaded.network)
    models.save_decoder(folder, loaded.network.decoder)
    _save_start(folder, params, loaded.network.pooling.state_dict(), loaded.network.projection.state_dict())
    return lost


def _patches(vision: Any, greys: Any, taught: list[Example]) -> Any:
    """Tokens of the images' patches, float tensor of shape (n, patches, d)."""
    import torch

    found = []
    with torch.no_grad():
        for first in range(0, len(taught), AT_ONCE):
            grey = np.stack([one.pixels for one in taught[first : first + AT_ONCE]]).astype(np.int64)
            found.append(tower.patches(vision, greys[:, torch.from_numpy(grey)].transpose(0, 1)))
    return torch.cat(found)


def _save_start(folder: Path, params: Params, pooling: Any, projection: Any) -> None:
    """Write the adapter to begin with: pooling and projection as they are, LoRA that does nothing yet."""
    from stages.lib.models.lofi import card, weights

    encoder, decoder = _snapshot(folder / ENCODER), _snapshot(folder / DECODER)
    network = weights.load(encoder, decoder, params.model, trainable=True, seed=params.seed).network.to("cpu")
    network.pooling.load_state_dict(pooling)
    network.projection.load_state_dict(projection)
    (folder / START).mkdir()
    weights.save(network, folder / START)
    pixels = preprocess.preprocessing_hash(
        low_percentile=params.low_percentile, high_percentile=params.high_percentile, side_px=params.side_px
    )
    written = card.Card(
        preprocessing_hash=pixels,
        encoder=encoder.identity,
        decoder=decoder.identity,
        model=asdict(params.model),
        train={"steps": params.text_steps, "seed": params.seed},
        step=params.text_steps,
    )
    documents.write(folder / START / CARD, written)


def _snapshot(folder: Path) -> Snapshot:
    """The record that fetch will make of a model's folder, by the name that it is shipped under."""
    hashes = {path.name: files.sha256_file(path) for path in sorted(folder.iterdir())}
    return Snapshot(
        base=f"{FOLDER}/{folder.name}",
        revision="none",
        commit=None,
        folder=folder,
        sha256=files.sha256_json(hashes),
        files=hashes,
    )
