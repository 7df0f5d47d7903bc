"""What is chosen of LoFi's model."""

from typing import Literal

from stages.lib.core import params


@params.section
class ModelParams:
    """The two base models, and what is put between and onto them."""

    encoder: params.Text  # folder, or id on huggingface.co, of a SiglipModel of one resolution
    encoder_revision: params.Text  # commit, tag or branch on the hub; none for a folder
    decoder: params.Text  # folder, or id on huggingface.co, of a Gemma3ForCausalLM
    decoder_revision: params.Text
    dtype: Literal["bfloat16", "float32"]  # of frozen weights, and of what is computed; what is trained is float32
    attention: Literal["sdpa", "eager"]
    pooling: Literal["heads", "queries"]  # a pooling head for each visual token, or one attention with a query for each
    visual_tokens: params.Count  # that the decoder reads of an image
    average_patches: bool  # pool over means of 2 x 2 patches; the image's embedding always sees all patches
    lora_r: params.Count  # in both towers; alpha is the same, so the update is not scaled
    decoder_lora_r: params.Count
    train_head: bool  # train the heads of both towers whole, which make the embeddings
    train_scale: bool  # train scale and bias of the sigmoid; if not, they stay the checkpoint's


SHAPE = ("pooling", "visual_tokens", "average_patches", "lora_r", "decoder_lora_r", "train_head", "train_scale")
