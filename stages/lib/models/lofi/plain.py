"""LoFi's parts as folders that transformers and PEFT load without code of ours.

| folder | loaded by |
|---|---|
| encoder | `AutoModel.from_pretrained`: a SiglipModel with LoRA merged and its trained heads |
| decoder | `AutoModelForCausalLM.from_pretrained`: Gemma 3 with LoRA merged |
| pooling.safetensors | what stands between them, by the names of `network.Network` |
| adapters/encoder, adapters/decoder | `PeftModel.from_pretrained`, on the bases |
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.lib.core import files
from stages.lib.models.lofi import weights
from stages.lib.models.lofi.params import ModelParams
from stages.lib.models.lofi.weights import Loaded

if TYPE_CHECKING:
    from torch import Tensor

    from stages.lib.models.lofi.network import Network

POOLING = "pooling.safetensors"
BETWEEN = ("pooling.", "projection.")


def write_adapters(network: "Network", folder: Path) -> None:
    """Write each base's own adapter to a folder of its name, and what stands between them beside it.

    Args:
        network: With LoRA that is not merged.
        folder: Where to; it is there.
    """
    for name in ("encoder", "decoder"):
        if getattr(network, name) is not None:
            (folder / name).mkdir()
            _adapter(network, f"{name}.", folder / name)
    _between(network, folder)


def write_merged(loaded: Loaded, folder: Path, dtype: str) -> None:
    """Merge LoRA into the bases, and write each to a folder of its name, with its tokenizer and image processor.

    Args:
        loaded: The network; its LoRA is gone afterwards.
        folder: Where to; it is there.
        dtype: Of the weights in the files.
    """
    import torch

    network = loaded.network
    weights.merge(network)
    network.to(getattr(torch, dtype))
    network.encoder.save_pretrained(folder / "encoder")
    tokenizer = loaded.tower.tokenizer
    tokenizer.padding_side, tokenizer.model_max_length = "right", loaded.tower.length
    tokenizer.save_pretrained(folder / "encoder")
    if network.decoder is not None and loaded.decoder is not None:
        network.decoder.save_pretrained(folder / "decoder")
        loaded.decoder.tokenizer.save_pretrained(folder / "decoder")
    _between(network, folder)


def _adapter(network: "Network", part: str, folder: Path) -> None:
    """Adapter of one base, under the names that it has there."""
    from safetensors.torch import save_file

    found: dict[str, Tensor] = {}
    for name, value in weights.trained(network).items():
        if name.startswith(part) and name not in weights.SCALE:  # PEFT has no place for them; no embedding changes
            found[weights.peft_name(name.removeprefix(part))] = value.detach().cpu().contiguous()
    save_file(found, folder / weights.LORA, metadata={"format": "pt"})
    files.write_json(folder / weights.CONFIG, json.loads(json.dumps(_config(network.params, part), default=sorted)))


def _config(params: ModelParams, part: str) -> dict[str, Any]:
    """PEFT's configuration of one base's adapter."""
    from peft import LoraConfig

    towers = part == "encoder."
    rank = params.lora_r if towers else params.decoder_lora_r
    heads = [name.removeprefix(part).removesuffix(".") for name in weights.HEADS] if params.train_head else []
    config: dict[str, Any] = LoraConfig(
        r=rank,
        lora_alpha=rank,
        lora_dropout=0.0,
        target_modules=(weights.TOWERS if towers else weights.DECODER).removeprefix(part.replace(".", r"\.")),
        modules_to_save=heads if towers and heads else None,
        bias="none",
    ).to_dict()
    return config


def _between(network: "Network", folder: Path) -> None:
    from safetensors.torch import save_file

    found = {
        name: value.detach().cpu().contiguous()
        for name, value in network.named_parameters()
        if name.startswith(BETWEEN)
    }
    if found:
        save_file(found, folder / POOLING)
