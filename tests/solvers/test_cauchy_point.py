"""The generalized Cauchy point beside a search along the bent path with the full matrix."""

import dense_bfgs
import numpy as np
import pytest

from nbopt.solvers.cauchy_point import C, cauchy_point, inside
from nbopt.solvers.compact import factor_middle, multiply_pairs


def found(x, g, lower, upper, S, Y, slots, theta):
    """Return the point and W'(x_c - x)."""
    rows, n = S.shape
    SS, SY, L, J = (np.empty((rows, rows)) for _ in range(4))
    multiply_pairs(S, Y, slots, slots.size, SS, SY, 0)
    assert factor_middle(SS, SY, slots, theta, L, J)
    breaks, d, target, heap, small = (
        np.empty(n),
        np.empty(n),
        np.empty(n),
        np.empty(n, int),
        np.empty((4, 2 * rows)),
    )
    ok = cauchy_point(x, g, lower, upper, S, Y, slots, theta, L, J, breaks, heap, d, target, small, 0)
    return target, small[C][: 2 * slots.size], ok


def naive(x, g, lower, upper, B):
    """Return the first minimizer of the model along the projected path, leg by leg."""
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(g < 0, (x - upper) / g, np.where(g > 0, (x - lower) / g, np.inf))
    z = x.copy()
    start = 0.0
    for end in [*np.unique(t[(t > 0) & (t < np.inf)]), np.inf]:
        d = np.where(t > start, -g, 0.0)
        slope, curvature = g @ d + d @ B @ (z - x), d @ B @ d
        if slope >= 0.0:
            return z
        step = -slope / curvature
        if start + step < end:
            return z + step * d
        z = np.clip(z + (end - start) * d, lower, upper)
        start = end
    return z


@pytest.mark.parametrize("n", [1, 2, 5, 30])
@pytest.mark.parametrize("m", [1, 4])
def test_against_the_full_matrix(n, m):
    bent = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        S, Y, slots, theta = dense_bfgs.pairs(n, m, seed)
        x, g = rng.normal(size=n), rng.normal(size=n)
        lower, upper = x - rng.exponential(0.3, n), x + rng.exponential(0.3, n)
        lower[rng.random(n) < 0.2] = -np.inf
        upper[rng.random(n) < 0.2] = np.inf
        at = rng.random(n) < 0.2
        lower[at] = x[at]
        g[rng.random(n) < 0.1] = 0.0
        if rng.random() < 0.3:  # ties
            lower, upper = np.where(at, x, x - abs(g)), x + abs(g)
        target, c, ok = found(x, g, lower, upper, S, Y, slots, theta)
        expected = naive(x, g, lower, upper, dense_bfgs.matrix(S, Y, slots, theta))
        assert ok
        np.testing.assert_allclose(target, expected, rtol=1e-7, atol=1e-8)
        assert ((target >= lower) & (target <= upper)).all()
        on = np.isclose(expected, lower, atol=1e-12) | np.isclose(expected, upper, atol=1e-12)
        assert ((target == lower) | (target == upper))[on].all()
        bent += on.any()
        W = np.vstack([Y[slots], theta * S[slots]])
        np.testing.assert_allclose(c, W @ (target - x), rtol=1e-7, atol=1e-7)
    assert bent > 10


def test_where_everything_is_pressed_nothing_moves():
    S, Y, slots, theta = dense_bfgs.pairs(3, 2, 1)
    x = np.array([0.0, 1.0, 2.0])
    target, _, ok = found(x, np.array([1.0, -1.0, 0.5]), x, x + np.array([1.0, 0.0, 3.0]), S, Y, slots, theta)
    np.testing.assert_array_equal(target, x)
    assert ok


def test_a_gradient_beyond_all_bounds_ends_in_a_corner():
    S, Y, slots, theta = dense_bfgs.pairs(6, 3, 2)
    g = np.array([1e8, -1e8, 1e8, -1e8, 1e8, -1e8])
    target, _, ok = found(np.zeros(6), g, np.full(6, -1.0), np.full(6, 2.0), S, Y, slots, theta)
    assert ok
    np.testing.assert_array_equal(target, [-1.0, 2.0] * 3)


def test_inside():
    assert [inside(v, -1.0, 2.0) for v in (-3.0, -1.0, 0.5, 2.0, 7.0)] == [-1.0, -1.0, 0.5, 2.0, 2.0]
    assert np.isnan(inside(np.nan, -1.0, 2.0))
    assert inside(-np.inf, -1.0, 2.0) == -1.0
