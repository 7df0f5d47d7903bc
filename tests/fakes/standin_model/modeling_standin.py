"""The stand-in: it opens the image whose path is in its prompt, and answers with a box around what is brightest.

A question that begins with "Is" it answers with Yes or No: the brighter the brightest patch is above the others, the
surer it is of Yes, and of No if the question speaks of an empty image.

It sees the image through its vision encoder's patch embedding, which it loads from the second repository. Its words are
not learnt but spelt out: the score of the next token is that of the next character of the answer.
"""

import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from transformers import PreTrainedModel, SiglipVisionModel
from transformers.modeling_outputs import CausalLMOutputWithPast

from .configuration_standin import StandInConfig


class StandInForCausalLM(PreTrainedModel):
    """A language model in form, a finder of bright discs in deed."""

    config_class = StandInConfig

    def __init__(self, config):
        super().__init__(config)
        self.visual = SiglipVisionModel.from_pretrained(config.visual["vision_model_name_or_path"])
        self.certainty = torch.nn.Parameter(torch.tensor(10.0))
        self.post_init()

    def _init_weights(self, module):
        pass

    def prepare_inputs_for_generation(self, input_ids, attention_mask=None, **rest):
        """Return all tokens: nothing is cached."""
        if attention_mask is None or bool((attention_mask.sum(1) == 0).any()):
            raise ValueError("no attention mask")
        return {"input_ids": input_ids, "attention_mask": attention_mask}

    def forward(self, input_ids, attention_mask=None, **rest):
        """Return the scores of the next token, shape (rows, 1, words)."""
        fault = self.config.fault
        if isinstance(fault, dict) and len(input_ids) > fault.get("memory_for", 1000):
            raise RuntimeError("CUDA out of memory. Tried to allocate a great deal")
        logits = torch.zeros(len(input_ids), 1, self.config.vocab_size, device=input_ids.device)
        for number, row in enumerate(input_ids.tolist()):
            image = self.image(row)
            spoken = len(row) - self.begin(row)
            if not spoken and not number:
                time.sleep(self.config.seconds)
            if (sure := self.sure(row, image)) is not None and not spoken:
                sure += 0.1 if fault == "batches" and len(input_ids) > 1 else 0.0
                for word, value in (("Yes", sure), ("No", 1 - sure)):
                    logits[number, 0, ord(word[0])] = float(self.certainty) * value
                continue
            answer = self.answer(image, shift=3 if fault == "batches" and len(input_ids) > 1 else 0)
            if fault != "blind":
                logits[number, 0, 0] = float(image.mean())
            token = answer[spoken] if spoken < len(answer) else self.config.eos_token_id
            logits[number, 0, token] = float(self.certainty)
        return CausalLMOutputWithPast(logits=logits)

    def image(self, row):
        """Return the brightness of each patch of the image named in a row of tokens, shape (side, side)."""
        specials = self.config.specials
        first, last = row.index(specials["<|img|>"]) + 1, row.index(specials["<|/img|>"])
        path = "".join(chr(token) for token in row[first:last] if token < 256)
        side = self.visual.config.image_size
        array = np.asarray(Image.open(Path(path)).convert("RGB").resize((side, side), Image.BOX), np.float32) / 255
        if self.config.fault == "corners" and array[0, 0, 0] == 1:
            raise ValueError("a white corner")
        with torch.no_grad():
            pixels = torch.from_numpy(array).permute(2, 0, 1)[None].to(self.certainty)
            seen = self.visual.vision_model.embeddings(pixels)
        patches = side // self.visual.config.patch_size
        return seen[0, :, 0].reshape(patches, patches).float().cpu().numpy()

    def sure(self, row, image):
        """Return how sure it is of Yes, about 0 to 1; None of a question that wants no Yes or No."""
        last = self.config.specials["<|/img|>"]
        question = "".join(chr(token) for token in row[row.index(last) + 1 :] if token < 256)
        if not question.startswith("Is "):
            return None
        if self.config.fault == "blind":
            return 0.3
        contrast = float(image.max() - np.median(image))
        return 1 - contrast if "empty" in question else contrast

    def begin(self, row):
        """Return where the answer begins in a row of tokens."""
        start = self.config.specials["<|im_start|>"]
        return len(row) - row[::-1].index(start) + len("assistant\n")

    def answer(self, image, shift):
        """Return the tokens of the answer about an image."""
        if self.config.fault == "denies":
            return [ord(letter) for letter in "none"]
        if self.config.fault == "blind":
            return self.tokens(30, 40, 36, 47)
        if np.ptp(image) < 0.2:
            return [ord(letter) for letter in "none"]
        rows, columns = np.nonzero(image > (image.max() + np.median(image)) / 2)
        unit = 100 / len(image)
        left, right = columns.min() * unit, (columns.max() + 1) * unit
        top, bottom = rows.min() * unit, (rows.max() + 1) * unit
        found = self.tokens(left + shift, top, right + shift, bottom)
        if self.config.fault == "endless":
            return found * 20
        return found

    def tokens(self, left, top, right, bottom):
        """Return the tokens of a box."""
        specials = self.config.specials
        points = f"({round(left)},{round(top)}),({round(right)},{round(bottom)})"
        return [
            specials["<|ref|>"],
            *map(ord, "nodule/mass"),
            specials["<|/ref|>"],
            specials["<|box|>"],
            *map(ord, points),
            specials["<|/box|>"],
        ]
