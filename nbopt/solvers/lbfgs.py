"""Limited-memory BFGS as a state machine: it says where to evaluate, and the caller evaluates.

Sources: J. Nocedal, "Updating quasi-Newton matrices with limited storage", Math. Comp. 35 (1980);
D. C. Liu and J. Nocedal, "On the limited memory BFGS method for large scale optimization", Math.
Programming 45 (1989); line search: J. J. Moré and D. J. Thuente, ACM TOMS 20 (1994).

How an engine and its caller talk is said in `bursts`. Driven by hand::

    w = Workspace(x0, options)
    task = EVALUATE
    while task != STOP:
        if task == EVALUATE:
            f = ...                # the value at w.x; put the gradient into w.g
        else: ...                  # NEW_ITERATE, if asked for: w.x, w.g and w.f are the iterate's
        task = advance(f, w.work, w.counts)
    # w.x, w.g and w.f are the last iterate's; w.counts[REASON] says why it stopped

The caller's function may write to x: it is a copy, and the engine does not read it.
"""

from __future__ import annotations

import math
import struct
from typing import Any

import numpy as np

from nbopt.kernels import reductions
from nbopt.kernels.compile import compiled
from nbopt.kernels.large_vectors import along, copy_max_abs, dot, scale, team_for
from nbopt.kernels.views import matrix, vector
from nbopt.linesearch import more_thuente as line
from nbopt.linesearch import search_state as found
from nbopt.linesearch.two_loop import direction, row_of, update_step
from nbopt.solvers.bursts import EVALUATE, NEW_ITERATE, STOP
from nbopt.solvers.options import Options

# Entries of `counts`. ROWS: room for pairs; COST: calls of the function per evaluation; STEEP: a value in
# this search differed from the iterate's by more than rounding; SLOW: how many small reductions came last,
# one after the other; TEAM: the address of a team for the passes over vectors (`large_vectors`), or 0; RING:
# the two numbers of `two_loop`.
N, ROWS, PHASE, NIT, NFEV, NJEV, COST, MAXITER, MAXFUN, MAXLS, PAUSE, REASON = range(12)
STEEP, CONVERGED, SLOW, TEAM, RING = 12, 13, 14, 15, 16

# The parts of `work`: x, g, the rows of `vectors`, the pairs S and Y (ROWS rows each), and `numbers`:
# those named here, the state of the search, and rho and alpha of `two_loop`.
F, FTOL, GTOL, GAMMA, UNIT, SEARCH = range(6)  # GAMMA: 0 if not known; UNIT: of rounding in values
RHO = SEARCH + found.SIZE
STEP, VALUE, SLOPE = SEARCH + found.BEST, SEARCH + found.BEST_PHI, SEARCH + found.DPHI0

# Rows of `vectors`: the iterate, its gradient, the direction, the gradient of the search's best point.
X, G, D, BEST_G = range(4)

NEW, SEARCHING, AT_ITERATE, STOPPED = range(4)

# Where to pause (counts[PAUSE]): nowhere; at each new iterate; at the first point, too.
NOWHERE, AT_EACH, FROM_START = range(3)

# Why a run stopped (counts[REASON]); for each, scipy's status and a sentence.
RUNNING, SMALL_GRADIENT, SMALL_REDUCTION, FLAT, ITERATIONS, EVALUATIONS, NO_PROGRESS, BAD_START = range(8)
MESSAGES = (
    (2, "The run has not ended."),
    (0, "Converged: no element of the gradient is larger than gtol."),
    (0, "Converged: the relative reduction of f is not above ftol."),
    (0, "Converged: f cannot be lowered further, differences are lost in rounding."),
    (1, "Stopped: the limit of iterations (maxiter) was reached."),
    (1, "Stopped: the limit of evaluations (maxfun) was reached."),
    (2, "Stopped: no lower point was found, not even by steepest descent; check the gradient."),
    (2, "Stopped: f or its gradient at x0 is not finite."),
)

EPS = 2.0**-52
# Values closer than this, relatively, are not told apart: the search then trusts the slopes.
RESOLUTION = 4.0  # rounding units, relative to the value
# L-BFGS-B has 0.9; 0.95 saves 1 % of the evaluations on perturbed classic problems.
C1, C2 = 1e-3, 0.95
FURTHEST = 1e10  # times the first step of a search
SLOWEST = 10  # so many small reductions in a row are no stop where the model promises more


# Write the numbers and counts of a start into an array, as far as they are not 0.
_pack_numbers: Any = struct.Struct("5d").pack_into
_pack_counts: Any = struct.Struct("11q").pack_into
_INTEGER = np.dtype(np.int64)


class Workspace:
    """The arrays of one run from ``x``."""

    __slots__ = ("at_f", "counts", "g", "team", "work", "x")
    messages: tuple[tuple[int, str], ...] = MESSAGES
    rows_of_vectors = 4

    def resume(self) -> bool:
        """Tell whether a NEW_ITERATE is one; this engine has no other reason to pause."""
        return True

    def __init__(
        self, x: np.ndarray, options: Options, cost: int = 1, pause: int = NOWHERE, unit: float = EPS
    ) -> None:
        maxcor, ftol, gtol, maxfun, maxiter, maxls = options[:6]
        n, rows = x.size, maxcor + 1
        numbers = (6 + 2 * rows) * n
        self.work = work = np.empty(numbers + RHO + 2 * rows)
        self.x, self.g = work[:n], work[n : 2 * n]
        self.x[...] = work[2 * n : 3 * n] = x
        _pack_numbers(work, 8 * numbers, math.nan, ftol, gtol, 0.0, unit)
        self.counts = counts = np.zeros(RING + 2, _INTEGER)
        _pack_counts(counts, 0, n, rows, NEW, 0, 0, 0, cost, maxiter, maxfun, maxls, pause)
        self.at_f, self.team = numbers + F, team_for(n)
        if self.team is not None:
            counts[TEAM] = self.team.address

    @property
    def f(self) -> float:
        """The value at the last iterate; NaN before the first evaluation."""
        return self.work.item(self.at_f)

    def place_of_f(self) -> int:
        """Return where in `work` the value at the last iterate stands."""
        return self.at_f

    def gradient_size(self) -> float:
        """Return what is compared with gtol at the last iterate."""
        n = self.x.size
        return float(np.abs(self.work[(2 + G) * n : (3 + G) * n]).max())

    def iterate(self) -> tuple[np.ndarray, np.ndarray]:
        """Return copies of the last iterate and its gradient, wherever the search now looks."""
        x, g = self.work[2 * self.x.size : 4 * self.x.size].copy().reshape(2, -1)  # rows X and G
        return x, g if self.counts[NJEV] else np.full(self.x.size, math.nan)

    def correction_pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the remembered steps and changes of the gradient, each (pairs, n), the oldest first."""
        ring, rows, n = self.counts[RING:], int(self.counts[ROWS]), self.x.size
        start = (2 + self.rows_of_vectors) * n
        pairs = self.work[start : start + 2 * rows * n].reshape(2, rows, n)
        order = [row_of(ring, age, rows) for age in range(int(ring[0]) - 1, -1, -1)]
        return pairs[0, order], pairs[1, order]

    def remember(self, steps: np.ndarray, changes: np.ndarray) -> int:
        """Begin with pairs of a former run, as `correction_pairs` gives them; return for how many is room."""
        rows, n = int(self.counts[ROWS]), self.x.size
        kept = min(len(steps), rows - 1)
        start = (2 + self.rows_of_vectors) * n
        S, Y = self.work[start : start + 2 * rows * n].reshape(2, rows, n)
        S[:kept], Y[:kept] = steps[len(steps) - kept :], changes[len(changes) - kept :]
        numbers = self.work[start + 2 * rows * n :]
        for k in range(kept):
            numbers[RHO + k] = 1.0 / reductions.dot(Y[k], S[k])
        if kept:
            numbers[GAMMA] = reductions.dot(Y[kept - 1], S[kept - 1]) / reductions.dot(
                Y[kept - 1], Y[kept - 1]
            )
        self.counts[RING : RING + 2] = kept
        return kept


@compiled
def advance(f, work, counts):
    """Take value and gradient at x, go on to the next point, and return what to do there."""
    team = counts[TEAM]
    n, rows, phase = counts[N], counts[ROWS], counts[PHASE]
    x, g, vectors = vector(work, 0, n), vector(work, n, n), matrix(work, 2 * n, 4, n)
    S, Y = matrix(work, 6 * n, rows, n), matrix(work, (6 + rows) * n, rows, n)
    numbers = vector(work, (6 + 2 * rows) * n, RHO + 2 * rows)
    if phase == STOPPED:
        return STOP
    if phase != AT_ITERATE:
        counts[NFEV] += counts[COST]
        counts[NJEV] += 1
    pause = phase == NEW and counts[PAUSE] == FROM_START
    searches = phase == SEARCHING and not advance_search(f, g, vectors, numbers, counts, team)
    if phase == NEW:
        _begin(f, g, vectors, numbers, counts)
    elif phase == SEARCHING and not searches:
        if _take(g, vectors, S, Y, numbers, counts, team):
            pause = counts[PAUSE] != NOWHERE
        else:
            no_decrease(numbers, counts)
    if pause:
        counts[PHASE] = AT_ITERATE
        show(x, g, vectors)
        return NEW_ITERATE
    if counts[REASON] == SMALL_REDUCTION:
        look_further(vectors[G], vectors[D], S, Y, numbers, counts, SLOWEST, team)
    searches = searches or (counts[REASON] == RUNNING and _turn(vectors, S, Y, numbers, counts, team))
    if searches:
        return _ask(x, vectors, numbers[SEARCH + found.STEP], counts, team)
    counts[PHASE] = STOPPED
    show(x, g, vectors)
    return STOP


@compiled(inline=True)
def _begin(f, g, vectors, numbers, counts):
    """Take value and gradient at the first point."""
    numbers[F] = f
    largest = copy_max_abs(0, g, vectors[G])
    if math.isfinite(f) and math.isfinite(largest):
        counts[REASON] = reason(f, math.inf, numbers, counts, largest)
    else:
        counts[REASON] = BAD_START


@compiled(inline=True)
def reason(f, before, numbers, counts, largest):
    """Return why to stop at an iterate, or RUNNING; ``before`` is infinite if no value compares."""
    small = before < math.inf and before - f <= numbers[FTOL] * max(abs(before), abs(f), 1.0)
    counts[SLOW] = counts[SLOW] + 1 if small else 0
    if largest <= numbers[GTOL]:
        return SMALL_GRADIENT
    if small:
        return SMALL_REDUCTION
    if counts[NIT] >= counts[MAXITER]:
        return ITERATIONS
    if counts[NFEV] + counts[COST] > counts[MAXFUN]:
        return EVALUATIONS
    return RUNNING


@compiled(inline=True)
def look_further(g, d, S, Y, numbers, counts, slowest, team):
    """Take back a stop for a small reduction where the model promises a larger one.

    So a slow stretch, as in a curved valley, is not taken for a minimum. The model is that of the pairs,
    with the curvature 1 where they know nothing; ``d`` is scratch.
    """
    rows, ring = S.shape[0], vector(counts, RING, 2)
    left = counts[NIT] < counts[MAXITER] and counts[NFEV] + counts[COST] <= counts[MAXFUN]
    if counts[SLOW] <= slowest and ring[0] > 0 and left:
        rho, alpha = vector(numbers, RHO, rows), vector(numbers, RHO + rows, rows)
        slope = direction(S, Y, rho, alpha, ring, 1.0, g, d, team)
        if -0.5 * slope > smallest_reduction(numbers):
            counts[REASON] = RUNNING


@compiled(inline=True)
def _turn(vectors, S, Y, numbers, counts, team):
    """Choose a direction at the iterate and begin a search; tell whether there is one."""
    ring, rows = vector(counts, RING, 2), S.shape[0]
    rho, alpha = vector(numbers, RHO, rows), vector(numbers, RHO + rows, rows)
    g, d = vectors[G], vectors[D]
    slope, step = 0.0, 1.0
    if ring[0] > 0:
        slope = direction(S, Y, rho, alpha, ring, numbers[GAMMA], g, d, team)
    if not slope < 0.0:  # nothing remembered, or rounding has spoilt it
        ring[0], ring[1] = 0, 0
        scale(0, -1.0, g, d)
        slope = -dot(0, g, g)
        if slope == 0.0:  # it underflows
            counts[REASON] = FLAT
            return False
        step = 1.0 / math.sqrt(-slope)  # x moves by 1, as in L-BFGS-B
        if numbers[GAMMA] > 0.0:
            step = min(step, numbers[GAMMA])
    search = vector(numbers, SEARCH, found.SIZE)
    counts[STEEP] = 0
    task = line.start(
        search, numbers[F], slope, step, C1, C2, 0.0, FURTHEST * step, counts[MAXLS], 0.0,
        RESOLUTION * numbers[UNIT],
    )  # fmt: skip
    if task != found.EVALUATE:  # the square of the gradient overflows
        counts[REASON] = SMALL_REDUCTION if counts[SLOW] > 0 else NO_PROGRESS
    return task == found.EVALUATE


@compiled(inline=True)
def _ask(x, vectors, step, counts, team):
    """Ask for an evaluation at a step along the direction."""
    along(team, step, vectors[X], vectors[D], x)
    counts[PHASE] = SEARCHING
    return EVALUATE


@compiled(inline=True)
def show(x, g, vectors):
    """Hand out the iterate and its gradient."""
    for k in range(x.size):
        x[k] = vectors[X, k]
        g[k] = vectors[G, k]


@compiled(inline=True)
def advance_search(f, g, vectors, numbers, counts, team):
    """Hand a trial point to the line search; tell whether the search has ended.

    At the end the gradient of the search's best point stands in ``g``.
    """
    search = vector(numbers, SEARCH, found.SIZE)
    task = line.advance(search, f, dot(team, g, vectors[D]))
    if not abs(f - numbers[F]) <= rounding(numbers):
        counts[STEEP] = 1
    counts[CONVERGED] = task == found.CONVERGED
    goes_on = task == found.EVALUATE and counts[NFEV] + counts[COST] <= counts[MAXFUN]
    best = vectors[BEST_G]
    if search[found.IMPROVED] != 1.0:
        if not goes_on:
            for k in range(g.size):
                g[k] = best[k]
    elif goes_on:
        for k in range(g.size):
            best[k] = g[k]
    return not goes_on


@compiled(inline=True)
def smallest_reduction(numbers):
    """Return what `ftol` or rounding leaves of a reduction that is worth a search."""
    return max(numbers[FTOL], 64.0 * numbers[UNIT]) * max(abs(numbers[F]), 1.0)


@compiled(inline=True)
def rounding(numbers):
    """Return the difference of two values near the iterate's that may be rounding alone."""
    return 16.0 * numbers[UNIT] * abs(numbers[F])


@compiled(inline=True)
def no_decrease(numbers, counts):
    """Say why the search found nothing lower; forget all pairs, so that steepest descent comes next."""
    promised = -numbers[SLOPE]
    if counts[NFEV] + counts[COST] > counts[MAXFUN]:
        counts[REASON] = EVALUATIONS
    elif counts[STEEP] == 0 and promised <= max(numbers[FTOL], 64.0 * numbers[UNIT]) * max(
        abs(numbers[F]), 1.0
    ):
        counts[REASON] = FLAT
    elif counts[RING] == 0:
        counts[REASON] = SMALL_REDUCTION if counts[SLOW] > 0 else NO_PROGRESS
    counts[RING] = counts[RING + 1] = 0


@compiled(inline=True)
def stretch(f, before, numbers):
    """Return the factor that gives y.s the curvature that the values show; 1 where they are too rough.

    To third order ``s.H s = y.s + 6*(f0 - f1) + 3*(g0 + g1).s`` at the new point: J. Z. Zhang, N. Y. Deng,
    L. H. Chen, "New quasi-Newton equation", J. Optim. Theory Appl. 102 (1999). It saves 4 % of the
    evaluations on the problems of Moré, Garbow and Hillstrom and perturbations of them.
    """
    step, slope, slope_after = numbers[STEP], numbers[SLOPE], numbers[SEARCH + found.BEST_DPHI]
    curvature = step * (slope_after - slope)
    if not 8.0 * numbers[UNIT] * abs(before) < 1e-3 * curvature:
        return 1.0
    more = (6.0 * (before - f) + 3.0 * step * (slope + slope_after)) / curvature
    return 1.0 + min(max(more, -0.5), 0.5)


@compiled(inline=True)
def _take(g, vectors, S, Y, numbers, counts, team):
    """Make the search's best point the iterate, unless it is no better; tell whether it is.

    Where the search has converged its pair is remembered. A point that a failed search leaves is
    no evidence of a small reduction: go on from it with steepest descent.
    """
    step, f, before = numbers[STEP], numbers[VALUE], numbers[F]
    if counts[CONVERGED] != 0:
        threshold = -EPS * step * numbers[SLOPE]
        rho, ring = vector(numbers, RHO, S.shape[0]), vector(counts, RING, 2)
        factor = stretch(f, before, numbers)
        gamma = update_step(S, Y, rho, ring, vectors[D], step, g, vectors[G], threshold, factor, team)
        if gamma > 0.0:
            numbers[GAMMA] = gamma
    elif step > 0.0 and before - f > rounding(numbers):
        counts[RING] = counts[RING + 1] = 0
        before = math.inf
    else:
        return False
    along(team, step, vectors[X], vectors[D], vectors[X])
    largest = copy_max_abs(team, g, vectors[G])
    numbers[F] = f
    counts[NIT] += 1
    counts[REASON] = reason(f, before, numbers, counts, largest)
    return True
