"""Where the quadratic model of L-BFGS-B has its minimizer within the bounds, or nearly so.

Source: R. H. Byrd, P. Lu, J. Nocedal, C. Zhu, SIAM J. Sci. Comput. 16 (1995). Where the minimizer
without bounds lies within them it is also the one within them, and the two-loop recursion gives it
for less. Else the generalized Cauchy point says which variables stay at their bounds, and a subspace
minimization moves the others.
"""

from __future__ import annotations

from nbopt.kernels.compile import compiled
from nbopt.kernels.reductions import BLOCK
from nbopt.kernels.views import matrix, vector
from nbopt.linesearch.two_loop import direction, row_of
from nbopt.solvers.cauchy_point import cauchy_point
from nbopt.solvers.compact import factor_middle, multiply_pairs
from nbopt.solvers.lbfgs import BEST_G, GAMMA, RHO, RING, D, G, X
from nbopt.solvers.subspace import (
    ROWS,
    bounded_step,
    factor_reduced,
    free_variables,
    multiply_parts,
    room_for_numbers,
    subspace_step,
)

# Rows of `vectors` after those of `lbfgs`: where the step leads at 1, scratch, 1 where a variable is free
# at the Cauchy point, the bounds.
TARGET, SCRATCH, FREE, LOWER, UPPER, VECTORS = range(BEST_G + 1, BEST_G + 7)
NEWTON = BEST_G  # the direction without bounds: no search is on while it is needed

# `counts` after the entries of `lbfgs`: how many variables have equal bounds; whether all have two
# bounds; how many pairs the products with all variables, and those with the free and with the others, do
# not know yet; whether the model, before its pairs were dropped, promised no more than rounding; the address
# of the stages; rows of S and Y by age (ROWS); a heap (n).
FIXED, BOXED, FRESH, FRESH_PARTS, SPENT, STAGES, SLOTS = range(RING + 2, RING + 9)

# The part of `work` after the numbers of `lbfgs`: matrices of (ROWS, ROWS); vectors of
# 2*ROWS; the scratch of `subspace`.
SS, SY, L, J, YZY, SAS, E, P, H, Q, MATRICES = range(11)
SMALL = 4

_FEW = 4  # a quarter of the variables: where more are newly free or held, all products start anew


def room_for_model(n: int, rows: int) -> int:
    """Return the size of the part of `work` after the numbers of `lbfgs`."""
    sums = 4 * rows * (n // BLOCK + 1)
    return MATRICES * rows * rows + SMALL * 2 * rows + sums + room_for_numbers(rows)


@compiled(inline=True)
def _square(work, at, which, rows):
    """Return one of the matrices of (ROWS, ROWS)."""
    return matrix(work, at + which * rows * rows, rows, rows)


@compiled(inline=True)
def _scratch(work, at, rows, n):
    """Return the scratch of `subspace`."""
    start, sums = at + MATRICES * rows * rows + SMALL * 2 * rows, 4 * rows * (n // BLOCK + 1)
    return vector(work, start, sums), vector(work, start + sums, ROWS + 3 * rows)


@compiled(inline=True)
def aim(vectors, S, Y, numbers, counts, work, at, team):
    """Write the end of the model's step to TARGET; False where rounding has spoilt the model.

    The matrices begin at ``work[at]``.
    """
    newton = not _pressed(vectors)  # else it would lead out
    if newton and _newton(vectors, S, Y, numbers, counts, team):
        return True
    rows, n, ring, theta = S.shape[0], S.shape[1], vector(counts, RING, 2), 1.0 / numbers[GAMMA]
    m, crew = ring[0], (team, counts[STAGES])
    slots, heap = vector(counts, SLOTS, m), vector(counts, SLOTS + rows, n)
    for i in range(m):
        slots[i] = row_of(ring, m - 1 - i, rows)
    if not _bend(vectors, S, Y, slots, theta, counts, heap, work, at, team):
        return False
    fresh = min(counts[FRESH_PARTS], m)
    count, changes = free_variables(vectors[TARGET], vectors[LOWER], vectors[UPPER], vectors[FREE], heap)
    if changes > 0:
        counts[FRESH_PARTS] = m  # unless they are brought up to date below
    if newton and count == n - counts[FIXED]:
        for k in range(n):
            vectors[D, k] = vectors[X, k] + vectors[NEWTON, k] - vectors[TARGET, k]
    elif count > 0:
        if fresh == m or _FEW * changes > n:
            fresh, changes = m, 0
        counts[FRESH_PARTS] = 0
        if not _slide(vectors, S, Y, slots, theta, fresh, vector(heap, 0, changes), work, at, crew):
            return False
    if count > 0:
        bounded_step(vectors[X], vectors[G], vectors[LOWER], vectors[UPPER], vectors[D], vectors[TARGET])
    return True


@compiled(inline=True)
def _pressed(vectors):
    """Tell whether the gradient presses a variable that can move against its bound."""
    for k in range(vectors.shape[1]):
        x, g, low, high = vectors[X, k], vectors[G, k], vectors[LOWER, k], vectors[UPPER, k]
        if low < high and ((g > 0.0 and x <= low) or (g < 0.0 and x >= high)):
            return True
    return False


@compiled(inline=True)
def _newton(vectors, S, Y, numbers, counts, team):
    """Write the quasi-Newton direction and, if it ends within the bounds, its end to TARGET; tell whether."""
    rows, ring, d = S.shape[0], vector(counts, RING, 2), vectors[NEWTON]
    rho, alpha = vector(numbers, RHO, rows), vector(numbers, RHO + rows, rows)
    for k in range(d.size):
        movable = vectors[LOWER, k] < vectors[UPPER, k]
        vectors[SCRATCH, k] = vectors[G, k] if movable else 0.0
    direction(S, Y, rho, alpha, ring, numbers[GAMMA], vectors[SCRATCH], d, team)
    within = True
    for k in range(d.size):
        end = vectors[X, k] + d[k]
        within = within and vectors[LOWER, k] <= end <= vectors[UPPER, k]
        vectors[TARGET, k] = end
    return within


@compiled(inline=True)
def _bend(vectors, S, Y, slots, theta, counts, heap, work, at, team):
    """Write the Cauchy point to TARGET; False where rounding has spoilt the model."""
    rows = S.shape[0]
    ss, sy = _square(work, at, SS, rows), _square(work, at, SY, rows)
    l, root = _square(work, at, L, rows), _square(work, at, J, rows)
    small = matrix(work, at + MATRICES * rows * rows, SMALL, 2 * rows)
    multiply_pairs(S, Y, slots, min(counts[FRESH], slots.size), ss, sy, team)
    counts[FRESH] = 0
    if not factor_middle(ss, sy, slots, theta, l, root):
        return False
    x, g, lower, upper = vectors[X], vectors[G], vectors[LOWER], vectors[UPPER]
    breaks, d, target = vectors[SCRATCH], vectors[D], vectors[TARGET]
    return cauchy_point(x, g, lower, upper, S, Y, slots, theta, l, root, breaks, heap, d, target, small, team)


@compiled(inline=True)
def _slide(vectors, S, Y, slots, theta, fresh, changed, work, at, crew):
    """Write the step from the Cauchy point to D; False where rounding has spoilt the model."""
    rows, n = S.shape
    yzy, sas, e = _square(work, at, YZY, rows), _square(work, at, SAS, rows), _square(work, at, E, rows)
    p, h, q = _square(work, at, P, rows), _square(work, at, H, rows), _square(work, at, Q, rows)
    small, scratch = matrix(work, at + MATRICES * rows * rows, SMALL, 2 * rows), _scratch(work, at, rows, n)
    x, g, d, target, free, r = (
        vectors[X], vectors[G], vectors[D], vectors[TARGET], vectors[FREE], vectors[SCRATCH],
    )  # fmt: skip
    multiply_parts(S, Y, slots, fresh, free, changed, yzy, sas, e, d, r, scratch, crew)
    if not factor_reduced(_square(work, at, SY, rows), yzy, sas, e, slots, theta, p, h, q):
        return False
    l, root = _square(work, at, L, rows), _square(work, at, J, rows)
    subspace_step(x, g, target, free, S, Y, slots, theta, l, root, p, h, q, r, d, small, scratch, crew)
    return True
