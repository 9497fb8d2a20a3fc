"""check_grad(): right and wrong derivatives, of compiled and Python functions, of numbers and arrays."""

import math

import numpy as np
import pytest
from numba import njit

from nbopt.autodiff.check_grad import GradientCheck, check_grad


def f(x, a):
    return a * x[0] ** 2 + math.sin(x[1])


def g(x, a):
    return np.array([2 * a * x[0], math.cos(x[1])])


def wrong(x, a):
    return np.array([2 * a * x[0], -math.cos(x[1])])


def line(x, t):
    return x[0] * np.exp(-x[1] * t)


def slopes(x, t):
    e = np.exp(-x[1] * t)
    return np.stack((e, -x[0] * t * e), axis=1)


X = [1.5, 0.5]


def test_compiled_functions_are_checked_exactly():
    compiled = njit(f)
    check = check_grad(compiled, njit(g), X, 3.0)
    assert isinstance(check, float) and check == 0.0 and check.method == "dual"
    check = check_grad(compiled, wrong, X, 3.0)
    assert check == pytest.approx(2 * math.cos(0.5)) and check.worst == (1,)
    assert check.given.tolist() == wrong(X, 3.0).tolist() and check.expected.tolist() == g(X, 3.0).tolist()


def test_python_functions_are_checked_by_differences():
    check = check_grad(f, g, X, 3.0)
    assert check < 1e-8 and check.method == "3-point"
    assert check_grad(f, wrong, X, 3.0) > 1.0


def test_functions_without_rules_are_checked_by_differences():
    fun = njit(lambda x: np.median(x) ** 2)
    check = check_grad(fun, lambda x: [0.0, 2 * x[1], 0.0], [1.0, 2.0, 3.0])
    assert check < 1e-8 and check.method == "3-point"


@pytest.mark.parametrize("compile_it", [False, True])
def test_jacobians(compile_it):
    t = np.array([0.0, 1.0, 2.0])
    check = check_grad(njit(line) if compile_it else line, slopes, X, t)
    assert check < 1e-8 and check.expected.shape == (3, 2)
    check = check_grad(line, lambda x, t: slopes(x, t) * [1.0, 2.0], X, t)
    assert check.worst[1] == 1


@pytest.mark.parametrize("compile_it", [False, True])
def test_functions_that_return_both(compile_it):
    def both(x):
        return x[0] ** 2 * x[1], np.array([2 * x[0] * x[1], x[0] ** 2])

    check = check_grad(njit(both) if compile_it else both, True, X)
    assert check < 1e-8 and check.method == ("dual" if compile_it else "3-point")


def test_x_is_not_changed():
    def fun(x):
        x[0] *= 2
        return x[0]

    x = np.array([1.0])
    assert check_grad(fun, lambda x: [2.0], x) < 1e-8 and x[0] == 1.0


def test_it_agrees_with_scipy():
    from scipy import optimize

    ours, theirs = check_grad(f, wrong, X, 3.0), optimize.check_grad(f, wrong, X, 3.0)
    assert float(ours) == pytest.approx(theirs, rel=1e-6)


def test_it_says_where_the_largest_difference_is():
    check = check_grad(njit(f), wrong, X, 3.0)
    assert str(check) == "distance 1.76; most at g[1]: given -0.877582562, expected 0.877582562 (dual)"
    check = GradientCheck(np.array([[0.0, math.nan]]), np.zeros((1, 2)), "dual")
    assert math.isnan(check) and str(check).startswith("distance nan; most at jac[0, 1]: given nan")


def test_bad_input_is_refused():
    with pytest.raises(TypeError, match="check_grad: fun=3 must be callable"):
        check_grad(3, g, X)
    with pytest.raises(TypeError, match="check_grad: jac=None must be callable or True"):
        check_grad(f, None, X)
    with pytest.raises(ValueError, match=r"check_grad: x has shape \(1, 2\)"):
        check_grad(f, g, [X])
    with pytest.raises(ValueError, match=r"the derivatives have shape \(1,\); here it must be \(2,\)"):
        check_grad(f, lambda x, a: [1.0], X, 3.0)
