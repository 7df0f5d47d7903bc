"""Write dvc.yaml from the rules: the same DAG, so that DVC versions what Snakemake runs.

`python -m workflow.dvc_sync` writes it, `--check` says whether it is up to date. The source is the text of a dry run of
everything (`snakemake -n -p --forceall`), which holds each rule's inputs, outputs and command as they really are. A
rule `x_shard` is a shard of the rule `x`; both make one DVC stage, `x`, or `x-<system>` for each of its systems. A DVC
stage runs Snakemake for its own rules alone, so both engines share commands, records and profile. The hash behind a
command is that of the rule's own command, so that an edited rule is a changed stage.
"""

import argparse
import hashlib
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from stages.weights import pickled
from workflow import zoo_names
from workflow.chapters import ROOTS

HEADER = "# Generated from rules/ by `make sync`; do not edit.\n"
METRICS = "results/summary.json"
CURVE = "results/nodules/train/curve.csv"
LIVE = {  # what training writes while it runs
    "loss of the run in progress": ["loss", "val_loss"],
    "validation of the run in progress": ["val_balanced_accuracy", "val_f1", "val_average_precision"],
}
ROWS = ("pretrain", "classifiers", "localizers", "arms", "judges", "retrievers", "encoders", "grounders", "models")
SYSTEMS = (
    "arm",
    "asked",
    "base",
    "chexagent",
    "classifier",
    "encoder",
    "external",
    "features",
    "grounder",
    "judge",
    "localizer",
    "lofi_model",
    "model",
    "purpose",
    "retriever",
    "seed",
    "side",
    "source",
    "variant",
    "zoo_localizer",
)  # wildcards: a stage of DVC is one system's, of one seed
REPEATED = {"data.split", "nodules.train"}  # sections to whose seed that of study.seeds is added
SHARD = re.compile(r"^\d+-of-\d+(\.\w+)?$")


@dataclass
class Job:
    """One job of the dry run: its rule, the systems of its wildcards, files and command."""

    rule: str
    systems: list[str] = field(default_factory=list)
    reads: list[str] = field(default_factory=list)
    writes: list[str] = field(default_factory=list)
    command: str = ""


def dry_run(root: Path, *targets: str) -> str:
    """Text of a dry run of everything in `root`, or of some targets.

    Raises:
        SystemExit: If Snakemake refuses, with its message.
    """
    command = [sys.executable, "-m", "snakemake", "-n", "-p", "--forceall", "--nocolor", "--nolock"]
    command += targets
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr + done.stdout)
    return done.stdout + done.stderr


def jobs(text: str) -> list[Job]:
    """Jobs of a dry run's text, in its order."""
    found: list[Job] = []
    for line in text.splitlines():
        if match := re.match(r"(?:local)?rule (\w+):$", line):
            found.append(Job(match[1]))
        elif match := re.match(r"    (input|output): (.*)$", line):
            getattr(found[-1], "reads" if match[1] == "input" else "writes").extend(match[2].split(", "))
        elif match := re.match(r"    wildcards: (.*)$", line):
            pairs = dict(pair.split("=", 1) for pair in match[1].split(", "))
            found[-1].systems = [value for name, value in sorted(pairs.items()) if name in SYSTEMS]
        elif match := re.match(r"Shell command: (.*)$", line):
            found[-1].command = match[1]
    return found


def dvc(found: list[Job], params: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Document of dvc.yaml.

    Args:
        found: All jobs of the study.
        params: The parameters in force; the folders of images and of a local base model are dependencies by name.
    """
    outside = _outside(params)
    stages: dict[str, list[Job]] = {}
    for job in found:
        if job.writes:
            stages.setdefault("-".join([job.rule.removesuffix("_shard"), *job.systems]), []).append(job)
    document: dict[str, Any] = {"stages": {}}
    for name in _in_order_of_flow(stages):
        members = stages[name]
        writes = {_whole(path) for job in members for path in job.writes if not _temporary(path)}
        own = {_whole(path) for job in members for path in job.writes}
        reads = {_whole(path) for job in members for path in job.reads} - own
        if name in outside:
            key, path = outside[name]
            reads = (reads - {str(path)}) | {f"${{{key}}}"}
        rules = sorted({job.rule for job in members})
        target = sorted(path for path in writes if "." in Path(path).name) or sorted(writes)
        metrics = sorted(writes & {METRICS})
        document["stages"][name] = {
            "cmd": f"snakemake --cores all --rerun-incomplete --allowed-rules {' '.join(rules)}"
            f" -- {' '.join(target)}  # rule {_digest(members)}",
            "deps": sorted(reads),
            "params": sorted({section for job in members for section in _sections(job, params)}),
            "outs": sorted(writes - set(metrics)),
        }
        if metrics:
            document["stages"][name]["metrics"] = metrics
    if any(CURVE in stage["outs"] for stage in document["stages"].values()):
        document["plots"] = _plots()
    return document


def _outside(params: Mapping[str, Mapping[str, Any]]) -> dict[str, tuple[str, str]]:
    """Folders and files from outside that a stage reads: the parameter that names each, and its path."""
    found: dict[str, tuple[str, str]] = {}
    if "nodules" in params:
        found["data_ingest"] = ("data.ingest.root", params["data"]["ingest"]["root"])
        if params["weights"]["fetch"]["revision"] == "none":
            found["weights_fetch"] = ("weights.fetch.base", params["weights"]["fetch"]["base"])
        if params["data"]["split"]["file"] != "none":
            found["data_split"] = ("data.split.file", params["data"]["split"]["file"])
        for name, root in params["data"]["external"]["roots"].items():
            found[f"data_ingest_external-{name}"] = (f"data.external.roots.{name}", root)
        for name, row in params["nodules"]["localizers"].items():
            if row.get("revision") == "none":
                found[f"weights_fetch_own-{name}"] = (f"nodules.localizers.{name}.model", row["model"])
    if "ingest" in params.get("findings", {}):
        found["findings_ingest"] = ("findings.ingest.root", params["findings"]["ingest"]["root"])
        for name, row in params["findings"].get("arms", {}).items():
            if row["kind"] == "local" and row["revision"] == "none":
                found[f"findings_fetch-{name}"] = (f"findings.arms.{name}.model", row["model"])
    if "ingest" in params.get("lofi", {}):
        found["lofi_ingest"] = ("lofi.ingest.root", params["lofi"]["ingest"]["root"])
        for name in ("encoder", "decoder"):
            if params["lofi"]["model"][f"{name}_revision"] == "none":
                found[f"lofi_fetch-{name}"] = (f"lofi.model.{name}", params["lofi"]["model"][name])
        for kind in ("encoder", "grounder"):
            for name, row in params["lofi"][f"{kind}s"].items():
                if row.get("revision") == "none":
                    found[f"lofi_fetch-{kind}_{name}"] = (f"lofi.{kind}s.{name}.model", row["model"])
    for section, name, row in zoo_names.rows(params) if "zoo" in params else ():
        local = zoo_names.own_weights(row) and pickled.is_local(row["revision"])  # a hash is that of a file here
        if local and not row["source"].startswith("results/") and not zoo_names.is_release(row):
            stage = f"{zoo_names.fetched_by(row)}-{zoo_names.weights(row)}"
            found.setdefault(stage, (f"zoo.{section}.{name}.source", row["source"]))
        if row["kind"] == "chexagent" and row["revision"] == "none":
            found[f"zoo_chexagent-{name}"] = (f"zoo.{section}.{name}.model", row["model"])
    return found


def _plots() -> list[dict[str, Any]]:
    """Curves of training, and those of the run in progress."""
    plots: list[dict[str, Any]] = [
        {CURVE: {"x": "step", "y": ["loss", "val_loss"], "y_label": "loss", "template": "curve"}}
    ]
    for name, columns in LIVE.items():
        y = {f"results/nodules/live/plots/metrics/{column}.tsv": column for column in columns}
        plots.append({name: {"x": "step", "y": y, "y_label": name.split()[0], "template": "curve"}})
    return plots


def _in_order_of_flow(stages: Mapping[str, list[Job]]) -> list[str]:
    """Names of the stages, each behind those it reads from; otherwise by name, whatever the order of the dry run."""
    maker = {path: name for name, members in stages.items() for job in members for path in job.writes}
    needs = {
        name: {maker[path] for job in members for path in job.reads if path in maker} - {name}
        for name, members in stages.items()
    }
    ordered: list[str] = []
    while len(ordered) < len(needs):
        ordered.append(min(name for name in needs if name not in ordered and needs[name] <= set(ordered)))
    return ordered


def _temporary(path: str) -> bool:
    return path.startswith("results/shards/")


def _whole(path: str) -> str:
    """The folder that holds a shard's folder or file: the number of shards is no part of the DAG."""
    return str(Path(path).parent) if SHARD.match(Path(path).name) else path


def _sections(job: Job, params: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The sections of the parameters that a command was given, by their dotted names.

    Of systems it is the row, or the keys of the row where the command has some alone. A chapter's own page is given the
    section of the chapter in the place of the study's.
    """
    words = shlex.split(job.command.partition(" 2>&1")[0].strip("()"))
    document = json.loads(words[words.index("--params") + 1]) if "--params" in words else {}
    found = []
    for chapter, inside in document.items():
        for name, values in inside.items() if chapter in ROOTS else [("", inside)]:
            if (chapter, name) == ("zoo", "backbone"):
                found += _backbone(values, params["zoo"])
                continue
            if "*" in values:  # a model that rows share
                found += _backbone(values["*"], params["zoo"])
                continue
            rows = _rows(values, params[chapter][name]) if name in ROWS else [""]
            found += [".".join(filter(None, (chapter, name, row))) for row in rows]
    chapter = job.rule.removesuffix("_report")
    if chapter in ROOTS:
        found = [f"{chapter}.{name}" if name == "report" else name for name in found]
    return [*found, *(["study.seeds"] if REPEATED & set(found) else [])]


def _backbone(given: Mapping[str, Any], zoo: Mapping[str, Any]) -> list[str]:
    """Parameters that rows share: those keys of the first row that has these values."""
    for section in ("models", "localizers"):
        for name, row in zoo[section].items():
            if given.items() <= row.items():
                return [f"zoo.{section}.{name}.{key}" for key in given]
    return []


def _rows(given: Mapping[str, Mapping[str, Any]], params: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Names of the rows that a command was given; of a row that is not whole, those of its keys.

    >>> _rows({"a": {"kind": "x"}, "b": {"kind": "y"}}, {"a": {"kind": "x", "label": "A"}, "b": {"kind": "y", "n": 2}})
    ['a', 'b.kind']
    """
    found = []
    for name, row in given.items():
        whole = set(params[name]) - set(row) <= {"label"}
        found += [name] if whole else [f"{name}.{key}" for key in row]
    return found


def _digest(members: list[Job]) -> str:
    """A hash of the commands without the values of the parameters and the numbers of the shards."""
    texts = {re.sub(r"--params '.*?}' --", "--params --", job.command) for job in members}
    texts = {re.sub(r"(\S*\d+-of-\d+\S*\s*)+", "SHARD ", text) for text in texts}
    return hashlib.sha256("\n".join(sorted(texts)).encode()).hexdigest()[:8]


def render(root: Path) -> str:
    """Text that dvc.yaml must have."""
    params = yaml.safe_load((root / "params.yaml").read_text())
    document = dvc(jobs(dry_run(root)), params)
    return HEADER + yaml.safe_dump(document, sort_keys=False, width=1000)


def main() -> None:
    """Write dvc.yaml, or check it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="exit with 1 if dvc.yaml is not as it must be")
    args = parser.parse_args()
    root = Path.cwd()
    wanted, path = render(root), root / "dvc.yaml"
    if args.check and (not path.exists() or path.read_text() != wanted):
        sys.exit("dvc.yaml does not agree with rules/ and params.yaml; run `make sync`")
    if not args.check:
        path.write_text(wanted)


if __name__ == "__main__":
    main()
