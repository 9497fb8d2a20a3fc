"""The compiled passes of Adafactor: over the tiles of matrices, and over the chunks of lines.

Shazeer and Stern 2018, algorithms 4 and 5, with means for sums and eps1 as a bound of the update. A
parameter with rows and columns is a stack of n x m matrices, cut into tiles of at most HEIGHT x
WIDTH; any other one, and a single row or column, is a line, cut into chunks. Each tile leaves its
sums in a slot of its own, and the slots are added up in order, so that a result does not depend on
how many threads there are. All passes have the signature of kernels/shares.py; their arrays are

- of matrices: parameter, gradient, row_var, col_var, and the scales of rows and of columns;
- of lines: parameter, gradient, the mean squares (one per element), the one mean square across
  (or nothing), and the update.
"""

from __future__ import annotations

import numpy as np

from nbopt.kernels.compile import compiled
from nbopt.kernels.reductions import dot, sum_abs
from nbopt.kernels.views import vector

# The numbers of a step. Those from STEP on are set by the passes themselves.
SHARE, RHO, KEEP, EPS1, TOP, EPS2, D, SIGN, DEPTH, N, M, HEIGHT, WIDTH = range(13)
STEP, FACTOR = 13, 14
NUMBERS = 15

P_SQUARES, U_SQUARES, G_SQUARES, MEANS = range(4)
HEAD = 4  # numbers of a slot before the sums of a tile's columns and rows

TILE = 1 << 15  # elements, which lie in the second cache from one loop over them to the next
WIDEST = 2048  # columns of a tile: their float64 sums lie in the first cache
CHUNK = 1 << 13
LINE = 64  # columns that a chunk is folded to for its sum of squares
NARROW = 16  # below so many columns a loop over a row costs more to enter than to run


@compiled
def _add_four(a, b, c, d, columns):
    """Add the squares of four rows to the sums of columns."""
    for j in range(columns.size):
        w, x, y, z = a[j], b[j], c[j], d[j]
        columns[j] += np.float64((w * w + x * x) + (y * y + z * z))


@compiled
def _add_one(a, columns):
    """Add the squares of one row to the sums of columns."""
    for j in range(columns.size):
        x = np.float64(a[j])
        columns[j] += x * x


@compiled
def _column_squares(a, start, rows, stride, columns):
    """Sum the squares of rows that start ``stride`` elements apart, column by column."""
    n = columns.size
    for j in range(n):
        columns[j] = 0.0
    for i in range(0, rows - 3, 4):
        at = start + i * stride
        b, c, d = at + stride, at + 2 * stride, at + 3 * stride
        _add_four(vector(a, at, n), vector(a, b, n), vector(a, c, n), vector(a, d, n), columns)
    for i in range(rows - rows % 4, rows):
        _add_one(vector(a, start + i * stride, n), columns)


@compiled
def _squares(a, start, n, columns):
    """Sum the squares of ``n`` elements; faster than in one lane of sums."""
    rows = n // columns.size
    _column_squares(a, start, rows, columns.size, columns)
    rest = vector(a, start + rows * columns.size, n - rows * columns.size)
    return sum_abs(columns) + dot(rest, rest)


@compiled
def _narrow_squares(a, start, along, across):
    """Sum the squares of a few columns along columns and rows, four rows at a time."""
    m = np.uint64(along.size)
    for j in range(m):
        along[j] = 0.0
    for i in range(0, across.size - 3, 4):
        k = np.uint64(start) + np.uint64(i) * m
        w, x, y, z = 0.0, 0.0, 0.0, 0.0
        for j in range(m):
            b, c = np.float64(a[k + j]), np.float64(a[k + m + j])
            d, e = np.float64(a[k + m + m + j]), np.float64(a[k + m + m + m + j])
            b, c, d, e = b * b, c * c, d * d, e * e
            along[j] += (b + c) + (d + e)
            w, x, y, z = w + b, x + c, y + d, z + e
        across[i], across[i + 1], across[i + 2], across[i + 3] = w, x, y, z
    for i in range(across.size - across.size % 4, across.size):
        line, row = vector(a, start + i * along.size, along.size), 0.0
        for j in range(line.size):
            b = np.float64(line[j])
            along[j] += b * b
            row += b * b
        across[i] = row


@compiled
def _grid(h):
    """Return depth, n, m, rows and columns of a tile, and how many tiles lie below and beside another."""
    depth, n, m, height, width = int(h[DEPTH]), int(h[N]), int(h[M]), int(h[HEIGHT]), int(h[WIDTH])
    return depth, n, m, height, width, (n + height - 1) // height, (m + width - 1) // width


@compiled
def _tile(k, grid):
    """Return of a tile its matrix, first row, rows, first column, columns."""
    _, n, m, height, width, down, across = grid
    if down * across == 1:  # many small matrices: no divisions
        return k, 0, n, 0, m
    matrix, rest = k // (down * across), k % (down * across)
    top, left = rest // across * height, rest % across * width
    return matrix, top, min(height, n - top), left, min(width, m - left)


@compiled
def tile_sums(low, high, arrays, doubles):
    """Sum the squares of tiles: of the parameter, and of the gradient along rows and columns."""
    p, g, _, _, _ = arrays
    sums, h = doubles
    grid = _grid(h)
    _, n, m, height, width, _, _ = grid
    slot = HEAD + width + height
    for k in range(low, high):
        matrix, top, rows, left, columns = _tile(k, grid)
        start, own = (matrix * n + top) * m + left, k * slot
        along, across = vector(sums, own + HEAD, columns), vector(sums, own + HEAD + width, rows)
        if m < NARROW:  # then a tile is whole rows, end to end
            block = vector(p, start, rows * columns)
            sums[own + P_SQUARES] = dot(block, block)
            _narrow_squares(g, start, along, across)
            continue
        _column_squares(p, start, rows, m, along)
        sums[own + P_SQUARES] = sum_abs(along)
        _column_squares(g, start, rows, m, along)
        for i in range(rows):
            line = vector(g, start + i * m, columns)
            across[i] = dot(line, line)


@compiled
def _average(means, sums, count, share):
    """Move running means by a share towards ``sums / count``."""
    t = means.dtype.type
    for k in range(means.size):
        means[k] += share * (t(sums[k] / count) - means[k])


@compiled
def _fold(matrix, grid, sums, row_sums, column_sums):
    """Add up the sums of a matrix's tiles, in order."""
    _, _, _, height, width, down, across = grid
    slot = HEAD + width + height
    for k in range(row_sums.size):
        row_sums[k] = 0.0
    for k in range(column_sums.size):
        column_sums[k] = 0.0
    for k in range(matrix * down * across, (matrix + 1) * down * across):
        _, top, rows, left, columns = _tile(k, grid)
        along = vector(sums, k * slot + HEAD, columns)
        for j in range(columns):
            column_sums[left + j] += along[j]
        beside = vector(sums, k * slot + HEAD + width, rows)
        for i in range(rows):
            row_sums[top + i] += beside[i]


@compiled
def _set_scales(row, col, eps1, row_scales, column_scales):
    """Set factors whose products are the reciprocal roots of ``row * col / max(mean(row), eps1)``."""
    t, one = row.dtype.type, row.dtype.type(1.0)
    mean = t(np.maximum(sum_abs(row) / row.size, eps1))
    for i in range(row.size):
        row_scales[i] = np.sqrt(mean / row[i])
    for j in range(col.size):
        column_scales[j] = one / np.sqrt(col[j])


@compiled
def tile_means(low, high, arrays, doubles):
    """Update the mean squares of all rows and columns of matrices [low, high) from the tiles' sums."""
    _, _, row_var, col_var, scales = arrays
    sums, h = doubles
    grid = _grid(h)
    depth, n, m, height, width, down, across = grid
    share = row_var.dtype.type(h[SHARE])
    slot = HEAD + width + height
    for k in range(low, high):
        row, col, start = vector(row_var, k * n, n), vector(col_var, k * m, m), k * (n + m)
        if down * across == 1:
            row_sums, column_sums = vector(sums, k * slot + HEAD + width, n), vector(sums, k * slot + HEAD, m)
        else:
            own = depth * down * across * slot + start
            row_sums, column_sums = vector(sums, own, n), vector(sums, own + n, m)
            _fold(k, grid, sums, row_sums, column_sums)
        _average(row, row_sums, m, share)
        _average(col, column_sums, n, share)
        _set_scales(row, col, h[EPS1], vector(scales, start, n), vector(scales, start + n, m))


@compiled
def _add_two_updates(a, b, row_a, row_b, scales, most, columns):
    """Add the squares of the updates of two rows to the sums of columns."""
    for j in range(columns.size):
        x, y = row_a * scales[j], row_b * scales[j]
        x, y = a[j] * (most if x > most else x), b[j] * (most if y > most else y)
        columns[j] += np.float64(x * x + y * y)


@compiled
def _add_one_update(a, row, scales, most, columns):
    """Add the squares of the updates of one row to the sums of columns."""
    for j in range(columns.size):
        x = row * scales[j]
        x = a[j] * (most if x > most else x)
        columns[j] += np.float64(x * x)


@compiled
def _narrow_updates(g, start, row, beside, most):
    """Return the sum of the squares of the updates of few columns."""
    total, k = 0.0, np.uint64(start)
    for i in range(row.size):
        part = 0.0
        for j in range(beside.size):
            x = row[i] * beside[j]
            x = np.float64(g[k] * (most if x > most else x))
            part += x * x
            k += np.uint64(1)
        total += part
    return total


@compiled
def tile_sizes(low, high, arrays, doubles):
    """Sum the squares of the updates of tiles."""
    _, g, _, _, scales = arrays
    sums, h = doubles
    grid, most = _grid(h), g.dtype.type(h[TOP])
    _, n, m, height, width, _, _ = grid
    slot = HEAD + width + height
    for k in range(low, high):
        matrix, top, rows, left, columns = _tile(k, grid)
        start, first = (matrix * n + top) * m + left, matrix * (n + m)
        row, beside = vector(scales, first + top, rows), vector(scales, first + n + left, columns)
        if m < NARROW:  # then a tile is whole rows, end to end
            sums[k * slot + U_SQUARES] = _narrow_updates(g, start, row, beside, most)
            continue
        along = vector(sums, k * slot + HEAD, columns)
        for j in range(columns):
            along[j] = 0.0
        for i in range(0, rows - 1, 2):
            a, b = vector(g, start + i * m, columns), vector(g, start + (i + 1) * m, columns)
            _add_two_updates(a, b, row[i], row[i + 1], beside, most, along)
        if rows % 2:
            a = vector(g, start + (rows - 1) * m, columns)
            _add_one_update(a, row[rows - 1], beside, most, along)
        sums[k * slot + U_SQUARES] = sum_abs(along)


@compiled
def tile_step(low, high, arrays, doubles):
    """Set the factor of the update from the tiles' sums: one stage, one thread."""
    sums, h = doubles
    depth, _, _, height, width, down, across = _grid(h)
    _set_step(sums, depth * down * across, HEAD + width + height, arrays[0].size, h)


@compiled
def _set_step(sums, tiles, slot, size, h):
    """Set the factor: relative to the size of the parameter, clipped by the size of the update."""
    p, u = 0.0, 0.0
    for k in range(tiles):
        p += sums[k * slot + P_SQUARES]
        u += sums[k * slot + U_SQUARES]
    length, change = np.sqrt(p / size), np.sqrt(u / size) / h[D]
    alpha = (length if length > h[EPS2] else h[EPS2]) * h[RHO]
    h[STEP] = h[SIGN] * alpha / (change if change > 1.0 else 1.0)


@compiled
def _apply(p, g, row, scales, most, keep, step):
    """Shrink a piece of a row and subtract its update."""
    for j in range(p.size):
        x = row * scales[j]
        p[j] = keep * p[j] - step * (g[j] * (most if x > most else x))


@compiled
def _narrow_apply(p, g, start, row, beside, most, keep, step):
    """Shrink few columns and subtract their updates."""
    k = np.uint64(start)
    for i in range(row.size):
        for j in range(beside.size):
            x = row[i] * beside[j]
            p[k] = keep * p[k] - step * (g[k] * (most if x > most else x))
            k += np.uint64(1)


@compiled
def tile_apply(low, high, arrays, doubles):
    """Update the parameter's tiles."""
    p, g, _, _, scales = arrays
    t, (_, h) = p.dtype.type, doubles
    most, keep, step, grid = t(h[TOP]), t(h[KEEP]), t(h[STEP]), _grid(h)
    _, n, m, _, _, _, _ = grid
    for k in range(low, high):
        matrix, top, rows, left, columns = _tile(k, grid)
        start, first = (matrix * n + top) * m + left, matrix * (n + m)
        row, beside = vector(scales, first + top, rows), vector(scales, first + n + left, columns)
        if m < NARROW:  # then a tile is whole rows, end to end
            _narrow_apply(p, g, start, row, beside, most, keep, step)
            continue
        for i in range(rows):
            x, a = vector(p, start + i * m, columns), vector(g, start + i * m, columns)
            _apply(x, a, row[i], beside, most, keep, step)


@compiled
def chunk_sums(low, high, arrays, doubles):
    """Sum the squares of the gradient, and the mean squares, of chunks of a row or column."""
    _, g, means, _, _ = arrays
    sums, _ = doubles
    for k in range(low, high):
        start, own = k * CHUNK, k * (HEAD + LINE)
        n = min(CHUNK, g.size - start)
        sums[own + G_SQUARES] = _squares(g, start, n, vector(sums, own + HEAD, LINE))
        sums[own + MEANS] = sum_abs(vector(means, start, n))


@compiled
def chunk_means(low, high, arrays, doubles):
    """Update the mean square across, and set the factor that it gives: one stage, one thread."""
    _, g, _, other, _ = arrays
    sums, h = doubles
    squares, old = 0.0, 0.0
    for k in range((g.size + CHUNK - 1) // CHUNK):
        squares += sums[k * (HEAD + LINE) + G_SQUARES]
        old += sums[k * (HEAD + LINE) + MEANS]
    t = other.dtype.type
    other[0] += t(h[SHARE]) * (t(squares / g.size) - other[0])
    mean = (old + h[SHARE] * (squares - old)) / g.size if h[N] > 1.0 else np.float64(other[0])
    h[FACTOR] = np.sqrt(np.maximum(mean, h[EPS1]) / np.float64(other[0]))


@compiled
def _average_and_fill(g, means, share, factor, most, u):
    """Move the mean squares of a piece of a line, and set ``u`` to its updates."""
    for j in range(u.size):
        x, v = g[j], means[j]
        v += share * (x * x - v)
        means[j] = v
        y = factor / np.sqrt(v)
        u[j] = x * (most if y > most else y)


@compiled
def chunk_updates(low, high, arrays, doubles):
    """Compute the updates of chunks, and sum the squares of the parameter and of the updates."""
    p, g, means, _, u = arrays
    t, (sums, h) = p.dtype.type, doubles
    share, factor, most = t(h[SHARE]), t(h[FACTOR]), t(h[TOP])
    for k in range(low, high):
        start, own = k * CHUNK, k * (HEAD + LINE)
        n = min(CHUNK, p.size - start)
        _average_and_fill(
            vector(g, start, n), vector(means, start, n), share, factor, most, vector(u, start, n)
        )
        along = vector(sums, own + HEAD, LINE)
        sums[own + P_SQUARES] = _squares(p, start, n, along)
        sums[own + U_SQUARES] = _squares(u, start, n, along)


@compiled
def chunk_step(low, high, arrays, doubles):
    """Set the factor of the update from the chunks' sums: one stage, one thread."""
    size, (sums, h) = arrays[0].size, doubles
    _set_step(sums, (size + CHUNK - 1) // CHUNK, HEAD + LINE, size, h)


@compiled
def chunk_apply(low, high, arrays, doubles):
    """Update the parameter's chunks."""
    p, _, _, _, u = arrays
    t, (_, h) = p.dtype.type, doubles
    keep, step, start = t(h[KEEP]), t(h[STEP]), low * CHUNK
    n = min(high * CHUNK, p.size) - start
    x, y = vector(p, start, n), vector(u, start, n)
    for k in range(x.size):
        x[k] = keep * x[k] - step * y[k]


MATRICES = tile_sums, tile_means, tile_sizes, tile_step, tile_apply
LINE_ALONE = chunk_updates, chunk_step, chunk_apply
LINE_ACROSS = chunk_sums, chunk_means, *LINE_ALONE
