"""Mutated files: each is an image or a sentence; never a crash, never another picture than a second decoder sees."""

import io
import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pydicom
import pytest
from dicoms import dicom
from PIL import Image
from pngs import image, png

from stages.lib.core.errors import ImageError
from stages.lib.images import csvfile, reading

MAX_PIXELS = 100_000
MEMORY_BYTES = 1_500_000_000
SEED = 20261126


def originals(folder: Path) -> dict[str, bytes]:
    """A good file of each kind, by its name."""
    grey = image(0, dtype=np.uint16)
    whole = dicom(folder / "whole.dcm", grey)
    packed = pydicom.dcmread(whole)
    packed.compress(pydicom.uid.RLELossless, generate_instance_uid=False)
    packed.save_as(folder / "rle.dcm")
    packed = pydicom.dcmread(whole)
    packed.compress(pydicom.uid.JPEG2000Lossless, generate_instance_uid=False)
    packed.save_as(folder / "j2k.dcm")
    tiff = io.BytesIO()
    Image.fromarray(image(1)).save(tiff, "TIFF")
    found = {name: (folder / f"{name}.dcm").read_bytes() for name in ("whole", "rle", "j2k")}
    table = "file_name,label,patient_id\n" + "".join(f"{n:03d}.png,Nodule,P{n}\n" for n in range(40))
    return {
        **{f"{name}.dcm": data for name, data in found.items()},
        "grey.png": png(grey),
        "interlaced.png": png(image(2), interlaced=True),
        "photo.jpg": cv2.imencode(".jpg", image(3))[1].tobytes(),
        "page.tif": tiff.getvalue(),
        "table.csv": table.encode(),
    }


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    """The bytes with some of them changed, cut, doubled or left out."""
    changed = bytearray(data)
    for _ in range(int(rng.integers(1, 6))):
        at, length = int(rng.integers(0, len(changed))), int(rng.integers(1, 40))
        way = int(rng.integers(0, 5))
        if way == 0:
            changed[at] ^= 1 << int(rng.integers(0, 8))
        elif way == 1:
            changed[at : at + length] = rng.bytes(length)
        elif way == 2:
            del changed[at : at + length]
        elif way == 3:
            changed[at:at] = changed[at : at + length]
        else:
            del changed[max(at, 1) :]
        if not changed:
            break
    return bytes(changed)


def fuzz(folder: Path, count: int) -> dict[str, int]:
    """Try so many mutations; how many were taken as an image, and how many refused.

    Raises:
        AssertionError: If an image differs from what a second decoder sees.
    """
    files, rng = list(originals(folder).items()), np.random.default_rng(SEED)
    outcome = {"taken": 0, "refused": 0}
    for number in range(count):
        name, data = files[number % len(files)]
        path = folder / f"mutant{Path(name).suffix}"
        path.write_bytes(mutated(data, rng))
        if name.endswith(".csv"):
            outcome["refused" if csvfile.table(path).problems else "taken"] += 1
            continue
        try:
            found = reading.read_grey(path, max_pixels=MAX_PIXELS)
            reading.examine(str(path), MAX_PIXELS)
        except ImageError as error:
            assert str(error) and "Error" not in str(error).split(":")[0], (name, number, str(error))
            outcome["refused"] += 1
            continue
        outcome["taken"] += 1
        if name.endswith(".png"):
            with Image.open(path) as second:
                np.testing.assert_array_equal(np.asarray(second), found.pixels, err_msg=f"{name} {number}")
    return outcome


def test_150_mutated_files_are_images_or_sentences(tmp_path: Path) -> None:
    outcome = fuzz(tmp_path, 150)
    assert sum(outcome.values()) == 150 and outcome["refused"] > 50


@pytest.mark.slow
def test_4000_mutated_files_are_images_or_sentences_in_bounded_memory(tmp_path: Path) -> None:
    command = [sys.executable, __file__, str(tmp_path), "4000"]
    path = {"PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **path}, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    outcome = json.loads(done.stdout.splitlines()[-1])
    assert outcome["taken"] + outcome["refused"] == 4000
    assert outcome["peak_bytes"] < MEMORY_BYTES


if __name__ == "__main__":
    found = fuzz(Path(sys.argv[1]), int(sys.argv[2]))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    sys.stdout.write(json.dumps({**found, "peak_bytes": peak}) + "\n")
