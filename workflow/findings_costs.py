"""What the findings benchmark takes: requests, tokens, dollars and hours, computed before anything is asked.

Requests and images are counted where the cases are sampled, and assumed where they are not. Tokens of texts are
characters / 4; tokens of an image and of an answer are ranges. No number here was measured, and a price is one of the
user's table, with its date, or none.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.lib.models import prompt_family
from workflow import costs

IMAGES_OF_A_CASE = 3.06  # MedPix 2.0: 2,050 images of 671 cases
HISTORY_TOKENS, GOLD_TOKENS = 60, 70  # of the median text of MedPix 2.0
SHORT_ANSWER = 60  # tokens of a short answer; the longest has max_tokens
RUBRIC_TOKENS, VERDICT_TOKENS = 600, 150
TOKEN_RANGE_OF_AN_IMAGE = (256, 1105)  # MedGemma's, and the largest that a common vendor counts for a small image


@dataclass(frozen=True)
class Sample:
    """How many cases are asked about, with how many images each.

    Attributes:
        cases: Test cases.
        images: Mean of their images.
        source: Where the counts are from.
    """

    cases: int
    images: float
    source: str


@dataclass(frozen=True)
class Asked:
    """What one arm or judge is asked.

    Attributes:
        name: Its row.
        kind: Its kind.
        requests: Requests.
        images: Images in all of them.
        text_tokens: Tokens of all prompts without their images.
        output_tokens: Tokens of all answers: at the least, at the most.
        row: Its row.
    """

    name: str
    kind: str
    requests: int
    images: float
    text_tokens: float
    output_tokens: tuple[float, float]
    row: Mapping[str, Any]


def sample(results: Path, document: Mapping[str, Any]) -> Sample:
    """Test cases and their images: those of results/findings/sample.parquet, or as the parameters ask.

    Args:
        results: Folder of results.
        document: The parameters.
    """
    wanted = document["findings"]["sample"]
    cases = wanted["per_stratum"] * len(wanted["regions"]) * len(wanted["modalities"])
    path = results / "findings" / "sample.parquet"
    if path.is_file():
        import pyarrow.parquet as parquet

        rows = [
            row for row in parquet.read_table(path, columns=["role", "numbers"]).to_pylist() if row["role"] == "test"
        ]
        if len(rows) == cases:
            return Sample(cases, sum(len(row["numbers"]) for row in rows) / cases, f"counted in {path}")
    return Sample(cases, IMAGES_OF_A_CASE, f"{cases} cases by findings.sample, images as in MedPix 2.0 (assumed)")


def arms(document: Mapping[str, Any], found: Sample) -> list[Asked]:
    """What each arm is asked that asks a model.

    Args:
        document: The parameters.
        found: The sample.
    """
    return [
        _arm(name, row, found)
        for name, row in document["findings"]["arms"].items()
        if row["kind"] in ("local", "endpoint")
    ]


def _arm(name: str, row: Mapping[str, Any], found: Sample) -> Asked:
    family = prompt_family.read(row["prompt"])
    shown = {"none": 0.0, "first": 1.0, "all": min(found.images, row["max_images"])}[row["images"]]
    items = found.cases * (found.images if row["unit"] == "image" else 1)
    requests = round(items * row["samples"] * max(len(family.questions), 1))
    examples = row["n_examples"]
    images = shown + (examples * found.images if row["example_images"] else 0)
    text = len((family.system or "") * row["system"] + family.user) / costs.TOKEN_CHARACTERS + costs.TALK_TOKENS
    text += HISTORY_TOKENS * ("history" in family.variables) + GOLD_TOKENS * examples
    text += SHORT_ANSWER * (row["after"] != "none")
    least = min(SHORT_ANSWER, row["max_tokens"])
    return Asked(
        name,
        row["kind"],
        requests,
        requests * min(images, row["max_images"]),
        requests * text,
        (requests * least, requests * row["max_tokens"]),
        row,
    )


def judges(document: Mapping[str, Any], found: Sample) -> list[Asked]:
    """What each judge is asked that asks a model, about the answers of all arms.

    Args:
        document: The parameters.
        found: The sample.
    """
    rows = document["findings"]["arms"].values()
    answers = round(sum(found.cases * (found.images if row.get("unit") == "image" else 1) for row in rows))
    made = []
    for name, row in document["findings"]["judges"].items():
        if row["kind"] == "rules":
            continue
        requests = answers * row["repeats"]
        text = RUBRIC_TOKENS + GOLD_TOKENS + SHORT_ANSWER
        output = (requests * min(VERDICT_TOKENS, row["max_tokens"]), requests * row["max_tokens"])
        made.append(Asked(name, row["kind"], requests, 0.0, requests * text, output, row))
    return made


def dollars(asked: Asked, prices: str) -> tuple[float, float, str] | None:
    """Dollars at the least and at the most, and the price with its date; None without a price.

    Args:
        asked: What is asked.
        prices: Path of the price table, or "shipped".
    """
    from stages.lib.models.chat import prices as price_table

    price = price_table.read(prices).get(asked.row.get("price", "none"))
    if price is None:
        return None
    low, high = (
        (asked.text_tokens + asked.images * of_image) * price.input + output * price.output
        for of_image, output in zip(TOKEN_RANGE_OF_AN_IMAGE, asked.output_tokens, strict=True)
    )
    return low / 1e6, high / 1e6, f"price of {price.date}"


def hours(asked: Asked, on: costs.Gpu) -> tuple[float, float]:
    """Hours of a model of MedGemma's size in process, at the least and at the most.

    Args:
        asked: What is asked.
        on: The GPU.
    """
    each = max(asked.requests, 1)
    slow, fast = costs.UTILISATION
    text = round(asked.text_tokens / each + max(asked.images / each - 1, 0) * costs.IMAGE_TOKENS)
    low, high = (
        costs.generation_seconds(
            on,
            utilisation,
            quantization=asked.row["quantization"],
            batch=asked.row["batch_size"],
            text_tokens=text,
            new_tokens=round(new / each),
            fused=fused,
        )
        for utilisation, new, fused in ((fast, asked.output_tokens[0], True), (slow, asked.output_tokens[1], False))
    )
    return asked.requests * low / 3600, asked.requests * high / 3600


def lines(document: Mapping[str, Any], on: costs.Gpu, results: Path) -> list[str]:
    """Estimate as lines of text.

    Args:
        document: The parameters.
        on: The GPU of arms that run in process.
        results: Folder of results.
    """
    found, prices = sample(results, document), document["findings"]["client"]["prices"]
    told = [
        f"findings, computed, not measured: {found.cases} test cases with {found.images:.1f} images ({found.source})"
    ]
    spent: list[tuple[float, float]] = []
    unknown = []
    for what, every in (("arm", arms(document, found)), ("judge", judges(document, found))):
        for asked in every:
            low, high = (part / 1e3 for part in asked.output_tokens)
            image = tuple(asked.images * each / 1e3 for each in TOKEN_RANGE_OF_AN_IMAGE)
            line = f"  {what} {asked.name}: {asked.requests} requests, {asked.text_tokens / 1e3:.0f} k tokens of text, "
            line += f"{asked.images:.0f} images ({image[0]:.0f} to {image[1]:.0f} k tokens), "
            line += f"answers {low:.0f} to {high:.0f} k tokens"
            if asked.kind == "local":
                least, most = hours(asked, on)
                line += f", {least:.2g} to {most:.2g} h on one {on.name} if the model is of MedGemma 4B's size"
            elif money := dollars(asked, prices):
                spent.append(money[:2])
                line += f", ${money[0]:.2f} to ${money[1]:.2f} ({money[2]})"
            else:
                unknown.append(asked.name)
                line += ", price not known"
            told.append(line)
    if spent:
        least, most = (sum(part) for part in zip(*spent, strict=True))
        told.append(f"  in all ${least:.2f} to ${most:.2f}" + (f", without {', '.join(unknown)}" if unknown else ""))
    if unknown:
        told.append(
            f"  no price of {', '.join(unknown)}: give dated ones in a YAML file of your own, findings.client.prices"
        )
    return told
