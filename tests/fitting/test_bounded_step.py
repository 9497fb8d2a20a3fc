"""Steps within bounds: feasible, and the best that the model allows."""

import math

import numpy as np
import pytest
from scipy.optimize import lsq_linear

from nbopt.fitting.bounded_step import bounded_step, hold, model_change


def step(A, b, x, lower, upper, delta=math.inf, D=None):
    n = x.size
    Q, R = np.linalg.qr(A)
    c, order = Q.T @ b, np.arange(n)
    held, s = np.zeros(n, np.int64), np.zeros(n)
    small = np.empty((n, n)), np.empty((n, n)), np.empty((6, n)), np.empty(n, np.int64)
    D = np.ones(n) if D is None else D
    args = R, n, c, order, x, A.T @ b, lower, upper, held, D, delta, 0.0, s, small
    _, cut = bounded_step(*args)
    return s, cut, model_change(R, n, c, order, s, np.empty(n))


@pytest.mark.parametrize("seed", range(30))
def test_without_a_radius_it_solves_bounded_linear_least_squares(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 9))
    A, b = rng.normal(size=(20, n)), 3 * rng.normal(size=20)
    lower, upper = -rng.uniform(0.0, 0.3, n), rng.uniform(0.0, 0.3, n)
    x = rng.uniform(lower, upper)
    x = np.where(rng.random(n) < 0.3, lower, x)
    s, _, _ = step(A, b, x, lower, upper)
    assert ((x + s >= lower - 1e-15) & (x + s <= upper + 1e-15)).all()
    best = lsq_linear(A, -b + A @ x, (lower, upper), method="bvls", tol=1e-14)
    np.testing.assert_allclose(x + s, best.x, atol=1e-9)


@pytest.mark.parametrize("seed", range(10))
def test_with_a_radius_it_is_feasible_and_lowers_the_model(seed):
    rng = np.random.default_rng(100 + seed)
    A, b = rng.normal(size=(10, 4)), rng.normal(size=10)
    lower, upper, x = np.full(4, -0.02), np.full(4, 0.05), np.zeros(4)
    x[0] = lower[0]
    s, _, gain = step(A, b, x, lower, upper, 0.04)
    assert gain > 0.0
    assert ((x + s >= lower) & (x + s <= upper)).all()
    assert np.linalg.norm(s) <= 0.1


def test_far_bounds_do_not_cut():
    rng = np.random.default_rng(0)
    A, b = rng.normal(size=(10, 3)), rng.normal(size=10)
    s, cut, _ = step(A, b, np.zeros(3), np.full(3, -1e9), np.full(3, math.inf))
    assert not cut
    np.testing.assert_allclose(s, -np.linalg.lstsq(A, b)[0])


def test_only_an_outward_gradient_holds_a_variable():
    held = np.empty(4, np.int64)
    x, lower, upper = np.array([0.0, 0.0, 1.0, 1.0]), np.zeros(4), np.ones(4)
    assert hold(x, np.array([1.0, -1.0, -1.0, 1.0]), lower, upper, held) == 2
    np.testing.assert_array_equal(held, [-1, 0, 1, 0])
