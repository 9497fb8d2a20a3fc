"""Linear systems of duals: derivatives by the formulas of matrix calculus."""

import numpy as np
import pytest
from numba import njit

from nbopt.autodiff.gradient import jacobian, value_and_grad

RNG = np.random.default_rng(3)
A, B, C = RNG.normal(size=(3, 3)), RNG.normal(size=(3, 3)), RNG.normal(size=3)
A[0, 0] = 0.0  # the first pivot: rows must be exchanged


@njit
def solutions(x, a, b, c):
    m = a + x[0] * b
    return np.concatenate((np.linalg.solve(m, c * x[1]), np.linalg.inv(m).ravel()))


def test_solve_and_inv():
    x, y = 0.3, 2.0
    m = A + x * B
    inverse = np.linalg.inv(m)
    slope = -inverse @ B @ inverse
    by_x = np.concatenate((slope @ C * y, slope.ravel()))
    by_y = np.concatenate((inverse @ C, np.zeros(9)))
    found = jacobian(solutions)([x, y], A, B, C)
    np.testing.assert_allclose(found, np.stack((by_x, by_y), axis=1), rtol=1e-12, atol=1e-13)


def test_det():
    @njit
    def det(x, a, b):
        return np.linalg.det(a + x[0] * b)

    f, g = value_and_grad(det)([0.3], A, B)
    m = A + 0.3 * B
    assert f == pytest.approx(np.linalg.det(m), rel=1e-13)
    assert g[0] == pytest.approx(np.linalg.det(m) * np.trace(np.linalg.solve(m, B)), rel=1e-12)
    assert value_and_grad(det)([0.0], np.zeros((2, 2)), np.ones((2, 2)))[0] == 0.0


def test_a_matrix_of_floats_and_what_numpy_refuses():
    @njit
    def solve(x, a, b):
        return np.sum(np.linalg.solve(a, b * x[0]))

    g = value_and_grad(solve)
    assert g([2.0], A, C)[1][0] == pytest.approx(np.linalg.solve(A, C).sum(), rel=1e-12)
    for a, b, message in (
        (np.zeros((2, 2)), np.ones(2), "singular"),
        (np.ones((2, 3)), np.ones(2), "must be square"),
        (np.ones((2, 2)), np.ones(3), "not dimensionally valid"),
    ):
        with pytest.raises(np.linalg.LinAlgError, match=message):
            g([1.0], a, b)
