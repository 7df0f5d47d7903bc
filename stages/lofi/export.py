"""Export LoFi: the encoder with its adapter merged, which plain transformers loads, and the adapters alone.

in   adapter    folder of lofi.train
     train      its train.json
     encoder    record of the encoder's files, by fetch
     decoder    record of the decoder's files, by fetch
out  export     folder: encoder (SiglipModel, tokenizer, image processor, README.md), decoder, pooling.safetensors, and
                adapters: those of encoder and decoder as PEFT has them
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from stages.lib.core import cli, documents, files, params
from stages.lib.core.log import LOG
from stages.lib.learn.lofi_log import LofiLog
from stages.lib.models import adapters, snapshot
from stages.lib.models.lofi import card, plain, weights
from stages.lib.models.lofi.params import ModelParams
from stages.lib.models.snapshot import Snapshot

README = """\
---
library_name: transformers
pipeline_tag: zero-shot-image-classification
base_model: {base}
base_model_relation: finetune
tags: [chest-x-ray, image-text-retrieval, siglip, lofi]
---

# {base} with LoFi's adapter merged

Embeds chest X-rays and sentences of reports in one space. It was trained by noduleflow's chapter `lofi`, after
LoFi (arXiv 2603.19451): {tasks}; {images} training images, of which {boxed_images} had boxes; {steps} steps of
{samples_per_step} images; the checkpoint of step {selected_step} was selected by {selected_by} on validation images.

It is a research artefact and no medical device. Patients' images can be told from its vectors by likeness: treat the
vectors as you treat the images. What the licence of {base}, and the terms of the training data, forbid is
forbidden here too.

## Use

```python
import torch
from transformers import AutoImageProcessor, AutoModel, AutoTokenizer

folder = "encoder"
model = AutoModel.from_pretrained(folder).eval()
tokenizer, processor = AutoTokenizer.from_pretrained(folder), AutoImageProcessor.from_pretrained(folder)
texts = tokenizer([text.lower() for text in ["Left pleural effusion."]], padding="max_length", return_tensors="pt")
pixels = processor(images, return_tensors="pt")  # square RGB images, see below
with torch.no_grad():
    told = model(input_ids=texts["input_ids"], **pixels)  # no attention mask: the tower was trained without one
cosines = told.image_embeds @ told.text_embeds.T
```

* **Texts**: lower-cased, padded on the right to {length} tokens, never cut, without a mask. Another padding is another
  vector.
* **Images**: 8-bit squares of {side_px} px: clipped to two percentiles of their grey values, padded with zeros to a
  centred square and scaled, as `stages/lib/images/preprocess.py` of noduleflow does. Preprocessing hash
  `{preprocessing_hash}`.
* `../decoder` and `../pooling.safetensors` are what writes captions and boxes behind the encoder's patches; they need
  noduleflow's code. `../adapters/encoder` is this adapter alone, for `peft.PeftModel.from_pretrained` on {base}.

| | |
|---|---|
| base | {base}, revision {revision}, commit {commit} |
| SHA-256 of its files | {sha256} |
| parameters trained, of all | {trainable_parameters} of {total_parameters} |
| recall at 10 on validation images, mean of both ways | {recall} |
"""


@params.section
class Params:
    """How the export is written."""

    dtype: Literal["bfloat16", "float32"]  # of the weights; float32 embeds as in training to the last digits


def readme(trained: LofiLog, found: card.Card, length: int, side_px: int) -> str:
    """Model card of the encoder.

    Args:
        trained: Log of the training.
        found: Card of the adapter.
        length: Tokens of a text.
        side_px: Side of an image.
    """
    chosen = next(one for one in trained.checkpoints if one.step == trained.selected_step)
    tasks = found.train["tasks"]
    recall = chosen.recall_at_10
    return README.format(
        base=trained.encoder.base,
        revision=trained.encoder.revision,
        commit=trained.encoder.commit or "none",
        sha256=trained.encoder.sha256,
        tasks=", ".join(map(str, tasks)) if isinstance(tasks, tuple) else tasks,
        images=trained.images,
        boxed_images=trained.boxed_images,
        steps=trained.steps,
        samples_per_step=trained.samples_per_step,
        selected_step=trained.selected_step,
        selected_by=trained.selected_by,
        length=length,
        side_px=side_px,
        preprocessing_hash=trained.preprocessing_hash,
        trainable_parameters=f"{trained.trainable_parameters:,}",
        total_parameters=f"{trained.total_parameters:,}",
        recall="not measured" if recall is None else f"{recall:.4f} of {trained.validation_images} images",
    )


def export(
    folder: Path,
    adapter: Path,
    trained: LofiLog,
    encoder: Snapshot,
    decoder: Snapshot,
    model: ModelParams,
    given: Params,
) -> None:
    """Write everything to `folder`, whole or not at all.

    Args:
        folder: Where to; replaced if it is there.
        adapter: Folder of the adapter.
        trained: Log of its training.
        encoder: Its encoder's files.
        decoder: Its decoder's files; not used by an adapter that was taught nothing to write.
        model: How they are joined.
        given: See `Params`.

    Raises:
        MismatchError: If the adapter does not belong to these bases.
    """
    behind = decoder if trained.decoder else None
    identity = behind.identity if behind else None
    found = card.check(adapter, trained.preprocessing_hash, encoder.identity, identity, model)
    loaded = weights.load(encoder, behind, replace(model, dtype="float32"), adapter)
    processor = weights.image_processor(encoder.folder)
    with files.replacing_folder(folder) as beside:
        (beside / "adapters").mkdir()
        plain.write_adapters(loaded.network, beside / "adapters")
        documents.write(beside / "adapters" / adapters.CARD, found)
        plain.write_merged(loaded, beside, given.dtype)
        processor.save_pretrained(beside / "encoder")
        text = readme(trained, found, loaded.tower.length, loaded.network.side_px)
        files.write_bytes(beside / "encoder" / "README.md", text.encode())


def main(argv: Sequence[str] | None = None) -> None:
    """Read adapter and bases, write the folder."""
    args = cli.parse(
        __doc__,
        argv,
        params={"lofi.export": Params, "lofi.model": ModelParams},
        reads=["adapter", "train", "encoder", "decoder"],
        writes=["export"],
    )
    trained = documents.read(args.train, LofiLog)
    encoder, decoder = snapshot.read(args.encoder), snapshot.read(args.decoder)
    out = Path(args.export)
    export(out, Path(args.adapter), trained, encoder, decoder, args.params.model, args.params.export)
    LOG.info(
        "export: AutoModel.from_pretrained(%r) loads the encoder; its model card is README.md there",
        str(out / "encoder"),
    )


if __name__ == "__main__":
    cli.run(main)
