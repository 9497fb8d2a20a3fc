"""Jacobians by finite differences of residuals, with scipy's steps, never outside the bounds."""

from __future__ import annotations

import math

from nbopt.autodiff.finite_differences import step_at
from nbopt.fitting.householder import solve_transposed, solve_upper
from nbopt.fitting.whitening import whiten
from nbopt.fitting.workspace import CONSTANT, COST, EXACT, SCRATCH, SIZE, X
from nbopt.kernels.compile import compiled
from nbopt.kernels.native_residuals import call_residuals
from nbopt.kernels.reductions import dot

# Which points a column takes: x + h; x - h and x + h; x + h and x + 2 h; none, for it is known.
FORWARD, CENTRAL, ONE_SIDED, LEFT_OUT = range(4)

_STEP = 0.3 * 2.0**-26  # of forward differences, relative to the variable; rounding is a third of eps
_ROUGH = 1e-8  # relative errors of the solution from which on central differences are worth it
_UNSEEN = 1e-7  # the same relative to the standard errors
_BLURRED = 1e-3  # an error of a column, relative to what it has of its own, that spoils the step


@compiled
def place_points(x, lower, upper, floor, steps, rule, automatic, central, points, scheme):
    """Choose where the values for each column are taken, so that no point leaves the bounds.

    ``floor`` are sizes of the variables: a step is not shorter than the automatic one for them. Row 0 of
    ``points`` takes the first value of each variable, row 1 the second, where the scheme has one.
    """
    for i in range(x.size):
        step = step_at(x[i], steps, i, rule, automatic)
        if abs(step) < automatic * floor[i]:  # x[i] is 0 but for rounding
            step = math.copysign(automatic * floor[i], step)
        below, above = x[i] - lower[i], upper[i] - x[i]
        scheme[i] = FORWARD
        if central:
            step = abs(step)
            scheme[i] = CENTRAL
            if step > below or step > above:
                scheme[i] = ONE_SIDED
                step = min(step, 0.5 * above) if above >= below else -min(step, 0.5 * below)
        elif step > above or -step > below:
            step = -step
            if step > above or -step > below:
                step = above if above >= below else -below
        points[0, i] = x[i] - step if scheme[i] == CENTRAL else x[i] + step
        points[1, i] = x[i] + step if scheme[i] == CENTRAL else x[i] + 2.0 * step


@compiled
def divide(x, r, i, points, how, first, second, J):
    """Write column i of the Jacobian, also over the residuals at its first point, and return its length."""
    one, two = points[0, i], points[1, i]
    if how == FORWARD:
        for k in range(r.size):
            first[k] = (first[k] - r[k]) / (one - x[i])
    elif how == CENTRAL:
        for k in range(r.size):
            first[k] = (second[k] - first[k]) / (two - one)
    else:  # a parabola through three points on one side
        for k in range(r.size):
            first[k] = (4.0 * first[k] - 3.0 * r[k] - second[k]) / (two - x[i])
    for k in range(r.size):
        J[k, i] = first[k]
    return math.sqrt(dot(first, first))


@compiled(inline=True)
def size_of_variable(length, change):
    """Return by how much a variable, its column being so long, changes the residuals by ``change``, or 0."""
    return change / length if length > 0.0 else 0.0


@compiled
def divide_all(x, r, kind, W, points, scheme, values, J, change, floor):
    """Write the Jacobian from residuals without weights at all points, two rows of values for each column.

    The first of these rows take the column; ``floor`` takes the sizes of the variables, see
    `size_of_variable`.
    """
    for i in range(x.size):
        if scheme[i] == LEFT_OUT:
            continue
        whiten(kind, W, values[2 * i])
        if scheme[i] != FORWARD:
            whiten(kind, W, values[2 * i + 1])
        length = divide(x, r, i, points, scheme[i], values[2 * i], values[2 * i + 1], J)
        floor[i] = size_of_variable(length, change)


@compiled
def are_rough(R, m, order, marks, lines, numbers):
    """Tell whether forward differences would cost digits of the solution that the data give.

    Where J has the error E, a fit ends at J'r = -E'r: off by (J'J)^-1 E'r. E is estimated from rounding,
    eps*|f|/h, and from curvature on the scale of each variable; that it has nothing to do with r. A column
    with a mark of `constant_columns` will have none.
    """
    n, z = order.size, lines[SCRATCH]
    error = lines[SCRATCH + 1]
    residual = math.sqrt(2.0 * numbers[COST] / m)
    if R[n - 1, n - 1] == 0.0:  # nothing depends on that variable, as far as one can see
        return True
    for k in range(n):
        length = 0.0
        for i in range(k + 1):
            length += R[i, k] * R[i, k]
        at, exact = abs(lines[X, order[k]]), marks[order[k]] in (CONSTANT, EXACT)
        error[k] = (
            0.0 if exact else _STEP * ((numbers[SIZE] / at if at > 0.0 else math.inf) + math.sqrt(length))
        )
    for k in range(n):
        for j in range(n):
            z[j] = 1.0 if j == k else 0.0
        solve_transposed(R, n, z)
        solve_upper(R, n, z)  # row k of the inverse of R'R
        if not math.sqrt(z[k]) * error[k] < _BLURRED:
            return True
        total = 0.0
        for j in range(n):
            total += (z[j] * error[j]) ** 2
        seen = max(_ROUGH * abs(lines[X, order[k]]) / residual, _UNSEEN * math.sqrt(z[k]))
        if not math.sqrt(total) <= seen:
            return True
    return False


@compiled
def difference_jacobian(
    entry, data, kind, W, x, r, J, lower, upper, floor, change, steps, rule, automatic, central, lines,
    scheme, rows,
):  # fmt: skip
    """Write the Jacobian of the residuals behind an entry, whose values at x are r, to J.

    ``lines`` of shape (3, n), ``scheme`` of shape (n,) and ``rows`` of shape (2, m) are scratch.
    """
    beside, points = lines[0], lines[1:]
    place_points(x, lower, upper, floor, steps, rule, automatic, central, points, scheme)
    for i in range(x.size):
        _residuals_beside(entry, data, kind, W, x, i, points[0, i], beside, rows[0])
        if scheme[i] != FORWARD:
            _residuals_beside(entry, data, kind, W, x, i, points[1, i], beside, rows[1])
        length = divide(x, r, i, points, scheme[i], rows[0], rows[1], J)
        floor[i] = size_of_variable(length, change)


@compiled
def _residuals_beside(entry, data, kind, W, x, i, moved, beside, row):
    """Write the weighted residuals at x with ``x[i] = moved`` to row."""
    for j in range(x.size):
        beside[j] = x[j]
    beside[i] = moved
    call_residuals(entry, beside, row, data)
    whiten(kind, W, row)


@compiled
def complex_jacobian(entry, data, x, J, steps, rule, automatic, beside, row):
    """Write the Jacobian by complex step to J; the entry and the scratch are complex."""
    for i in range(x.size):
        h = step_at(x[i], steps, i, rule, automatic)
        for j in range(x.size):
            beside[j] = x[j]
        beside[i] = complex(x[i], h)
        call_residuals(entry, beside, row, data)
        for k in range(row.size):
            J[k, i] = row[k].imag / h
