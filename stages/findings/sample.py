"""Sample cases, stratified over region and modality, into roles that share no case and no image.

in   cases        case_tables.CASES
     case_images  case_tables.CASE_IMAGES
     and the file that findings.sample.file names, if it is not none
out  sample       case_tables.SAMPLE
     record       the same as JSON, sample_document.Sample, with the hash that later files carry
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import numpy as np
import pyarrow as pa

from stages.findings import drawing, sample_file
from stages.findings.drawing import Candidate, Stratum
from stages.findings.sample_document import Role, Sample, SampledCase, StratumCount
from stages.findings.sample_file import Named, SampleFile, some
from stages.lib.core import cli, documents, files, tables
from stages.lib.core import params as parameters
from stages.lib.core.case_tables import CASE_IMAGES, CASES, SAMPLE
from stages.lib.core.errors import SampleError, SplitFileError
from stages.lib.core.log import LOG
from stages.lib.images import duplicates

Row = Mapping[str, Any]
NONE = "none"
FLAGS = ("gold_points_at_caption", "diagnosis_in_history", "diagnosis_in_gold")
TEST, EXAMPLE, TRAIN, VAL = "test", "example", "train", "val"
Region = Literal["head", "thorax", "abdomen", "spine", "urinary"]


@parameters.section
class Params:
    """Strata, their size, and what a case must have; or the file that decides."""

    seed: parameters.Seed
    regions: tuple[Region, ...]
    modalities: tuple[Literal["CT", "MR"], ...]  # of the strata; for stratum CT only CT images are sent
    per_stratum: parameters.Count  # test cases of each region and modality
    min_gold_words: parameters.Count  # words that the findings of a case must have, in any role
    gold_scope: Literal["any", "imaged_only"]  # imaged_only: no findings that name a study other than CT and MR
    min_images: parameters.Count  # of the stratum's modality, that a test case must have
    examples: parameters.NonNegativeInt  # few-shot cases in all, of strata where most are left
    train_fraction: parameters.Fraction  # of the cases that are left, to teach and to be found by retrieval
    val_fraction: parameters.Fraction  # of them, to choose by; of a split from outside both parts are taken whole
    file: parameters.Text  # a sample or a split from outside, JSON or CSV, see stages/findings/sample_file.py; none

    def __post_init__(self) -> None:
        """Check what the types do not say."""
        problems = [
            f"{name} {list(found)}, wanted one or more, none of them twice"
            for name, found in (("regions", self.regions), ("modalities", self.modalities))
            if not found or len(set(found)) < len(found)
        ]
        if self.train_fraction + self.val_fraction > 1 + 1e-9:
            problems.append(
                f"train_fraction and val_fraction of 1 together at most (found {self.train_fraction:g} and "
                f"{self.val_fraction:g})"
            )
        if problems:
            raise ValueError("; ".join(problems))

    @property
    def strata(self) -> list[Stratum]:
        """Region and modality of each stratum, in order."""
        return [(region, modality) for region in self.regions for modality in self.modalities]


@dataclass
class _Roles:
    """Cases with their roles so far.

    Attributes:
        of_case: Role and modality of each case.
        of_group: Role of each group of cases that share an image.
        numbers: Images of cases of which the file says which are sent.
        left_out: Why each other case has no role.
    """

    of_case: dict[str, tuple[str, str]] = field(default_factory=dict)
    of_group: dict[int, str] = field(default_factory=dict)
    numbers: dict[str, tuple[int, ...]] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)

    def take(self, one: Candidate, role: str, modality: str) -> None:
        """Give a case its role."""
        self.of_case[one.case_id] = (role, modality)
        self.of_group[one.group] = role


def sample(
    cases: pa.Table, case_images: pa.Table, params: Params, given: SampleFile | None = None
) -> tuple[pa.Table, dict[str, int]]:
    """Cases with their roles, and how many have none, by the reason.

    Test cases are drawn first, `per_stratum` of each stratum; a case of both modalities is a case of one of them. No
    two test cases share an image or a nearly equal one. Then examples are drawn, then what is left is divided into
    train and val; cases that share an image with a test case have no role, and those that share one with each other
    have the same. The draw does not depend on the order of rows, nor that of test cases on what else is drawn.

    With a file of kind `roles` nothing is drawn; with `test` all but the test cases; with `split` each role is drawn
    from its part: test from test, examples and train from train, val from val.

    Args:
        cases: Table of case_tables.CASES.
        case_images: Table of case_tables.CASE_IMAGES.
        params: See `Params`.
        given: The file from outside.

    Returns:
        Table of case_tables.SAMPLE, and the numbers of cases that were left out.

    Raises:
        SampleError: If a stratum cannot be filled, with the table of what there is, or there are too few examples.
        SplitFileError: If the file names cases that do not exist or cannot take part, or puts one image into two roles.
    """
    by_id = {row["case_id"]: row for row in cases.to_pylist()}
    images = images_of(case_images)
    groups = groups_of(images)
    roles = _Roles()
    eligible = _eligible(by_id, images, groups, params, roles.left_out)
    if given is not None and given.kind != "split":
        _as_given(given, by_id, images, groups, roles)
    parts = {one.case_id: one.role for one in given.cases.values()} if given and given.kind == "split" else None
    if given is None or given.kind == "split":
        _draw_test([one for one in eligible if parts is None or parts.get(one.case_id) == TEST], params, roles)
    if given is None or given.kind != "roles":
        _draw_rest(eligible, params, roles, parts)
    for one in eligible:
        if one.case_id not in roles.of_case and one.case_id not in roles.left_out:
            shared = roles.of_group.get(one.group)
            roles.left_out[one.case_id] = f"shares an image with a case of the role {shared}" if shared else "not drawn"
    counts = Counter(reason for case_id, reason in roles.left_out.items() if case_id not in roles.of_case)
    rows = [
        _row(by_id[case_id], role, modality, roles.numbers.get(case_id) or _numbers(images[case_id], modality))
        for case_id, (role, modality) in roles.of_case.items()
    ]
    return tables.from_rows(rows, SAMPLE), dict(sorted(counts.items()))


def images_of(case_images: pa.Table) -> dict[str, list[Row]]:
    """Images of each case that take part, from a table of case_tables.CASE_IMAGES."""
    images: defaultdict[str, list[Row]] = defaultdict(list)
    for row in case_images.to_pylist():
        if row["status"] == "ok":
            images[row["case_id"]].append(row)
    return dict(images)


def groups_of(images: Mapping[str, Sequence[Row]]) -> dict[str, int]:
    """Number of the group of each case: cases that share an image, or a nearly equal one, have the same.

    Args:
        images: Rows of case_tables.CASE_IMAGES that take part, by case.
    """
    order = sorted(images)
    first: dict[tuple[str, str], int] = {}
    ties = [
        (first.setdefault((key, row[key]), place), place)
        for place, case_id in enumerate(order)
        for row in images[case_id]
        for key in ("pixel_sha256", "duplicate_group")
        if row[key] is not None
    ]
    tied = duplicates.groups(ties, len(order))
    return {
        case_id: place if low is None else low for place, (case_id, low) in enumerate(zip(order, tied, strict=True))
    }


def shared_images(sample: pa.Table, case_images: pa.Table) -> list[str]:
    """A sentence for each two roles of a sample that share an image or a nearly equal one; none if all is well.

    Args:
        sample: Table of case_tables.SAMPLE.
        case_images: Table of case_tables.CASE_IMAGES.
    """
    groups = groups_of(images_of(case_images))
    return _shared({row["case_id"]: row["role"] for row in sample.to_pylist()}, groups)


def _shared(roles: Mapping[str, str], groups: Mapping[str, int]) -> list[str]:
    members: defaultdict[int, defaultdict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for case_id, role in sorted(roles.items()):
        members[groups[case_id]][role].append(case_id)
    return [
        "equal or nearly equal images in two roles: " + "; ".join(f"{role}: {some(ids, 3)}" for role, ids in of.items())
        for of in members.values()
        if len(of) > 1
    ]


def _numbers(images: Iterable[Row], modality: str) -> tuple[int, ...]:
    return tuple(row["number"] for row in images if row["modality"] == modality)


def _eligible(
    cases: Mapping[str, Row],
    images: Mapping[str, Sequence[Row]],
    groups: Mapping[str, int],
    params: Params,
    left_out: dict[str, str],
) -> list[Candidate]:
    """Cases that may have a role, by case_id; why another may not is added to `left_out`."""
    found = []
    for case_id, row in sorted(cases.items()):
        numbers: dict[str, tuple[int, ...]] = {
            name: held
            for name in params.modalities
            if len(held := _numbers(images.get(case_id, ()), name)) >= params.min_images
        }
        if row["status"] != "ok" or row["gold"] is None:
            left_out[case_id] = "rejected by ingest"
        elif row["region"] not in params.regions:
            left_out[case_id] = "of no region of the sample"
        elif row["gold_words"] < params.min_gold_words:
            left_out[case_id] = f"fewer than {params.min_gold_words} words of findings"
        elif params.gold_scope == "imaged_only" and row["gold_scope"] != "imaged_only":
            left_out[case_id] = "its findings name other studies"
        elif not numbers:
            left_out[case_id] = f"fewer than {params.min_images} images of one modality of the sample"
        else:
            found.append(Candidate(case_id, row["region"], numbers, groups[case_id]))
    return found


def _draw_test(pool: Sequence[Candidate], params: Params, roles: _Roles) -> None:
    order = np.random.default_rng(params.seed).permutation(len(pool))
    places = [stratum for stratum in params.strata for _ in range(params.per_stratum)]
    drawn = drawing.fill(places, [pool[place] for place in order])
    filled = Counter(stratum for stratum, one in zip(places, drawn, strict=True) if one is not None)
    short = [
        f"{region} x {modality}: {filled[region, modality]} of {params.per_stratum}"
        for region, modality in params.strata
        if filled[region, modality] < params.per_stratum
    ]
    if short:
        heading = (
            f"findings.sample: {len(short)} of {len(params.strata)} strata cannot be filled (gold_scope "
            f"{params.gold_scope}, min_gold_words {params.min_gold_words}, min_images {params.min_images}); lower "
            "per_stratum, leave out a region or a modality, or ask less of a case:"
        )
        raise SampleError(heading, [*short, *_table(pool, params)])
    for (_, modality), one in zip(places, drawn, strict=True):
        if one is not None:
            roles.take(one, TEST, modality)


def _table(pool: Sequence[Candidate], params: Params) -> list[str]:
    """What there is of each region: cases of one modality alone, and of both."""
    counts = Counter((one.region, " and ".join(sorted(one.numbers))) for one in pool)
    kinds = [*params.modalities, *([" and ".join(sorted(params.modalities))] if len(params.modalities) > 1 else [])]
    return [
        f"there are of {region}: "
        + ", ".join(f"{counts[region, kind]} {kind}{' alone' if kind in params.modalities else ''}" for kind in kinds)
        for region in params.regions
    ]


def _draw_rest(eligible: Sequence[Candidate], params: Params, roles: _Roles, parts: Mapping[str, str] | None) -> None:
    """Examples, then train and val."""
    rng = np.random.default_rng([params.seed, 1])
    left = [one for one in eligible if one.group not in roles.of_group]
    left = [left[place] for place in rng.permutation(len(left))]
    from_train = [one for one in left if parts is None or parts.get(one.case_id) in (TRAIN, EXAMPLE)]
    size = Counter(stratum for one in from_train for stratum in params.strata if one.fits(stratum))
    order = sorted((stratum for stratum in params.strata if size[stratum]), key=lambda stratum: -size[stratum])
    wanted = [order[turn % len(order)] for turn in range(params.examples)] if order else []
    named = [one for one in from_train if parts and parts.get(one.case_id) == EXAMPLE]
    drawn = [one for one in drawing.fill(wanted, named or from_train) if one is not None]
    if len(drawn) < params.examples:
        heading = f"findings.sample.examples: {len(drawn)} of {params.examples} few-shot cases are left for examples:"
        raise SampleError(heading, _table(from_train, params))
    for (_, modality), one in zip(wanted, drawn, strict=True):
        roles.take(one, EXAMPLE, modality)
    left = [one for one in left if one.group not in roles.of_group]
    wants = {VAL: round(params.val_fraction * len(left)), TRAIN: round(params.train_fraction * len(left))}
    for one in left:
        part = parts.get(one.case_id) if parts else None
        role = roles.of_group.get(one.group)
        if parts is not None:
            role = part if part in (TRAIN, VAL) and role in (None, part) else None
        elif role is None:
            role = next((name for name, count in wants.items() if count > 0), None)
        if role is not None:
            wants[role] -= 1
            roles.take(one, role, sorted(one.numbers)[int(rng.integers(len(one.numbers)))])


def _as_given(
    given: SampleFile,
    cases: Mapping[str, Row],
    images: Mapping[str, Sequence[Row]],
    groups: Mapping[str, int],
    roles: _Roles,
) -> None:
    """Roles as a file has them.

    Raises:
        SplitFileError: With all that does not fit the cases.
    """
    problems = []
    for case_id, named in given.cases.items():
        row, held = cases.get(case_id), images.get(case_id, ())
        if row is None:
            problems.append(f"{case_id!r} is no case of this data set")
            continue
        if row["status"] != "ok":
            problems.append(f"{case_id!r} takes no part: {row['problem']}")
            continue
        numbers, modality = _named_images(named, held)
        if numbers is None:
            known = some([image["image_id"] for image in held], 3)
            problems.append(
                f"{case_id!r}: found the images {some(named.images, 3)}, wanted of {known}, of one modality"
            )
        elif not numbers:
            problems.append(f"{case_id!r} has no {modality} image that takes part")
        else:
            roles.take(Candidate(case_id, row["region"], {modality: numbers}, groups[case_id]), named.role, modality)
            roles.numbers[case_id] = numbers
    problems += _shared({case_id: role for case_id, (role, _) in roles.of_case.items()}, groups)
    if problems:
        raise SplitFileError(f"findings.sample.file {given.name!r}: {len(problems)} problem(s):", problems)
    if given.kind == "roles":
        for case_id in cases:
            if case_id not in roles.of_case:
                roles.left_out.setdefault(case_id, "not named by the file")


def _named_images(named: Named, held: Sequence[Row]) -> tuple[tuple[int, ...] | None, str]:
    """Images that are sent of a case, those that the file names first, and their modality.

    Without a word of the file about it, the modality is that of the case's first image. None if the file names images
    that are not the case's, or of two modalities.
    """
    by_name = {image["image_id"]: image for image in held}
    if not set(named.images) <= set(by_name):
        return None, ""
    modalities = {by_name[name]["modality"] for name in named.images} | ({named.modality} if named.modality else set())
    if len(modalities) > 1:
        return None, ""
    modality = modalities.pop() if modalities else held[0]["modality"]
    first = [by_name[name]["number"] for name in named.images]
    return tuple(dict.fromkeys([*first, *_numbers(held, modality)])), modality


def _row(case: Row, role: str, modality: str, numbers: Sequence[int]) -> dict[str, Any]:
    """Row of case_tables.SAMPLE."""
    return {
        "case_id": case["case_id"],
        "role": role,
        "region": case["region"],
        "modality": modality,
        "numbers": list(numbers),
        "history": case["history"],
        "gold": case["gold"],
        "gold_scope": case["gold_scope"],
        "flags": [flag for flag in FLAGS if case[flag]],
    }


def document(
    table: pa.Table, case_images: pa.Table, params: Params, left_out: Mapping[str, int], file_sha256: str | None
) -> Sample:
    """The sample as a document.

    Args:
        table: Table of case_tables.SAMPLE.
        case_images: Table of case_tables.CASE_IMAGES.
        params: See `Params`.
        left_out: Numbers of cases without a role, by the reason.
        file_sha256: Hash of the file that decided it; None without one.
    """
    images = {(row["case_id"], row["number"]): row for row in case_images.to_pylist()}
    rows = table.to_pylist()
    hashes = [[images[row["case_id"], number]["sha256"] for number in row["numbers"]] for row in rows]
    count: Counter[tuple[str, str, str]] = Counter()
    sent: Counter[tuple[str, str, str]] = Counter()
    for row in rows:
        key = (row["role"], row["region"], row["modality"])
        count[key] += 1
        sent[key] += len(row["numbers"])
    return Sample(
        sample_sha256=files.sha256_json([rows, hashes]),
        parameters=documents.as_mapping(params),
        file_sha256=file_sha256,
        strata=tuple(
            StratumCount(role=cast(Role, role), region=region, modality=modality, cases=count[key], images=sent[key])
            for key in sorted(count)
            for role, region, modality in [key]
        ),
        left_out=left_out,
        cases=tuple(
            SampledCase(
                case_id=row["case_id"],
                role=row["role"],
                region=row["region"],
                modality=row["modality"],
                images=tuple(images[row["case_id"], number]["image_id"] for number in row["numbers"]),
            )
            for row in rows
        ),
    )


def told(found: Sample) -> list[str]:
    """A line for each role: its cases, by stratum."""
    of_role: defaultdict[str, list[StratumCount]] = defaultdict(list)
    for one in found.strata:
        of_role[one.role].append(one)
    return [
        f"{sum(one.cases for one in strata)} cases {role}: "
        + ", ".join(f"{one.region} {one.modality} {one.cases}" for one in strata)
        for role, strata in of_role.items()
    ]


def main(argv: Sequence[str] | None = None) -> None:
    """Run the stage from the command line."""
    args = cli.parse(
        __doc__,
        argv,
        params={"findings.sample": Params},
        reads=["cases", "case_images"],
        writes=["sample", "record"],
    )
    section = args.params.sample
    given = None if section.file == NONE else sample_file.read(section.file)
    case_images = tables.read(args.case_images, CASE_IMAGES)
    table, left_out = sample(tables.read(args.cases, CASES), case_images, section, given)
    file_sha256 = None if section.file == NONE else files.sha256_file(section.file)
    found = document(table, case_images, section, left_out, file_sha256)
    for line in told(found):
        LOG.info("sample: %s", line)
    for reason, count in left_out.items():
        LOG.info("sample: %d cases have no role: %s", count, reason)
    tables.write(args.sample, table, SAMPLE)
    documents.write(args.record, found)


if __name__ == "__main__":
    cli.run(main)
