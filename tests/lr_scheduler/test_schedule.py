"""Schedule: options without an optimizer."""

import numpy as np
import pytest
from schedule_cases import ours, reading

from nbopt.lr_scheduler import (
    ChainedScheduler,
    ConstantLR,
    CosineAnnealingLR,
    ExponentialLR,
    LinearLR,
    ReduceLROnPlateau,
    Schedule,
    SequentialLR,
    StepLR,
)


def test_table_depends_on_the_rate_and_nothing_else():
    schedule = StepLR.schedule(2, gamma=0.5)
    np.testing.assert_array_equal(schedule.table(4, lr=0.8), [0.8, 0.8, 0.4, 0.4])
    np.testing.assert_array_equal(schedule.table(4), [1.0, 1.0, 0.5, 0.5])
    np.testing.assert_array_equal(schedule.table(3, lr=[0.8, 8.0]), [[0.8, 8.0], [0.8, 8.0], [0.4, 4.0]])
    assert schedule.table(0).shape == (0,)
    assert schedule.table(0, lr=[1.0, 2.0]).shape == (0, 2)
    assert schedule.table(4).dtype == np.float64


def test_bind_makes_the_scheduler_as_often_as_wanted():
    schedule = StepLR.schedule(step_size=1)
    first, second = ours(1), ours(2)
    a, b = schedule.bind(first), schedule.bind(second)
    a.step()
    assert (reading(first)[0], reading(second)[0]) == ([0.05 * 0.1], [0.05, 0.02])
    assert b.optimizer is second
    assert type(a) is StepLR


def test_composed_schedules_nest():
    warm = LinearLR.schedule(start_factor=0.5, total_iters=2)
    cool = ChainedScheduler.schedule([CosineAnnealingLR.schedule(T_max=4), ExponentialLR.schedule(0.9)])
    table = SequentialLR.schedule([warm, cool], milestones=[2]).table(6, lr=2.0)
    cosine = 1 + np.cos(np.pi * np.arange(4) / 4)
    np.testing.assert_allclose(table, [1.0, 1.5, *(cosine * 0.9 ** np.arange(4))], atol=1e-14)


def test_repr_says_how_it_was_made():
    schedule = ConstantLR.schedule(0.5, total_iters=3)
    assert repr(schedule) == "ConstantLR.schedule(0.5, total_iters=3)"
    assert isinstance(schedule, Schedule)


def test_wrong_options_are_refused():
    with pytest.raises(TypeError, match=r"StepLR.schedule: got an unexpected .*'size'"):
        StepLR.schedule(3, size=3)
    with pytest.raises(TypeError, match=r"StepLR.schedule: missing .*'step_size'"):
        StepLR.schedule()
    with pytest.raises(ValueError, match="StepLR: step_size=0"):
        StepLR.schedule(0).table(3)
    with pytest.raises(ValueError, match="StepLR: n=-3 must be a whole number >= 0"):
        StepLR.schedule(1).table(-3)


def test_plateau_has_no_table():
    with pytest.raises(NotImplementedError, match="the rates depend on the metrics, so there is no table"):
        ReduceLROnPlateau.schedule().table(3)
