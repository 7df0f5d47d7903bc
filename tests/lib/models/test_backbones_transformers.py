"""Vision models of transformers: each class by a tiny random model of the same class, saved to a folder and loaded."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.lib.core.errors import MismatchError, ModelError
from stages.lib.demo import untrained
from stages.lib.models.backbone import Backbone, BackboneParams, BackboneSetting
from stages.lib.models.backbones import transformers as library
from stages.lib.models.snapshot import Snapshot

SIDE = 64
WIDTH = 16
VIT = {
    "hidden_size": WIDTH,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 2 * WIDTH,
    "image_size": SIDE,
}
DINO = {"hidden_size": WIDTH, "num_hidden_layers": 1, "num_attention_heads": 2, "mlp_ratio": 2, "image_size": SIDE}
CNN = {"depths": [1, 1], "hidden_sizes": [8, 16]}
TEXT = {
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "vocab_size": 8,
    "max_position_embeddings": 4,
}
# class: configuration, patch tokens along a side, tokens before them, side of a patch
CLASSES: dict[str, tuple[str, dict[str, Any], int, int, int]] = {
    "SiglipVisionModel": ("SiglipVisionConfig", {**VIT, "patch_size": 16}, 4, 0, 16),
    "SiglipModel": ("SiglipConfig", {"vision_config": {**VIT, "patch_size": 16}, "text_config": TEXT}, 4, 0, 16),
    "Dinov2Model": ("Dinov2Config", {**DINO, "patch_size": 16}, 4, 1, 16),
    "Dinov2WithRegistersModel": (
        "Dinov2WithRegistersConfig",
        {**DINO, "patch_size": 16, "num_register_tokens": 3},
        4,
        4,
        16,
    ),
    "DINOv3ViTModel": ("DINOv3ViTConfig", {**VIT, "patch_size": 16, "num_register_tokens": 4}, 4, 5, 16),
    "DINOv3ConvNextModel": ("DINOv3ConvNextConfig", CNN, 8, 1, 8),
    **dict.fromkeys(("ConvNextModel", "ConvNextForImageClassification"), ("ConvNextConfig", CNN, 8, 0, 8)),
    **dict.fromkeys(("ConvNextV2Model", "ConvNextV2ForImageClassification"), ("ConvNextV2Config", CNN, 8, 0, 8)),
    **dict.fromkeys(
        ("ResNetModel", "ResNetForImageClassification"),
        ("ResNetConfig", {**CNN, "embedding_size": 8, "layer_type": "basic"}, 8, 0, 8),
    ),
    **dict.fromkeys(("EfficientNetModel", "EfficientNetForImageClassification"), ("EfficientNet", {}, 4, 0, 16)),
}
PROCESSOR = {"image_mean": [0.4, 0.5, 0.6], "image_std": [0.2, 0.25, 0.3], "rescale_factor": 1 / 255}
RNG = np.random.default_rng(0)
IMAGES = [RNG.integers(0, 256, (SIDE, SIDE), dtype=np.uint8) for _ in range(3)]


def build(folder: Path, architecture: str, seed: int = 0) -> Any:
    """Write a model of that class with random weights, and return it."""
    import torch
    import transformers

    name, given, *_ = CLASSES[architecture]
    if name == "EfficientNet":
        config = untrained.CONFIGURATIONS["EfficientNetForImageClassification"](SIDE)
    else:
        config = getattr(transformers, name)(**given)
        if hasattr(config, "num_stages") and name != "DINOv3ConvNextConfig":
            config.num_stages = len(config.depths)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = getattr(transformers, architecture)(config).eval()
        untrained._liven(model)
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(PROCESSOR))
    return model


def load(folder: Path, architecture: str, side_px: int = SIDE) -> Backbone:
    params = BackboneParams(
        library="transformers",
        source=str(folder),
        revision="none",
        architecture=architecture,
        side_px=side_px,
        shifts=1,
    )
    found = Snapshot(base=str(folder), revision="none", commit=None, folder=folder, sha256="0", files={})
    return library.load(params, BackboneSetting(row="my_row", found=found))


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Any]]:
    made = {}
    for architecture in CLASSES:
        folder = tmp_path_factory.mktemp(architecture)
        made[architecture] = (folder, build(folder, architecture))
    return made


def rewrite(folder: Path, name: str, **changed: Any) -> None:
    path = folder / name
    document = json.loads(path.read_text()) | changed
    path.write_text(json.dumps({key: value for key, value in document.items() if value != "left out"}))


def change_weights(folder: Path, change: Any) -> None:
    from safetensors.torch import load_file, save_file

    path = folder / "model.safetensors"
    save_file(change(load_file(path)), path, metadata={"format": "pt"})


def by_hand(architecture: str, model: Any, images: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Patch and prefix tokens by the model in memory, normalized by numpy, cut by the counts of the table above."""
    import torch

    mean, deviation = (np.array(PROCESSOR[key])[:, None, None] for key in ("image_mean", "image_std"))
    pixels = torch.from_numpy(np.stack([(image / 255 - mean) / deviation for image in images]).astype(np.float32))
    _, _, rows, prefix, _ = CLASSES[architecture]
    inner = getattr(model, "base_model", model) if architecture.endswith("Classification") else model
    inner = model.vision_model if architecture == "SiglipModel" else inner
    with torch.no_grad():
        last = inner(pixel_values=pixels).last_hidden_state.numpy()
    if last.ndim == 4:
        return last.transpose(0, 2, 3, 1), np.zeros((len(images), 0, last.shape[1]))
    return last[:, prefix:].reshape(len(images), rows, rows, -1), last[:, :prefix]


def test_every_class_that_is_known_is_in_this_file() -> None:
    assert set(CLASSES) == set(library.LAYOUTS)


@pytest.mark.parametrize("architecture", CLASSES)
def test_the_tokens_of_a_loaded_model_are_those_of_the_model_that_was_saved(
    architecture: str, folders: dict[str, tuple[Path, Any]]
) -> None:
    folder, model = folders[architecture]
    _, _, rows, prefix, patch_px = CLASSES[architecture]
    backbone = load(folder, architecture)
    found = backbone.tokens(IMAGES)
    patches, before = by_hand(architecture, model, IMAGES)
    assert found.patches.dtype == found.prefix.dtype == np.float32
    np.testing.assert_allclose(found.patches, patches, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.prefix, before, rtol=1e-4, atol=1e-5)
    facts = backbone.facts
    assert (facts.rows, facts.prefix, facts.patch_px) == (rows, prefix, patch_px)
    assert (len(IMAGES), facts.rows, facts.rows, facts.features) == found.patches.shape
    assert found.prefix.shape == (len(IMAGES), prefix, facts.features)
    assert facts.operations is not None and facts.operations > 0
    assert not facts.random_weights


@pytest.mark.parametrize("architecture", ["Dinov2Model", "Dinov2WithRegistersModel", "DINOv3ViTModel"])
def test_a_patch_token_follows_its_own_patch_and_a_prefix_token_follows_none(
    architecture: str, folders: dict[str, tuple[Path, Any]]
) -> None:
    """Without attention between tokens, a changed patch changes its own token alone: so it is known which is which."""
    import torch

    folder, model = folders[architecture]
    changed = IMAGES[0].copy()
    changed[16:32, 48:64] ^= 128  # row 1, column 3
    backbone = load(folder, architecture)
    outputs = {name: value for name, value in model.state_dict().items() if "output.dense" in name or "o_proj" in name}
    assert outputs
    try:
        with torch.no_grad():
            change_weights(
                folder,
                lambda stored: {
                    name: torch.zeros_like(value) if "attention.output.dense" in name or "o_proj" in name else value
                    for name, value in stored.items()
                },
            )
        alone = load(folder, architecture)
        assert alone.facts.identity != backbone.facts.identity
        one, other = alone.tokens([IMAGES[0]]), alone.tokens([changed])
    finally:
        model.save_pretrained(folder)
    moved = np.argwhere(np.abs(one.patches - other.patches).max(axis=-1)[0] > 1e-6)
    assert moved.tolist() == [[1, 3]]
    np.testing.assert_allclose(one.prefix, other.prefix, atol=1e-6)


def test_the_first_token_of_dinov3_convnext_is_the_mean_of_its_map_and_the_others_are_its_cells(
    folders: dict[str, tuple[Path, Any]],
) -> None:
    import torch

    folder, model = folders["DINOv3ConvNextModel"]
    found = load(folder, "DINOv3ConvNextModel").tokens(IMAGES)
    mean, deviation = (torch.tensor(PROCESSOR[key])[:, None, None] for key in ("image_mean", "image_std"))
    pixels = (torch.from_numpy(np.stack([[image] * 3 for image in IMAGES]) / np.float32(255)) - mean) / deviation
    with torch.no_grad():
        seen = model.model(pixels).last_hidden_state  # (n, features, rows, columns)
        cells, pooled = model.layer_norm(seen.permute(0, 2, 3, 1)), model.layer_norm(seen.mean(dim=(2, 3)))
    np.testing.assert_allclose(found.patches, cells.numpy(), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(found.prefix[:, 0], pooled.numpy(), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("architecture", CLASSES)
def test_features_do_not_depend_on_batch_or_order(architecture: str, folders: dict[str, tuple[Path, Any]]) -> None:
    backbone = load(folders[architecture][0], architecture)
    together = backbone.tokens(IMAGES)
    turned = backbone.tokens(IMAGES[::-1])
    np.testing.assert_allclose(turned.patches[::-1], together.patches, rtol=1e-4, atol=1e-5)
    for number, image in enumerate(IMAGES):
        alone = backbone.tokens([image])
        np.testing.assert_allclose(alone.patches[0], together.patches[number], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(alone.prefix[0], together.prefix[number], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("architecture", CLASSES)
def test_a_side_that_a_patch_does_not_divide_is_refused(
    architecture: str, folders: dict[str, tuple[Path, Any]]
) -> None:
    patch = CLASSES[architecture][-1]
    with pytest.raises(
        ModelError, match=rf"my_row: side_px {SIDE + 2}: wanted a multiple of {patch} px.*such as 64 or"
    ):
        load(folders[architecture][0], architecture, SIDE + 2)


@pytest.mark.parametrize("architecture", CLASSES)
def test_another_side_has_as_many_tokens_as_patches(architecture: str, folders: dict[str, tuple[Path, Any]]) -> None:
    _, _, rows, prefix, _ = CLASSES[architecture]
    larger = [np.tile(IMAGES[0], (2, 2))]
    backbone = load(folders[architecture][0], architecture, 2 * SIDE)
    found = backbone.tokens(larger)
    assert found.patches.shape[1:3] == (2 * rows, 2 * rows) == (backbone.facts.rows,) * 2
    assert found.prefix.shape[1] == prefix


def test_images_of_another_side_than_the_rows_are_refused(folders: dict[str, tuple[Path, Any]]) -> None:
    backbone = load(folders["Dinov2Model"][0], "Dinov2Model")
    with pytest.raises(MismatchError, match=r"my_row: found images of shape \(32, 32\), wanted \(64, 64\)"):
        backbone.tokens([IMAGES[0], IMAGES[0][:32, :32]])


def test_the_vision_side_of_a_whole_siglip_may_be_asked_for_alone_and_has_no_text_in_it(
    folders: dict[str, tuple[Path, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    folder, model = folders["SiglipModel"]
    with caplog.at_level("INFO", "noduleflow"):
        part, whole = load(folder, "SiglipVisionModel"), load(folder, "SiglipModel")
    assert part.facts.identity == whole.facts.identity
    assert whole.facts.parameters == sum(one.numel() for one in model.vision_model.parameters())
    assert re.search(
        r"of a head or a text side alone: text_model \(\d+\), logit_scale \(1\), logit_bias \(1\)", caplog.text
    )


@pytest.mark.parametrize(
    ("row", "held"),
    [
        ("Dinov2WithRegistersModel", "Dinov2Model"),
        ("SiglipModel", "SiglipVisionModel"),
        ("ResNetForImageClassification", "ResNetModel"),
        ("ConvNextModel", "ConvNextV2Model"),
    ],
)
def test_a_model_of_another_class_than_the_rows_is_refused(
    row: str, held: str, folders: dict[str, tuple[Path, Any]]
) -> None:
    with pytest.raises(ModelError, match=rf"my_row: .*config.json: found {held}, wanted {row}"):
        load(folders[held][0], row)


def test_an_unknown_class_is_refused_with_the_nearest_one(folders: dict[str, tuple[Path, Any]]) -> None:
    with pytest.raises(
        ModelError, match="my_row: architecture: DINOv3VitModel: unknown; did you mean 'DINOv3ViTModel'"
    ):
        load(folders["DINOv3ViTModel"][0], "DINOv3VitModel")


def test_missing_weights_are_refused(tmp_path: Path) -> None:
    build(tmp_path, "Dinov2Model")
    change_weights(tmp_path, lambda stored: {name: one for name, one in stored.items() if name != "layernorm.weight"})
    with pytest.raises(ModelError, match=r"my_row: .*lacks layernorm.weight \(1 such\); wanted all weights"):
        load(tmp_path, "Dinov2Model")


@pytest.mark.parametrize(
    ("architecture", "without"), [("Dinov2Model", "mask_token"), ("ResNetModel", "num_batches_tracked")]
)
def test_what_a_frozen_pass_does_not_use_may_be_missing(architecture: str, without: str, tmp_path: Path) -> None:
    build(tmp_path, architecture)
    whole = load(tmp_path, architecture).tokens(IMAGES)
    change_weights(tmp_path, lambda stored: {name: one for name, one in stored.items() if without not in name})
    np.testing.assert_array_equal(load(tmp_path, architecture).tokens(IMAGES).patches, whole.patches)


@pytest.mark.parametrize(
    ("architecture", "names"),
    [
        ("DINOv3ViTModel", ("layer.0.attention.q_proj.weight", "embeddings.register_tokens", "norm.weight")),
        ("DINOv3ConvNextModel", ("stages.0.layers.0.gamma", "layer_norm.weight")),
        ("SiglipModel", ("vision_model.encoder.layers.0.self_attn.q_proj.weight", "logit_bias")),
        ("Dinov2Model", ("encoder.layer.0.attention.attention.query.weight", "embeddings.cls_token")),
    ],
)
def test_weights_have_the_names_that_published_checkpoints_have(
    architecture: str, names: tuple[str, ...], folders: dict[str, tuple[Path, Any]]
) -> None:
    from safetensors import safe_open

    with safe_open(folders[architecture][0] / "model.safetensors", framework="np") as held:
        assert set(names) <= set(held.keys())


def test_weights_that_the_class_has_not_are_refused(tmp_path: Path) -> None:
    build(tmp_path, "Dinov2Model")
    change_weights(tmp_path, lambda stored: stored | {"adapter.weight": stored["layernorm.weight"].clone()})
    with pytest.raises(ModelError, match=r"my_row: .*has, and the class has not, adapter.weight"):
        load(tmp_path, "Dinov2Model")


def test_weights_of_another_shape_are_refused(tmp_path: Path) -> None:
    build(tmp_path, "Dinov2Model")
    change_weights(tmp_path, lambda stored: stored | {"layernorm.weight": stored["layernorm.weight"][:8].clone()})
    with pytest.raises(ModelError, match=r"my_row: .*has in another shape layernorm.weight \(1 such\)"):
        load(tmp_path, "Dinov2Model")


def test_a_head_is_left_out_and_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    build(tmp_path, "ResNetForImageClassification")
    with caplog.at_level("INFO", "noduleflow"):
        load(tmp_path, "ResNetModel")
    assert "my_row: weights that are not read, of a head or a text side alone: classifier (2)" in caplog.text


def test_tokens_that_are_not_numbers_are_refused(tmp_path: Path) -> None:
    build(tmp_path, "Dinov2Model")
    change_weights(tmp_path, lambda stored: stored | {"layernorm.bias": stored["layernorm.bias"] * float("nan")})
    with pytest.raises(ModelError, match="my_row: found NaN or infinite tokens of 3 of 3 images"):
        load(tmp_path, "Dinov2Model").tokens(IMAGES)


def test_a_folder_without_configuration_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"my_row: .*found no config.json"):
        load(tmp_path, "Dinov2Model")
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ModelError, match=r"my_row: .*not whole JSON"):
        load(tmp_path, "Dinov2Model")


def test_the_identity_follows_weights_preprocessing_and_class(tmp_path: Path) -> None:
    build(tmp_path / "one", "Dinov2Model")
    build(tmp_path / "two", "Dinov2Model", seed=1)
    first, other = (load(tmp_path / name, "Dinov2Model").facts.identity for name in ("one", "two"))
    assert first == load(tmp_path / "one", "Dinov2Model").facts.identity
    rewrite(tmp_path / "one", "preprocessor_config.json", image_mean=[0.1, 0.2, 0.3])
    assert len({first, other, load(tmp_path / "one", "Dinov2Model").facts.identity}) == 3


def test_the_identity_is_that_of_a_copy_in_another_folder_that_was_written_by_another_version(tmp_path: Path) -> None:
    build(tmp_path / "one", "Dinov2Model")
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    rewrite(tmp_path / "two", "config.json", transformers_version="4.40.0")
    one, two = (load(tmp_path / name, "Dinov2Model").facts for name in ("one", "two"))
    assert one == two


def test_what_the_small_files_tell_is_refused_before_weights_are_read(tmp_path: Path) -> None:
    build(tmp_path, "Dinov2Model")
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="my_row: side_px 66: wanted a multiple of 16 px"):
        load(tmp_path, "Dinov2Model", 66)
    (tmp_path / "preprocessor_config.json").unlink()
    with pytest.raises(ModelError, match=r"my_row: .*found no preprocessor_config.json"):
        load(tmp_path, "Dinov2Model")
    rewrite(tmp_path, "config.json", num_hidden_layers="many")
    with pytest.raises(ModelError, match=r"my_row: .*cannot be read as Dinov2Model: .*look at its config.json"):
        load(tmp_path, "Dinov2Model")


def test_random_weights_are_told_by_the_folder(tmp_path: Path) -> None:
    build(tmp_path, "Dinov2Model")
    rewrite(tmp_path, "config.json", random_weights=True)
    assert load(tmp_path, "Dinov2Model").facts.random_weights


def test_operations_are_two_for_each_multiply_add(folders: dict[str, tuple[Path, Any]]) -> None:
    """SigLIP by hand: the patches' convolution, four projections, two products of attention and the two of the MLP."""
    tokens, width, hidden = 16, WIDTH, 2 * WIDTH
    patches = tokens * 3 * 16 * 16 * width
    layer = tokens * 4 * width * width + 2 * tokens * tokens * width + 2 * tokens * width * hidden
    # the head that pools by attention: one query, keys and values of all tokens, and an MLP
    head = width * width + 2 * tokens * width * width + 2 * tokens * width + width * width + 2 * width * hidden
    found = load(folders["SiglipVisionModel"][0], "SiglipVisionModel").facts.operations
    assert found == pytest.approx(2 * (patches + layer + head), rel=1e-6)


@pytest.mark.parametrize(
    ("name", "given", "side_px", "tera"),
    [
        (
            "SiglipVisionModel",  # MedSigLIP
            {"hidden_size": 1152, "intermediate_size": 4304, "num_hidden_layers": 27, "num_attention_heads": 16}
            | {"image_size": 448, "patch_size": 14},
            448,
            0.97,
        ),
        ("Dinov2Model", {"image_size": 518, "patch_size": 14}, 518, 0.30),  # RAD-DINO
        (
            "DINOv3ViTModel",  # ViT-B
            {"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12, "num_register_tokens": 4},
            512,
            0.21,
        ),
    ],
)
def test_operations_of_published_sizes_are_within_three_percent_of_those_that_were_computed_before(
    name: str, given: dict[str, Any], side_px: int, tera: float
) -> None:
    import transformers

    config = getattr(transformers, name).config_class(**given)
    shape, found = library._counted(name, json.dumps(config.to_dict()), side_px)
    assert found / 1e12 == pytest.approx(tera, rel=0.03)
    assert shape[0] == (side_px // config.patch_size) ** 2 + library.LAYOUTS[name].prefix(config)
