"""The step from the Cauchy point: the model's minimizer over the variables that are free there.

Sources: R. H. Byrd, P. Lu, J. Nocedal, C. Zhu, SIAM J. Sci. Comput. 16 (1995), section 5.1 (direct
primal method); J. L. Morales and J. Nocedal, "Remark on algorithm 778", ACM TOMS 38 (2011): the step is
projected onto the bounds, and cut short only where the projection does not lead downhill.

With Z the columns of the free variables, A those of the others, r = Z'(gradient of the model at the
Cauchy point), the formula of Sherman, Morrison and Woodbury gives

    d = -r/theta - Z'W K^-1 W'Z r/theta^2,    K = M^-1 - W'ZZ'W/theta = [[-P, E'], [E, theta*S'AA'S]]

with P = D + Y'ZZ'Y/theta, E = (S'AA'Y below the diagonal) - (S'ZZ'Y on and above it): none of the
parts is a difference of larger numbers.
"""

from __future__ import annotations

from nbopt.kernels.compile import compiled
from nbopt.kernels.reductions import dot
from nbopt.kernels.views import row, vector
from nbopt.solvers.cauchy_point import IMAGE, ROW, C, inside
from nbopt.solvers.cholesky import cholesky, solve_lower, solve_upper
from nbopt.solvers.compact import multiply_middle


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


@compiled
def multiply_parts(S, Y, slots, fresh, free, changed, YZY, SAS, E, scratch):
    """Bring Y'ZZ'Y, S'AA'S and E, all kept by row of S, up to date.

    The newest ``fresh`` pairs are not in them yet, the others are, with the variables in ``changed``
    still marked the other way. ``scratch`` has two rows, for as many variables as are worked on at a time.
    """
    m, block = slots.size, scratch.shape[1]
    for k in changed:
        _move_variable(S, Y, slots, m - fresh, k, 2.0 * free[k] - 1.0, YZY, SAS, E)
    for i in range(m - fresh, m):
        a = slots[i]
        for j in range(i + 1):
            b = slots[j]
            YZY[a, b] = SAS[a, b] = E[a, b] = E[b, a] = 0.0
        for start in range(0, free.size, block):
            size = min(block, free.size - start)
            _multiply_block(S, Y, slots, i, start, size, free, YZY, SAS, E, scratch)


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


@compiled(inline=True)
def _multiply_block(S, Y, slots, i, start, size, free, YZY, SAS, E, scratch):
    """Add a block's products of the i-th pair and the older ones, and itself."""
    a, held = slots[i], 0
    free_y, held_s = vector(row(scratch, 0), 0, size), vector(row(scratch, 1), 0, size)
    y, s, marks = vector(row(Y, a), start, size), vector(row(S, a), start, size), vector(free, start, size)
    for k in range(marks.size):
        held += int(marks[k] == 0.0)
    for k in range(marks.size):
        free_y[k] = marks[k] * y[k]
        held_s[k] = (1.0 - marks[k]) * s[k]
    for j in range(i + 1):
        b = slots[j]
        older_y, older_s = vector(row(Y, b), start, size), vector(row(S, b), start, size)
        if held < size:
            YZY[a, b] += dot(free_y, older_y)
            E[b, a] -= dot(free_y, older_s)
        if held > 0:
            SAS[a, b] += dot(held_s, older_s)
            if i != j:
                E[a, b] += dot(held_s, older_y)


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


@compiled
def subspace_step(x, g, target, free, S, Y, slots, theta, L, J, P, H, Q, r, d, small, block):
    """Write the step from the Cauchy point ``target`` to the model's minimizer in the free variables to d.

    ``small[C]`` holds W'(target - x); ``r`` is scratch, ``block`` how many variables to work on at a time.
    """
    m, n, image, v = slots.size, x.size, row(small, IMAGE), row(small, ROW)
    multiply_middle(L, J, m, row(small, C), image)
    for j in range(2 * m):
        v[j] = 0.0
    for start in range(0, n, block):
        size = min(block, n - start)
        part = vector(r, start, size)
        for k in range(size):
            part[k] = g[start + k] + theta * (target[start + k] - x[start + k])
        _subtract_w(S, Y, slots, image, theta, part, start)
        for k in range(size):
            part[k] *= free[start + k]
        for j in range(m):
            v[j] += dot(vector(row(Y, slots[j]), start, size), part)
            v[m + j] += theta * dot(vector(row(S, slots[j]), start, size), part)
    solve_reduced(P, H, Q, m, v)
    for j in range(2 * m):
        v[j] /= theta
    for start in range(0, n, block):
        part = vector(d, start, min(block, n - start))
        for k in range(part.size):
            part[k] = -r[start + k]
        _subtract_w(S, Y, slots, v, theta, part, start)
        for k in range(part.size):
            part[k] *= free[start + k] / theta


@compiled
def _subtract_w(S, Y, slots, v, theta, part, start):
    """Subtract a block of W v."""
    m = slots.size
    for j in range(m):
        a, b = v[j], theta * v[m + j]
        y, s = vector(row(Y, slots[j]), start, part.size), vector(row(S, slots[j]), start, part.size)
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
