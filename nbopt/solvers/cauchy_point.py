"""The generalized Cauchy point: the first minimizer of the model along the bent path of steepest descent.

Source: R. H. Byrd, P. Lu, J. Nocedal, C. Zhu, "A limited memory algorithm for bound constrained
optimization", SIAM J. Sci. Comput. 16 (1995), section 4, algorithm CP.

The path runs from x along -g and bends where a variable meets its bound. The variables that have met
theirs on the way to the Cauchy point are those which the step then keeps at their bounds.
"""

from __future__ import annotations

import math

from nbopt.kernels.compile import compiled
from nbopt.kernels.large_vectors import dot
from nbopt.solvers.compact import multiply_middle, product, row_of_w, w_transposed

# Rows of `small`: W'd for what is left of the direction, W'(x_c - x), a row of W, its product with M.
P, C, ROW, IMAGE = range(4)

_EPS = 2.0**-52


@compiled
def inside(value, low, high):
    """Return the value, or the bound that it lies beyond; NaN stays NaN."""
    if value < low:
        return low
    if value > high:
        return high
    return value


@compiled(inline=True)
def cauchy_point(x, g, lower, upper, S, Y, slots, theta, L, J, breaks, heap, d, target, small, team):
    """Write the point to ``target`` and W'(target - x) to ``small[C]``; tell whether all is finite.

    ``breaks`` takes the steps at which the variables meet their bounds, ``heap`` their indices, ``d``
    what is left of the direction at the end. ``team``: as in `large_vectors`.
    """
    m, p, c = slots.size, small[P], small[C]
    first, moving = _first_leg(x, g, lower, upper, breaks, d, target)
    w_transposed(S, Y, slots, theta, d, p, team)
    for j in range(2 * m):
        c[j] = 0.0
    multiply_middle(L, J, m, p, small[IMAGE])
    slope = -dot(team, d, d)
    curvature = -theta * slope - product(p, small[IMAGE], m)
    least = -_EPS * theta * slope  # rounding must not make the model flat or concave
    start, reach = 0.0, -slope / max(curvature, least) if moving > 0 else 0.0
    size = _heap_of(breaks, heap) if first <= reach else 0
    while size > 0:
        k = heap[0]
        length = breaks[k] - start
        if reach < length:
            break
        size -= 1
        heap[0] = heap[size]
        _sink(breaks, heap, size, 0)
        moving -= 1
        start = breaks[k]
        target[k] = lower[k] if g[k] > 0.0 else upper[k]
        d[k] = 0.0
        row_of_w(S, Y, slots, theta, k, small[ROW])
        slope, curvature = _bend(g[k], target[k] - x[k], length, slope, curvature, theta, m, L, J, small)
        reach = max(-slope / max(curvature, least), 0.0) if moving > 0 else 0.0
    for j in range(2 * m):
        c[j] += reach * p[j]
    step = start + reach
    for k in range(x.size):
        if d[k] != 0.0:
            target[k] = inside(x[k] + step * d[k], lower[k], upper[k])
    return math.isfinite(step)


@compiled(inline=True)
def _first_leg(x, g, lower, upper, breaks, d, target):
    """Fill the break points and the first direction; return the first break and how many variables move."""
    first, moving = math.inf, 0
    for k in range(x.size):
        t = math.inf
        if g[k] < 0.0:
            t = (x[k] - upper[k]) / g[k]
        elif g[k] > 0.0:
            t = (x[k] - lower[k]) / g[k]
        breaks[k], target[k], d[k] = t, x[k], 0.0
        if t > 0.0 and g[k] != 0.0:
            d[k] = -g[k]
            moving += 1
            first = min(first, t)
    return first, moving


@compiled(inline=True)
def _bend(gk, moved, length, slope, curvature, theta, m, L, J, small):
    """Take one variable out of the direction, at the end of a leg; return slope and curvature of the next.

    The row of W for the variable stands in ``small``.
    """
    p, c, row, image = small[P], small[C], small[ROW], small[IMAGE]
    for j in range(2 * m):
        c[j] += length * p[j]
    multiply_middle(L, J, m, row, image)
    slope += length * curvature + gk * gk + theta * gk * moved - gk * product(image, c, m)
    curvature -= gk * (theta * gk + 2.0 * product(image, p, m) + gk * product(image, row, m))
    for j in range(2 * m):
        p[j] += gk * row[j]
    return slope, curvature


@compiled(inline=True)
def _heap_of(breaks, heap):
    """Order the indices of all finite steps above 0 as a heap, the least first; return how many."""
    size = 0
    for k in range(breaks.size):
        if 0.0 < breaks[k] < math.inf:
            heap[size] = k
            size += 1
    for top in range(size // 2 - 1, -1, -1):
        _sink(breaks, heap, size, top)
    return size


@compiled(inline=True)
def _sink(breaks, heap, size, top):
    """Move an index down to its place in the heap."""
    k = heap[top]
    while 2 * top + 1 < size:
        child = 2 * top + 1
        if child + 1 < size and breaks[heap[child + 1]] < breaks[heap[child]]:
            child += 1
        if breaks[k] <= breaks[heap[child]]:
            break
        heap[top] = heap[child]
        top = child
    heap[top] = k
