"""The compiled loops behind the derivatives, as the solvers use them."""

import numpy as np
import pytest
from numba import njit, types

from nbopt.autodiff.dual import DualType
from nbopt.autodiff.forward import (
    GRADIENT,
    JACOBIAN,
    MANY,
    check_result,
    gradient_entry,
    is_single,
    jacobian_entry,
    misfit_entry,
    result_type,
    width_for,
)
from nbopt.autodiff.not_differentiable import NotDifferentiable

LINE = types.Array(types.float64, 1, "C")


@njit
def load(data):
    """Return the arguments that a solver keeps behind ``data``."""
    return (data,)


@njit
def weighted(x, w):
    return np.sum(w * x * x)


@njit
def residuals(x, w):
    return w * x - 1.0


def test_widths_are_those_of_registers():
    assert [width_for(n) for n in (1, 2, 3, 4, 5, 8, 9, 16, 17, 1000, MANY, None)] == [
        1, 2, 4, 4, 8, 8, 16, 16, 16, 16, 16, 8
    ]  # fmt: skip
    assert is_single(16) and not is_single(17) and not is_single(MANY) and not is_single(None)


@pytest.mark.parametrize("n", [3, 20, MANY, None])
def test_gradient_entry(n):
    size = n if n and n > 0 else 19
    entry = njit(gradient_entry(weighted, n, load))
    x, w, g = np.linspace(-1, 1, size), np.arange(1.0, size + 1), np.full(size, np.nan)
    assert entry(x, g, w) == pytest.approx(np.sum(w * x * x), rel=1e-14)
    np.testing.assert_allclose(g, 2 * w * x, rtol=1e-15)


@pytest.mark.parametrize("n", [3, 20, MANY, None])
def test_jacobian_entry(n):
    size = n if n and n > 0 else 19
    entry = njit(jacobian_entry(residuals, n, load))
    x, w = np.linspace(-1, 1, size), np.arange(1.0, size + 1)
    r, jac = np.full(size, np.nan), np.full((size, size), np.nan)
    entry(x, r, jac, w)
    np.testing.assert_array_equal(r, w * x - 1.0)
    np.testing.assert_array_equal(jac, np.diag(w))
    with pytest.raises(ValueError, match="another number of values than before"):
        entry(x, np.empty(size + 1), jac, w)


@pytest.mark.parametrize("n", [3, 16])
def test_misfit_entry(n):
    @njit
    def curve(x, t, y):
        return t * x[0] + x[1] ** 2

    entry, given = njit(misfit_entry(curve, n, njit(lambda data: data))), (np.arange(7.0), np.ones(7))
    x, r, jac = np.full(n, 3.0), np.full(7, np.nan), np.full((7, n), np.nan)
    entry(x, r, jac, given)
    np.testing.assert_array_equal(r, 3.0 * given[0] + 8.0)
    np.testing.assert_array_equal(jac[:, :2], np.array([given[0], np.full(7, 6.0)]).T)
    assert not jac[:, 2:].any()
    with pytest.raises(ValueError, match="another number of values than before"):
        entry(x, np.empty(8), jac, given)


def test_result_type():
    assert result_type(weighted, (LINE,), 3, "minimize") == DualType(4)
    assert result_type(residuals, (LINE,), None, "minimize") == types.Array(DualType(8), 1, "C")

    @njit
    def median(x):
        return np.median(x)

    with pytest.raises(NotDifferentiable, match=r"minimize: median cannot .* `return np.median\(x\)`"):
        result_type(median, (), 3, "minimize")


def test_check_result():
    number, line = DualType(2), types.Array(DualType(2), 1, "C")
    for kind in (number, types.float64, types.int64, types.boolean):
        check_result(kind, GRADIENT, "f")
    for kind in (line, types.UniTuple(number, 2), types.Tuple((number, types.int64)), types.List(number)):
        check_result(kind, JACOBIAN, "f")
    for kind, what in (
        (line, GRADIENT),
        (types.none, GRADIENT),
        (types.complex128, GRADIENT),
        (number, JACOBIAN),
    ):
        with pytest.raises(TypeError, match="f: fun returned"):
            check_result(kind, what, "f")
    with pytest.raises(TypeError, match=r"fun returned array\(float64, 2d, C\); it must return a 1-D array"):
        check_result(types.Array(number, 2, "C"), JACOBIAN, "f")
