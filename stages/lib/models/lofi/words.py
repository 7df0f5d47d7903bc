"""Tokens of LoFi's two tokenizers: the text tower's, of one length, and the decoder's, in Gemma's turns."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stages.lib.core.errors import ModelError
from stages.lib.core.log import LOG
from stages.lib.models.lofi import wording

TURN, END_OF_TURN = "<start_of_turn>", "<end_of_turn>"


@dataclass(frozen=True)
class TowerWords:
    """The text tower's tokens.

    The tower reads the last of its positions, padded or not, so another padding is another embedding: texts are always
    padded on the right to its full length, without a mask, and lower-cased, as SigLIP2 was trained. All three are done
    here, whatever the tokenizer does by itself.

    Attributes:
        tokenizer: The tokenizer.
        length: Tokens that the tower reads.
    """

    tokenizer: Any
    length: int

    def ids(self, text: str) -> list[int]:
        """Tokens of a text, not padded, with those that the tokenizer puts around it."""
        return [int(token) for token in self.tokenizer(text.lower(), truncation=False, padding=False)["input_ids"]]

    def fit(self, sentences: Sequence[str]) -> wording.Fitted:
        """Sentences in their order as far as the tower has room for them."""
        return wording.fit(sentences, lambda text: len(self.ids(text)) <= self.length)

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Tokens as the tower reads them.

        Args:
            texts: n texts.

        Returns:
            Int array of shape (n, length).

        Raises:
            ModelError: If a text has more tokens than the tower reads; all such texts are named.
        """
        found = [self.ids(text) for text in texts]
        long = [
            f"{text[:60]!r} has {len(ids)} tokens"
            for text, ids in zip(texts, found, strict=True)
            if len(ids) > self.length
        ]
        if long:
            raise ModelError(
                f"the text tower reads {self.length} tokens, and {'; '.join(long[:5])}; leave sentences out"
            )
        rows = [[*ids, *[self.tokenizer.pad_token_id] * (self.length - len(ids))] for ids in found]
        return np.array(rows, dtype=np.int64).reshape(len(texts), self.length)


@dataclass(frozen=True)
class DecoderWords:
    """The decoder's tokens: a user's turn with the visual tokens and a prompt, then the model's turn.

    Attributes:
        tokenizer: The tokenizer.
        begin: Tokens before the visual ones.
        end_of_turn: The token that ends an answer.
        positions: Tokens that the decoder reads.
    """

    tokenizer: Any
    begin: tuple[int, ...]
    end_of_turn: int
    positions: int

    def asked(self, prompt: str) -> list[int]:
        """Tokens behind the visual ones, up to where the answer begins."""
        return self._encode(f"\n{prompt}{END_OF_TURN}\n{TURN}model\n")

    def answer(self, text: str) -> list[int]:
        """Tokens of an answer, to the one that ends it."""
        return [*self._encode(text), self.end_of_turn]

    def _encode(self, text: str) -> list[int]:
        return [int(token) for token in self.tokenizer.encode(text, add_special_tokens=False)]


def tower_words(folder: Path, length: int) -> TowerWords:
    """Words of the encoder in a folder.

    Args:
        folder: The encoder's files.
        length: Tokens that its text tower reads.

    Raises:
        ModelError: If there is no tokenizer, or none that can pad.
    """
    tokenizer = _tokenizer(folder)
    if tokenizer.pad_token_id is None:
        raise ModelError(f"{folder}: the tokenizer has no token to pad with, wanted one")
    words = TowerWords(tokenizer, length)
    room = length - len(words.ids(""))
    if room < 1:
        raise ModelError(f"{folder}: the text tower reads {length} tokens, which leaves no room for a word")
    does = {
        "keeps case": tokenizer("Left")["input_ids"] != tokenizer("left")["input_ids"],
        f"pads on the {tokenizer.padding_side}": tokenizer.padding_side != "right",
    }
    if odd := [words_ for words_, so in does.items() if so]:
        LOG.info("%s: the tokenizer %s; its texts are lower-cased and padded on the right", folder, " and ".join(odd))
    return words


def decoder_words(folder: Path, positions: int) -> DecoderWords:
    """Words of the decoder in a folder.

    Args:
        folder: The decoder's files.
        positions: Tokens that it reads.

    Raises:
        ModelError: If there is no tokenizer, or it does not know Gemma's turns.
    """
    tokenizer = _tokenizer(folder)
    odd = [mark for mark in (TURN, END_OF_TURN) if len(tokenizer.encode(mark, add_special_tokens=False)) != 1]
    if odd or tokenizer.bos_token_id is None or tokenizer.pad_token_id is None:
        lacking = [*odd, *(["<bos>"] if tokenizer.bos_token_id is None else [])]
        raise ModelError(f"{folder}: the tokenizer has no token {', '.join(lacking) or '<pad>'}, wanted one of Gemma 3")
    begin = tokenizer.encode(f"{TURN}user\n", add_special_tokens=False)
    [end] = tokenizer.encode(END_OF_TURN, add_special_tokens=False)
    return DecoderWords(tokenizer, (tokenizer.bos_token_id, *map(int, begin)), int(end), positions)


def _tokenizer(folder: Path) -> Any:
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"{folder}: found no tokenizer that can be loaded: {error}") from error
