"""The part with the cases: images, history, gold text, and the answers of any two arms with findings aligned."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from stages.findings.page.study import Study
from stages.lib.core.case_tables import MODALITIES, RATINGS, REGIONS
from stages.lib.core.errors import ImageError
from stages.lib.metrics.text.vocabulary import Vocabulary
from stages.lib.report import gallery
from stages.lib.report.blocks import (
    Answer,
    Block,
    Browser,
    Case,
    Column,
    Filter,
    Finding,
    Note,
    Option,
    Outcome,
    Part,
    Rating,
    Shot,
    Span,
)

Row = Mapping[str, Any]
Pixels = Callable[[str], bytes]
NO_TEXT = "(no text)"
UNRATED = "unrated"
MIN_PX = 200  # longer side of an image as it is shown, at least
OUTCOMES: Mapping[Outcome, str] = {
    "found": "found",
    "missed": "missed",
    "invented": "invented",
    "wrong_side": "wrong side",
}
SCOPES = {"imaged_only": "the images alone", "other_studies": "other studies too"}
FLAGS = {
    "gold_points_at_caption": "the gold text points at captions or figures",
    "diagnosis_in_history": "the history holds a word of the diagnosis",
    "diagnosis_in_gold": "the gold text holds the diagnosis",
}


def part(study: Study, vocabulary: Vocabulary, pixels: Pixels, *, image_px: int, max_images: int, most: int) -> Part:
    """Browser of the test cases.

    Args:
        study: The artifacts.
        vocabulary: Names of findings and places.
        pixels: Returns the bytes of an image, given its path.
        image_px: Longer side of an image on the page, at most.
        max_images: Images of a case that are shown.
        most: Cases that are shown.
    """
    test = [row for row in study.sample.to_pylist() if row["role"] == "test"]
    shown = test[:most]
    index = _Index(study, vocabulary)
    cases = tuple(index.case(row, tuple(_shots(row, index.images, pixels, image_px, max_images))) for row in shown)
    blocks: list[Block] = [
        Note(
            text=(
                f"{len(shown):,} of {len(test):,} test cases, with at most {max_images:,} images of each. Findings are "
                "read from the texts by rules. Keys j and k go to the next and the previous case.",
            )
        )
    ]
    if shown:
        systems = tuple(Column(title=arm.label, look=arm.look) for arm in study.arms.values())
        blocks.append(Browser(name="case", systems=systems, filters=tuple(_filters(study, test)), cases=cases))
    return Part(name="cases", title="Cases", short="Cases", blocks=tuple(blocks))


def _filters(study: Study, test: Sequence[Row]) -> Iterator[Filter]:
    regions = {row["region"] for row in test}
    modalities = {row["modality"] for row in test}
    kept = [Option(value=name, title=name.capitalize()) for name in REGIONS if name in regions]
    yield Filter(name="region", title="Region", options=tuple(kept))
    kept = [Option(value=name, title=name) for name in MODALITIES if name in modalities]
    yield Filter(name="modality", title="Modality", options=tuple(kept))
    kept = [Option(value=name, title=title) for name, title in SCOPES.items()]
    yield Filter(name="scope", title="Gold text", options=tuple(kept))
    grades = [Option(value=name, title=name) for name in (*reversed(RATINGS), UNRATED)]
    yield Filter(name="rating", title=f"Left: rated by {study.primary.label}", of="answer", options=tuple(grades))
    kept = [Option(value=name, title=f"has {title}") for name, title in OUTCOMES.items()]
    yield Filter(name="outcome", title="Left: findings", of="answer", options=tuple(kept))


def _shots(
    case: Row, images: Mapping[str, Mapping[int, Row]], pixels: Pixels, image_px: int, most: int
) -> Iterator[Shot]:
    total = len(case["numbers"])
    for place, number in enumerate(case["numbers"][:most], 1):
        row = images.get(case["case_id"], {}).get(number, {})
        said = [f"image {place} of {total}", *([row["plane"]] if row.get("plane") else [])]
        caption = ", ".join(said) + (f": {row['caption']}" if row.get("caption") else "")
        try:
            source, width, height = gallery.fitted(pixels(row.get("path") or ""), image_px)
        except (OSError, ImageError):
            yield Shot(image="", width=0, height=0, caption=f"{caption} (cannot be read)")
            continue
        grown = max(1.0, MIN_PX / max(width, height))  # a small image is shown larger, not sent larger
        yield Shot(image=source, width=round(grown * width), height=round(grown * height), caption=caption)


class _Index:
    """Rows of the study by what they are about."""

    def __init__(self, study: Study, vocabulary: Vocabulary) -> None:
        self._study = study
        self._vocabulary = vocabulary
        self.images: dict[str, dict[int, Row]] = {}
        for row in study.case_images.to_pylist():
            self.images.setdefault(row["case_id"], {})[row["number"]] = row
        self._answers: dict[tuple[str, str], list[Row]] = {}
        for arm, table in study.answers.items():
            for row in table.to_pylist():
                if row["final"]:
                    self._answers.setdefault((arm, row["case_id"]), []).append(row)
        self._judged: dict[tuple[str, str], dict[str, list[Row]]] = {}
        for judge, table in study.judgements.items():
            for row in table.to_pylist():
                if row["variant"] == "none":
                    self._judged.setdefault((row["arm"], row["item"]), {}).setdefault(judge, []).append(row)
        self._findings: dict[tuple[str | None, str], list[Row]] = {}
        for row in study.findings.to_pylist():
            self._findings.setdefault((row["arm"], row["item"]), []).append(row)

    def case(self, row: Row, shots: tuple[Shot, ...]) -> Case:
        """One case of the sample."""
        name = row["case_id"]
        n = len(row["numbers"])
        flags = [FLAGS.get(flag, flag) for flag in row["flags"]]
        if row["gold_scope"] == "other_studies":
            flags.append("the gold text speaks of studies that are not in the set")
        return Case(
            name=name,
            facts=(row["region"], row["modality"], f"{n} image{'' if n == 1 else 's'}"),
            flags=tuple(flags),
            shots=shots,
            history=row["history"] or "none given",
            gold=tuple(spans(row["gold"], [(one, "gold", self._name(one)) for one in self._of(None, name)])),
            answers=tuple(self._answer(arm, name) for arm in self._study.arms),
            tags={"region": (row["region"],), "modality": (row["modality"],), "scope": (row["gold_scope"],)},
        )

    def _of(self, arm: str | None, item: str) -> list[Row]:
        return self._findings.get((arm, item), [])

    def _name(self, finding: Row) -> str:
        """A finding in words."""
        place = [self._vocabulary.name(finding["place"])] if finding["place"] else []
        side = [finding["side"]] if finding["side"] else []
        said = {"absent": ["denied"], "uncertain": ["uncertain"]}.get(finding["presence"], [])
        return ", ".join([self._vocabulary.name(finding["entity"]), *side, *place, *said])

    def _answer(self, arm: str, case_id: str) -> Answer:
        """What an arm said of a case: one answer, or one for each image of it."""
        rows = self._answers.get((arm, case_id), [])
        text: list[Span] = []
        findings: list[Finding] = []
        ratings: list[Rating] = []
        grades: list[str] = []
        for row in rows:
            about = row["item"].removeprefix(case_id).removeprefix("/")
            if about:
                text.append(Span(text=f"image {int(about) + 1}: "))
            text += self._said(arm, row)
            if about:
                text.append(Span(text="\n"))
            findings += self._aligned(arm, row["item"])
            for judge in self._study.judges:
                passes = self._judged.get((arm, row["item"]), {}).get(judge, [])
                if passes:
                    ratings.append(self._rating(judge, passes))
                if passes and judge == self._study.primary.name:
                    grades.append(passes[0]["rating"] or UNRATED)
        odd = [f"{row['status']}: {row['problem'] or 'no reason given'}" for row in rows if row["status"] != "ok"]
        outcomes = tuple(dict.fromkeys(one.outcome for one in findings))
        return Answer(
            status="; ".join(odd),
            text=tuple(text),
            findings=tuple(findings),
            ratings=tuple(ratings),
            facts=tuple(fact for row in rows for fact in _facts(row)),
            tags={"rating": tuple(grades), "outcome": outcomes},
        )

    def _said(self, arm: str, row: Row) -> Iterator[Span]:
        """An answer verbatim, its findings marked where the part that is measured stands in it."""
        whole, measured = row["text"] or "", row["findings"]
        if not whole:
            yield Span(text=NO_TEXT)
            return
        place = whole.find(measured) if measured else -1
        if place < 0:
            yield Span(text=whole)
            return
        if place:
            yield Span(text=whole[:place])
        marked = [(one, _outcome(one), self._name(one)) for one in self._of(arm, row["item"])]
        yield from spans(measured, [(one, outcome, name) for one, outcome, name in marked if outcome != "plain"])
        if whole[place + len(measured) :]:
            yield Span(text=whole[place + len(measured) :])

    def _aligned(self, arm: str, item: str) -> Iterator[Finding]:
        """Present findings of the gold text, each found, on the wrong side, or missed; then the invented ones."""
        gold, mine = self._of(None, item), self._of(arm, item)
        paired = {one["pair"]: one for one in mine if one["pair"] is not None}
        for one in gold:
            if one["presence"] != "present":
                continue
            other = paired.get(one["number"])
            if other is None:
                yield Finding(text=f"missed: {self._name(one)}", outcome="missed")
            elif other["presence"] != "present":
                yield Finding(text=f"missed: {self._name(one)}; the answer: {self._name(other)}", outcome="missed")
            elif other["outcome"] == "wrong_side":
                said = other["side"] or "no side"
                yield Finding(text=f"wrong side: {self._name(one)}; the answer: {said}", outcome="wrong_side")
            else:
                yield Finding(text=f"found: {self._name(one)}", outcome="found")
        for one in mine:
            if one["presence"] != "present":
                continue
            denied = one["outcome"] == "wrong_presence" and gold[one["pair"]]["presence"] == "absent"
            if one["outcome"] == "invented":
                yield Finding(text=f"invented: {self._name(one)}", outcome="invented")
            elif denied:
                yield Finding(text=f"invented: {self._name(one)}, which the gold text denies", outcome="invented")

    def _rating(self, judge: str, passes: Sequence[Row]) -> Rating:
        """What a judge said of an answer, with its later passes."""
        first, *later = sorted(passes, key=lambda row: row["repeat"])
        facts = []
        if first["primary_found"] is not None:
            facts.append("primary finding found" if first["primary_found"] else "primary finding not found")
        for name in ("missed", "invented", "wrong_side"):
            if first[name]:
                facts.append(f"{name.replace('_', ' ')}: {', '.join(first[name])}")
        if first["status"] not in ("ok", "error", "timeout", "invalid"):
            facts.append(first["status"])
        facts += [f"pass {row['repeat'] + 1}: {row['rating'] or row['status']}" for row in later]
        return Rating(
            judge=self._study.judges[judge].label,
            rating=first["rating"] or f"no rating, {first['status']}",
            failed=first["rating"] is None,
            facts=tuple(facts),
            reason=first["rationale"] or first["problem"] or "",
        )


MARKED: Mapping[str, Outcome] = {
    "right": "found",
    "wrong_side": "wrong_side",
    "wrong_presence": "wrong_presence",
    "invented": "invented",
}


def _outcome(finding: Row) -> Outcome:
    """How a finding of an answer is marked in its text; what both deny is not."""
    if finding["outcome"] is None or (finding["outcome"] == "right" and finding["presence"] != "present"):
        return "plain"
    return MARKED[finding["outcome"]]


def spans(text: str, marked: Sequence[tuple[Row, Outcome, str]]) -> Iterator[Span]:
    """A text in pieces, those of findings marked; of two that overlap the first one is."""
    place = 0
    for finding, outcome, title in sorted(marked, key=lambda one: one[0]["start"]):
        start, end = finding["start"], finding["end"]
        if start < place or end > len(text):
            continue
        if start > place:
            yield Span(text=text[place:start])
        yield Span(text=text[start:end], outcome=outcome, title=title)
        place = end
    if text[place:]:
        yield Span(text=text[place:])


def _facts(row: Row) -> Iterator[str]:
    """Facts of an answer that a reader may want."""
    if row["completion_tokens"] is not None:
        yield f"{row['completion_tokens']:,} tokens"
    if row["finish_reason"] not in (None, "stop"):
        yield f"ended by {row['finish_reason']}"
    if row["findings_from"] not in ("whole", "none"):
        yield f"measured part found by {row['findings_from']}"
    if row["agreement"] is not None:
        yield f"samples agree {row['agreement']:.2f}"
