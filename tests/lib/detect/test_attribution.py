"""The localizer without text: its maps are the evidence they claim to be, its peaks where the map is highest."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_base import EXACT, NF4, localizer_setting, noise_images, train_params

from stages.lib.core import documents, kinds, params
from stages.lib.core.errors import MismatchError, ModelError, ParamsError
from stages.lib.demo.bases import chest
from stages.lib.detect.detection import Query
from stages.lib.detect.kinds import attribution
from stages.lib.images import shifts
from stages.lib.images.geometry import Geometry
from stages.lib.models import gemma3, lora

ROOT = Path(__file__).parents[3]
SHIPPED = params.parse(
    yaml.safe_load((ROOT / "workflow/presets/demo.yaml").read_text()),
    {"nodules.localizers": kinds.rows(kinds.LOCALIZERS), "weights.pretrain": kinds.rows(kinds.BASES)},
)
SHIPPED_ROW = SHIPPED.localizers["attribution"].params
IMAGES = noise_images(3, seed=5)
ASK = "Is there a nodule?"
PLAIN = replace(
    SHIPPED_ROW, prompts=(ASK,), answers=("Yes/No",), response_prefixes=("",), steps=1, shifts=1, batch_size=2
)
FIRST = SHIPPED_ROW.prompts[0]
PEAKS = {"most": 3, "peak_distance_fraction": 0.1, "smoothing_fraction": 0.0, "even_odds_logits": 1.0}


@pytest.fixture(scope="module")
def loaded(tiny_base) -> gemma3.Loaded:
    return gemma3.load(tiny_base.folder, EXACT)


@pytest.fixture(scope="module")
def demo() -> gemma3.Loaded:
    return gemma3.load(ROOT / "workflow/demo_base", NF4)


def evidence(loaded: gemma3.Loaded, seen) -> np.ndarray:
    import torch

    no, yes = gemma3.answer_ids(loaded, PLAIN.contrast(ASK)[0])
    with torch.no_grad():
        pair = gemma3.ask(loaded, seen, PLAIN.contrast(ASK)[0], (no, yes)).pair
    return (pair[:, 1] - pair[:, 0]).numpy()


def drawn(*args) -> np.ndarray:
    """Maps of `attribution.attribution` alone."""
    return attribution.attribution(*args).evidence


def hill(grid: int, u: float, v: float, top: float = 5.0) -> np.ndarray:
    """A paraboloid whose top lies at (u, v)."""
    middles = (np.arange(grid) + 0.5) / grid
    return top - 9 * ((middles[None, :] - u) ** 2 + (middles[:, None] - v) ** 2)


def test_a_gradient_map_of_one_step_is_the_finite_difference_on_half_the_way_from_the_mean_token(loaded):
    found = drawn(loaded, IMAGES, ASK, PLAIN).reshape(3, -1)
    seen = gemma3.features(loaded, list(IMAGES))
    away = seen - seen.mean(dim=1, keepdim=True)
    half, h = seen - away / 2, 0.02
    for token in (0, 9, 63):
        step = 0 * away
        step[:, token] = h * away[:, token]
        slope = (evidence(loaded, half + step) - evidence(loaded, half - step)) / (2 * h)
        np.testing.assert_allclose(found[:, token], slope, atol=1e-4, rtol=0.02)


def test_a_gradient_map_of_many_steps_adds_up_to_the_evidence_of_the_image_over_that_of_its_mean_token(loaded):
    found = drawn(loaded, IMAGES, ASK, replace(PLAIN, steps=40)).sum(axis=(1, 2))
    seen = gemma3.features(loaded, list(IMAGES))
    whole = evidence(loaded, seen) - evidence(loaded, seen.mean(dim=1, keepdim=True).expand_as(seen).contiguous())
    np.testing.assert_allclose(found, whole, atol=2e-4, rtol=0.01)


def test_an_occlusion_map_is_what_is_lost_without_the_token_and_a_gradient_map_its_first_order(loaded):
    occluded = attribution.attribution(loaded, IMAGES, ASK, replace(PLAIN, method="occlusion"))
    assert occluded.completeness_error is None
    found = occluded.evidence.reshape(3, -1)
    seen = gemma3.features(loaded, list(IMAGES))
    without = seen.clone()
    without[:, 9] = seen.mean(dim=1)
    np.testing.assert_allclose(found[:, 9], evidence(loaded, seen) - evidence(loaded, without), atol=1e-5)
    slopes = drawn(loaded, IMAGES, ASK, replace(PLAIN, steps=8)).reshape(3, -1)
    assert min(np.corrcoef(found[image], slopes[image])[0, 1] for image in range(3)) > 0.7


def test_moves_make_the_grid_finer_and_each_cell_the_mean_of_the_tokens_over_it(loaded):
    fine = drawn(loaded, IMAGES, ASK, replace(PLAIN, shifts=2))
    assert fine.shape == (3, 16, 16)
    corner = drawn(loaded, IMAGES, ASK, PLAIN)[:, 7, 7]
    np.testing.assert_allclose(fine[:, 15, 15], corner, rtol=1e-6)  # the moved images have lost it
    shifted = np.zeros_like(IMAGES)
    shifted[:, 7:, 7:] = IMAGES[:, :-7, :-7]
    maps = [drawn(loaded, images, ASK, PLAIN) for images in (IMAGES, shifted)]
    down, right = (np.pad(IMAGES, pad)[:, :112, :112] for pad in (((0, 0), (7, 0), (0, 0)), ((0, 0), (0, 0), (7, 0))))
    maps += [drawn(loaded, images, ASK, PLAIN) for images in (down, right)]
    mean = (maps[0][:, 2, 3] + maps[1][:, 3, 4] + maps[2][:, 3, 3] + maps[3][:, 2, 4]) / 4
    np.testing.assert_allclose(fine[:, 5, 7], mean, rtol=1e-5, atol=1e-9)


def test_the_completeness_error_is_how_far_a_map_is_from_adding_up_as_a_mean_over_the_shifts(loaded, monkeypatch):
    found = attribution.attribution(loaded, IMAGES, ASK, replace(PLAIN, shifts=2)).completeness_error
    missing, whole = np.zeros(3), np.zeros(3)
    for place in shifts.places(2, 14, "shifts"):
        moved = shifts.shifted(IMAGES, place)
        seen = gemma3.features(loaded, list(moved))
        difference = evidence(loaded, seen) - evidence(loaded, seen.mean(dim=1, keepdim=True).expand_as(seen) + 0)
        missing += np.abs(drawn(loaded, moved, ASK, PLAIN).sum(axis=(1, 2)) - difference) / 4
        whole += np.abs(difference) / 4
    np.testing.assert_allclose(found, missing / np.maximum(whole, 0.01), rtol=0.02, atol=2e-3)
    assert found.max() > 0.02
    monkeypatch.setattr(attribution, "MIN_DIFFERENCE_LOGITS", 100.0)  # no image differs as much
    least = attribution.attribution(loaded, IMAGES, ASK, replace(PLAIN, shifts=2)).completeness_error
    np.testing.assert_allclose(least, missing / 100, rtol=0.02, atol=2e-5)


@pytest.mark.parametrize(("steps", "degree"), [(1, 1), (2, 3), (4, 7)])
def test_so_many_steps_integrate_a_polynomial_of_twice_as_many_coefficients_exactly(steps, degree):
    import torch

    seen = torch.linspace(0.2, 1.4, 24, dtype=torch.float64).square().reshape(2, 4, 3)
    means = seen.mean(dim=1, keepdim=True)
    for power, exact in ((degree + 1, True), (degree + 2, False)):  # the gradient has one degree less

        def evidence(place, power=power):
            return (place**power).sum(dim=(1, 2))

        found = attribution._integrated(evidence, seen, means, replace(PLAIN, steps=steps)).sum(dim=1)
        missing = (found - (evidence(seen) - evidence(means.expand_as(seen)))).abs().max()
        assert (missing < 1e-5) == exact


def test_no_gradient_reaches_a_weight_and_the_weights_stay_trainable(loaded):
    before = [weight.requires_grad for weight in loaded.model.parameters()]
    drawn(loaded, IMAGES, ASK, PLAIN)
    assert [weight.requires_grad for weight in loaded.model.parameters()] == before
    assert any(before)
    assert all(weight.grad is None for weight in loaded.model.parameters())


def test_equal_images_give_equal_bytes_in_nf4_too_and_the_batch_changes_only_the_rounding(tiny_base):
    quantized = gemma3.load(tiny_base.folder, NF4)
    one, two = (drawn(quantized, IMAGES, ASK, PLAIN).tobytes() for _ in range(2))
    assert one == two
    alone = drawn(quantized, IMAGES, ASK, replace(PLAIN, batch_size=1))
    np.testing.assert_allclose(np.frombuffer(one).reshape(alone.shape), alone, atol=1e-5)


def test_bfloat16_gives_about_the_same_map(loaded, tiny_base):
    half = gemma3.load(tiny_base.folder, replace(EXACT, dtype="bfloat16"))
    maps = [drawn(each, IMAGES, ASK, PLAIN).ravel() for each in (loaded, half)]
    assert np.corrcoef(*maps)[0, 1] > 0.95


def test_an_adapter_has_a_map_of_its_own(loaded, tiny_base):
    tuned = lora.add(
        gemma3.load(tiny_base.folder, NF4).model, train_params(lora_dropout=0.0, lora_target_modules="language")
    )
    ready = gemma3.ready(tuned.eval(), loaded.processor)
    fresh = drawn(ready, IMAGES, ASK, PLAIN)
    for name, weight in tuned.named_parameters():
        if "lora_B" in name:
            weight.data.fill_(0.01)
    taught = drawn(ready, IMAGES, ASK, PLAIN)
    assert np.abs(taught - fresh).max() > 1e-4
    assert all(weight.grad is None for weight in tuned.parameters())


def test_a_row_with_an_adapter_draws_the_tuned_model_and_other_pixels_or_another_base_are_refused(
    tiny_base, trained, tmp_path
):
    queries = [Query(key=str(k), pixels=lambda image=image: image, prompt=ASK) for k, image in enumerate(IMAGES)]
    documents.write(tmp_path / "base.json", tiny_base)
    setting = replace(
        localizer_setting(tmp_path, tiny_base.folder, NF4),
        preprocessing_hash="c0ffee",
        base=str(tmp_path / "base.json"),
    )
    documents.write(tmp_path / "base.json", tiny_base)
    tuned = replace(PLAIN, adapter=str(trained / "adapter"))
    found = [list(attribution.localizer(row, setting)(queries)) for row in (PLAIN, tuned)]
    assert all(one.text != other.text for one, other in zip(*found, strict=True))
    loaded = gemma3.load(tiny_base.folder, NF4, adapter=trained / "adapter")
    assert found[1] == attribution.answers(loaded, IMAGES[:2], ASK, PLAIN) + attribution.answers(
        loaded, IMAGES[2:], ASK, PLAIN
    )
    with pytest.raises(MismatchError, match="preprocessing hash 'c0ffee', now 'decaf'"):
        attribution.localizer(tuned, replace(setting, preprocessing_hash="decaf"))
    documents.write(tmp_path / "base.json", replace(tiny_base, sha256="1" * 64))
    with pytest.raises(MismatchError, match="base sha256"):
        attribution.localizer(tuned, setting)


def test_what_cannot_be_asked_is_refused(loaded):
    with pytest.raises(ModelError, match=r"attribution.shifts: found 3, wanted a divisor of 14"):
        drawn(loaded, IMAGES, ASK, replace(PLAIN, shifts=3))
    with pytest.raises(MismatchError, match=r"wanted \(112, 112\)"):
        drawn(loaded, IMAGES[:, :100], ASK, PLAIN)
    with pytest.raises(ValueError, match="two different answers"):
        replace(PLAIN, answers=("Yes",))


@pytest.mark.parametrize(("width", "height"), [(300, 200), (200, 300), (257, 256)])
def test_a_peak_of_a_image_that_is_not_square_is_found_to_the_pixel(width, height):
    geometry = Geometry(width_px=width, height_px=height, side_px=112)
    for x, y in ((40.25, 60.5), (width / 2, height / 2), (width - 50.0, height - 40.75)):
        u, v = geometry.to_unit(x, y)
        ((found_u, found_v, confidence),) = attribution.peaks(hill(16, u, v), **{**PEAKS, "most": 1})
        np.testing.assert_allclose(geometry.from_unit(found_u, found_v), (x, y), atol=1e-9)
        assert confidence == pytest.approx(5 / 6, abs=0.01)


@given(st.integers(0, 2**31), st.floats(0, 0.06))
@settings(max_examples=60, deadline=None)
def test_a_mirrored_map_has_mirrored_peaks(seed, smoothing):
    evidence = np.random.default_rng(seed).normal(size=(12, 12))
    how = {**PEAKS, "most": 20, "smoothing_fraction": smoothing}
    plain = attribution.peaks(evidence, **how, image=(0.0, 0.1, 0.8, 1.0))
    sideways = attribution.peaks(evidence[:, ::-1], **how, image=(0.2, 0.1, 1.0, 1.0))
    upended = attribution.peaks(evidence[::-1], **how, image=(0.0, 0.0, 0.8, 0.9))
    np.testing.assert_allclose([(1 - u, v, c) for u, v, c in sideways], plain, atol=1e-9)
    np.testing.assert_allclose([(u, 1 - v, c) for u, v, c in upended], plain, atol=1e-9)


@given(st.integers(0, 2**31), st.floats(0, 0.06))
@settings(max_examples=60, deadline=None)
def test_peaks_are_ordered_apart_within_the_image_and_none_is_in_the_padding(seed, smoothing):
    rng = np.random.default_rng(seed)
    image = np.zeros((112, 112), np.uint8)
    image[:, 30:90] = rng.integers(1, 255, (112, 60))
    extent = attribution.extent(image)
    evidence = rng.normal(size=(16, 16))
    how = {**PEAKS, "most": 9, "smoothing_fraction": smoothing, "image": extent}
    found = attribution.peaks(evidence, **how)
    loud = evidence.copy()
    loud[:, :4] = loud[:, 13:] = 1e6
    assert attribution.peaks(loud, **how) == found
    assert found
    assert all(extent[0] <= u <= extent[2] and 0 <= v <= 1 and 0 < c < 1 for u, v, c in found)
    assert [c for *_, c in found] == sorted((c for *_, c in found), reverse=True)
    gaps = [np.hypot(a[0] - b[0], a[1] - b[1]) for n, a in enumerate(found) for b in found[:n]]
    assert min(gaps, default=1) > 0.1


def test_a_map_without_positive_evidence_has_no_peak_and_a_weak_peak_can_be_left_out():
    assert attribution.peaks(-np.ones((8, 8)), **PEAKS) == []
    assert attribution.peaks(hill(8, 0.5, 0.5, top=0.1), **PEAKS, min_confidence=0.5) == []


def test_confidence_is_the_same_for_the_same_evidence_whatever_else_is_on_the_image():
    alone, beside = np.zeros((16, 16)), np.zeros((16, 16))
    alone[3, 3] = beside[3, 3] = 2.0
    beside[12, 12] = 8.0
    assert attribution.peaks(alone, **PEAKS)[0] == attribution.peaks(beside, **PEAKS)[1]


def test_a_flat_hill_gives_one_peak():
    flat = np.zeros((8, 8))
    flat[3:5, 3:5] = 1.0
    assert len(attribution.peaks(flat, **{**PEAKS, "peak_distance_fraction": 0.2})) == 1


def test_the_answer_holds_its_peaks_in_words(demo, tmp_path):
    images = [*noise_images(1), np.zeros((112, 112), np.uint8)]
    none = attribution.answers(demo, images, FIRST, replace(SHIPPED_ROW, min_confidence=0.999))
    assert [(answer.parsed, answer.text, answer.detections) for answer in none] == [("empty", '{"peaks": []}', ())] * 2
    queries = [
        Query(key=f"{prompt}{number}", pixels=lambda image=image: image, prompt=prompt)
        for prompt in SHIPPED_ROW.prompts
        for number, image in enumerate(images)
    ]
    asked = list(
        attribution.localizer(SHIPPED_ROW, localizer_setting(tmp_path, ROOT / "workflow/demo_base", NF4))(queries)
    )
    said = [a for prompt in SHIPPED_ROW.prompts for a in attribution.answers(demo, images, prompt, SHIPPED_ROW)]
    assert asked == said
    assert all(answer.completeness_error is not None for answer in said)
    for answer in said:
        peaks = json.loads(answer.text)["peaks"]
        assert answer.parsed == ("ok" if peaks else "empty")
        told = [(one.u, one.v, one.confidence) for one in answer.detections]
        np.testing.assert_allclose(np.reshape(told, (-1, 3)), np.reshape(peaks, (-1, 3)), atol=1e-6)
        assert all(one.box is None for one in answer.detections)


def test_on_images_that_nobody_was_taught_on_the_first_peak_is_right_far_more_than_five_times_as_often_as_chance(demo):
    harder = replace(
        SHIPPED.pretrain["chest"].params,
        contrast=(0.6, 1.0),
        diameter_mm=(12.0, 30.0),
        image_px=(256, 256),
        padded_fraction=0.0,
    )
    images, truth = chest.examples(np.random.default_rng(4321), np.ones(60, np.int64), harder)
    tolerant = 0.05 * np.sqrt(2)  # of the side of a square image
    hits = []
    for answer, (box,) in zip(attribution.answers(demo, images, FIRST, SHIPPED_ROW), truth, strict=True):
        first = answer.detections[:1]
        gaps = [
            np.hypot(one.u - (box.x0 + box.x1) / 2000, one.v - (box.y0 + box.y1) / 2000) <= tolerant for one in first
        ]
        hits.append(any(gaps))
    chance = np.pi * tolerant**2
    assert np.mean(hits) >= 5 * chance
    assert np.mean(hits) >= 0.6


def test_a_bank_whose_lists_do_not_fit_together_is_refused():
    shipped = asdict(SHIPPED_ROW)
    for wrong in (
        {"answers": ("Yes/No",)},
        {"prompts": (ASK, ASK)},
        {"prompts": (), "answers": (), "response_prefixes": ()},
    ):
        with pytest.raises(ParamsError, match="different prompts, each with its answers and response prefix"):
            params.parse({"attribution": {**shipped, **wrong}}, {"attribution": attribution.Params})


def test_the_demo_asks_for_evidence_in_the_words_that_its_base_was_taught():
    shipped = yaml.safe_load((ROOT / "workflow/presets/demo.yaml").read_text())
    assert shipped["nodules"]["localizers"]["medgemma"]["prompts"][0] == FIRST
    assert shipped["nodules"]["prompt"]["question"] == SHIPPED_ROW.prompts[1]
