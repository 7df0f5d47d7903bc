"""Claims about stages.lib.learn.feature_files: what is read is what was written, and nothing else is."""

import numpy as np
import pyarrow as pa
import pytest

from stages.lib.core import row_groups
from stages.lib.core.errors import MismatchError, TableError
from stages.lib.core.feature_tables import FEATURES, STATISTICS, TOKENS
from stages.lib.learn import feature_files

PLACES, WIDTH, SIDE = 2, 6, 3
IDS = [f"i{number}" for number in range(7)]


def values(image: str, place: int, name: str, width: int = WIDTH) -> np.ndarray:
    seed = int(image[1:]) * 100 + place * 10 + (*STATISTICS, "prefix", "tokens").index(name)
    return np.random.default_rng(seed).normal(0, 5, width).astype(np.float16)


def write(path, ids, *, schema=FEATURES, hash_="h", places=PLACES, change=lambda image, name, v: v, per_group=2):
    path.parent.mkdir(exist_ok=True)
    names = ["tokens"] if schema is TOKENS else [*STATISTICS, "prefix"]
    width = SIDE * SIDE * WIDTH if schema is TOKENS else WIDTH
    with row_groups.writing(path, schema) as add:
        for start in range(0, len(ids), per_group):
            rows = [(image, place) for image in sorted(ids)[start : start + per_group] for place in range(places)]
            made = {name: np.stack([change(i, name, values(i, p, name, width)) for i, p in rows]) for name in names}
            known = {"image_id": [i for i, _ in rows], "place": [p for _, p in rows]}
            known |= {"preprocessing_hash": [hash_] * len(rows)}
            known |= {"rows": [SIDE] * len(rows), "columns": [SIDE] * len(rows)} if schema is TOKENS else {}
            columns = known | {name: row_groups.halves(found) for name, found in made.items()}
            add(pa.table([columns[name] for name in schema.names], schema=schema.arrow))
    return path


@pytest.fixture
def shards(tmp_path):
    return [write(tmp_path / "f/1.parquet", IDS[::2]), write(tmp_path / "f/2.parquet", IDS[1::2])]


@pytest.fixture
def token_shards(tmp_path):
    return [write(tmp_path / f"t/{k}.parquet", IDS[k::2], schema=TOKENS) for k in (0, 1)]


@pytest.mark.parametrize("ids", [IDS, IDS[::-1], IDS[2:5]])
def test_features_come_in_the_order_of_the_ids_whatever_their_shard(shards, ids):
    found = feature_files.features("dino", shards, ids, "h")
    assert tuple(found) == (*STATISTICS, "prefix")
    for name, array in found.items():
        assert (array.dtype, array.shape) == (np.float16, (len(ids), PLACES, WIDTH))
        wanted = [[values(image, place, name) for place in range(PLACES)] for image in ids]
        np.testing.assert_array_equal(array, wanted)


def test_a_model_without_prefix_tokens_has_none(tmp_path):
    path = write(tmp_path / "f/1.parquet", IDS, change=lambda image, name, v: v[:0] if name == "prefix" else v)
    assert feature_files.features("dino", [path], IDS)["prefix"].shape == (7, PLACES, 0)


@pytest.mark.parametrize("what", ["features", "tokens"])
def test_one_bit_turned_anywhere_is_an_error_that_names_the_file_or_changes_nothing(
    shards, token_shards, what, tmp_path
):
    def read():
        if what == "features":
            return list(feature_files.features("dino", shards, IDS).values())
        return list(feature_files.TokenFiles("dino", token_shards, IDS).batches(3))

    path = (shards if what == "features" else token_shards)[0]
    sound, whole = path.read_bytes(), read()
    rng, errors = np.random.default_rng(0), 0
    for place in rng.choice(len(sound) * 8, 150, replace=False).tolist():
        content = bytearray(sound)
        content[place // 8] ^= 1 << place % 8
        path.write_bytes(content)
        try:
            found = read()
        except TableError as error:
            errors += 1
            assert str(path) in str(error) or "dino" in str(error)
        else:
            for a, b in zip(found, whole, strict=True):
                np.testing.assert_array_equal(a, b)
    assert errors > 50  # the rest of the file are names and statistics that nothing is read from


def test_a_bit_of_the_numbers_and_a_file_that_ends_early_say_which_file_and_what_to_do(shards):
    path = shards[0]
    sound = path.read_bytes()
    content = bytearray(sound)
    content[sound.index(values("i0", 0, "mean").tobytes())] ^= 1  # so short a page is stored as it is
    for broken in (bytes(content), sound[: len(sound) // 2], sound[:-20], b""):
        path.write_bytes(broken)
        with pytest.raises(TableError, match=r"f/1\.parquet: damaged.*dino.*delete it and run zoo\.embed again"):
            feature_files.features("dino", shards, IDS)


def test_images_of_another_preprocessing_hash_are_refused_with_both(shards, tmp_path):
    both = [shards[0], write(tmp_path / "f/3.parquet", IDS[1::2], hash_="other")]
    with pytest.raises(MismatchError, match=r"dino: .*1\.parquet is of .* hash h; .*3\.parquet is of .* hash other"):
        feature_files.features("dino", both, IDS)
    with pytest.raises(MismatchError, match="hash other; wanted h: "):
        feature_files.features("dino", both, IDS[1::2], "h")
    mine = feature_files.features("dino", both, IDS[::2], "h")  # the others are not asked for
    assert mine["mean"].shape[0] == 4


def test_images_that_no_file_has_are_named(shards):
    with pytest.raises(TableError, match=r"dino: .*2\.parquet lack 2 of 9 images \(x, y\); run zoo\.embed again"):
        feature_files.features("dino", shards, [*IDS, "x", "y"])


def test_images_at_different_places_are_refused(shards, tmp_path):
    write(tmp_path / "f/2.parquet", IDS[1::2], places=1)
    with pytest.raises(TableError, match=r"dino: found images at \[1, 2\] places"):
        feature_files.features("dino", shards, IDS)


def test_files_of_models_of_different_width_are_refused(shards, tmp_path):
    write(tmp_path / "f/2.parquet", IDS[1::2], change=lambda image, name, v: v[:4])
    with pytest.raises(TableError, match="has 4 numbers of mean an image, wanted 6"):
        feature_files.features("dino", shards, IDS)


@pytest.mark.parametrize("odd", [np.nan, np.inf])
def test_numbers_that_are_none_are_refused_with_row_and_image(tmp_path, odd):
    def change(image, name, v):
        return np.where(np.arange(len(v)) == 1, odd, v).astype(np.float16) if (image, name) == ("i3", "largest") else v

    path = write(tmp_path / "f/1.parquet", IDS, change=change)
    with pytest.raises(TableError, match=r"dino: 1 of 7 images have features that are no finite numbers \(i3\)"):
        feature_files.features("dino", [path], IDS)
    assert feature_files.features("dino", [path], IDS[:3])["largest"].shape == (3, PLACES, WIDTH)


def test_features_that_are_equal_for_all_images_are_refused_and_one_constant_feature_is_not(tmp_path):
    path = write(tmp_path / "f/1.parquet", IDS, change=lambda image, name, v: np.arange(len(v), dtype=np.float16))
    with pytest.raises(TableError, match="dino: all 7 images have the same features"):
        feature_files.features("dino", [path], IDS)

    assert feature_files.features("dino", [path], IDS, varied=False)["mean"].shape == (7, PLACES, WIDTH)

    def zero(image, name, v):  # as the smallest values of a network that ends in a ReLU
        return np.zeros_like(v) if name == "smallest" else v

    path = write(tmp_path / "f/1.parquet", IDS, change=zero)
    assert not feature_files.features("dino", [path], IDS)["smallest"].any()


def test_tokens_are_those_of_the_image_of_that_number(token_shards):
    files = feature_files.TokenFiles("dino", token_shards, IDS[::-1], "h")
    assert (len(files), files.shape) == (7, (PLACES, SIDE, SIDE, WIDTH))
    for number, image in enumerate(IDS[::-1]):
        wanted = [values(image, place, "tokens", SIDE * SIDE * WIDTH) for place in range(PLACES)]
        np.testing.assert_array_equal(files[number].reshape(PLACES, -1), wanted)
    np.testing.assert_array_equal(files[-1], files[6])
    with pytest.raises(IndexError):
        files[7]


def test_tokens_in_batches_are_the_same_in_any_order_and_with_little_memory(token_shards):
    files = feature_files.TokenFiles("dino", token_shards, IDS, held_bytes=1)
    whole = np.stack([files[number] for number in range(7)])
    batches = list(files.batches(3))
    assert [len(batch) for batch in batches] == [3, 3, 1]
    np.testing.assert_array_equal(np.concatenate(batches), whole)
    np.testing.assert_array_equal(np.concatenate(list(files.batches(2, [5, 0, 3]))), whole[[5, 0, 3]])
    assert sum(one.nbytes for one in files._held.values()) <= whole[0].nbytes * 2


def test_a_token_that_is_no_number_is_refused_when_it_is_read(tmp_path):
    def change(image, name, v):
        return np.full_like(v, np.nan) if image == "i2" else v

    files = feature_files.TokenFiles("dino", [write(tmp_path / "t/1.parquet", IDS, schema=TOKENS, change=change)], IDS)
    files[1]
    with pytest.raises(TableError, match="dino: i2 has tokens that are no finite numbers"):
        files[2]


def test_no_images_are_no_features(shards):
    assert feature_files.features("dino", shards, []) == {}
