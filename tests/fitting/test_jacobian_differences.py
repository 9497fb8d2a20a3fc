"""Differences of residuals: which points they take near bounds."""

import math

import numpy as np
import pytest

from nbopt.fitting.jacobian_differences import CENTRAL, FORWARD, ONE_SIDED, place_steps
from nbopt.fitting.least_squares import least_squares

AUTOMATIC = 0


def placed(x, lower, upper, central, automatic=0.1):
    h, scheme = np.empty(1), np.empty(1, np.int64)
    limits = np.array([x]), np.array([lower]), np.array([upper]), np.zeros(1)
    place_steps(*limits, np.empty(0), AUTOMATIC, automatic, central, h, scheme)
    return h[0], scheme[0]


def test_away_from_bounds_the_steps_are_scipys():
    assert placed(2.0, -math.inf, math.inf, False) == (0.2, FORWARD)
    assert placed(-2.0, -math.inf, math.inf, False) == (-0.2, FORWARD)
    assert placed(-2.0, -math.inf, math.inf, True) == (0.2, CENTRAL)


def test_at_a_bound_they_go_the_other_way():
    assert placed(0.5, 0.0, 0.5, False) == (-0.1, FORWARD)
    assert placed(0.5, 0.0, 0.5, True) == (-0.1, ONE_SIDED)
    h, _ = placed(0.5, 0.45, 0.52, False)
    assert h == pytest.approx(-0.05)
    h, scheme = placed(0.5, 0.45, 0.52, True)
    assert (h, scheme) == (pytest.approx(-0.025), ONE_SIDED)


@pytest.mark.parametrize("jac", ["2-point", "3-point"])
def test_no_evaluation_leaves_the_bounds(jac):
    lower, upper, seen = np.array([0.0, -1.0]), np.array([0.5, 1.0]), []

    def fun(x):
        seen.append(x.copy())
        return np.array([10 * (x[1] - x[0] ** 2), 1 - x[0], x[0] * x[1]])

    res = least_squares(fun, [0.5, 1.0], jac=jac, bounds=(lower, upper))
    points = np.array(seen)
    assert ((points >= lower) & (points <= upper)).all()
    assert res.success and len(points) > 5
