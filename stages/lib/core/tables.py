"""Schemas of the Parquet tables: a name, a key, and a sentence with unit for every column.

Null means "not known" or "does not apply", never 0 or -1. Ids are strings. Rows are sorted by key, so equal content is
equal bytes. Pages carry checksums, and reading verifies them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from stages.lib.core import files
from stages.lib.core.errors import TableError


@dataclass(frozen=True)
class Column:
    """One column: its type, what it means (with unit), and whether it may be null."""

    name: str
    type: pa.DataType
    meaning: str
    nullable: bool = False
    values: tuple[str, ...] = ()


@dataclass(frozen=True)
class Schema:
    """A kind of table: its name, the columns that identify a row, and all columns."""

    name: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]

    @property
    def arrow(self) -> pa.Schema:
        """The schema as Arrow knows it, with each column's meaning in the field's metadata."""
        fields = [pa.field(c.name, c.type, c.nullable, {"meaning": c.meaning}) for c in self.columns]
        return pa.schema(fields, {"table": self.name, "key": ",".join(self.key)})

    @property
    def names(self) -> list[str]:
        """The column names, in order."""
        return [c.name for c in self.columns]


STRING, INT, FLOAT, BOOL = pa.string(), pa.int64(), pa.float64(), pa.bool_()
IMAGE_ID = Column("image_id", STRING, "identifies the image in every table of the study")
PATIENT_ID = Column("patient_id", STRING, "patient, as far as the data tell")
LABEL = Column("label", INT, "1 nodule, 0 no finding, null not labelled", nullable=True)
SPLIT_NAME = Column("split", STRING, "split of the study", values=("train", "val", "test"))

MANIFEST = Schema(
    "manifest",
    ("image_id",),
    (
        IMAGE_ID,
        Column("file_name", STRING, "name of the file, as in the CSV"),
        Column("path", STRING, "path of the file; relative to the working directory if the data folder was given so"),
        Column("source", STRING, "where the image comes from", values=("nih", "lidc", "other")),
        PATIENT_ID,
        Column(
            "patient_from",
            STRING,
            "who says so: table, pattern (data.ingest.patient_pattern), name (of the file, as in ChestX-ray14, JSRT), "
            "file (PatientID), study (StudyInstanceUID); null if the patient is not known, and patient_id is the image",
            nullable=True,
            values=("table", "pattern", "name", "file", "study"),
        ),
        Column(
            "study_id",
            STRING,
            "study: pseudonym of StudyInstanceUID, or as a table has it; null if not known",
            True,
        ),
        LABEL,
        Column("label_from", STRING, "table that says so, or leaves it open; null without one", nullable=True),
        Column("view", STRING, "projection; null if not known", nullable=True, values=("PA", "AP", "lateral")),
        Column("sex", STRING, "the patient's sex; null if not known", nullable=True, values=("F", "M", "other")),
        Column("age_years", FLOAT, "the patient's age at the image, years; null if not known", nullable=True),
        Column("width_px", INT, "width of the original, pixels; null if it could not be read", nullable=True),
        Column("height_px", INT, "height of the original, pixels; null if it could not be read", nullable=True),
        Column("bit_depth", INT, "bits per grey value as stored; null if it could not be read", nullable=True),
        Column("spacing_mm", FLOAT, "millimetres per pixel of the original; null if not known, or not square", True),
        Column("spacing_from", STRING, "table, or the field of the file that says so; null if not known", True),
        Column("sha256", STRING, "SHA-256 of the file's bytes; null if there is no file", nullable=True),
        Column("pixel_sha256", STRING, "SHA-256 of the decoded grey values and their shape; null if not decoded", True),
        Column(
            "duplicate_group",
            STRING,
            "first of the images that are nearly the same as this one (data.ingest.same_correlation); null without any",
            nullable=True,
        ),
        Column("status", STRING, "whether the image takes part", values=("ok", "rejected")),
        Column("problem", STRING, "why it was rejected, or what is odd about it; null if nothing", nullable=True),
        Column("notices", pa.list_(pa.string()), "kind of each thing that `problem` says; null if nothing", True),
    ),
)
FILES = Schema(
    "files",
    ("file_name",),
    (
        Column("file_name", STRING, "path of a file that is no image, relative to the data folder"),
        Column(
            "role",
            STRING,
            "what it was taken for; index: DICOMDIR; litter: hidden files and what systems leave behind",
            values=("table", "index", "archive", "litter", "other"),
        ),
        Column("reason", STRING, "what a reader must know of it; null if nothing", nullable=True),
    ),
)
DUPLICATES = Schema(
    "duplicates",
    ("image_id", "other"),
    (
        IMAGE_ID,
        Column("other", STRING, "an image that it is much alike"),
        Column("correlation", FLOAT, "of their thumbnails without what all images have in common, [-1, 1]"),
        Column("hash_distance", INT, "differing bits of their perceptual hashes, of 128"),
        Column("grouped", pa.bool_(), "whether it is at least data.ingest.same_correlation: one group, never split"),
    ),
)
POINTS = Schema(
    "points",
    ("image_id", "point"),
    (
        IMAGE_ID,
        Column("point", INT, "number of the point on its image, from 0, in the order of the CSV"),
        Column("x", FLOAT, "column of the nodule's centre, pixels of the original, 0 at the centre of the first pixel"),
        Column("y", FLOAT, "row of the nodule's centre, pixels of the original, 0 at the centre of the first pixel"),
        Column("diameter_mm", FLOAT, "diameter of the nodule, millimetres on the image; null if not known", True),
        Column("box_width_px", FLOAT, "width of the box that marked it, pixels of the original; null without", True),
        Column("box_height_px", FLOAT, "height of the box that marked it, pixels of the original; null without", True),
        Column(
            "contrast", FLOAT, "contrast of the nodule, in the unit of the data's own table; null if not known", True
        ),
    ),
)
NORMALIZED = Schema(
    "normalized",
    ("image_id",),
    (
        IMAGE_ID,
        Column("png", STRING, "path of the normalized image, relative to the results folder"),
        Column("low", FLOAT, "grey value of the original that became 0"),
        Column("high", FLOAT, "grey value of the original that became 255"),
        Column("scale", FLOAT, "normalized pixels per original pixel"),
        Column("pad_x_px", INT, "columns added on the left to make it square, original pixels"),
        Column("pad_y_px", INT, "rows added at the top to make it square, original pixels"),
        Column("side_px", INT, "width and height of the normalized image, pixels"),
        Column("preprocessing_hash", STRING, "hash of everything that decides the pixels"),
        Column(
            "histogram",
            pa.list_(pa.int32()),
            "pixels of the normalized image in each of 64 bins of 4 grey values; null if not counted",
            nullable=True,
        ),
    ),
)
SPLIT = Schema("split", ("image_id",), (IMAGE_ID, PATIENT_ID, LABEL, SPLIT_NAME))
INFER = Schema(
    "infer",
    ("image_id",),
    (
        IMAGE_ID,
        Column("split", STRING, "split of the study; null outside of a study", True, ("train", "val", "test")),
        LABEL,
        Column("logit_negative", FLOAT, "logit of the negative answer's token, mean of its places; null without", True),
        Column("logit_positive", FLOAT, "logit of the positive answer's token, mean of its places; null without", True),
        Column(
            "score", FLOAT, "probability of the positive answer, of the two, or highest confidence of a point, [0, 1]"
        ),
        Column("score_calibrated", FLOAT, "probability of a nodule, as calibrated, [0, 1]; null if not fitted", True),
        Column("answer_mass", FLOAT, "probability of the two answers together, mean of its places; null without", True),
    ),
)
AUDIT = Schema(
    "audit",
    ("image_id", "audit", "variant", "severity"),
    (
        IMAGE_ID,
        Column("audit", STRING, "what is audited: original, nodule, lung_field, border, marker, blank, ..."),
        Column("variant", STRING, "how the image or the prompt was changed for it"),
        Column("severity", INT, "of a corruption, from 1 on; null without one", nullable=True),
        Column(
            "logit_negative", FLOAT, "logit of the negative answer's token; null if it was not asked", nullable=True
        ),
        Column(
            "logit_positive", FLOAT, "logit of the positive answer's token; null if it was not asked", nullable=True
        ),
        Column("answer_mass", FLOAT, "probability of the two answers together, [0, 1]; null if not asked", True),
        Column("problem", STRING, "why the change could not be made, or asked about; null if it was", nullable=True),
    ),
)
POSITION = (
    Column("x", FLOAT, "column of the point, pixels of the original"),
    Column("y", FLOAT, "row of the point, pixels of the original"),
    Column("x0", FLOAT, "left edge of the box, pixels of the original; null if the localizer gives points", True),
    Column("y0", FLOAT, "top edge of the box, pixels of the original; null if the localizer gives points", True),
    Column("x1", FLOAT, "right edge of the box, pixels of the original; null if the localizer gives points", True),
    Column("y1", FLOAT, "bottom edge of the box, pixels of the original; null if the localizer gives points", True),
    Column("confidence", FLOAT, "confidence, [0, 1]; null where the model gives none", nullable=True),
    Column("phrase", STRING, "the model's name of the detection; null if it gave none", nullable=True),
)
QUERY = (
    Column("prompt", STRING, "prompt of the localizer"),
    Column("view", STRING, "view of the image that it was shown"),
)
DETECTIONS = Schema(
    "detections",
    ("image_id", "prompt", "view", "rank"),
    (IMAGE_ID, *QUERY, Column("rank", INT, "number of the detection in its response, from 0"), *POSITION),
)
LOCALIZE = Schema(
    "localize",
    ("image_id", "rank"),
    (
        IMAGE_ID,
        Column(
            "rank", INT, "number of the detection on its image, from 0, in the order of the response or by confidence"
        ),
        *POSITION,
        Column("shown", BOOL, "whether its confidence reaches the chosen cutoff; true without either"),
    ),
)
RESPONSES = Schema(
    "responses",
    ("image_id", "prompt", "view"),
    (
        IMAGE_ID,
        *QUERY,
        Column("response", STRING, "the response, verbatim"),
        Column(
            "parsed",
            STRING,
            "what the parser made of it; cut: it ended at max_new_tokens",
            values=("ok", "empty", "malformed", "cut"),
        ),
        Column(
            "completeness_error",
            FLOAT,
            "of an attribution map by integrated gradients: |its sum - d| / |d|, d the evidence of the image less that "
            "of its mean token; null of others",
            True,
        ),
    ),
)
CHAPTER = Column("chapter", STRING, "chapter of the study")
TASK = Column("task", STRING, "what the system is measured at, such as classification or localization")
SYSTEM = Column("system", STRING, "name of the row of the parameters: a classifier, a localizer, ...")
OTHER = Column("other", STRING, "second system of a comparison (value: first minus second) or of a joint task", True)
SUBSET = Column("subset", STRING, "evaluation set: a split, all, or a part of one behind a stroke")
AT = Column("at", STRING, "threshold, tolerance or rate that it is measured at; null without one", nullable=True)
MEASURES = Schema(
    "measures",
    ("chapter", "task", "system", "other", "subset", "metric", "at", "seed"),
    (
        CHAPTER,
        TASK,
        SYSTEM,
        OTHER,
        SUBSET,
        Column("metric", STRING, "name in the catalog of metrics"),
        AT,
        Column(
            "seed", INT, "seed of the run among several; null for a study of one, and for their mean", nullable=True
        ),
        Column("value", FLOAT, "the number, in the unit of the catalog; null if it is undefined", nullable=True),
        Column(
            "low",
            FLOAT,
            "lower end of the interval over patients, at a threshold chosen on validation over those patients too "
            "(nested); null without one",
            nullable=True,
        ),
        Column("high", FLOAT, "upper end of that interval; null without one", nullable=True),
        Column(
            "known_low",
            FLOAT,
            "lower end of the interval with the threshold taken as known; null unless it was chosen on validation",
            nullable=True,
        ),
        Column("known_high", FLOAT, "upper end of that interval; null with known_low", nullable=True),
        Column("n", INT, "images", nullable=True),
        Column("n_patients", INT, "patients of these images", nullable=True),
        Column("n_positive", INT, "images with a nodule; null where it does not apply", nullable=True),
        Column("n_negative", INT, "negative images; null where it does not apply", nullable=True),
        Column("n_points", INT, "nodules; null where it does not apply", nullable=True),
        Column("n_predictions", INT, "predicted points; null where it does not apply", nullable=True),
        Column("threshold", FLOAT, "value of the threshold that `at` names; null without one", nullable=True),
        Column("wilson_low", FLOAT, "lower end of Wilson's interval of a proportion", nullable=True),
        Column("wilson_high", FLOAT, "upper end of Wilson's interval of a proportion", nullable=True),
        Column("skipped_draws", INT, "resamples of patients on which it was undefined", nullable=True),
        Column("n_seeds", INT, "seeds that it is the mean of; low and high are then of the mean, over seeds", True),
        Column("sd", FLOAT, "standard deviation over seeds; null for one run", nullable=True),
        Column("reason", STRING, "why it has no value; null if it has one", nullable=True),
    ),
)
CURVES = Schema(
    "curves",
    ("chapter", "task", "system", "subset", "curve", "at", "step"),
    (
        CHAPTER,
        TASK,
        SYSTEM,
        SUBSET,
        Column(
            "curve",
            STRING,
            "kind of the curve",
            values=("roc", "precision_recall", "reliability", "froc", "corruption"),
        ),
        AT,
        Column("step", INT, "number of the point on the curve, from 0"),
        Column(
            "x", FLOAT, "false positive rate, sensitivity, mean score of the bin, false points per image, or severity"
        ),
        Column("y", FLOAT, "sensitivity, precision, fraction with a nodule, sensitivity, or ROC AUC"),
        Column("low", FLOAT, "lower end of y's interval; null without one", nullable=True),
        Column("high", FLOAT, "upper end of y's interval; null without one", nullable=True),
        Column("n", INT, "images of the bin; null without bins", nullable=True),
        Column("threshold", FLOAT, "least score or confidence there; null where nothing is positive, or in bins", True),
    ),
)
OUTCOMES = Schema(
    "outcomes",
    ("chapter", "task", "system", "image_id", "at"),
    (
        CHAPTER,
        TASK,
        SYSTEM,
        IMAGE_ID,
        Column("at", STRING, "threshold or tolerance that it is judged at"),
        Column("split", STRING, "split of the study; null outside of one", True, ("train", "val", "test")),
        LABEL,
        Column("score", FLOAT, "score that the threshold is applied to; null for a localizer", nullable=True),
        Column("positive", BOOL, "whether a classifier calls it positive; null for a localizer", nullable=True),
        Column("n_points", INT, "marked nodules; null for a classifier", nullable=True),
        Column("n_predictions", INT, "predicted points that are shown; null for a classifier", nullable=True),
        Column("true_positives", INT, "predicted points on a nodule, one to one; null for a classifier", nullable=True),
        Column("correct", BOOL, "call as the label says; or each nodule found, and no point elsewhere"),
    ),
)
SCHEMAS: Mapping[str, Schema] = {
    s.name: s
    for s in (
        MANIFEST,
        FILES,
        POINTS,
        NORMALIZED,
        SPLIT,
        INFER,
        AUDIT,
        DETECTIONS,
        LOCALIZE,
        RESPONSES,
        MEASURES,
        CURVES,
        OUTCOMES,
    )
}


def from_rows(rows: Sequence[Mapping[str, Any]], schema: Schema) -> pa.Table:
    """Rows (one mapping of column name to value each) as a table of `schema`.

    Raises:
        TableError: As `check`.
    """
    unknown = {name for row in rows for name in row} - set(schema.names)
    if unknown:
        raise TableError(f"{schema.name}: unknown columns {sorted(unknown)}; known are {schema.names}")
    try:
        columns = [pa.array([row.get(c.name) for row in rows], c.type) for c in schema.columns]
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise TableError(f"{schema.name}: {error}") from error
    return check(pa.table(columns, schema=schema.arrow), schema)


def check(table: pa.Table, schema: Schema) -> pa.Table:
    """`table` in the column order of `schema`, sorted by key.

    Raises:
        TableError: If a column is missing, superfluous or of another type, a value is null or outside of the allowed
            ones, or a key occurs twice.
    """
    if sorted(table.column_names) != sorted(schema.names):
        raise TableError(f"{schema.name}: found columns {table.column_names}, wanted {schema.names}")
    for column in schema.columns:
        nulls = table[column.name].null_count
        if nulls and not column.nullable:
            raise TableError(f"{schema.name}.{column.name}: {nulls} nulls, wanted none ({column.meaning})")
    try:
        table = table.select(schema.names).cast(schema.arrow)
    except (pa.ArrowInvalid, ValueError) as error:
        raise TableError(f"{schema.name}: {error}") from error
    for column in schema.columns:
        values = table[column.name]
        if column.values:
            odd = set(values.unique().to_pylist()) - {*column.values, None}
            if odd:
                raise TableError(f"{schema.name}.{column.name}: found {sorted(odd)}, wanted one of {column.values}")
    keys = table.select(schema.key).group_by(list(schema.key)).aggregate([([], "count_all")])
    if keys.num_rows != table.num_rows:
        raise TableError(f"{schema.name}: {table.num_rows - keys.num_rows} rows repeat the key {schema.key}")
    return table.sort_by([(name, "ascending") for name in schema.key]).combine_chunks()


def write(path: str | Path, table: pa.Table, schema: Schema) -> None:
    """Check `table` against `schema` and write it to `path`, atomically, sorted, with page checksums.

    Raises:
        TableError: As `check`.
    """
    table = check(table, schema)
    with files.replacing(path) as beside:
        pq.write_table(table, beside, compression="zstd", write_page_checksum=True, store_schema=True)


def read(path: str | Path, schema: Schema) -> pa.Table:
    """Table of `schema` stored at `path`, its checksums verified.

    Raises:
        TableError: If the file is missing, damaged, or not a table of `schema`.
    """
    if not Path(path).is_file():
        raise TableError(f"{path}: no such file; wanted the table {schema.name}")
    try:
        table = pq.read_table(path, page_checksum_verification=True)
        return check(table, schema)
    except TableError as error:
        raise TableError(f"{path}: {error}") from error
    except (OSError, UnicodeDecodeError, pa.ArrowException) as error:
        raise TableError(f"{path}: damaged or not Parquet ({error}); delete it and run the pipeline again") from error


def lookup(table: pa.Table, other: pa.Table, columns: Sequence[str], *, key: str = "image_id") -> pa.Table:
    """Rows of `table` in their order, with columns of `other` added: a left join on a key that is unique in `other`.

    Args:
        table: A table with the key.
        other: A table with the key and the columns.
        columns: Names of the columns that are added; null where `other` lacks the key.
        key: Name of the key.

    Raises:
        TableError: If the key is not unique in `other`, or `table` has one of the columns.

    >>> left, right = pa.table({"image_id": ["b", "a"]}), pa.table({"image_id": ["a"], "x": [1]})
    >>> lookup(left, right, ["x"]).to_pydict()
    {'image_id': ['b', 'a'], 'x': [None, 1]}
    """
    twice = sorted({*columns} & {*table.column_names})
    if twice:
        raise TableError(f"join on {key}: both tables have the columns {twice}")
    keys = other[key].combine_chunks()
    if len(keys.unique()) != len(keys):
        raise TableError(f"join on {key}: {len(keys) - len(keys.unique())} rows of the second table repeat it")
    where = pc.index_in(table[key], keys)
    found = other.select(columns).take(where.combine_chunks() if isinstance(where, pa.ChunkedArray) else where)
    for name in columns:
        table = table.append_column(name, found[name])
    return table


def mapping(table: pa.Table, column: str, *, key: str = "image_id") -> dict[str, Any]:
    """Values of one column by key.

    >>> mapping(pa.table({"image_id": ["a", "b"], "x": [1, None]}), "x")
    {'a': 1, 'b': None}
    """
    return dict(zip(table[key].to_pylist(), table[column].to_pylist(), strict=True))
