"""The two-loop recursion against the BFGS matrix that it stands for."""

import numpy as np
import pytest

from nbopt.linesearch import two_loop
from nbopt.linesearch.two_loop import COUNT, NEXT


def memory(m, n, dtype=np.float64):
    """Return an empty memory of m pairs: S, Y, rho, alpha, ring."""
    S, Y = np.full((m + 1, n), np.nan, dtype), np.full((m + 1, n), np.nan, dtype)
    return S, Y, np.empty(m + 1), np.empty(m + 1), np.zeros(2, np.int64)


def bfgs_matrix(pairs, gamma, n):
    """Return the inverse Hessian of BFGS from gamma*I, pair by pair (Nocedal and Wright, eq. 6.17)."""
    H = gamma * np.eye(n)
    for s, y in pairs:
        rho = 1.0 / (y @ s)
        V = np.eye(n) - rho * np.outer(s, y)
        H = V @ H @ V.T + rho * np.outer(s, s)
    return H


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [1, 2, 15, 16, 17, 70])
def test_direction_is_minus_the_bfgs_matrix_times_the_gradient(dtype, n):
    rng = np.random.default_rng(n)
    m = 4
    S, Y, rho, alpha, ring = memory(m, n, dtype)
    A = np.diag(rng.uniform(0.5, 2.0, n))
    pairs, gamma, x_old = [], 1.0, rng.standard_normal(n).astype(dtype)
    for count in range(11):
        x = rng.standard_normal(n).astype(dtype)
        g, g_old = (A @ x).astype(dtype), (A @ x_old).astype(dtype)
        gamma = two_loop.update(S, Y, rho, ring, x, x_old, g, g_old, 1e-10)
        s, y = (x - x_old).astype(float), (g - g_old).astype(float)
        assert gamma == pytest.approx((y @ s) / (y @ y), rel=1e-6 if dtype == np.float32 else 1e-13)
        pairs = [*pairs, (s, y)][-m:]
        assert ring[COUNT] == min(count + 1, m)
        d = np.empty(n, dtype)
        two_loop.direction(S, Y, rho, alpha, ring, gamma, g, d)
        expected = -bfgs_matrix(pairs, gamma, n) @ g
        tolerance = 1e-4 if dtype == np.float32 else 1e-12
        np.testing.assert_allclose(d, expected, rtol=tolerance, atol=tolerance * np.abs(expected).max())
        x_old = x


def test_without_pairs_the_direction_is_the_scaled_gradient():
    S, Y, rho, alpha, ring = memory(3, 2)
    g, d = np.array([1.0, -2.0]), np.empty(2)
    two_loop.direction(S, Y, rho, alpha, ring, 0.5, g, d)
    assert d.tolist() == [-0.5, 1.0]


def test_a_step_along_a_direction_gives_the_pair_of_its_points():
    a, b = memory(3, 3), memory(3, 3)
    d, g, g_old = np.array([1.0, 2.0, -4.0]), np.array([2.0, 0.0, -1.0]), np.array([1.0, -1.0, 1.0])
    gamma = two_loop.update_step(a[0], a[1], a[2], a[4], d, 0.5, g, g_old, 1e-10)
    same = two_loop.update(b[0], b[1], b[2], b[4], 0.5 * d, np.zeros(3), g, g_old, 1e-10)
    assert gamma == same
    np.testing.assert_array_equal(a[0][0], [0.5, 1.0, -2.0])
    np.testing.assert_array_equal(a[1][0], [1.0, 1.0, -2.0])
    assert a[2][0] == 1.0 / 5.5
    assert gamma == 5.5 / 6.0


@pytest.mark.parametrize("factor", [0.5, 1.0, 1.25])
def test_the_change_of_the_gradient_can_be_scaled(factor):
    g, g_old, d = np.array([3.0, 2.0, 1.0]), np.array([2.0, 1.0, 3.0]), np.array([1.0, 2.0, -4.0])
    S, Y, rho, _, ring = memory(2, 3)
    gamma = two_loop.update_step(S, Y, rho, ring, d, 0.5, g, g_old, 1e-10, factor)
    np.testing.assert_array_equal(S[0], 0.5 * d)
    np.testing.assert_array_equal(Y[0], factor * (g - g_old))
    assert rho[0] == 1.0 / (5.5 * factor)
    assert gamma == pytest.approx(5.5 / 6.0 / factor, rel=1e-15)
    assert two_loop.update_step(S, Y, rho, ring, -d, 0.5, g, g_old, 1e-10, factor) == 0.0
    assert ring.tolist() == [1, 1]


@pytest.mark.parametrize("curvature", [0.0, -1.0, 1e-11, np.nan])
def test_a_refused_pair_leaves_the_memory_as_it_was(curvature):
    S, Y, rho, alpha, ring = memory(2, 2)
    zero = np.zeros(2)
    for x in (np.array([1.0, 0.0]), np.array([0.0, 2.0]), np.array([1.0, 1.0])):
        gamma = two_loop.update(S, Y, rho, ring, x, zero, 2.0 * x, zero, 1e-10)
    g, before, after = np.array([1.0, 3.0]), np.empty(2), np.empty(2)
    two_loop.direction(S, Y, rho, alpha, ring, gamma, g, before)
    kept = ring.copy()
    assert (
        two_loop.update(S, Y, rho, ring, np.array([1.0, 0.0]), zero, np.array([curvature, 5.0]), zero, 1e-10)
        == 0.0
    )
    assert np.array_equal(ring, kept)
    two_loop.direction(S, Y, rho, alpha, ring, gamma, g, after)
    assert np.array_equal(before, after)


def test_row_of_counts_back_from_the_newest():
    S, Y, rho, _, ring = memory(3, 1)
    for k in range(1, 6):
        x = np.array([float(k)])
        two_loop.update(S, Y, rho, ring, x, np.zeros(1), x, np.zeros(1), 1e-10)
    assert ring.tolist() == [3, 5 % 4]
    assert [S[two_loop.row_of(ring, age, 4), 0] for age in range(3)] == [5.0, 4.0, 3.0]


def test_forgetting_is_setting_the_ring_to_zero():
    S, Y, rho, alpha, ring = memory(2, 1)
    x, zero = np.ones(1), np.zeros(1)
    two_loop.update(S, Y, rho, ring, x, zero, x, zero, 1e-10)
    assert ring[NEXT] == 1
    ring[:] = 0
    d = np.empty(1)
    two_loop.direction(S, Y, rho, alpha, ring, 1.0, x, d)
    assert d[0] == -1.0


def test_the_quasi_newton_direction_solves_a_quadratic_with_exact_steps():
    # With exact steps L-BFGS with all pairs ends on a quadratic of n variables in n iterations.
    rng = np.random.default_rng(5)
    n = 8
    Q = rng.standard_normal((n, n))
    A, b = Q @ Q.T + n * np.eye(n), rng.standard_normal(n)
    S, Y, rho, alpha, ring = memory(n, n)
    x, gamma, d = np.zeros(n), 1.0, np.empty(n)
    g = A @ x - b
    for _ in range(n):
        two_loop.direction(S, Y, rho, alpha, ring, gamma, g, d)
        t = -(g @ d) / (d @ A @ d)
        x = x + t * d
        g, g_old = A @ x - b, g
        gamma = two_loop.update_step(S, Y, rho, ring, d, t, g, g_old, 0.0)
    np.testing.assert_allclose(x, np.linalg.solve(A, b), rtol=1e-8)
