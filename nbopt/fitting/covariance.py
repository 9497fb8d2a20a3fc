"""The covariance of fitted parameters, from the Jacobian at the solution."""

from __future__ import annotations

import math

import numpy as np

from nbopt.fitting.householder import factor, solve_upper
from nbopt.fitting.workspace import full
from nbopt.kernels.compile import compiled
from nbopt.kernels.reductions import dot, max_abs

_EPS = 2.0**-52
NOISE = {"2-point": 1e-7, "3-point": 1e-9}  # relative errors of Jacobians by differences


def covariance(jac: np.ndarray, pseudo: bool = False, noise: float = 0.0) -> np.ndarray | None:
    """Return the inverse of J'J, or None if J has not full rank.

    The columns are brought to one length first, so that the rank does not depend on units.

    Parameters
    ----------
    jac : ndarray of shape (m, n)
        Finite.
    pseudo : bool
        Return the pseudo-inverse where the rank is too low: what does not change the residuals is then
        taken as known.
    noise : float
        Relative error of the Jacobian, more than its rounding, if it comes from finite differences.

    Returns
    -------
    ndarray of shape (n, n) or None

    Examples
    --------
    >>> import numpy as np
    >>> from nbopt.fitting.covariance import covariance
    >>> covariance(np.array([[1.0, 0.0], [0.0, 1e9]]))
    array([[1.e+00, 0.e+00],
           [0.e+00, 1.e-18]])
    """
    m, n = jac.shape
    least = max(noise, _EPS * max(m, n))
    if m >= n:
        out, order, work = np.empty((n, n)), np.arange(n), np.zeros((n + 4, full(max(m, n))))
        if _invert(np.ascontiguousarray(jac), work, np.empty((n, n)), least, order, out):
            return out
    if not pseudo:
        return None
    _, s, VT = np.linalg.svd(jac, full_matrices=False)
    lengths = np.sqrt(np.einsum("ij,ij->j", jac, jac))
    even = np.linalg.svd(jac / np.where(lengths > 0.0, lengths, 1.0), compute_uv=False)
    keep = s > _EPS * max(m, n) * s[0]
    keep[int((even > least * even[0]).sum()) :] = False  # the rank does not depend on units
    root = VT[keep].T / s[keep]
    return root @ root.T


@compiled
def _invert(jac, work, R, least, order, out):
    """Write the inverse of J'J to ``out`` and return True, unless the rank is too low."""
    m, n = jac.shape
    scale, norms, first, b = work[n], work[n + 1], work[n + 2], work[n + 3]
    for j in range(n):
        column = work[j]
        for i in range(m):
            column[i] = jac[i, j]
        largest = max_abs(column)
        if not 0.0 < largest < math.inf:
            return False
        for i in range(m):
            column[i] /= largest
        length = math.sqrt(dot(column, column))
        for i in range(m):
            column[i] /= length
        scale[j] = largest * length
    factor(work, n, b, order, R, norms, first)
    if not abs(R[n - 1, n - 1]) > least * abs(R[0, 0]):
        return False
    for k in range(n):  # the columns of the inverse of R, each in a row of `work`
        for i in range(n):
            work[k, i] = 1.0 if i == k else 0.0
        solve_upper(R, k + 1, work[k])
    for i in range(n):
        for j in range(n):
            total = 0.0
            for k in range(max(i, j), n):
                total += work[k, i] * work[k, j]
            out[order[i], order[j]] = total / scale[order[i]] / scale[order[j]]
    return True
