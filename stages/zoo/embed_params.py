"""Parameters of how images are embedded, and read by kinds that see them."""

from stages.lib.core import params


@params.section
class EmbedParams:
    """How images are embedded, and read by kinds that see them."""

    batch_size: params.Count  # images in one forward pass of kinds that read pixels; to be embedded, each passes alone
    readers: params.NonNegativeInt  # threads that read images ahead; 0 reads them between the passes
    negative_images: params.NonNegativeInt  # of the train split, whose tokens are kept for localizers
    seed: params.Seed  # of these, and of fits
