"""Steps of Levenberg and Marquardt bent along the geodesic, where a fit creeps through a curved valley.

Source: M. K. Transtrum and J. P. Sethna, "Improvements to the Levenberg-Marquardt algorithm for nonlinear
least-squares minimization", arXiv:1201.5885 (2012), sections 3 and 4: beside the step v, its velocity, a path
that keeps the residuals' second derivative along v in the normal space has the acceleration a, and goes to
x + v + a/2. The second derivative takes one evaluation at x + h v.
"""

from __future__ import annotations

import math

from nbopt.fitting.householder import solve_transposed, solve_upper
from nbopt.fitting.losses import LINEAR
from nbopt.fitting.workspace import (
    DAMPING,
    HEAD,
    LENGTH,
    LOSS,
    LOWER,
    NIT,
    NUMBERS,
    POLISHING,
    SCRATCH,
    STALE,
    STRETCH,
    TRIAL,
    UPPER,
    D,
    M,
    N,
    S,
    X,
    parts,
)
from nbopt.kernels.compile import compiled
from nbopt.kernels.views import matrix, vector

_AFTER = 10  # iterations: whoever has arrived by then saves the evaluations
_H = 0.1  # of the step: where the second derivative is measured
_MOST = 0.75  # of |D v|: a longer |D a| belongs to a path that is no parabola any more


@compiled
def creeps(counts):
    """Tell whether the fit, by least squares, has gone on for long and is not near its end."""
    return counts[NIT] >= _AFTER and counts[LOSS] == LINEAR and counts[POLISHING] == 0


@compiled
def may_bend(work, counts):
    """Tell whether the step just computed is damped, without bounds, and the Jacobian that of the iterate."""
    lines, numbers = parts(work, counts)[4], parts(work, counts)[6]
    if not creeps(counts) or counts[STALE] != 0 or not numbers[DAMPING] > 0.0:
        return False
    bounded = False
    for i in range(counts[N]):
        bounded = bounded or lines[LOWER, i] > -math.inf or lines[UPPER, i] < math.inf
    return not bounded


@compiled
def probe(work, counts):
    """Make the trial point one on the way, where the second derivative shows."""
    lines = parts(work, counts)[4]
    for i in range(counts[N]):
        lines[TRIAL, i] = lines[X, i] + _H * lines[S, i]


@compiled
def bend(work, counts):
    """Make the trial point the end of the step, bent by its acceleration if that is not too long.

    The damped triangle is the one that the step was computed by, see `steps`.
    """
    _, _, kept, _, lines, _, numbers = parts(work, counts)
    n, m, a, w, s = counts[N], counts[M], lines[SCRATCH], lines[SCRATCH + 1], lines[S]
    r, J, order = vector(work, n, m), matrix(work, n + m, m, n), vector(counts, HEAD, n)
    triangle = matrix(work, work.size - NUMBERS - n * n, n, n)
    for j in range(n):
        lines[TRIAL, j], a[j] = lines[X, j] + s[j], 0.0
    for i in range(m):
        along = 0.0
        for j in range(n):
            along += J[i, j] * s[j]
        second = (2.0 / _H) * ((r[i] - kept[i]) / _H - along)
        for j in range(n):
            a[j] -= J[i, j] * second
    for k in range(n):
        w[k] = a[order[k]]
    solve_transposed(triangle, n, w)
    solve_upper(triangle, n, w)
    length = 0.0
    for k in range(n):
        length += (lines[D, order[k]] * w[k]) ** 2
    if math.sqrt(length) <= 0.5 * _MOST * numbers[LENGTH]:
        numbers[STRETCH] = 0.0  # Aitken's process knows nothing of such steps
        for k in range(n):
            lines[TRIAL, order[k]] += 0.5 * w[k]
