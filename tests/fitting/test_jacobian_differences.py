"""Differences of residuals: which points they take near bounds."""

import math

import numpy as np
import pytest

from nbopt.fitting.jacobian_differences import CENTRAL, FORWARD, ONE_SIDED, are_rough, place_points
from nbopt.fitting.least_squares import least_squares
from nbopt.fitting.workspace import COST, EXACT, UNKNOWN, Workspace

AUTOMATIC = 0


def placed(x, lower, upper, central, automatic=0.1):
    points, scheme = np.empty((2, 1)), np.empty(1, np.int64)
    limits = np.array([x]), np.array([lower]), np.array([upper]), np.zeros(1)
    place_points(*limits, np.empty(0), AUTOMATIC, automatic, central, points, scheme)
    return *(points[: 1 if scheme[0] == FORWARD else 2, 0] - x).round(12).tolist(), scheme[0]


def test_away_from_bounds_the_steps_are_scipys():
    assert placed(2.0, -math.inf, math.inf, False) == (0.2, FORWARD)
    assert placed(-2.0, -math.inf, math.inf, False) == (-0.2, FORWARD)
    assert placed(-2.0, -math.inf, math.inf, True) == (-0.2, 0.2, CENTRAL)


def test_at_a_bound_they_go_the_other_way():
    assert placed(0.5, 0.0, 0.5, False) == (-0.1, FORWARD)
    assert placed(0.5, 0.0, 0.5, True) == (-0.1, -0.2, ONE_SIDED)
    assert placed(0.5, 0.45, 0.52, False) == (-0.05, FORWARD)
    assert placed(0.5, 0.45, 0.52, True) == (-0.025, -0.05, ONE_SIDED)


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


def rough(J, x, r, size, marks=(UNKNOWN, UNKNOWN, UNKNOWN)):
    """Ask whether forward differences will not do at x, where the residuals are r."""
    n, m = J.shape[1], J.shape[0]
    w = Workspace(np.array(x), m, np.full(n, -math.inf), np.full(n, math.inf), refine=True, size=size)
    R, order = np.linalg.qr(J, mode="r"), np.arange(n)
    w.numbers[COST] = 0.5 * float(r @ r)
    return are_rough(np.ascontiguousarray(R), m, order, np.array(marks), w.lines, w.numbers)


def test_forward_differences_do_where_the_data_give_fewer_digits():
    rng = np.random.default_rng(0)
    J, noise = rng.normal(size=(50, 3)), rng.normal(size=50)
    size = float(np.linalg.norm(J @ [2.0, -1.0, 0.5]))
    assert not rough(J, [2.0, -1.0, 0.5], 0.1 * noise, size)
    assert rough(J, [2.0, -1.0, 0.0], 0.1 * noise, size)  # relative errors of 0
    assert rough(J, [2.0, -1.0, 1e-6], 0.1 * noise, size)
    assert not rough(J, [2.0, -1.0, 1e-6], 0.1 * noise, size, (UNKNOWN, UNKNOWN, EXACT))
    assert not rough(J, [2.0, -1.0, 0.5], 1e4 * noise, size)  # standard errors of 1e3
    near = J.copy()
    near[:, 2] = near[:, 1] + 1e-2 * near[:, 2]
    assert rough(near, [2.0, -1.0, 0.5], 0.1 * noise, size)
    assert rough(J * [1.0, 1.0, 0.0], [2.0, -1.0, 0.5], 0.1 * noise, size)
    alike = J.copy()
    alike[:, 2] = alike[:, 1] + 1e-7 * alike[:, 2]  # the errors are as large as what tells them apart
    assert rough(alike, [2.0, -1.0, 0.5], 1e-9 * noise, size)
