import threading
import time
from pathlib import Path

import pytest

from stages.lib.images.prefetch import BATCHES_AHEAD, Reader

BATCHES = [[Path(f"{batch}{image}") for image in range(3)] for batch in range(7)]


@pytest.mark.parametrize("threads", [0, 1, 4])
def test_batches_come_whole_and_in_order(threads):
    assert list(Reader(BATCHES, str, threads)) == [[str(path) for path in batch] for batch in BATCHES]


def test_images_are_read_while_the_model_works_but_not_all_of_them():
    read = []
    images = iter(Reader(BATCHES, lambda path: read.append(path) or path, threads=2))
    next(images)
    deadline = time.monotonic() + 30
    while len(read) < 3 * (BATCHES_AHEAD + 1) and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.1)
    assert len(read) == 3 * (BATCHES_AHEAD + 1)
    images.close()


def test_the_time_spent_waiting_is_that_of_reading_less_that_of_working():
    def slow(path):
        time.sleep(0.02)
        return path

    ends = {}
    for threads in (0, 3):
        images = Reader(BATCHES, slow, threads)
        for _ in images:
            time.sleep(0.06)
        ends[threads] = images.waited
    assert ends[0] > 7 * 0.06
    assert ends[3] < ends[0] / 2


@pytest.mark.parametrize("threads", [0, 2])
def test_an_image_that_cannot_be_read_stops_at_its_batch_and_leaves_no_thread(threads):
    def broken(path):
        if path == BATCHES[2][1]:
            raise OSError(f"{path} is damaged")
        return path

    seen = []
    before = threading.active_count()
    with pytest.raises(OSError, match="21 is damaged"):
        seen.extend(Reader(BATCHES, broken, threads))
    assert threading.active_count() == before


def test_a_reader_of_nothing_yields_nothing():
    assert list(Reader([], str, 2)) == []
