"""Full fine-tuning: each class from its folder to scores, resume bit by bit, the average of weights, refusals."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zoo_tuning
from zoo_tuning import SIDE, params

from stages.lib.core.errors import DocumentError, MismatchError, ModelError
from stages.lib.images import normalized, shifts
from stages.lib.learn import checkpoints, image_task, loop, moving_average, network_scores
from stages.lib.learn.candidate import Fitted, Inputs
from stages.lib.learn.zoo import tuned
from stages.lib.metrics import binary
from stages.lib.metrics.calibration import sigmoid

CLASSES = [
    "ResNetForImageClassification",
    "EfficientNetForImageClassification",
    "ConvNextV2ForImageClassification",
    "DINOv3ViTModel",
    "Dinov2Model",
]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Training and validation images."""
    folder = tmp_path_factory.mktemp("images")
    return zoo_tuning.images(folder, 48, 1), zoo_tuning.images(folder, 24, 2)


@pytest.fixture(scope="module")
def resnet(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return zoo_tuning.model(tmp_path_factory.mktemp("model") / "resnet")


def fit(row: tuned.Params, work: Path, found: Any, study: Any) -> tuple[Fitted, Path]:
    train, val = study
    out = work / "fitted"
    out.mkdir(parents=True)
    return tuned.fit(row, zoo_tuning.setting(work, found, val, train), out), out


def ask(row: tuned.Params, out: Path, images: Inputs, found: Any = None, **changes: Any) -> Any:
    bare = replace(images, labels=None)
    return tuned.score(row, zoo_tuning.setting(out, found, bare, **changes), out)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, study: Any, resnet: Any) -> Any:
    """An undisturbed fit."""
    return fit(params(), tmp_path_factory.mktemp("whole"), resnet, study)


@pytest.mark.parametrize("architecture", CLASSES)
def test_each_class_goes_from_its_folder_to_scores(architecture: str, study: Any, tmp_path: Path) -> None:
    side = 28 if architecture == "Dinov2Model" else SIDE
    if side != SIDE:
        study = zoo_tuning.images(tmp_path, 12, 1, side=side), zoo_tuning.images(tmp_path, 12, 2, side=side)
    found = zoo_tuning.model(tmp_path / "model", architecture, side=side)
    row = params(architecture=architecture, side_px=side, max_steps=2, shifts=2)
    told, out = fit(row, tmp_path, found, study)
    scores = ask(row, out, study[1])
    assert scores.score.shape == (len(study[1]),)
    assert np.ptp(scores.score) > 0
    assert told.random_weights
    assert any("random weights" in note for note in told.notes)
    assert told.passes == 4
    assert told.operations
    assert told.operations > 1e5
    assert told.parameters
    assert told.parameters >= told.trained_parameters > 0.99 * told.parameters
    assert [one.option for one in told.tried] == ["step 2"]
    assert told.chosen == "step 2"


@pytest.mark.parametrize(
    ("architecture", "config", "given"),
    [
        ("ConvNextForImageClassification", "ConvNextConfig", {"num_stages": 2}),
        ("DINOv3ConvNextModel", "DINOv3ConvNextConfig", {}),
        (
            "Dinov2WithRegistersModel",
            "Dinov2WithRegistersConfig",
            {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 32, "patch_size": 16},
        ),
    ],
)
def test_classes_that_the_demo_has_no_model_of_learn_and_are_read_back(
    architecture: str, config: str, given: dict[str, Any], tmp_path: Path
) -> None:
    import torch
    import transformers

    from stages.lib.models import image_network

    small = given if "hidden_size" in given else {**given, "hidden_sizes": [8, 16], "depths": [1, 1]}
    torch.manual_seed(0)
    getattr(transformers, architecture)(getattr(transformers, config)(**small)).save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"image_mean": [0.5] * 3, "image_std": [0.2] * 3}))
    row = params(architecture=architecture)
    snapshot = zoo_tuning.snapshot(tmp_path)
    loaded = image_network.start(row, "row", snapshot, "pretrained", 1)
    assert not loaded.described.random_weights
    images = torch.randint(0, 256, (4, SIDE, SIDE), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    loaded.network(images).sum().backward()
    without = {name for name, one in loaded.network.named_parameters() if one.requires_grad and one.grad is None}
    assert not without
    image_network.write(loaded, tmp_path)
    with torch.no_grad():
        again = image_network.read(tmp_path, "row").network(images)
        assert torch.equal(again, loaded.network.eval()(images))
    assert again.std() > 1e-6


@pytest.mark.parametrize("architecture", CLASSES[:3])
def test_random_weights_come_from_configuration_and_seed_and_let_images_differ(
    architecture: str, tmp_path: Path
) -> None:
    import torch

    from stages.lib.models import image_network

    found = zoo_tuning.model(tmp_path / "model", architecture)
    row = params(architecture=architecture)
    before = torch.get_rng_state()
    one, same, other = (
        image_network.start(row, "row", found, "random", seed).network.state_dict() for seed in (1, 1, 2)
    )
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["head.weight"], other["head.weight"])
    theirs = image_network.start(row, "row", found, "pretrained", 1).network.state_dict()
    changed = [name for name in one if not torch.equal(one[name], theirs[name])]
    assert any(name.startswith("inner.") for name in changed)
    network = image_network.start(row, "row", found, "random", 1).network.eval()
    images = torch.randint(0, 256, (4, SIDE, SIDE), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert network(images).std() > 1e-4


def test_a_network_from_random_weights_learns_to_see_a_disc(study: Any, resnet: Any, tmp_path: Path) -> None:
    row = params(start="random", max_steps=60, eval_steps=20, save_steps=20, learning_rate=0.01)
    told, out = fit(row, tmp_path, resnet, study)
    assert told.notes[0].startswith("Training began with random weights of the class ResNet")
    scores = ask(row, out, study[1]).score
    best = max(one.average_precision or 0.0 for one in told.tried)
    assert binary.average_precision(study[1].labels, scores) == pytest.approx(best)
    assert best > 0.9


def test_a_run_that_is_interrupted_goes_on_bit_by_bit(
    whole: Any, study: Any, resnet: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = checkpoints.commit

    def killed(folder: Path) -> None:
        if folder.name == "checkpoint-4":
            raise KeyboardInterrupt
        commit(folder)

    monkeypatch.setattr(checkpoints, "commit", killed)
    with pytest.raises(KeyboardInterrupt):
        fit(params(), tmp_path, resnet, study)
    monkeypatch.undo()
    (tmp_path / "fitted").rmdir()
    told, out = fit(params(), tmp_path, resnet, study)
    before, kept = whole
    assert told.tried == before.tried
    for name in ("network.safetensors", "network.json"):
        assert (out / name).read_bytes() == (kept / name).read_bytes()
    assert len(list((tmp_path / "checkpoints").iterdir())) == 1
    shutil.rmtree(out)
    again, _ = fit(params(), tmp_path, resnet, study)  # from the last checkpoint: nothing is left to train
    assert again == told


def test_a_renamed_row_is_neither_trained_nor_asked_again(
    whole: Any, study: Any, resnet: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, val = study
    steps, passes = [], []
    step, asked = loop._step, network_scores._logits
    monkeypatch.setattr(loop, "_step", lambda *given: steps.append(1) or step(*given))
    monkeypatch.setattr(network_scores, "_logits", lambda *given: passes.append(1) or asked(*given))

    def run(row: str, own: tuned.Params, **changes: Any) -> tuple[Any, ...]:
        """Files of the fit, its scores, and how many steps and passes were made."""
        before, folder = (len(steps), len(passes)), tmp_path / row
        folder.mkdir()
        given = {"row": row, "cache": tmp_path / "kept", **changes}
        told = tuned.fit(own, zoo_tuning.setting(tmp_path / f"work_{row}", resnet, val, train, **given), folder)
        bare = replace(val, labels=None)
        scores = tuned.score(own, zoo_tuning.setting(tmp_path / f"work_{row}", None, bare, **given), folder)
        written = {path.name: path.read_bytes() for path in folder.iterdir()}
        return told, written, scores.logits.tobytes(), len(steps) - before[0], len(passes) - before[1]

    first = run("first", params())
    assert first[:2] == (whole[0], {path.name: path.read_bytes() for path in whole[1].iterdir()})
    assert first[3:] == (6, 1)
    renamed = run("renamed", params(licence="MIT", seen="labels", commercial=False))
    assert renamed == (*first[:3], 0, 0)
    told, written, _, more_steps, more_passes = run("at_more_places", params(shifts=2))
    assert (written, more_steps, more_passes) == (first[1], 0, 1)  # the same training, asked about other places
    assert told.passes == 4
    assert run("by_another_rate", params(learning_rate=0.001, max_steps=2))[3:] == (2, 1)


def test_another_image_label_weight_or_version_is_another_training(
    study: Any, resnet: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, val = study

    def place(**changes: Any) -> Path:
        given = {"row": "row", "train": train, "val": val, "preprocessing_hash": "h", "found": resnet, **changes}
        return loop.place(image_task.ImageTask(**{"backbone": params(), "params": params(), **given}), tmp_path)

    own = place()
    assert place(row="renamed") == own
    assert place(preprocessing_hash="other") != own
    assert place(found=replace(resnet, sha256="other")) != own
    for name, images in (("train", train), ("val", val)):
        assert place(**{name: replace(images, labels=images.labels[::-1].copy())}) != own
        changed = tmp_path / f"{name}.png"
        changed.write_bytes(images.pixels[1].read_bytes())
        assert place(**{name: replace(images, pixels=[images.pixels[0], images.pixels[0], *images.pixels[2:]])}) != own
        assert place(**{name: replace(images, pixels=[images.pixels[0], changed, *images.pixels[2:]])}) == own
    assert place(train=val, val=train) != own
    monkeypatch.setattr(image_task, "version", lambda name: "0")
    assert place() != own


def test_what_is_written_is_the_average_that_validation_measured(whole: Any, study: Any) -> None:
    told, out = whole
    found = binary.average_precision(study[1].labels, ask(params(), out, study[1]).score)
    assert found == next(one.average_precision for one in told.tried if one.option == told.chosen)


def test_an_image_is_scored_by_the_mean_logit_of_its_places(whole: Any, study: Any) -> None:
    import torch

    from stages.lib.models import image_network

    _, out = whole
    val = study[1]
    network = image_network.read(out, "row").network
    assert network.patch_px == 16
    moved = [
        [shifts.shifted(normalized.load(path), shifts.Shift(down, right)) for path in val.pixels[:5]]
        for down in (0, 8)
        for right in (0, 8)
    ]
    with torch.no_grad():
        logits = [network(torch.from_numpy(np.stack(images))).double().numpy() for images in moved]
    found = ask(params(shifts=2), out, val).score[:5]
    assert found == pytest.approx(sigmoid(np.mean(logits, axis=0)), abs=1e-6)


@pytest.mark.parametrize("architecture", ["ResNet", "EfficientNet", "ConvNextV2"])
def test_a_cnn_has_the_logit_of_its_own_class_of_transformers(architecture: str, tmp_path: Path) -> None:
    import torch
    import transformers

    from stages.lib.models import image_network, preprocessor

    name = f"{architecture}ForImageClassification"
    snapshot = zoo_tuning.model(tmp_path / "model", name)
    row = params(architecture=name)
    loaded = image_network.start(row, "row", snapshot, "pretrained", 3)
    network = loaded.network.eval()
    theirs: Any = getattr(transformers, name).from_pretrained(
        snapshot.folder, num_labels=1, ignore_mismatched_sizes=True, dtype=torch.float32
    )
    head = theirs.classifier[-1] if architecture == "ResNet" else theirs.classifier
    head.load_state_dict(network.head.state_dict())
    images = np.random.default_rng(0).integers(0, 256, (3, SIDE, SIDE), dtype=np.uint8)
    greys = torch.from_numpy(preprocessor.greys(snapshot.folder, "row"))
    with torch.no_grad():
        wanted = theirs.eval()(preprocessor.pixels(greys, list(images), SIDE, "row")).logits[:, 0]
        found = network(torch.from_numpy(images))
    assert found.numpy() == pytest.approx(wanted.numpy(), abs=1e-6)
    assert not network.head.bias.any()
    assert "classification head (2 outputs) was dropped" in loaded.notes[-1]


def test_a_transformers_head_reads_cls_beside_the_mean_of_patches_without_registers(tmp_path: Path) -> None:
    import torch

    from stages.lib.models import image_network

    snapshot = zoo_tuning.model(tmp_path / "model", "DINOv3ViTModel")
    row = params(architecture="DINOv3ViTModel")
    network = image_network.start(row, "row", snapshot, "pretrained", 3).network.eval()
    pixels = torch.randn(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        tokens = network.inner(pixel_values=pixels).last_hidden_state  # (2, 1 + 4 + 4, 32)
        assert tokens.shape == (2, 9, 32)
        seen = torch.cat([tokens[:, 0], tokens[:, 5:].mean(dim=1)], dim=1)
        assert torch.equal(network.of_pixels(pixels), network.head(seen)[:, 0])


def test_the_moving_average_is_that_by_hand_and_copies_what_is_no_fraction() -> None:
    import torch

    network, average = (torch.nn.BatchNorm1d(1) for _ in range(2))
    seen = 1.0
    for step, value in enumerate((3.0, 5.0, 9.0), start=1):
        torch.nn.init.constant_(network.weight, value)
        network.running_mean.fill_(value)
        network.num_batches_tracked.fill_(step)
        moving_average.follow(average, network, step, 0.2)
        kept = min(0.2, (1 + step) / (10 + step))
        seen = kept * seen + (1 - kept) * value
    assert average.weight.item() == pytest.approx(seen)
    assert float(average.running_mean) == pytest.approx(
        seen - np.prod([min(0.2, (1 + step) / (10 + step)) for step in (1, 2, 3)])
    )  # it began with 0 and not with 1
    assert int(average.num_batches_tracked) == 3


def test_without_an_average_the_weights_themselves_are_written(study: Any, resnet: Any, tmp_path: Path) -> None:
    _, out = fit(params(average_decay=0.0, max_steps=2), tmp_path, resnet, study)
    [kept] = (tmp_path / "checkpoints").glob("*/checkpoint-2")
    assert not (kept / image_task.AVERAGE).exists()
    assert (kept / image_task.WEIGHTS).read_bytes() == (out / "network.safetensors").read_bytes()


def test_norms_of_the_batch_make_a_loss_that_cannot_be_cut() -> None:
    import torch

    from stages.lib.demo import untrained
    from stages.lib.models import image_network

    for architecture in CLASSES:
        config = untrained.CONFIGURATIONS[architecture](28 if architecture == "Dinov2Model" else SIDE).to_json_string()
        network = image_network._built(architecture, config)
        normed = any(isinstance(one, torch.nn.BatchNorm2d) for one in network.modules())
        assert normed == (architecture in image_task.BATCH_NORMED)


def test_a_sample_looks_the_same_each_time_and_otherwise_at_its_next_turn(study: Any, resnet: Any) -> None:
    train, val = study
    task = image_task.ImageTask(
        row="row", train=train, val=val, preprocessing_hash="h", found=resnet, backbone=params(), params=params()
    )
    shown = image_task.Shown(task)
    number = int(task.order[5])
    image = number % len(train)
    assert np.array_equal(shown[number][0], shown[number][0])
    assert not np.array_equal(shown[number][0], shown[number + len(train)][0])
    assert shown[number][1] == train.labels[image]


def test_what_was_fitted_to_another_class_or_side_is_refused(whole: Any, study: Any, tmp_path: Path) -> None:
    _, out = whole
    with pytest.raises(MismatchError, match=r"some_row: fitted as ResNet.* at 32 px, wanted ResNet.* at 48 px"):
        ask(params(side_px=48), out, study[1])
    with pytest.raises(DocumentError, match="fit this row again"):
        ask(params(), tmp_path, study[1])
    with pytest.raises(ModelError, match="some_row: shifts: found 3, wanted a divisor of 16"):
        ask(params(shifts=3), out, study[1])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda found: found.pop("head.bias"), "lacks head.bias"),
        (lambda found: found.update(more=found["head.bias"].clone()), "has more, which the network has not"),
        (lambda found: found.update({"head.bias": found["head.bias"].repeat(2)}), r"has head.bias of shape \[2\]"),
    ],
)
def test_weights_that_are_not_all_and_only_those_of_the_class_are_refused(
    change: Any, said: str, whole: Any, study: Any, tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    _, out = whole
    found = load_file(out / "network.safetensors")
    change(found)
    save_file(found, tmp_path / "network.safetensors")
    (tmp_path / "network.json").write_bytes((out / "network.json").read_bytes())
    with pytest.raises(ModelError, match=f"some_row: .*{said}"):
        ask(params(), tmp_path, study[1])


def test_damaged_weights_are_refused(whole: Any, study: Any, tmp_path: Path) -> None:
    _, out = whole
    (tmp_path / "network.safetensors").write_bytes((out / "network.safetensors").read_bytes()[:500])
    (tmp_path / "network.json").write_bytes((out / "network.json").read_bytes())
    with pytest.raises(ModelError, match=r"some_row: .*damaged"):
        ask(params(), tmp_path, study[1])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"architecture": "SiglipModel"}, "some_row: cannot be tuned: architecture SiglipModel"),
        ({"architecture": "ConvNextForImageClassification"}, "found ResNetForImageClassification, wanted ConvNext"),
        ({"side_px": 40}, "some_row: side_px 40: wanted a multiple of 16"),
    ],
)
def test_a_model_that_cannot_be_tuned_is_refused(
    changes: dict[str, Any], said: str, study: Any, resnet: Any, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match=said):
        fit(params(**changes), tmp_path, resnet, study)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"library": "timm"}, "library timm, wanted transformers"),
        ({"loss": "focal"}, "two equal gammas"),
        ({"loss": "cross_entropy"}, "wanted 0 of each"),
        ({"average_decay": 1.0}, "at 1 nothing is learned"),
        ({"clip": 1.0}, "at 1 no negative image has a loss"),
        ({"max_shift_fraction": 0.2}, "wanted at least 0.8"),
        ({"per_device_train_batch_size": 1}, "wanted 2 or more: ResNetForImageClassification has norms"),
        ({"save_steps": 3}, "save_steps that is a multiple of eval_steps"),
    ],
)
def test_a_row_that_contradicts_itself_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        params(**changes)


def test_all_problems_of_a_row_are_told_at_once() -> None:
    with pytest.raises(ValueError, match=r"timm.*multiple of eval_steps|multiple of eval_steps.*timm") as told:
        params(library="timm", save_steps=3, clip=1.0)
    assert "clip 1" in str(told.value)


def test_another_run_does_not_go_on_from_this_ones_checkpoints(study: Any, resnet: Any) -> None:
    train, val = study

    def folder(row: tuned.Params, train: Inputs = train) -> Any:
        return loop._identity(
            image_task.ImageTask(
                row="row", train=train, val=val, preprocessing_hash="h", found=resnet, backbone=row, params=row
            )
        )

    own = folder(params())
    turned = replace(train, labels=1 - train.labels)
    assert folder(params(), turned) != own
    for changes in ({"seed": 2}, {"max_rotation_degrees": 0.0}, {"average_decay": 0.5}, {"start": "random"}):
        assert folder(params(**changes)) != own
    for changes in ({"shifts": 4}, {"licence": "MIT"}, {"dataloader_num_workers": 2}):
        assert folder(params(**changes)) == own
