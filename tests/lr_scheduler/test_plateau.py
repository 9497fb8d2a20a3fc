"""ReduceLROnPlateau."""

import json

import numpy as np
import pytest
from schedule_cases import ours, reading

from nbopt.lr_scheduler import LRScheduler, ReduceLROnPlateau


def rates_of(scheduler, metrics):
    rates = []
    for metric in metrics:
        scheduler.step(metric)
        rates.append(reading(scheduler.optimizer)[0][0])
    return rates


def test_golden_values_of_torch():
    optimizer = ours(1)
    optimizer.param_groups[0]["lr"] = 1.0
    rates = rates_of(ReduceLROnPlateau(optimizer, patience=1, cooldown=2), [1.0] * 12)
    golden = [1, 1, 0.1, 0.1, 0.1, 0.1, 0.01, 0.01, 0.01, 0.01, 0.001, 0.001]
    np.testing.assert_allclose(rates, golden, rtol=1e-12)


def test_a_flat_negative_metric_cuts_the_rate_unlike_torch():
    for mode in ("min", "max"):
        optimizer = ours(1)
        rates = rates_of(ReduceLROnPlateau(optimizer, mode, factor=0.5, patience=1), [-1.0] * 5)
        assert rates == [0.05, 0.05, 0.025, 0.025, 0.0125]


@pytest.mark.parametrize("shift", [-7.0, 7.0])
@pytest.mark.parametrize("mode", ["min", "max"])
def test_the_relative_margin_is_a_share_of_the_size_of_the_best(mode, shift):
    sign = -1.0 if mode == "min" else 1.0
    margin = 0.01 * abs(shift)
    scheduler = ReduceLROnPlateau(ours(1), mode, threshold=0.01)
    scheduler.step(shift)
    scheduler.step(shift + 0.99 * sign * margin)
    assert (scheduler.best, scheduler.num_bad_epochs) == (shift, 1)
    scheduler.step(shift + 1.01 * sign * margin)
    assert (scheduler.best, scheduler.num_bad_epochs) == (shift + 1.01 * sign * margin, 0)


def test_lowest_rates_eps_and_zero_and_nan():
    optimizer = ours(2)
    scheduler = ReduceLROnPlateau(optimizer, factor=0.1, patience=0, min_lr=[0.03, 0.019999], eps=1e-5)
    scheduler.step(0.0)
    scheduler.step(float("nan"))
    assert reading(optimizer)[0] == [0.03, 0.02]  # the second would have changed by less than eps
    assert scheduler.get_last_lr() == [0.03, 0.02]


def test_a_metric_may_be_any_one_number():
    scheduler = ReduceLROnPlateau(ours(1))
    for metric in (1, np.float32(0.5), np.array([0.25]), True * 1.0):
        scheduler.step(metric)
    assert scheduler.best == 0.25
    for metric in (None, "0.1", np.zeros(2), 1j):
        with pytest.raises(TypeError, match=r"ReduceLROnPlateau: metrics=.* must be one number"):
            scheduler.step(metric)
    assert scheduler.last_epoch == 4


def test_an_epoch_is_deprecated():
    scheduler = ReduceLROnPlateau(ours(1))
    with pytest.warns(UserWarning, match="deprecated"):
        scheduler.step(1.0, 7)
    assert scheduler.last_epoch == 7


def test_a_group_added_later():
    optimizer = ours(1)
    scheduler = ReduceLROnPlateau(optimizer, factor=0.5, patience=0, min_lr=0.004)
    scheduler.step(1.0)
    optimizer.add_param_group({"params": [np.zeros(1)], "lr": 0.006})
    scheduler.step(1.0)
    assert reading(optimizer)[0] == [0.025, 0.004]
    optimizer = ours(1)
    scheduler = ReduceLROnPlateau(optimizer, min_lr=[0.004])
    optimizer.add_param_group({"params": [np.zeros(1)]})
    with pytest.raises(RuntimeError, match="ReduceLROnPlateau: min_lr has 1 values, but the optimizer has 2"):
        scheduler.step(1.0)
    scheduler.min_lrs.append(0.0)  # what the message says
    scheduler.step(1.0)


def test_state_goes_on_where_it_was():
    metrics = np.sin(np.arange(40))
    whole = rates_of(ReduceLROnPlateau(ours(1), patience=2, cooldown=1, factor=0.9), metrics)
    optimizer = ours(1)
    first = ReduceLROnPlateau(optimizer, patience=2, cooldown=1, factor=0.9)
    begun = rates_of(first, metrics[:17])
    second = ReduceLROnPlateau(optimizer)
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert begun + rates_of(second, metrics[17:]) == whole


def test_it_is_a_scheduler_without_get_lr():
    scheduler = ReduceLROnPlateau(ours(1))
    assert isinstance(scheduler, LRScheduler)
    assert scheduler.get_last_lr() == [0.05]
    with pytest.raises(NotImplementedError):
        scheduler.get_lr()
    with pytest.raises(NotImplementedError, match="depend on the metrics"):
        scheduler.table(3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "less"}, r"mode='less' must be one of \('min', 'max'\)"),
        ({"threshold_mode": "both"}, r"threshold_mode='both' must be one of \('rel', 'abs'\)"),
        ({"factor": 1.0}, r"factor=1.0 must lie in \[0, 1\)"),
        ({"factor": -0.5}, r"factor=-0.5 must lie in \[0, 1\)"),
        ({"patience": -1}, "patience=-1 must be a whole number >= 0"),
        ({"cooldown": 0.5}, "cooldown=0.5 must be a whole number >= 0"),
        ({"threshold": -1e-3}, r"threshold=-0.001 must lie in \[0, inf\)"),
        ({"min_lr": -1}, r"min_lr=-1 must lie in \[0, inf\)"),
        ({"eps": float("nan")}, r"eps=nan must lie in \[0, inf\)"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ValueError, match=f"ReduceLROnPlateau: {message}"):
        ReduceLROnPlateau(ours(1), **options)
