"""Vision models of timm, TorchXRayVision and open_clip: images in, tokens out, from a process of their environment.

Their libraries want torchvision, beside which transformers cannot be imported here. So `vision.worker` opens the model:
in the vision environment, without a network, a token or the user's environment. This side unpickles nothing of it.
"""

import os
import shutil
import socket
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from subprocess import TimeoutExpired
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from stages.lib.core import files
from stages.lib.core.closure import ROOT, closure
from stages.lib.core.errors import EnvironmentBuildError, ModelError, WorkerError
from stages.lib.core.log import LOG
from stages.lib.models import isolation, own_environment, preprocessor
from stages.lib.models.backbone import Backbone, BackboneParams, BackboneSetting, Facts, Tokens, finite
from stages.lib.models.own_process import REFUSED, RefusalError
from stages.lib.models.vision.worker import __main__ as worker
from stages.lib.models.vision.worker.channel import receive, send
from stages.lib.models.vision.worker.libraries import EXAMINED
from stages.lib.models.vision.worker.log_lines import WHOSE
from stages.lib.models.vision.worker.program import PRIVATE

MEND = "run 'make setup-vision'"
OPEN_S, PASS_S, END_S = 1200.0, 600.0, 10.0  # patience with a process, seconds
LAST_WORDS = 2000  # of a process that died, characters


class Shown(Protocol):
    """What a row says of its model, such as `backbone.BackboneParams`."""

    @property
    def library(self) -> str:
        """One of `backbone.VISION`."""

    @property
    def architecture(self) -> str:
        """Class of the model, or its name in timm."""

    @property
    def side_px(self) -> int:
        """Side of the square that it is shown, pixels."""


class Worker:
    """A process of the vision environment."""

    def __init__(self, python: Path, row: str, work: Path | None) -> None:
        """Start it.

        Args:
            python: Interpreter of the environment.
            row: Name of the row, for errors.
            work: Folder for its private folder; None for the system's.
        """
        self._row = row
        self._private = _private(work)
        self._log = self._private / "worker.log"
        here, there = socket.socketpair()
        with there:
            command = [*_program(python), str(there.fileno())]
            self._process = isolation.start(command, self._private, self._log, os.environ, [there.fileno()])
        self._connection = Connection(here.detach())

    @property
    def pid(self) -> int:
        """Number of the process."""
        return self._process.pid

    def ask(
        self, header: dict[str, Any], arrays: Sequence[np.ndarray] = (), *, within_s: float = PASS_S
    ) -> tuple[dict[str, Any], list[np.ndarray]]:
        """Answer to a message.

        Args:
            header: The verb and what it takes.
            arrays: See `worker.model.Model.ask`.
            within_s: Patience, seconds.

        Raises:
            ModelError: If it refuses.
            WorkerError: If it died, hangs, or failed in a way that is no refusal.
        """
        try:
            send(self._connection, header, arrays)
            if not self._connection.poll(within_s):
                isolation.end(self._process)
                raise WorkerError(
                    f"{self._row}: its process gave no answer to {header['verb']} in {within_s:g} s and was ended; run "
                    f"it again, or look at {self._log}"
                )
            answer, found = receive(self._connection)
        except (EOFError, OSError) as error:
            raise self._ended() from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            isolation.end(self._process)
            raise WorkerError(
                f"{self._row}: its process answered {header['verb']} with what cannot be read, and was ended: {error}; "
                f"look at {self._log}"
            ) from error
        if "refused" in answer:
            raise ModelError(f"{self._row}: {answer['refused']}")
        if "failed" in answer:
            raise WorkerError(f"{self._row}: {header['verb']} failed with {answer['failed']}; look at {self._log}")
        return answer, found

    def close(self) -> None:
        """End it. What it wrote goes with it, unless it ended badly."""
        if not self._connection.closed:
            self._connection.close()
        try:
            self._process.wait(END_S)
        except TimeoutExpired:
            isolation.end(self._process)
        if self._process.returncode == 0:
            shutil.rmtree(self._private, ignore_errors=True)

    def _ended(self) -> WorkerError:
        try:
            self._process.wait(END_S)
        except TimeoutExpired:
            isolation.end(self._process)
        self._connection.close()
        return WorkerError(
            f"{self._row}: its process {_how(self._process.returncode)}; run it again, and it goes on with what is "
            f"kept. Its last words, of {self._log}:\n{_words(self._log)}"
        )


@dataclass(frozen=True)
class Model:
    """A vision model in its own process.

    Attributes:
        facts: What it is.
        targets: Names of its outputs; none where it has no outputs of its own.
    """

    facts: Facts
    targets: tuple[str, ...]
    row: str
    side_px: int
    worker: Worker

    def tokens(self, images: Sequence[np.ndarray]) -> Tokens:
        """Tokens of images.

        Args:
            images: n normalized images, uint8 arrays of shape (side_px, side_px).

        Raises:
            MismatchError: If an image has another side.
            ModelError: If a number is NaN or infinite.
            WorkerError: If the process died or hangs.
        """
        patches, prefix = self._ask("tokens", images)
        return finite(Tokens(patches, prefix), self.row)

    def outputs(self, images: Sequence[np.ndarray]) -> NDArray[np.float32]:
        """Logits of images, shape (n, targets): no sigmoid, and no thresholds that bend them.

        Args:
            images: As for `tokens`.

        Raises:
            MismatchError: If an image has another side.
            ModelError: If the model has no outputs of its own, or a number is NaN or infinite.
            WorkerError: If the process died or hangs.
        """
        [found] = self._ask("outputs", images)
        if not np.isfinite(found).all():
            raise ModelError(f"{self.row}: found NaN or infinite outputs, wanted numbers: are the weights whole?")
        return found

    def close(self) -> None:
        """End the process."""
        self.worker.close()

    def _ask(self, verb: str, images: Sequence[np.ndarray]) -> list[np.ndarray]:
        preprocessor.check_sides(images, self.side_px, self.row)
        return self.worker.ask({"verb": verb}, [np.stack(images)])[1]


def examine(params: Shown, setting: BackboneSetting) -> None:
    """Refuse from a model's small files what `open_model` would refuse for them.

    Args:
        params: See `open_model`.
        setting: See `open_model`.

    Raises:
        ModelError: If a file is missing, the model is of another class, its mean and deviation are not told, or the
            side is not a multiple of its patch, where the files tell that.
    """
    try:
        EXAMINED[params.library](setting.found.folder, params.architecture, params.side_px)
    except RefusalError as refusal:
        raise ModelError(f"{setting.row}: {refusal}") from refusal


def load(params: BackboneParams, setting: BackboneSetting) -> Backbone:
    """A model as a backbone, opened in a process of its own; of each library of `backbone.VISION`.

    Args:
        params: See `open_model`.
        setting: See `open_model`.

    Raises:
        NoduleflowError: As `open_model`.
    """
    model = open_model(params, setting)
    return Backbone(model.facts, model.tokens, model.close)


def open_model(params: Shown, setting: BackboneSetting) -> Model:
    """A model in float32, in eval mode, on the GPU if the vision environment sees one.

    Args:
        params: Which library, class and side.
        setting: Where the files, the record of the environment and the folder for private files are.

    Raises:
        ModelError: If the folder does not hold that model, whole, or its side is none that the model takes.
        EnvironmentBuildError: If the environment is not there, or not as it was built.
        WorkerError: If the process died or hangs.
    """
    row = setting.row
    if setting.environment is None:
        raise EnvironmentBuildError(f"{row}: found no vision environment, wanted it for {params.library}; {MEND}")
    built = own_environment.read(setting.environment, MEND)
    examine(params, setting)
    asked = {
        "verb": "open",
        "library": params.library,
        "folder": str(setting.found.folder.absolute()),
        "architecture": params.architecture,
        "side_px": params.side_px,
        "gpu": int(os.environ.get("LOCAL_RANK", "0")),  # as `backbones.transformers` takes one
    }
    process = Worker(built.python, row, setting.work)
    try:
        told, _ = process.ask(asked, within_s=OPEN_S)
        _check_versions(told["versions"], built, setting.environment)
    except BaseException:
        process.close()
        raise
    decides = {
        "model": [params.library, params.architecture, params.side_px],
        "weights": setting.found.sha256,
        "versions": told["versions"],
        "worker": {path: files.sha256_file(ROOT / path) for path in closure(worker.__name__)},
        "device": told["device"],
    }
    facts = Facts(
        architecture=params.architecture,
        identity=files.sha256_json(decides),
        parameters=told["parameters"],
        operations=told["operations"],
        features=told["features"],
        rows=told["rows"],
        prefix=told["prefix"],
        patch_px=told["patch_px"],
        random_weights=told["random_weights"],
    )
    return Model(facts, tuple(told["targets"]), row, params.side_px, process)


def convert(file: Path, folder: Path, environment: Path, work: Path | None, release: str | None = None) -> None:
    """Make a folder of a released file of TorchXRayVision: config.json and model.safetensors.

    The file is a pickle, which may run any code, so that a process without a network opens it.

    Args:
        file: The pickle.
        folder: Where to; `open_model` takes it.
        environment: Record of the vision environment.
        work: Folder for the private folder of the process; None for the system's.
        release: Name of the model among TorchXRayVision's; None to know it by the name of the file.

    Raises:
        ModelError: If the file is not there or no model of TorchXRayVision, or its targets are not known.
        EnvironmentBuildError: If the environment is not there.
        WorkerError: If the process died or hangs.
    """
    if not file.is_file():
        raise ModelError(f"{file}: there is no such file, wanted a released one of TorchXRayVision")
    given = ["--convert", str(file.absolute()), str(folder.absolute()), *([release] if release else [])]
    _run(given, environment, work)


def unpickle(file: Path, folder: Path, environment: Path, work: Path | None) -> list[str]:
    """Make model.safetensors in a folder of a pickled state of weights.

    A process without a network opens it, and torch reads it without running any code that is in it.

    Args:
        file: The pickle.
        folder: Where to.
        environment: Record of the vision environment.
        work: As for `convert`.

    Returns:
        What the process told: what it unwrapped, and how many weights there are.

    Raises:
        ModelError: If the file is no state of weights, or torch does not read it so.
        EnvironmentBuildError: If the environment is not there.
        WorkerError: If the process died or hangs.
    """
    begin = f"{WHOSE}: "
    log = _run(["--unpickle", str(file.absolute()), str(folder.absolute())], environment, work)
    return [line.removeprefix(begin) for line in log.splitlines() if line.startswith(begin)]


def released(name: str, environment: Path, work: Path | None) -> str:
    """Address of a model that TorchXRayVision has released.

    Args:
        name: Such as densenet121-res224-all.
        environment: Record of the vision environment.
        work: As for `convert`.

    Raises:
        ModelError: If there is no such model.
        EnvironmentBuildError: If the environment is not there.
        WorkerError: If the process died or hangs.
    """
    return _run(["--release", name], environment, work).splitlines()[-1]


def _run(arguments: Sequence[str], environment: Path, work: Path | None) -> str:
    """What a process of the environment wrote, which does one thing and ends."""
    built = own_environment.read(environment, MEND)
    private = _private(work)
    log = private / "worker.log"
    try:
        process = isolation.start([*_program(built.python), *arguments], private, log, os.environ)
        try:
            code = process.wait(PASS_S)
        except TimeoutExpired:
            raise WorkerError(
                f"the process of {' '.join(arguments)} did not end in {PASS_S:g} s and was ended; run it again. Its "
                f"last words:\n{_words(log)}"
            ) from None
        finally:
            isolation.end(process)
        words = _words(log)
    finally:
        shutil.rmtree(private, ignore_errors=True)
    if code == REFUSED:
        raise ModelError(words.rpartition(": refused: ")[2].strip())
    if code:
        raise WorkerError(f"the process of {' '.join(arguments)} {_how(code)}. Its last words:\n{words}")
    return words


def _program(python: Path) -> list[str]:
    """Command of the worker: without a network if the system allows it; warn if it does not."""
    prefix = isolation.without_network()
    if prefix is None:
        LOG.warning(
            "warning: this system lets no process run without a network (unshare is missing or forbidden): the vision "
            "environment runs with one, though without a token"
        )
    interpreter = str(python.absolute())  # not resolved: a link is what makes an interpreter that of an environment
    return [*(prefix or []), interpreter, "-I", str(Path(worker.__file__).resolve())]


def _private(work: Path | None) -> Path:
    if work:
        work.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix=PRIVATE, dir=work)).absolute()


def _check_versions(found: dict[str, str | None], built: own_environment.Environment, record: Path) -> None:
    odd = [
        f"{name} {found[name]} for {wanted}"
        for name, wanted in built.versions.items()
        if found.get(name, wanted) != wanted
    ]
    if odd:
        raise EnvironmentBuildError(f"{record}: the environment is no longer as it was built: {', '.join(odd)}; {MEND}")


def _how(code: int) -> str:
    return f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"


def _words(log: Path) -> str:
    return log.read_text(errors="replace")[-LAST_WORDS:].strip() if log.is_file() else ""
