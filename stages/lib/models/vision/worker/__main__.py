"""A vision model's own process: a program that runs in the vision environment.

    python -I PATH/TO/worker/__main__.py FD | --versions | --release NAME | --convert FILE FOLDER [NAME]
                                            | --unpickle FILE FOLDER

FD is a socket. A message is a JSON header, then its arrays, each as the bytes of a .npy file: nothing is unpickled on
either side. `--versions` imports the libraries and prints their versions. `--release` prints where a released model of
TorchXRayVision is on the web. `--convert` makes a folder of such a model: what is released is a pickle, which may run
any code, so that it is opened once, by a process without a network. `--unpickle` makes model.safetensors of a pickled
state, and runs no code of the file.
"""

import sys
from pathlib import Path


def main() -> None:
    """Make this package importable, behind all that the environment has, and run its program."""
    sys.path.append(str(Path(__file__).resolve().parents[5]))
    from stages.lib.models.vision.worker import program

    program.run(sys.argv[1:])


if __name__ == "__main__":
    main()
