"""Rows of `zoo.models` as select, measure and the page look at them: what each says of itself, and what it costs."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from stages.lib.core import params
from stages.lib.core.errors import ParamsError
from stages.lib.models.backbone import seen
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
        members: Rows that an ensemble or a soup is made of; empty of others.
        read: Whether its scores are read from a table of the study, so that no time of an image was measured.
        row: The row itself.
    """

    name: str
    label: str
    kind: str
    seen: str
    licence: str
    commercial: bool
    members: tuple[str, ...] = ()
    read: bool = False
    row: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def asks(self) -> tuple[str, ...]:
        """Rows that score an image before it does: its members, but of a soup, which is one network."""
        return () if self.kind == "soup" else self.members


def models(document: Mapping[str, Any]) -> dict[str, Model]:
    """Rows of a document of parameters by name, in their order; a label that several share has their name behind it.

    Raises:
        ParamsError: If there is none, or a row lacks what every row says.
    """
    rows = (document.get("zoo") or {}).get("models") or {}
    problems = [] if rows else ["zoo.models: no row, wanted at least one"]
    found = {}
    labels = {name: str(row.get("label") or spoken(name)) for name, row in rows.items()}
    often = Counter(labels.values())
    for name, row in rows.items():
        missing = [key for key in ("kind", "seen", "licence", "commercial") if key not in row]
        problems += [f"zoo.models.{name}.{key}: missing" for key in missing]
        if not missing:
            found[name] = Model(
                name=name,
                label=labels[name] if often[labels[name]] == 1 else f"{labels[name]} ({name})",
                kind=row["kind"],
                seen=str(seen(row["seen"])),
                licence=row["licence"],
                commercial=row["commercial"],
                members=tuple(row.get("members") or ()),
                read="classifier" in row,
                row=row,
            )
    if problems:
        raise ParamsError("parameters of the rows:", problems)
    return found


@params.section
class Cost:
    """What one row costs.

    Attributes:
        parameters: All that score an image; of an ensemble the sum over its members, those with the same features
            counted once. Null if not known.
        trained_parameters: Those that were fitted here.
        operations: Floating-point operations of one image in one pass; null of an ensemble, and if not known.
        passes: Forward passes per image; of an ensemble likewise.
        whole: Operations of one image in all its passes; of an ensemble likewise.
        feature_bytes: Of the frozen features on disk, which rows share; null without any.
        fit_seconds: Of the fit on this machine.
        image_seconds: Of one image on this machine, model and head together; null if not known, as of scores that
            were read from a table.
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
    alone = {
        name: _cost(model, fits[name], inferred.get(name), embedded.get(fits[name].features or ""))
        for name, model in rows.items()
        if name in fits
    }
    return {
        name: _together(name, rows, fits, inferred.get(name), alone) if rows[name].asks else one
        for name, one in alone.items()
    }


def _cost(model: Model, fit: Fit, inferred: Inferred | None, tower: Embedded | None) -> Cost:
    """Cost of a row by itself, without members."""
    head = inferred.seconds_per_image if inferred and not model.read else None
    return Cost(
        parameters=fit.parameters,
        trained_parameters=fit.trained_parameters,
        operations=fit.operations,
        passes=fit.passes,
        whole=None if fit.operations is None else fit.operations * fit.passes,
        feature_bytes=tower.bytes if tower else None,
        fit_seconds=fit.seconds,
        image_seconds=_total([head, tower.seconds_per_image if tower else None]) if fit.features else head,
    )


def _together(
    name: str, rows: Mapping[str, Model], fits: Mapping[str, Fit], inferred: Inferred | None, alone: Mapping[str, Cost]
) -> Cost:
    """Cost of an ensemble: of all rows within it, those with the same features counted once."""
    leaves = [one for one in _leaves(name, rows, ()) if one != name]
    by_model = {(fits[one].features if one in fits else None) or f"row {one}": alone.get(one) for one in leaves}
    known = [one for one in by_model.values() if one is not None]
    complete = bool(known) and len(known) == len(by_model)
    head = inferred.seconds_per_image if inferred else None
    return Cost(
        parameters=_total([one.parameters for one in known]) if complete else None,
        trained_parameters=fits[name].trained_parameters,
        operations=None,
        passes=sum(one.passes for one in known) or fits[name].passes,
        whole=_total([one.whole for one in known]) if complete else None,
        feature_bytes=None,
        fit_seconds=fits[name].seconds,
        image_seconds=_total([head, *(one.image_seconds for one in known)]) if complete else None,
    )


def _leaves(name: str, rows: Mapping[str, Model], above: tuple[str, ...]) -> list[str]:
    """Rows that an ensemble comes down to, itself if it is none; a row within itself has none."""
    if name in above:
        return []
    if name not in rows or not rows[name].asks:
        return [name]
    found = [leaf for one in rows[name].asks for leaf in _leaves(one, rows, (*above, name))]
    return list(dict.fromkeys(found))


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
