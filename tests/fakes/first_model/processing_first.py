"""The stand-in's processor: several images of one question make one row."""

from transformers import BatchFeature, ProcessorMixin


class FirstProcessor(ProcessorMixin):
    """Pixels of shape (1, images, 3, side, side), and tokens."""

    attributes = ["image_processor", "tokenizer"]  # noqa: RUF012
    image_processor_class = "BlipImageProcessor"
    tokenizer_class = "AutoTokenizer"

    def __init__(self, image_processor, tokenizer):
        super().__init__(image_processor, tokenizer)
        self.current_processor = self.image_processor

    def __call__(self, images, text, return_tensors=None):
        """Return both."""
        pixels = self.image_processor(images, return_tensors=return_tensors)["pixel_values"][None]
        words = self.tokenizer(text, return_tensors=return_tensors, return_token_type_ids=False)
        return BatchFeature({"pixel_values": pixels, **words})
