"""The rules of arithmetic, choices and conversions: against mpmath, by hand, and at the edges."""

import math

import numpy as np
import pytest
from numba import njit

from nbopt.autodiff.gradient import jacobian, value_and_grad
from nbopt.autodiff.rules import IN_PLACE, RULES


@njit
def arithmetic(x):
    a, b = x[0], x[1]
    s = a
    s += b
    s *= a
    s -= 2
    s /= b
    s **= 2
    n = int(b)
    rows = [a + b, a + 2, 2 + a, a - b, a - 2, 2 - a, a * b, a * 3, 3 * a, a / b, a / 3, 3 / a, -a, +a, s]
    rows += [
        a**2,
        a**-3,
        a**0,
        a**7,
        a**n,
        a**-n,
        a**2.5,
        a**-0.3,
        a**b,
        2**a,
        2.5**b,
        pow(a, b),
        math.pow(a, 2),
    ]
    rows += [np.power(a, b), np.power(a, 3), math.hypot(a, b), np.hypot(a, 2.0)]
    rows += [math.atan2(a, b), math.atan2(a, 2.0), math.atan2(-2.0, b), np.arctan2(-a, b), np.logaddexp(a, b)]
    rows += [np.logaddexp(a, 0.5), np.logaddexp2(a, b), math.copysign(a, -b), np.copysign(-a, b)]
    rows += [np.add(a, b), np.subtract(a, b), np.multiply(a, b), np.true_divide(a, b), np.divide(a, 2)]
    rows += [np.negative(a), np.positive(a), np.sinc(a), np.sinc(b / 8), np.sinc(a / 99)]
    return np.array(rows)


@njit
def choices(x):
    a, b = x[0], x[1]
    rows = [
        max(a, b),
        min(a, b),
        max(a, b, 100.0),
        min(a, 1, b),
        max(2, a),
        np.maximum(a, b),
        np.minimum(a, b),
    ]
    rows += [np.fmax(a, 1.0), np.fmin(a, 1.0), np.clip(a, 0.0, 1.0), np.clip(a, b, 9.0), np.clip(1.5, a, b)]
    return np.array(rows)


@pytest.mark.parametrize("x", [(1.7, 2.3), (0.31, 4.9), (12.0, 3.5)])
def test_arithmetic_against_mpmath(x):
    from multiprecision import derivatives

    _, expected = derivatives(arithmetic, x)
    np.testing.assert_allclose(jacobian(arithmetic)(x), expected, rtol=1e-14, atol=1e-300)


def test_arithmetic_by_hand():
    rows = jacobian(arithmetic)([2.0, 4.0])
    by_hand = [(1, 1), (1, 0), (1, 0), (1, -1), (1, 0), (-1, 0), (4, 2), (3, 0), (3, 0), (0.25, -0.125)]
    assert rows[: len(by_hand)].tolist() == [list(map(float, row)) for row in by_hand]
    power = rows[15:19].tolist()  # a**2, a**-3, a**0, a**7
    assert power == [[4.0, 0.0], [-3 / 16, 0.0], [0.0, 0.0], [7 * 64.0, 0.0]]


@pytest.mark.parametrize(
    ("x", "expected"),
    [
        ((0.5, 0.7), ["b", "a", "", "a", "", "b", "a", "", "a", "a", "b", "b"]),
        ((3.0, 2.0), ["a", "b", "", "", "a", "a", "b", "a", "", "", "a", "b"]),
        # Ties: the first operand, for clip the one that is clipped.
        ((1.0, 1.0), ["a", "a", "", "a", "", "a", "a", "a", "a", "a", "a", "b"]),
    ],
)
def test_choices_take_the_slope_of_what_they_take(x, expected):
    slopes = {"a": [1.0, 0.0], "b": [0.0, 1.0], "": [0.0, 0.0]}
    assert jacobian(choices)(x).tolist() == [slopes[name] for name in expected]


def test_choices_with_nan_are_those_of_floats():
    x = np.array([math.nan, 2.0])
    with_nan = jacobian(choices)(x)
    names = ["max", "min", "max3", "min3", "max2", "maximum", "minimum", "fmax", "fmin"]
    slopes = dict(zip(names, with_nan.tolist(), strict=False))
    assert slopes["maximum"] == slopes["minimum"] == [1.0, 0.0]  # the NaN is taken
    assert slopes["fmax"] == slopes["fmin"] == [0.0, 0.0]  # the constant is taken
    assert slopes["max"] == slopes["min"] == [1.0, 0.0]  # Python's: the first, as no comparison holds


def test_comparisons_are_by_value():
    @njit
    def fun(x):
        a, b, one, two = x[0], x[1], 1, 2
        marks = [a < b, a <= b, a > b, a >= b, a == b, a != b, a < 1, two >= a, one == a, np.less(a, b)]
        marks += [np.greater_equal(a, 1.0), np.not_equal(a, b), np.isnan(a), math.isinf(b), np.isfinite(a)]
        marks += [np.signbit(a), a > 0 and not b > 0, math.isnan(a)]
        out = np.zeros(len(marks))
        for i, mark in enumerate(marks):
            out[i] = a if mark else b
        return out

    for x in ((1.0, 2.0), (2.0, 1.0), (1.0, 1.0), (-1.0, math.inf), (math.nan, 1.0)):
        line = np.array(x)
        values, chosen = fun(line), jacobian(fun)(x)[:, 0] == 1.0
        if x[0] == x[1]:
            assert chosen.tolist()[:6] == [False, True, False, True, True, False]
        else:
            np.testing.assert_array_equal(chosen, (values == x[0]) | np.isnan(values))


def test_steps_are_flat_and_remainders_are_not():
    @njit
    def fun(x):
        a, b = x[0], x[1]
        rows = [np.floor(a), np.ceil(a), np.trunc(a), np.rint(a), np.sign(a), a // b, np.floor_divide(a, b)]
        rows += [a % b, np.mod(a, b), np.remainder(a, 2.0), np.fmod(a, b), np.fmod(a, 2.0), 7.5 % b]
        return np.array(rows)

    for a in (7.25, -7.25):
        x = np.array([a, 2.0])
        rows, values = jacobian(fun)(x), fun(x)
        assert (rows[:7] == 0.0).all()
        floor = math.floor(a / 2)
        assert rows[7:9].tolist() == [[1.0, -floor]] * 2 and rows[9].tolist() == [1.0, 0.0]
        assert rows[10].tolist() == [1.0, -math.trunc(a / 2)] and rows[11].tolist() == [1.0, 0.0]
        assert rows[12].tolist() == [0.0, -3.0]
        assert values[7] == a % 2.0


def test_powers_at_the_edges():
    @njit
    def fun(x, n, p):
        a, b = x[0], x[1]
        return np.array([a**0, a**n, a**p, a**b, a**2, a ** (b + 1), a**-1.0])

    rows = jacobian(fun)([0.0, 0.0], 0, 0.0)
    assert (
        rows[0].tolist() == rows[1].tolist() == rows[2].tolist() == [0.0, 0.0]
    )  # 0**0 = 1, flat in the base
    assert rows[3].tolist() == [0.0, -math.inf]  # 0**b falls from 1 at b = 0 to 0
    assert rows[4].tolist() == [0.0, 0.0] and rows[5].tolist() == [1.0, 0.0]
    assert rows[6, 0] == -math.inf
    rows = jacobian(fun)([-2.0, 3.0], 3, 2.0)
    assert rows[1].tolist() == [12.0, 0.0] and rows[2].tolist() == [-4.0, 0.0]
    assert rows[3, 0] == 12.0 and math.isnan(rows[3, 1])  # the logarithm of a negative base
    assert rows[4].tolist() == [-4.0, 0.0]


def test_kinks_at_zero_are_flat():
    @njit
    def fun(x):
        rows = [abs(x[0]), math.fabs(x[0]), np.hypot(x[0], x[1]), math.copysign(x[0], 1.0), abs(-x[1])]
        return np.array(rows)

    assert (jacobian(fun)([0.0, 0.0]) == 0.0).all()


def test_division_by_zero_raises_where_the_user_s_function_does():
    @njit
    def raising(x):
        return x[0] / x[1]

    @njit(error_model="numpy")
    def infinite(x):
        return x[0] / x[1]

    with pytest.raises(ZeroDivisionError):
        value_and_grad(raising)([1.0, 0.0])
    f, g = value_and_grad(infinite)([1.0, 0.0])
    assert f == math.inf and not np.isfinite(g).any()


def test_every_function_has_one_rule():
    functions = [function for rule in RULES for function in rule.functions]
    assert len(functions) == len(set(functions))
    assert set(IN_PLACE.values()) <= set(functions)
