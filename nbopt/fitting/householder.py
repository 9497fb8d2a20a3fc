"""QR factorization by Householder reflections with column pivoting, of a matrix stored by columns.

Source: G. H. Golub and C. F. Van Loan, Matrix Computations, 4th ed., algorithms 5.1.1 and 5.4.1; the
update of the column norms is guarded as in Z. Drmač and Z. Bujanović, ACM TOMS 35 (2008) 12.
"""

from __future__ import annotations

import math

from nbopt.kernels.compile import compiled
from nbopt.kernels.reductions import dot

_LOST = 2.0**-26  # a norm that shrinks to this share has lost half of its digits


@compiled
def factor(columns, count, b, order, R, norms, first):
    """Factor the matrix of ``count`` columns, A[:, order] = Q R, and turn b into Q'b.

    Parameters
    ----------
    columns : ndarray of shape (>= count, m)
        The j-th column of A in row j; overwritten. A length that is a multiple of `reductions.LANES`,
        filled up with zeros, is the fastest.
    count : int
    b : ndarray of shape (m,)
        Overwritten with Q'b.
    order : ndarray of int64, shape (>= count,)
        Labels of the columns, permuted along with them.
    R : ndarray of shape (>= min(m, count), >= count)
        Takes the upper triangle, or trapezoid where m < count.
    norms, first : ndarray of shape (>= count,)
        Scratch.
    """
    m = b.size
    for j in range(count):
        norms[j] = first[j] = math.sqrt(dot(columns[j], columns[j]))
    for k in range(min(m, count)):
        _bring_largest(columns, count, k, order, R, norms, first)
        v = columns[k]
        for i in range(k):  # these stand in R; so whole columns, of a good length, can be worked on
            v[i] = 0.0
        size = math.sqrt(dot(v, v))
        if size == 0.0:
            for j in range(k, count):
                R[k, j] = columns[j, k]
            continue
        alpha = v[k]
        v[k] = alpha + math.copysign(size, alpha)
        _reflect(v, b, size, alpha)
        R[k, k] = -math.copysign(size, alpha)
        for j in range(k + 1, count):
            column = columns[j]
            _reflect(v, column, size, alpha)
            R[k, j] = column[k]
            _shorten(norms, first, j, column[k:])


@compiled
def _bring_largest(columns, count, k, order, R, norms, first):
    """Exchange column k with the longest of those that are left."""
    best = k
    for j in range(k + 1, count):
        if norms[j] > norms[best]:
            best = j
    if best == k:
        return
    order[k], order[best] = order[best], order[k]
    norms[best], first[best] = norms[k], first[k]
    for i in range(k):
        R[i, k], R[i, best] = R[i, best], R[i, k]
    a, c = columns[k], columns[best]
    for i in range(k, a.size):
        a[i], c[i] = c[i], a[i]


@compiled
def _reflect(v, c, size, alpha):
    """Apply the reflection along v to c; v is of a column of this size that began with alpha."""
    factor = dot(v, c) / (size * (size + abs(alpha)))
    for i in range(c.size):
        c[i] -= factor * v[i]


@compiled
def _shorten(norms, first, j, tail):
    """Take the first element of the tail of column j out of its norm."""
    if norms[j] == 0.0:
        return
    share = tail[0] / norms[j]
    left = max(0.0, 1.0 - share * share)
    norms[j] *= math.sqrt(left)
    if norms[j] <= _LOST * first[j]:
        rest = tail[1:]
        norms[j] = first[j] = math.sqrt(dot(rest, rest))


@compiled
def solve_upper(R, count, z):
    """Solve R z = z in place, R being upper triangular and its diagonal nowhere 0."""
    for i in range(count - 1, -1, -1):
        total = z[i]
        for j in range(i + 1, count):
            total -= R[i, j] * z[j]
        z[i] = total / R[i, i]


@compiled
def solve_transposed(R, count, z):
    """Solve R' z = z in place."""
    for i in range(count):
        z[i] /= R[i, i]
        for j in range(i + 1, count):
            z[j] -= R[i, j] * z[i]
