"""Schemas of the chapter lofi: sentences of reports, boxes that they speak of, embeddings, ranks, grounded sentences.

A pair is an image and a sentence about it, by image and number of the sentence. Edges of boxes are those of the pixels'
grid: 0 is the left (top) border of the original image, its width (height) the right (bottom) one. That is half a pixel
beside the convention of points, where 0 is the centre of the first pixel.
"""

import pyarrow as pa

from stages.lib.core.tables import BOOL, FLOAT, IMAGE_ID, INT, PATIENT_ID, SPLIT_NAME, STRING, Column, Schema

TEXTS = pa.list_(STRING)
BOX_LIST = pa.list_(pa.list_(FLOAT))  # left, top, right, bottom of each
VECTOR = pa.list_(pa.float32())
READERS = ("first", "second")
SEEN = ("own", "shuffled", "grey")
NUMBER = Column("number", INT, "number of the sentence in its image's report, in its order; from 0, or as the data do")
PART = Column("part", INT, "number of the part of the report, from 0")
STUDY_ID = Column("study_id", STRING, "study of the image; null if not known", nullable=True)

SENTENCES = Schema(
    "sentences",
    ("image_id", "number"),
    (
        IMAGE_ID,
        NUMBER,
        Column("text", STRING, "the sentence, as the data have it"),
        Column("abnormal", BOOL, "whether it tells of something abnormal; null if not known", nullable=True),
        Column("labels", TEXTS, "groups of findings that it is about, as the data have them"),
        Column("in_report", BOOL, "whether it stands in the report; false if the data bring it for its boxes alone"),
    ),
)
GIVEN_SPLIT = Schema("given_split", ("image_id",), (IMAGE_ID, SPLIT_NAME))
BOXES = Schema(
    "boxes",
    ("image_id", "number", "reader", "box"),
    (
        IMAGE_ID,
        NUMBER,
        Column("reader", STRING, "who drew it", values=READERS),
        Column("box", INT, "number of the box of this reader for this sentence, from 0"),
        Column("x0", FLOAT, "left edge, pixels of the original, 0 at its left border"),
        Column("y0", FLOAT, "top edge, pixels of the original, 0 at its top border"),
        Column("x1", FLOAT, "right edge, pixels of the original"),
        Column("y1", FLOAT, "bottom edge, pixels of the original"),
    ),
)
PAIRS = Schema(
    "pairs",
    ("image_id", "number"),
    (
        IMAGE_ID,
        NUMBER,
        PATIENT_ID,
        STUDY_ID,
        SPLIT_NAME,
        Column("text", STRING, "the sentence, its blanks made one"),
        Column("abnormal", BOOL, "whether it tells of something abnormal; null if not known", nullable=True),
        Column("labels", TEXTS, "groups of findings that it is about, as the data have them"),
        Column(
            "part",
            INT,
            "number of the part of the report that it stands in, from 0; parts are what is retrieved; null if "
            "the data bring the sentence for its boxes alone",
            nullable=True,
        ),
        Column("boxes", BOX_LIST, "fused boxes of the first reader, pixels of the original, by their left edge"),
        Column("second", BOX_LIST, "boxes of the second reader, likewise"),
    ),
)
IMAGE_VECTORS = Schema(
    "image_vectors",
    ("image_id",),
    (IMAGE_ID, PATIENT_ID, SPLIT_NAME, Column("vector", VECTOR, "embedding of the image, of length 1")),
)
TEXT_VECTORS = Schema(
    "text_vectors",
    ("image_id", "part"),
    (
        IMAGE_ID,
        PART,
        PATIENT_ID,
        SPLIT_NAME,
        Column("text", STRING, "what was embedded: sentences of one part, put together"),
        Column("vector", VECTOR, "embedding of the text, of length 1"),
    ),
)
RANKS = Schema(
    "ranks",
    ("direction", "image_id", "part"),
    (
        Column("direction", STRING, "what looks for what", values=("image_to_text", "text_to_image")),
        IMAGE_ID,
        Column("part", INT, "part of the report that looks; null where the image does", nullable=True),
        PATIENT_ID,
        STUDY_ID,
        Column("rank", INT, "rank of the first right one, from 1; of what is tied with it, the last (pessimistic)"),
        Column("rank_lenient", INT, "the same if an equal text, or an image of the same study, is right too"),
        Column("tied", INT, "wrong ones as similar as the first right one"),
        Column("n_right", INT, "right ones in the pool"),
        Column("n_right_lenient", INT, "right ones in the pool, as rank_lenient counts them"),
        Column("n_pool", INT, "size of the pool"),
        Column("found", TEXTS, "the first ones of the pool: an image, or an image and a part behind a stroke"),
        Column("similarities", pa.list_(FLOAT), "their cosines, [-1, 1]"),
    ),
)
NEIGHBOURS = Schema(
    "neighbours",
    ("image_id", "rank"),
    (
        IMAGE_ID,
        Column("rank", INT, "number of the neighbour, from 0, the most alike first"),
        Column("neighbour", STRING, "image that may be found and is like it, never of the same patient"),
        Column("similarity", FLOAT, "cosine of their embeddings, [-1, 1]"),
    ),
)
ALIKE = Schema(
    "alike",
    ("image_id", "rank"),
    (
        IMAGE_ID,
        Column("rank", INT, "number of the neighbour, from 0, the nearest first"),
        Column("neighbour", STRING, "training image that is like it, never of the same patient"),
        Column("distance", FLOAT, "1 less the cosine of their embeddings, [0, 2]; below the limit of the record"),
    ),
)
GROUNDED = Schema(
    "grounded",
    ("grounder", "seen", "image_id", "number"),
    (
        Column("grounder", STRING, "row of lofi.grounders"),
        Column(
            "seen",
            STRING,
            "what was shown: the image of the sentence, that of another patient, or a grey one",
            values=SEEN,
        ),
        IMAGE_ID,
        NUMBER,
        Column("response", STRING, "the answer, verbatim; null of a grounder that writes none", nullable=True),
        Column("status", STRING, "what was read of it; a malformed one is a miss", values=("ok", "empty", "malformed")),
        Column("problem", STRING, "why it is malformed; null if it is not", nullable=True),
        Column("boxes", BOX_LIST, "predicted boxes, pixels of the original (of the sentence's image)"),
        Column("confidences", pa.list_(FLOAT), "confidence of each; empty of a grounder that has none"),
        Column("shown", TEXTS, "examples in the prompt, in order: an image and a number behind a stroke"),
    ),
)
