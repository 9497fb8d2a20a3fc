"""Exact gradients in minimize(): by dual numbers where the function has them, else by differences."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numba import njit

from nbopt import Parameter, minimize, value_and_grad
from nbopt.autodiff.not_differentiable import NotDifferentiable

T = np.linspace(0.0, 2.0, 21)


@njit
def chained(x):
    total = 0.0
    for i in range(x.size - 1):
        total += 100.0 * (x[i + 1] - x[i] ** 2) ** 2 + (1.0 - x[i]) ** 2
    return total


@njit
def chained_with_gradient(x):
    g = np.zeros(x.size)
    for i in range(x.size - 1):
        u, v = x[i + 1] - x[i] ** 2, 1.0 - x[i]
        g[i] += -400.0 * u * x[i] - 2.0 * v
        g[i + 1] += 200.0 * u
    return chained(x), g


@njit
def misfit(x, t, y):
    return np.sum((x[0] * np.exp(-x[1] * t) - y) ** 2)


@njit
def sorted_first(x, a):
    """Sorts by way of eigenvalues, which duals have not."""
    return np.sum(a * (np.linalg.eigvalsh(np.diag(x)) - 1.0) ** 2)


@pytest.mark.parametrize("n", [1, 2, 3, 15, 16, 17, 40])
@pytest.mark.parametrize("jac", [None, "auto", "dual"])
def test_the_iterates_of_the_hand_written_gradient(n, jac):
    x0 = np.full(n, -1.2)
    if n == 1:
        res = minimize(njit(lambda x: (x[0] - 3.0) ** 2), x0, jac=jac)
        np.testing.assert_allclose(res.x, 3.0)
        assert res.jac_method == "dual"
        return
    few = {"maxiter": 8}  # rounding errors grow later
    res = minimize(chained, x0, jac=jac, options=few)
    user = minimize(chained_with_gradient, x0, jac=True, options=few)
    assert res.jac_method == "dual"
    assert res.nfev == res.njev == user.nfev
    np.testing.assert_allclose(res.x, user.x, rtol=1e-9)
    assert minimize(chained, x0, jac=jac).success


def test_arguments_bounds_and_optimizers():
    y = 2.5 * np.exp(-1.3 * T)
    res = minimize(misfit, [1.0, 1.0], (T, y))
    assert res.jac_method == "dual"
    np.testing.assert_allclose(res.x, [2.5, 1.3], rtol=1e-5)
    bounded = minimize(misfit, [1.0, 1.0], (T, y), bounds=[(0, 2), (0, 2)])
    assert bounded.jac_method == "dual" and bounded.x[0] == 2.0 and np.isfinite(bounded.jac).all()
    slow = minimize(misfit, [1.0, 1.0], (T, y), "adam", options={"lr": 0.05, "maxiter": 2000})
    assert slow.jac_method == "dual"
    np.testing.assert_allclose(slow.x, [2.5, 1.3], rtol=1e-3)


def test_without_duals_auto_takes_differences_and_says_so():
    a = np.array([2.0, 3.0])
    for _ in range(2):  # the second time it is known
        res = minimize(sorted_first, [4.0, 2.0], (a,))
        assert res.success and res.jac_method == "2-point" and res.nfev == 3 * res.njev
    with pytest.raises(
        NotDifferentiable, match=r"minimize: sorted_first cannot .*line \d+ of test_exact.*eigvalsh"
    ):
        minimize(sorted_first, [4.0, 2.0], (a,), jac="dual")


@pytest.mark.filterwarnings("ignore::numba.core.errors.NumbaPendingDeprecationWarning")
def test_arguments_that_only_python_takes():
    listed = njit(lambda x, t: (x[0] - t[0]) ** 2 + (x[1] - t[1]) ** 2)
    res = minimize(listed, [0.0, 0.0], ([3.0, 4.0],), jac="dual")
    assert res.jac_method == "dual"
    np.testing.assert_allclose(res.x, [3.0, 4.0])


def test_value_and_grad_as_the_function():
    res = minimize(value_and_grad(chained), np.full(4, -1.2), jac=True)
    assert res.jac_method == "dual" and res.success


def test_errors_are_the_users():
    with pytest.raises(Exception, match="nonsense"):
        minimize(njit(lambda x: x.nonsense), [1.0])
    with pytest.raises(TypeError, match="fun returned"):
        minimize(njit(lambda x: x), [1.0, 2.0], jac="dual")

    @njit
    def raises(x):
        if x[0] < 2.0:
            raise ValueError("below two")
        return x[0] ** 2

    for jac in (None, "dual"):
        with pytest.raises(ValueError, match="below two"):
            minimize(raises, [5.0], jac=jac)


def test_a_cliff_is_too_far():
    res = minimize(njit(lambda x: x[0] - math.log(x[0]) if x[0] > 0.0 else math.nan), [0.1])
    assert res.success and res.jac_method == "dual"
    np.testing.assert_allclose(res.x, 1.0, atol=1e-4)


def test_python_functions_have_differences():
    assert minimize(lambda x: (x[0] - 1.0) ** 2, [0.0]).jac_method == "2-point"
    assert minimize(Bowl(), Parameter(np.zeros(2)).data).jac_method == "2-point"


class Bowl:
    """A callable object."""

    def __call__(self, x):
        return float(x @ x)
