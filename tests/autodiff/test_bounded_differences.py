"""Finite differences within bounds: scipy's values, compiled the same bits, never a point outside."""

import numpy as np
import pytest
from numba import njit
from scipy.optimize._numdiff import approx_derivative

from nbopt.autodiff.bounded_differences import (
    BoundedDifferences,
    central_within,
    forward_within,
    three_point_within,
    two_point_within,
)
from nbopt.autodiff.finite_differences import Differences
from nbopt.kernels.native import VALUE, entry_for

X = np.array([1.0, -2.0, 0.5])
STEPS = [{}, {"rel_step": 1e-6}, {"abs_step": 1e-8}, {"abs_step": 0.3}]
ROOMS = [0.0, 1e-12, 1e-9, 1e-6, 0.1, 0.4, np.inf]


@njit
def smooth(x):
    return x[1] / (1.0 + 1e-6 * x[0] ** 2) + x[2] ** 3 + 1e-2 * np.sin(x[0])


@njit
def _at(differences, entry, x, f, g, scratch, steps, rule, automatic, lower, upper):
    differences(entry, 0, x, f, g, scratch, steps, rule, automatic, lower, upper)


def compiled_gradient(fun, ways, x):
    """Return the differences that compiled code takes."""
    call = two_point_within if ways.method == "2-point" else three_point_within
    g, scratch = np.empty(x.size), np.empty(x.size)
    entry = entry_for(fun, (), VALUE).address
    rest = ways.steps, ways.rule, ways.automatic, ways.lower, ways.upper
    _at(call, entry, x, fun(x.copy()), g, scratch, *rest)
    return g


@pytest.mark.parametrize("method", ["2-point", "3-point"])
@pytest.mark.parametrize("steps", STEPS, ids=str)
def test_same_values_as_scipy_and_compiled_the_same_bits(method, steps):
    for below in ROOMS:
        for above in ROOMS:
            if below == above == 0.0:
                continue
            lower, upper = X - below, X + above
            ways = BoundedDifferences(Differences(method, 3, **steps), lower, upper)
            seen = []

            def noted(x):
                seen.append(x.copy())  # noqa: B023
                return smooth(x)

            ours = ways.gradient(noted, X, smooth(X))
            theirs = approx_derivative(smooth, X, method=method, bounds=(lower, upper), **steps)
            np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12)
            np.testing.assert_array_equal(compiled_gradient(smooth, ways, X), ours)
            assert len(seen) == ways.evaluations == (3 if method == "2-point" else 6)
            assert all((lower <= x).all() and (x <= upper).all() for x in seen)


def test_without_bounds_they_are_the_usual_ones():
    for method in ("2-point", "3-point", "cs"):
        plain = Differences(method, 3)
        ways = BoundedDifferences(plain, np.full(3, -np.inf), np.full(3, np.inf))
        np.testing.assert_array_equal(
            ways.gradient(smooth, X, smooth(X)), plain.gradient(smooth, X, smooth(X))
        )
        assert ways.evaluations == plain.evaluations


@pytest.mark.parametrize("method", ["2-point", "3-point"])
def test_equal_bounds_cost_nothing(method):
    ways = BoundedDifferences(Differences(method, 3), np.array([0.0, -2.0, 0.0]), np.array([2.0, -2.0, 2.0]))
    calls = []
    g = ways.gradient(lambda x: calls.append(x) or smooth(x), X, smooth(X))
    assert len(calls) == ways.evaluations == (2 if method == "2-point" else 4)
    assert g[1] == 0.0 == compiled_gradient(smooth, ways, X)[1]


def test_points_stay_inside_and_move_however_narrow_the_room():
    hypothesis = pytest.importorskip("hypothesis", reason="draws bounds")
    st = hypothesis.strategies
    number = st.floats(-1e8, 1e8)

    @hypothesis.given(number, number, st.floats(0.0, 1.0), st.floats(1e-12, 1e3), st.booleans())
    @hypothesis.settings(deadline=None, max_examples=500)
    def check(a, b, share, h, negative):
        low, high = min(a, b), max(a, b)
        hypothesis.assume(low < high)
        x = min(max(low + share * (high - low), low), high)
        hypothesis.assume(x + h != x and x - h != x)
        moved = forward_within(x, -h if negative else h, low, high)
        assert low <= moved <= high and moved != x
        first, second, one_sided = central_within(x, h, low, high)
        assert low <= first <= high and low <= second <= high
        assert second != first and (not one_sided or x not in (first, second))

    check()
    for low in (0.0, 1.0, -1e8):  # neighbours
        high = np.nextafter(low, np.inf)
        for x in (low, high):
            assert forward_within(x, 1e-3, low, high) in {low, high} - {x}
            a, b, one_sided = central_within(x, 1e-3, low, high)
            assert low <= min(a, b) and max(a, b) <= high and (b != x if one_sided else a != b)
