"""What the chapters share: the checked parameters, the code of a stage, the environment of a command."""

import atexit
import json
import os
import re
import sys
from pathlib import Path
from shlex import quote

from snakemake.exceptions import WorkflowError

from stages.lib.core import files
from stages.lib.core.closure import closure
from stages.lib.core.errors import ParamsError
from workflow import costs, registry

try:
    registry.check(config)
except ParamsError as error:
    raise WorkflowError(str(error)) from None

# The commands run in the interpreter that runs Snakemake, one thread each: Snakemake runs them side by side.
os.environ.update(PATH=os.pathsep.join([str(Path(sys.executable).parent), *os.get_exec_path()]))
os.environ.setdefault("OMP_NUM_THREADS", "1")


def code(stage):
    """Source files of a stage, itself and all that it imports."""
    return closure(f"stages.{stage}")


def section(*names, **changed):
    """Sections of the parameters as the JSON text that a stage takes: what is on the command line is what ran."""
    values = {name: dict(config[name]) for name in names}
    values[names[0]].update(changed)
    return json.dumps(values)


def made(path):
    """The result that `path` lies in, if this pipeline makes it; else nothing."""
    parts = Path(path).parts
    return [str(Path(*parts[:2]))] if parts[:1] == ("results",) else []


def watched(path):
    """A fingerprint of what comes from outside the pipeline, so that a changed file there reruns what reads it."""
    return "" if made(path) else files.fingerprint(path)


def chosen(option, kind, *localizers):
    """The option that names what was chosen for localizers of unlabelled images; nothing if predict.localize is none."""
    folder = config["predict"]["localize"]
    files = [quote(f"{folder}/{localizer}_{kind}.json") for localizer in localizers]
    return "" if folder == "none" else " ".join([option, *files])


def dry_run():
    """Whether this is `snakemake -n`; while it reads its rules, only its command line says so."""
    return any(word in ("--dry-run", "--dryrun") or re.fullmatch(r"-[pqFfk]*n[pqFfk]*", word) for word in sys.argv[1:])


def show_estimate():
    """What the real study takes on a GPU of 24 GB, behind the plan."""
    images = costs.count_images(Path("results"), config)
    print("", *costs.lines(config, costs.GPUS["RTX 4090"], images), sep="\n", file=sys.stderr)


if dry_run() and costs.needs_gpu(config):
    atexit.register(show_estimate)
