"""The compact form beside the matrix that it stands for."""

import dense_bfgs
import numpy as np
import pytest

from nbopt.solvers.compact import (
    factor_middle,
    multiply_middle,
    multiply_pairs,
    product,
    row_of_w,
    w_transposed,
)


def small(rows):
    return np.full((rows, rows), np.nan)


@pytest.mark.parametrize(("n", "m"), [(1, 1), (3, 2), (5, 5), (40, 1), (40, 10)])
def test_products_with_b(n, m):
    S, Y, slots, theta = dense_bfgs.pairs(n, m, seed=n + m)
    B = dense_bfgs.matrix(S, Y, slots, theta)
    rows = S.shape[0]
    SS, SY, L, J = small(rows), small(rows), small(rows), small(rows)
    multiply_pairs(S, Y, slots, m, SS, SY, 0)
    assert factor_middle(SS, SY, slots, theta, L, J)
    for d in np.vstack([np.eye(n)[:3], np.random.default_rng(1).normal(size=n)]):
        p, image, row = np.full(2 * rows, np.nan), np.full(2 * rows, np.nan), np.full(2 * rows, np.nan)
        w_transposed(S, Y, slots, theta, d, p, 0)
        multiply_middle(L, J, m, p, image)
        Bd = np.empty(n)
        for k in range(n):
            row_of_w(S, Y, slots, theta, k, row)
            Bd[k] = theta * d[k] - product(row, image, m)
        np.testing.assert_allclose(Bd, B @ d, rtol=1e-8, atol=1e-8)


def test_pairs_added_one_by_one_give_the_same_products():
    S, Y, slots, _ = dense_bfgs.pairs(20, 6, seed=3, rows=7)
    at_once, one_by_one = (small(7), small(7)), (small(7), small(7))
    multiply_pairs(S, Y, slots, 6, *at_once, 0)
    for m in range(1, 7):
        multiply_pairs(S, Y, slots[:m], 1, *one_by_one, 0)
    for a, b in zip(at_once, one_by_one, strict=True):
        np.testing.assert_array_equal(a, b)
    new = np.random.default_rng(0).normal(size=(2, 20))
    free = next(iter(set(range(7)) - set(slots.tolist())))
    S[free], Y[free] = new[0], new[0] + 0.1 * new[1]
    moved = np.append(slots[1:], free)  # the oldest pair has gone
    multiply_pairs(S, Y, moved, 1, *one_by_one, 0)
    SS, SY = small(7), small(7)
    multiply_pairs(S, Y, moved, 6, SS, SY, 0)
    for i, a in enumerate(moved):
        for b in moved[: i + 1]:
            assert (SS[a, b], SS[b, a], SY[a, b]) == (
                one_by_one[0][a, b],
                one_by_one[0][b, a],
                one_by_one[1][a, b],
            )


def test_pairs_without_curvature_are_noticed():
    S, Y, slots, theta = dense_bfgs.pairs(4, 2, seed=0)
    Y[slots[0]] *= -1.0
    SS, SY, L, J = small(3), small(3), small(3), small(3)
    multiply_pairs(S, Y, slots, 2, SS, SY, 0)
    SS[:] = 0.0
    assert not factor_middle(SS, SY, slots, theta, L, J)
