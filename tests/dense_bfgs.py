"""BFGS matrices written out, for tests of their limited-memory forms: n by n, straight from the formula."""

import numpy as np

from nbopt.kernels.reductions import BLOCK
from nbopt.solvers.subspace import room_for_numbers


def pairs(n, m, seed, rows=None):
    """Return S, Y of m pairs with positive curvature in rows of a ring, their order, and theta."""
    rng = np.random.default_rng(seed)
    rows = m + 1 if rows is None else rows
    S, Y = np.full((rows, n), np.nan), np.full((rows, n), np.nan)
    slots = np.roll(np.arange(rows), -int(rng.integers(rows)))[:m].copy()
    root = rng.normal(size=(n, n)) / n**0.5
    hessian = root @ root.T + 0.1 * np.eye(n)
    for slot in slots:
        S[slot] = rng.normal(size=n)
        Y[slot] = (hessian + 0.02 * np.diag(rng.random(n))) @ S[slot]
    newest = slots[-1]
    return S, Y, slots, float(Y[newest] @ Y[newest] / (Y[newest] @ S[newest]))


def matrix(S, Y, slots, theta):
    """Return the BFGS matrix B of the pairs, updated one by one from theta times the unit matrix."""
    B = theta * np.eye(S.shape[1])
    for slot in slots:
        s, y = S[slot], Y[slot]
        Bs = B @ s
        B += np.outer(y, y) / (y @ s) - np.outer(Bs, Bs) / (s @ Bs)
    return B


def scratch(rows, n):
    """Return room for the sums of all blocks of a pass over the pairs, and for what a stage reads."""
    return np.full(4 * rows * (n // BLOCK + 1), np.nan), np.full(room_for_numbers(rows), np.nan)
