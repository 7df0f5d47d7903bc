"""Rows of `zoo.models` as select, measure and the page look at them: what each says of itself, and what it costs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from stages.lib.core import params
from stages.lib.core.errors import ParamsError
from stages.lib.report.systems import spoken
from stages.zoo.records import Embedded, Failure, Fit, Inferred

SEEN = {"labels": "with its labels", "pixels": "its pixels", "no": "no", "unknown": "unknown"}
BARS = ("labels", "pixels")  # values of `seen` that keep a row from being chosen


@dataclass(frozen=True, kw_only=True)
class Model:
    """A row.

    Attributes:
        name: Its name.
        label: What it is called on the page.
        kind: Its kind.
        seen: Whether its weights have seen ChestX-ray14, see `backbone.Seen`.
        licence: Of its weights.
        commercial: Whether that allows commercial use.
        members: Rows that an ensemble is made of; empty of others.
        row: The row itself.
    """

    name: str
    label: str
    kind: str
    seen: str
    licence: str
    commercial: bool
    members: tuple[str, ...] = ()
    row: Mapping[str, Any] = field(default_factory=dict, repr=False)


def models(document: Mapping[str, Any]) -> dict[str, Model]:
    """Rows of a document of parameters by name, in their order.

    Raises:
        ParamsError: If there is none, or a row lacks what every row says.
    """
    rows = (document.get("zoo") or {}).get("models") or {}
    problems = [] if rows else ["zoo.models: no row, wanted at least one"]
    found = {}
    for name, row in rows.items():
        missing = [key for key in ("kind", "seen", "licence", "commercial") if key not in row]
        problems += [f"zoo.models.{name}.{key}: missing" for key in missing]
        if not missing:
            found[name] = Model(
                name=name,
                label=str(row.get("label") or spoken(name)),
                kind=row["kind"],
                seen=row["seen"],
                licence=row["licence"],
                commercial=row["commercial"],
                members=tuple(row.get("members") or ()),
                row=row,
            )
    if problems:
        raise ParamsError("parameters of the rows:", problems)
    return found


@params.section
class Cost:
    """What one row costs.

    Attributes:
        parameters: All that score an image; of an ensemble the sum over its members. Null if not known.
        trained_parameters: Those that were fitted here.
        operations: Floating-point operations of one image in one pass; null of an ensemble, and if not known.
        passes: Forward passes per image; of an ensemble the sum over its members.
        whole: Operations of one image in all its passes; of an ensemble the sum over its members.
        feature_bytes: Of the frozen features on disk, which rows share; null without any.
        fit_seconds: Of the fit on this machine.
        image_seconds: Of one image on this machine, model and head together; null if not known.
    """

    parameters: int | None
    trained_parameters: int
    operations: float | None
    passes: int
    whole: float | None
    feature_bytes: int | None
    fit_seconds: float
    image_seconds: float | None


def costs(
    rows: Mapping[str, Model],
    fits: Mapping[str, Fit],
    inferred: Mapping[str, Inferred],
    embedded: Mapping[str, Embedded],
) -> dict[str, Cost]:
    """What each row costs that has a record of its fit.

    Args:
        rows: The rows.
        fits: Record of each row's fit.
        inferred: Record of each row's scores.
        embedded: Record of each features, by their name.
    """
    made: dict[str, Cost] = {}
    for name in rows:
        _cost(name, rows, fits, inferred, embedded, made, ())
    return made


def _cost(
    name: str,
    rows: Mapping[str, Model],
    fits: Mapping[str, Fit],
    inferred: Mapping[str, Inferred],
    embedded: Mapping[str, Embedded],
    made: dict[str, Cost],
    above: tuple[str, ...],
) -> Cost | None:
    """Cost of a row, its members' first; an ensemble that is within itself has none."""
    if name in made or name not in fits or name not in rows or name in above:
        return made.get(name)
    fit, tower = fits[name], embedded.get(fits[name].features or "")
    members = [_cost(one, rows, fits, inferred, embedded, made, (*above, name)) for one in rows[name].members]
    head = inferred[name].seconds_per_image if name in inferred else None
    if members:
        parts = [one for one in members if one is not None]
        complete = len(parts) == len(members)
        whole = _total([one.whole for one in parts]) if complete else None
        made[name] = Cost(
            parameters=_total([one.parameters for one in parts]) if complete else None,
            trained_parameters=fit.trained_parameters,
            operations=None,
            passes=sum(one.passes for one in parts) or fit.passes,
            whole=None if whole is None else float(whole),
            feature_bytes=None,
            fit_seconds=fit.seconds,
            image_seconds=_total([head, *(one.image_seconds for one in parts)]) if complete else None,
        )
        return made[name]
    operations = fit.operations
    made[name] = Cost(
        parameters=fit.parameters,
        trained_parameters=fit.trained_parameters,
        operations=operations,
        passes=fit.passes,
        whole=None if operations is None else operations * fit.passes,
        feature_bytes=tower.bytes if tower else None,
        fit_seconds=fit.seconds,
        image_seconds=_total([head, tower.seconds_per_image if tower else None]) if fit.features else head,
    )
    return made[name]


def _total(values: Sequence[Any]) -> Any:
    """Sum; None if one of them is not known."""
    return None if any(value is None for value in values) else sum(values)


def failure(fit: Fit | None, inferred: Inferred | None) -> Failure | None:
    """Why a row has no scores; None if it has."""
    return (fit.failure if fit else None) or (inferred.failure if inferred else None)


def barred(model: Model, *, commercial: bool, failed: Failure | None, constant: bool) -> str:
    """Why a row may not be chosen; empty if it may.

    Args:
        model: The row.
        commercial: Whether the study is commercial.
        failed: Why it has no scores.
        constant: Whether it gives every validation image the same score.

    >>> own = Model(name="a", label="A", kind="probe", seen="pixels", licence="MIT", commercial=True)
    >>> barred(own, commercial=False, failed=None, constant=False)
    'its weights have seen ChestX-ray14 (its pixels)'
    """
    if failed is not None:
        return f"it failed in {failed.stage}"
    reasons = []
    if model.seen in BARS:
        reasons.append(f"its weights have seen ChestX-ray14 ({SEEN[model.seen]})")
    if commercial and not model.commercial:
        reasons.append(f"its licence ({model.licence}) forbids commercial use, and the study is commercial")
    if constant:
        reasons.append("it gives every image the same score: a reference, not a model")
    return "; ".join(reasons)
