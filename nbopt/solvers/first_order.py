"""minimize() by torch's optimizers: an engine that runs an element-wise loop, compiled like the others.

What a loop reads in a step (`ElementwiseOptimizer.numbers`) is computed in Python, in float64, for a block
of steps at a time; a schedule and NAdam's products go into it. When a block is used up the engine
answers NEW_ITERATE and `Workspace.resume` makes the next one.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from nbopt.kernels.compile import compiled
from nbopt.kernels.launcher import NUMBERS, loop_address, run_loop
from nbopt.kernels.reductions import dot, max_abs
from nbopt.kernels.views import vector
from nbopt.solvers.bursts import EVALUATE, NEW_ITERATE, STOP

# Entries of `counts`; the first twelve stand where the engine of method "lbfgs" has them.
N, _, PHASE, NIT, NFEV, NJEV, COST, MAXITER, MAXFUN, _, PAUSE, REASON, ROW, LOOP = range(14)

# The parts of `work`, n each: x, g, the parameter, the best point and its gradient, three arrays of state;
# then `numbers`, and a block of rows for the loop.
P, BEST, BEST_G, STATE = 2, 3, 4, 5
F, F_BEST, FTOL, GTOL, MAX_NORM, MAX_VALUE = range(6)
_SIZE = 6
BLOCK = 512

_NEW, _RUNNING, _AT_ITERATE, _EMPTY, _STOPPED = range(5)
_FROM_START = 2  # counts[PAUSE], as in `lbfgs`

# Why a run stopped (counts[REASON]); for each, scipy's status and a sentence.
RUNNING, SMALL_GRADIENT, SMALL_CHANGE, ITERATIONS, EVALUATIONS, NOT_FINITE, BAD_START = range(7)
MESSAGES = (
    (2, "The run has not ended."),
    (0, "Converged: no element of the gradient is larger than gtol."),
    (0, "Converged: the relative change of f is not above ftol."),
    (1, "Stopped: the limit of iterations (maxiter) was reached."),
    (1, "Stopped: the limit of evaluations (maxfun) was reached."),
    (2, "Stopped: f or its gradient became non-finite; the best point before is returned. Lower lr."),
    (2, "Stopped: f or its gradient at x0 is not finite."),
)


class Workspace:
    """The arrays of one run from ``x`` by an optimizer.

    Parameters
    ----------
    x : ndarray of float64, shape (n,)
    options : FirstOrderOptions
        From `options.read_first_order`; it holds the optimizer, whose parameter is not touched.
    cost : int
        Calls of the function per evaluation.
    pause : {0, 1, 2}
        Whether to pause at each iterate; 2: at the first point, too.
    """

    messages = MESSAGES
    __slots__ = ("counts", "g", "optimizer", "scalars", "scheduler", "work", "x")

    def __init__(self, x: np.ndarray, options: Any, cost: int = 1, pause: int = 0) -> None:
        n = x.size
        self.optimizer = options.optimizer
        self.scheduler = None if options.schedule is None else options.schedule.bind(self.optimizer)
        group = self.optimizer.param_groups[0]
        self.scalars = self.optimizer.first_scalars(group)
        loop, names = self.optimizer.algorithm(group)
        self.work = work = np.zeros(8 * n + _SIZE + BLOCK * NUMBERS)
        self.x, self.g = work[:n], work[n : 2 * n]
        self.x[...] = work[P * n : (P + 1) * n] = work[BEST * n : (BEST + 1) * n] = x
        for k, name in enumerate(names):
            work[(STATE + k) * n : (STATE + k + 1) * n] = self.optimizer.initial(group, name)
        limits = options.clip_grad_norm, options.clip_grad_value
        work[8 * n : 8 * n + _SIZE] = math.nan, math.inf, options.ftol, options.gtol, *limits
        self.counts = np.zeros(LOOP + 1, np.int64)
        self.counts[: REASON + 1] = (
            n, 0, _NEW, 0, 0, 0, cost, options.maxiter, options.maxfun, 0, pause, RUNNING,
        )  # fmt: skip
        self.counts[LOOP] = loop_address(loop, np.dtype(np.float64))
        self._fill(0)

    def _fill(self, steps: int) -> None:
        """Make the rows for the next block, after ``steps`` steps."""
        optimizer, n = self.optimizer, self.x.size
        group = optimizer.param_groups[0]
        rows = []
        for step in range(steps + 1, min(steps + BLOCK, int(self.counts[MAXITER])) + 1):
            t = step if optimizer.counted else min(step, 2)
            rows.append(optimizer.numbers(group, t, *self.scalars))
            if self.scalars:
                self.scalars = optimizer.next_scalars(group, t, *self.scalars)
            if self.scheduler is not None:
                optimizer._step_calls += 1  # for the scheduler's check of the order of calls
                self.scheduler.step()
        if rows:
            block = self.work[8 * n + _SIZE :].reshape(BLOCK, NUMBERS)
            block[: len(rows), : len(rows[0])] = rows
        self.counts[ROW] = 0

    def resume(self) -> bool:
        """Make what the engine ran out of; tell whether it also paused at a new iterate."""
        if self.counts[PHASE] == _EMPTY:
            self._fill(int(self.counts[NIT]))
        return bool(self.counts[PHASE] == _AT_ITERATE)

    @property
    def f(self) -> float:
        """The value at the last iterate, or after the end at the best one."""
        numbers = self.work[8 * self.x.size :]
        return float(numbers[F_BEST if self.counts[PHASE] == _STOPPED else F])

    def place_of_f(self) -> int:
        """Return where in `work` the value at the last iterate stands."""
        return 8 * self.x.size + F

    def gradient_size(self) -> float:
        """Return the largest element of the last gradient: clipped, except in a pause."""
        return float(np.abs(self.g).max())

    def iterate(self) -> tuple[np.ndarray, np.ndarray]:
        """Return copies of the best point and its gradient."""
        n = self.x.size
        self.work[8 * n + F] = self.work[8 * n + F_BEST]
        best = self.work[BEST * n : (BEST_G + 1) * n].reshape(2, n).copy()
        return best[0], best[1]


@compiled
def advance(f, work, counts):
    """Take value and gradient at x, step, and return what to do at the new x."""
    n = counts[N]
    x, g, numbers = vector(work, 0, n), vector(work, n, n), vector(work, 8 * n, _SIZE)
    if counts[PHASE] == _STOPPED:
        return STOP
    if counts[PHASE] == _NEW or counts[PHASE] == _RUNNING:
        new, counts[PHASE] = counts[PHASE] == _NEW, _RUNNING
        counts[REASON] = _look(f, g, new, work, numbers, counts)
        paused = counts[PAUSE] == _FROM_START or (counts[PAUSE] != 0 and not new)
        if paused and counts[REASON] != NOT_FINITE:
            counts[PHASE] = _AT_ITERATE
            return NEW_ITERATE
    if counts[REASON] != RUNNING:
        counts[PHASE] = _STOPPED
        for k in range(n):
            x[k], g[k] = work[BEST * n + k], work[BEST_G * n + k]
        return STOP
    if counts[ROW] == BLOCK:
        counts[PHASE] = _EMPTY
        return NEW_ITERATE
    counts[PHASE] = _RUNNING
    _clip(g, numbers)
    row = vector(work, 8 * n + _SIZE + counts[ROW] * NUMBERS, NUMBERS)
    a, b, c = vector(work, STATE * n, n), vector(work, (STATE + 1) * n, n), vector(work, (STATE + 2) * n, n)
    p = vector(work, P * n, n)
    run_loop(counts[LOOP], p, g, (a, b, c), row)
    for k in range(n):
        x[k] = p[k]
    counts[NIT] += 1
    counts[ROW] += 1
    return EVALUATE


@compiled
def _look(f, g, new, work, numbers, counts):
    """Count an evaluation, keep it if it is the best, and return why to stop, or RUNNING."""
    n, largest, before = g.size, max_abs(g), numbers[F]
    counts[NFEV] += counts[COST]
    counts[NJEV] += 1
    if not (math.isfinite(f) and math.isfinite(largest)):
        if not new:
            return NOT_FINITE
        numbers[F] = numbers[F_BEST] = f
        return BAD_START
    numbers[F] = f
    if f < numbers[F_BEST]:
        numbers[F_BEST] = f
        for k in range(n):
            work[BEST * n + k], work[BEST_G * n + k] = work[P * n + k], g[k]
    if largest <= numbers[GTOL]:
        return SMALL_GRADIENT
    if numbers[FTOL] > 0.0 and abs(before - f) <= numbers[FTOL] * max(abs(before), abs(f), 1.0):
        return SMALL_CHANGE
    if counts[NIT] >= counts[MAXITER]:
        return ITERATIONS
    if counts[NFEV] + counts[COST] > counts[MAXFUN]:
        return EVALUATIONS
    return RUNNING


@compiled
def _clip(g, numbers):
    """Clip the gradient by its norm, as `clip_grad_norm_` does, and by value."""
    if numbers[MAX_NORM] < math.inf:
        norm = math.sqrt(dot(g, g))
        if norm > numbers[MAX_NORM]:
            scale = numbers[MAX_NORM] / (norm + 1e-6)
            for k in range(g.size):
                g[k] *= scale
    if numbers[MAX_VALUE] < math.inf:
        for k in range(g.size):
            g[k] = min(max(g[k], -numbers[MAX_VALUE]), numbers[MAX_VALUE])
