"""The Levenberg-Marquardt step: its length, its optimality, its damping."""

import math

import numpy as np
import pytest

from nbopt.fitting.damped_step import damped_step


def step(A, b, D, delta, damping=0.0):
    n = A.shape[1]
    order = np.arange(n)
    Q, R = np.linalg.qr(A)
    rows = R.shape[0]
    R = np.vstack([R, np.zeros((n - rows, n))])
    s = np.empty(n)
    scratch = np.empty((n, n)), np.empty(n), np.empty(n)
    damping = damped_step(R, rows, Q.T @ b, order, n, D, delta, damping, s, *scratch)
    return damping, s


@pytest.mark.parametrize("n", [1, 2, 5, 12])
@pytest.mark.parametrize("share", [1e-6, 0.1, 0.5, 0.85])
def test_the_length_is_the_radius_and_the_equations_hold(n, share):
    rng = np.random.default_rng(n)
    A, b, D = rng.normal(size=(20, n)), rng.normal(size=20), 10.0 ** rng.uniform(-3, 3, n)
    free = -np.linalg.lstsq(A, b)[0]
    delta = share * np.linalg.norm(D * free)
    damping, s = step(A, b, D, delta)
    assert damping > 0.0
    assert abs(np.linalg.norm(D * s) - delta) <= 0.1 * delta * (1 + 1e-9)
    residual = (A.T @ (A @ s + b) + damping * D**2 * s) / D
    assert np.abs(residual).max() <= 1e-9 * np.abs(A.T @ b / D).max()


def test_a_step_that_fits_is_not_damped():
    rng = np.random.default_rng(1)
    A, b = rng.normal(size=(9, 3)), rng.normal(size=9)
    free = -np.linalg.lstsq(A, b)[0]
    for delta in (np.linalg.norm(free), math.inf):
        damping, s = step(A, b, np.ones(3), delta)
        assert damping == 0.0
        np.testing.assert_allclose(s, free)


def test_fewer_rows_than_variables():
    rng = np.random.default_rng(2)
    A, b = rng.normal(size=(2, 4)), rng.normal(size=2)
    damping, s = step(A, b, np.ones(4), 0.1 * np.linalg.norm(np.linalg.pinv(A) @ b))
    assert damping > 0.0
    np.testing.assert_allclose(A.T @ (A @ s + b) + damping * s, 0.0, atol=1e-12)


def test_a_column_of_zeros_gets_no_step():
    A = np.array([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
    _, s = step(A, np.ones(3), np.ones(2), 0.1)
    assert s[1] == 0.0
    assert -0.11 <= s[0] <= -0.09
