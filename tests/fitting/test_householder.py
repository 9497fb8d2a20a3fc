"""The pivoted QR factorization against NumPy's."""

import numpy as np
import pytest

from nbopt.fitting.householder import factor, solve_transposed, solve_upper


def factored(A, b):
    m, n = A.shape
    order, R, b = np.arange(n), np.zeros((n, n)), b.copy()
    factor(np.array(A.T, order="C"), n, b, order, R, np.empty(n), np.empty(n))
    return order, np.triu(R)[: min(m, n)], b


@pytest.mark.parametrize("m, n", [(5, 1), (3, 3), (40, 5), (100, 17), (3, 5)])
def test_it_is_a_factorization_with_falling_diagonal(m, n):
    rng = np.random.default_rng(m * n)
    A = rng.normal(size=(m, n)) * 10.0 ** rng.integers(-6, 6, n)
    b = rng.normal(size=m)
    order, R, c = factored(A, b)
    np.testing.assert_allclose(R.T @ R, A[:, order].T @ A[:, order], rtol=1e-12, atol=1e-13 * R[0, 0] ** 2)
    np.testing.assert_allclose(
        R.T @ c[: R.shape[0]],
        A[:, order].T @ b,
        rtol=1e-9,
        atol=1e-12 * np.linalg.norm(A, axis=0)[order].max(),
    )
    np.testing.assert_allclose(np.linalg.norm(c), np.linalg.norm(b))
    diagonal = np.abs(np.diag(R))
    assert (diagonal[1:] <= diagonal[:-1] * (1 + 1e-12)).all()


def test_equal_columns_leave_a_zero_row():
    A = np.ones((4, 2))
    _, R, _ = factored(A, np.arange(4.0))
    assert abs(R[1, 1]) <= 1e-15


def test_a_matrix_of_zeros_is_left_alone():
    _, R, b = factored(np.zeros((4, 2)), np.arange(4.0))
    assert not R.any()
    np.testing.assert_array_equal(b, np.arange(4.0))


def test_nearly_dependent_columns_keep_their_digits():
    rng = np.random.default_rng(3)
    A = rng.normal(size=(30, 4))
    A[:, 3] = A[:, 0] + 1e-9 * rng.normal(size=30)
    _, R, _ = factored(A, A[:, 0])
    np.testing.assert_allclose(
        np.abs(np.prod(np.diag(R))), np.abs(np.prod(np.diag(np.linalg.qr(A)[1]))), rtol=1e-5
    )


def test_triangular_systems_are_solved():
    rng = np.random.default_rng(0)
    R = np.triu(rng.normal(size=(6, 6))) + 3 * np.eye(6)
    z = rng.normal(size=6)
    x, y = z.copy(), z.copy()
    solve_upper(R, 6, x)
    solve_transposed(R, 6, y)
    np.testing.assert_allclose(R @ x, z)
    np.testing.assert_allclose(R.T @ y, z)
