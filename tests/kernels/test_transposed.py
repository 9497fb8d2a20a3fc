"""Columns copied to rows: what NumPy's transposition gives, and zeros behind it."""

import numpy as np
import pytest

from nbopt.kernels.compile import compiled
from nbopt.kernels.transposed import copy_columns


@compiled(cache=False)
def copied(a, out):
    copy_columns(a, out)


@pytest.mark.parametrize("m", [0, 1, 7, 8, 9, 16, 250])
@pytest.mark.parametrize(("n", "rows", "more"), [(1, 1, 0), (3, 3, 5), (5, 6, 1)])
def test_rows_are_the_columns_and_zeros(m, n, rows, more):
    a, out = np.random.default_rng(m).standard_normal((m, n)), np.full((rows, m + more), 7.0)
    before = a.copy()
    copied(a, out)
    np.testing.assert_array_equal(out[:n, :m], a.T)
    assert not out[:n, m:].any() and (out[n:] == 7.0).all()
    np.testing.assert_array_equal(a, before)


def test_what_is_not_finite_is_copied_too():
    a = np.arange(20.0).reshape(10, 2)
    a[3, 1], a[9, 0] = np.nan, -np.inf
    out = np.empty((2, 16))
    copied(a, out)
    np.testing.assert_array_equal(out[:, :10], a.T)
