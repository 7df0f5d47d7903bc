"""Find CheXagent, its code and its vision encoder before any GPU is requested.

CheXagent-2, for non-commercial use only, loads its vision encoder from a second repository; the first CheXagent has it
in itself. Both run code of their own. All is pinned here, so that nothing is fetched, and no other code found, when it
runs.

in   localizer  name of the row of nodules.localizers, or
     model      of the row of zoo.models, that holds folders, or ids and full commit hashes on huggingface.co
out  JSON, as lib.models.chexagent.records.Parts: model, code and encoder, if any, each like fetch.json; with --missing,
     for a model that cannot be had, as lib.models.snapshot.Missing
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path

from stages.lib.core import cli, documents, kinds, params
from stages.lib.core.errors import ModelError, ParamsError
from stages.lib.core.log import LOG
from stages.lib.models.chexagent.client import NO_ENCODER, ChexagentModelParams
from stages.lib.models.chexagent.records import Parts
from stages.lib.models.snapshot import Missing
from stages.weights import fetch

# Its tokenizer's words and its code have names that the base model's files do not have.
MODEL_PATTERNS = (*fetch.PATTERNS, "*.py", "*.model", "*.tiktoken", "tokenization_config.json")
CODE_PATTERNS = ("*.py",)
SECTIONS = {"localizer": ("nodules.localizers", kinds.LOCALIZERS), "model": ("zoo.models", kinds.MODELS)}


def sources(given: ChexagentModelParams, key: str = "chexagent") -> dict[str, fetch.Source]:
    """What has to be found: model, code and encoder, if the model loads one.

    Args:
        given: Of the row.
        key: Dotted name of the row, for errors.
    """
    model, revision, code, encoder, encoder_revision = (
        f"{key}.{name}" for name in ("model", "revision", "code_revision", "encoder", "encoder_revision")
    )
    found = {
        "model": fetch.Source(given.model, given.revision, (model, revision), MODEL_PATTERNS, fetch.WHOLE),
        "code": fetch.Source(given.model, given.code_revision, (model, code), CODE_PATTERNS, ()),
    }
    if given.encoder != NO_ENCODER:
        whole = ("config.json", "weights")
        found["encoder"] = fetch.Source(given.encoder, given.encoder_revision, (encoder, encoder_revision), whole=whole)
    return found


def fetch_chexagent(given: ChexagentModelParams, token: str | None, offline: bool, key: str = "chexagent") -> Parts:
    """Place and identity of model, code and encoder on this machine; download what is not there.

    Args:
        given: Of the row.
        token: Read token of the hub; None to use a stored login, if any.
        offline: Whether only the local cache of the hub may be used.
        key: Dotted name of the row, for errors.

    Returns:
        The snapshot of each, by `fetch.fetch`.

    Raises:
        ModelError: If one cannot be found or is not whole, there is no code, the configuration points to code in
            another repository, which no commit hash would pin, or it is the other of the two models.
    """
    parts = {name: fetch.fetch(source, token, offline) for name, source in sources(given, key).items()}
    found = Parts(model=parts["model"], code=parts["code"], encoder=parts.get("encoder"))
    if not found.code.files:
        raise ModelError(f"{key}.model: there is no code (*.py) in {found.code.folder}; wanted CheXagent")
    for name in ("model", "encoder"):
        if name in found.whole:
            _no_foreign_code(found.whole[name].folder, f"{key}.{name}")
    _encoder_fits(found, key)
    for name, digest in found.code.files.items():
        LOG.info("fetch_chexagent: code %s %s", name, digest)
    return found


def _encoder_fits(found: Parts, key: str) -> None:
    """Refuse a row that says an encoder for a model that has its own, or none for one that loads it."""
    named = json.loads((found.model.folder / "config.json").read_text(encoding="utf-8"))
    if "qformer_config" in named and found.encoder:
        raise ModelError(
            f"{key}.encoder: found {found.encoder.base}, wanted {NO_ENCODER}: {found.model.base} is the first "
            "CheXagent, which has its encoder in itself"
        )
    if "qformer_config" not in named and not found.encoder:
        raise ModelError(
            f"{key}.encoder: found {NO_ENCODER}, wanted the vision encoder that {found.model.base} loads: only the "
            "first CheXagent, whose config.json has a qformer_config, has it in itself"
        )


def _no_foreign_code(folder: Path, key: str) -> None:
    for path in sorted(folder.glob("*config.json")):
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            raise ModelError(f"{key}: {path} is not whole JSON; fetch or copy it again") from None
        named = document.get("auto_map", {}) if isinstance(document, dict) else {}
        classes = [name for value in named.values() for name in (value if isinstance(value, list) else [value])]
        foreign = sorted({str(name) for name in classes if name and "--" in str(name)})
        if foreign:
            raise ModelError(
                f"{key}: {path.name} takes code from another repository ({', '.join(foreign)}), which its commit does "
                "not pin; copy model and code into one folder, name that without '--', and set revision: none"
            )


def chosen(text: str, localizer: str | None, model: str | None) -> tuple[str, ChexagentModelParams]:
    """Dotted name of the row that is named, and what it says.

    Args:
        text: Parameters, as a file or as JSON.
        localizer: Name of a row of nodules.localizers; None without one.
        model: Name of a row of zoo.models; None without one.

    Raises:
        ParamsError: If none or both are named, or the row is not there or of another kind.
    """
    names = {option: name for option, name in (("localizer", localizer), ("model", model)) if name is not None}
    if len(names) != 1:
        raise ParamsError("row:", [f"found {len(names)} of --localizer and --model, wanted one"])
    ((option, name),) = names.items()
    section, package = SECTIONS[option]
    rows = getattr(params.parse(params.document(text), {section: kinds.rows(package)}), section.rpartition(".")[2])
    found = rows.get(name)
    if found is None or not isinstance(found.params, ChexagentModelParams):
        raise ParamsError(f"--{option}:", [f"found {name!r}, wanted a row of {section} of the kind chexagent"])
    return f"{section}.{name}", found.params


def main(argv: Sequence[str] | None = None) -> None:
    """Find the three and write their records."""
    args = cli.parse(
        __doc__,
        argv,
        reads=["params", "localizer", "model"],
        writes=["out"],
        optional=["localizer", "model"],
        flags=["missing"],
    )
    key, row = chosen(args.params, args.localizer, args.model)
    on_hub = any(source.on_hub for source in sources(row).values())
    token = fetch.read_token(os.environ) if on_hub else None
    try:
        documents.write(args.out, fetch_chexagent(row, token, fetch.is_offline(os.environ), key))
    except ModelError as error:
        if not args.missing:
            raise
        LOG.error("%s", error)
        documents.write(args.out, Missing(base=row.model, revision=row.revision, missing=str(error)))


if __name__ == "__main__":
    cli.run(main)
