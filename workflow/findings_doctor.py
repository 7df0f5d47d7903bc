"""What the findings benchmark lacks here: the folder of cases, the endpoints of arms and judges, and models in process.

Each endpoint is asked whether it is there, knows its model, takes the images that the arm sends, and obeys a JSON
Schema; in earnest only on this machine, where that costs nothing. A key is looked for and never printed.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from stages.lib.core import kinds, params
from stages.lib.core.errors import NoduleflowError
from workflow import hub_line
from workflow.chapters import Line

ENDPOINT = "endpoint"


def lines(document: Mapping[str, Any]) -> list[Line]:
    """A line for each thing that the chapter needs.

    Args:
        document: The parameters, checked.
    """
    findings = document["findings"]
    if "findings" not in document["study"]["chapters"]:
        ours = findings["ingest"]["root"].startswith("results/")
        return [] if ours else [*_data(findings["ingest"]["root"])]
    sections = {"findings.arms": kinds.rows(kinds.ARMS), "findings.judges": kinds.rows(kinds.JUDGES)}
    given = params.parse(document, sections)
    made = [*_data(findings["ingest"]["root"])]
    for what, rows in (("arm", given.arms), ("judge", given.judges)):
        for name, row in rows.items():
            if row.kind == ENDPOINT:
                made += _endpoint(f"{what} {name}", row.params, findings["client"]["prices"], schema=what == "judge")
            elif row.kind == "local":
                keys = f"findings.{what}s.{name}.model", f"findings.{what}s.{name}.revision"
                made.append(hub_line.model(f"{what} {name}", row.params.model, row.params.revision, keys=keys))
    return made


def _data(root: str) -> Iterator[Line]:
    if root.startswith("results/"):
        yield f"cases: {root} is made by the study itself", None
        return
    wanted = ("Case_topic.json", "Descriptions.json", "images")
    lacking = [name for name in wanted if not (Path(root) / name).exists()]
    if lacking:
        yield (
            f"cases: {root} lacks {', '.join(lacking)}",
            "set findings.ingest.root in params.yaml to a folder in the layout of MedPix 2.0",
        )
    else:
        yield f"cases: {root} has the files of the layout of MedPix 2.0", None


def _endpoint(name: str, row: Any, prices: str, *, schema: bool) -> Iterator[Line]:
    from stages.lib.models.chat import prices as price_table
    from stages.lib.models.chat import probe

    try:
        price = price_table.read(prices).get(row.price)
        found = probe.probe(row, price, schema=schema)
    except NoduleflowError as error:
        yield f"{name}: {row.model}: {error}", "correct its row in params.yaml"
        return
    for good, sentence in found:
        what, mend = (sentence, None) if good else _mended(sentence)
        yield f"{name}: {what}", mend


def _mended(problem: str) -> tuple[str, str]:
    """A problem of an endpoint, and what mends it: what it says itself, if it does."""
    from stages.lib.models.chat import checks, token

    for own in (token.SET_IT, checks.LET_LEAVE):
        if problem.endswith(own):
            return problem.removesuffix(own).rstrip(" ;:"), own
    return problem, "start the server, or correct the row"
