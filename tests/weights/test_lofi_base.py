"""The shipped base of LoFi: its three folders fit one another, and it knows something of matching and of places."""

from pathlib import Path

import numpy as np
import pytest

from stages.lib.demo.bases import lofi
from stages.lib.demo.lofi.examples import GROUPS, examples
from stages.lib.images import preprocess
from stages.lib.models import box_text
from stages.lib.models.lofi import card, weights
from stages.lib.models.lofi.wording import ground_prompt
from stages.weights import fetch
from workflow import base_record

ROOT = Path(__file__).parents[2]
BASE = base_record.bases(ROOT)["lofi"]
PIXELS = preprocess.preprocessing_hash(
    low_percentile=BASE.params.low_percentile, high_percentile=BASE.params.high_percentile, side_px=BASE.params.side_px
)


def found(name: str, whole: tuple[str, ...] = ("config.json", "weights")) -> fetch.Snapshot:
    return fetch.fetch(fetch.Source(str(ROOT / BASE.folder / name), "none", whole=whole), None, True)


def load() -> weights.Loaded:
    return weights.load(found(lofi.ENCODER), found(lofi.DECODER), BASE.params.model, ROOT / BASE.folder / lofi.START)


def test_the_adapter_to_begin_with_fits_encoder_and_decoder_as_fetch_finds_them() -> None:
    encoder, decoder = found(lofi.ENCODER), found(lofi.DECODER)
    card.check(ROOT / BASE.folder / lofi.START, PIXELS, encoder.identity, decoder.identity, BASE.params.model)


def test_the_adapter_to_begin_with_leaves_the_embeddings_of_the_encoder_as_they_are() -> None:
    image = np.random.default_rng(0).integers(0, 256, (112, 112)).astype(np.uint8)
    plain = weights.load(found(lofi.ENCODER), None, BASE.params.model)
    for one, other in (
        (plain.embed_images([image]), load().embed_images([image])),
        (plain.embed_texts(["A nodule."]), load().embed_texts(["A nodule."])),
    ):
        assert np.abs(one - other).max() < 1e-6


@pytest.mark.slow
def test_the_shipped_base_of_lofi_matches_reports_and_looks_where_a_finding_is_and_leaves_room_for_training() -> None:
    number = 120
    taught = examples(np.random.default_rng(77), number, BASE.params, (0.5, 99.5))
    loaded = load()
    images = loaded.embed_images([one.pixels for one in taught])
    texts = loaded.embed_texts([loaded.tower.fit([told.text for told in one.report]).text for one in taught])
    similar = images @ texts.T
    for ranks in ((similar >= np.diag(similar)[:, None]).sum(axis=1), (similar >= np.diag(similar)).sum(axis=0)):
        assert 2 * 10 / number < (ranks <= 10).mean() < 0.8
    asked = [(i, told) for i, one in enumerate(taught) for told in one.report if told.boxes]
    asked = [(i, told) for i, told in asked if GROUPS[0] not in told.text]
    prefixes = loaded.prefixes([one.pixels for one in taught])
    own, other = (
        overlap(loaded, prefixes[[(i + shift) % number for i, _ in asked]], [told for _, told in asked])
        for shift in (0, 1)
    )
    assert own > other + 0.05


def overlap(loaded: weights.Loaded, prefix, asked) -> float:
    """Mean IoU of the first box that is written with the true one."""
    found = []
    for made, told in zip(loaded.generate(prefix, [ground_prompt(one.text) for one in asked], 60), asked, strict=True):
        boxes = box_text.read(made.text, "lofi", cut=made.cut).boxes
        a, b = np.array(boxes[0] if boxes else (0, 0, 0, 0)), np.array(told.boxes[0])
        common = np.prod(np.maximum(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0))
        found.append(common / (np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - common))
    return float(np.mean(found))
