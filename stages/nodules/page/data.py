"""The part on data: images of each kind, every rejected image, and every response that could not be read or was cut."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from stages.lib.core import tables
from stages.lib.images.notices import KINDS
from stages.lib.metrics.measures import Key
from stages.lib.report.blocks import Block, Column, Fold, Heading, Note, Part, Row, Rows, Table
from stages.lib.report.numbers import label, number
from stages.nodules.page import probes
from stages.nodules.page.study import Study
from stages.nodules.page.words import LABELS, name

PLACES = ("train", "val", "test", "unused", "rejected")
LOCALIZED = "localized"  # images that a localizer was run on
RATES = (Key("malformed_fraction"), Key("cut_fraction"), Key("completeness_error"))
COMPLETENESS = (
    "An attribution map by integrated gradients adds up to the evidence of the image less that of its mean token, if "
    "the integral is exact. The completeness error is how far it is from that, as a fraction of that difference. Where "
    "it is large, a map is a sum of a few gradients: its peaks can be ranked, but are no amounts of evidence."
)
REMARKS = 200  # images used with a remark that are listed
COMMON = {"patient", "label"}  # remarks that all images of a folder may have: their images are listed last
LONGEST = 300  # characters of a response that are shown


def part(study: Study) -> Part:
    """Counts, preprocessing, probes, rejected images, remarks and unreadable responses."""
    rows = tables.lookup(study.manifest, study.split, ["split"]).to_pylist()
    blocks = (
        *_counts(rows),
        *_origin(study),
        *_preprocessing(study),
        *probes.blocks(study),
        *_notices(rows),
        *_problems(rows),
        *_files(study),
        *_responses(study),
    )
    return Part(name="data", title="Data", short="Data", blocks=blocks)


def _counts(rows: list[dict[str, Any]]) -> Iterator[Block]:
    """Images of each source and label in each split."""
    counts: Counter[tuple[str, int | None, str]] = Counter()
    for row in rows:
        place = "rejected" if row["status"] == "rejected" else row["split"] or "unused"
        counts[row["source"], row["label"], place] += 1
    kinds = sorted({(source, label) for source, label, _ in counts}, key=lambda kind: (kind[0], str(kind[1])))
    lines = [
        Row(title=name(source), cells=(LABELS[label], *(f"{counts[source, label, place]:,}" for place in PLACES)))
        for source, label in kinds
    ]
    totals = [sum(counts[*kind, place] for kind in kinds) for place in PLACES]
    lines.append(Row(title=f"All {len(rows):,} images", cells=("", *(f"{total:,}" for total in totals)), selected=True))
    columns = (Column(title="Label"), *(Column(title=name(place), count=True) for place in PLACES))
    yield Table(corner="Source", columns=columns, groups=(Rows(rows=tuple(lines)),))


def _origin(study: Study) -> Iterator[Block]:
    """Where the split comes from, if it is not our own by fractions."""
    if study.settings.split_from:
        yield Note(text=(study.settings.split_from,), style="plain")


def _preprocessing(study: Study) -> Iterator[Block]:
    low, high = study.settings.percentiles
    sides = ", ".join(str(side) for side in sorted(set(study.normalized["side_px"].to_pylist())))
    hashes = ", ".join(sorted(set(study.normalized["preprocessing_hash"].to_pylist())))
    text = (
        f"Each image was clipped to its own percentiles {low:g} and {high:g}, mapped to 0..255, padded with black to a "
        f"square and resized to {sides} pixels; points and boxes are kept in pixels of the original. Preprocessing "
        f"hash: {hashes}."
    )
    yield Note(text=(text,), style="plain")


def _notices(rows: list[dict[str, Any]]) -> Iterator[Block]:
    """Images by kind of notice: how many were rejected, and how many used."""
    counts: Counter[tuple[str, str]] = Counter()
    for row in rows:
        counts.update((kind, row["status"]) for kind in set(row["notices"] or ()))
    kinds = [kind for kind in KINDS if counts[kind, "ok"] or counts[kind, "rejected"]]
    yield Heading(title="What is odd about the images", note="" if kinds else "nothing")
    if kinds:
        lines = tuple(
            Row(
                title=name(kind),
                key=f"notice/{kind}",
                cells=(KINDS[kind], f"{counts[kind, 'rejected']:,}", f"{counts[kind, 'ok']:,}"),
            )
            for kind in kinds
        )
        columns = (Column(title="Meaning"), Column(title="Rejected", count=True), Column(title="Used", count=True))
        yield Table(name="notices", corner="Notice", columns=columns, groups=(Rows(rows=lines),))


def _files(study: Study) -> Iterator[Block]:
    """Files of the data folder that are no images, and what is to be said of them."""
    if study.files is None or not study.files.num_rows:
        return
    files = study.files.to_pylist()
    counts = Counter(row["role"] for row in files)
    told = ", ".join(f"{count:,} {role}" for role, count in sorted(counts.items()))
    yield Heading(title="Other files of the data folder", note=f"{len(files):,}: {told}")
    reasons = Counter(row["reason"] for row in files if row["reason"])
    if reasons:
        lines = tuple(Row(title=reason, cells=(f"{count:,}",)) for reason, count in sorted(reasons.items()))
        columns = (Column(title="Files", count=True),)
        yield Table(name="files", corner="What is to be said", columns=columns, groups=(Rows(rows=lines),), scroll=True)


def _problems(rows: list[dict[str, Any]]) -> Iterator[Block]:
    """Images that were rejected, and those used with a remark."""
    rejected = [row for row in rows if row["status"] == "rejected"]
    yield Heading(title="Rejected images", note=f"{len(rejected):,} of {len(rows):,}")
    if rejected:
        lines = tuple(
            Row(title=row["image_id"], key=f"rejected/{row['image_id']}", cells=(name(row["source"]), row["problem"]))
            for row in rejected
        )
        columns = (Column(title="Source"), Column(title="Problem"))
        yield Table(name="rejected", corner="Image", columns=columns, groups=(Rows(rows=lines),), scroll=True)
    else:
        yield Note(text=("None.",))
    remarks = [row for row in rows if row["status"] == "ok" and row["problem"]]
    if remarks:
        rarest = sorted(remarks, key=lambda row: set(row["notices"] or ()) <= COMMON)
        lines = tuple(Row(title=row["image_id"], cells=(row["problem"],)) for row in rarest[:REMARKS])
        table = Table(corner="Image", columns=(Column(title="Remark"),), groups=(Rows(rows=lines),), scroll=True)
        title = f"Used, with a remark: {len(remarks):,}"
        more = len(remarks) - len(lines)
        rest = (Note(text=(f"{more:,} more: results/data/manifest.parquet, column problem.",)),) if more else ()
        yield Fold(title=title, blocks=(table, *rest))


def _responses(study: Study) -> Iterator[Block]:
    """Responses by kind, and each that could not be read."""
    if not study.responses:
        return
    counts = {
        study.localizers[localizer].label: Counter(table["parsed"].to_pylist())
        for localizer, table in study.responses.items()
    }
    note = "; ".join(
        f"{title}: " + ", ".join(f"{count:,} {kind}" for kind, count in kinds.items())
        for title, kinds in counts.items()
    )
    yield Heading(title="Responses", note=note)
    yield from _rates(study)
    unread = [
        Row(
            title=row["image_id"],
            key=f"unread/{row['image_id']}",
            cells=(study.localizers[localizer].label, name(row["parsed"]), _short(row["response"])),
        )
        for localizer, table in study.responses.items()
        for row in table.to_pylist()
        if row["parsed"] in ("malformed", "cut")
    ]
    if not unread:
        yield Note(text=("Every response could be read.",))
        return
    columns = (Column(title="Localizer"), Column(title="It is"), Column(title="Response"))
    table = Table(name="unread", corner="Image", columns=columns, groups=(Rows(rows=tuple(unread)),), scroll=True)
    yield Fold(title=f"Responses that could not be read, or were cut: {len(unread):,}", blocks=(table,))


def _rates(study: Study) -> Iterator[Block]:
    """Rates of malformed and of cut responses, a row for each localizer and prompt that was used on all images."""
    used = f"{LOCALIZED}/"
    rows = [
        Row(
            title=study.localizers[subject.system].label,
            key=f"{subject.system}/{subject.subset.removeprefix(used)}",
            cells=(subject.subset.removeprefix(used), *(number(key, measured.get(key)) for key in RATES)),
        )
        for subject, measured in study.measures.items()
        if subject.task == "responses" and subject.subset.startswith(used)
    ]
    if rows:
        columns = (Column(title="Prompt"), *(Column(title=label(key.metric)) for key in RATES))
        groups = (Rows(rows=tuple(rows)),)
        yield Table(name="responses", corner="Localizer", columns=columns, groups=groups, style="measured")
        if any(RATES[-1] in measured for measured in study.measures.values()):
            yield Note(text=(COMPLETENESS,))


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
