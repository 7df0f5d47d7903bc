"""What the page of the chapter is made of: its tables, its encoders and grounders, and how they were measured."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa

from stages.lib.core import tables
from stages.lib.images.geometry import Geometry
from stages.lib.metrics import retrieval_suite
from stages.lib.metrics.measures import Estimate, Key, Subject
from stages.lib.report.systems import System
from stages.lofi.notes import Notes

RETRIEVAL, GROUNDING = "retrieval", "grounding"
TEST = "test"
DIRECTIONS = dict(zip(retrieval_suite.DIRECTIONS, ("Image to text", "Text to image"), strict=True))
NOUNS: Mapping[str, Mapping[str, str]] = {  # what is counted behind a measure of each task
    RETRIEVAL: {"n": "queries", "n_patients": "patients"},
    GROUNDING: {
        "n": "sentences",
        "n_patients": "patients",
        "n_points": "true boxes",
        "n_predictions": "predicted boxes",
    },
}
SEEN = {"own": "own image", "shuffled": "another patient's image", "grey": "grey image"}
Pixels = Callable[[str], bytes]  # PNG of a normalized image, given its path relative to the results folder


@dataclass(frozen=True)
class Shown:
    """An image as the page shows it: its normalized PNG and its geometry."""

    png: str
    geometry: Geometry


@dataclass(frozen=True, kw_only=True)
class Study:
    """Everything that the page is made of.

    Attributes:
        measures: What was measured.
        notes: What stands beside it.
        manifest: Table `tables.MANIFEST`.
        normalized: Table `tables.NORMALIZED`.
        pairs: Table `sentence_tables.PAIRS`.
        ranks: Table `sentence_tables.RANKS` of each encoder.
        grounded: Table `sentence_tables.GROUNDED` of each grounder.
        encoders: The encoders.
        grounders: The grounders.
        parameters: The document of parameters.
    """

    measures: Mapping[Subject, Mapping[Key, Estimate]]
    notes: Notes
    manifest: pa.Table
    normalized: pa.Table
    pairs: pa.Table
    ranks: Mapping[str, pa.Table]
    grounded: Mapping[str, pa.Table]
    encoders: Mapping[str, System]
    grounders: Mapping[str, System]
    parameters: Mapping[str, Any]

    @property
    def measured_by(self) -> Mapping[str, Any]:
        """Parameters of the measurement."""
        found: Mapping[str, Any] = self.parameters["lofi"]["measure"]
        return found

    @property
    def simulated(self) -> bool:
        """Whether the images are those that `lofi_simulate` draws."""
        root = self.parameters["lofi"].get("ingest", {}).get("root", "")
        return Path(root).parts[:3] == ("results", "lofi", "simulate")

    @property
    def first(self) -> System | None:
        """The encoder that the chapter is about: the first row."""
        return next(iter(self.encoders.values()), None)

    def retrieval(self, encoder: str, subset: str, other: str | None = None) -> Mapping[Key, Estimate]:
        """Measures of an encoder on a direction, or on both; of two encoders their difference. Empty without any."""
        return self.measures.get(Subject(RETRIEVAL, encoder, subset, other), {})

    def grounding(self, grounder: str, subset: str = TEST, other: str | None = None) -> Mapping[Key, Estimate]:
        """Measures of a grounder on a subset; with another system their difference. Empty without any."""
        return self.measures.get(Subject(GROUNDING, grounder, subset, other), {})

    @cached_property
    def images(self) -> Mapping[str, Shown]:
        """Images that were normalized, by image_id."""
        rows = tables.lookup(
            self.normalized.select(["image_id", "png", "side_px"]), self.manifest, ["width_px", "height_px"]
        )
        return {
            row["image_id"]: Shown(
                row["png"], Geometry(width_px=row["width_px"], height_px=row["height_px"], side_px=row["side_px"])
            )
            for row in rows.to_pylist()
        }

    @cached_property
    def sentences(self) -> Mapping[tuple[str, int], Mapping[str, Any]]:
        """Rows of the pairs, by image and number of the sentence."""
        return {(row["image_id"], row["number"]): row for row in self.pairs.to_pylist()}

    @cached_property
    def parts(self) -> Mapping[tuple[str, int], str]:
        """Text of each part of each report, by image and part."""
        found: dict[tuple[str, int], list[str]] = {}
        for (image_id, _), row in sorted(self.sentences.items()):
            if row["part"] is not None:  # a sentence that is told with its boxes alone is in no report
                found.setdefault((image_id, row["part"]), []).append(row["text"])
        return {key: " ".join(texts) for key, texts in found.items()}
