"""Arms of the benchmark: what of their rows cannot be true together, told before anything is asked."""

from collections.abc import Collection, Mapping

from stages.lib.core import params
from stages.lib.core.errors import ParamsError
from stages.lib.core.params import Row
from stages.lib.images import pictures
from stages.lib.models import prompt_family
from stages.lib.models.arm import NONE, ArmParams


def problems(rows: Mapping[str, Row], retrievers: Collection[str] | None = None) -> list[str]:
    """One sentence for each thing that is wrong with the arms.

    Args:
        rows: All rows of findings.arms.
        retrievers: Names of findings.retrievers; None if they are not known.
    """
    found = []
    for name, row in rows.items():
        where = f"findings.arms.{name}"
        found += [f"{where}.{problem}" for problem in of_one(row.params)]
        found += [f"{where}.{problem}" for problem in _after(row.params, rows)]
        wanted = row.params.retriever
        if retrievers is not None and wanted not in (NONE, *retrievers):
            found.append(
                params.unknown(f"{where}.retriever {wanted}", [f"{where}.retriever {one}" for one in retrievers])
                if retrievers
                else f"{where}.retriever: found {wanted!r}, and findings.retrievers is empty"
            )
    return found + [
        f"findings.arms: {' -> '.join(cycle)}: each waits for the other's answers" for cycle in cycles(rows)
    ]


def of_one(arm: ArmParams) -> list[str]:
    """What is wrong with one arm, whatever the others are."""
    found = []
    if wrong := pictures.problem(arm.pixels):
        found.append(f"pixels: found {wrong}")
    turns = 1 + (arm.n_examples if arm.example_images else 0)
    if arm.images != NONE and arm.max_images < turns:
        found.append(
            f"max_images: found {arm.max_images}, wanted at least {turns}: an image of the case and of each example"
        )
    try:
        family = prompt_family.read(arm.prompt)
    except ParamsError as error:
        return [*found, *(f"prompt {arm.prompt}: {problem}" for problem in error.problems)]
    variables = family.variables
    if ("findings" in variables) != (arm.after != NONE):
        found.append(
            f"prompt {arm.prompt}: {{findings}} is what the arm before answered; found after {arm.after!r}, wanted an "
            "arm where the family has this variable, and none where it has not"
        )
    if "examples" in variables:
        if arm.examples == NONE:
            found.append(f"prompt {arm.prompt}: the family has {{examples}}, and examples is none")
        if arm.example_images:
            found.append(f"example_images: the family {arm.prompt} has {{examples}} as text, wanted false")
    elif arm.examples != NONE:
        taken = {
            "questions": bool(family.questions),
            "JSON": family.answer_form != "text",
            "{findings}": "findings" in variables,
        }
        for what, there in taken.items():
            if there:
                found.append(f"examples: a gold text is no answer to the family {arm.prompt} with {what}; wanted none")
    return found


def cycles(rows: Mapping[str, Row]) -> list[list[str]]:
    """Chains of arms that end where they began, each once."""
    found: list[list[str]] = []
    for name in rows:
        chain = [name]
        while (after := _of(rows, chain[-1])) is not None and after not in chain:
            chain.append(after)
        if after == name and not any(name in other for other in found):
            found.append([*chain, name])
    return found


def _after(arm: ArmParams, rows: Mapping[str, Row]) -> list[str]:
    if arm.after == NONE:
        return []
    if arm.after not in rows:
        return [params.unknown(f"after {arm.after}", [f"after {name}" for name in rows])]
    theirs = rows[arm.after].params.unit
    return (
        [] if theirs == arm.unit else [f"unit: found {arm.unit!r}, wanted {theirs!r} as of the arm {arm.after} before"]
    )


def _of(rows: Mapping[str, Row], name: str) -> str | None:
    """Arm that an arm waits for; None if it waits for none that is there."""
    after: str = rows[name].params.after
    return after if after in rows else None
