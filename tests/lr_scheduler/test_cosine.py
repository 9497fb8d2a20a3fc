"""CosineAnnealingLR and CosineAnnealingWarmRestarts."""

import copy

import numpy as np
import pytest
from schedule_cases import follow, ours, reading

from nbopt.lr_scheduler import CosineAnnealingLR, CosineAnnealingWarmRestarts


def test_golden_values_of_torch():
    optimizer = ours(1)
    rates = follow(optimizer, CosineAnnealingLR(optimizer, T_max=4), 10)[:, 0, 0]
    golden = [0.05, 0.042678, 0.025, 0.007322, 0, 0.007322, 0.025, 0.042678, 0.05, 0.042678]
    np.testing.assert_allclose(rates, golden, rtol=0, atol=5e-7)


def test_stepping_does_not_drift_from_the_closed_form():
    optimizer = ours(1)
    scheduler = CosineAnnealingLR(optimizer, T_max=50, eta_min=0.001)
    rates = follow(optimizer, scheduler, 5000)[:, 0, 0]
    np.testing.assert_allclose(rates, scheduler.table(5000), rtol=0, atol=1e-12)


@pytest.mark.parametrize("mult", [1, 2, 3])
def test_restarts_by_hand(mult):
    optimizer = ours(1)
    rates = follow(optimizer, CosineAnnealingWarmRestarts(optimizer, 2, mult), 40)[:, 0, 0]
    lengths = [2 * mult**k for k in range(20)]
    waves = np.concatenate([(1 + np.cos(np.pi * np.arange(n) / n)) / 2 for n in lengths[:6] if n < 1000])
    np.testing.assert_allclose(rates, 0.05 * np.resize(waves, 40), atol=1e-15)


@pytest.mark.parametrize("stop", [1, 5, 9, 20, 21, 22, 44, 45, 46])
def test_restarts_resume_by_last_epoch_also_with_growing_waves_unlike_torch(stop):
    optimizer = ours(1)
    scheduler = CosineAnnealingWarmRestarts(optimizer, 3, 2, 0.001)
    follow(optimizer, scheduler, stop + 1)
    again = ours(1)
    again.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    resumed = CosineAnnealingWarmRestarts(again, 3, 2, 0.001, last_epoch=stop - 1)
    assert (resumed.T_cur, resumed.T_i) == (scheduler.T_cur, scheduler.T_i)
    np.testing.assert_array_equal(follow(again, resumed, 60), follow(optimizer, scheduler, 60))


def test_an_epoch_at_which_a_wave_starts_is_recognised_exactly_unlike_torch():
    for first, mult in [(1, 3), (5, 3), (7, 2), (10, 10)]:
        optimizer = ours(1)
        scheduler = CosineAnnealingWarmRestarts(optimizer, first, mult)
        for k in range(1, 12):
            scheduler.step(first * (mult**k - 1) // (mult - 1))
            assert scheduler.T_cur == 0
            assert scheduler.T_i == first * mult**k
            assert reading(optimizer)[0] == [0.05]


def test_restarts_take_fractions_without_a_warning():
    optimizer = ours(1)
    scheduler = CosineAnnealingWarmRestarts(optimizer, 4)
    scheduler.step(5.5)
    assert (scheduler.last_epoch, scheduler.T_cur) == (5, 1.5)
    assert reading(optimizer)[0] == [pytest.approx(0.05 * (1 + np.cos(np.pi * 1.5 / 4)) / 2)]
    assert scheduler.value(5.5, 0.05) == pytest.approx(reading(optimizer)[0][0])
    with pytest.raises(ValueError, match=r"CosineAnnealingWarmRestarts: epoch=-1 must lie in \[0, inf\)"):
        scheduler.step(-1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda o: CosineAnnealingLR(o, -3), r"CosineAnnealingLR: T_max=-3 must lie in \(0, inf\)"),
        (lambda o: CosineAnnealingLR(o, 3, eta_min=-1), r"CosineAnnealingLR: eta_min=-1 must lie in"),
        (lambda o: CosineAnnealingWarmRestarts(o, 0), "T_0=0 must be a whole number >= 1"),
        (lambda o: CosineAnnealingWarmRestarts(o, 2.5), "T_0=2.5 must be a whole number >= 1"),
        (lambda o: CosineAnnealingWarmRestarts(o, 2, 0), "T_mult=0 must be a whole number >= 1"),
    ],
)
def test_bad_values_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make(ours(1))


def test_a_period_of_zero_is_refused_with_a_reason_unlike_torch():
    with pytest.raises(ValueError, match=r"CosineAnnealingLR: T_max=0 must lie in \(0, inf\)"):
        CosineAnnealingLR(ours(1), 0)


def test_a_failed_step_leaves_the_wave_where_it_was():
    optimizer = ours(2)
    scheduler = CosineAnnealingWarmRestarts(optimizer, 4)
    del optimizer.param_groups[1]
    with pytest.raises(ValueError, match="had 2 groups and now has 1"):
        scheduler.step()
    assert (scheduler.T_cur, scheduler.last_epoch) == (0, 0)
