"""Functions that end in an expression: each way of finding its derivatives gives what duals give."""

import math

import numpy as np
import pytest
from numba import njit, types

from nbopt.autodiff.forward import RESIDUALS, jacobian_entry, misfit_entry, result_type
from nbopt.autodiff.gradient import jacobian
from nbopt.autodiff.rows import RowsType

LINE = types.Array(types.float64, 1, "C")
T = np.array([0.5, 1.25, 2.0, 4.0])
X = np.array([0.75, 1.5, 2.5, 0.25, 3.0])  # the last is in no expression: 5 partials are not carried along


def peak(x, t):
    return x[0] * np.exp(-0.5 * ((t - x[1]) / x[2]) ** 2) + x[-2] * t


def polynomial(x, t):
    return x[0] * t - (-x[1]) * x[0] + np.multiply(x[3], t**2) - np.negative(t)


def named(x, t):
    scale = 1.0 / x[2]
    u = (t - x[1]) * scale
    return x[0] * u * u + x[3]


def unseparable(x, t):
    return np.minimum(t * x[0], 1.0) + np.arctan2(x[3] * t, x[1])


ENDINGS = [peak, polynomial, named, unseparable]


def kept(fun, **options):
    """Return a function whose result stays an array of duals."""
    inner = njit(**options)(fun)

    @njit
    def keep(x, t):
        y = inner(x, t)
        return y[::1]

    return keep


@pytest.mark.parametrize("fun", ENDINGS)
def test_rows_are_those_of_duals(fun):
    compiled, r, jac = njit(fun), np.full(4, np.nan), np.full((4, 5), np.nan)
    assert result_type(compiled, (LINE,), 5, "jacobian", RESIDUALS) == RowsType(5, True)
    njit(jacobian_entry(compiled, 5, njit(lambda data: data)))(X, r, jac, (T,))
    np.testing.assert_array_equal(r, compiled(X, T))
    np.testing.assert_allclose(jac, jacobian(kept(fun))(X, T), rtol=1e-14, atol=1e-16)
    np.testing.assert_array_equal(jacobian(compiled)(X, T), jac)


def test_poles_have_the_derivatives_of_duals():
    def fun(x, t):
        return x[0] * np.sqrt(t - x[1]) + np.exp(-x[2] / (t - x[3]) ** 2)

    x = np.array([1.0, 0.5, 0.25, 2.0, 3.0])
    compiled, as_duals = njit(error_model="numpy")(fun), kept(fun, error_model="numpy")
    for t in (T, np.array([0.25, 1.0]), np.array([math.nan, 3.0, math.inf])):
        found, expected = jacobian(compiled)(x, t), jacobian(as_duals)(x, t)
        np.testing.assert_allclose(found, expected, rtol=1e-14)


def test_infinite_data_of_a_polynomial_leave_other_derivatives_alone():
    line = njit(lambda x, t: x[0] * t + x[1])
    assert jacobian(line)([2.0, 3.0], np.array([1.0, math.inf])).tolist() == [[1.0, 1.0], [math.inf, 1.0]]
    assert np.isnan(jacobian(kept(line.py_func))([2.0, 3.0], np.array([math.inf]))[0, 1])


def test_what_seems_a_variable_but_was_changed():
    @njit
    def fun(x, t):
        x[0] = x[1] * x[2]
        a, b = -x[0] + 2.0, x[1]
        return a * t + b * np.exp(x[0] * t) + x[3] * t

    jac = jacobian(fun)(X, T)
    e, product = np.exp(X[1] * X[2] * T), X[1] * T
    by_product = -T + product * e
    expected = [0.0 * T, X[2] * by_product + e, X[1] * by_product, T, 0.0 * T]
    np.testing.assert_allclose(jac, np.transpose(expected), rtol=1e-14)


def test_parameters_in_any_order_and_number():
    @njit
    def line(t, a, b, c=2.0):
        return a * np.exp(t) + b * c * t

    @njit
    def straight(x, t, y):
        return line(t, x[0], x[1])

    @njit
    def swapped(x, t, y):
        return line(t, x[1], x[0], x[1])

    r, jac = np.empty(4), np.empty((4, 5))
    for fun, partials in (
        (straight, (np.exp(T), 2.0 * T)),
        (swapped, (X[1] * T, np.exp(T) + X[0] * T)),
    ):
        njit(misfit_entry(fun, 5, njit(lambda data: data)))(X, r, jac, (T, np.ones(4)))
        np.testing.assert_array_equal(r, fun(X, T, T) - 1.0)
        np.testing.assert_allclose(jac[:, :2], np.transpose(partials), rtol=1e-15)
        assert not jac[:, 2:].any()


def test_one_element_stands_for_all_and_other_lengths_are_refused():
    @njit
    def fun(x, t, w):
        return x[0] * w + x[1] * t * w

    w = np.array([3.0])
    np.testing.assert_array_equal(jacobian(fun)([1.0, 2.0], T, w), np.transpose([np.full(4, 3.0), 3.0 * T]))
    assert jacobian(fun)([1.0, 2.0], np.empty(0), w).shape == (0, 2)
    with pytest.raises(ValueError, match="unable to broadcast argument"):
        jacobian(fun)([1.0, 2.0], T, np.ones(3))


def test_results_with_more_to_them_stay_duals():
    @njit
    def changed(x, t):
        y = x[0] * t + 1.0
        y[0] = x[1]
        return y

    @njit
    def two_ends(x, t):
        if t[0] > 1.0:
            return x[1] * t
        y = x[0] * t
        y += x[1]
        return y

    assert jacobian(changed)([1.0, 2.0], T[:2]).tolist() == [[0.0, 1.0], [1.25, 0.0]]
    assert jacobian(two_ends)([1.0, 2.0], T[:2]).tolist() == [[0.5, 1.0], [1.25, 1.0]]
    assert jacobian(two_ends)([1.0, 2.0], T[2:]).tolist() == [[0.0, 2.0], [0.0, 4.0]]
