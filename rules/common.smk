"""What the chapters share: the checked parameters, the code of a stage, and how command lines are built."""

import atexit
import json
import os
import re
import sys
from pathlib import Path
from shlex import quote

from snakemake.exceptions import WorkflowError
from snakemake_interface_executor_plugins.settings import ExecMode

from stages.lib.core import files, kinds
from stages.lib.core import params as parameters
from stages.lib.core.closure import closure
from stages.lib.core.errors import ParamsError
from stages.lib.core.params import subset
from workflow import chapters, costs, devices, estimate, findings_run, registry, running, zoo_names

try:
    for configfile in workflow.configfiles:
        parameters.document(str(configfile))  # for what Snakemake's own reading drops in silence
    zoo_names.plain(config)
    registry.check(config)
except ParamsError as error:
    raise WorkflowError(str(error)) from None

# The commands run in the interpreter that runs Snakemake, one thread each: Snakemake runs them side by side.
os.environ.update(PATH=os.pathsep.join([str(Path(sys.executable).parent), *os.get_exec_path()]))
os.environ.setdefault("OMP_NUM_THREADS", "1")

# On this machine two jobs never share a card; a cluster hands out its own, and --resources gpu=N is taken as given.
if workflow.resource_settings.nodes is None and "gpu" not in workflow.global_resources:
    workflow.register_resource("gpu", devices.count())

CHAPTERS = config["study"]["chapters"]
NONE = "(?!)"  # a wildcard that nothing can be
ROWS = {  # where the rows of the systems of each kind stand
    "base": "weights.pretrain",
    "classifier": "nodules.classifiers",
    "localizer": "nodules.localizers",
    "arm": "findings.arms",
    "judge": "findings.judges",
    "retriever": "findings.retrievers",
    "encoder": "lofi.encoders",
    "grounder": "lofi.grounders",
    "model": "zoo.models",
    "zoo_localizer": "zoo.localizers",
}
TRAINED = "results/nodules/train/adapter"
SEEDS = config["study"]["seeds"]
REPEATED = ("data.split", "nodules.train")  # sections whose seed is their own, plus that of study.seeds
SEEDED = {  # where what depends on the seed begins, and where it lies with another seed than the first
    "results/data/split": "results/data/seeds/{seed}/split",
    "results/logs/data_split": "results/logs/seeds/{seed}/data_split",
    "results/logs/nodules": "results/logs/seeds/{seed}/nodules",
    "results/shards/nodules": "results/shards/seeds/{seed}/nodules",
    **{
        f"results/nodules/{name}": f"results/nodules/seeds/{{seed}}/{name}"
        for name in ("train", "infer", "localize", "external", "measure", "live")
    },
}
OVER_SEEDS = ["results/nodules/measure/over_seeds.parquet"] if len(SEEDS) > 1 else []
WAITED_FOR = (
    "code",
    "images",
    "checked",
    "adapter",
    "templates",
    "prompts",
    "rated",
    "table",
)  # inputs that a rule waits for and its command does not name


wildcard_constraints:
    seed=r"\d+",


def code(stage):
    """Source files of a stage, itself and all that it imports."""
    return closure(f"stages.{stage}")


def seeded(path, wildcards):
    """The same file of a job's own seed, where it depends on the seed."""
    for ours, other in SEEDED.items():
        if "seed" in wildcards.keys() and path.startswith(ours):
            return other.format(seed=wildcards.seed) + path.removeprefix(ours)
    return path


def of(name):
    """The section of the parameters that has a dotted name."""
    chapter, _, last = name.rpartition(".")
    return config[chapter][last] if chapter else config[last]


def row_of(kind, name):
    """The row of one system."""
    return dict(of(ROWS[kind])[name])


def text(document, wildcards):
    """JSON text of parameters; the adapter is that of the job's seed."""
    return json.dumps(document).replace(json.dumps(TRAINED), json.dumps(seeded(TRAINED, wildcards)))


def section(*names, **changed):
    """Sections of the parameters as the JSON text that a stage takes: what is on the command line is what ran.

    `changed` are values of the first section that differ from the parameters. The seeds of `REPEATED` sections are
    those of the job.
    """

    def values(wildcards):
        seed = int(wildcards.seed) if "seed" in wildcards.keys() else SEEDS[0]
        changes = {name: {"seed": of(name)["seed"] + seed} for name in REPEATED if name in names}
        for name in names[:1]:
            changes[name] = {**changes.get(name, {}), **changed}
        return text(subset(config, names, changes), wildcards)

    return values


def with_row(kind, *names, row=(), **changed):
    """As `section`, for one system, with its row alone, so that other rows are no reason to run it again.

    `row` are values of the row that differ from the parameters, for keys that it has and that are not none there. A
    value of `changed` may be a function of the wildcards.
    """

    def values(wildcards):
        name = getattr(wildcards, kind)
        now = {key: value(wildcards) if callable(value) else value for key, value in changed.items()}
        document, own = json.loads(section(*names, **now)(wildcards)), row_of(kind, name)
        own.pop("label", None)  # what a system is called changes nothing of what it does
        own.update({key: value for key, value in dict(row).items() if own.get(key, "none") != "none"})
        chapter, _, rows = ROWS[kind].partition(".")
        document.setdefault(chapter, {})[rows] = {name: own}
        return text(document, wildcards)

    return values


def paths(wildcards, input, output):
    """Named inputs and outputs as options of the command, `--name path ...`; empty ones are left out."""
    words = []
    read = [(name, value) for name, value in input.items() if name not in WAITED_FOR]
    for name, value in [*read, *output.items()]:
        given = [value] if isinstance(value, str) else list(value)
        if given:
            words += [f"--{name.replace('_', '-')}", *map(quote, given)]
    return " ".join(words)


def paths_and(**more):
    """As `paths`, and files that are read but never made: they may hold wildcards in braces."""

    def found(wildcards, input, output):
        extra = {name: [path.format(**dict(wildcards.items())) for path in given] for name, given in more.items()}
        return paths(wildcards, {**dict(input.items()), **extra}, output)

    return found


def made(path):
    """The result that `path` lies in, if this pipeline makes it; else nothing."""
    parts = Path(path).parts
    deep = 4 if parts[:3] == ("results", "weights", "pretrain") else 3
    return [str(Path(*parts[:deep]))] if parts[:1] == ("results",) else []


def watched(path):
    """A fingerprint of what comes from outside the pipeline, so that a changed file there reruns what reads it."""
    return "" if made(path) else files.fingerprint(path)


def dry_run():
    """Whether this is `snakemake -n`; while it reads its rules, only its command line says so."""
    return any(word in ("--dry-run", "--dryrun") or re.fullmatch(r"-[pqFfk]*n[pqFfk]*", word) for word in sys.argv[1:])


def show_estimate():
    """What the real study takes on a GPU of 24 GB, and chapters that are targets, behind the plan."""
    planned = [name for name in chapters.CHAPTERS if name in sys.argv[1:]]
    print("", *estimate.lines(config, costs.GPUS["RTX 4090"], planned), sep="\n", file=sys.stderr)


if dry_run() and costs.needs_gpu(config) and __name__ != "other_seeds":
    atexit.register(show_estimate)

# Behind what Snakemake says of a lock; jobs that it starts are silent.
if workflow.exec_mode == ExecMode.DEFAULT and __name__ != "other_seeds":
    atexit.register(running.tell, sys.argv)
