"""Values of greys by the model's own file: as the processor classes of transformers make them, and by hand."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.lib.core.errors import MismatchError, ModelError
from stages.lib.models import preprocessor

RAMP = np.arange(256, dtype=np.uint8).reshape(16, 16)
PROCESSORS = {  # class: what its own file may say beside mean and deviation
    "SiglipImageProcessorPil": {},
    "BitImageProcessorPil": {"do_center_crop": False},
    "ConvNextImageProcessorPil": {},
    "ViTImageProcessorPil": {"rescale_factor": 1 / 127.5},
    "EfficientNetImageProcessorPil": {},
    "EfficientNetImageProcessorPil without top": {"include_top": False},
    "EfficientNetImageProcessorPil around 0": {
        "include_top": False,
        "rescale_offset": True,
        "rescale_factor": 1 / 127.5,
    },
    "Qwen2VLImageProcessorPil": {},
}
MEAN, DEVIATION = [0.1, 0.2, 0.3], [0.4, 0.5, 0.6]


def write(folder: Path, document: Any, name: str = "preprocessor_config.json") -> Path:
    (folder / name).write_text(document if isinstance(document, str) else json.dumps(document))
    return folder


@pytest.mark.parametrize("name", PROCESSORS)
def test_values_are_those_of_the_processor_that_wrote_the_file(name: str, tmp_path: Path) -> None:
    import transformers

    cls = getattr(transformers, name.split()[0])
    processor = cls(image_mean=MEAN, image_std=DEVIATION, **PROCESSORS[name])
    processor.save_pretrained(tmp_path)
    options: dict[str, Any] = {"do_resize": False, "return_tensors": "np"}
    if name.startswith("Qwen"):  # cut into patches: asked of the steps that they are cut after
        seen = processor.normalize(processor.rescale(np.stack([RAMP] * 3) * 1.0, 1 / 255), MEAN, DEVIATION)
    else:
        seen = processor(np.dstack([RAMP] * 3), **options)["pixel_values"][0]
    found = preprocessor.greys(tmp_path, "my_row")
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, np.asarray(seen).reshape(3, 256), rtol=1e-5, atol=1e-6)


def test_values_by_hand_and_without_a_factor_of_an_older_file(tmp_path: Path) -> None:
    write(tmp_path, {"image_mean": [0.5, 0.0, 1.0], "image_std": [0.5, 1.0, 2.0]})
    found = preprocessor.greys(tmp_path, "my_row")
    np.testing.assert_allclose(found[:, [0, 255]], [[-1, 1], [0, 1], [-0.5, 0]], atol=1e-7)


def test_one_channel_and_one_number_for_all_channels_are_taken(tmp_path: Path) -> None:
    write(tmp_path, {"image_mean": 0.5, "image_std": 0.5})
    assert preprocessor.greys(tmp_path, "my_row", 1).shape == (1, 256)
    assert preprocessor.greys(tmp_path, "my_row", 3).shape == (3, 256)


def test_channels_stand_in_the_order_that_the_file_says(tmp_path: Path) -> None:
    given = {"image_mean": MEAN, "image_std": DEVIATION}
    red_first = preprocessor.greys(write(tmp_path, given), "my_row")
    blue_first = preprocessor.greys(write(tmp_path, given | {"do_flip_channel_order": True}), "my_row")
    np.testing.assert_array_equal(blue_first, red_first[::-1])


def test_a_file_that_switches_steps_off_is_followed(tmp_path: Path) -> None:
    plain = preprocessor.greys(write(tmp_path, {"do_normalize": False}), "my_row")
    np.testing.assert_allclose(plain[0], np.arange(256) / 255, rtol=1e-6)
    raw = preprocessor.greys(write(tmp_path, {"do_normalize": False, "do_rescale": False}), "my_row")
    np.testing.assert_array_equal(raw[2], np.arange(256))


def test_the_image_processor_within_a_processors_file_is_found(tmp_path: Path) -> None:
    own = {"image_mean": MEAN, "image_std": DEVIATION}
    inside = preprocessor.greys(write(tmp_path, {"image_processor": own}, "processor_config.json"), "my_row")
    np.testing.assert_array_equal(preprocessor.greys(write(tmp_path, own), "my_row"), inside)


def test_without_a_file_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"my_row: .*found no preprocessor_config.json, wanted one with image_mean"):
        preprocessor.greys(tmp_path, "my_row")
    write(tmp_path, {"processor_class": "SiglipProcessor"}, "processor_config.json")
    with pytest.raises(ModelError, match=r"found no preprocessor_config.json"):
        preprocessor.greys(tmp_path, "my_row")
    with pytest.raises(ModelError, match=r"my_row: .*preprocessor_config.json is not whole JSON"):
        preprocessor.greys(write(tmp_path, "{"), "my_row")


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"image_mean": None}, "image_mean None, wanted 3 numbers"),
        ({"image_std": None}, "image_std None, wanted 3 numbers above 0"),
        ({"image_mean": [0.5]}, r"image_mean \[0.5\], wanted 3 numbers"),
        ({"image_mean": ["a", "b", "c"]}, "image_mean .*wanted 3 numbers"),
        ({"image_std": [0.5, 0.0, 0.5]}, "image_std .*wanted 3 numbers above 0"),
        ({"rescale_factor": 0}, "rescale_factor 0, wanted a number above 0"),
        ({"rescale_factor": None}, "rescale_factor None, wanted a number above 0"),
    ],
)
def test_a_file_without_mean_deviation_or_factor_is_refused(changed: dict[str, Any], told: str, tmp_path: Path) -> None:
    write(tmp_path, {"image_mean": MEAN, "image_std": DEVIATION, **changed})
    with pytest.raises(ModelError, match=f"my_row: .*found {told}"):
        preprocessor.greys(tmp_path, "my_row")


def test_all_that_is_wrong_with_a_file_is_told_at_once(tmp_path: Path) -> None:
    write(tmp_path, {"rescale_factor": -1})
    with pytest.raises(ModelError, match=r"image_mean None.*; image_std None.*; rescale_factor -1"):
        preprocessor.greys(tmp_path, "my_row")


def test_pixels_are_looked_up_channel_by_channel() -> None:
    import torch

    values = torch.arange(2 * 256).reshape(2, 256)
    image = np.array([[0, 1], [2, 255]], np.uint8)
    found = preprocessor.pixels(values, [image, 255 - image], 2, "my_row")
    assert found.shape == (2, 2, 2, 2)
    assert found[0, 1].tolist() == [[256, 257], [258, 511]]
    assert found[1, 0].tolist() == [[255, 254], [253, 0]]
    with pytest.raises(MismatchError, match=r"my_row: found images of shape \(2, 2\), wanted \(3, 3\)"):
        preprocessor.pixels(values, [image], 3, "my_row")
