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
A fit that goes on for long takes steps along the geodesic, see `geodesic`.
"""

from __future__ import annotations

import math

from nbopt.fitting.aitken import stretch
from nbopt.fitting.geodesic import bend, creeps, may_bend, probe
from nbopt.fitting.gram import factor_apart
from nbopt.fitting.householder import factor
from nbopt.fitting.jacobian_differences import are_rough
from nbopt.fitting.losses import CALLABLE, LINEAR, cost_of, fill_rho, weights
from nbopt.fitting.steps import take_step
from nbopt.fitting.workspace import (
    AT_ITERATE,
    BAD_JACOBIAN,
    BAD_START,
    BEFORE,
    BLIND,
    BOTH,
    BOTH_SMALL,
    BROUGHT,
    CENTRAL,
    COSINES,
    COST,
    COUPLED,
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
    KEPT,
    LAST,
    LEAVING,
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
    PROBING,
    REASON,
    REFINE,
    REFRESHING,
    RETURNING,
    RUNNING,
    SCRATCH,
    SIZE,
    SLOPE,
    SMALL_GRADIENT,
    SMALL_REDUCTION,
    SMALL_STEP,
    STALE,
    STEP,
    STOPPED,
    STRETCH,
    TANGENT,
    TOGETHER,
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
from nbopt.kernels.reductions import is_finite
from nbopt.kernels.transposed import copy_columns
from nbopt.kernels.views import matrix, vector
from nbopt.solvers.bursts import EVALUATE, NEW_ITERATE, STOP

_ACCEPT = 1e-4  # the least share of the predicted reduction
_FLAT = 1e-12  # a predicted reduction of the cost that rounding hides; also where the data are much larger:
_ROUNDING = 8.0 * 2.0**-52  # times their length and that of the residuals
_DIGITS, _SEEN = 1e-10, 2e-9  # relative changes of a variable that are none; the second for differences
_UNSEEN = 3e-6  # of the standard errors: so short a step is the last one, where Jacobians are differences
_PARALLEL, _NOISE = 1e-10, 1e-8  # relative offsets that are as good as 0; the second for differences
_SLOW = 0.7  # polishing goes on while a step shortens the offset to this share
_STILL = 1e-13  # a relative step that is none


@compiled
def advance(f, work, counts):
    """Take what was asked for, go on, and return what to do next; ``f`` is not used."""
    phase = counts[PHASE]
    if phase == STOPPED:
        return STOP
    if phase == LEAVING:
        counts[NJEV] += 1
        return _ask(work, counts, X, STOPPED, STOP)
    arrived = phase in (DERIVING, REFRESHING)
    if phase == PROBING:
        counts[NFEV] += 1
        bend(work, counts)
        return _ask(work, counts, TRIAL, TRYING, EVALUATE)
    if phase in (NEW, TRYING):
        counts[NFEV] += 1
        accepted = _judge(work, counts)
        arrived = accepted and counts[BROUGHT] != 0
        if accepted and (not arrived or _ends_here(counts)):
            return _leave_trial(work, counts)
        counts[STALE] = counts[BROUGHT] != 0 and not accepted
    if arrived or phase == RETURNING:
        counts[NJEV] += phase != REFRESHING or counts[CENTRAL] != 0
        counts[STALE] = 0
    if arrived and not _arrive(work, counts):
        _restore(work, counts)
        return _ask(work, counts, X, RETURNING, JACOBIAN)
    if arrived and phase != REFRESHING and counts[NFEV] > 1:
        counts[NIT] += 1
        if counts[PAUSE] != 0:
            return _ask(work, counts, X, AT_ITERATE, NEW_ITERATE)
    return _go_on(work, counts)


@compiled(inline=True)
def _ends_here(counts):
    """Tell whether an accepted trial point is the last one."""
    return counts[LAST] != 0 and counts[REASON] != RUNNING


@compiled
def _leave_trial(work, counts):
    """Ask for the Jacobian at an accepted trial point; if that is the last one, only where it is missed."""
    if not _ends_here(counts):
        if _begins_polishing(counts):  # at the new point, then: that saves a Jacobian
            _begin_polishing(work, counts)
        return _ask(work, counts, TRIAL, DERIVING, JACOBIAN)
    _settle(work, counts)
    counts[NIT] += 1
    if counts[BROUGHT] == 0 and counts[REFINE] == 0:
        return _ask(work, counts, X, LEAVING, JACOBIAN)
    counts[NJEV] += counts[BROUGHT]
    return _ask(work, counts, X, STOPPED, STOP)


@compiled(inline=True)
def _go_on(work, counts):
    """Choose what to do at the iterate."""
    if _begins_polishing(counts):
        _begin_polishing(work, counts)
        if counts[CENTRAL] != 0 or counts[KEPT] != 0:
            return _refresh(work, counts)
    if _choose(work, counts):
        if may_bend(work, counts):
            probe(work, counts)
            return _ask(work, counts, TRIAL, PROBING, EVALUATE)
        both = counts[TOGETHER] != 0 and counts[STALE] == 0 and not creeps(counts)
        return _ask(work, counts, TRIAL, TRYING, BOTH if both else EVALUATE)
    rough = _is_rough(work, counts)
    if rough or counts[KEPT] != 0:
        counts[CENTRAL] |= rough
        return _refresh(work, counts)
    if counts[STALE] != 0 and counts[REASON] <= BOTH_SMALL:
        _restore(work, counts)
        return _ask(work, counts, X, LEAVING, JACOBIAN)
    return _ask(work, counts, X, STOPPED, STOP)


@compiled
def _refresh(work, counts):
    """Ask for what the Jacobian lacks at the iterate: columns from there, or central differences."""
    counts[BLIND] = counts[ENDING] = 0
    _restore(work, counts)
    return _ask(work, counts, TRIAL, REFRESHING, JACOBIAN)


@compiled(inline=True)
def _ask(work, counts, line, phase, task):
    """Put a point into x and return the task."""
    x, lines = vector(work, 0, counts[N]), parts(work, counts)[4]
    for i in range(x.size):
        x[i] = lines[line, i]
    counts[PHASE], counts[BROUGHT] = phase, task == BOTH
    return task


@compiled
def _begins_polishing(counts):
    """Tell whether the tolerances have just been met and the fit is to go on."""
    done = counts[REASON] != RUNNING and counts[REASON] <= BOTH_SMALL
    return done and counts[POLISH] != 0 and counts[POLISHING] == 0


@compiled(inline=True)
def _begin_polishing(work, counts):
    """Polish from now on, for so many evaluations."""
    counts[CENTRAL] |= _is_rough(work, counts)
    counts[POLISHING] = min(counts[NFEV] + counts[POLISH], counts[MAX_NFEV])


@compiled
def _is_rough(work, counts):
    """Tell whether forward differences would cost digits where the fit is to end."""
    if counts[REFINE] == 0 or counts[CENTRAL] != 0 or counts[POLISH] == 0:
        return False
    if counts[REASON] in (EVALUATIONS, BAD_START, BAD_JACOBIAN):
        return False
    _, _, _, _, lines, R, numbers = parts(work, counts)
    n = counts[N]
    return counts[LOSS] != CALLABLE and are_rough(
        R, counts[M], vector(counts, HEAD, n), vector(counts, HEAD + 3 * n, n), lines, numbers
    )


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
        if numbers[DAMPING] == 0.0 and not cut:  # or the same step may come again
            for _ in range(4):  # from 10 lengths to less than one
                numbers[DELTA] *= shrink if numbers[DELTA] >= 0.9 * length else 1.0
        numbers[DAMPING] /= shrink
    elif ratio >= 0.75 or numbers[DAMPING] == 0.0:
        numbers[DELTA] = max(numbers[DELTA], 2.0 * length) if cut else 2.0 * length
        numbers[DAMPING] *= 0.5


@compiled(inline=True)
def _arrive(work, counts):
    """Take the Jacobian at the trial point and make that the iterate; tell whether that can be."""
    lines, numbers = parts(work, counts)[4], parts(work, counts)[6]
    n, m = counts[N], counts[M]
    if not is_finite(vector(work, n + m, m * n)):
        if counts[NIT] == 0 and counts[NJEV] == 1:
            counts[REASON] = BAD_JACOBIAN
            return True
        if counts[CENTRAL] != 0:  # they reach beyond where the function is defined
            counts[CENTRAL] = counts[REFINE] = 0
        numbers[DELTA] = 0.1 * min(numbers[DELTA], numbers[LENGTH])
        counts[ENDING] = counts[BLIND]
        if counts[POLISHING] == 0:
            counts[REASON] = RUNNING
        return False
    void = counts[KEPT] < 0
    if void:  # what was concluded from the columns
        counts[REASON], counts[POLISHING], counts[KEPT] = RUNNING, 0, 0
    _linearize(work, counts)
    before = numbers[TANGENT]
    if counts[BLIND] != 0:
        take_step(counts[STEP], math.inf, work, counts)
        slow = not numbers[TANGENT] <= _SLOW * before
        counts[ENDING] = slow and numbers[STRETCH] == 1.0
        if slow:  # the next step is to be as it is
            numbers[STRETCH] = 0.0
        if not numbers[TANGENT] < before:
            return False
    if counts[PHASE] != REFRESHING:
        numbers[BEFORE] = numbers[IMAGE] if counts[BLIND] == 0 else before
    _settle(work, counts)
    if counts[NJEV] == 1 or void:
        size = _length(lines[D], lines[X])
        numbers[DELTA] = numbers[FACTOR] * (size if size > 0.0 else math.sqrt(2.0 * numbers[COST]))
    if counts[POLISHING] == 0 and _is_stationary(work, counts):
        counts[REASON] = SMALL_GRADIENT
    return True


@compiled
def _settle(work, counts):
    """Make the trial point the iterate."""
    _, _, kept, _, lines, _, numbers = parts(work, counts)
    r = vector(work, counts[N], counts[M])
    for i in range(r.size):
        kept[i] = r[i]
    for i in range(counts[N]):
        lines[X, i] = lines[TRIAL, i]
    numbers[COST] = numbers[TRIAL_COST]


@compiled(inline=True)
def _linearize(work, counts):
    """Scale residuals and Jacobian for the loss, factor them, and compute gradient and scales."""
    rho, b, _, columns, lines, R, numbers = parts(work, counts)
    n, m = counts[N], counts[M]
    r, J, order = vector(work, n, m), matrix(work, n + m, m, n), vector(counts, HEAD, n)
    copy_columns(J, columns)
    for j in range(n):
        order[j] = j
    for i in range(m):
        b[i] = r[i]
    for i in range(m, b.size):
        b[i] = 0.0
    if counts[LOSS] != LINEAR:
        for i in range(m):
            factor_r, by = weights(rho, i, r[i], numbers[F_SCALE])
            b[i] *= factor_r
            for j in range(n):
                columns[j, i] *= by
    spare = lines[SCRATCH], lines[SCRATCH + 1]
    if counts[COUPLED] != 0 or m < n or not factor_apart(columns, n, b, order, R, *spare):
        counts[COUPLED] = 1  # it will not be tried again
        factor(columns, n, b, order, R, *spare)
    for k in range(n):  # J'r and the lengths of J's columns are those of R's
        j, slope, square = order[k], 0.0, 0.0
        for i in range(min(m, k + 1)):
            slope += R[i, k] * b[i]
            square += R[i, k] * R[i, k]
        lines[G, j] = slope
        if counts[JAC_SCALE] != 0:
            lines[D, j] = max(lines[D, j], math.sqrt(square))
            if counts[NJEV] == 1 and lines[D, j] == 0.0:
                lines[D, j] = 1.0


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


@compiled(inline=True)
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
    counts[BLIND] = counts[LAST] = 0
    if counts[POLISHING] != 0:
        take_step(counts[STEP], math.inf, work, counts)
        if not numbers[TANGENT] > _floor(counts) * math.sqrt(2.0 * numbers[COST]):
            return False
        rounding = _ROUNDING * numbers[SIZE] * math.sqrt(2.0 * numbers[COST])
        counts[BLIND] = numbers[PREDICTED] <= max(_FLAT * numbers[COST], rounding)
    if counts[BLIND] == 0:
        take_step(counts[STEP], numbers[DELTA], work, counts)
        if counts[NIT] == 0:
            numbers[DELTA] = min(numbers[DELTA], numbers[LENGTH])
        if not numbers[PREDICTED] > 0.0:
            if counts[REASON] == RUNNING:
                counts[REASON] = SMALL_REDUCTION
            return False
    if counts[REFINE] != 0 and _is_last(work, counts) and (counts[KEPT] != 0 or _is_rough(work, counts)):
        return False  # that step is to have the best Jacobian
    stretch(lines, numbers, counts)
    counts[LAST] = _is_last(work, counts)
    for i in range(counts[N]):
        s, x, low, high = lines[S, i], lines[X, i], lines[LOWER, i], lines[UPPER, i]
        lines[TRIAL, i] = low if s == low - x else high if s == high - x else min(max(x + s, low), high)
    return True


@compiled
def _floor(counts):
    """Return the relative offset that is as good as 0: forward differences see no smaller one."""
    return _NOISE if counts[REFINE] != 0 and counts[CENTRAL] == 0 else _PARALLEL


@compiled
def _is_last(work, counts):
    """Tell whether the step after this one would change no digit that counts."""
    lines, numbers = parts(work, counts)[4], parts(work, counts)[6]
    if counts[POLISH] == 0 or numbers[DAMPING] != 0.0 or not numbers[IMAGE] < 0.1 * numbers[BEFORE]:
        return False
    pace, digits = numbers[IMAGE] / numbers[BEFORE], _SEEN if counts[REFINE] != 0 else _DIGITS
    if numbers[STRETCH] != 1.0:  # that was faster than Gauss-Newton steps are
        pace = max(pace, abs(1.0 - 1.0 / numbers[STRETCH]))
    unseen = _UNSEEN if counts[REFINE] != 0 else 0.0
    if not numbers[IMAGE] <= unseen * math.sqrt(2.0 * numbers[COST] / counts[M]):
        for i in range(counts[N]):
            if not abs(lines[S, i]) * pace <= digits * abs(lines[X, i]):
                return False
    return True
