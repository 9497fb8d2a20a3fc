"""The table of smooth functions: every derivative against mpmath, to 1e-14 relative."""

import math

import numpy as np
import pytest
from numba import njit

from nbopt.autodiff.derivatives import SMOOTH, digamma
from nbopt.autodiff.gradient import jacobian

REAL = [-30.0, -3.7, -1e-3, -1e-9, 1e-30, 0.4, 1.9, 25.0]
POSITIVE = [1e-9, 0.3, 1.2, 2.5, 41.0, 150.0]
ABOVE = [1 + 1e-9, 1.5, 40.0, 1e9]
UNIT = [-1 + 1e-9, -0.7, -1e-5, 0.2, 1 - 1e-9]


@njit
def on_reals(x):
    v = x[0]
    rows = [math.sin(v), math.cos(v), math.tan(v), math.atan(v), math.asinh(v), math.sinh(v), math.cosh(v)]
    rows += [math.exp(v), math.expm1(v), math.tanh(v), math.erf(v), math.fabs(v), abs(v)]
    rows += [math.radians(v), math.degrees(v), np.square(v), np.exp2(v), np.sin(v), np.cos(v), np.tan(v)]
    rows += [np.arctan(v), np.arcsinh(v), np.sinh(v), np.cosh(v), np.exp(v), np.expm1(v), np.tanh(v)]
    rows += [
        np.deg2rad(v),
        np.rad2deg(v),
        np.absolute(v),
        np.fabs(v),
        np.radians(v),
        np.degrees(v),
        np.sinc(v),
    ]
    return np.array(rows)


@njit
def on_positive(x):
    v = x[0]
    rows = [math.log(v), math.log2(v), math.log10(v), math.log1p(v), math.sqrt(v), math.gamma(v)]
    rows += [math.lgamma(v), np.reciprocal(v), np.cbrt(v), np.log(v), np.log2(v), np.log10(v), np.log1p(v)]
    rows += [np.sqrt(v)]
    return np.array(rows)


@njit
def above_one(x):
    return np.array([math.acosh(x[0]), np.arccosh(x[0])])


@njit
def on_unit(x):
    v = x[0]
    rows = [math.asin(v), math.acos(v), math.atanh(v), math.log1p(v), math.erfc(v)]
    rows += [np.arcsin(v), np.arccos(v), np.arctanh(v)]
    return np.array(rows)


@pytest.mark.parametrize(
    ("fun", "points"),
    [(on_reals, REAL), (on_positive, POSITIVE), (on_unit, UNIT), (above_one, ABOVE)],
    ids=["reals", "positive", "unit", "above_one"],
)
def test_derivatives_are_exact_to_rounding(fun, points):
    from multiprecision import derivatives

    rows = jacobian(fun)
    for v in points:
        _, expected = derivatives(fun, [v])
        np.testing.assert_allclose(rows([v]), expected, rtol=1e-14, atol=1e-300, err_msg=f"at {v}")


def test_every_function_of_the_table_is_tested():
    code = {name for f in (on_reals, on_positive, on_unit, above_one) for name in f.py_func.__code__.co_names}
    assert {f.__name__ for entry in SMOOTH for f in entry.functions} <= code


def test_derivatives_by_hand():
    at_half = dict(zip(("log", "sqrt"), jacobian(on_positive)([0.25])[[0, 4], 0], strict=True))
    assert at_half == {"log": 4.0, "sqrt": 1.0}
    assert jacobian(on_reals)([0.0])[:3, 0].tolist() == [1.0, 0.0, 1.0]


def test_poles_of_slopes_are_infinite_for_their_variable_only():
    @njit
    def fun(x):
        rows = [math.sqrt(x[0]), np.cbrt(x[0]), math.asin(1 + x[0]), math.acosh(1 + x[0]), x[0] ** 0.5]
        return np.array(rows)

    slopes = jacobian(fun)([0.0, 1.0])
    assert (slopes[:, 0] == math.inf).all() and (slopes[:, 1] == 0.0).all()


def test_tails_of_overflowed_arguments_are_flat():
    @njit
    def fun(x):
        big = math.exp(x[0] * x[1])
        rows = [1 / (1 + big), math.exp(-big), math.tanh(big), math.atan(big), math.erf(big), 1 / big]
        return np.array(rows)

    r = fun(np.array([800.0, 1.0]))
    assert r.tolist() == [0.0, 0.0, 1.0, math.pi / 2, 1.0, 0.0]
    assert (jacobian(fun)([800.0, 1.0]) == 0.0).all()


def test_digamma():
    assert digamma(1.0) == pytest.approx(-0.5772156649015329, rel=2e-15)
    assert digamma(0.5) == pytest.approx(-0.5772156649015329 - 2 * math.log(2), rel=1e-15)
    assert digamma(-0.5) == pytest.approx(digamma(0.5) + 2, rel=1e-14)
    assert math.isnan(digamma(-3.0)) and math.isnan(digamma(0.0))
