import pytest
from tiny_base import train_params

from stages.lib.core.errors import ParamsError
from stages.lib.learn import selection
from stages.lib.learn.curve import Row


def row(step, **validation):
    return Row(step, 1.0, 1.0, 0.1, validation)


def test_the_best_checkpoint_is_the_earliest_of_the_best_and_last_means_last():
    rows = [row(s, loss=x, f1=y) for s, x, y in ((2, 0.5, 0.1), (4, 0.4, 0.9), (6, 0.4, 0.9), (8, 0.6, 0.0))]
    assert [selection.best(rows, by) for by in ("loss", "f1", "last")] == [4, 4, 8]


def test_a_selection_that_is_undefined_falls_back_to_the_last_and_leaves_a_note():
    for undefined in (row(2, f1=None), row(2)):
        rule, notes = selection.rule([undefined], "f1")
        assert rule == "last"
        assert "f1 is undefined" in notes[0]


def test_a_selection_that_is_defined_is_kept_without_a_note():
    assert selection.rule([row(2, f1=0.5), row(4, f1=0.6)], "f1") == ("f1", [])
    assert selection.rule([row(2)], "last") == ("last", [])


def test_patience_counts_measurements_and_an_undefined_one_is_no_better():
    def curve(*values):
        return [row(step, loss=value) for step, value in enumerate(values)]

    params = train_params(select_by="loss", patience=2)
    assert not selection.exhausted(curve(0.5, 0.6), params)
    assert selection.exhausted(curve(0.5, 0.6, 0.5), params)
    assert selection.exhausted(curve(0.5, None, None), params)
    assert not selection.exhausted(curve(None, 0.5, None), params)
    assert not selection.exhausted(curve(0.5, 0.6, 0.4), params)
    with pytest.raises(ParamsError, match="patience 0 beside select_by last"):
        train_params(select_by="last", patience=2)


def test_steps_that_were_not_measured_use_up_no_patience():
    params = train_params(select_by="loss", patience=1)
    assert not selection.exhausted([row(1, loss=0.5), row(2), row(3)], params)


def test_checkpoints_are_planned_every_so_many_steps_and_at_the_end():
    curve = [row(step, loss=1 / step) for step in range(1, 6)]
    params = train_params(max_steps=5, select_by="loss", patience=2)
    assert [one.step for one in selection.planned(curve[:3], params)] == [2]
    assert [one.step for one in selection.planned(curve, params)] == [2, 4, 5]
    worse = [row(step, loss=float(step)) for step in range(1, 4)]
    assert [one.step for one in selection.planned(worse, params)] == [2, 3]
