"""R and Q'b of a matrix with columns that are far from parallel, from its Gram matrix: half the work.

Source: G. H. Golub and C. F. Van Loan, Matrix Computations, 4th ed., section 4.2.8 (Cholesky with diagonal
pivoting) and section 5.3 (what the squared condition number costs).
"""

from __future__ import annotations

import math

from nbopt.fitting.householder import solve_transposed
from nbopt.kernels.compile import compiled
from nbopt.kernels.reductions import padded_dots
from nbopt.kernels.views import row, vector

# The least share of a column's square that stands apart from the columns before it. The square has an error
# of 1e-16, so what is left has ten digits: more than a step needs, and a step has its own test.
_APART = 1e-6
_TINY = 2.0**-960  # a square that is smaller has lost digits


@compiled(inline=True)
def factor_apart(columns, count, b, order, R, apart, g):
    """Factor A[:, order] = Q R and turn the first elements of b into those of Q'b, if A's columns allow it.

    Parameters
    ----------
    columns : ndarray of shape (>= count, m)
        The j-th column of A in row j; left as they are. The length is a multiple of `reductions.LANES`,
        filled up with zeros.
    count : int
    b : ndarray of shape (m,), m >= count
    order : ndarray of int64, shape (>= count,)
        Takes the places of R's columns in A.
    R : ndarray of shape (>= count, >= count)
        Takes the upper triangle; columns of a smaller norm, of what the ones before leave, come later.
    apart, g : ndarray of shape (count,)
        Scratch.

    Returns
    -------
    bool
        False if columns are too nearly parallel: then `b` is as it was and `order` is 0, 1, ....
    """
    _multiply(columns, count, b, R, g)
    for j in range(count):
        order[j], apart[j] = j, _APART * R[j, j] if R[j, j] > _TINY else math.inf
    for k in range(count):
        _bring_largest(R, count, k, order, apart, g)
        if not R[k, k] > apart[k]:
            for j in range(count):
                order[j] = j
            return False
        R[k, k] = math.sqrt(R[k, k])
        for j in range(k + 1, count):
            R[k, j] /= R[k, k]
        for i in range(k + 1, count):
            for j in range(i, count):
                R[i, j] -= R[k, i] * R[k, j]
    solve_transposed(R, count, g)
    for j in range(count):
        b[j] = g[j]
    return True


@compiled(inline=True)
def _multiply(columns, count, b, R, g):
    """Write the upper triangle of A'A to R and A'b to g, two columns by two in each pass over them.

    ``b`` is the column after the last one. Where one is left over it is taken twice, and R[j + 1, j] is
    written, too.
    """
    last = vector(b, 0, b.size)  # a view, as a row is: nobody counts references to it
    for j in range(0, count, 2):
        i = min(j + 1, count - 1)
        for k in range(j, count + 1, 2):
            third = row(columns, k) if k < count else last
            fourth = row(columns, k + 1) if k + 1 < count else last
            products = padded_dots(row(columns, j), row(columns, i), third, fourth)
            _note(R, g, count, j, k, products[0])
            _note(R, g, count, j, k + 1, products[1])
            _note(R, g, count, i, k, products[2])
            _note(R, g, count, i, k + 1, products[3])


@compiled(inline=True)
def _note(R, g, count, j, k, product):
    """Keep the product of column j with column k, or with b."""
    if k < count:
        R[j, k] = product
    else:
        g[j] = product


@compiled(inline=True)
def _bring_largest(R, count, k, order, apart, g):
    """Exchange variable k, in the upper triangle, with the one of which most is left."""
    best = k
    for j in range(k + 1, count):
        if R[j, j] > R[best, best]:
            best = j
    if best == k:
        return
    apart[k], apart[best] = apart[best], apart[k]
    g[k], g[best] = g[best], g[k]
    order[k], order[best] = order[best], order[k]
    R[k, k], R[best, best] = R[best, best], R[k, k]
    for i in range(k):
        R[i, k], R[i, best] = R[i, best], R[i, k]
    for i in range(k + 1, best):
        R[k, i], R[i, best] = R[i, best], R[k, i]
    for i in range(best + 1, count):
        R[k, i], R[best, i] = R[best, i], R[k, i]
