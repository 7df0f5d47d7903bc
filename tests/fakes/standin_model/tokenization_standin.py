"""The stand-in's tokenizer: a byte is a token; an image is its path between two marks, as in CheXagent-2."""

from transformers import PreTrainedTokenizer

IMAGE_TOKENS = 48


class StandInTokenizer(PreTrainedTokenizer):
    """Bytes and special tokens."""

    vocab_files_names = {"vocab_file": "vocab.txt"}  # noqa: RUF012
    model_input_names = ["input_ids", "attention_mask"]  # noqa: RUF012

    def __init__(self, vocab_file=None, **rest):
        super().__init__(**rest)

    @property
    def vocab_size(self):
        """Return the number of bytes."""
        return 256

    def get_vocab(self):
        """Return all tokens."""
        return {chr(byte): byte for byte in range(256)} | self.added_tokens_encoder

    def _tokenize(self, text):
        return list(text)

    def _convert_token_to_id(self, token):
        return ord(token)

    def _convert_id_to_token(self, index):
        return chr(index)

    def convert_tokens_to_string(self, tokens):
        """Return the text of some tokens."""
        return "".join(tokens)

    def save_vocabulary(self, folder, filename_prefix=None):
        """Write nothing: there is no vocabulary."""
        return ()

    def from_list_format(self, items):
        """Return the text of a question with an image, whose path is padded to a fixed number of tokens."""
        text = ""
        for item in items:
            if "image" in item:
                path = item["image"]
                if len(path) > IMAGE_TOKENS:
                    raise ValueError(f"the path {path!r} is longer than {IMAGE_TOKENS}")
                text += f"<|img|>{path}{'<|imgpad|>' * (IMAGE_TOKENS - len(path))}<|/img|>"
            else:
                text += item["text"]
        return text
