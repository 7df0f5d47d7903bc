"""What `embed` made: whose vectors, of how many images and texts, and what there was no room for."""

from typing import ClassVar

from stages.lib.core import params


@params.section
class Embedded:
    """Record of one encoder's vectors.

    Attributes:
        encoder: Row of lofi.encoders.
        identity: What decides its vectors beside images and texts: weights, type of numbers, libraries, device.
        preprocessing_hash: Of the images.
        width: Numbers of a vector.
        images: Images embedded.
        reads: Whether it has a text side.
        texts: Parts of reports embedded.
        shortened: Parts of these that lost a sentence, as the encoder has no room for it.
        left_out: Parts that are not embedded, as not one sentence fits.
        sentences_left_out: Sentences that were left out, in all.
    """

    written_by: ClassVar[str] = "lofi.embed"
    keeps_defaults: ClassVar[bool] = True

    encoder: params.Text
    identity: params.Text
    preprocessing_hash: str
    width: params.NonNegativeInt
    images: params.NonNegativeInt
    reads: bool
    texts: params.NonNegativeInt
    shortened: params.NonNegativeInt
    left_out: params.NonNegativeInt
    sentences_left_out: params.NonNegativeInt
