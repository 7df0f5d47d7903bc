"""What the rows of the chapter zoo need on this machine: models and the right to them, environments, licences.

    python -m workflow.zoo_doctor          exit code 1 if something has to be mended

Nothing is fetched; `make zoo-fetch` fetches, and ends with these lines.
"""

import sys
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from stages.lib.core import documents, params
from stages.lib.core.errors import DocumentError, EnvironmentBuildError, NoduleflowError
from stages.lib.models import own_environment, snapshot
from stages.lib.models.chexagent.client import NO_ENCODER
from stages.lib.models.chexagent.records import Parts
from stages.lib.models.snapshot import Snapshot
from stages.weights import fetch, pickled
from workflow import chexagent_env, hub_line, own_env, vision_env, zoo_names
from workflow.chapters import Line
from workflow.costs import GB

RECORDS = Path("results/weights/zoo")


def lines(document: Mapping[str, Any]) -> list[Line]:
    """A line for each model, environment and licence that the rows want.

    Args:
        document: The parameters, checked.
    """
    return [*_models(document), *_chexagents(document), *_licences(document), *_environments(document)]


def _models(document: Mapping[str, Any]) -> Iterator[Line]:
    """A line for each model, once, however many rows name it."""
    seen = set()
    for section, name, row in zoo_names.rows(document):
        if not zoo_names.own_weights(row) or zoo_names.weights(row) in seen:
            continue
        seen.add(zoo_names.weights(row))
        keys = f"zoo.{section}.{name}.source", f"zoo.{section}.{name}.revision"
        if row["source"].startswith("results/"):
            yield f"{name}: {row['source']} is made by the pipeline itself", None
            continue
        if zoo_names.is_release(row):
            what, mend = f"{name}: {row['source']} is downloaded and converted when it is first needed", None
        elif zoo_names.is_pickled(row):
            what, mend = _pickled(name, row, keys)
        else:
            what, mend = hub_line.model(name, row["source"], row["revision"], keys=keys, whole=zoo_names.wants(row))
        yield f"{what}{_size(row)}; licence {row['licence']}", mend


def _pickled(name: str, row: Mapping[str, Any], keys: tuple[str, str]) -> Line:
    """A line for a pickled file, on the hub or here."""
    source, found = row["source"], zoo_names.hub_file(row)
    if found:
        whole = (found.name, pickled.CONFIGS[row["library"]])
        return hub_line.of(
            name, source, fetch.Source(found.repository, row["revision"], keys, whole, whole, found.inside)
        )
    if not Path(source).exists():
        return f"{name}: {source} may not be had", f"{keys[0]}: there is no file or folder {source}"
    return f"{name}: {source} is here, and converted when it is first needed", None


def _chexagents(document: Mapping[str, Any]) -> Iterator[Line]:
    """A line for the model and one for the encoder of each row that asks CheXagent, and one for its environment."""
    rows = {name: row for name, row in document["zoo"]["models"].items() if row["kind"] == "chexagent"}
    for name, row in rows.items():
        for model, revision in (("model", "revision"), ("encoder", "encoder_revision")):
            if row[model] == NO_ENCODER:
                continue
            keys = f"zoo.models.{name}.{model}", f"zoo.models.{name}.{revision}"
            what, mend = hub_line.model(name, row[model], row[revision], keys=keys, asked=False)
            yield f"{what}{_size_of_part(name, model, row[model])}; licence {row['licence']}", mend
    yield from _environment("CheXagent's environment", chexagent_env.ENV, RECORDS / "chexagent_environment.json", rows)


def _size(row: Mapping[str, Any]) -> str:
    """What a model that was found takes on the disk."""
    try:
        return _taken(snapshot.read(RECORDS / f"{zoo_names.weights(row)}.json"))
    except NoduleflowError:
        return ""


def _size_of_part(name: str, part: str, base: str) -> str:
    """What a part of CheXagent that was found for a row takes on the disk: the model, or its encoder."""
    try:
        found = documents.read(RECORDS / f"{name}_parts.json", Parts).whole.get(part)
    except NoduleflowError:
        return ""
    return _taken(found) if found and found.base == base else ""


def _taken(found: Snapshot) -> str:
    """What the files of a model take on the disk."""
    size = sum((found.folder / name).stat().st_size for name in found.files if (found.folder / name).is_file())
    return f" ({size / GB:.2f} GB on the disk)"


def _licences(document: Mapping[str, Any]) -> Iterator[Line]:
    """A line for the rows whose licence forbids commercial use."""
    bound = [name for _, name, row in zoo_names.rows(document) if not row.get("commercial", True)]
    if bound:
        forbidden = document["study"]["commercial"]
        yield (
            f"non-commercial licence: {', '.join(bound)}",
            "take the rows out, or set study.commercial: false" if forbidden else None,
        )


def _environments(document: Mapping[str, Any]) -> Iterator[Line]:
    """A line for the vision environment, if a row needs it."""
    rows = [name for _, name, row in zoo_names.rows(document) if zoo_names.needs_vision(row)]
    yield from _environment("vision environment", vision_env.ENV, RECORDS / "vision_environment.json", rows)


def _environment(what: str, env: own_env.OwnEnv, record: Path, rows: Collection[str]) -> Iterator[Line]:
    """A line for an environment of its own, if rows need it: whether it is built, may be, or could not be."""
    if not rows:
        return
    title = f"{what}, of {', '.join(rows)}"
    try:
        _ = own_env.ready(env, env.folder) or own_environment.read(record, env.mend)
    except EnvironmentBuildError as error:
        yield f"{title}: could not be built, or is gone", str(error)
    except DocumentError:  # nobody has asked for it so far
        if own_env.fit_python(env) is None:
            yield f"{title}: found no Python that its packages have files for", "install Python 3.11 or 3.12"
        else:
            yield f"{title}: is built when it is first needed (gigabytes)", None
    else:
        yield f"{title}: is built", None


def main() -> None:
    """Print every line; exit with 1 if something has to be mended."""
    found = lines(params.document("params.yaml"))
    for what, mend in found:
        print(f"OK    {what}" if mend is None else f"MEND  {what}: {mend}")
    missing = [line for line in found if line[1] is not None]
    if missing:
        sys.exit(f"{len(missing)} thing(s) to mend")


if __name__ == "__main__":
    main()
