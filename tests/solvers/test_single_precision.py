"""minimize() from a start in float32: what the function sees, what it can reach, and what comes back."""

from __future__ import annotations

import numpy as np
import pytest
from numba import njit

from nbopt import minimize
from nbopt.solvers.single_precision import narrowed, representable

START = np.array([-1.2, 0.5], np.float32)
F32 = np.float32


@njit
def valley(x):
    return F32(100.0) * (x[1] - x[0] * x[0]) ** 2 + (F32(1.0) - x[0]) ** 2


@njit
def valley_with_gradient(x):
    v = x[1] - x[0] * x[0]
    g = np.empty_like(x)
    g[0] = F32(-400.0) * v * x[0] - F32(2.0) * (F32(1.0) - x[0])
    g[1] = F32(200.0) * v
    return valley(x), g


@njit
def gradient(x):
    return valley_with_gradient(x)[1]


def plain(fun):
    """Return the function for calls from Python that checks what it is given."""

    def checked(x, *args):
        assert x.dtype == np.float32
        return fun.py_func(x, *args) if hasattr(fun, "py_func") else fun(x, *args)

    return checked


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("jac", [True, "pair", None, "2-point", "3-point"])
@pytest.mark.parametrize("bounds", [None, [(-2, 0.1), (-2, 2)]])
def test_it_gets_as_far_as_single_precision_goes(compiled, jac, bounds):
    fun = valley_with_gradient if jac is True else valley
    how = gradient if jac == "pair" else jac
    if not compiled:
        fun, how = plain(fun), plain(gradient) if jac == "pair" else jac
    res = minimize(fun, START, jac=how, bounds=bounds)
    assert res.x.dtype == res.jac.dtype == np.float32
    assert res.success, res.message
    assert float(res.x[0]) <= (np.inf if bounds is None else 0.1)
    least = 0.0 if bounds is None else 0.81
    exact = jac in (True, "pair") or (jac is None and compiled)
    assert res.fun - least < (1e-4 if exact or jac == "3-point" else 2e-2)
    np.testing.assert_allclose(res.fun, valley(res.x), rtol=1e-3, atol=1e-6)
    assert res.jac_method == ("user" if jac in (True, "pair") else jac or ("dual" if compiled else "2-point"))


@pytest.mark.parametrize("tolerance", [1e-5, 1e-9, 0.0])
def test_it_ends_where_values_cannot_be_told_apart(tolerance):
    offset = F32(1000.0)

    @njit
    def far_from_zero(x):
        f, g = valley_with_gradient(x)
        return f + offset, g

    res = minimize(far_from_zero, START, jac=True, options={"gtol": tolerance, "ftol": 0.0})
    assert res.nfev < 200
    assert abs(res.fun - 1000.0) < 1e-3


def test_optimizers_callbacks_and_all_points():
    seen = []
    res = minimize(
        valley_with_gradient, START, jac=True, callback=lambda x: seen.append(x), options={"return_all": True}
    )
    assert {x.dtype for x in (*seen, *res.allvecs)} == {np.dtype(np.float32)}
    np.testing.assert_array_equal(res.allvecs[0], START)
    stop = njit(lambda x, f: f < 1.0)
    res = minimize(valley_with_gradient, START, jac=True, callback=stop)
    assert res.status == 99 and res.fun < 1.0
    slow = minimize(valley_with_gradient, START, (), "adam", True, options={"lr": 0.05, "maxiter": 3000})
    assert slow.x.dtype == np.float32
    np.testing.assert_allclose(slow.x, 1.0, atol=1e-2)


def test_complex_steps_stay_in_double_precision():
    res = minimize(njit(lambda x: (x[0] - 3) ** 2 + (x[1] + 1) ** 2), START, jac="cs")
    np.testing.assert_allclose(res.x, [3.0, -1.0], atol=1e-5)
    assert res.x.dtype == np.float32


def test_bounds_move_inside_to_single_precision():
    lower, upper = np.array([0.1, -np.inf, 0.1, 0.5]), np.array([0.3, np.inf, 0.1, 0.5])
    low, high = representable(lower, upper)
    assert low[0] >= 0.1 and high[0] <= 0.3
    assert low[0] == np.float32(low[0]) and high[0] == np.float32(high[0])
    np.testing.assert_array_equal([low[1:], high[1:]], [lower[1:], upper[1:]])


def test_a_function_is_narrowed_once():
    assert narrowed(valley) is narrowed(valley)
    assert narrowed(valley)(np.array([1.0, 1.0])) == 0.0
