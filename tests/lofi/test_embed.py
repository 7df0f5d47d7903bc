"""Claims about stages.lofi.embed, with a tiny SigLIP of random weights and an encoder by hand."""

import json
from pathlib import Path

import cv2
import lofi_models
import lofi_vectors as fake
import numpy as np
import pyarrow as pa
import pytest

from stages.lib.core import documents, sentence_tables, tables, vectors
from stages.lib.core.errors import ModelError, ParamsError, TableError
from stages.lib.models.encoder import Pair, Reader
from stages.lib.models.lofi import wording
from stages.lofi import embed
from stages.lofi.embedded import Embedded

SIDE = lofi_models.SIDE_PX
ALL = ("train", "val", "test")
PARAMS = embed.Params(batch_size=2, readers=0, image_splits=ALL, text_splits=("test",))
SPLITS = {"a": "train", "b": "val", "c": "test", "d": "test", "e": "train"}


def sentence(image, number, text, part=0):
    return {
        "image_id": image,
        "number": number,
        "patient_id": f"p{image}",
        "split": SPLITS[image],
        "text": text,
        "part": part,
    }


PAIRS = fake.pairs(
    [
        sentence("d", 2, "Large heart.", part=1),
        sentence("d", 1, "A mass."),
        sentence("d", 0, "Clear."),
        sentence("d", 3, "Drawn for its box alone.", part=None),
        sentence("c", 0, "Very " * 20),
        sentence("c", 1, "Normal."),
        sentence("a", 0, "Clear."),
        sentence("b", 0, "Clear."),
        sentence("e", 0, "Clear."),
    ]
)


def grey(image: np.ndarray) -> np.ndarray:
    """Vector of an image: its direction is its mean grey value."""
    angle = image.mean() / 100
    return np.array([np.cos(angle), np.sin(angle)], np.float32)


def by_hand(calls: list[int], reads: bool = True, room: int = 30, identity: str = "by hand") -> Pair:
    """An encoder of grey values and lengths; `calls` gets the size of each batch."""

    def images(batch):
        calls.append(len(batch))
        return np.stack([grey(image) for image in batch])

    def texts(batch):
        calls.append(len(batch))
        return np.stack([np.array([np.cos(len(text)), np.sin(len(text))], np.float32) for text in batch])

    reader = Reader(lambda sentences: wording.fit(sentences, lambda text: len(text) <= room), texts)
    return Pair(identity, images, reader if reads else None)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a normalized image of each, of one grey value but for a corner."""
    folder = tmp_path_factory.mktemp("results")
    rng = np.random.default_rng(0)
    for place, name in enumerate(SPLITS):
        image = np.full((SIDE, SIDE), 40 * place, np.uint8)
        image[:8, :8] = rng.integers(0, 256, (8, 8))
        cv2.imwrite(str(folder / f"{name}.png"), image)
    return folder


def normalized(names=tuple(SPLITS), preprocessing_hash="pixels") -> pa.Table:
    facts = {"low": 0.0, "high": 1.0, "scale": 1.0, "pad_x_px": 0, "pad_y_px": 0, "side_px": SIDE}
    rows = [
        {"image_id": name, "png": f"{name}.png", "preprocessing_hash": preprocessing_hash, **facts} for name in names
    ]
    return tables.from_rows(rows, tables.NORMALIZED)


def test_each_image_has_its_own_vector_with_its_patient_and_split(results: Path) -> None:
    calls: list[int] = []
    found = embed.embed_images(PAIRS, normalized(), results, by_hand(calls), PARAMS)
    assert found["image_id"].to_pylist() == list("abcde")
    assert found["split"].to_pylist() == list(SPLITS.values())
    assert found["patient_id"].to_pylist() == ["pa", "pb", "pc", "pd", "pe"]
    wanted = [grey(cv2.imread(str(results / f"{name}.png"), cv2.IMREAD_UNCHANGED)) for name in SPLITS]
    np.testing.assert_array_equal(vectors.matrix(found), np.stack(wanted))
    assert calls == [2, 2, 1]


def test_only_the_splits_wanted_are_embedded(results: Path) -> None:
    params = embed.Params(batch_size=8, readers=1, image_splits=("val", "test"), text_splits=("test",))
    found = embed.embed_images(PAIRS, normalized(list("bcd")), results, by_hand([]), params)
    assert found["image_id"].to_pylist() == ["b", "c", "d"]


def test_a_text_is_a_part_s_sentences_in_the_order_of_the_report_and_none_is_cut() -> None:
    found = embed.fitted(PAIRS, by_hand([]), ["test"])
    assert [(one.row["image_id"], one.row["part"], one.text, one.left_out) for one in found] == [
        ("c", 0, "Normal.", 1),
        ("d", 0, "Clear. A mass.", 0),
        ("d", 1, "Large heart.", 0),
    ]


def test_what_there_is_no_room_for_is_counted(results: Path) -> None:
    pair = by_hand([], room=8)
    texts = embed.fitted(PAIRS, pair, ["test"])
    images = embed.embed_images(PAIRS, normalized(), results, pair, PARAMS)
    told = embed.record("tiny", pair, "pixels", images, texts)
    assert (told.texts, told.shortened, told.left_out, told.sentences_left_out) == (2, 2, 1, 3)
    assert (told.images, told.width, told.reads) == (5, 2, True)


def test_an_encoder_that_does_not_read_embeds_no_text() -> None:
    assert embed.fitted(PAIRS, by_hand([], reads=False), ["test"]) == []
    assert embed.embed_texts([], by_hand([], reads=False), PARAMS).num_rows == 0


def test_kept_vectors_are_taken_up_and_not_those_of_another_encoder_or_preprocessing(
    results: Path, tmp_path: Path
) -> None:
    calls: list[int] = []

    def images(pair: Pair, preprocessing_hash: str = "pixels") -> pa.Table:
        return embed.embed_images(
            PAIRS, normalized(preprocessing_hash=preprocessing_hash), results, pair, PARAMS, tmp_path
        )

    first = images(by_hand(calls))
    assert images(by_hand(calls)).equals(first)
    assert calls == [2, 2, 1]
    images(by_hand(calls, identity="other weights"))
    images(by_hand(calls), "other pixels")
    assert len(calls) == 9
    for file in tmp_path.rglob("*.bin"):
        file.write_bytes(file.read_bytes()[:-1])
    assert images(by_hand(calls)).equals(first)
    assert len(calls) == 12  # a damaged file is made anew


def test_kept_texts_are_taken_up(tmp_path: Path) -> None:
    calls: list[int] = []
    texts = embed.fitted(PAIRS, by_hand([]), ["test"])
    first = embed.embed_texts(texts, by_hand(calls), PARAMS, tmp_path)
    assert embed.embed_texts(texts, by_hand(calls), PARAMS, tmp_path).equals(first)
    assert calls == [2, 1]


def test_a_pair_whose_image_was_not_normalized_is_refused(results: Path) -> None:
    with pytest.raises(TableError, match="lacks b, d, wanted each image of the pairs"):
        embed.embed_images(PAIRS, normalized(["a", "c", "e"]), results, by_hand([]), PARAMS)


def test_a_vector_that_is_not_of_length_1_is_refused(results: Path) -> None:
    odd = Pair("odd", lambda images: np.full((len(images), 2), 2.0, np.float32), None)
    with pytest.raises(ModelError, match="of the lengths"):
        embed.embed_images(PAIRS, normalized(), results, odd, PARAMS)


def test_the_stage_writes_both_tables_and_its_record(results: Path, tmp_path: Path) -> None:
    found = lofi_models.encoder(tmp_path / "encoder")
    documents.write(tmp_path / "fetched.json", found)
    tables.write(tmp_path / "pairs", PAIRS, sentence_tables.PAIRS)
    tables.write(tmp_path / "normalized", normalized(), tables.NORMALIZED)
    section = {
        "lofi": {
            "embed": {"batch_size": 4, "readers": 0, "image_splits": list(ALL), "text_splits": ["test"]},
            "encoders": {"base": {"kind": "siglip", "model": "x", "revision": "none", "dtype": "float32"}},
        }
    }
    paths = {name: str(tmp_path / name) for name in ("pairs", "normalized", "images", "texts", "record")}
    options = [part for name, path in paths.items() for part in (f"--{name}", path)]
    more = ["--results", str(results), "--fetched", str(tmp_path / "fetched.json")]
    embed.main(["--params", json.dumps(section), *options, *more, "--encoder", "base"])
    images = tables.read(paths["images"], sentence_tables.IMAGE_VECTORS)
    texts = tables.read(paths["texts"], sentence_tables.TEXT_VECTORS)
    told = documents.read(paths["record"], Embedded)
    assert (images.num_rows, texts.num_rows) == (5, 3)
    assert (told.encoder, told.width, told.preprocessing_hash) == ("base", lofi_models.WIDTH, "pixels")
    assert found.sha256 in told.identity
    with pytest.raises(ParamsError, match="did you mean"):
        embed.main(["--params", json.dumps(section), *options, *more, "--encoder", "bas"])
