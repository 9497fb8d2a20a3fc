"""Residuals divided by their uncertainties: one for each, or the triangular factor of a covariance."""

from __future__ import annotations

from nbopt.kernels.compile import compiled

# How the matrix W is meant.
NONE, WEIGHTS, CHOLESKY = range(3)  # nothing; factors in its first row; the lower triangle L of L L'


@compiled
def whiten(kind, W, r):
    """Weight residuals in place, or solve L r = r."""
    if kind == WEIGHTS:
        for i in range(r.size):
            r[i] *= W[0, i]
    elif kind == CHOLESKY:
        for i in range(r.size):
            total = r[i]
            for k in range(i):
                total -= W[i, k] * r[k]
            r[i] = total / W[i, i]


@compiled
def whiten_rows(kind, W, J):
    """Do the same to each column of a Jacobian."""
    if kind == WEIGHTS:
        for i in range(J.shape[0]):
            for j in range(J.shape[1]):
                J[i, j] *= W[0, i]
    elif kind == CHOLESKY:
        for i in range(J.shape[0]):
            for k in range(i):
                for j in range(J.shape[1]):
                    J[i, j] -= W[i, k] * J[k, j]
            for j in range(J.shape[1]):
                J[i, j] /= W[i, i]
