"""Levenberg-Marquardt with bounds as a state machine: it says what to evaluate, and the caller does.

Sources: J. J. Moré, "The Levenberg-Marquardt algorithm: implementation and theory", Lecture Notes in
Mathematics 630 (1978), algorithm 7.1; for the bounds see `bounded_step`; for the end of a fit
D. M. Bates and D. G. Watts, "A relative offset orthogonality convergence criterion for nonlinear least
squares", Technometrics 23 (1981).

How an engine and its caller talk is said in `solvers.bursts`; here ``work`` begins with the point x, then
come the residuals r (m) and the Jacobian (m, n), and ``counts`` with n and m. `advance` answers EVALUATE
(put the residuals at x into r), JACOBIAN (the same, and the Jacobian), NEW_ITERATE or STOP. A loss that is
the user's own is evaluated with the residuals. The caller's function may write to x.

With ``polish`` the engine goes on after its tolerances are met while that lowers the relative offset,
the part of the residuals in the tangent plane; where the cost is flat to rounding by Gauss-Newton steps.
"""

from __future__ import annotations

import math

from nbopt.fitting.householder import factor
from nbopt.fitting.losses import CALLABLE, LINEAR, cost_of, fill_rho, weights
from nbopt.fitting.steps import take_step
from nbopt.fitting.workspace import (
    AT_ITERATE,
    BAD_JACOBIAN,
    BAD_START,
    BEFORE,
    BLIND,
    BOTH_SMALL,
    COSINES,
    COST,
    CUT,
    DAMPING,
    DELTA,
    DERIVING,
    ENDING,
    EVALUATIONS,
    F_SCALE,
    FACTOR,
    FTOL,
    GTOL,
    HEAD,
    IMAGE,
    JAC_SCALE,
    JACOBIAN,
    LAST,
    LENGTH,
    LOSS,
    LOWER,
    MAX_NFEV,
    NEW,
    NFEV,
    NIT,
    NJEV,
    PAUSE,
    PHASE,
    POLISH,
    POLISHING,
    PREDICTED,
    REASON,
    REFINE,
    RETURNING,
    RUNNING,
    SCRATCH,
    SLOPE,
    SMALL_GRADIENT,
    SMALL_REDUCTION,
    SMALL_STEP,
    STEP,
    STOPPED,
    TANGENT,
    TRIAL,
    TRIAL_COST,
    TRYING,
    UPPER,
    XTOL,
    D,
    G,
    M,
    N,
    S,
    X,
    parts,
)  # fmt: skip
from nbopt.kernels.compile import compiled
from nbopt.kernels.reductions import dot, max_abs
from nbopt.kernels.views import matrix, vector
from nbopt.solvers.bursts import EVALUATE, NEW_ITERATE, STOP

_ACCEPT = 1e-4  # the least share of the predicted reduction
_FLAT = 1e-12  # a predicted reduction of the cost that rounding hides
_PARALLEL = 1e-10  # a relative offset that is as good as 0
_ROUGH = 1e-9  # one that no Jacobian by differences is to be spent on
_SLOW = 0.7  # polishing goes on while a step shortens the offset to this share
_STILL = 1e-13  # a relative step that is none


@compiled
def advance(f, work, counts):
    """Take what was asked for, go on, and return what to do next; ``f`` is not used."""
    phase = counts[PHASE]
    if phase == STOPPED:
        return STOP
    if phase in (NEW, TRYING):
        counts[NFEV] += 1
        if _judge(work, counts):
            if counts[LAST] != 0:
                _settle(work, counts)
                return _ask(work, counts, X, STOPPED, STOP)
            if _begins_polishing(counts):  # at the new point, then: that saves a Jacobian
                counts[POLISHING] = min(counts[NFEV] + counts[POLISH], counts[MAX_NFEV])
            return _ask(work, counts, TRIAL, DERIVING, JACOBIAN)
    elif phase in (DERIVING, RETURNING):
        counts[NJEV] += 1
        if phase == DERIVING:
            if not _arrive(work, counts):
                _restore(work, counts)
                return _ask(work, counts, X, RETURNING, JACOBIAN)
            if counts[PAUSE] != 0 and counts[NIT] > 0:
                return _ask(work, counts, X, AT_ITERATE, NEW_ITERATE)
    if _begins_polishing(counts):
        counts[POLISHING] = min(counts[NFEV] + counts[POLISH], counts[MAX_NFEV])
        if counts[REFINE] != 0 and counts[LOSS] != CALLABLE:
            _restore(work, counts)
            return _ask(work, counts, TRIAL, DERIVING, JACOBIAN)
    if _choose(work, counts):
        return _ask(work, counts, TRIAL, TRYING, EVALUATE)
    return _ask(work, counts, X, STOPPED, STOP)


@compiled
def _ask(work, counts, line, phase, task):
    """Put a point into x and return the task."""
    x, lines = vector(work, 0, counts[N]), parts(work, counts)[4]
    for i in range(x.size):
        x[i] = lines[line, i]
    counts[PHASE] = phase
    return task


@compiled
def _begins_polishing(counts):
    """Tell whether the tolerances have just been met and the fit is to go on."""
    done = counts[REASON] != RUNNING and counts[REASON] <= BOTH_SMALL
    return done and counts[POLISH] != 0 and counts[POLISHING] == 0


@compiled
def _restore(work, counts):
    """Make the iterate the trial point: differences start from it."""
    rho, _, kept, _, lines, _, numbers = parts(work, counts)
    r = vector(work, counts[N], counts[M])
    for i in range(r.size):
        r[i] = kept[i]
    for i in range(counts[N]):
        lines[TRIAL, i] = lines[X, i]
    numbers[TRIAL_COST] = numbers[COST]
    if counts[LOSS] != LINEAR and counts[LOSS] != CALLABLE:
        fill_rho(counts[LOSS], r, numbers[F_SCALE], rho)


@compiled
def _judge(work, counts):
    """Take the residuals at the trial point; tell whether to go there."""
    rho, _, _, _, lines, _, numbers = parts(work, counts)
    r = vector(work, counts[N], counts[M])
    if counts[LOSS] != LINEAR and counts[LOSS] != CALLABLE:
        fill_rho(counts[LOSS], r, numbers[F_SCALE], rho)
    numbers[TRIAL_COST] = cost = cost_of(counts[LOSS], r, numbers[F_SCALE], rho)
    finite = math.isfinite(cost)
    if counts[PHASE] == NEW:
        if not finite:
            counts[REASON] = BAD_START
        return finite
    if counts[BLIND] != 0:
        accepted = cost <= numbers[COST] * (1.0 + 1e-9)
        counts[ENDING] = not accepted
        return accepted
    actual = numbers[COST] - cost if finite else -math.inf
    ratio = actual / numbers[PREDICTED]
    small = numbers[LENGTH] < numbers[XTOL] * (numbers[XTOL] + _length(lines[D], lines[X]))
    _resize(ratio, actual, numbers, counts[CUT] != 0)
    if counts[POLISHING] != 0:
        still = numbers[LENGTH] <= _STILL * _length(lines[D], lines[X])
        counts[ENDING] = still or counts[NFEV] >= counts[POLISHING]
    else:
        flat = actual < numbers[FTOL] * numbers[COST] and ratio > 0.25
        if small or flat:
            counts[REASON] = BOTH_SMALL if small and flat else SMALL_STEP if small else SMALL_REDUCTION
    return ratio >= _ACCEPT


@compiled
def _length(scales, s):
    """Return |D s|."""
    total = 0.0
    for i in range(s.size):
        total += (scales[i] * s[i]) ** 2
    return math.sqrt(total)


@compiled
def _resize(ratio, actual, numbers, cut):
    """Adapt the trust region to the ratio of actual and predicted reduction."""
    length = numbers[LENGTH]
    if not ratio > 0.25:
        shrink = 0.1
        if actual > -math.inf:  # the minimum of the parabola through value, slope and new value
            shrink = 0.5 * numbers[SLOPE] / (numbers[SLOPE] + actual)
            shrink = min(max(shrink, 0.1), 0.5)
        numbers[DELTA] = shrink * min(numbers[DELTA], 10.0 * length)
        numbers[DAMPING] /= shrink
    elif ratio >= 0.75 or numbers[DAMPING] == 0.0:
        numbers[DELTA] = max(numbers[DELTA], 2.0 * length) if cut else 2.0 * length
        numbers[DAMPING] *= 0.5


@compiled
def _arrive(work, counts):
    """Take the Jacobian at the trial point and make that the iterate; tell whether that can be."""
    lines, numbers = parts(work, counts)[4], parts(work, counts)[6]
    n, m = counts[N], counts[M]
    if not math.isfinite(max_abs(vector(work, n + m, m * n))):
        if counts[NIT] == 0 and counts[NJEV] == 1:
            counts[REASON] = BAD_JACOBIAN
            return True
        numbers[DELTA] = 0.1 * min(numbers[DELTA], numbers[LENGTH])
        counts[ENDING] = counts[BLIND]
        if counts[POLISHING] == 0:
            counts[REASON] = RUNNING
        return False
    _linearize(work, counts)
    before = numbers[TANGENT]
    if counts[BLIND] != 0:
        take_step(counts[STEP], math.inf, work, counts)
        counts[ENDING] = not numbers[TANGENT] <= _SLOW * before
        if not numbers[TANGENT] < before:
            return False
    numbers[BEFORE] = numbers[IMAGE] if counts[BLIND] == 0 else before
    _settle(work, counts)
    if counts[NJEV] == 1:
        size = _length(lines[D], lines[X])
        numbers[DELTA] = numbers[FACTOR] * (size if size > 0.0 else 1.0)
    if counts[POLISHING] == 0 and _is_stationary(work, counts):
        counts[REASON] = SMALL_GRADIENT
    return True


@compiled
def _settle(work, counts):
    """Make the trial point the iterate."""
    _, _, kept, _, lines, _, numbers = parts(work, counts)
    r = vector(work, counts[N], counts[M])
    counts[NIT] += counts[NJEV] > 1 or counts[LAST] != 0
    for i in range(r.size):
        kept[i] = r[i]
    for i in range(counts[N]):
        lines[X, i] = lines[TRIAL, i]
    numbers[COST] = numbers[TRIAL_COST]


@compiled
def _linearize(work, counts):
    """Scale residuals and Jacobian for the loss, factor them, and compute gradient and scales."""
    rho, b, _, columns, lines, R, numbers = parts(work, counts)
    n, m = counts[N], counts[M]
    r, J, order = vector(work, n, m), matrix(work, n + m, m, n), vector(counts, HEAD, n)
    for i in range(m):
        by = 1.0
        b[i] = r[i]
        if counts[LOSS] != LINEAR:
            factor_r, by = weights(rho, i, r[i], numbers[F_SCALE])
            b[i] *= factor_r
        for j in range(n):
            columns[j, i] = J[i, j] * by
    for j in range(n):
        order[j] = j
        lines[G, j] = dot(columns[j], b)
        if counts[JAC_SCALE] != 0:
            lines[D, j] = max(lines[D, j], math.sqrt(dot(columns[j], columns[j])))
            if counts[NJEV] == 1 and lines[D, j] == 0.0:
                lines[D, j] = 1.0
    factor(columns, n, b, order, R, lines[SCRATCH], lines[SCRATCH + 1])


@compiled
def _is_stationary(work, counts):
    """Tell whether the gradient is as small as gtol, where no bound holds a variable."""
    _, _, _, _, lines, R, numbers = parts(work, counts)
    order, rows, largest = vector(counts, HEAD, counts[N]), min(counts[M], counts[N]), 0.0
    size = math.sqrt(2.0 * numbers[COST])
    for j in range(order.size):
        i = order[j]
        g = lines[G, i]
        if (g > 0.0 and lines[X, i] <= lines[LOWER, i]) or (g < 0.0 and lines[X, i] >= lines[UPPER, i]):
            continue
        if counts[COSINES] != 0:
            norm = 0.0
            for k in range(min(rows, j + 1)):
                norm += R[k, j] * R[k, j]
            g = g / (math.sqrt(norm) * size) if norm > 0.0 and size > 0.0 else 0.0
        largest = max(largest, abs(g))
    return largest < numbers[GTOL] or (counts[COSINES] != 0 and size == 0.0)


@compiled
def _choose(work, counts):
    """Choose the next trial point; tell whether there is one."""
    lines, numbers = parts(work, counts)[4], parts(work, counts)[6]
    if counts[REASON] != RUNNING and counts[POLISHING] == 0:
        return False
    if counts[ENDING] != 0:
        return False
    if counts[NFEV] >= counts[MAX_NFEV]:
        if counts[POLISHING] == 0:
            counts[REASON] = EVALUATIONS
        return False
    counts[BLIND] = 0
    if counts[POLISHING] != 0:
        take_step(counts[STEP], math.inf, work, counts)
        if not numbers[TANGENT] > _PARALLEL * math.sqrt(2.0 * numbers[COST]):
            return False
        counts[BLIND] = numbers[PREDICTED] <= _FLAT * numbers[COST]
        coming = numbers[TANGENT] * numbers[TANGENT] / numbers[BEFORE]  # after a step, at the pace so far
        near = coming <= _ROUGH * math.sqrt(2.0 * numbers[COST]) and numbers[TANGENT] < 0.1 * numbers[BEFORE]
        counts[LAST] = counts[REFINE] != 0 and counts[BLIND] != 0 and near
    if counts[BLIND] == 0:
        take_step(counts[STEP], numbers[DELTA], work, counts)
        if counts[NIT] == 0:
            numbers[DELTA] = min(numbers[DELTA], numbers[LENGTH])
        if not numbers[PREDICTED] > 0.0:
            if counts[REASON] == RUNNING:
                counts[REASON] = SMALL_REDUCTION
            return False
    for i in range(counts[N]):
        s, x, low, high = lines[S, i], lines[X, i], lines[LOWER, i], lines[UPPER, i]
        lines[TRIAL, i] = low if s == low - x else high if s == high - x else min(max(x + s, low), high)
    return True
