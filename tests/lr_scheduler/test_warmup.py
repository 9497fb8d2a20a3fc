"""ConstantLR and LinearLR."""

import numpy as np
import pytest
from schedule_cases import follow, ours

from nbopt.lr_scheduler import ConstantLR, LinearLR


def rates_of(scheduler, steps):
    return follow(scheduler.optimizer, scheduler, steps)[:, 0, 0]


def test_by_hand():
    np.testing.assert_allclose(rates_of(ConstantLR(ours(1), 0.5, 2), 4) / 0.05, [0.5, 0.5, 1, 1])
    line = LinearLR(ours(1), start_factor=0.25, end_factor=0.75, total_iters=2)
    np.testing.assert_allclose(rates_of(line, 5) / 0.05, [0.25, 0.5, 0.75, 0.75, 0.75])


def test_a_constant_factor_of_zero_works_unlike_torch():
    scheduler = ConstantLR(ours(1), factor=0, total_iters=3)
    assert rates_of(scheduler, 5).tolist() == [0.0, 0.0, 0.0, 0.05, 0.05]
    assert scheduler.table(5).tolist() == [0.0, 0.0, 0.0, 0.05, 0.05]


@pytest.mark.parametrize("kind", [ConstantLR, LinearLR])
def test_zero_steps_are_refused_unlike_torch(kind):
    with pytest.raises(ValueError, match=f"{kind.__name__}: total_iters=0 must be a whole number >= 1"):
        kind(ours(1), total_iters=0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda o: ConstantLR(o, factor=1.1), r"ConstantLR: factor=1.1 must lie in \[0, 1\]"),
        (lambda o: ConstantLR(o, factor=-0.1), r"ConstantLR: factor=-0.1 must lie in \[0, 1\]"),
        (lambda o: LinearLR(o, start_factor=0), r"LinearLR: start_factor=0 must lie in \(0, 1\]"),
        (lambda o: LinearLR(o, start_factor=1.2), r"LinearLR: start_factor=1.2 must lie in \(0, 1\]"),
        (lambda o: LinearLR(o, end_factor=-0.2), r"LinearLR: end_factor=-0.2 must lie in \[0, 1\]"),
    ],
)
def test_factors_out_of_range_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make(ours(1))
