"""Configuration of the stand-in for the first CheXagent: three parts, each of a class of transformers."""

from transformers import Blip2QFormerConfig, Blip2VisionConfig, MistralConfig, PretrainedConfig


class FirstConfig(PretrainedConfig):
    """A vision tower, a transformer of queries, and a language model."""

    model_type = "first_standin"

    def __init__(self, vision_config=None, qformer_config=None, text_config=None, num_query_tokens=4, **rest):
        self.vision_config = Blip2VisionConfig(**(vision_config or {}))
        self.qformer_config = Blip2QFormerConfig(**(qformer_config or {}))
        self.text_config = MistralConfig(**(text_config or {}))
        self.num_query_tokens = num_query_tokens
        super().__init__(**rest)
