"""Sentences about drawn slices: gold texts, captions, and the answers that the demo's base is taught."""

from collections.abc import Sequence

import numpy as np

from stages.lib.demo.synthetic.slice_findings import Finding

NORMAL = "There is no mass, cyst, calcification or collection."
NO_OTHER = "There are no other findings."
REGION_WORDS = {"head": "head", "thorax": "thorax", "abdomen": "abdomen", "spine": "spine", "urinary": "pelvis"}
TEMPLATES = (  # ways to write one finding; the first is what the base is taught
    "There is a {size} {kind} in the {side} {place}.",
    "A {size} {kind} is seen in the {side} {place}.",
    "The {side} {place} shows a {size} {kind}.",
)


def one(finding: Finding, region: str, template: int = 0) -> str:
    """Sentence about one finding.

    >>> one(Finding("mass", "right", "large", -0.5, 0.0, 12.0), "urinary", 1)
    'A large mass is seen in the right pelvis.'
    """
    place = REGION_WORDS[region]
    return TEMPLATES[template].format(size=finding.size, kind=finding.kind, side=finding.side, place=place)


def report(findings: Sequence[Finding], region: str, rng: np.random.Generator | None = None) -> str:
    """Findings of a slice or a case.

    Args:
        findings: The key finding first.
        region: Where they are.
        rng: Draws a template for each finding; None for the first template, as the base is taught.

    >>> report([], "head")
    'There is no mass, cyst, calcification or collection.'
    >>> report([Finding("cyst", "left", "small", 0.5, 0.0, 6.0)], "head")
    'There is a small cyst in the left head. There are no other findings.'
    """
    if not findings:
        return NORMAL
    chosen = [0 if rng is None else int(rng.integers(len(TEMPLATES))) for _ in findings]
    said = [one(finding, region, template) for finding, template in zip(findings, chosen, strict=True)]
    return " ".join([*said, NO_OTHER])


def focused(findings: Sequence[Finding], region: str, kind: str) -> str:
    """Answer to the question whether there is a finding of a kind.

    >>> focused([Finding("cyst", "left", "small", 0.5, 0.0, 6.0)], "head", "cyst")
    'Yes, there is a small cyst in the left head.'
    >>> focused([], "head", "cyst")
    'No.'
    """
    for finding in findings:
        if finding.kind == kind:
            return "Yes, " + one(finding, region).replace("There", "there")
    return "No."
