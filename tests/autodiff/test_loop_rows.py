"""Rows that a loop writes: found backwards, they are what duals that are carried along give."""

import math

import numba
import numpy as np
import pytest
from numba import njit

from nbopt.autodiff import loop_rows
from nbopt.autodiff.forward import jacobian_entry
from nbopt.autodiff.gradient import jacobian

T = np.array([0.5, 1.25, 2.0, 4.0])
X = np.array([0.75, 1.5, 2.5, 0.25, 3.0])  # five: four partials would be carried along
DEGREE = 3


def horner(x, t):
    out = np.empty(t.size)
    for i in range(t.size):
        p = x[x.size - 1]
        for k in range(len(x) - 2, -1, -1):
            p = p * t[i] + x[k]
        out[i] = p
    return out


def peaks(x, t):
    out, a = np.zeros(t.size + 1), x[-1]
    for i in range(t.shape[0]):
        u = (t[i] - x[1]) / x[2]
        s = 0
        for k in range(DEGREE):
            if k % 2 == 0:
                s += x[3 * k % 4] * math.exp(-0.5 * u * u + k)
            else:
                s -= math.pi * (x[k] * i) ** 2 / a * (x[0] * x[0])
        out[i] = s
    return out


def constant(x, t):
    out = np.empty(t.size)
    scale = 2.0 * x[1]
    for i in range(t.size):
        out[i] = scale
    return out


def kept(fun, **options):
    """Return a function whose result stays an array of duals."""
    inner = njit(**options)(fun)

    @njit
    def keep(x, *data):
        y = inner(x, *data)
        return y[::1]

    return keep


@pytest.fixture
def written(monkeypatch):
    """Return the expressions of rows that were found backwards."""
    found, insert = [], loop_rows._insert
    monkeypatch.setattr(loop_rows, "_insert", lambda *args: found.append(args[2]) or insert(*args))
    return found


@pytest.mark.parametrize("fun", [horner, peaks, constant])
def test_rows_are_those_of_duals(fun, written):
    compiled, keep = njit(fun), jacobian(kept(fun))
    entry = njit(jacobian_entry(compiled, 5, njit(lambda data: data)))
    for t in (T, T[:0], np.arange(8)[::2]):
        r = np.full(compiled(X, t).size, np.nan)
        jac = np.full((r.size, 5), np.nan)
        entry(X, r, jac, (t,))
        np.testing.assert_array_equal(r, compiled(X, t))
        np.testing.assert_allclose(jac, keep(X, t), rtol=1e-14, atol=1e-16)
    np.testing.assert_array_equal(jacobian(compiled)(X, t), jac)
    assert len(written) == 3  # for two types of data, and without values


def test_poles_have_the_derivatives_of_duals(written):
    def fun(x, t):
        out = np.empty(t.size)
        for i in range(t.size):
            out[i] = x[0] * math.sqrt(t[i] - x[1]) + math.exp(-x[2] / (t[i] - x[3]) ** 2)
        return out

    x = np.array([1.0, 0.5, 0.25, 2.0, 3.0])
    compiled, as_duals = njit(error_model="numpy")(fun), kept(fun, error_model="numpy")
    for t in (T, np.array([0.25, 1.0]), np.array([math.nan, 3.0, math.inf])):
        np.testing.assert_allclose(jacobian(compiled)(x, t), jacobian(as_duals)(x, t), rtol=1e-14)
    with pytest.raises(ZeroDivisionError):
        jacobian(njit(fun))(x, T)
    assert len(written) == 2


def test_infinite_data_of_a_polynomial_leave_other_derivatives_alone():
    assert jacobian(njit(horner))([2.0, 3.0], np.array([1.0, math.inf])).tolist() == [[1, 1], [1, math.inf]]


def test_what_seems_variables_but_is_not(written):
    @njit
    def changed(x, t):
        x[0] = x[1] * x[2]
        return line(x, t)

    @njit
    def sliced(x, t):
        return line(x[1:4], t)

    @njit
    def line(x, t):
        out = np.empty(t.size)
        for i in range(t.size):
            out[i] = x[0] + t[i] * x[x.size - 1]
        return out

    zero, one = 0.0 * T, np.ones(4)
    for fun, expected in (
        (changed, (zero, X[2] * one, X[1] * one, zero, T)),
        (sliced, (zero, one, zero, T, zero)),
        (line, (one, zero, zero, zero, T)),
    ):
        np.testing.assert_array_equal(jacobian(fun)(X, T), np.transpose(expected))
    assert len(written) == 1  # for all of them


def test_parameters_by_name(written):
    @njit
    def model(t, a, b, c):
        out = np.empty(t.size)
        for i in numba.prange(t.size):
            out[i] = a * t[i] + b * math.exp(c * t[i])
        return out

    @njit
    def fun(x, t):
        return model(t, x[0], x[1], 2.0 * x[0])

    @njit
    def straight(x, t):
        return model(t, x[0], x[1], x[2])

    e, zero = np.exp(2.0 * X[0] * T), 0.0 * T
    expected = T + 2.0 * X[1] * T * e, e, zero, zero, zero
    np.testing.assert_allclose(jacobian(fun)(X, T), np.transpose(expected), rtol=1e-15)
    e = np.exp(X[2] * T)
    expected = T, e, X[1] * T * e, zero, zero
    np.testing.assert_allclose(jacobian(straight)(X, T), np.transpose(expected), rtol=1e-15)
    assert len(written) == 1


def test_data_of_other_types_are_left_to_duals(written):
    @njit
    def fun(x, t):
        out = np.empty(len(t))
        for i in range(len(t)):
            out[i] = x[0] * t[i] + x[1]
        return out

    assert jacobian(fun)(X[:2], (0.5, 2.0)).tolist() == [[0.5, 1.0], [2.0, 1.0]]
    assert jacobian(fun)(X[:2], T[:2]).tolist() == [[0.5, 1.0], [1.25, 1.0]]
    assert len(written) == 2


def joined_floats(x, t):
    out = np.empty(t.size)
    for i in range(t.size):
        u = t[i]
        for _ in range(2):
            u = u * t[i] + 0.1  # float64 from the first product on, whatever t is
        out[i] = x[0] * u + x[1] * x[2] * x[3] * x[4]
    return out


def joined_counts(x, t):
    out = np.empty(t.size)
    for i in range(t.size):
        a, b = 10, i + 10
        if x.size > 50:
            a = b = 2.5  # never, but so a and b are floats
        out[i] = x[0] * a ** (20 + i) + x[1] * x[2] * x[3] * x[4] * b**20
    return out


def joined_powers(x, t):
    out = np.empty(t.size)
    for i in range(t.size):
        s, p = 0, 1
        for k in range(x.size):
            s += x[k] * p
            p *= t[i]  # once more than needed
        out[i] = s
    return out


def wraps(x, t):
    out = np.empty(t.size)
    for i in range(t.size):
        s = 1
        for _ in range(4):
            s = (s * 6364136223846793005 + 1442695040888963407) % 1000003
        out[i] = x[0] * s * t[i] + x[1] * x[2] * x[3] * x[4]
    return out


def limits(x, t):
    out = np.empty(t.size)
    for i in range(t.size):
        best = max(t[i], 1, i) - min(i, 2)
        out[i] = x[0] * best + max(x[1], 0, t[i]) * x[2] * x[3] + max(x[4], 1)
    return out


def pairs(x, t):
    out = np.zeros(t.size + 1)
    for i in range(t.size - 1):
        s = 0.0
        k = 0
        while k < x.size - 1:
            for j in range(k, x.size):
                if not (j + k) % 2:
                    continue
                s += x[k] * x[-1 - j] * t[i] ** k
            k += 1
        out[i] = s
    return out


SINGLE = (1.1 * T).astype(np.float32)
WHOLE = np.array([3, 70000, 5000000, 2])
BYTES = np.array([3, 200, 255, 0], np.uint8)


@pytest.mark.parametrize(
    ("fun", "data", "found"),
    [
        (joined_floats, (T, SINGLE), 2),
        (joined_counts, (T,), 0),
        (joined_powers, (T, WHOLE), 2),
        (wraps, (T,), 0),
        (limits, (T, BYTES), 2),
        (pairs, (T,), 1),
    ],
)
def test_odd_loops_have_the_values_of_floats_and_the_rows_of_duals(fun, data, found, written):
    compiled, keep = njit(fun), jacobian(kept(fun))
    entry = njit(jacobian_entry(compiled, 5, njit(lambda data: data)))
    for t in data:
        r = compiled(X, t)
        jac = np.full((r.size, 5), np.nan)
        entry(X, values := np.full(r.size, np.nan), jac, (t,))
        np.testing.assert_allclose(values, r, rtol=1e-15)
        np.testing.assert_allclose(jac, keep(X, t), rtol=1e-13)
    assert len(written) == found
