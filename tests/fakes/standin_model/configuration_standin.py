"""The stand-in's configuration; like CheXagent-2's, it names a second repository for the vision encoder."""

from transformers import PretrainedConfig


class StandInConfig(PretrainedConfig):
    """What the stand-in is, and which fault it has."""

    model_type = "standin_chexagent"

    def __init__(self, visual=None, specials=None, fault=None, seconds=0.0, **rest):
        self.visual = visual or {}
        self.specials = specials or {}
        self.fault = fault
        self.seconds = seconds
        self.num_hidden_layers = 1
        self.hidden_size = 4
        self.num_attention_heads = 1
        self.vocab_size = 256 + len(self.specials)
        super().__init__(**rest)
