"""LoFi from folders and to folders: the two base models, LoRA on them, and what is trained whole.

An adapter is a folder of two files beside its card: PEFT's LoRA of both towers and the decoder, and the weights of what
is trained whole (pooling, projection, and the heads of the towers if `train_head` says so).
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stages.lib.core import files
from stages.lib.core.errors import MismatchError, ModelError
from stages.lib.models import gemma3
from stages.lib.models.lofi import words
from stages.lib.models.lofi.params import ModelParams
from stages.lib.models.snapshot import Snapshot

if TYPE_CHECKING:
    from torch import Tensor

    from stages.lib.models.lofi.network import Network

LORA, CONFIG, WHOLE = "adapter_model.safetensors", "adapter_config.json", "whole.safetensors"
# By these names alone: a name such as "out_proj" is also that of a layer within torch's MultiheadAttention, which goes
# around the layer's own forward pass. LoRA on it is counted as trained, and never gets a gradient.
TOWERS = r"encoder\.(vision|text)_model\.encoder\.layers\.\d+\.self_attn\.(q|k|v|out)_proj"
DECODER = r"decoder\.model\.layers\.\d+\.self_attn\.(q|v)_proj"
PEFT = "base_model.model."  # what PEFT puts before the name of a weight
HEADS = ("encoder.vision_model.head.", "encoder.text_model.head.")
SCALE = ("encoder.logit_scale", "encoder.logit_bias")
BEHIND = ("pooling.", "projection.", "decoder.")  # parts that an encoder alone has not


@dataclass(frozen=True)
class Loaded:
    """A network with its words and pixels.

    Attributes:
        network: See `network.Network`.
        tower: Words of the text tower.
        decoder: Words of the decoder; None without one.
        greys: Value that each of 256 grey values becomes, float32 tensor of shape (3, 256).
    """

    network: "Network"
    tower: words.TowerWords
    decoder: words.DecoderWords | None
    greys: "Tensor"

    def pixels(self, images: "Tensor") -> "Tensor":
        """Normalized images as the tower takes them.

        Args:
            images: uint8 tensor of shape (n, side_px, side_px).

        Returns:
            Float32 tensor of shape (n, 3, side_px, side_px), on the network's device.

        Raises:
            MismatchError: If the images have another side.
        """
        wanted = (self.network.side_px,) * 2
        if tuple(images.shape[1:]) != wanted:
            raise MismatchError(
                f"found images of shape {tuple(images.shape[1:])}, wanted {wanted}, as the encoder takes; set "
                "lofi.normalize.side_px"
            )
        return self.greys[:, images.to(self.greys.device).long()].transpose(0, 1)

    def embed_images(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """Embeddings of length 1, float32 array of shape (n, d), of n images, uint8, (side_px, side_px) each."""
        import torch

        with torch.no_grad():
            pixels = self.pixels(torch.from_numpy(np.stack(images)))
            return np.asarray(self.network.image_embedding(self.network.patches(pixels)).cpu().numpy(), np.float32)

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Embeddings of length 1, float32 array of shape (n, d), of n texts.

        Raises:
            ModelError: If a text is too long for the tower; `tower.fit` puts sentences together that are not.
        """
        import torch

        with torch.no_grad():
            ids = torch.from_numpy(self.tower.encode(texts)).to(self.network.device)
            return np.asarray(self.network.text_embedding(ids).cpu().numpy(), np.float32)

    def prefixes(self, images: Sequence[np.ndarray]) -> "Tensor":
        """Visual tokens, shape (n, visual_tokens, h), of n images, uint8 arrays of shape (side_px, side_px).

        Raises:
            ModelError: If there is no decoder that they are for.
        """
        import torch

        if self.decoder is None:
            raise ModelError("found no decoder, wanted one: nothing can be written")

        with torch.no_grad():
            return self.network.prefix(self.network.patches(self.pixels(torch.from_numpy(np.stack(images)))))

    def generate(self, prefix: "Tensor", prompts: Sequence[str], max_new_tokens: int) -> list[gemma3.Generated]:
        """What the decoder writes about images, the likeliest word each time.

        Args:
            prefix: Visual tokens of n images, float tensor of shape (n, visual_tokens, h).
            prompts: n prompts.
            max_new_tokens: An answer is cut there.

        Raises:
            ModelError: If there is no decoder, or prompt and answer are longer than it reads.
        """
        import torch

        if self.decoder is None:
            raise ModelError("found no decoder, wanted one: nothing can be written")
        asked = [self.decoder.asked(prompt) for prompt in prompts]
        begin = torch.tensor(self.decoder.begin, device=self.network.device)
        most = len(begin) + prefix.shape[1] + max(map(len, asked)) + max_new_tokens
        if most > self.decoder.positions:
            raise ModelError(
                f"image, prompt and answer are {most} tokens, and the decoder reads {self.decoder.positions}"
            )
        tokenizer = self.decoder.tokenizer
        ends = [self.decoder.end_of_turn, *([] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id])]
        made = self.network.generate(
            begin, prefix, asked, ends=ends, padding=tokenizer.pad_token_id, most=max_new_tokens
        )  # (n, words)
        cut = (~torch.isin(made, torch.tensor(ends, device=made.device)).any(dim=1)).tolist()
        texts = tokenizer.batch_decode(made, skip_special_tokens=True)
        return [gemma3.Generated(text, was_cut) for text, was_cut in zip(texts, cut, strict=True)]


def load(
    encoder: Snapshot,
    decoder: Snapshot | None,
    params: ModelParams,
    adapter: Path | None = None,
    *,
    trainable: bool = False,
    seed: int = 0,
) -> Loaded:
    """The network in float32 or bfloat16, on the GPU if there is one.

    Args:
        encoder: Files of a SiglipModel.
        decoder: Files of a Gemma3ForCausalLM; None if nothing is to be written.
        params: See `ModelParams`.
        adapter: Folder of a trained adapter; `card.check` says whether it belongs here. Where it has no decoder, that
            part begins anew. None for LoRA that does nothing yet, and a pooling of random weights.
        trainable: Whether what is trained gets gradients. If not, the network is in eval mode.
        seed: Decides first values; the global random state of torch stays as it was.

    Raises:
        ModelError: If a folder does not hold such a model, or the adapter does not fit.
    """
    gemma3.quiet()
    import torch
    from transformers.utils.logging import disable_progress_bar

    from stages.lib.models.lofi.network import Network

    disable_progress_bar()
    siglip = pretrained(encoder.folder, "SiglipModel", params.dtype, params.attention)
    gemma = pretrained(decoder.folder, "Gemma3ForCausalLM", params.dtype, params.attention) if decoder else None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Network(siglip, gemma, params)
        add_lora(network)
    set_trainable(network, trainable=trainable)
    if adapter is not None:
        restore(network, adapter)
    here = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0"))) if torch.cuda.is_available() else "cpu"
    network.train(trainable).to(here)
    tower, reads = read_words(encoder, decoder)
    return Loaded(network=network, tower=tower, decoder=reads, greys=_greys(encoder.folder).to(here))


def read_words(encoder: Snapshot, decoder: Snapshot | None) -> tuple[words.TowerWords, words.DecoderWords | None]:
    """Words of both models, without their weights.

    Raises:
        ModelError: If a tokenizer is missing, or not as it has to be.
    """
    length = _config(encoder.folder, "SiglipModel").text_config.max_position_embeddings
    tower = words.tower_words(encoder.folder, length)
    if decoder is None:
        return tower, None
    reads = _config(decoder.folder, "Gemma3ForCausalLM").max_position_embeddings
    return tower, words.decoder_words(decoder.folder, reads)


def add_lora(network: "Network") -> None:
    """Put fresh LoRA on the attention of both towers, and of the decoder if there is one; freeze the rest.

    Source: Hu et al., LoRA: Low-Rank Adaptation of Large Language Models, 2021, equation 3, with alpha = rank.
    """
    from peft import inject_adapter_in_model

    inject_adapter_in_model(lora_config(network.params, decoder=network.decoder is not None), network)


def lora_config(params: ModelParams, *, decoder: bool) -> Any:
    """One configuration of PEFT with two ranks."""
    from peft import LoraConfig

    pattern = {DECODER: params.decoder_lora_r} if decoder else {}
    return LoraConfig(
        r=params.lora_r,
        lora_alpha=params.lora_r,
        rank_pattern=pattern,
        alpha_pattern=dict(pattern),
        lora_dropout=0.0,
        target_modules=f"{TOWERS}|{DECODER}" if decoder else TOWERS,
        bias="none",
    )


def is_whole(name: str, params: ModelParams) -> bool:
    """Whether a parameter is trained itself, and not by LoRA.

    Args:
        name: Of the network's parameter.
        params: How the network is trained.
    """
    whole = ["pooling.", "projection.", *(HEADS if params.train_head else ()), *(SCALE if params.train_scale else ())]
    return name.startswith(tuple(whole)) and ".lora_" not in name


def trained(network: "Network") -> dict[str, "Tensor"]:
    """Parameters that training changes, by name."""
    return {
        name: parameter
        for name, parameter in network.named_parameters()
        if ".lora_" in name or is_whole(name, network.params)
    }


def set_trainable(network: "Network", *, trainable: bool) -> None:
    """Make what is trained float32, and let it alone have gradients, if any has."""
    changed = trained(network)
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(trainable and name in changed)
        if name in changed:
            parameter.data = parameter.data.float()


def freeze_towers(network: "Network") -> None:
    """Let only pooling, projection and the decoder's LoRA be trained, so that an image's patches can be kept."""
    for name, parameter in network.named_parameters():
        if not name.startswith(BEHIND):
            parameter.requires_grad_(False)


def count(network: "Network") -> tuple[int, int]:
    """Numbers of parameters: those that get gradients, and all."""
    found = list(network.parameters())
    return sum(one.numel() for one in found if one.requires_grad), sum(one.numel() for one in found)


def save(network: "Network", folder: Path) -> None:
    """Write what is trained to a folder that is there: LoRA as PEFT does, and the rest in a file of its own."""
    from safetensors.torch import save_file

    found = {name: parameter.detach().cpu().contiguous() for name, parameter in trained(network).items()}
    lora = {peft_name(name): value for name, value in found.items() if ".lora_" in name}
    save_file(lora, folder / LORA, metadata={"format": "pt"})
    save_file({name: value for name, value in found.items() if ".lora_" not in name}, folder / WHOLE)
    config = lora_config(network.params, decoder=network.decoder is not None).to_dict()
    files.write_json(folder / CONFIG, json.loads(json.dumps(config, default=sorted)))


def restore(network: "Network", folder: Path) -> None:
    """Read back what `save` wrote, bit by bit; what belongs to a decoder is passed over where there is none.

    Raises:
        ModelError: If a weight is missing, superfluous or of another shape.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        stored = {**load_file(folder / LORA), **load_file(folder / WHOLE)}
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{folder}: the adapter cannot be read: {error}; train it again") from error
    wanted = {peft_name(name) if ".lora_" in name else name: value for name, value in trained(network).items()}
    behind = (*BEHIND, *(PEFT + part for part in BEHIND))
    if network.decoder is None:
        stored = {name: value for name, value in stored.items() if not name.startswith(behind)}
    elif not any(name.startswith(behind) for name in stored):
        wanted = {name: value for name, value in wanted.items() if not name.startswith(behind)}
    odd = [
        *(f"lacks {name}" for name in wanted if name not in stored),
        *(f"has {name}, which the network has not" for name in stored if name not in wanted),
        *(
            f"has {name} of shape {tuple(stored[name].shape)}, wanted {tuple(value.shape)}"
            for name, value in wanted.items()
            if name in stored and stored[name].shape != value.shape
        ),
    ]
    if odd:
        raise ModelError(
            f"{folder}: the adapter {'; '.join(odd[:3])} ({len(odd)} such); use its own base and lofi.model"
        )
    with torch.no_grad():
        for name, value in wanted.items():
            value.copy_(stored[name])


def merge(network: "Network") -> None:
    """Add LoRA to the weights that it stands on, and take it away: plain modules of transformers are left."""
    from peft.tuners.lora import LoraLayer

    for name, module in list(network.named_modules()):
        if isinstance(module, LoraLayer):
            module.merge()
            parent, _, last = name.rpartition(".")
            setattr(network.get_submodule(parent), last, module.get_base_layer())


def peft_name(name: str) -> str:
    """Name of a weight in the file that PEFT writes.

    >>> peft_name("q_proj.lora_A.default.weight")
    'base_model.model.q_proj.lora_A.weight'
    """
    return PEFT + name.replace(".default.", ".")


def _config(folder: Path, kind: str) -> Any:
    """Configuration of a model of one of the two classes.

    Raises:
        ModelError: If the folder does not hold one of that class.
    """
    import transformers

    try:
        config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"{folder}: cannot be read as a model: {error}") from error
    wanted = {"SiglipModel": "siglip", "Gemma3ForCausalLM": "gemma3_text"}[kind]
    if config.model_type == "siglip2":
        raise ModelError(
            f"{folder}: a NaFlex checkpoint of SigLIP 2, whose images have no fixed size, wanted one of a fixed size, "
            "such as google/siglip2-so400m-patch16-512"
        )
    if config.model_type != wanted:
        raise ModelError(f"{folder}: found a model of type {config.model_type!r}, wanted {wanted!r} ({kind})")
    return config


def pretrained(folder: Path, kind: str, dtype: str, attention: str) -> Any:
    """A model of one of the two classes.

    Args:
        folder: Its files.
        kind: "SiglipModel" or "Gemma3ForCausalLM".
        dtype: Type of its numbers.
        attention: How its attention is computed.

    Raises:
        ModelError: If the folder does not hold one of that class, whole.
    """
    import torch
    import transformers

    _config(folder, kind)
    try:
        model, told = getattr(transformers, kind).from_pretrained(
            folder,
            dtype=getattr(torch, dtype),
            attn_implementation=attention,
            local_files_only=True,
            output_loading_info=True,
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise ModelError(f"{folder}: cannot be loaded as {kind}: {error}") from error
    if lacking := sorted(map(str, told["missing_keys"])):
        raise ModelError(f"{folder}: found no weights for {', '.join(lacking[:3])}, wanted a whole {kind}")
    return model


def _greys(folder: Path) -> "Tensor":
    """Value that each of 256 grey values becomes, float32 tensor of shape (3, 256)."""
    return gemma3.grey_values(image_processor(folder))


def image_processor(folder: Path) -> Any:
    """The encoder's own image processor.

    Raises:
        ModelError: If there is none.
    """
    from transformers import AutoImageProcessor

    try:
        return AutoImageProcessor.from_pretrained(folder, backend="pil", local_files_only=True)
    except (OSError, ValueError) as error:
        raise ModelError(f"{folder}: found no image processor: {error}") from error
