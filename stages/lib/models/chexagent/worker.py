"""CheXagent's own process. It runs under transformers 4.40.0; of the project it imports `own_process` alone.

`__main__` starts it. TASK is JSON lines: a head (see `chexagent.client`), then one question per line with the path of
its image, relative to the working folder. JOURNAL is JSON lines as well and only grows: a line "start" per process,
then one line "answer" per question, a batch at a time, each batch forced to the disk. What is in it already is not
asked again.

A head with `answers`, the texts of a negative and a positive one, wants no text: each line "answer" has the logits of
the first tokens of the two as well, and `mass`, their probability together among all tokens.

Which of the two models it is, CheXagent-2 or the first CheXagent (8B), is told by its configuration. The first was
published for transformers 4.35.2 and does not insist on it; all that its code imports is in 4.40.0 too.

The model's code is run as the revision that was fetched has it: each file's SHA-256 is compared and shown first. What
the model writes is kept verbatim, special tokens included, up to its end-of-text token.
"""

import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, NoReturn

from stages.lib.models import own_process
from stages.lib.models.own_process import RefusalError, describe, die_with, sha256

TRANSFORMERS = "4.40.0"
BLIND = 4  # exit code: answers alike whatever it is shown
PACKAGES = ("transformers", "tokenizers", "torch", "torchvision", "numpy", "pillow", "safetensors")  # decide the words
PRIVATE = "chexagent-"  # how the name of a worker's private folder begins
SYSTEM = "You are a helpful assistant."
MARKS = ("<|", "|>", "<s>", "</s>")  # what special tokens are written with: never part of a question or a path
FRAME = " USER: <s>{} ASSISTANT: <s>"  # that the first CheXagent was taught on. Source: its model card
REMOTE: Mapping[str, Any] = {"trust_remote_code": True, "local_files_only": True}
TOKENS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HUGGINGFACE_HUB_TOKEN", "HF_TOKEN_PATH")
SECONDS_BETWEEN_LINES = 10.0
SAME_SCORE = 1e-3  # of the spread of the scores; single runs of one model differ by less
SAME_LOGIT = {"float32": 1e-3, "bfloat16": 0.1}  # likewise, of a batch and of single runs, by the type of the weights
MOST_ROWS_LOST = 8

Row = dict[str, Any]


def main(task: Path, journal: Path) -> None:
    """Answer what `journal` does not answer yet."""
    check_version(metadata.version("transformers"))
    head, questions = read_task(task)
    check_environment()
    with journal.open("a+b") as handle:
        lock(handle, journal)
        lines, length = read_journal(journal)
        handle.truncate(length)
        answered = {line["key"] for line in lines if line["kind"] == "answer" and not line["error"]}
        left = [question for question in questions if question["key"] not in answered]
        say(f"{len(questions)} questions, {len(questions) - len(left)} of them answered before")
        if not left:
            return
        die_with(os.getppid(), task.parent, PRIVATE)  # the images are there
        code = check_code(Path(head["model"]), head["code"])
        talker = load(head)
        size, notes = first_look(talker, head, left)
        append(
            handle,
            [
                {
                    "kind": "start",
                    "pid": os.getpid(),
                    "versions": own_process.versions(PACKAGES),
                    "device": str(talker.device),
                    "network": network(),
                    "code": code,
                    "batch_size": size,
                    **talker.notes,
                    **notes,
                }
            ],
        )
        answer_all(talker, left, size, lambda rows: append(handle, rows))


def check_version(found: str) -> None:
    """Refuse every other transformers than the one that the model's code was written for.

    >>> check_version("5.23.0")
    Traceback (most recent call last):
    stages.lib.models.own_process.RefusalError: found transformers 5.23.0, wanted exactly 4.40.0: with another one \
the words have nothing to do with the image; run 'make setup-chexagent'
    """
    if found != TRANSFORMERS:
        raise RefusalError(
            f"found transformers {found}, wanted exactly {TRANSFORMERS}: with another one the words have nothing to do "
            "with the image; run 'make setup-chexagent'"
        )


def check_environment() -> None:
    """Refuse to run remote code where it could read a token of the hub."""
    found = [name for name in TOKENS if os.environ.get(name)]
    home = Path(os.environ.get("HF_HOME") or Path.home() / ".cache/huggingface")
    found += [str(home / name) for name in ("token", "stored_tokens") if (home / name).exists()]
    if found:
        raise RefusalError(f"found a token of the hub in {', '.join(found)}, wanted none where the model's code runs")


def check_code(folder: Path, wanted: dict[str, str]) -> dict[str, str]:
    """SHA-256 of each file of the model's code, shown; refuse any that is not as fetched."""
    found = {path.name: sha256(path) for path in sorted(folder.glob("*.py"))}
    for name, digest in found.items():
        say(f"code {name} {digest}")
    odd = sorted(name for name in found | wanted if found.get(name) != wanted.get(name))
    if odd:
        raise RefusalError(f"the model's code is not what was fetched: {', '.join(odd)}; run fetch again")
    if not found:
        raise RefusalError(f"there is no code (*.py) in {folder}; wanted the model with its own code")
    return found


def load(head: Row) -> "Talker":
    """The model of a task, ready to be asked.

    Args:
        head: Of the task.
    """
    import transformers

    check_version(transformers.__version__)
    transformers.logging.set_verbosity_error()
    config = transformers.AutoConfig.from_pretrained(head["model"], **REMOTE)
    if hasattr(config, "qformer_config"):
        return FirstTalker(head, config)
    visual = getattr(config, "visual", None)
    if not isinstance(visual, dict) or "vision_model_name_or_path" not in visual:
        raise RefusalError(
            f"{head['model']}/config.json: found neither visual.vision_model_name_or_path nor qformer_config, wanted "
            "the configuration of CheXagent-2, which names its vision encoder there, or of the first CheXagent"
        )
    if not head["encoder"]:
        raise RefusalError(f"found encoder: none for {head['model']}, wanted the vision encoder of CheXagent-2")
    visual["vision_model_name_or_path"] = head["encoder"]
    return Talker(head, config)


class Talker:
    """CheXagent-2, ready to be asked.

    Attributes:
        device: Where it computes.
        notes: What was seen while loading it.
    """

    def __init__(self, head: Row, config: Any) -> None:
        import torch
        import transformers

        began = time.monotonic()
        folder = head["model"]
        self.tokenizer = self.load_tokenizer(folder)
        load: Any = transformers.AutoModelForCausalLM.from_pretrained
        model, info = load(
            folder,
            config=config,
            torch_dtype=getattr(torch, head["dtype"]),
            attn_implementation="eager",
            output_loading_info=True,
            **REMOTE,
        )
        lost = {kind: sorted(map(str, info[f"{kind}_keys"])) for kind in ("missing", "mismatched", "unexpected")}
        if lost["missing"] or lost["mismatched"]:
            raise RefusalError(
                f"the weights in {folder} do not fill the model: {len(lost['missing'])} are missing (such as "
                f"{lost['missing'][:2]}), {len(lost['mismatched'])} have another shape (such as "
                f"{lost['mismatched'][:2]}); fetch it again"
            )
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model: Any = model.to(self.device).eval()
        ends = getattr(self.model.generation_config, "eos_token_id", None)
        ends = list(ends) if isinstance(ends, list | tuple) else [ends]
        self.ends = sorted({int(end) for end in [*ends, self.tokenizer.eos_token_id] if end is not None})
        if not self.ends:
            raise RefusalError(f"{folder}: neither the tokenizer nor the generation config names an end-of-text token")
        pad = self.tokenizer.pad_token_id
        self.pad = int(self.ends[0] if pad is None else pad)
        self.max_new_tokens = int(head["max_new_tokens"])
        self.answers: list[int] = []
        if head.get("answers"):
            self.answers = first_tokens(
                {text: self.tokenizer.encode(text, add_special_tokens=False) for text in head["answers"]}
            )
            if not sharpen(self.model) and head["dtype"] != "float32":
                say(f"warning: the logits are of {head['dtype']} as the weights are, and may tie")
        self.notes: Row = {"dtype": head["dtype"], "unexpected_weights": lost["unexpected"]}
        say(f"model loaded on {self.device} in {time.monotonic() - began:.0f} s")

    def load_tokenizer(self, folder: str) -> Any:
        """The tokenizer."""
        import transformers

        return transformers.AutoTokenizer.from_pretrained(folder, **REMOTE)

    def __call__(self, questions: Sequence[Row]) -> list[Row]:
        """For each question: words, truncated, tokens, and scores, those of the first token, shape (words,).

        Where answers are told apart, logits and mass too. Then `scores` are the logits as the model gave them: those
        that generate returns as scores have passed whatever its generation config asks for, such as a penalty of
        tokens that the prompt holds.
        """
        import torch

        rows = [self.ids(question) for question in questions]
        longest = max(map(len, rows))
        ids = torch.full((len(rows), longest), self.pad, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for number, row in enumerate(rows):
            ids[number, longest - len(row) :] = row
            mask[number, longest - len(row) :] = 1
        with torch.inference_mode():
            out = self.model.generate(
                ids.to(self.device),
                attention_mask=mask.to(self.device),
                pad_token_id=self.pad,
                eos_token_id=self.ends,
                do_sample=False,
                num_beams=1,
                temperature=1.0,
                top_p=1.0,
                use_cache=True,
                max_new_tokens=self.max_new_tokens,
                output_scores=not self.answers,
                output_logits=bool(self.answers),
                return_dict_in_generate=True,
            )
        scores = (out.logits if self.answers else out.scores)[0].float().cpu()
        return [self.said(row[longest:].tolist(), scores[number]) for number, row in enumerate(out.sequences)]

    def ids(self, question: Row) -> Any:
        """Tokens of one question, int tensor of shape (n,)."""
        query = self.tokenizer.from_list_format([{"image": question["png"]}, {"text": question["request"]}])
        talk = [{"from": "system", "value": SYSTEM}, {"from": "human", "value": query}]
        return self.tokenizer.apply_chat_template(talk, add_generation_prompt=True, return_tensors="pt")[0]

    def said(self, tokens: list[int], scores: Any) -> Row:
        """One answer up to its first end-of-text token."""
        end = next((place for place, token in enumerate(tokens) if token in self.ends), None)
        words = self.tokenizer.decode(
            tokens[:end],
            skip_special_tokens=False,
            clean_up_tokenization_spaces=False,
            spaces_between_special_tokens=False,
        )
        found: Row = {"words": words, "truncated": end is None, "tokens": len(tokens[:end]), "scores": scores}
        if self.answers:
            logits = scores[self.answers]
            mass = scores.log_softmax(0)[self.answers].exp().sum()
            if not bool((logits.isfinite() & mass.isfinite()).all()):
                raise ValueError(f"found the logits {logits.tolist()} of the answers, wanted finite ones")
            found |= {"logits": logits.tolist(), "mass": min(float(mass), 1.0)}
        return found


class FirstTalker(Talker):
    """The first CheXagent (8B), ready to be asked for the logits of two answers.

    Its own code puts what it sees of the image in front of the words, so that nothing in these stands for an image.
    """

    def __init__(self, head: Row, config: Any) -> None:
        if not head.get("answers"):
            raise RefusalError("the first CheXagent is asked for two answers, and not for boxes; wanted CheXagent-2")
        super().__init__(head, config)

    def load_tokenizer(self, folder: str) -> Any:
        """The tokenizer; what it is part of makes the model's inputs."""
        import transformers

        self.processor = transformers.AutoProcessor.from_pretrained(folder, **REMOTE)
        return self.processor.tokenizer

    def __call__(self, questions: Sequence[Row]) -> list[Row]:
        """As CheXagent-2's, in one forward pass.

        Questions of several lengths are put one by one: the places of a padded row would be others.
        """
        import torch

        given = [self.inputs(question) for question in questions]
        if len({one["input_ids"].shape[1] for one in given}) > 1:
            return [self([question])[0] for question in questions]
        batch = {name: torch.cat([one[name] for one in given]).to(self.device) for name in given[0]}
        with torch.inference_mode():
            scores = self.model(**batch).logits[:, -1].float().cpu()
        return [self.said([int(row.argmax())], row) for row in scores]

    def inputs(self, question: Row) -> Row:
        """What the model's own processor makes of one question: pixels of shape (1, 1, 3, side, side), and tokens."""
        from PIL import Image

        with Image.open(question["png"]) as image:
            found = self.processor(
                images=[image.convert("RGB")], text=FRAME.format(question["request"]), return_tensors="pt"
            )
        pixels = found["pixel_values"]
        if not float(pixels.sum()):
            raise ValueError("found pixels that add up to 0, which the model's own code takes for no image")
        return {
            "pixel_values": pixels.to(next(self.model.parameters()).dtype),
            **{name: found[name] for name in ("input_ids", "attention_mask")},
        }


def sharpen(model: Any) -> bool:
    """Compute logits in float32, whatever the type of the other weights: those of bfloat16 have 8 bits, and would tie.

    A head that shares its weights with the embeddings, or that the model does not name, stays as it is. What the
    configuration says of ties is not asked: where a file leaves it out, it says that there are some.

    Returns:
        Whether they are computed so.
    """
    head = model.get_output_embeddings()
    if head is None:
        return False
    others = [module for _, module in model.named_modules() if module is not head]
    if any(one is head.weight for module in others for one in module.parameters(recurse=False)):
        return False
    head.float().register_forward_pre_hook(lambda _, inputs: (inputs[0].float(), *inputs[1:]))
    return True


def first_tokens(ids: Mapping[str, Sequence[int]]) -> list[int]:
    """First token of each of two answers, which tells them apart.

    Args:
        ids: Tokens of each answer.

    >>> first_tokens({"No": [2822], "Yes": [5297, 13]})
    [2822, 5297]
    """
    found = [tokens[0] for tokens in ids.values() if tokens]
    if len(set(found)) != 2:
        raise RefusalError(
            f"the answers {' and '.join(map(repr, ids))} begin with the tokens "
            f"{[list(tokens[:1]) for tokens in ids.values()]}, wanted two different ones: an answer is told by its "
            "first token; take other answers"
        )
    return [int(token) for token in found]


def first_look(talker: Talker, head: Row, left: Sequence[Row]) -> tuple[int, Row]:
    """Size of a batch, and what the probe and the comparison of a batch with single runs found."""
    images, errors = [], []
    for question in head["probe"]:
        try:
            images.append(talker([question])[0])
        except Exception as error:  # remote code may raise anything; one image may be at fault
            free(error)
            errors.append(describe(error))
    if not images:
        raise RefusalError(f"the model answers none of {len(errors)} images, the last with {errors[-1]}")
    notes: Row = {"probe_images": len(images), "probe": judge(images, talker([head["grey"]])[0])}
    say(f"probe of {len(images)} images: {notes['probe']}")
    size = min(int(head["batch_size"]), len(left))
    if size > 1:
        try:
            alone = [talker([question])[0] for question in head["pair"]]
            together = talker(head["pair"])
            same = all(alike(one, other, SAME_LOGIT[head["dtype"]]) for one, other in zip(alone, together, strict=True))
            told = [[row.get("logits", row["words"]) for row in rows] for rows in (together, alone)]
        except Exception as error:  # as above
            free(error)
            same, told = False, [[describe(error)], []]
        notes["batches"] = "equal to single runs" if same else "differ from single runs"
        if not same:
            found, wanted = told
            say(f"warning: a batch of two is not equal to two single runs ({found} for {wanted}); one image at a time")
            size = 1
    return size, notes


def alike(one: Row, other: Row, tolerance: float) -> bool:
    """Whether two answers are the same: in their generated text, or in logits, if there are any, up to a tolerance."""
    if "logits" not in one:
        return bool(one["words"] == other["words"])
    gap = max(abs(a - b) for a, b in zip(one["logits"], other["logits"], strict=True))
    return bool(gap <= tolerance * (float(one["scores"].std()) or 1.0))


def judge(images: Sequence[Row], grey: Row) -> str:
    """What the blank-image probe found; refuse a model that does not look at the image.

    Alike words are enough if they hold a box. Words that deny a nodule may be right on every image and on a grey square
    too: then the scores of the first token must differ.
    """
    if any(image["words"] != grey["words"] for image in images):
        return "the answers differ"
    if len(images) < 2:
        return "not judged: it takes two different images"
    spread = float(grey["scores"].std()) or 1.0
    gap = max(float((image["scores"] - grey["scores"]).abs().max()) for image in images) / spread
    if "<|box|>" in grey["words"] or gap <= SAME_SCORE:
        raise RefusalError(
            f"{len(images)} different images and a grey square all get the answer {grey['words'][:200]!r}: the model "
            "does not look at the image. Known causes: another transformers, weights that are not the model's own, a "
            "vision encoder that was not found. Its answers would mean nothing, so none are written",
            BLIND,
        )
    return "the answers are alike, without a box; the scores behind them differ"


def answer_all(
    talker: Callable[[Sequence[Row]], list[Row]], left: Sequence[Row], size: int, write: Callable[[list[Row]], None]
) -> None:
    """Ask all questions, in batches; halve the batch when memory runs out, and record a row that fails alone."""
    began = said = time.monotonic()
    done = failed = 0
    while done < len(left):
        batch = left[done : done + size]
        try:
            rows = [line(question, row) for question, row in zip(batch, talker(batch), strict=True)]
        except Exception as error:  # remote code may raise anything
            free(error)
            if out_of_memory(error) and len(batch) > 1:
                size = len(batch) // 2
                say(f"warning: out of memory with {len(batch)} images at once; going on with {size}")
                continue
            if len(batch) > 1:
                say(
                    f"warning: a batch of {len(batch)} failed, its images are asked about one by one: {describe(error)}"
                )
            rows = list(one_by_one(talker, batch)) if len(batch) > 1 else [line(batch[0], None, error)]
        write(rows)
        done += len(batch)
        failed += sum(bool(row["error"]) for row in rows)
        for row in rows:
            if row["error"]:
                say(f"warning: no answer about {row['key']}: {row['error']}")
        if failed == done >= MOST_ROWS_LOST:
            raise RefusalError(f"the first {done} questions all failed, the last with {rows[-1]['error']}")
        now = time.monotonic()
        if now - said >= SECONDS_BETWEEN_LINES or done == len(left):
            rate = done / max(now - began, 1e-9)
            say(f"{done} of {len(left)} images, {rate:.2f} per second, {(len(left) - done) / rate:.0f} s left")
            said = now


def one_by_one(talker: Callable[[Sequence[Row]], list[Row]], batch: Sequence[Row]) -> Iterator[Row]:
    """Yield a line per question; one that fails alone gets its error for an answer."""
    for question in batch:
        try:
            yield line(question, talker([question])[0])
        except Exception as error:  # as in answer_all
            free(error)
            yield line(question, None, error)


def line(question: Row, row: Row | None, error: Exception | None = None) -> Row:
    """Journal's line about one question."""
    return {
        "kind": "answer",
        "key": question["key"],
        "words": row["words"] if row else "",
        "truncated": bool(row and row["truncated"]),
        "tokens": row["tokens"] if row else 0,
        "error": describe(error) if error else None,
        **{name: row[name] for name in ("logits", "mass") if row and name in row},
    }


def out_of_memory(error: Exception) -> bool:
    """Whether an error says that memory ran out, on a GPU or off it.

    >>> out_of_memory(RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")), out_of_memory(ValueError("no"))
    (True, False)
    """
    words = str(error).lower()
    return isinstance(error, MemoryError) or "out of memory" in words or "not enough memory" in words


def free(error: Exception) -> None:
    """Let go of what a failed batch held, which its traceback would keep."""
    import torch

    traceback.clear_frames(error.__traceback__)
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def read_task(path: Path) -> tuple[Row, list[Row]]:
    """Head and the questions of a task file, none of which may hold a mark of special tokens."""
    head, *questions = [json.loads(text) for text in path.read_text().splitlines()]
    asked = [*questions, *head["probe"], head["grey"], *head["pair"]]
    odd = [text for row in asked for text in (row["png"], row["request"]) if any(mark in text for mark in MARKS)]
    if odd:
        marks = " ".join(MARKS)
        raise RefusalError(f"found {odd[0]!r}, wanted requests and paths without {marks}, which stand for tokens")
    return head, questions


def read_journal(path: Path, begin: int = 0) -> tuple[list[Row], int]:
    """Whole lines of a journal from byte `begin` on, and where they end: what follows may be torn."""
    lines: list[Row] = []
    length = begin
    if path.is_file():
        with path.open("rb") as handle:
            handle.seek(begin)
            content = handle.read()
        for text in content.splitlines(keepends=True):
            try:
                found = json.loads(text) if text.endswith(b"\n") else None
            except ValueError:
                found = None
            if not isinstance(found, dict) or "kind" not in found:
                break
            lines.append(found)
            length += len(text)
    return lines, length


def append(handle: Any, rows: Sequence[Row]) -> None:
    """Add lines to the journal and force them to the disk."""
    handle.write("".join(json.dumps(row) + "\n" for row in rows).encode())
    handle.flush()
    os.fsync(handle.fileno())


def lock(handle: Any, path: Path) -> None:
    """Keep a second worker off the journal."""
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise RefusalError(f"another worker is writing to {path}; wait for it, or end it") from None


def network() -> str:
    """What this process sees of a network: "none" if no route leads out of it."""
    ways: set[str] = set()
    try:
        ways |= {text.split()[0] for text in Path("/proc/net/route").read_text().splitlines()[1:]}
        if (six := Path("/proc/net/ipv6_route")).is_file():
            ways |= {text.split()[-1] for text in six.read_text().splitlines()}
    except OSError:
        return "unknown"
    ways -= {"lo"}
    return f"reachable through {', '.join(sorted(ways))}" if ways else "none"


def imported() -> dict[str, str | None]:
    """Versions after the import of what the model needs, so that it is known to work."""
    import torch  # noqa: F401
    from transformers import AutoModelForCausalLM, AutoProcessor, AutoTokenizer  # noqa: F401

    return own_process.versions(PACKAGES)


def say(text: str) -> None:
    """Write a line to the log."""
    own_process.say("chexagent", text)


def run(argv: Sequence[str]) -> NoReturn:
    """Run `main`, or print the versions; a refusal is a sentence and an exit code of its own."""
    if list(argv) == ["--versions"]:
        sys.stdout.write(json.dumps(imported()) + "\n")
        sys.exit(0)
    try:
        main(Path(argv[0]), Path(argv[1]))
    except RefusalError as refusal:
        say(f"refused: {refusal}")
        sys.exit(refusal.code)
    sys.exit(0)
