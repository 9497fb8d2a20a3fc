"""Small systems by Cholesky, beside NumPy."""

import numpy as np
import pytest

from nbopt.solvers.cholesky import cholesky, solve_lower, solve_upper


@pytest.mark.parametrize("m", [0, 1, 2, 7, 20])
def test_factor_and_solutions(m):
    rng = np.random.default_rng(m)
    root = rng.normal(size=(m, m + 3))
    a = np.full((m + 2, m + 1), np.nan)
    a[:m, :m] = np.tril(root @ root.T)  # what stands above the diagonal is not read
    upper = np.triu(rng.normal(size=(m, m)), 1)
    a[:m, :m] += upper
    assert cholesky(a, m)
    J = np.tril(a[:m, :m], -1) + np.diag(1.0 / np.diagonal(a[:m, :m]))
    np.testing.assert_allclose(J @ J.T, root @ root.T, rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(np.triu(a[:m, :m], 1), upper)
    v = rng.normal(size=m)
    w = v.copy()
    solve_lower(a, m, w)
    np.testing.assert_allclose(J @ w, v, rtol=1e-10, atol=1e-12)
    solve_upper(a, m, w)
    np.testing.assert_allclose(root @ root.T @ w, v, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("bad", [0.0, -1.0, np.nan])
def test_what_has_no_factor(bad):
    assert not cholesky(np.diag([1.0, bad, 1.0]), 3)
    assert not cholesky(np.array([[1.0, 0.0], [2.0, 4.0]]), 2)  # singular
