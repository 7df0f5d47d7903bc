"""Claims about stages.lofi.notebook: what a notebook calls gives what the stages write."""

from pathlib import Path

import cv2
import lofi_models
import lofi_vectors as fake
import numpy as np
import pytest

from stages.lib.core import documents, sentence_tables, tables
from stages.lib.core.errors import DataError, MismatchError, ModelError, PoolError
from stages.lib.images import preprocess
from stages.lib.models.encoder import Pair, PairSetting
from stages.lib.models.encoders import siglip
from stages.lib.models.lofi import card, weights
from stages.lib.models.lofi.weights import Loaded
from stages.lib.models.snapshot import Snapshot
from stages.lofi import notebook as lofi

PIXELS = lofi.Preprocessing(low_percentile=0.0, high_percentile=100.0, side_px=lofi_models.SIDE_PX)
IMAGES = np.random.default_rng(0).integers(0, 256, (3, 80, 60), np.uint8)
SENTENCES = ["A mass.", "Clear lungs."]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SigLIP model with its record, and three images of one shape."""
    folder = tmp_path_factory.mktemp("notebook")
    documents.write(folder / "encoder.json", lofi_models.encoder(folder / "encoder"))
    for place, image in enumerate(IMAGES):
        cv2.imwrite(str(folder / f"{place}.png"), image)
    return folder


@pytest.fixture(scope="module")
def encoder(folder: Path) -> Pair:
    return lofi.encoder(folder / "encoder.json", PIXELS)


def test_images_become_the_squares_of_the_study(folder: Path) -> None:
    found = lofi.squares([folder / "0.png", folder / "1.png"], PIXELS)
    assert (found.shape, found.dtype) == ((2, 32, 32), np.uint8)
    assert not found[:, :, :4].any()  # 60 columns padded to 80: 4 of 32 on each side
    assert lofi.squares([], PIXELS).shape == (0, 32, 32)


def test_images_that_cannot_be_read_are_all_named(folder: Path) -> None:
    with pytest.raises(DataError, match=r"2 image\(s\) cannot be read(.|\n)*lost\.png(.|\n)*encoder\.json"):
        lofi.squares([folder / "lost.png", folder / "0.png", folder / "encoder.json"], PIXELS)


def test_images_and_sentences_are_vectors_of_the_encoder_in_any_batch(folder: Path, encoder: Pair) -> None:
    squares = lofi.squares([folder / f"{place}.png" for place in range(3)], PIXELS)
    params = siglip.Params(model="x", revision="none", dtype="float32")
    found = lofi_models.encoder(folder / "again")
    pair = siglip.pair(params, PairSetting(found=found, preprocessing_hash=""))
    np.testing.assert_allclose(lofi.embed_images(encoder, squares, batch_size=2), pair.embed(list(squares)), atol=1e-6)
    np.testing.assert_allclose(lofi.embed_sentences(encoder, SENTENCES, 1), pair.texts(SENTENCES), atol=1e-6)
    with pytest.raises(ModelError, match="tokens; leave sentences out"):
        lofi.embed_sentences(encoder, ["opacity " * 80])


def test_a_search_names_what_it_finds_ties_in_the_order_of_names(encoder: Pair) -> None:
    pool = lofi.embed_sentences(encoder, [*SENTENCES, SENTENCES[0]])
    found = lofi.search(pool[:1], pool, ["z", "y", "a"], k=3)
    assert [hit.name for hit in found[0]] == ["a", "z", "y"]
    assert found[0][0].similarity == 1.0
    with pytest.raises(PoolError, match="found 2, wanted one of each of the 3 vectors"):
        lofi.search(pool, pool, ["a", "b"], 1)
    with pytest.raises(PoolError, match="found 4, wanted at most 3"):
        lofi.search(pool, pool, ["a", "b", "c"], 4)


@pytest.fixture(scope="module")
def network(folder: Path) -> Loaded:
    """LoFi's network with a decoder, by an adapter of no training, through the notebook's own loader."""
    encoder = documents.read(folder / "encoder.json", Snapshot)
    decoder = lofi_models.decoder(folder / "decoder")
    documents.write(folder / "decoder.json", decoder)
    (folder / "checkpoint").mkdir()
    weights.save(weights.load(encoder, decoder, lofi_models.params()).network, folder / "checkpoint")
    told = card.Card(
        preprocessing_hash=preprocess.preprocessing_hash(low_percentile=0.0, high_percentile=100.0, side_px=32),
        encoder=encoder.identity,
        decoder=decoder.identity,
        model=dict(lofi_models.MODEL),
        train={"learning_rate": 0.1},
        step=1,
    )
    card.write(folder / "adapter", folder / "checkpoint", told)
    return lofi.model(folder / "encoder.json", PIXELS, adapter=folder / "adapter", decoder=folder / "decoder.json")


def test_the_map_of_a_sentence_has_the_encoder_s_grid_and_can_be_drawn(folder: Path, network: Loaded) -> None:
    square = lofi.squares([folder / "0.png"], PIXELS)[0]
    found = lofi.sentence_map(network, square, SENTENCES[0])
    grid = lofi_models.SIDE_PX // lofi_models.PATCH_PX
    assert found.shape == (grid, grid)
    assert np.abs(found).max() <= 1
    image = lofi.drawn(square, found, [(0.0, 0.0, 0.5, 0.5)])
    assert (image.shape, image.dtype) == ((32, 32, 3), np.uint8)
    assert image[0, 0].tolist() == [255, 255, 0]  # the box


def test_a_sentence_is_grounded_by_what_the_decoder_writes(folder: Path, network: Loaded) -> None:
    square = lofi.squares([folder / "0.png"], PIXELS)[0]
    found = lofi.ground(network, square, SENTENCES[0], max_new_tokens=4)
    assert (found.status, found.boxes) == ("malformed", ())  # of random weights, and cut
    adapted = lofi.model(folder / "encoder.json", PIXELS, adapter=folder / "adapter")
    with pytest.raises(ModelError, match="decoder"):
        lofi.ground(adapted, square, SENTENCES[0], max_new_tokens=4)
    other = lofi.Preprocessing(low_percentile=1.0, high_percentile=99.0, side_px=32)
    with pytest.raises(MismatchError, match="preprocessing hash"):
        lofi.model(folder / "encoder.json", other, adapter=folder / "adapter")


def test_stored_vectors_are_those_of_the_table(tmp_path: Path) -> None:
    table = fake.images([("b", "p", "test", fake.unit(0, 1)), ("a", "q", "train", fake.unit(1, 0))])
    tables.write(tmp_path / "images.parquet", table, sentence_tables.IMAGE_VECTORS)
    names, found = lofi.stored_images(tmp_path / "images.parquet")
    assert names == ["a", "b"]
    np.testing.assert_array_equal(found, np.eye(2))
