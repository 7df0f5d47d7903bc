"""Report what this machine lacks for the preset in force.

    python -m workflow.doctor [--params params.yaml]

Each line is OK, MEND with what mends it, or -- for what this preset can do without. Exit code 0 if nothing has to be
mended. Only the standard library is imported at the top: the doctor has to run where the environment is not whole.
"""

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from workflow import chapters
from workflow.chapters import Line
from workflow.costs import needs_gpu

PYTHON = (3, 11)
LOCKS = ("requirements-torch.lock", "requirements.lock")
# A machine sold with 4, 16 or 24 GB shows a little less.
SHOWN = 0.9
MEMORY_GB, MEMORY_4B_GB = 4.0, 16.0
GPU_GB = 24.0
DISK_GB = 2.0
MODEL_GB = 9.0
# CheXagent-2's environment took 6.2 GB with CUDA; its weights and its encoder's are said to be about 8.
CHEXAGENT_ENVIRONMENT_GB, CHEXAGENT_GB = 6.5, 8.0
# Normalized real images as PNG took 0.33 to 0.46 bytes per pixel.
BYTES_PER_PIXEL = 0.46
BFLOAT16_CAPABILITY = (8, 0)
HUB_TIMEOUT_S = 5.0
SPELT_OUT = 3  # problems of a data folder


@dataclass(frozen=True)
class Check:
    """One line: what was looked at, and the command or action that mends it (None if nothing has to be mended)."""

    what: str
    mend: str | None = None
    optional: bool = False

    def __str__(self) -> str:
        if self.optional:
            return f"--    {self.what}"
        return f"OK    {self.what}" if self.mend is None else f"MEND  {self.what}: {self.mend}"


@dataclass(frozen=True)
class Gpu:
    """One GPU as nvidia-smi shows it: name, memory in GB, compute capability."""

    name: str
    memory_gb: float
    capability: tuple[int, int]


@dataclass(frozen=True)
class Data:
    """The data folder as ingest lists it, no image opened.

    Attributes:
        layout: What it was read as; "" if it could not be read.
        images: How many there are.
        labelled: How many of them have a label.
        problems: For which ingest would refuse it.
    """

    layout: str
    images: int
    labelled: int
    problems: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Facts about a machine; `checks` judges them."""

    python: tuple[int, int, int]
    cores: int
    memory_gb: float
    free_gb: float
    packages: Mapping[str, str]  # installed: name as the lock spells it, version
    locked: Mapping[str, str]  # wanted, for this Python
    repositories: Mapping[str, bool]  # git, commit, dvc, plots: whether it is there
    gpus: Sequence[Gpu]
    slurm: Sequence[str] | None  # generic resources of each node; None without Slurm
    chromium: str | None
    token: str | None  # where a token was found, never the token
    # as stages.weights.fetch.access, or "refused: ..."; for a folder None if it can be used
    access: str | None
    chexagent: str | None  # its environment: "ready", "absent" or "no python"; None if the preset does without it
    chexagent_access: str | None  # to model and encoder, as `access`; None for folders, or if it does without them
    data: Data | None  # None if the study makes its own
    chapters: tuple[Line, ...] = ()  # what chapters need, and what to do about it


def checks(document: Mapping[str, Any], machine: Machine) -> list[Check]:
    """Every line about `machine` for the study that `document` describes.

    Args:
        document: The parameters, section by section.
        machine: What was found.
    """
    large = needs_gpu(document)
    return [
        _python(machine),
        _packages(machine),
        *_repositories(machine),
        Check(f"processor: {machine.cores} cores"),
        _memory(machine, large),
        _disk(document, machine, large),
        *_gpu(document, machine, large),
        *(_hub(document, machine) if _has_images(document) else []),
        *([_data(document, machine)] if _has_images(document) else []),
        *(Check(found, mend) for found, mend in machine.chapters),
        _slurm(machine),
        _chromium(machine),
        *_chexagent(document, machine),
    ]


def _python(machine: Machine) -> Check:
    found = f"Python {'.'.join(map(str, machine.python))}"
    if machine.python[:2] >= PYTHON:
        return Check(found)
    return Check(found, f"install Python {PYTHON[0]}.{PYTHON[1]} or newer, then 'make setup'")


def _packages(machine: Machine) -> Check:
    if not machine.locked:
        return Check("packages: there is no requirements.lock to compare with", "git checkout requirements.lock")
    odd = [
        f"{name} {machine.packages.get(name, 'is missing')} (wanted {version})"
        for name, version in sorted(machine.locked.items())
        if machine.packages.get(name, "").partition("+")[0] != version
    ]
    if not odd:
        return Check(f"packages: {len(machine.locked)} at their locked versions")
    more = f" and {len(odd) - 3} more" if len(odd) > 3 else ""
    return Check(f"packages: {', '.join(odd[:3])}{more}", "make setup")


def _repositories(machine: Machine) -> list[Check]:
    wanted = {
        "git": ("Git repository", "git init"),
        "commit": ("first commit", "git add --all && git commit -m 'Start'"),
        "dvc": ("DVC repository", "dvc init"),
        "plots": ("page for dvc plots, with its scripts", "python -m workflow.plots"),
    }
    return [
        Check(
            f"{what}: {'there' if machine.repositories[key] else 'none'}", None if machine.repositories[key] else mend
        )
        for key, (what, mend) in wanted.items()
    ]


def _memory(machine: Machine, large: bool) -> Check:
    wanted = MEMORY_4B_GB if large else MEMORY_GB
    found = f"memory: {machine.memory_gb:.1f} GB"
    if machine.memory_gb >= wanted * SHOWN:
        return Check(found)
    return Check(f"{found}, wanted {wanted:g}", "close other programs or take a larger machine")


def _disk(document: Mapping[str, Any], machine: Machine, large: bool) -> Check:
    side = _of(document, "data.normalize", "side_px", 0)
    images = machine.data.images if machine.data else 0
    images_gb = images * side * side * BYTES_PER_PIXEL / 1e9
    weights_gb = MODEL_GB if large and machine.access != "cached" else 0.0
    if machine.chexagent is not None:
        weights_gb += CHEXAGENT_GB if machine.chexagent_access in ("allowed", "unreachable") else 0.0
        weights_gb += CHEXAGENT_ENVIRONMENT_GB if machine.chexagent != "ready" else 0.0
    wanted = DISK_GB + images_gb + weights_gb
    found = f"disk: {machine.free_gb:.0f} GB free"
    parts = f"normalized images {images_gb:.0f}, weights and environments {weights_gb:.0f}, the rest {DISK_GB:.0f}"
    need = f"wanted {wanted:.0f} ({parts})"
    if machine.free_gb >= wanted:
        return Check(f"{found}, {need}")
    return Check(f"{found}, {need}", "free space, or make results/ a link to a larger disk")


def _gpu(document: Mapping[str, Any], machine: Machine, large: bool) -> list[Check]:
    if not machine.gpus:
        if not large:
            return [Check("GPU: none, and this preset wants none", optional=True)]
        if any("gpu" in resources for resources in machine.slurm or ()):
            return [Check("GPU: none on this machine, but Slurm has some: run with 'snakemake --profile slurm'")]
        return [Check("GPU: nvidia-smi shows none", f"run on a machine with a GPU of {GPU_GB:g} GB, or on Slurm")]
    best = max(machine.gpus, key=lambda gpu: gpu.memory_gb)
    found = f"GPU: {len(machine.gpus)} x {best.name}, {best.memory_gb:.0f} GB"
    if not large:
        return [Check(f"{found}; this preset wants none", optional=True)]
    lines = [
        Check(found)
        if best.memory_gb >= GPU_GB * SHOWN
        else Check(
            f"{found}, wanted {GPU_GB:g}",
            "lower nodules.train.per_device_train_batch_size and raise its gradient_accumulation_steps, or take a "
            "larger GPU",
        )
    ]
    if best.capability >= BFLOAT16_CAPABILITY:
        lines.append(Check("bfloat16: the GPU computes in it"))
    else:
        shown = ".".join(map(str, best.capability))
        lines.append(Check(f"bfloat16: compute capability {shown}, wanted 8.0", "take an Ampere GPU or newer"))
    if "+cpu" in machine.packages.get("torch", ""):
        lines.append(Check("torch is the build without CUDA", "pip install --force-reinstall torch from pytorch.org"))
    return lines


def _hub(document: Mapping[str, Any], machine: Machine) -> list[Check]:
    base = _of(document, "weights.fetch", "base", "")
    local = _of(document, "weights.fetch", "revision", "") == "none"
    if local and machine.access is not None:
        return [Check(f"model: {base}, a folder, is refused by fetch", machine.access.removeprefix("refused: "))]
    if machine.access is None:
        made = f"model: {base}"
        if _is_made(base):
            return [Check(f"{made} is made by the study itself; no Hugging Face token wanted")]
        if Path(base).is_dir():
            return [Check(f"{made} is a folder here; no Hugging Face token wanted")]
        return [
            Check(
                f"{made} is not there", "set weights.fetch.base in params.yaml to a model's folder, or an id of the hub"
            )
        ]
    token = (
        Check(f"Hugging Face token: in {machine.token}")
        if machine.token
        else Check("Hugging Face token: none in HF_TOKEN or .env", optional=True)
    )
    if machine.access == "unreachable":
        return [token, Check(f"model: {base} not checked, the hub does not answer from here", optional=True)]
    if machine.access == "cached":
        return [token, Check(f"model: {base} is in the local cache")]
    if machine.access == "allowed":
        return [token, Check(f"model: {base} may be fetched")]
    return [token, Check(f"model: {base} may not be had", machine.access.removeprefix("refused: "))]


def _data(document: Mapping[str, Any], machine: Machine) -> Check:
    root = _of(document, "data.ingest", "root", "")
    if machine.data is None:
        return Check(f"data: {root} is made by the study itself")
    found = machine.data
    if found.problems:
        told = found.problems[:SPELT_OUT]
        more = len(found.problems) - len(told)
        problems = "; ".join(problem.rstrip(".") for problem in told) + (f"; and {more} more" if more else "")
        return Check(
            f"data: {root} is refused by ingest ({problems})",
            "correct that, or set data.ingest.root in params.yaml to the data folder",
        )
    none = "" if found.labelled else ": they can be scored with predict; a study needs labels"
    return Check(f"data: {root}, {found.images} images (layout {found.layout}, {found.labelled} labelled{none})")


def _slurm(machine: Machine) -> Check:
    if machine.slurm is None:
        return Check("Slurm: none; only 'snakemake --profile slurm' wants it", optional=True)
    gpus = sum("gpu" in resources for resources in machine.slurm)
    return Check(f"Slurm: {len(machine.slurm)} nodes, {gpus} with GPUs")


def _chromium(machine: Machine) -> Check:
    if machine.chromium is None:
        return Check("Chromium: none; only the report's own tests want it", optional=True)
    return Check(f"Chromium: {machine.chromium}")


def _chexagent(document: Mapping[str, Any], machine: Machine) -> list[Check]:
    if machine.chexagent is None:
        return [Check("CheXagent-2: this preset does without it, and so without a second environment", optional=True)]
    lines = {
        "ready": Check("CheXagent-2's environment: transformers 4.40.0, as locked"),
        "absent": Check(
            "CheXagent-2's environment: built when it is first needed, or by 'make setup-chexagent'", None, True
        ),
    }
    own = lines.get(machine.chexagent) or Check(
        "CheXagent-2's environment: no Python 3.11 or 3.12, and its tokenizer has no wheel for a newer one",
        "install one of them, then 'make setup-chexagent'",
    )
    model = f"CheXagent-2: {', '.join(str(row['model']) for row in own_models(document).values())}"
    licence = "for non-commercial use only (cc-by-nc-4.0)"
    if machine.chexagent_access is None:
        return [own, Check(f"{model}, a folder; {licence}")]
    if machine.chexagent_access == "unreachable":
        return [own, Check(f"{model} not checked, the hub does not answer from here; {licence}", optional=True)]
    if machine.chexagent_access.startswith("refused: "):
        return [own, Check(f"{model} may not be had", machine.chexagent_access.removeprefix("refused: "))]
    here = "is in the local cache" if machine.chexagent_access == "cached" else "may be fetched"
    return [own, Check(f"{model} {here}; {licence}")]


def _of(document: Mapping[str, Any], section: str, key: str, otherwise: Any) -> Any:
    values: Any = document
    for name in section.split("."):
        values = values.get(name) if isinstance(values, Mapping) else None
    return values.get(key, otherwise) if isinstance(values, Mapping) else otherwise


def _has_images(document: Mapping[str, Any]) -> bool:
    """Whether the study has radiographs and a base model: a study of the findings alone has neither."""
    return "data" in document or "weights" in document


def _is_made(path: str) -> bool:
    return Path(path).parts[:1] == ("results",)


def look(document: Mapping[str, Any]) -> Machine:
    """Facts about this machine, but only those that matter for the study of `document`.

    Raises:
        ImportError: If the environment is not whole.
    """
    import psutil

    token, access = hub(document)
    own, own_access = chexagent(document)
    return Machine(
        python=sys.version_info[:3],
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        memory_gb=_memory_limit(psutil.virtual_memory().total) / 1e9,
        free_gb=shutil.disk_usage("results" if Path("results").is_dir() else ".").free / 1e9,
        packages=installed(),
        locked=locked("".join(path.read_text() for path in map(Path, LOCKS) if path.is_file())),
        repositories={
            "git": _answer(["git", "rev-parse", "--is-inside-work-tree"]) is not None,
            "commit": _answer(["git", "rev-parse", "--verify", "HEAD"]) is not None,
            "dvc": Path(".dvc/config").is_file(),
            "plots": Path(".dvc/plots.html").is_file(),
        },
        gpus=gpus(
            _answer(["nvidia-smi", "--query-gpu=name,memory.total,compute_cap", "--format=csv,noheader,nounits"])
        ),
        slurm=nodes.split() if (nodes := _answer(["sinfo", "-h", "-N", "-o", "%G"])) is not None else None,
        chromium=next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None),
        token=token,
        access=access,
        chexagent=own,
        chexagent_access=own_access,
        data=data(document),
        chapters=tuple(chapters.lacks(document)),
    )


def data(document: Mapping[str, Any]) -> Data | None:
    """The data folder, listed by what ingest lists it with; None if the study makes its own."""
    if not _has_images(document) or _is_made(_of(document, "data.ingest", "root", "")):
        return None
    from stages.data import ingest
    from stages.lib.core import params
    from stages.lib.core.errors import DataError
    from stages.lib.images import layouts, reading

    section = params.parse(document, {"data.ingest": ingest.Params}).ingest
    try:
        folder = layouts.read(section.root, section.options)
    except DataError as error:
        return Data("", 0, 0, error.problems)
    problems = list(folder.problems)
    placed, odd = ingest.in_pixels(folder, {})
    unread = reading.Facts()
    rows = [ingest.judge(one, unread, placed.get(one.image_id, []), section, odd) for one in folder.images]
    rejected = [f"{row['file_name']!r}: {row['problem']}" for row in rows if row["status"] == "rejected"]
    problems += rejected if len(rejected) > section.max_rejected else []
    labelled = sum(image.label is not None for image in folder.images)
    return Data(folder.layout, len(folder.images), labelled, problems)


def hub(document: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """Where the hub's token was found and whether the base model may be had; None, None for a folder of use."""
    from stages.lib.core import params
    from stages.lib.core.errors import ModelError
    from stages.weights import fetch

    if not _has_images(document):
        return None, None
    section = params.parse(document, {"weights.fetch": fetch.Params}).fetch
    place = None
    try:
        if not section.on_hub:
            if Path(section.base).is_dir() and not _is_made(section.base):
                fetch.check(section)
            return None, None
        token = fetch.read_token(os.environ)
        if token:
            place = "the environment" if os.environ.get("HF_TOKEN", "").strip() else ".env"
        return place, fetch.access(section, token, fetch.is_offline(os.environ), HUB_TIMEOUT_S)
    except ModelError as error:
        return place, f"refused: {error}"


def own_models(document: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Rows of the localizers that bring a model and an environment of their own."""
    rows = document.get("nodules", {}).get("localizers", {})
    return {name: row for name, row in rows.items() if row.get("kind") == "chexagent"}


def chexagent(document: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """State of CheXagent-2's environment and whether model and encoder may be had; None, None without it."""
    rows = own_models(document)
    if not rows:
        return None, None
    from stages.lib.core import kinds, params
    from stages.lib.core.errors import ModelError
    from stages.weights import fetch, fetch_chexagent
    from workflow import chexagent_env, own_env

    state = "absent" if own_env.fit_python(chexagent_env.ENV) else "no python"
    if own_env.ready(chexagent_env.ENV, chexagent_env.ENV.folder):
        state = "ready"
    parsed = params.parse({"nodules": {"localizers": rows}}, {"nodules.localizers": kinds.rows(kinds.LOCALIZERS)})
    found = []
    try:
        token = fetch.read_token(os.environ)
        for row in parsed.localizers.values():
            for source in fetch_chexagent.sources(row.params).values():
                if source.on_hub and source.whole:
                    found.append(fetch.access(source, token, fetch.is_offline(os.environ), HUB_TIMEOUT_S))
    except ModelError as error:
        return state, f"refused: {error}"
    order = ("unreachable", "allowed", "cached")
    return state, min(found, key=order.index) if found else None


def locked(text: str) -> dict[str, str]:
    """Name and version of each package that a lock file wants on this Python and system.

    >>> locked("a-b==1.0 \\\\\\n    --hash=sha256:00\\nc==2 ; python_version < '3'\\n# via d\\n")
    {'a-b': '1.0'}
    """
    from packaging.requirements import Requirement

    lines = (line.rstrip("\\ ") for line in text.splitlines())
    wanted = [Requirement(line) for line in lines if line and not line.startswith((" ", "#", "-"))]
    return {
        one.name: next(iter(one.specifier)).version for one in wanted if one.marker is None or one.marker.evaluate()
    }


def installed() -> dict[str, str]:
    """Name (as a lock file spells it) and version of each package of this environment."""
    from packaging.utils import canonicalize_name

    return {canonicalize_name(name): one.version for one in metadata.distributions() if (name := one.metadata["Name"])}


def gpus(answer: str | None) -> list[Gpu]:
    """GPUs in an answer of nvidia-smi (name, MiB, compute capability); none if it did not answer.

    >>> gpus("NVIDIA GeForce RTX 4090, 24564, 8.9")
    [Gpu(name='NVIDIA GeForce RTX 4090', memory_gb=25.757220864, capability=(8, 9))]
    """
    found = []
    for line in (answer or "").splitlines():
        fields = [field.strip() for field in line.split(",")]
        if len(fields) == 3 and fields[1].isdigit():
            major, _, minor = fields[2].partition(".")
            capability = (int(major), int(minor)) if major.isdigit() and minor.isdigit() else (0, 0)
            found.append(Gpu(fields[0], int(fields[1]) * 2**20 / 1e9, capability))
    return found


def _memory_limit(total: int) -> int:
    """Bytes of memory that this process may use: those of the machine, or of its control group."""
    limit = Path("/sys/fs/cgroup/memory.max")
    text = limit.read_text().strip() if limit.is_file() else "max"
    return min(total, int(text)) if text.isdigit() else total


def _answer(command: Sequence[str]) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def examine(path: str, look: Callable[[Mapping[str, Any]], Machine] = look) -> list[Check]:
    """Every line about this machine for the parameters in the file `path`."""
    try:
        import yaml

        from stages.lib.core.errors import NoduleflowError, ParamsError
        from workflow import registry

        try:
            document = yaml.safe_load(Path(path).read_bytes().decode("utf-8-sig"))
            if not isinstance(document, Mapping):
                raise ParamsError("it holds no sections:", ["found no mapping, wanted chapters and sections"])
            registry.check(document)
        except FileNotFoundError:
            return [Check(f"{path}: there is no such file", "make preset NAME=demo")]
        except OSError as error:
            return [Check(f"{path}: cannot be read ({error.strerror})", "make it a file that you may read")]
        except UnicodeDecodeError:
            return [Check(f"{path} is not UTF-8 text", "save it as UTF-8")]
        except (ValueError, yaml.YAMLError) as error:
            return [Check(f"{path} is not YAML: {error}", "correct the line that it names")]
        except ParamsError as error:
            return [Check(f"{path}: {error}", f"correct {path}")]
        try:
            return checks(document, look(document))
        except NoduleflowError as error:
            return [Check("this machine could not be looked at", str(error))]
    except ImportError as error:
        return [Check(f"packages: {error}", "make setup")]


def main(argv: Sequence[str] | None = None) -> int:
    """Print the lines; return 0 if nothing has to be mended, else 1."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--params", default="params.yaml", metavar="FILE", help="the preset in force")
    lines = examine(parser.parse_args(argv).params)
    for line in lines:
        print(line)
    bad = sum(line.mend is not None for line in lines)
    print(f"\n{bad} to mend" if bad else "\nAll that this preset wants is here")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
