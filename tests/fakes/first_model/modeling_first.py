"""The stand-in for the first CheXagent, of the classes that its own are variants of, with random weights.

What it sees of an image stands in front of the words; nothing in these stands for it.
"""

import torch
from transformers import AutoModelForCausalLM, Blip2QFormerModel, Blip2VisionModel, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutputWithPast

from .configuration_first import FirstConfig


class FirstForConditionalGeneration(PreTrainedModel):
    """Images and words in, logits of the next token out."""

    config_class = FirstConfig

    def __init__(self, config):
        super().__init__(config)
        queries = torch.zeros(1, config.num_query_tokens, config.qformer_config.hidden_size)
        self.vision_model = Blip2VisionModel(config.vision_config)
        self.query_tokens = torch.nn.Parameter(queries)
        self.qformer = Blip2QFormerModel(config.qformer_config)
        self.language_projection = torch.nn.Linear(config.qformer_config.hidden_size, config.text_config.hidden_size)
        self.language_model = AutoModelForCausalLM.from_config(config.text_config)
        self.post_init()

    def _init_weights(self, module):
        pass

    def get_input_embeddings(self):
        """Return those of the words."""
        return self.language_model.get_input_embeddings()

    def get_output_embeddings(self):
        """Return the layer that makes logits."""
        return self.language_model.get_output_embeddings()

    def forward(self, pixel_values, input_ids, attention_mask=None):
        """Return logits of each place, shape (rows, queries + tokens, words); pixels: (rows, images, 3, side, side)."""
        rows, images = pixel_values.shape[:2]
        if bool((pixel_values.sum((2, 3, 4)) == 0).any()):
            raise AssertionError("an image of zeros would be left out")
        seen = self.vision_model(pixel_values.flatten(0, 1)).last_hidden_state
        seen = seen.reshape(rows, images * seen.shape[1], -1)
        if self.config.fault == "blind":
            seen = torch.zeros_like(seen)
        asked = self.qformer(query_embeds=self.query_tokens.expand(rows, -1, -1), encoder_hidden_states=seen)
        visual = self.language_projection(asked.last_hidden_state)
        words = self.get_input_embeddings()(input_ids)
        mask = torch.cat([torch.ones_like(visual[..., 0], dtype=attention_mask.dtype), attention_mask], 1)
        out = self.language_model(inputs_embeds=torch.cat([visual, words], 1), attention_mask=mask)
        return CausalLMOutputWithPast(logits=out.logits)
