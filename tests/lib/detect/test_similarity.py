"""Maps of a sentence over an image: each patch alone, hills as boxes, and both of their users."""

from dataclasses import replace

import lofi_grounding as fake
import lofi_models
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.lib.core import documents, kinds
from stages.lib.core.errors import MismatchError, ParamsError
from stages.lib.core.params import parse
from stages.lib.detect import demonstrations, driver, shown, similarity
from stages.lib.detect.detection import Query
from stages.lib.detect.grounder import Setting
from stages.lib.detect.grounders import map as map_
from stages.lib.detect.kinds import lofi_map
from stages.lib.images.normalized import load
from stages.lib.models import gemma3
from stages.lib.models.lofi import card, weights
from stages.lib.models.snapshot import Identity

TEXT = "There is a nodule."
SIDE = lofi_models.SIDE_PX
GRID = SIDE // lofi_models.PATCH_PX


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return lofi_models.encoder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture(scope="module")
def loaded(base):
    return weights.load(base, None, lofi_models.params())


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(0).integers(1, 256, (SIDE, SIDE), dtype=np.uint8)


def test_a_cell_is_the_cosine_of_the_text_and_that_patch_alone_through_the_head(loaded, image):
    import torch

    found = similarity.similarity_map(loaded, image, TEXT)
    assert found.shape == (GRID, GRID)
    with torch.no_grad():
        patches = loaded.network.patches(loaded.pixels(torch.from_numpy(image[None])))
        one = loaded.network.image_embedding(patches[:, 5:6])[0]
    text = loaded.embed_texts([TEXT])[0]
    assert found[1, 1] == pytest.approx(float(one.numpy() @ text), abs=1e-6)
    tokens = similarity.similarity_map(loaded, image, TEXT, "patches")
    token = patches[0, 5].numpy()
    assert tokens[1, 1] == pytest.approx(float(token @ text / np.linalg.norm(token)), abs=1e-6)


def test_an_image_of_another_side_is_refused(loaded):
    with pytest.raises(MismatchError, match=r"lofi\.normalize\.side_px"):
        similarity.similarity_map(loaded, np.zeros((16, 16), np.uint8), TEXT)


def test_hills_come_the_highest_first_and_a_top_within_an_earlier_box_is_part_of_it():
    values = np.zeros((6, 6))
    values[0:2, 0:2] = [[4, 3], [3, 2]]
    values[4, 4] = 3
    first, second = similarity.hills(values, most=5, box_fraction=0.5)
    assert first == similarity.Hill((0, 0, 2 / 6, 2 / 6), (0.5 / 6, 0.5 / 6), 4.0)
    assert second.box == (4 / 6, 4 / 6, 5 / 6, 5 / 6)
    assert similarity.hills(values, most=1, box_fraction=0.5) == [first]
    assert similarity.hills(values, most=1, box_fraction=1.0)[0].box == (0, 0, 1 / 6, 1 / 6)


def test_a_flat_map_has_no_hill_and_the_padding_none():
    assert similarity.hills(np.full((4, 4), 0.3), most=3, box_fraction=0.5) == []
    values = np.zeros((4, 4))
    values[:, 0] = 1
    values[2, 2] = 0.5
    found = similarity.hills(values, most=3, box_fraction=0.5, image=(0.25, 0.0, 1.0, 1.0))
    assert [hill.box for hill in found] == [(0.5, 0.5, 0.75, 0.75)]


@given(st.lists(st.floats(-1, 1), min_size=25, max_size=25), st.sampled_from([0.25, 0.5, 1.0]))
def test_hills_are_above_the_median_lie_in_their_boxes_and_do_not_depend_on_a_shift(flat, fraction):
    values = np.array(flat).reshape(5, 5)
    found = similarity.hills(values, most=4, box_fraction=fraction)
    assert [hill.value for hill in found] == sorted((hill.value for hill in found), reverse=True)
    for hill in found:
        assert hill.value > np.median(values)
        assert hill.box[0] < hill.top[0] < hill.box[2]
        assert hill.box[1] < hill.top[1] < hill.box[3]
        assert values[int(hill.top[1] * 5), int(hill.top[0] * 5)] == hill.value


def test_confidence_is_the_sigmoid_of_scale_and_bias(loaded):
    expected = 1 / (1 + np.exp(-(np.exp(2.3) * 0.2 - 3.0)))
    assert similarity.confidence(loaded, 0.2) == pytest.approx(expected, rel=1e-5)


def test_an_overlay_is_the_image_in_colour_red_where_the_map_is_high(image):
    values = np.zeros((GRID, GRID))
    values[0, 0] = 1
    made = similarity.overlay(image, values, [])
    assert made.shape == (SIDE, SIDE, 3)
    assert made[0, 0, 0] > made[0, 0, 1]
    assert (made[-1, -1] == image[-1, -1]).all()
    assert (similarity.overlay(image, values, [(0.5, 0.5, 1.0, 1.0)])[-1, -1] == [255, 255, 0]).all()


def row(package, section, **values):
    return parse({"x": {section: {"row": values}}}, {f"x.{section}": kinds.rows(package)})


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return fake.make(tmp_path_factory.mktemp("lofi") / "results", fake.study(), SIDE)


def record(folder, base):
    documents.write(folder / "encoder.json", base)
    return str(folder / "encoder.json")


def adapter(folder, base, loaded, preprocessing_hash=fake.HASH):
    """A LoFi adapter of an encoder alone, as training writes one."""
    (folder / "checkpoint").mkdir(parents=True)
    weights.save(loaded.network, folder / "checkpoint")
    found = card.Card(
        preprocessing_hash=preprocessing_hash,
        encoder=Identity(base=base.base, commit=None, sha256=base.sha256),
        decoder=None,
        model=lofi_models.MODEL,
        train={},
        step=1,
    )
    card.write(folder / "adapter", folder / "checkpoint", found)
    return folder / "adapter"


def test_the_map_grounds_sentences_with_confidences_and_is_the_same_for_each_grey_image(study, base, loaded, tmp_path):
    rows = row(kinds.GROUNDERS, "grounders", kind="map", encoder="lofi", method="head", max_boxes=2, box_fraction=0.5)
    own = shown.sentences(study.pairs, study.manifest, study.normalized, study.results, split="test", most=9, seed=0)
    asked = [*own, *shown.with_images(own, "grey", 0)]
    setting = Setting(
        pool=demonstrations.Pool({}, {}),
        base=record(tmp_path, base),
        model=lofi_models.params(),
        preprocessing_hash=fake.HASH,
    )
    found = list(map_.grounder(rows.grounders["row"].params, setting)(asked))
    assert {one.status for one in found} <= {"ok", "empty"}
    assert all(len(one.confidences) == len(one.boxes) <= 2 for one in found)
    values = similarity.similarity_map(loaded, load(own[0].png), own[0].text)
    expected = similarity.hills(values, most=2, box_fraction=0.5)
    assert found[0].boxes == tuple(hill.box for hill in expected)
    of_text = {one.text: answer.boxes for one, answer in zip(asked, found, strict=True) if one.seen == "grey"}
    assert all(
        answer.boxes == of_text[one.text] for one, answer in zip(asked, found, strict=True) if one.seen == "grey"
    )
    with pytest.raises(ParamsError, match="--base"):
        map_.grounder(rows.grounders["row"].params, replace(setting, base=None))


def test_an_adapter_of_other_pixels_stops_both_users_of_the_map(study, base, loaded, tmp_path):
    folder = adapter(tmp_path, base, loaded, "other")
    rows = row(kinds.GROUNDERS, "grounders", kind="map", encoder="lofi", method="head", max_boxes=2, box_fraction=0.5)
    setting = Setting(
        pool=demonstrations.Pool({}, {}),
        base=record(tmp_path, base),
        adapter=str(folder),
        model=lofi_models.params(),
        preprocessing_hash=fake.HASH,
    )
    with pytest.raises(MismatchError, match="preprocessing hash 'other', now 'c0ffee'"):
        map_.grounder(rows.grounders["row"].params, setting)
    with pytest.raises(MismatchError, match="preprocessing hash 'other', now 'c0ffee'"):
        lofi_map.localizer(localizer_params(str(folder)), localizer_setting(tmp_path, base))


def localizer_params(adapter="none", least=0.0):
    values = {"kind": "lofi_map", "prompts": [TEXT, "A mass."], "lofi_adapter": adapter}
    values |= {"method": "head", "max_boxes": 3, "box_fraction": 0.5, "min_confidence": least}
    return row(kinds.LOCALIZERS, "localizers", **values, batch_size=2).localizers["row"].params


def localizer_setting(folder, base):
    return driver.Setting(
        model=gemma3.ModelParams(dtype="float32", attention="sdpa", quantization="none", cache_features=False),
        base=None,
        fetched=record(folder, base),
        environment=None,
        journals=None,
        preprocessing_hash=fake.HASH,
    )


def test_as_a_localizer_of_nodules_its_points_are_the_tops_of_the_hills(base, loaded, image, tmp_path):
    queries = [Query(f"{k}", lambda: image, prompt) for k, prompt in enumerate([TEXT, TEXT, "A mass."])]
    with_adapter = adapter(tmp_path / "a", base, loaded)
    for folder in ("none", str(with_adapter)):
        found = list(lofi_map.localizer(localizer_params(folder), localizer_setting(tmp_path, base))(queries))
        expected = similarity.hills(similarity.similarity_map(loaded, image, TEXT), most=3, box_fraction=0.5)
        assert [(one.u, one.v) for one in found[0].detections] == [hill.top for hill in expected]
        assert [one.box for one in found[0].detections] == [hill.box for hill in expected]
        assert all(0 < one.confidence < 1 and one.phrase == TEXT for one in found[1].detections)
        assert found[0].text == found[1].text != found[2].text
    strict = lofi_map.localizer(localizer_params(least=0.9), localizer_setting(tmp_path, base))
    assert [(one.parsed, one.detections) for one in strict(queries[:1])] == [("empty", ())]
