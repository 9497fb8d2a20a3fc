"""What value_and_grad() and jacobian() refuse, and in which words."""

import numba
import numpy as np
import pytest
from numba import njit

from nbopt.autodiff.gradient import jacobian, value_and_grad
from nbopt.autodiff.not_differentiable import NotDifferentiable


def test_bad_input_is_refused():
    @njit
    def fun(x):
        return x[0]

    with pytest.raises(TypeError, match=r"value_and_grad: fun=.* must be compiled with numba.njit"):
        value_and_grad(fun.py_func)
    with pytest.raises(TypeError, match="jacobian: fun=3 must be compiled"):
        jacobian(3)
    for n in (0, -1, True, 1.5, "2"):
        with pytest.raises(ValueError, match=r"value_and_grad: n=.* must be an integer >= 1"):
            value_and_grad(fun, n)
    g = value_and_grad(fun, n=2)
    for x, shape in (
        ([1.0], r"\(1,\); with n=2"),
        (np.ones((2, 2)), r"\(2, 2\)"),
        (3.0, r"\(\)"),
        ([], r"\(0,\)"),
    ):
        with pytest.raises(ValueError, match=f"value_and_grad: x has shape {shape}"):
            g(x)
    with pytest.raises(TypeError, match="value_and_grad: x has dtype complex128; it must be real numbers"):
        g([1j, 2.0])
    with pytest.raises(ValueError, match="another number of elements"):
        njit(lambda x: g(x))(np.ones(3))


def test_results_of_the_wrong_kind_are_refused():
    @njit
    def line(x):
        return 2 * x

    @njit
    def nothing(x):
        x[0] = 1.0

    @njit
    def number(x):
        return x[0]

    @njit
    def matrix(x):
        return np.outer(x, x)

    with pytest.raises(
        TypeError, match=r"value_and_grad: fun returned array\(float64, 1d, C\); it must return a real"
    ):
        value_and_grad(line)([1.0, 2.0])
    with pytest.raises(TypeError, match="value_and_grad: fun returned None"):
        value_and_grad(nothing)([1.0])
    with pytest.raises(TypeError, match="jacobian: fun returned float64; it must return a 1-D array"):
        jacobian(number)([1.0])
    with pytest.raises(TypeError, match=r"jacobian: fun returned array\(float64, 2d, C\)"):
        jacobian(matrix)([1.0])


def test_what_has_no_rule_is_named_with_its_line():
    @njit
    def inner(x):
        return np.median(x)  # this line

    @njit
    def fun(x):
        return inner(x) * 2

    with pytest.raises(NotDifferentiable, match=r"`return np.median\(x\)  # this line`: no rule for median"):
        value_and_grad(fun)([1.0, 2.0])
    with pytest.raises(numba.core.errors.TypingError, match="median"):
        njit(lambda x: value_and_grad_of_fun(x))(np.ones(2))


@njit
def _median(x):
    return np.median(x)


value_and_grad_of_fun = value_and_grad(_median)


def test_a_function_that_is_no_good_for_floats_either_keeps_its_own_error():
    @njit
    def fun(x):
        return x[0] + undefined_name  # noqa: F821

    with pytest.raises(numba.core.errors.TypingError, match="undefined_name"):
        value_and_grad(fun)([1.0])
