"""The covariance of fitted parameters, from the Jacobian at the solution."""

from __future__ import annotations

import math

import numpy as np

from nbopt.fitting.gram import factor_apart
from nbopt.fitting.householder import factor, solve_upper
from nbopt.fitting.workspace import COST, HEAD, SCRATCH, M, N, Workspace, full, parts
from nbopt.kernels.compile import compiled
from nbopt.kernels.reductions import dot, max_abs
from nbopt.kernels.transposed import copy_columns
from nbopt.kernels.views import matrix, vector

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
        out, columns = np.empty((n, n)), np.zeros((n + 1, full(m)))
        spare = np.empty((n, n)), np.empty(n, np.int64), np.empty(n), np.empty(n), np.empty(n)
        if _invert(np.ascontiguousarray(jac), columns, columns[n], *spare, least, out):
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


def covariance_of(run: Workspace, noise: float, absolute: bool) -> np.ndarray | None:
    """Return the covariance of a run by the linear loss that has ended, in its own arrays.

    Parameters
    ----------
    run : Workspace
        What is no longer wanted of it is overwritten.
    noise : float
        As for `covariance`.
    absolute : bool
        Whether the residuals have the errors 1; else their own size tells it.

    Returns
    -------
    ndarray of shape (n, n) or None
        None where the rank is too low or a number overflows.
    """
    n = run.counts.item(N)
    out = np.empty((n, n))
    return out if _finish(run.work, run.counts, noise, bool(absolute), out) else None


@compiled
def _finish(work, counts, noise, absolute, out):
    """Write the covariance to ``out``; tell whether there is one."""
    _, b, _, columns, lines, R, numbers = parts(work, counts)
    n, m = counts[N], counts[M]
    spare = vector(counts, HEAD, n), lines[SCRATCH], lines[SCRATCH + 1], lines[SCRATCH + 2]
    least, scale = max(noise, _EPS * max(m, n)), 1.0
    if not absolute:
        scale = 2.0 * numbers[COST] / (m - n) if m > n else math.inf
    if m < n or not math.isfinite(scale):
        return False
    if not _invert(matrix(work, n + m, m, n), columns, b, R, *spare, least, out):
        return False
    largest = 0.0
    for i in range(n):
        for j in range(n):
            out[i, j] *= scale
            largest = max(largest, abs(out[i, j]))
    return largest < math.inf


@compiled(inline=True)
def _invert(jac, columns, b, R, order, scale, norms, first, least, out):
    """Write the inverse of J'J to ``out`` and return True, unless the rank is too low."""
    m, n = jac.shape
    copy_columns(jac, columns)
    for j in range(n):
        scale[j] = 1.0
    if factor_apart(columns, n, b, order, R, norms, first):  # that each has much of its own tells the rank
        _multiply(R, n, columns, scale, order, out)
        return True
    for j in range(n):
        column = columns[j]
        largest = max_abs(column)
        if not 0.0 < largest < math.inf:
            return False
        for i in range(m):
            column[i] /= largest
        length = math.sqrt(dot(column, column))
        for i in range(m):
            column[i] /= length
        scale[j] = largest * length
    if not factor_apart(columns, n, b, order, R, norms, first):
        factor(columns, n, b, order, R, norms, first)
    if not abs(R[n - 1, n - 1]) > least * abs(R[0, 0]):
        return False
    _multiply(R, n, columns, scale, order, out)
    return True


@compiled(inline=True)
def _multiply(R, n, columns, scale, order, out):
    """Write the inverse of R'R, its variables' scales and order undone, to ``out``."""
    for k in range(n):  # the columns of the inverse of R
        for i in range(n):
            columns[k, i] = 1.0 if i == k else 0.0
        solve_upper(R, k + 1, columns[k])
    for i in range(n):
        for j in range(n):
            total = 0.0
            for k in range(max(i, j), n):
                total += columns[k, i] * columns[k, j]
            out[order[i], order[j]] = total / scale[order[i]] / scale[order[j]]
