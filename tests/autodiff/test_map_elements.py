"""Expressions of arrays of duals: layouts, broadcasting, writing in place, constants, other elements."""

import numpy as np
from numba import njit

from nbopt.autodiff.gradient import jacobian


@njit
def expressions(x, t, single, whole, truth, image):
    rows = x.reshape((2, 1)) * t + 1
    columns = image.T * x[0] - x[1]
    strided = t[::-2] / x[0]
    mixed = single * x[0] + whole * x[1] - truth * x[0] + 2 * t**2 - t ** x[1]
    mask = np.where((mixed > 0) & truth, mixed, 3.0)
    out = np.zeros(t.size)
    out += x[0]
    out *= t
    out -= mixed
    out /= x[1]
    out **= 2
    out += np.add(x[0], 0)
    scalar = np.maximum(t, x[1]) * (x[0] if t[0] > 0 else 1)
    parts = (rows.ravel(), columns.T.ravel(), strided, mixed, mask, out, scalar, -out, +t * x[0])
    return np.concatenate(parts)


def by_hand(a, b, t, single, whole, truth, image):
    """The same expressions, and their partials by a and b."""
    zero, one = np.zeros(4), np.ones(4)
    rows = [np.concatenate((a * t + 1, b * t + 1)), np.concatenate((t, zero)), np.concatenate((zero, t))]
    columns = [(image * a - b).ravel(), image.ravel(), -np.ones(8)]
    strided = [t[::-2] / a, -t[::-2] / a**2, np.zeros(2)]
    mixed = [
        single * a + whole * b - truth * a + 2 * t**2 - t**b,
        single - truth * one,
        whole - t**b * np.log(t),
    ]
    mask = (mixed[0] > 0) & truth
    chosen = [np.where(mask, mixed[0], 3.0), np.where(mask, mixed[1], 0.0), np.where(mask, mixed[2], 0.0)]
    inner = (a * t - mixed[0]) / b
    out = [inner**2 + a, 2 * inner * (t - mixed[1]) / b + 1, 2 * inner * (-mixed[2] - inner) / b]
    larger = t >= b
    top = [np.maximum(t, b) * a, np.maximum(t, b), np.where(larger, 0.0, a)]
    parts = [rows, columns, strided, mixed, chosen, out, top, [-v for v in out], [t * a, t, zero]]
    return [np.concatenate([part[k] for part in parts]) for k in range(3)]


def test_expressions():
    t = np.array([0.5, 1.25, 2.0, 4.0])
    single, whole = np.array([1.0, 0.5, 0.25, 2.0], np.float32), np.array([1, -2, 3, 4])
    truth, image = np.array([True, False, True, True]), np.arange(8.0).reshape((2, 4))
    args = (t, single, whole, truth, image)
    a, b = 0.75, 1.5
    values, by_a, by_b = by_hand(a, b, *args)
    np.testing.assert_allclose(expressions.py_func(np.array([a, b]), *args), values, rtol=1e-14)
    np.testing.assert_allclose(
        jacobian(expressions)([a, b], *args), np.stack((by_a, by_b), axis=1), rtol=1e-14
    )


def test_an_expression_of_floats_alone_is_numba_s():
    @njit
    def fun(x, t):
        weights = np.exp(-t) * t + 1
        return weights * x[0]

    t = np.array([0.5, 2.0])
    np.testing.assert_array_equal(jacobian(fun)([3.0], t)[:, 0], fun(np.ones(1), t))


def test_empty_arrays():
    @njit
    def fun(x, t):
        return x[0] * t + np.exp(x[0] * t)

    assert jacobian(fun)([1.0], np.empty(0)).shape == (0, 1)
