"""Small symmetric systems by Cholesky's method, in place, for matrices of a few dozen rows.

Only the lower triangle and the diagonal are read and written. A factor keeps the reciprocals of its
diagonal, since each is divided by again and again.
"""

from __future__ import annotations

import math

from nbopt.kernels.compile import compiled


@compiled
def cholesky(a, m):
    """Overwrite the first ``m`` rows of ``a`` with the factor J of ``a = J J'``; tell whether it has one."""
    for j in range(m):
        for i in range(j, m):
            total = a[i, j]
            for k in range(j):
                total -= a[i, k] * a[j, k]
            a[i, j] = total
        if not a[j, j] > 0.0:  # NaN neither
            return False
        inverse = 1.0 / math.sqrt(a[j, j])
        a[j, j] = inverse
        for i in range(j + 1, m):
            a[i, j] *= inverse
    return True


@compiled
def solve_lower(factor, m, v):
    """Overwrite ``v`` with the solution w of ``J w = v``."""
    for i in range(m):
        total = v[i]
        for k in range(i):
            total -= factor[i, k] * v[k]
        v[i] = total * factor[i, i]


@compiled
def solve_upper(factor, m, v):
    """Overwrite ``v`` with the solution w of ``J' w = v``."""
    for i in range(m - 1, -1, -1):
        v[i] *= factor[i, i]
        for k in range(i):
            v[k] -= factor[i, k] * v[i]
