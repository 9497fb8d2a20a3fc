"""A handle: a function with all that a solve of it needs, for minimize() inside compiled code."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from nbopt.kernels.compile import compiled
from nbopt.kernels.large_vectors import stages_of
from nbopt.kernels.launcher import part
from nbopt.kernels.native import call_advance, call_entry
from nbopt.kernels.native_handle import NFEV, NIT, SOLVE, STATUS, NativeHandle
from nbopt.kernels.views import matrix, vector
from nbopt.solvers import lbfgs, lbfgsb
from nbopt.solvers.bursts import EVALUATE, STOP
from nbopt.solvers.model_step import BOXED, FIXED, FREE, LOWER, SLOTS, STAGES, UPPER, VECTORS
from nbopt.solvers.subspace import OWN_STAGES

# Words of a handle's block, after the solver's address: addresses; the number of variables, or 0 for any;
# an evaluation counts as ONE + PER_VARIABLE*n calls; options; rows of the engine's `vectors`; the address of
# the bounds (2, n), or 0; sizes of what the engine for bounds has behind the rest, and its stages. The last
# two are floats.
ENTRY, ADVANCE, SIZE, ONE, PER_VARIABLE, MAXCOR, MAXFUN, MAXITER, MAXLS, ROWS = range(SOLVE + 1, SOLVE + 11)
BOUNDS, MORE_WORK, MORE_COUNTS, MORE_STAGES, FTOL, GTOL, BLOCK = range(ROWS + 1, ROWS + 8)

_STATUS = tuple(status for status, _ in lbfgsb.MESSAGES)


class CompiledResult(NamedTuple):
    """What `minimize` returns in compiled code: fields of its result.

    Attributes
    ----------
    x, jac : ndarray of shape (n,)
    fun : float
    nit, nfev, status : int
    success : bool
    """

    x: np.ndarray
    fun: float
    jac: np.ndarray
    nit: int
    nfev: int
    status: int
    success: bool


class Handle(NativeHandle):
    """What `compile` returns: pass it to `minimize` as the function, from Python or from compiled code."""

    def __init__(self, fun: Any, arguments: tuple[Any, ...]) -> None:
        self.fun, self._arguments = fun, arguments

    def __repr__(self) -> str:
        return f"nbopt.compile({self.fun.__name__})"

    def given(self, *others: Any) -> tuple[Any, ...]:
        """Return fun and its jac, bounds, tol and options, those of a call before our own."""
        chosen = (
            mine if other is None else other for mine, other in zip(self._arguments, others, strict=True)
        )
        return self.fun, *chosen


@compiled
def solve(block, x, g, value, words, outcome):
    """Minimize from x on; write the best point to x, its gradient to g, and what else there is to say."""
    slots, numbers, n = part(block, 0, BLOCK, words), part(block, 0, BLOCK, x), x.size
    if n == 0 or (slots[SIZE] > 0 and n != slots[SIZE]):
        raise ValueError("minimize: x0 has not as many elements as the handle was compiled for")
    rows, height = slots[MAXCOR] + 1, slots[ROWS]
    at = (2 + height + 2 * rows) * n
    work = np.empty(at + lbfgs.RHO + 2 * rows + slots[MORE_WORK])
    counts = np.zeros(lbfgs.RING + 2 + slots[MORE_COUNTS], np.int64)
    counts[lbfgs.N], counts[lbfgs.ROWS] = n, rows
    counts[lbfgs.COST] = slots[ONE] + slots[PER_VARIABLE] * n
    counts[lbfgs.MAXFUN], counts[lbfgs.MAXITER] = slots[MAXFUN], slots[MAXITER]
    counts[lbfgs.MAXLS] = slots[MAXLS]
    work[at + lbfgs.F], work[at + lbfgs.GAMMA], work[at + lbfgs.UNIT] = math.nan, 0.0, lbfgs.EPS
    work[at + lbfgs.FTOL], work[at + lbfgs.GTOL] = numbers[FTOL], numbers[GTOL]
    if slots[BOUNDS] != 0:
        _bound(x, part(slots[BOUNDS], 0, 2 * n, x), matrix(work, 2 * n, height, n), counts)
        counts[STAGES] = slots[MORE_STAGES]
    here, gradient = vector(work, 0, n), vector(work, n, n)
    for k in range(n):
        here[k] = work[(2 + lbfgs.X) * n + k] = x[k]
    data, f, task = words.ctypes.data, 0.0, EVALUATE
    while task != STOP:
        f = call_entry(slots[ENTRY], here, gradient, data)
        task = call_advance(slots[ADVANCE], f, work, counts)
    for k in range(n):
        x[k], g[k] = here[k], gradient[k]
    value[0] = work[at + lbfgs.F]
    outcome[STATUS] = _STATUS[counts[lbfgs.REASON]]
    outcome[NIT], outcome[NFEV] = counts[lbfgs.NIT], counts[lbfgs.NFEV]


@compiled
def _bound(x, ends, vectors, counts):
    """Move x within the bounds, and hand these to the engine for bounds."""
    n, fixed, boxed = x.size, 0, 1
    for k in range(n):
        low, high = ends[k], ends[n + k]
        x[k] = min(max(x[k], low), high) if x[k] == x[k] else x[k]
        vectors[LOWER, k], vectors[UPPER, k], vectors[FREE, k] = low, high, math.nan
        fixed += 1 if low == high else 0
        boxed = boxed if math.isfinite(low) and math.isfinite(high) else 0
    counts[FIXED], counts[BOXED] = fixed, boxed


def block_of(
    addresses: tuple[int, int, int], options: Any, cost: tuple[int, int], bounds: np.ndarray | None, n: int
) -> np.ndarray:
    """Return a handle's block.

    Parameters
    ----------
    addresses : tuple of int
        Of `solve`, of the function's entry, of the engine's ``advance``.
    options : Options
    cost : tuple of int
        Calls of the function per evaluation: the first plus the second times n.
    bounds : ndarray of shape (2, n), or None
    n : int
        Number of variables, 0 for any.
    """
    block = np.zeros(BLOCK, np.int64)
    block[SOLVE], block[ENTRY], block[ADVANCE] = addresses
    block[SIZE], block[ONE], block[PER_VARIABLE] = n, *cost
    block[MAXCOR], block[MAXFUN] = options.maxcor, options.maxfun
    block[MAXITER], block[MAXLS] = options.maxiter, options.maxls
    block[ROWS] = lbfgs.Workspace.rows_of_vectors
    if bounds is not None:
        rows = options.maxcor + 1
        block[BOUNDS], block[ROWS] = bounds.ctypes.data, VECTORS
        block[MORE_WORK] = lbfgsb.room_for_model(n, rows)
        block[MORE_STAGES] = stages_of(OWN_STAGES)
        block[MORE_COUNTS] = SLOTS + rows + n - (lbfgs.RING + 2)
    block.view(np.float64)[FTOL : GTOL + 1] = options.ftol, options.gtol
    return block
