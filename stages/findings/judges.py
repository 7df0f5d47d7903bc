"""Judges of the benchmark: what of their rows cannot be true together, told before anything is asked."""

from collections.abc import Mapping, Sequence

from stages.lib.core import params
from stages.lib.core.errors import ParamsError
from stages.lib.core.params import Row
from stages.lib.models.judge import NONE
from stages.lib.models.judging import rubric


def problems(rows: Mapping[str, Row], names: Sequence[str] | None = None) -> list[str]:
    """One sentence for each thing that is wrong with the judges.

    Args:
        rows: Rows of findings.judges, the fallbacks' included.
        names: Which of them are looked at; None for all.
    """
    found = [] if rows else ["findings.judges: found none, wanted one or more"]
    for name in rows if names is None else names:
        given, where = rows[name].params, f"findings.judges.{name}"
        try:
            rubric.read(given.rubric)
        except ParamsError as error:
            found += [f"{where}.rubric {given.rubric}: {problem}" for problem in error.problems]
        if given.fallback == name:
            found.append(f"{where}.fallback: found the judge itself, wanted another one or {NONE}")
        elif given.fallback not in (NONE, *rows):
            known = [f"{where}.fallback {other}" for other in (NONE, *rows) if other != name]
            found.append(params.unknown(f"{where}.fallback {given.fallback}", known))
    return found
