"""Bounds as a user may give them: scipy's forms, and what is wrong with others."""

import numpy as np
import pytest
from classic_problems import rosenbrock
from scipy.optimize import Bounds, OptimizeWarning

from nbopt.solvers.bounds import read_bounds
from nbopt.solvers.minimize import minimize

INF = np.inf


@pytest.mark.parametrize(
    "bounds",
    [
        [(0, 1), (None, 2)],
        ((0.0, 1.0), [-INF, 2]),
        [np.array([0, 1]), (None, np.float32(2))],
        np.array([[0.0, 1.0], [-INF, 2.0]]),
        np.array([[0, 1], [None, 2]], object),
        Bounds([0, -INF], [1, 2]),
        Bounds([0, -INF], [1, 2], keep_feasible=True),
        Bounds(np.array([0, -INF]), [1, 2]),
        (pair for pair in [(0, 1), (None, 2)]),
        zip([0, -INF], [1, 2], strict=True),
    ],
)
def test_forms(bounds):
    lower, upper = read_bounds(bounds, 2)
    np.testing.assert_array_equal(lower, [0.0, -INF])
    np.testing.assert_array_equal(upper, [1.0, 2.0])
    assert lower.dtype == upper.dtype == np.float64


@pytest.mark.parametrize("bounds", [[(0, 1)], Bounds(0, 1), Bounds([0], [1]), np.array([[0, 1]])])
def test_one_pair_for_all(bounds):
    lower, upper = read_bounds(bounds, 3)
    np.testing.assert_array_equal(lower, np.zeros(3))
    np.testing.assert_array_equal(upper, np.ones(3))


def test_what_is_given_is_not_kept():
    table = np.array([[0.0, 1.0], [0.0, 2.0]])
    both = Bounds(np.zeros(2), np.ones(2))
    for lower, upper in (read_bounds(table, 2), read_bounds(both, 2)):
        lower[:] = upper[:] = 7.0
    assert table.max() == 2.0 and both.lb.max() == 0.0


@pytest.mark.parametrize("bounds", [[(None, None)] * 2, Bounds(), [(-INF, None), (None, INF)]])
def test_no_bounds_at_all(bounds):
    assert read_bounds(bounds, 2) is None


@pytest.mark.parametrize(
    ("bounds", "error", "match"),
    [
        ([(0, 1)] * 3, ValueError, "not compatible with the length of `x0`: there are 3 lower and 3 upper"),
        ([], ValueError, "there are 0 lower and 0 upper"),
        (Bounds([0, 0, 0], 1), ValueError, "x0 has 2 elements"),
        ([(0, 1), (2, 1)], ValueError, r"bounds\[1\]=\(2.0, 1.0\): An upper bound is less"),
        (Bounds([0, 2], [1, 1]), ValueError, "An upper bound is less"),
        ([(0, 1), (np.nan, 1)], ValueError, r"bounds\[1\]=\(nan, 1.0\) must not be NaN"),
        (Bounds([0, 0], [1, np.nan]), ValueError, "must not be NaN"),
        ([(INF, INF), (0, 1)], ValueError, r"bounds\[0\]=\(inf, inf\) leaves no finite number"),
        ([(None, -INF), (0, 1)], ValueError, "leaves no finite number"),
        ([0, 1], TypeError, "must be a sequence of pairs"),
        ((0, 1), TypeError, "must be a sequence of pairs"),
        (3, TypeError, "must be a sequence of pairs"),
        ([None, None], TypeError, "must be a sequence of pairs"),
        ([(0, 1, 2), (0, 1, 2)], ValueError, "must be pairs"),
        (np.zeros((2, 3)), ValueError, r"shape \(2, 3\)"),
        ([(0, [1]), (0, 1)], TypeError, "must be a sequence of pairs"),
        ([(0, "1"), (0, 1)], TypeError, r"bounds=\[\(0, '1'\), .* must be a sequence of pairs"),
    ],
)
def test_what_is_refused(bounds, error, match):
    def never(x):
        raise AssertionError("called")

    with pytest.raises(error, match=match):
        minimize(never, [0.5, 0.5], bounds=bounds)


def test_starts_outside_are_moved_with_a_warning():
    first = []

    def noted(x):
        first.append(x)
        return rosenbrock(x)

    x0 = np.array([5.0, -3.0])
    with pytest.warns(OptimizeWarning, match="x0 violates the bounds") as caught:
        res = minimize(noted, x0, jac=True, bounds=[(0, 0.5), (0, 1)])
    assert caught[0].filename == __file__
    assert res.success
    np.testing.assert_array_equal(first[0], [0.5, 0.0])
    np.testing.assert_array_equal(x0, [5.0, -3.0])
    minimize(noted, [0.0, 1.0], jac=True, bounds=[(0, 0.5), (0, 1)])  # on them: no warning


@pytest.mark.parametrize("method", ["adam", "SGD"])
def test_methods_that_take_no_bounds(method):
    with pytest.raises(ValueError, match=rf"method='{method}' takes no bounds"):
        minimize(rosenbrock, [0.0, 0.0], method=method, jac=True, bounds=[(0, 1), (0, 1)])
    res = minimize(
        rosenbrock, [0.0, 0.0], method=method, jac=True, bounds=Bounds(), options={"lr": 1e-4, "maxiter": 2}
    )
    assert res.nit == 2
