"""Schemas of the chapter zoo: frozen features of images, and their patch tokens.

An image is seen at several places (sub-token shifts), and has a row for each. Numbers are float16; a page's checksum is
verified when it is read, so that one turned bit is found.
"""

import pyarrow as pa

from stages.lib.core.tables import IMAGE_ID, INT, STRING, Column, Schema

HALVES = pa.list_(pa.float16())
PLACE = Column("place", INT, "number of the place that the image was moved to, from 0; 0 is unmoved")
PREPROCESSING = Column("preprocessing_hash", STRING, "hash of everything that decides the pixels")
STATISTICS = ("mean", "largest", "smallest", "deviation")  # of each feature over the patch tokens of an image

FEATURES = Schema(
    "features",
    ("image_id", "place"),
    (
        IMAGE_ID,
        PLACE,
        PREPROCESSING,
        Column("mean", HALVES, "mean of each feature over the patch tokens"),
        Column("largest", HALVES, "largest value of each feature over the patch tokens"),
        Column("smallest", HALVES, "smallest value of each feature over the patch tokens"),
        Column("deviation", HALVES, "standard deviation (divisor n) of each feature over the patch tokens"),
        Column("prefix", HALVES, "features of the prefix tokens (CLS, registers) one after another; empty without any"),
    ),
)
TOKENS = Schema(
    "tokens",
    ("image_id", "place"),
    (
        IMAGE_ID,
        PLACE,
        PREPROCESSING,
        Column("rows", INT, "rows of patch tokens"),
        Column("columns", INT, "columns of patch tokens"),
        Column("tokens", HALVES, "features of the patch tokens, row by row, (rows * columns * features,)"),
    ),
)
