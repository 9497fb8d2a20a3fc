"""The L-BFGS matrix in its compact form, for what the two-loop recursion cannot do.

    B = theta*I - W M W',   W = [Y, theta*S],   M^-1 = [[-D, L'], [L, theta*S'S]]

with D the diagonal and L the part below the diagonal of S'Y. Source: R. H. Byrd, J. Nocedal and
R. B. Schnabel, "Representations of quasi-Newton matrices and their use in limited memory methods",
Math. Programming 63 (1994), theorem 2.3; products with M as in R. H. Byrd, P. Lu, J. Nocedal and
C. Zhu, SIAM J. Sci. Comput. 16 (1995), section 3.

``slots`` lists the rows of S and Y in use, the oldest pair first, and so gives their number m. A vector
in the small space has 2*m elements: first the part of Y, then that of S.
"""

from __future__ import annotations

from nbopt.kernels.compile import compiled
from nbopt.kernels.large_vectors import dot
from nbopt.kernels.views import row, vector
from nbopt.solvers.cholesky import cholesky, solve_lower, solve_upper


@compiled(inline=True)
def multiply_pairs(S, Y, slots, fresh, SS, SY, team):
    """Add to S'S and S'Y what the newest ``fresh`` pairs bring; both are kept by row of S, not by age.

    Of S'Y only the products of a step with a change that is no newer are needed.
    """
    m = slots.size
    for i in range(m - fresh, m):
        a = slots[i]
        for j in range(i + 1):
            b = slots[j]
            SS[a, b] = SS[b, a] = dot(team, row(S, a), row(S, b))
            SY[a, b] = dot(team, row(S, a), row(Y, b))


@compiled
def factor_middle(SS, SY, slots, theta, L, J):
    """Prepare products with M; tell whether rounding has left it what it must be.

    ``L`` takes L below its diagonal, D on it, and D^-1 L' above; ``J`` the factor of
    theta*S'S + L D^-1 L'.
    """
    m = slots.size
    for i in range(m):
        for k in range(i):
            L[i, k] = SY[slots[i], slots[k]]
            L[k, i] = L[i, k] / L[k, k]
        L[i, i] = SY[slots[i], slots[i]]
    for i in range(m):
        for j in range(i + 1):
            total = theta * SS[slots[i], slots[j]]
            for k in range(j):
                total += L[i, k] * L[k, j]
            J[i, j] = total
    return cholesky(J, m)


@compiled
def multiply_middle(L, J, m, v, result):
    """Write M v to ``result``."""
    lower = vector(result, m, m)
    for i in range(m):
        total = v[m + i]
        for k in range(i):
            total += L[k, i] * v[k]
        lower[i] = total
    solve_lower(J, m, lower)
    solve_upper(J, m, lower)
    for k in range(m):
        total = -v[k] / L[k, k]
        for i in range(k + 1, m):
            total += L[k, i] * lower[i]
        result[k] = total


@compiled(inline=True)
def w_transposed(S, Y, slots, theta, d, result, team):
    """Write W'd to ``result``."""
    m = slots.size
    for j in range(m):
        result[j] = dot(team, row(Y, slots[j]), d)
        result[m + j] = theta * dot(team, row(S, slots[j]), d)


@compiled(inline=True)
def row_of_w(S, Y, slots, theta, k, result):
    """Write the k-th row of W to ``result``."""
    m = slots.size
    for j in range(m):
        result[j] = Y[slots[j], k]
        result[m + j] = theta * S[slots[j], k]


@compiled
def product(a, b, m):
    """Return the product of two vectors in the small space."""
    total = 0.0
    for j in range(2 * m):
        total += a[j] * b[j]
    return total
