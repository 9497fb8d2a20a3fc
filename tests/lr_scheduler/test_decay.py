"""StepLR, MultiStepLR, ExponentialLR, PolynomialLR."""

from collections import Counter

import numpy as np
import pytest
from schedule_cases import follow, ours

from nbopt.lr_scheduler import ExponentialLR, MultiStepLR, PolynomialLR, StepLR


def rates_of(scheduler, steps):
    return follow(scheduler.optimizer, scheduler, steps)[:, 0, 0]


def test_step_by_hand():
    scheduler = StepLR(ours(1), 3, gamma=0.5)
    np.testing.assert_allclose(rates_of(scheduler, 7) / 0.05, [1, 1, 1, 0.5, 0.5, 0.5, 0.25])


def test_multi_step_by_hand_in_any_order_and_with_repeats():
    scheduler = MultiStepLR(ours(1), [4, 2, 2, 0], gamma=0.5)
    np.testing.assert_allclose(rates_of(scheduler, 6) * 2 / 0.05, [1, 1, 0.25, 0.25, 0.125, 0.125])


def test_exponential_and_polynomial_by_hand():
    np.testing.assert_allclose(rates_of(ExponentialLR(ours(1), 0.5), 4) / 0.05, [1, 0.5, 0.25, 0.125])
    quadratic = PolynomialLR(ours(1), total_iters=4, power=2.0)
    np.testing.assert_allclose(rates_of(quadratic, 6) * 16 / 0.05, [16, 9, 4, 1, 0, 0], atol=1e-15)


def test_milestones_in_the_state_are_a_plain_dict_and_come_back_as_a_counter():
    scheduler = MultiStepLR(ours(1), [5, 5, 9])
    state = scheduler.state_dict()
    assert type(state["milestones"]) is dict
    assert state["milestones"] == {5: 2, 9: 1}
    other = MultiStepLR(ours(1), [1])
    other.load_state_dict(state)
    assert other.milestones == Counter([5, 5, 9])
    np.testing.assert_array_equal(other.table(12), scheduler.table(12))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda o: MultiStepLR(o, [3, -1]), r"MultiStepLR: milestones\[1\]=-1 must be a whole number >= 0"),
        (lambda o: MultiStepLR(o, [1.5]), r"MultiStepLR: milestones\[0\]=1.5 must be a whole number >= 0"),
        (lambda o: MultiStepLR(o, [1], gamma=-1), r"MultiStepLR: gamma=-1 must lie in \[0, inf\)"),
        (lambda o: ExponentialLR(o, -0.5), r"ExponentialLR: gamma=-0.5 must lie in \[0, inf\)"),
        (lambda o: PolynomialLR(o, power=-1), r"PolynomialLR: power=-1 must lie in \[0, inf\)"),
    ],
)
def test_bad_values_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make(ours(1))


def test_bad_types_are_refused():
    with pytest.raises(TypeError, match="MultiStepLR: milestones=30 must be a list of whole numbers >= 0"):
        MultiStepLR(ours(1), 30)
    with pytest.raises(TypeError, match="StepLR: step_size='3' must be a whole number >= 1"):
        StepLR(ours(1), "3")
    with pytest.raises(TypeError, match=r"ExponentialLR: gamma=None must be a number in \[0, inf\)"):
        ExponentialLR(ours(1), None)


def test_a_polynomial_of_zero_steps_is_refused_unlike_torch():
    with pytest.raises(ValueError, match="PolynomialLR: total_iters=0 must be a whole number >= 1"):
        PolynomialLR(ours(1), total_iters=0)


def test_a_step_size_of_zero_is_refused_with_a_reason_unlike_torch():
    with pytest.raises(ValueError, match="StepLR: step_size=0 must be a whole number >= 1"):
        StepLR(ours(1), 0)
