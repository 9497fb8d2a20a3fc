"""A Levenberg-Marquardt step that stays within bounds: an active set on the linear model.

Variables that would leave their bounds are put on them and the step is solved again for the others;
those that the model then pulls back inside are set free. The step is never much worse for the model than
its Cauchy point along the projected gradient, which is what convergence needs.

Sources: P. B. Stark and R. L. Parker, "Bounded-variable least-squares", Comput. Statist. 10 (1995);
A. R. Conn, N. I. M. Gould and P. L. Toint, "Global convergence of a class of trust region algorithms
for optimization with simple bounds", SIAM J. Numer. Anal. 25 (1988).
"""

from __future__ import annotations

import math

from nbopt.fitting.damped_step import damped_step
from nbopt.fitting.householder import factor
from nbopt.kernels.compile import compiled

# What `held` says of a variable.
FREE, AT_LOWER, AT_UPPER = 0, -1, 1

_CAUCHY = 0.1  # the share of the Cauchy point's reduction that a step must reach
_NOISE = 1e-12  # a slope that is a smaller share of its terms is rounding


@compiled
def hold(x, g, lower, upper, held):
    """Mark the variables on a bound that the gradient pushes outward; tell how many there are."""
    count = 0
    for i in range(x.size):
        held[i] = FREE
        if x[i] <= lower[i] and g[i] > 0.0:
            held[i] = AT_LOWER
        elif x[i] >= upper[i] and g[i] < 0.0:
            held[i] = AT_UPPER
        count += held[i] != FREE
    return count


@compiled
def model_change(R, rows, b, order, s, q):
    """Write R s to q and return what the model |R s + b|^2 / 2 loses by the step."""
    loss = 0.0
    for i in range(rows):
        q[i] = 0.0
        for j in range(i, s.size):
            q[i] += R[i, j] * s[order[j]]
        loss -= (b[i] + 0.5 * q[i]) * q[i]
    return loss


@compiled
def bounded_step(R, rows, b, order, x, g, lower, upper, held, D, delta, damping, s, small):
    """Write a step within the bounds to s; return its damping, and whether a bound has cut it.

    ``small`` holds scratch: two square matrices, lines of n, and the order of the free variables.
    The step of a variable that is held is 0 if the bound is where it stands.
    """
    _, S, lines, _ = small
    n = x.size
    z, w, q = lines[0], lines[1], lines[2]
    count = hold(x, g, lower, upper, held)
    if count == 0:
        damping = damped_step(R, rows, b, order, n, D, delta, damping, s, S, z, w)
        if not _clamp(x, lower, upper, s, held):
            return damping, False
    guess = damping
    for _ in range(3 * n + 3):
        _pin(x, lower, upper, s, held)
        damping = _solve_free(R, rows, b, order, held, D, delta, guess, s, small)
        if not _clamp(x, lower, upper, s, held):
            model_change(R, rows, b, order, s, q)
            if not _release(R, rows, b, order, held, D, damping, s, q):
                break
    for i in range(n):
        s[i] = min(max(s[i], lower[i] - x[i]), upper[i] - x[i])
    loss = model_change(R, rows, b, order, s, q)
    _cauchy_point(R, rows, b, order, x, g, lower, upper, D, delta, z, q)
    if not loss >= _CAUCHY * model_change(R, rows, b, order, z, q):
        for i in range(n):
            s[i] = z[i]
    return damping, True


@compiled
def _clamp(x, lower, upper, s, held):
    """Mark the free variables that left their bounds; tell whether there were any."""
    found = False
    for i in range(x.size):
        if held[i] == FREE and not x[i] + s[i] >= lower[i]:
            held[i], found = AT_LOWER, True
        elif held[i] == FREE and not x[i] + s[i] <= upper[i]:
            held[i], found = AT_UPPER, True
    return found


@compiled
def _pin(x, lower, upper, s, held):
    """Let the steps of the marked variables end on their bounds."""
    for i in range(x.size):
        if held[i] != FREE:
            s[i] = (lower[i] if held[i] == AT_LOWER else upper[i]) - x[i]


@compiled
def _release(R, rows, b, order, held, D, damping, s, q):
    """Free the variable on a bound that the model pulls inside the most; tell whether there is one."""
    best, most = -1, 0.0
    for j in range(s.size):
        i = order[j]
        if held[i] != FREE:
            slope = damping * D[i] * D[i] * s[i]
            size = abs(slope)
            for k in range(min(rows, j + 1)):
                slope += R[k, j] * (q[k] + b[k])
                size += abs(R[k, j]) * (abs(q[k]) + abs(b[k]))
            pull = slope * held[i] / D[i]
            if pull > most and abs(slope) > _NOISE * size:
                best, most = i, pull
    if best >= 0:
        held[best] = FREE
    return best >= 0


@compiled
def _solve_free(R, rows, b, order, held, D, delta, damping, s, small):
    """Solve for the free variables, the others' steps being given; return the damping."""
    T, S, lines, free = small
    n, count, used = s.size, 0, 0.0
    z, w, rest = lines[0], lines[1], lines[3]
    for i in range(n):
        rest[i] = b[i] if i < rows else 0.0
    for j in range(n):
        i = order[j]
        top = min(rows, j + 1)
        if held[i] != FREE:
            used += (D[i] * s[i]) ** 2
            for k in range(top):
                rest[k] += R[k, j] * s[i]
        else:
            for k in range(n):
                T[count, k] = R[k, j] if k < top else 0.0
            free[count] = i
            count += 1
    if count == 0:
        return 0.0
    factor(T, count, rest, free, S, lines[4], lines[5])
    radius = math.sqrt(max(delta * delta - used, 0.01 * delta * delta))
    return damped_step(S, count, rest, free, count, D, radius, damping, s, T, z, w)


@compiled
def _cauchy_point(R, rows, b, order, x, g, lower, upper, D, delta, z, q):
    """Write to z a step along the projected gradient that lowers the model enough."""
    slope, length = 0.0, 0.0
    for i in range(x.size):
        z[i] = -g[i] / (D[i] * D[i])
        if (z[i] < 0.0 and x[i] <= lower[i]) or (z[i] > 0.0 and x[i] >= upper[i]):
            z[i] = 0.0
        slope -= g[i] * z[i]
        length += (D[i] * z[i]) ** 2
    if not slope > 0.0:
        return
    curvature = 2.0 * (slope - model_change(R, rows, b, order, z, q))  # |R z|^2
    step = min(delta / math.sqrt(length), slope / curvature if curvature > 0.0 else math.inf)
    if not step < math.inf:
        step = 1.0 / math.sqrt(length)
    for _ in range(40):
        slope = 0.0
        for i in range(x.size):
            z[i] = -step * g[i] / (D[i] * D[i])
            z[i] = min(max(z[i], lower[i] - x[i]), upper[i] - x[i])
            slope -= g[i] * z[i]
        if model_change(R, rows, b, order, z, q) >= _CAUCHY * slope:
            return
        step *= 0.25
