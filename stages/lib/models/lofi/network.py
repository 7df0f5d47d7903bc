"""LoFi's network. torch is imported here: import this module where it is needed.

An image's patches serve twice: SigLIP's own head makes the embedding of them, which is compared with that of texts, and
the pooling makes the visual tokens, which the decoder reads before a prompt.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from stages.lib.core.errors import ModelError
from stages.lib.models.lofi.params import ModelParams
from stages.lib.models.lofi.pooling import POOLINGS, Heads, Queries, averaged, projection

Checkpointing = Literal["none", "tower", "all"]  # which activations are computed twice instead of kept


class Network(nn.Module):
    """Two towers, and a decoder behind pooled patches if there is one.

    Args:
        encoder: SiglipModel, width d.
        decoder: Gemma3ForCausalLM, width h; None if nothing is to be written.
        params: How they are joined.

    Raises:
        ModelError: If the patches cannot be averaged.
    """

    pooling: Heads | Queries

    def __init__(self, encoder: Any, decoder: Any, params: ModelParams) -> None:
        super().__init__()
        self.encoder, self.decoder, self.params = encoder, decoder, params
        vision = encoder.config.vision_config
        grid = vision.image_size // vision.patch_size
        if params.average_patches and grid % 2:
            raise ModelError(f"average_patches wants an even number of patches a side, found {grid}; turn it off")
        if decoder is not None:
            self.pooling = POOLINGS[params.pooling](vision, params.visual_tokens)
            self.projection = projection(vision.hidden_size, decoder.config.hidden_size)

    @property
    def side_px(self) -> int:
        """Width and height of the images that it takes."""
        return int(self.encoder.config.vision_config.image_size)

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return next(self.parameters()).device

    @property
    def scale(self) -> Tensor:
        """Factor of the cosines in the sigmoid, shape ()."""
        return self.encoder.logit_scale.exp().squeeze()

    @property
    def bias(self) -> Tensor:
        """What is added to the scaled cosines, shape ()."""
        return self.encoder.logit_bias.squeeze()

    def precision(self) -> AbstractContextManager[Any]:
        """Context in which frozen and trained weights of different types compute together."""
        if self.params.dtype == "float32":
            return nullcontext()
        return torch.autocast(self.device.type, dtype=torch.bfloat16)

    def checkpoint_activations(self, of: Checkpointing) -> None:
        """Compute activations twice in training instead of keeping them.

        Args:
            of: The vision tower, or "all": both towers, pooling and decoder.
        """
        again = {"activation_checkpointing_kwargs": {"use_reentrant": False}}
        if of != "none":
            self.encoder.vision_model.activation_checkpointing_enable(**again)
        if of == "all":
            self.encoder.text_model.activation_checkpointing_enable(**again)
            if self.decoder is not None:
                self.pooling.twice = True
                self.decoder.activation_checkpointing_enable(**again)

    def patches(self, pixels: Tensor) -> Tensor:
        """Tokens of an image's patches, row by row.

        Args:
            pixels: Float tensor of shape (n, 3, side_px, side_px), as `weights.Loaded.pixels` gives it.

        Returns:
            Float tensor of shape (n, patches, d).
        """
        tower = self.encoder.vision_model
        with self.precision():
            hidden = tower.embeddings(pixels.to(tower.dtype))  # (n, patches, d)
            found = tower.post_layernorm(tower.encoder(inputs_embeds=hidden).last_hidden_state)
        # once, as each pooling head would keep a copy of its own of what autocast made float32
        return found.to(tower.dtype)

    def image_embedding(self, patches: Tensor) -> Tensor:
        """Embeddings of length 1, float32 of shape (n, d), of patches, of shape (n, patches, d)."""
        with self.precision():
            return normalize(self.encoder.vision_model.head(patches).float(), dim=-1)

    def text_embedding(self, ids: Tensor) -> Tensor:
        """Embeddings of length 1, float32 of shape (n, d).

        Args:
            ids: Int tensor of shape (n, length), padded on the right to the tower's length, as `TowerWords` does. No
                mask is handed over: the tower was trained without one.
        """
        with self.precision():
            return normalize(self.encoder.text_model(input_ids=ids).pooler_output.float(), dim=-1)

    def condensed(self, patches: Tensor) -> Tensor:
        """What the pooling sees of patches, shape (n, patches or patches / 4, d): all to keep of a frozen tower."""
        return averaged(patches) if self.params.average_patches else patches

    def prefix(self, patches: Tensor) -> Tensor:
        """Visual tokens in the decoder's width.

        Args:
            patches: Float tensor of shape (n, patches, d).

        Returns:
            Float tensor of shape (n, visual_tokens, h).
        """
        return self.prefix_of(self.condensed(patches))

    def prefix_of(self, condensed: Tensor) -> Tensor:
        """As `prefix`, of what `condensed` made."""
        with self.precision():
            return self.projection(self.pooling(condensed))

    def read(self, begin: Tensor, prefix: Tensor, ids: Tensor) -> Tensor:
        """What the decoder reads: words before the image, the image, words behind it.

        Args:
            begin: Int tensor of shape (b,).
            prefix: Float tensor of shape (n, visual_tokens, h).
            ids: Int tensor of shape (n, tokens).

        Returns:
            Float tensor of shape (n, b + visual_tokens + tokens, h). Gemma's embeddings of words are scaled by the root
            of h; the visual tokens are not.
        """
        embed = self.decoder.get_input_embeddings()
        first = embed(begin).expand(len(prefix), -1, -1)  # (n, b, h)
        return torch.cat([first, prefix.to(first.dtype), embed(ids)], dim=1)

    def logits(self, begin: Tensor, prefix: Tensor, ids: Tensor, wanted: Tensor) -> Tensor:
        """Logits of the words that follow, where they are wanted: those of all positions would fill the memory.

        Args:
            begin: Int tensor of shape (b,).
            prefix: Float tensor of shape (n, visual_tokens, h).
            ids: Words behind the image, int tensor of shape (n, tokens), padded on the right. A causal decoder does not
                see what stands behind, so no mask is needed.
            wanted: Bool tensor of shape (n, tokens).

        Returns:
            Float32 tensor of shape (number wanted, vocabulary), row by row.
        """
        with self.precision():
            hidden = self.decoder.model(
                inputs_embeds=self.read(begin, prefix, ids), use_cache=False
            ).last_hidden_state  # (n, b + visual_tokens + tokens, h)
            kept = hidden[:, -ids.shape[1] :][wanted]  # (number wanted, h)
            logits = self.decoder.lm_head(kept)
        cap = self.decoder.config.final_logit_softcapping
        return (torch.tanh(logits / cap) * cap if cap is not None else logits).float()

    def generate(
        self, begin: Tensor, prefix: Tensor, asked: list[list[int]], *, ends: list[int], padding: int, most: int
    ) -> Tensor:
        """The likeliest words, one after another.

        Args:
            begin: Int tensor of shape (b,).
            prefix: Float tensor of shape (n, visual_tokens, h).
            asked: n lists of words behind the image.
            ends: Words that end an answer.
            padding: Word that fills what is shorter.
            most: Words of an answer at most.

        Returns:
            Int tensor of shape (n, words), padded behind the word that ends an answer.
        """
        longest = max(map(len, asked))
        rows = []
        for visual, words in zip(prefix, asked, strict=True):
            one = self.read(begin, visual[None], torch.tensor([words], device=self.device))[0]  # (tokens, h)
            rows.append(nn.functional.pad(one, (0, 0, longest - len(words), 0)))
        whole = torch.stack(rows)  # (n, b + visual_tokens + longest, h), padded on the left
        mask = torch.ones(whole.shape[:2], dtype=torch.long, device=self.device)
        for row, words in enumerate(asked):
            mask[row, : longest - len(words)] = 0
        with self.precision(), torch.no_grad():
            return self.decoder.generate(
                inputs_embeds=whole,
                attention_mask=mask,
                max_new_tokens=most,
                do_sample=False,
                eos_token_id=ends,
                pad_token_id=padding,
            )
