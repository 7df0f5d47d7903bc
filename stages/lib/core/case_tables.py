"""Schemas of the findings benchmark: cases with several images and a text, answers about them, and their judgements.

An item is what is asked about: a case, `MPX1234`, or one image of it, `MPX1234/2`, for arms whose unit is the image.
"""

import pyarrow as pa

from stages.lib.core.tables import BOOL, FLOAT, INT, STRING, Column, Schema

TEXTS = pa.list_(STRING)
CASE_ID = Column("case_id", STRING, "identifies the case in every table of the benchmark")
NUMBER = Column("number", INT, "number of the image in its case, from 0, in the order of the data set")
REGIONS = ("head", "thorax", "abdomen", "spine", "urinary")
MODALITIES = ("CT", "MR")
STATUSES = ("ok", "truncated", "looping", "empty", "refused", "error")
RATINGS = ("poor", "partial", "good")  # from the worst

CASES = Schema(
    "cases",
    ("case_id",),
    (
        CASE_ID,
        Column("region", STRING, "region of the body; null if the data set has none, or another", True, REGIONS),
        Column("location", STRING, "part of it, as the data set has it; null if not given", True),
        Column("modality", STRING, "modalities of its images that take part", True, ("CT", "MR", "CT+MR")),
        Column("n_images", INT, "its images that take part"),
        Column("history", STRING, "what is told of the patient; null if nothing", True),
        Column("gold", STRING, "the findings that its author wrote; null if none", True),
        Column("gold_words", INT, "words of the gold text; 0 without one"),
        Column("diagnosis", STRING, "the case's diagnosis, which no prompt may hold; null if not given", True),
        Column("sex", STRING, "the patient's sex; null if not known", True, ("F", "M")),
        Column("age_years", FLOAT, "the patient's age, years; null if not known", True),
        Column(
            "gold_scope",
            STRING,
            "whether the gold text speaks of studies that are not in the set; null without a text",
            True,
            ("imaged_only", "other_studies"),
        ),
        Column("other_studies", TEXTS, "the words by which it does"),
        Column("gold_points_at_caption", BOOL, "whether it points at captions or figures"),
        Column("diagnosis_in_history", BOOL, "whether the history holds a long word of the diagnosis"),
        Column("diagnosis_in_gold", BOOL, "whether the gold text holds the diagnosis"),
        Column("status", STRING, "whether the case takes part", values=("ok", "rejected")),
        Column("problem", STRING, "why it was rejected, or what is odd about it; null if nothing", True),
        Column("notices", TEXTS, "kind of each thing that `problem` says"),
    ),
)
CASE_IMAGES = Schema(
    "case_images",
    ("case_id", "number"),
    (
        CASE_ID,
        NUMBER,
        Column("image_id", STRING, "name of the image in the data set"),
        Column(
            "path",
            STRING,
            "path of the file; relative to the working directory if the data folder was given so; null without a file",
            True,
        ),
        Column("modality", STRING, "modality by the case's list of images", values=MODALITIES),
        Column("described_as", STRING, "the image's own modality, as its description has it; null without one", True),
        Column(
            "shows",
            STRING,
            "what it is by its own description: a slice takes part, the others do not",
            values=("slice", "drawing", "photograph", "montage", "reconstruction", "other"),
        ),
        Column("plane", STRING, "plane of the slice, in small letters; null if not given", True),
        Column("caption", STRING, "what its author wrote of this image; null if nothing", True),
        Column("width_px", INT, "width, pixels; null if it could not be read", True),
        Column("height_px", INT, "height, pixels; null if it could not be read", True),
        Column("mode", STRING, "its pixels as the file stores them, such as RGB; null if it could not be read", True),
        Column("bytes", INT, "size of the file, bytes; null if there is none", True),
        Column("sha256", STRING, "SHA-256 of the file's bytes; null if there is no file", True),
        Column("pixel_sha256", STRING, "SHA-256 of the decoded grey values and their shape; null if not decoded", True),
        Column(
            "duplicate_group", STRING, "first of the images that are nearly the same as this one; null if none", True
        ),
        Column("status", STRING, "whether the image takes part", values=("ok", "rejected")),
        Column("problem", STRING, "why it was rejected, or what is odd about it; null if nothing", True),
    ),
)
SAMPLE = Schema(
    "sample",
    ("case_id",),
    (
        CASE_ID,
        Column(
            "role",
            STRING,
            "test: measured; example: few-shot; train: taught, and found by retrieval. No two share a case or an image",
            values=("test", "example", "train", "val"),
        ),
        Column("region", STRING, "region of its stratum", values=REGIONS),
        Column("modality", STRING, "modality of its stratum, the only one of which images are sent", values=MODALITIES),
        Column("numbers", pa.list_(INT), "its images of that modality that take part, in the order of the data set"),
        Column("history", STRING, "what is told of the patient; null if nothing", True),
        Column("gold", STRING, "the findings that answers are measured against"),
        Column("gold_scope", STRING, "as of the case", values=("imaged_only", "other_studies")),
        Column("flags", TEXTS, "what is odd about it: gold_points_at_caption, diagnosis_in_history, diagnosis_in_gold"),
    ),
)
RETRIEVED = Schema(
    "retrieved",
    ("case_id", "rank"),
    (
        CASE_ID,
        Column("rank", INT, "number of the neighbour, from 0, the most alike first"),
        Column("neighbour", STRING, "case of the role train that is like it"),
        Column("similarity", FLOAT, "cosine of their features, [-1, 1]"),
    ),
)
ARM = Column("arm", STRING, "row of findings.arms: a model and how it is asked")
ITEM = Column("item", STRING, "what was asked about: a case, or an image of it behind a stroke")
FINDINGS_TEXT = (
    Column("findings", STRING, "the part of the text that is measured; empty if there is none"),
    Column("findings_from", STRING, "how it was found", values=("whole", "header", "json", "none")),
)
ANSWERS = Schema(
    "answers",
    ("arm", "item", "sample"),
    (
        ARM,
        ITEM,
        CASE_ID,
        Column("sample", INT, "number of the answer to the same request, from 0; null for the consensus of them", True),
        Column("final", BOOL, "whether it is the arm's answer, which is judged and measured; one per item"),
        Column("text", STRING, "the answer, verbatim; of a consensus made of findings, written from them", True),
        Column("status", STRING, "what became of it", values=STATUSES),
        Column("problem", STRING, "why there is none, or what is odd about it; null if nothing", True),
        *FINDINGS_TEXT,
        Column("finish_reason", STRING, "why the model ended, as it said; null if it did not", True),
        Column(
            "prompt_sha256",
            STRING,
            "hash of the messages, with the hashes of the images in them; of several requests, of their hashes; null "
            "if none could be made",
            True,
        ),
        Column("images", TEXTS, "SHA-256 of the bytes of each image that was sent, in order"),
        Column(
            "request", STRING, "key of the request in the ledger; null without a model, or of several requests", True
        ),
        Column("model", STRING, "the model as the server named it; null without one", True),
        Column("fingerprint", STRING, "fingerprint of the system that answered; null if it gave none", True),
        Column("prompt_tokens", INT, "tokens in, as the server counted; null if it did not", True),
        Column("cached_tokens", INT, "tokens in that were cached, as the server counted; null if it did not", True),
        Column("completion_tokens", INT, "tokens out, as the server counted; null if it did not", True),
        Column("reasoning_tokens", INT, "tokens out that were not shown, as the server counted; null if not", True),
        Column("agreement", FLOAT, "mean finding F1 between the samples of the item; null with one sample", True),
    ),
)
JUDGEMENTS = Schema(
    "judgements",
    ("judge", "arm", "item", "variant", "repeat"),
    (
        Column("judge", STRING, "row of findings.judges"),
        Column("rubric", STRING, "its rubric, by name and version"),
        ARM,
        ITEM,
        CASE_ID,
        Column("variant", STRING, "what was done to the answer before it was judged: none, or an audit's change"),
        Column("repeat", INT, "number of the judgement of the same answer, from 0"),
        Column("rating", STRING, "its rating; null if there is none", True, RATINGS),
        Column(
            "primary_found",
            BOOL,
            "whether the primary finding of the gold text is in the answer; null if not said",
            True,
        ),
        Column("present", TEXTS, "findings of the gold text that the answer has"),
        Column("missed", TEXTS, "findings of the gold text that it has not"),
        Column("invented", TEXTS, "findings of the answer that the gold text has not"),
        Column("wrong_side", TEXTS, "findings that it has on another side"),
        Column("rationale", STRING, "the judge's reason; null if it gave none", True),
        Column(
            "status",
            STRING,
            "repaired: a response of the wrong form was asked for again; fallback: by the fallback judge",
            values=("ok", "repaired", "fallback", "invalid", "timeout", "error"),
        ),
        Column("problem", STRING, "why there is no rating, or why the judge gave none and its fallback did", True),
        Column("judged_by", STRING, "the model as the server named it; rules for the rules", True),
        Column("asked", INT, "how often it was asked until a response had the right form; 0 for rules"),
        Column("request", STRING, "key of the request in the ledger that gave the rating; null for rules", True),
        Column("response", STRING, "the response, verbatim; null for rules, or without one", True),
    ),
)
FINDINGS = Schema(
    "findings",
    ("arm", "item", "number"),
    (
        Column("arm", STRING, "row of findings.arms whose answer it is from; null for the gold text", True),
        ITEM,
        CASE_ID,
        Column("number", INT, "number of the finding in its text, from 0"),
        Column("entity", STRING, "what was found, as an id of the vocabulary"),
        Column("presence", STRING, "whether the text says it is there", values=("present", "absent", "uncertain")),
        Column("side", STRING, "side; null if none is said", True, ("left", "right", "both", "midline")),
        Column("place", STRING, "part of the body, as an id of the vocabulary; null if none is said", True),
        Column("start", INT, "first character of its words in the text"),
        Column("end", INT, "character behind the last one"),
        Column(
            "outcome",
            STRING,
            "what an answer's finding is; null of the gold text's own, and of one that is not present and not in it",
            True,
            ("right", "wrong_side", "wrong_presence", "invented"),
        ),
        Column("pair", INT, "number of the gold text's finding that it was matched with; null without one", True),
    ),
)
HUMAN = Schema(
    "human",
    ("item", "arm", "rater"),
    (
        ITEM,
        Column("arm", STRING, "row of findings.arms whose answer was rated"),
        Column("rater", STRING, "who rated it, by a name that the file gives"),
        Column("rating", STRING, "the rating", values=RATINGS),
    ),
)
