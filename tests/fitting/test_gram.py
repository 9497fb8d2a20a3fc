"""The factorization by the Gram matrix against that by reflections, and what it refuses."""

import numpy as np
import pytest

from nbopt.fitting.gram import factor_apart
from nbopt.fitting.householder import factor
from nbopt.kernels.reductions import LANES


def factored(A, b):
    m, n = A.shape
    order, R, room = np.full(n, -1), np.zeros((n, n)), -m % LANES
    columns, c = np.ascontiguousarray(np.pad(A.T, ((0, 0), (0, room)))), np.pad(b, (0, room))
    known = factor_apart(columns, n, c, order, R, np.empty(n), np.empty(n))
    return known, order, np.triu(R), c[:m]


def reflected(A, b):
    n = A.shape[1]
    order, R, c = np.arange(n), np.zeros((n, n)), b.copy()
    factor(np.array(A.T, order="C"), n, c, order, R, np.empty(n), np.empty(n))
    signs = np.sign(np.diag(R))
    return order, signs[:, None] * np.triu(R), signs * c[:n]


@pytest.mark.parametrize("m, n", [(1, 1), (5, 1), (3, 3), (25, 5), (100, 17)])
def test_it_is_the_factorization_by_reflections_but_for_signs(m, n):
    rng = np.random.default_rng(m * n)
    A = rng.normal(size=(m, n)) * 10.0 ** rng.integers(-6, 6, n)
    b = rng.normal(size=m)
    known, order, R, c = factored(A, b)
    other_order, other_R, other_c = reflected(A, b)
    assert known
    np.testing.assert_array_equal(order, other_order)
    np.testing.assert_allclose(R, other_R, rtol=1e-8, atol=1e-11 * np.abs(other_R).max())
    np.testing.assert_allclose(c[:n], other_c, rtol=1e-8, atol=1e-10)
    np.testing.assert_array_equal(c[n:], b[n:])


def test_every_order_of_the_columns_comes_to_the_same():
    rng = np.random.default_rng(4)
    A, b = rng.normal(size=(12, 4)) * [1.0, 2.0, 4.0, 8.0], rng.normal(size=12)
    _, order, R, c = factored(A, b)
    for _ in range(10):
        shuffled = rng.permutation(4)
        _, other, other_R, other_c = factored(A[:, shuffled], b)
        np.testing.assert_array_equal(shuffled[other], order)
        np.testing.assert_allclose(other_R, R, rtol=1e-12)
        np.testing.assert_allclose(other_c, c, rtol=1e-12)


@pytest.mark.parametrize(
    "name", ["parallel", "nearly parallel", "zero", "all zero", "nan", "tiny", "overflowing"]
)
def test_what_the_squares_cannot_tell_is_refused(name):
    rng = np.random.default_rng(2)
    A, b = rng.normal(size=(20, 3)), rng.normal(size=20)
    A[:, 2] = {
        "parallel": A[:, 0] - A[:, 1],
        "nearly parallel": A[:, 0] + 5e-4 * A[:, 2],
        "zero": 0.0 * A[:, 2],
        "nan": np.nan * A[:, 2],
        "tiny": 1e-150 * A[:, 2],
        "overflowing": 1e200 * A[:, 2],
    }.get(name, 0.0)
    if name == "all zero":
        A[:] = 0.0
    known, order, _, c = factored(A, b)
    assert not known
    np.testing.assert_array_equal(order, np.arange(3))
    np.testing.assert_array_equal(c, b)
