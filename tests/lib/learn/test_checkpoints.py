import re
import shutil

import pytest

from stages.lib.core import files
from stages.lib.learn import checkpoints


@pytest.fixture
def root(tmp_path):
    for step in (2, 4, 10):
        folder = tmp_path / f"checkpoint-{step}"
        (folder / "inner").mkdir(parents=True)
        (folder / "weights.bin").write_bytes(bytes([step]) * 100)
        (folder / "inner/state.json").write_text("{}")
        checkpoints.commit(folder)
    return tmp_path


def names(root):
    return sorted(path.name for path in root.iterdir())


def test_complete_checkpoints_come_in_the_order_of_their_steps_not_of_their_names(root):
    assert [checkpoints.step(folder) for folder in checkpoints.complete(root)] == [2, 4, 10]


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda folder: (folder / "COMMIT").unlink(), "has no COMMIT"),
        (lambda folder: (folder / "COMMIT").write_text("{"), "cannot be read"),
        (lambda folder: (folder / "COMMIT").write_text("[]"), "odd COMMIT"),
        (lambda folder: (folder / "inner/state.json").unlink(), "missing.*state.json"),
        (lambda folder: (folder / "weights.bin").write_bytes(b"\x0a" * 99 + b"\x0b"), "changed.*weights.bin"),
        (lambda folder: (folder / "weights.bin").write_bytes(b"\x0a" * 50), "changed.*weights.bin"),
    ],
    ids=["no commit", "torn commit", "odd commit", "missing file", "flipped bit", "torn file"],
)
def test_a_broken_checkpoint_is_set_aside_with_its_reason_and_the_one_before_is_newest(root, caplog, damage, reason):
    damage(root / "checkpoint-10")
    with caplog.at_level("WARNING"):
        assert checkpoints.complete(root)[-1].name == "checkpoint-4"
    assert names(root) == ["broken-checkpoint-10", "checkpoint-2", "checkpoint-4"]
    assert re.search(f"checkpoint-10.*{reason}", caplog.text)


def test_setting_aside_the_same_step_twice_keeps_the_later_one(root):
    for content in (b"first", b"second"):
        folder = root / "checkpoint-12"
        folder.mkdir()
        (folder / "weights.bin").write_bytes(content)
        checkpoints.complete(root)
    assert (root / "broken-checkpoint-12/weights.bin").read_bytes() == b"second"


def test_pruning_keeps_the_newest_and_the_spared(root):
    for step in (12, 14):
        shutil.copytree(root / "checkpoint-10", root / f"checkpoint-{step}")
    checkpoints.prune(root, keep=2, spare=[4])
    assert [checkpoints.step(folder) for folder in checkpoints.complete(root)] == [4, 12, 14]


def test_pruning_does_not_touch_what_is_not_a_complete_checkpoint(root):
    (root / "checkpoint-1").mkdir()
    (root / "notes").mkdir()
    checkpoints.prune(root, keep=2, spare=[])
    assert names(root) == ["checkpoint-1", "checkpoint-10", "checkpoint-4", "notes"]


def test_no_folder_at_all_has_no_checkpoints(tmp_path):
    assert checkpoints.complete(tmp_path / "none") == []


def test_a_folder_is_replaced_whole(tmp_path):
    target = tmp_path / "adapter"
    for content in ("old", "new"):
        with files.replacing_folder(target) as beside:
            (beside / content).write_text(content)
    assert names(tmp_path) == ["adapter"]
    assert names(target) == ["new"]


def test_a_folder_whose_writing_fails_leaves_the_old_one_and_no_rest(tmp_path):
    target = tmp_path / "adapter"
    with files.replacing_folder(target) as beside:
        (beside / "old").write_text("old")
    with pytest.raises(RuntimeError), files.replacing_folder(target) as beside:
        (beside / "new").write_text("half")
        raise RuntimeError("disk full")
    assert names(tmp_path) == ["adapter"]
    assert names(target) == ["old"]
