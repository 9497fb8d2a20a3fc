"""Jacobians by finite differences of residuals, with scipy's steps, never outside the bounds."""

from __future__ import annotations

import math

from nbopt.autodiff.finite_differences import step_at
from nbopt.fitting.whitening import whiten
from nbopt.kernels.compile import compiled
from nbopt.kernels.native_residuals import call_residuals

# Which points a column takes: x + h; x - h and x + h; x + h and x + 2 h.
FORWARD, CENTRAL, ONE_SIDED = range(3)


@compiled
def place_steps(x, lower, upper, floor, steps, rule, automatic, central, h, scheme):
    """Choose the steps at x and which points to take, so that none leaves the bounds.

    ``floor`` are sizes of the variables: a step is not shorter than the automatic one for them.
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
        h[i] = step


@compiled
def size_variables(J, change, floor):
    """Write to ``floor`` by how much each variable changes the residuals by ``change``; 0 if that is 0."""
    for j in range(J.shape[1]):
        total = 0.0
        for i in range(J.shape[0]):
            total += J[i, j] * J[i, j]
        floor[j] = change / math.sqrt(total) if total > 0.0 else 0.0


@compiled
def difference_jacobian(
    entry, data, kind, W, x, r, J, lower, upper, floor, steps, rule, automatic, central, lines, scheme, rows
):
    """Write the Jacobian of the residuals behind an entry, whose values at x are r, to J.

    ``lines`` of shape (2, n), ``scheme`` of shape (n,) and ``rows`` of shape (2, m) are scratch.
    """
    beside, h = lines[0], lines[1]
    place_steps(x, lower, upper, floor, steps, rule, automatic, central, h, scheme)
    for i in range(x.size):
        at = x[i]
        one = at - h[i] if scheme[i] == CENTRAL else at + h[i]
        two = at + h[i] if scheme[i] == CENTRAL else at + 2.0 * h[i]
        _residuals_beside(entry, data, kind, W, x, i, one, beside, rows[0])
        if scheme[i] == FORWARD:
            for k in range(r.size):
                J[k, i] = (rows[0, k] - r[k]) / (one - at)
            continue
        _residuals_beside(entry, data, kind, W, x, i, two, beside, rows[1])
        for k in range(r.size):
            if scheme[i] == CENTRAL:
                J[k, i] = (rows[1, k] - rows[0, k]) / (two - one)
            else:
                J[k, i] = (4.0 * rows[0, k] - 3.0 * r[k] - rows[1, k]) / (two - at)


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
