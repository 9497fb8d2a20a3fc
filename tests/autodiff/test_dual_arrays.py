"""Functions of arrays: twenty in NumPy style against mpmath, all others against NumPy and differences."""

import math

import numpy as np
import pytest
from numba import njit

from nbopt.autodiff.finite_differences import Differences
from nbopt.autodiff.forward import jacobian_entry
from nbopt.autodiff.gradient import value_and_grad

T = np.linspace(0.25, 3.0, 12)
Y = np.cos(T) + 1.5
A = np.array([[2.0, 0.5, 0.1], [0.3, 1.5, 0.2], [0.1, 0.4, 1.0]])


def exponential(x, t, y):
    return np.sum((x[0] * np.exp(-x[1] * t) + x[2] - y) ** 2)


def gaussian(x, t, y):
    return x[0] * np.exp(-0.5 * ((t - x[1]) / x[2]) ** 2) + x[3] + x[4] * t - y


def lorentzian(x, t, y):
    return x[0] / (1.0 + ((t - x[1]) / x[2]) ** 2) - y


def logistic(x, t, y):
    return (x[0] / (1.0 + np.exp(-x[1] * (t - x[2]))) - y) / np.sqrt(y)


def michaelis_menten(x, t, y):
    return np.mean(np.square(x[0] * t / (x[1] + t) - y))


def power(x, t, y):
    return x[0] * t ** x[1] + np.power(x[2], t) - y


def damped_oscillation(x, t, y):
    return np.exp(-x[0] * t) * (x[1] * np.cos(x[2] * t) + x[3] * np.sin(x[2] * t)) - y


def soft_l1(x, t, y):
    r = x[0] + x[1] * t - y
    return np.sum(2.0 * (np.sqrt(1.0 + r * r) - 1.0))


def cauchy(x, t, y):
    r = (x[0] * np.tanh(x[1] * t) - y) / x[2]
    return np.log1p(r**2).sum()


def quadratic_form(x, t, y):
    return x @ np.dot(A_GLOBAL, x) + np.dot(x, x) * 2 - x.dot(A_GLOBAL @ x)


def whitened(x, t, y):
    r = x * x - t[: x.size]
    z = A_GLOBAL @ r
    return z - r @ A_GLOBAL


def slices(x, t, y):
    return np.concatenate((x[1:] - x[:-1] ** 2, np.exp(x[::-1]), t[:1] * x[0]))


def temporaries(x, t, y):
    out = np.zeros(t.size)
    weights = np.ones_like(t)
    last = np.empty(2)
    for i in range(t.size):
        weights[i] += x[1] * t[i]
        out[i] = x[0] * t[i] / weights[i]
    last[0] = out[3]
    last[1] = 1.0
    out[1] = last[0] * x[2] + last[1]
    rest = out[5:]
    rest -= y[5:] * x[0]
    return out


def broadcast(x, t, y):
    table = np.exp(-x.reshape((3, 1)) * t) + x.reshape((3, 1)) * np.ones((1, 12))
    return np.sum(table * y) / table.size


def polynomial(x, t, y):
    p = np.zeros_like(t)
    for c in x:
        p = p * t + c
    return p - y


def poisson(x, t, y):
    rate = x[0] * np.exp(x[1] * t) + np.abs(x[2])
    return np.sum(rate - y * np.log(rate))


def clipped(x, t, y):
    m = np.maximum(x[0] * t, x[1]) - np.minimum(x[2], t * t)
    return np.where(t > 1.0, m, x[0] * y) + np.where(m < 1.0, x[1], m)


def angles(x, t, y):
    return (
        np.arctan2(x[0] * np.sin(t), x[1] + np.cos(t))
        + np.hypot(x[2], t)
        + np.arctan(x[0] * t) * np.logaddexp(x[1], t)
    )


def softmax(x, t, y):
    e = np.exp(x)
    p = e / e.sum()
    return p * np.log(p) + p**2 - 2.0**-p


def stretched(x, t, y):
    return (
        x[0] * np.exp(-((t / x[1]) ** x[2])) - np.cbrt(x[0]) * np.expm1(-t) + np.sinh(x[2] * t) / np.cosh(t)
    )


A_GLOBAL = A
CASES = [
    (exponential, (2.0, 0.7, 1.1)),
    (gaussian, (2.0, 1.3, 0.7, 0.2, -0.3)),
    (lorentzian, (2.0, 1.3, 0.7)),
    (logistic, (2.0, 1.3, 0.7)),
    (michaelis_menten, (2.0, 1.3)),
    (power, (2.0, 1.3, 0.7)),
    (damped_oscillation, (0.3, 1.3, 2.7, 0.4)),
    (soft_l1, (0.3, 1.3)),
    (cauchy, (2.0, 1.3, 0.7)),
    (quadratic_form, (0.3, 1.3, -0.7)),
    (whitened, (0.3, 1.3, -0.7)),
    (slices, (0.3, 1.3, -0.7)),
    (temporaries, (0.3, 1.3, -0.7)),
    (broadcast, (0.3, 1.3, 0.7)),
    (polynomial, (0.3, 1.3, 0.7, -2.0)),
    (poisson, (0.3, 0.4, -0.7)),
    (clipped, (0.9, 1.3, 0.7)),
    (angles, (0.9, 1.3, 0.7)),
    (softmax, (0.9, 1.3, 0.7, -0.2)),
    (stretched, (0.9, 1.3, 0.7)),
]


def evaluate(fun, size, x, *args):
    """Return values and Jacobian; nothing is compiled for floats."""
    write = njit(jacobian_entry(njit(fun), len(x), njit(lambda data: data)))
    values, slopes = np.empty(size), np.empty((size, len(x)))
    write(np.array(x), values, slopes, args)
    return values, slopes


@pytest.mark.parametrize(("fun", "x"), CASES, ids=lambda a: getattr(a, "__name__", ""))
def test_numpy_style_against_mpmath(fun, x):
    from multiprecision import derivatives

    values, expected = derivatives(fun, x, T, Y)
    if values.ndim:
        found, slopes = evaluate(fun, values.size, x, T, Y)
    else:
        found, slopes = value_and_grad(njit(fun))(x, T, Y)
    np.testing.assert_allclose(found, values, rtol=1e-13, atol=1e-14)
    # A partial that is a difference of larger terms is as good as these.
    np.testing.assert_allclose(slopes, expected, rtol=1e-14, atol=1e-15 * np.abs(expected).max())


def test_by_hand():
    @njit
    def fun(x, t):
        return np.sum(x[0] * t**2 + np.exp(x[1] * t))

    f, g = value_and_grad(fun)([2.0, 0.0], np.array([1.0, 2.0]))
    assert (f, g.tolist()) == (12.0, [5.0, 3.0])


def sums(x, t):
    m = x.reshape((3, 1)) * t
    rows = [np.sum(x), m.sum(), x.mean(), np.prod(x), np.var(x), x.std(), x.cumsum()[2], np.linalg.norm(m)]
    rows += [np.trace(m), np.nanmean(x), np.vdot(x, t[:3]), np.trapezoid(x, dx=0.5), np.trapezoid(x, t[:3])]
    rows += [np.trapezoid(t[:3], x), sum(x), np.max(x), np.sum(m, axis=0)[1], m.sum(axis=-1)[1], m.sum(1)[2]]
    return np.array(rows)


def products(x, t):
    m, n = x.reshape((3, 1)) * t[:3], np.ones((3, 2))
    dots = np.array([x @ t[:3], np.dot(t[:3], x), np.dot(x, n)[1]])
    return np.concatenate((m @ x, x @ m, np.dot(m, t[:3]), t[:3] @ m, (m @ n).ravel(), (m @ m)[2], dots))


def made(x, t):
    pair = np.array([x[0], 2.0])
    triple = np.array((x[1], 1.0, x[2]))
    square = np.array([[x[0], 1.0], [x[1], x[2]]])
    nested = np.array(((x[0], 1.0), (2.0, x[2])))
    listed = np.array([v * x[0] for v in t])
    copy = np.asarray(x, dtype=np.float64) + np.asarray([x[0], x[1], 1.0]) + x.astype(np.float64)
    full = np.full(2, x[0]) + np.full(2, 1.0)
    like = np.full_like(t, 0.5)
    like[0] = np.float64(x[2])
    ramp = np.linspace(0.0, x[1], 4)
    parts = (pair, triple, square.ravel(), nested.T.ravel(), listed, copy, full, like, ramp, np.zeros_like(x))
    return np.concatenate(parts)


def moved(x, t):
    index, mask = np.array([2, 0]), x > 0.5
    m = x.reshape((3, 1)) * x
    parts = (x[index], x[mask], np.flip(x), m.T[0], m[:, 1], m[1:, :2].flatten(), np.ravel(m))
    more = (np.interp(x, t, t * t), np.interp(t * 1.5 - 0.5, t, t * x[0]))
    last = (np.convolve(t, x, "full"), np.convolve(t, x, "same"), np.convolve(t, x, "valid"))
    return np.concatenate((*parts, *more, *last))


@pytest.mark.parametrize("fun", [sums, products, made, moved], ids=lambda f: f.__name__)
def test_functions_of_numpy_are_numpy_s_with_their_slopes(fun):
    x = np.array([0.7, 1.3, 0.4])
    expected, columns = fun(x, T), []
    for i, h in enumerate(Differences("3-point", 3).sizes(x)):
        up, down = x.copy(), x.copy()
        up[i] += h
        down[i] -= h
        columns.append((fun(up, T) - fun(down, T)) / (up[i] - down[i]))

    values, slopes = evaluate(fun, expected.size, x, T)
    np.testing.assert_allclose(values, expected, rtol=1e-14)
    np.testing.assert_allclose(slopes, np.stack(columns, axis=1), rtol=1e-7, atol=1e-8)


def test_nan_is_left_out_of_nansum():
    @njit
    def fun(x, t):
        return np.nansum(x[0] * t) + np.nanmean(x[1] * t)

    f, g = value_and_grad(fun)([2.0, 4.0], np.array([1.0, math.nan, 3.0]))
    assert (f, g.tolist()) == (16.0, [4.0, 2.0])


def test_searchsorted_and_argmax_are_by_value():
    @njit
    def fun(x, t):
        return t[np.searchsorted(t, x[0])] * x[1] + x[np.argmax(x)]

    f, g = value_and_grad(fun)([0.6, 5.0], np.array([0.0, 0.5, 1.0]))
    assert (f, g.tolist()) == (10.0, [0.0, 2.0])


def test_shapes_that_do_not_fit_are_refused():
    @njit
    def dot(x, t):
        return np.dot(x, t)

    @njit
    def add(x, t):
        return np.sum(x + t)

    for fun, message in ((dot, "incompatible array sizes"), (add, "unable to broadcast")):
        with pytest.raises(ValueError, match=message):
            value_and_grad(fun)([1.0, 2.0], np.ones(3))
