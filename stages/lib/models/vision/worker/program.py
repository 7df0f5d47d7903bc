"""The command line of the program, and its answers to messages."""

import json
import os
import sys
import traceback
from collections.abc import Sequence
from contextlib import redirect_stdout
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from stages.lib.models.own_process import RefusalError, clear, describe, die_with
from stages.lib.models.vision.worker.channel import receive, send
from stages.lib.models.vision.worker.installed import imported
from stages.lib.models.vision.worker.log_lines import say
from stages.lib.models.vision.worker.model import Model
from stages.lib.models.vision.worker.pickled_state import unpickle
from stages.lib.models.vision.worker.xrv_release import convert, release

PRIVATE = "noduleflow-vision-"  # how the name of a private folder begins


def run(argv: Sequence[str]) -> NoReturn:
    """Do what the command line says; a refusal is a sentence and an exit code of its own."""
    printed, out = "", sys.stdout
    die_with(os.getppid(), Path.cwd(), PRIVATE)
    try:
        with redirect_stdout(sys.stderr):  # so that what a library prints is not taken for an answer
            match list(argv):
                case ["--versions"]:
                    printed = json.dumps(imported()) + "\n"
                case ["--release", name]:
                    printed = release(name) + "\n"
                case ["--convert", file, folder, *name] if len(name) < 2:
                    convert(Path(file), Path(folder), *name)
                case ["--unpickle", file, folder]:
                    unpickle(Path(file), Path(folder))
                case [socket] if socket.isdigit():
                    answer_all(int(socket))
                case _:
                    raise RefusalError(f"found the arguments {' '.join(argv)}, wanted those of the docstring")
    except RefusalError as refusal:
        say(f"refused: {refusal}")
        sys.exit(refusal.code)
    out.write(printed)
    sys.exit(0)


def answer_all(socket: int) -> None:
    """Answer messages until the other side closes the socket."""
    connection = Connection(socket)
    model: Model | None = None
    while True:
        try:
            header, arrays = receive(connection)
        except (EOFError, ConnectionError):
            clear(Path.cwd(), PRIVATE)
            return
        try:
            if header["verb"] == "open":
                model = None
                model = Model(header)
                answer: tuple[dict[str, Any], list[np.ndarray]] = (model.facts, [])
            elif model is None:
                raise RefusalError("no model is open")
            else:
                answer = {}, list(model.ask(header["verb"], arrays[0]))
        except RefusalError as refusal:
            answer = {"refused": str(refusal)}, []
        except Exception as error:  # a library may raise anything
            traceback.print_exc()
            answer = {"failed": describe(error)}, []
        try:
            send(connection, *answer)
        except ConnectionError:
            return
