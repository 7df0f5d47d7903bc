"""CheXagent, asked about images in a process of its own: what it writes, or the logits of two answers.

CheXagent-2 and its vision encoder are licensed for non-commercial use alone (cc-by-nc-4.0); of the first CheXagent (8B)
the pages that were read name none. CheXagent-2 runs only under transformers 4.40.0 and with its own code, and all that
the first one's code imports is there too. So they are asked by `chexagent.worker`: without a network, a token or the
user's environment, from a private folder with the images as PNGs and the model's files as links.

The answers lie in a journal, in a folder named after all that decides them: the model's files and code, the versions,
the prompts and the pixels. Whatever ends a run, the next one goes on where the journal stops.
"""

import json
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from subprocess import Popen, TimeoutExpired
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from stages.lib.core import documents, files, params
from stages.lib.core.closure import ROOT, closure
from stages.lib.core.errors import BlindModelError, EnvironmentBuildError, ModelError, ParamsError, WorkerError
from stages.lib.core.locks import locked
from stages.lib.core.log import LOG
from stages.lib.core.progress import track
from stages.lib.models import isolation, own_environment, snapshot
from stages.lib.models.chexagent import __main__ as program
from stages.lib.models.chexagent import worker
from stages.lib.models.chexagent.records import Parts
from stages.lib.models.own_environment import Environment
from stages.lib.models.own_process import REFUSED
from stages.lib.models.snapshot import Missing

FOLDER = "none"
NO_ENCODER = "none"
COMMIT = r"[0-9a-f]{40}"
GREY = 128
SECONDS_BETWEEN_LOOKS = 0.2
LAST_WORDS, LAST_WORDS_S = 2000, 10.0
NAMED = 10  # questions that a message names
AT_ONCE = 4096  # questions for which one process is started: their images lie on the disk together, some 2 GB
MARKS = " ".join(worker.MARKS)
TRUNCATED = "<|truncated|>"  # put behind an answer that was cut; the model has no such token
FAILED = "<|failed|>"  # put before the error of a question that has no answer


@params.section
class ChexagentModelParams:
    """CheXagent-2 and its vision encoder, or the first CheXagent, and how they are run."""

    model: params.Text  # a folder, or the id of the model on huggingface.co
    revision: params.Text  # full commit hash, since the model's own code is run; "none" for a folder
    code_revision: params.Text  # full commit hash that the model's code is taken from; "none" for a folder
    encoder: params.Text  # a folder, or the id of the vision encoder, which CheXagent-2 loads from a second repository;
    # "none" for the first CheXagent, which has it in itself
    encoder_revision: params.Text  # full commit hash; "none" for a folder, and without an encoder
    batch_size: params.Count  # images per batch, if a batch of two gives what two single images give
    dtype: Literal["bfloat16", "float32"]  # of the weights
    probe_images: params.Count  # images that are compared with a grey square before all others; at least 2
    start_timeout_s: params.PositiveFloat  # seconds until the first answer: loading, the probe, the first batch
    batch_timeout_s: params.PositiveFloat  # seconds between two batches

    def __post_init__(self) -> None:
        """Check what the types do not say."""
        wrong = list(self.problems())
        if wrong:
            raise ValueError("; ".join(wrong))

    def problems(self) -> Iterator[str]:
        """What is wanted, and was not found."""
        for key in ("revision", "code_revision", "encoder_revision"):
            if (value := getattr(self, key)) != FOLDER and not re.fullmatch(COMMIT, value):
                yield f"{key} as a full commit hash of 40 digits, or none for a folder, found {value!r}"
        if (self.revision == FOLDER) != (self.code_revision == FOLDER):
            yield "revision and code_revision both as none for a folder, or neither"
        if self.encoder == NO_ENCODER and self.encoder_revision != FOLDER:
            yield f"encoder_revision as none without an encoder, found {self.encoder_revision!r}"
        if self.probe_images < 2:
            yield f"probe_images of at least 2, found {self.probe_images}"


@params.section
class ChexagentParams(ChexagentModelParams):
    """CheXagent-2 that gives generated responses."""

    prompts: tuple[params.Text, ...]  # what it is asked about each image; the words it was trained on
    max_new_tokens: params.Count  # an answer is cut there, and counted as cut; about 25 per box

    def problems(self) -> Iterator[str]:
        """What is wanted, and was not found."""
        yield from ChexagentModelParams.problems(self)
        if not self.prompts:
            yield "at least one of prompts"
        for text in self.prompts:
            if any(mark in text for mark in worker.MARKS):
                yield f"prompts without {MARKS}, which stand for special tokens, found {text!r}"
        if self.encoder == NO_ENCODER:
            yield "an encoder, as CheXagent-2 has it: the first CheXagent is asked for two answers, and not for boxes"


@dataclass(frozen=True)
class Question:
    """One prompt for one image.

    Attributes:
        key: Names image and prompt; no two questions of a run share it.
        pixels: Returns the image as it is put to the model, uint8 array of shape (side, side).
        prompt: What the model is asked.
    """

    key: str
    pixels: Callable[[], np.ndarray]
    prompt: str


@dataclass(frozen=True)
class Setting:
    """Where the model and its environment lie on this machine.

    Attributes:
        fetched: What `fetch_chexagent` found.
        built: What `workflow.chexagent_env` built.
    """

    fetched: Parts
    built: Environment

    @property
    def identity(self) -> dict[str, Any]:
        """What has to be the same for two runs to give the same words, device and batches aside."""
        code = {path: files.sha256_file(ROOT / path) for path in closure(program.__name__)}
        return {
            **{name: {"commit": part.commit, "sha256": part.sha256} for name, part in self.fetched.whole.items()},
            "code_files": self.fetched.code.files,
            "versions": self.built.versions,
            "worker": code,
        }


def setting(fetched: str | Path, built: str | Path) -> Setting:
    """What fetch_chexagent and the builder of the environment recorded.

    Args:
        fetched: results/fetch_chexagent.json.
        built: results/environment_chexagent.json.

    Raises:
        DocumentError: If a record cannot be read.
        ModelError: If the model could not be had, or a folder in its record is gone.
        EnvironmentBuildError: If the environment's interpreter is gone, or transformers is another one.
    """
    model = documents.read_either(fetched, Parts, Missing)
    if isinstance(model, Missing):
        raise ModelError(model.missing)
    for part in model.whole.values():
        snapshot.check_folder(fetched, part, Parts.written_by)
    environment = own_environment.read(built, "run 'make setup-chexagent'")
    found = environment.versions.get("transformers")
    if found != worker.TRANSFORMERS:
        raise EnvironmentBuildError(
            f"{built}: found transformers {found}, wanted {worker.TRANSFORMERS}; run 'make setup-chexagent'"
        )
    return Setting(model, environment)


def answer(
    questions: Sequence[Question], params: ChexagentParams, where: Setting, checkpoints: str | Path
) -> Iterator[str]:
    """Yield the model's words about each question, in order, as they arrive.

    Words that were cut at `max_new_tokens` end with `TRUNCATED`; a question that failed alone gives `FAILED` and its
    error.

    Args:
        questions: Images and prompts; all keys different.
        params: See `ChexagentParams`; `prompts` is for the caller, who makes questions of it.
        where: Model and environment.
        checkpoints: Folder of the journals; each run has one below it.

    Raises:
        ParamsError: If a prompt holds marks of special tokens, or two questions share a key.
        BlindModelError: If the model gives one answer to every image and to a grey square.
        WorkerError: If the process refuses, dies or hangs. What it has answered is kept, and the next run goes on.
    """
    told = {"max_new_tokens": params.max_new_tokens}
    return map(_words, _lines(questions, params, told, where, checkpoints))


def ask(
    questions: Sequence[Question],
    answers: tuple[str, str],
    params: ChexagentModelParams,
    where: Setting,
    checkpoints: str | Path,
) -> NDArray[np.float64]:
    """Logits of two answers to each question, in one pass each, and their probability together.

    An answer is told by its first token after the prompt; no text is generated. A process is started for `AT_ONCE`
    questions at a time.

    Args:
        questions: As for `answer`.
        answers: The negative and the positive one.
        params: See `ChexagentModelParams`.
        where: Model and environment.
        checkpoints: Folder of the journals; each run has one below it.

    Returns:
        Array of shape (n, 3): logit of the negative answer, of the positive one, and the probability of the two
        together among all tokens.

    Raises:
        WorkerError: As `answer`; also if both answers begin with one token, or if questions failed alone, once all have
            been asked.
        ParamsError: As `answer`.
        BlindModelError: As `answer`.
    """
    told: dict[str, Any] = {"max_new_tokens": 1, "answers": list(answers)}
    check(questions)
    slices = [questions[start : start + AT_ONCE] for start in range(0, len(questions), AT_ONCE)]
    lines = [line for some in slices for line in _lines(some, params, told, where, checkpoints)]
    failed = [line for line in lines if line["error"]]
    if failed:
        named = "; ".join(f"{' '.join(line['key'].split())}: {line['error']}" for line in failed[:NAMED])
        raise WorkerError(
            f"CheXagent gave no answer to {len(failed)} of {len(lines)} questions ({named}), wanted one to each: "
            f"mend these images, or look at worker.log below {checkpoints}; the next run asks these alone"
        )
    return np.array([[*line["logits"], line["mass"]] for line in lines], np.float64).reshape(-1, 3)


def _lines(
    questions: Sequence[Question],
    params: ChexagentModelParams,
    told: Mapping[str, Any],
    where: Setting,
    checkpoints: str | Path,
) -> Iterator[dict[str, Any]]:
    """Yield the journal's line about each question, in order, as they arrive; what is in a journal is not asked again.

    Where another process asks the same, it is waited for, and its answers are taken.

    Args:
        questions: As for `answer`.
        params: See `ChexagentModelParams`.
        told: What the worker is told beside: how long an answer is, and which two are told apart, if any.
        where: Model and environment.
        checkpoints: Folder of the journals.
    """
    check(questions)
    if not questions:
        return
    digests = [
        sha256(_image(question).tobytes()).hexdigest()
        for question in track(questions, total=len(questions), what="hash")
    ]
    asked = [[question.key, question.prompt, digest] for question, digest in zip(questions, digests, strict=True)]
    decides = {
        **told,
        "dtype": params.dtype,
        **where.identity,
        "questions": files.sha256_json(asked),
    }
    folder = Path(checkpoints) / files.sha256_json(decides)[:16]
    journal = folder / "answers.jsonl"
    with locked(folder / "lock", "the same questions to CheXagent"):
        files.write_json(folder / "decides.json", decides)
        known = _answers(worker.read_journal(journal)[0])
        left = [number for number, question in enumerate(questions) if not _final(known.get(question.key))]
        if not left:
            yield from (known[question.key] for question in questions)
            return
        with tempfile.TemporaryDirectory(prefix=worker.PRIVATE) as private:
            task = prepare(Path(private), questions, left, digests, params, told, where)
            yield from _follow(questions, Path(private), task, journal, params, where)


def check(questions: Sequence[Question]) -> None:
    """Refuse questions that the worker would misread.

    Raises:
        ParamsError: With every problem.
    """
    keys = [question.key for question in questions]
    problems = [f"{len(keys) - len(set(keys))} keys are not unique"] if len(set(keys)) < len(keys) else []
    problems += [
        f"found the prompt {prompt!r}, wanted one without {MARKS}, which stand for special tokens"
        for prompt in sorted({question.prompt for question in questions})
        if any(mark in prompt for mark in worker.MARKS)
    ]
    if problems:
        raise ParamsError("questions to CheXagent:", problems)


def prepare(
    private: Path,
    questions: Sequence[Question],
    left: Sequence[int],
    digests: Sequence[str],
    params: ChexagentModelParams,
    told: Mapping[str, Any],
    where: Setting,
) -> Path:
    """Fill the worker's private folder and return its task file.

    Args:
        private: An empty folder.
        questions: All questions.
        left: Numbers of those that have no answer yet.
        digests: Hash of each question's pixels.
        params: See `ChexagentModelParams`.
        told: What the worker is told beside, as `max_new_tokens` and, if answers are told apart, `answers`.
        where: Model and environment.
    """
    _link(where.fetched.model.folder, private / "model", code=where.fetched.code.folder)
    if where.fetched.encoder:
        _link(where.fetched.encoder.folder, private / "encoder")
    (private / "images").mkdir()
    probes = _spread(digests, params.probe_images)
    wanted = sorted({*left, *probes})
    for number in track(wanted, total=len(wanted), what="write images"):
        _write_image(private / _png(number), _image(questions[number]))
    first = questions[left[0]]
    _write_image(private / "images/grey.png", np.full(_image(first).shape, GREY, np.uint8))
    longest = max((questions[number].prompt for number in left), key=lambda text: (len(text), text))
    head = {
        "model": "model",
        "encoder": "encoder" if where.fetched.encoder else None,
        "code": where.fetched.code.files,
        "dtype": params.dtype,
        **told,
        "batch_size": params.batch_size,
        "probe": [{"png": _png(number), "request": first.prompt} for number in probes],
        "grey": {"png": "images/grey.png", "request": first.prompt},
        # Rows of two lengths if there are two prompts: those are the ones that padding could spoil.
        "pair": [
            {"png": _png(probes[0]), "request": first.prompt},
            {"png": _png(probes[-1]), "request": longest},
        ],
    }
    rows = [{"key": questions[n].key, "png": _png(n), "request": questions[n].prompt} for n in range(len(questions))]
    task = private / "task.jsonl"
    task.write_text("".join(json.dumps(row) + "\n" for row in [head, *rows]))
    return task


def command(where: Setting, task: Path, journal: Path) -> list[str]:
    """Command of the worker, without a network if the system allows it; warn if it does not."""
    prefix = isolation.without_network()
    if prefix is None:
        LOG.warning(
            "warning: this system lets no process run without a network (unshare is missing or forbidden): "
            "the model's own code runs with one, though without a token; the journal says so"
        )
    python = where.built.python.absolute()  # not resolved: a link into an environment is what makes it one
    start = [str(python), "-I", str(Path(program.__file__).resolve())]
    return [*(prefix or []), *start, str(task), str(journal.resolve())]


def _follow(
    questions: Sequence[Question],
    private: Path,
    task: Path,
    journal: Path,
    params: ChexagentModelParams,
    where: Setting,
) -> Iterator[dict[str, Any]]:
    old, read_to = worker.read_journal(journal)
    answers = {key: line for key, line in _answers(old).items() if _final(line)}
    log = journal.with_name("worker.log")
    process = isolation.start(command(where, task, journal), private, log, os.environ)
    began = told = log.stat().st_size
    deadline = time.monotonic() + params.start_timeout_s
    waiting = list(questions)[::-1]
    try:
        while waiting:
            ended = process.poll() is not None
            lines, read_to = worker.read_journal(journal, read_to)
            told = _tell(log, told)
            if new := _answers(lines):
                answers |= new
                deadline = time.monotonic() + params.batch_timeout_s
            while waiting and waiting[-1].key in answers:
                yield answers[waiting.pop().key]
            if new or not waiting:
                continue
            if ended:
                raise _ended(process, log, began, journal)
            if time.monotonic() > deadline:
                raise WorkerError(
                    f"CheXagent gave no answer in time and was ended (chexagent.start_timeout_s "
                    f"{params.start_timeout_s:g}, batch_timeout_s {params.batch_timeout_s:g}): raise them, or look at "
                    f"{log}; run again and it goes on"
                )
            time.sleep(SECONDS_BETWEEN_LOOKS)
        with suppress(TimeoutExpired):
            process.wait(timeout=LAST_WORDS_S)
        _tell(log, told)
    finally:
        isolation.end(process)


def _ended(process: "Popen[bytes]", log: Path, began: int, journal: Path) -> Exception:
    words = log.read_bytes()[began:].decode(errors="replace")
    refusals = re.findall(r"^chexagent: refused: (.*)$", words, re.MULTILINE)
    code = process.returncode
    if code == worker.BLIND and refusals:
        return BlindModelError(f"CheXagent is refused: {refusals[-1]}")
    if code == REFUSED and refusals:
        return WorkerError(f"CheXagent's process refused: {refusals[-1]}")
    how = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
    count = len(_answers(worker.read_journal(journal)[0]))
    return WorkerError(
        f"CheXagent's process {how}; its {count} answers are kept in {journal}, and the next run goes on from there. "
        f"Its last words, of {log}:\n{words[-LAST_WORDS:].strip()}"
    )


def _tell(log: Path, told: int) -> int:
    """Repeat what the worker has written to its log since `told`, and return how far that is."""
    with log.open("rb") as handle:
        handle.seek(told)
        new = handle.read()
    whole = new[: new.rfind(b"\n") + 1]
    for text in whole.decode(errors="replace").splitlines():
        if text.startswith("chexagent: "):
            LOG.info("%s", text)
    return told + len(whole)


def _answers(lines: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Last answer to each question by key."""
    return {line["key"]: line for line in lines if line["kind"] == "answer"}


def _final(line: dict[str, Any] | None) -> bool:
    return line is not None and not line["error"]


def _words(line: dict[str, Any]) -> str:
    if line["error"]:
        return f"{FAILED}{line['error']}"
    return str(line["words"]) + (TRUNCATED if line["truncated"] else "")


def _image(question: Question) -> np.ndarray:
    image = np.ascontiguousarray(question.pixels())
    if image.dtype != np.uint8 or image.ndim != 2 or image.shape[0] != image.shape[1]:
        raise ModelError(
            f"{question.key}: found {image.dtype} of shape {image.shape}, wanted a square of 8-bit grey values"
        )
    return image


def _write_image(path: Path, image: np.ndarray) -> None:
    import cv2

    _, content = cv2.imencode(".png", np.dstack([image] * 3))
    path.write_bytes(content.tobytes())


def _png(number: int) -> str:
    return f"images/{number:06d}.png"


def _spread(digests: Sequence[str], count: int) -> list[int]:
    """`count` of the questions, spread evenly over all images that differ; fewer if there are not so many.

    >>> _spread(["a", "a", "b", "c", "d", "e"], 3), _spread(["a", "a"], 3)
    ([0, 3, 5], [0])
    """
    first: dict[str, int] = {}
    for number, digest in enumerate(digests):
        first.setdefault(digest, number)
    different = list(first.values())
    if len(different) <= count:
        return different
    return [different[round(place * (len(different) - 1) / (count - 1))] for place in range(count)]


def _link(source: Path, target: Path, code: Path | None = None) -> None:
    """Make a folder of links to the files of `source`, its Python files taken from `code`.

    The name is short and has no dot, which relative imports of the model's code would stumble over.
    """
    target.mkdir()
    for folder, chosen in ((source, lambda name: code is None or not name.endswith(".py")), (code, _is_code)):
        for path in sorted(folder.iterdir()) if folder else ():
            if path.is_file() and chosen(path.name):
                (target / path.name).symlink_to(path.resolve())


def _is_code(name: str) -> bool:
    return name.endswith(".py")
