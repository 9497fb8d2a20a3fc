"""The L-BFGS direction by the two-loop recursion, over preallocated rings of curvature pairs.

Source: J. Nocedal, "Updating quasi-Newton matrices with limited storage", Math. Comp. 35 (1980);
Nocedal and Wright, "Numerical Optimization", 2nd ed., algorithm 7.4.

The memory of at most ``m`` pairs (s, y) stands in arrays that the caller owns::

    S, Y = np.empty((m + 1, n), dtype), np.empty((m + 1, n), dtype)   # float32 or float64, C order
    rho, alpha = np.empty(m + 1), np.empty(m + 1)                     # float64; alpha is scratch
    ring = np.zeros(2, np.int64)                                      # ring[COUNT], ring[NEXT]

One row more than pairs: a new pair is written to the free row ``ring[NEXT]`` and only then tested,
so a refused pair costs nothing of the memory. ``ring[:] = 0`` forgets all pairs. Per iteration::

    gamma = update_step(S, Y, rho, ring, d, t, g, g_old, threshold)   # or `update`, from points
    direction(S, Y, rho, alpha, ring, gamma, g, d)                    # d = -H g

``gamma`` is the scale of the initial matrix, y.s/y.y; a refused pair gives 0.0 and the caller keeps
the one that it has. Scalars are float64. Sums are kept in float64 in fixed lanes
(`nbopt.kernels.reductions`), so a result does not depend on the machine's number of threads.
"""

from __future__ import annotations

import numpy as np

from nbopt.kernels.compile import compiled
from nbopt.kernels.large_vectors import axpy_dot, curvature_pair, dot, scale
from nbopt.kernels.reductions import LANES, axpy_dot_from

COUNT, NEXT = 0, 1


@compiled
def update(S, Y, rho, ring, x, x_old, g, g_old, threshold):
    """Add the pair s = x - x_old, y = g - g_old if y.s > threshold; return y.s/y.y, or 0 if refused."""
    s, y = S[ring[NEXT]], Y[ring[NEXT]]
    for k in range(s.size):
        s[k] = x[k] - x_old[k]
    for k in range(y.size):
        y[k] = g[k] - g_old[k]
    return _commit(rho, ring, dot(0, y, s), dot(0, y, y), threshold)


@compiled(inline=True)
def update_step(S, Y, rho, ring, d, t, g, g_old, threshold, factor=1.0, team=0):
    """Add the pair s = t*d, y = factor*(g - g_old) if y.s > threshold; return y.s/y.y, or 0 if refused."""
    row = ring[NEXT]
    ys, yy = curvature_pair(team, t, factor, d, g, g_old, S[row], Y[row])
    return _commit(rho, ring, ys, yy, threshold)


@compiled(inline=True)
def _commit(rho, ring, ys, yy, threshold):
    """Keep the pair in the free row if its curvature is above the threshold (NaN never is)."""
    slot = ring[NEXT]
    if not ys > threshold:
        return 0.0
    rho[slot] = 1.0 / ys
    ring[NEXT] = slot + 1 if slot + 1 < rho.size else 0
    ring[COUNT] = min(ring[COUNT] + 1, rho.size - 1)
    return ys / yy


@compiled(inline=True)
def row_of(ring, age, rows):
    """Return the row of the pair of a given age: 0 is the newest."""
    row = ring[NEXT] - 1 - age
    return row + rows if row < 0 else row  # a division here costs more than a short dot product


@compiled(inline=True)
def direction(S, Y, rho, alpha, ring, gamma, g, d, team=0):
    """Write d = -H g for the inverse Hessian H that the pairs and gamma describe; return g.d.

    Each pass over memory takes one pair's part and the product that the next pair needs. With the address
    of a `Team` its threads share the passes.
    """
    if d.size < LANES:
        return _short_direction(S, Y, rho, alpha, ring, gamma, g, d)
    m, count = S.shape[0], ring[COUNT]
    newest, oldest = row_of(ring, 0, m), row_of(ring, count - 1, m)
    scale(team, -1.0, g, d)
    product = dot(team, S[newest] if count > 0 else g, d)
    for age in range(count):
        i = row_of(ring, age, m)
        alpha[i] = rho[i] * product
        after = S[row_of(ring, age + 1, m)] if age < count - 1 else Y[oldest]
        product = axpy_dot(team, -alpha[i], Y[i], d, after)
    scale(team, gamma, d, d)
    product *= gamma  # Y[oldest].d, without pairs g.d
    for age in range(count - 1, -1, -1):
        i = row_of(ring, age, m)
        after = Y[row_of(ring, age - 1, m)] if age > 0 else g
        product = axpy_dot(team, alpha[i] - rho[i] * product, S[i], d, after)
    return product


@compiled(inline=True)
def _short_direction(S, Y, rho, alpha, ring, gamma, g, d):
    """Do as `direction` does for a few elements, which need no lanes and no threads."""
    m, count, to, product = S.shape[0], ring[COUNT], d.dtype.type, 0.0
    newest, oldest = row_of(ring, 0, m), row_of(ring, count - 1, m)
    first = S[newest] if count > 0 else g
    for k in range(d.size):
        d[k] = -g[k]
        product += np.float64(first[k]) * np.float64(d[k])
    for age in range(count):
        i = row_of(ring, age, m)
        alpha[i] = rho[i] * product
        after = S[row_of(ring, age + 1, m)] if age < count - 1 else Y[oldest]
        product = axpy_dot_from(0, to(-alpha[i]), Y[i], d, after)
    for k in range(d.size):
        d[k] *= to(gamma)
    product *= gamma
    for age in range(count - 1, -1, -1):
        i = row_of(ring, age, m)
        after = Y[row_of(ring, age - 1, m)] if age > 0 else g
        product = axpy_dot_from(0, to(alpha[i] - rho[i] * product), S[i], d, after)
    return product
