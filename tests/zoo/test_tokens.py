"""Claims about stages.zoo.tokens."""

import numpy as np
import pytest
import zoo_backbone as fake

from stages.lib.core import documents, tables
from stages.lib.core.errors import ParamsError
from stages.lib.core.feature_tables import FEATURES, TOKENS
from stages.lib.images import normalized
from stages.lib.learn.feature_files import TokenFiles
from stages.zoo import embed, tokens
from stages.zoo.records import Embedded


@pytest.fixture
def study(tmp_path):
    return fake.study(tmp_path / "study", images=18)


@pytest.fixture
def library(monkeypatch):
    return fake.plant(monkeypatch.setattr, fake.ByHand())


def options(study, out, purpose="cohort", **how):
    return fake.embed_options(study, out, stage="tokens", purpose=purpose, cache=study / "kept", **how)


def test_the_tokens_of_the_cohort_are_those_of_the_model_at_each_place_without_its_prefix(study, library, tmp_path):
    out = tmp_path / "tokens/dino/cohort/1.parquet"
    tokens.main(options(study, out, shifts=2))
    table = tables.read(out, TOKENS)
    ids = [f"i{number:03d}" for number in range(18) if number not in (10, 11)]
    assert sorted(set(table["image_id"].to_pylist())) == ids
    files = TokenFiles("dino", [out], ids, fake.HASH)
    assert files.shape == (4, fake.ROWS, fake.ROWS, fake.FEATURES)
    for number, name in enumerate(ids):
        wanted = fake.patches(normalized.load(study / f"{name}.png"))
        np.testing.assert_allclose(files[number][0], wanted, rtol=1e-3)
    record = documents.read(out.with_suffix(".json"), Embedded)
    assert (record.images, record.computed, record.failure) == (16, 16, None)


def test_a_pass_for_tokens_also_keeps_their_statistics(study, library, tmp_path):
    tokens.main(options(study, tmp_path / "tokens/dino/cohort/1.parquet"))
    passes = len(library.passes)
    embed.main(fake.embed_options(study, tmp_path / "features/dino/1.parquet", cache=study / "kept"))
    assert len(library.passes) == passes
    assert tables.read(tmp_path / "features/dino/1.parquet", FEATURES).num_rows == 16
    tokens.main(options(study, tmp_path / "tokens/renamed/cohort/1.parquet"))
    assert len(library.passes) == passes
    once, again = (tmp_path / f"tokens/{name}/cohort/1.parquet" for name in ("dino", "renamed"))
    assert once.read_bytes() == again.read_bytes()


def test_the_images_of_a_localizer_are_the_marked_ones_the_test_split_and_negatives_to_choose_and_learn_by(
    study, library, tmp_path
):
    out = tmp_path / "tokens/dino/located/1.parquet"
    tokens.main(options(study, out, purpose="located"))
    found = set(tables.read(out, TOKENS)["image_id"].to_pylist())
    split = {row["image_id"]: row for row in tables.read(study / "split.parquet", tables.SPLIT).to_pylist()}
    test = {name for name, row in split.items() if row["split"] == "test"}
    assert {"i006", *test} <= found  # i006 is marked, and i010 of another source
    rest = sorted((split[name]["split"], split[name]["label"]) for name in found - test - {"i006"})
    assert rest == [("train", 0), ("train", 0), ("val", 0)]


def test_the_images_of_a_localizer_without_marks_are_refused(study, library, tmp_path):
    with pytest.raises(ParamsError, match="--points"):
        tokens.main(options(study, tmp_path / "t/1.parquet", purpose="located", without=("points",)))


def test_a_failure_has_an_empty_table_and_its_step(study, tmp_path, monkeypatch):
    fake.plant(monkeypatch.setattr, fake.ByHand(lambda found: found * np.float32(np.nan)))
    out = tmp_path / "tokens/dino/cohort/1.parquet"
    tokens.main(options(study, out))
    record = documents.read(out.with_suffix(".json"), Embedded)
    assert (record.failure.stage, tables.read(out, TOKENS).num_rows) == ("tokens", 0)
    assert record.failure.reason.startswith("dino: i000.png: mean: feature 0 is nan")
