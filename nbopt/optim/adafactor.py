"""Adafactor: steps scaled by the parameter's size and by second moments kept as rows and columns."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np

from nbopt.kernels.compile import compiled
from nbopt.kernels.reductions import dot
from nbopt.kernels.views import vector
from nbopt.optim.parameterwise import ParameterwiseOptimizer
from nbopt.optim.ranges import NON_NEGATIVE, Range, as_number

BLOCK = 1024  # elements of an update that are squared and summed while they are in the first cache


@compiled
def _sum_squares(g, n, m, rows, columns):
    """Sum the squares of an n x m matrix along its rows and along its columns."""
    for j in range(columns.size):
        columns[j] = 0.0
    for i in range(n):
        line = vector(g, i * m, m)
        rows[i] = dot(line, line)
        for j in range(columns.size):
            x = np.float64(line[j])
            columns[j] += x * x


@compiled
def _average(variance, sums, count, w):
    """Move a running mean of squares to ``sums / count`` by the share ``w``."""
    t = variance.dtype.type
    share, count = t(w), np.float64(count)
    for k in range(variance.size):
        mean = t(sums[k] / count)
        variance[k] += share * (mean - variance[k])


@compiled
def _scales(rows, columns, eps1, row_scales, column_scales):
    """Set the factors whose products are the reciprocal roots of ``rows * columns / mean(rows)``."""
    t = rows.dtype.type
    mean = 0.0
    for i in range(rows.size):
        mean += rows[i]
    mean = np.maximum(mean / rows.size, eps1)
    for i in range(rows.size):
        row_scales[i] = t(math.sqrt(mean / rows[i]))
    for j in range(columns.size):
        column_scales[j] = t(1.0 / math.sqrt(np.float64(columns[j])))


@compiled
def _fill(g, row, column_scales, top, out):
    """Set ``out`` to the updates of a piece of one row."""
    for j in range(out.size):
        out[j] = g[j] * np.minimum(row * column_scales[j], top)


@compiled
def _size_of_updates(g, n, m, row_scales, column_scales, top, u):
    """Sum the squares of the updates of an n x m matrix, in blocks of whole rows or pieces of one."""
    width = min(m, BLOCK)
    height = BLOCK // width
    total = 0.0
    for first in range(0, n, height):
        last = min(n, first + height)
        for left in range(0, m, width):
            wide = min(width, m - left)
            for i in range(first, last):
                out = vector(u, (i - first) * wide, wide)
                line, scales = vector(g, i * m + left, wide), vector(column_scales, left, wide)
                _fill(line, row_scales[i], scales, top, out)
            block = vector(u, 0, (last - first) * wide)
            total += dot(block, block)
    return total


@compiled
def _apply(p, g, n, m, row_scales, column_scales, top, keep, step):
    """Shrink an n x m matrix and subtract its updates."""
    for i in range(n):
        x, line, row = vector(p, i * m, m), vector(g, i * m, m), row_scales[i]
        for j in range(x.size):
            x[j] = keep * x[j] - step * (line[j] * np.minimum(row * column_scales[j], top))


@compiled
def _step_sizes(p_squares, u_squares, n, rho, eps2, d):
    """Return the factor of the update: relative to the size of p, clipped by the size of the update."""
    size, change = math.sqrt(p_squares / n), math.sqrt(u_squares / n) / d
    alpha = (size if size > eps2 else eps2) * rho
    return alpha / (change if change > 1.0 else 1.0)


@compiled
def factored(p, g, n, m, row_var, col_var, sums, scales, u, w, rho, keep, eps1, eps2, d, sign):
    """Shazeer and Stern 2018, algorithm 4, on matrices end to end, as torch has it.

    Means stand for sums, and eps1 bounds the update instead of being added to the squares. ``sums``
    has n + m numbers of float64, ``scales`` n + m for each matrix, ``u`` a block.
    """
    t = p.dtype.type
    top, total = t(1.0 / eps1), 0.0
    rows, columns = vector(sums, 0, n), vector(sums, n, m)
    for b in range(p.size // (n * m)):
        part, start = vector(g, b * n * m, n * m), b * (n + m)
        row, col = vector(row_var, b * n, n), vector(col_var, b * m, m)
        row_scales, column_scales = vector(scales, start, n), vector(scales, start + n, m)
        _sum_squares(part, n, m, rows, columns)
        _average(row, rows, m, w)
        _average(col, columns, n, w)
        _scales(row, col, eps1, row_scales, column_scales)
        total += _size_of_updates(part, n, m, row_scales, column_scales, top, u)
    step = t(sign * _step_sizes(dot(p, p), total, p.size, rho, eps2, d))
    for b in range(p.size // (n * m)):
        part, start = vector(g, b * n * m, n * m), b * (n + m)
        row_scales, column_scales = vector(scales, start, n), vector(scales, start + n, m)
        _apply(vector(p, b * n * m, n * m), part, n, m, row_scales, column_scales, top, t(keep), step)
