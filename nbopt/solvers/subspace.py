"""The step from the Cauchy point: the model's minimizer over the variables that are free there.

Sources: R. H. Byrd, P. Lu, J. Nocedal, C. Zhu, SIAM J. Sci. Comput. 16 (1995), section 5.1 (direct
primal method); J. L. Morales and J. Nocedal, "Remark on algorithm 778", ACM TOMS 38 (2011): the step is
projected onto the bounds, and cut short only where the projection does not lead downhill.

With Z the columns of the free variables, A those of the others, r = Z'(gradient of the model at the
Cauchy point), the formula of Sherman, Morrison and Woodbury gives

    d = -r/theta - Z'W K^-1 W'Z r/theta^2,    K = M^-1 - W'ZZ'W/theta = [[-P, E'], [E, theta*S'AA'S]]

with P = D + Y'ZZ'Y/theta, E = (S'AA'Y below the diagonal) - (S'ZZ'Y on and above it): none of the
parts is a difference of larger numbers.

A pass over S and Y takes a block of all pairs at a time, so that threads may share the blocks, and that
what a block needs twice is in a cache. ``crew`` and ``scratch`` are the first and the last argument of
`large_vectors.sweep`: ``scratch`` has room for 4*m sums of each block, and for the numbers below.
"""

from __future__ import annotations

from nbopt.kernels.compile import compiled
from nbopt.kernels.large_vectors import fold, span, sweep
from nbopt.kernels.reductions import blocks_of, dot
from nbopt.kernels.views import flat, row, vector
from nbopt.solvers.cauchy_point import ROW, C, inside
from nbopt.solvers.cholesky import cholesky, solve_lower, solve_upper
from nbopt.solvers.compact import multiply_middle

# The stages of `subspace`.
REDUCE, STEP, PARTS = range(3)

# What a stage reads: theta, the number of pairs, their rows, and then a vector of the small space.
THETA, PAIRS, ROWS = range(3)


def room_for_numbers(rows: int) -> int:
    """Return how many numbers a stage may read."""
    return ROWS + 3 * rows


@compiled(inline=True)
def list_pairs(slots, m, theta, h):
    """Tell a stage the oldest ``m`` pairs; return where its vector of the small space stands."""
    h[THETA], h[PAIRS] = theta, m
    for j in range(m):
        h[ROWS + j] = slots[j]
    return vector(h, ROWS + m, 2 * m)


@compiled(inline=True)
def free_variables(target, lower, upper, free, changed):
    """Mark with 1 the variables off their bounds, the others with 0; list those whose mark is new.

    Return how many are free and how many marks are new.
    """
    count, changes = 0, 0
    for k in range(target.size):
        mark = 1.0 if lower[k] < target[k] < upper[k] else 0.0
        if mark != free[k]:
            free[k] = mark
            changed[changes] = k
            changes += 1
        count += int(mark)
    return count, changes


@compiled(inline=True)
def multiply_parts(S, Y, slots, fresh, free, changed, YZY, SAS, E, free_y, held_s, scratch, crew):
    """Bring Y'ZZ'Y, S'AA'S and E, all kept by row of S, up to date.

    The newest ``fresh`` pairs are not in them yet, the others are, with the variables in ``changed``
    still marked the other way. ``free_y`` and ``held_s`` take ZZ'y and AA's of a pair.
    """
    m, n = slots.size, free.size
    found, h = scratch
    for k in changed:
        _move_variable(S, Y, slots, m - fresh, k, 2.0 * free[k] - 1.0, YZY, SAS, E)
    arrays = free_y, held_s, free, flat(S), flat(Y)
    for i in range(m - fresh, m):
        list_pairs(slots, i + 1, 1.0, h)
        sweep(crew, PARTS, 2 * i + 5, arrays, (found, h))
        a = slots[i]
        for j in range(i + 1):
            b = slots[j]
            YZY[a, b], below, SAS[a, b], above = _sum_up(found, n, 4 * (i + 1), 4 * j)
            if i != j:
                E[a, b] = above
            E[b, a] = -below


@compiled
def multiply_part(low, high, arrays, doubles):
    """Write a pair's products with the older ones and itself, over free and over held variables: a stage."""
    free_y, held_s, free, S, Y = arrays
    found, h = doubles
    m, n = int(h[PAIRS]), free.size
    for block in range(low, high):
        start, size = span(block, n)
        y, s, marks = vector(free_y, start, size), vector(held_s, start, size), vector(free, start, size)
        held = _split(marks, S, Y, int(h[ROWS + m - 1]) * n + start, y, s)
        for j in range(m):
            at, k = int(h[ROWS + j]) * n + start, 4 * (m * block + j)
            older_y, older_s = vector(Y, at, size), vector(S, at, size)
            found[k] = found[k + 1] = found[k + 2] = found[k + 3] = 0.0
            if held < size:
                found[k], found[k + 1] = dot(y, older_y), dot(y, older_s)
            if held > 0:
                found[k + 2], found[k + 3] = dot(s, older_s), dot(s, older_y)


@compiled(inline=True)
def _split(marks, S, Y, at, free_y, held_s):
    """Write what a block of a change has in free variables, and its step in others; count the others."""
    held = 0
    for k in range(marks.size):
        held += int(marks[k] == 0.0)
    for k in range(marks.size):
        free_y[k] = marks[k] * Y[at + k]
        held_s[k] = (1.0 - marks[k]) * S[at + k]
    return held


@compiled(inline=True)
def _sum_up(found, n, width, at):
    """Return four sums over the blocks."""
    a, b, c, d = 0.0, 0.0, 0.0, 0.0
    for k in range(at, width * blocks_of(n), width):
        a += found[k]
        b += found[k + 1]
        c += found[k + 2]
        d += found[k + 3]
    return a, b, c, d


@compiled(inline=True)
def _move_variable(S, Y, slots, old, k, sign, YZY, SAS, E):
    """Account for one variable that has become free (sign 1) or is held now (-1), in the oldest pairs."""
    for i in range(old):
        a = slots[i]
        s, y = sign * S[a, k], sign * Y[a, k]
        for j in range(i + 1):
            b = slots[j]
            YZY[a, b] += y * Y[b, k]
            SAS[a, b] -= s * S[b, k]
            E[b, a] -= y * S[b, k]
            if i != j:
                E[a, b] -= s * Y[b, k]


@compiled
def factor_reduced(SY, YZY, SAS, E, slots, theta, P, H, Q):
    """Prepare solutions with K; tell whether rounding has left it what it must be.

    ``P`` and ``Q`` take the factors of P and of its complement theta*S'AA'S + E P^-1 E', ``H``, row by
    row, the solutions of ``(factor of P) h = (row of E)``.
    """
    m = slots.size
    for i in range(m):
        for j in range(i + 1):
            P[i, j] = YZY[slots[i], slots[j]] / theta
        P[i, i] += SY[slots[i], slots[i]]
    if not cholesky(P, m):
        return False
    for i in range(m):
        for j in range(m):
            H[i, j] = E[slots[i], slots[j]]
        solve_lower(P, m, row(H, i))
    for i in range(m):
        for j in range(i + 1):
            total = theta * SAS[slots[i], slots[j]]
            for k in range(m):
                total += H[i, k] * H[j, k]
            Q[i, j] = total
    return cholesky(Q, m)


@compiled(inline=True)
def solve_reduced(P, H, Q, m, v):
    """Overwrite ``v`` with the solution w of ``K w = v``."""
    below = vector(v, m, m)
    solve_lower(P, m, v)
    for i in range(m):
        for k in range(m):
            below[i] += H[i, k] * v[k]
    solve_lower(Q, m, below)
    solve_upper(Q, m, below)
    for k in range(m):
        v[k] = -v[k]
        for i in range(m):
            v[k] += H[i, k] * below[i]
    solve_upper(P, m, v)


@compiled(inline=True)
def subspace_step(x, g, target, free, S, Y, slots, theta, L, J, P, H, Q, r, d, small, scratch, crew):
    """Write the step from the Cauchy point ``target`` to the model's minimizer in the free variables to d.

    ``small[C]`` holds W'(target - x); ``r`` is scratch.
    """
    m, v = slots.size, row(small, ROW)
    found, h = scratch
    factors = list_pairs(slots, m, theta, h)
    multiply_middle(L, J, m, row(small, C), factors)
    for k in range(x.size):
        r[k] = g[k] + theta * (target[k] - x[k])
    arrays = d, r, free, flat(S), flat(Y)
    sweep(crew, REDUCE, 2 * m + 3, arrays, (found, h))
    fold(found, x.size, vector(v, 0, 2 * m))
    for j in range(m, 2 * m):
        v[j] *= theta
    solve_reduced(P, H, Q, m, v)
    for j in range(2 * m):
        factors[j] = v[j] / theta
    sweep(crew, STEP, 2 * m + 3, arrays, (found, h))


@compiled
def reduce_gradient(low, high, arrays, doubles):
    """Write the model's gradient in the free variables to r, and its products with the pairs: a stage."""
    _, r, free, S, Y = arrays
    found, h = doubles
    m, n = int(h[PAIRS]), r.size
    for block in range(low, high):
        start, size = span(block, n)
        part = vector(r, start, size)
        _subtract_w(S, Y, h, n, start, part)
        for k in range(size):
            part[k] *= free[start + k]
        for j in range(m):
            at, to = int(h[ROWS + j]) * n + start, 2 * m * block + j
            found[to], found[to + m] = dot(vector(Y, at, size), part), dot(vector(S, at, size), part)


@compiled
def write_step(low, high, arrays, doubles):
    """Write the step in the free variables to d: a stage."""
    d, r, free, S, Y = arrays
    h, n = doubles[1], d.size
    theta = h[THETA]
    for block in range(low, high):
        start, size = span(block, n)
        part = vector(d, start, size)
        for k in range(size):
            part[k] = -r[start + k]
        _subtract_w(S, Y, h, n, start, part)
        for k in range(size):
            part[k] *= free[start + k] / theta


@compiled
def _subtract_w(S, Y, h, n, start, part):
    """Subtract a block of W v, where v is the stage's vector of the small space."""
    m = int(h[PAIRS])
    for j in range(m):
        a, b = h[ROWS + m + j], h[THETA] * h[ROWS + 2 * m + j]
        at = int(h[ROWS + j]) * n + start
        y, s = vector(Y, at, part.size), vector(S, at, part.size)
        for k in range(part.size):
            part[k] -= a * y[k] + b * s[k]


@compiled
def bounded_step(x, g, lower, upper, d, target):
    """Move the Cauchy point ``target`` by d, projected onto the bounds, or cut short if that leads uphill.

    Morales and Nocedal (2011), section 2.
    """
    slope, longest = 0.0, 1.0
    for k in range(x.size):
        slope += g[k] * (inside(target[k] + d[k], lower[k], upper[k]) - x[k])
        if d[k] != 0.0:
            room = (upper[k] if d[k] > 0.0 else lower[k]) - target[k]
            longest = min(longest, room / d[k])
    if slope < 0.0:
        longest = 1.0
    for k in range(x.size):
        target[k] = inside(target[k] + longest * d[k], lower[k], upper[k])


# In the order of REDUCE, STEP and PARTS.
OWN_STAGES = reduce_gradient, write_step, multiply_part
