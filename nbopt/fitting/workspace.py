"""The arrays of a least-squares run: where everything stands in ``work`` and ``counts``."""

from __future__ import annotations

import functools
import struct
from typing import Any

import numpy as np

from nbopt.fitting.losses import LINEAR
from nbopt.kernels.compile import compiled
from nbopt.kernels.reductions import LANES
from nbopt.kernels.views import matrix, vector

JACOBIAN, BOTH = 3, 4  # what `advance` may answer besides

# Entries of `counts`; after them come the order of the columns, the marks of the bounds, scratch, and the
# marks of `constant_columns`. COUPLED is 1 once columns of the Jacobian were too nearly parallel for `gram`.
# KEPT is the caller's: how many columns of the Jacobian are those of an earlier point; negative if such
# columns turned out to have changed.
N, M, PHASE, NIT, NFEV, NJEV, MAX_NFEV, PAUSE, REASON, LOSS, JAC_SCALE, COSINES, POLISH = range(13)
POLISHING, BLIND, CUT, ENDING, STEP, REFINE, LAST, CENTRAL = range(13, 21)
TOGETHER, BROUGHT, STALE, COUPLED, KEPT, HEAD = range(21, 27)

# What is known of a column of the Jacobian: that it is the same at two points, that it is not, and that it is
# the same and has no rounding errors to speak of.
UNKNOWN, CONSTANT, MOVING, EXACT = range(4)

# Entries of `numbers`, the last part of `work`.
COST, TRIAL_COST, DELTA, DAMPING, PREDICTED, SLOPE, LENGTH, FTOL, XTOL, GTOL, F_SCALE = range(11)
FACTOR, TANGENT, IMAGE, BEFORE, SIZE, STRETCH, NUMBERS = range(11, 18)

# Lines of n numbers: iterate, trial point, bounds, scales, gradient, step, the last one; then scratch.
X, TRIAL, LOWER, UPPER, D, G, S, PREVIOUS, SCRATCH = range(9)
LINES = SCRATCH + 6

NEW, TRYING, DERIVING, REFRESHING, RETURNING, AT_ITERATE, LEAVING, PROBING, STOPPED = range(9)

# Why a run stopped (counts[REASON]): scipy's status, and what is no status there.
EVALUATIONS, SMALL_GRADIENT, SMALL_REDUCTION, SMALL_STEP, BOTH_SMALL = range(5)
RUNNING, BAD_START, BAD_JACOBIAN = 10, 11, 12

# Write the counts and numbers of a start into an array, as far as they are not 0.
_pack_counts: Any = struct.Struct(f"{STALE}q").pack_into
_pack_numbers: Any = struct.Struct("9d").pack_into
_INTEGER = np.dtype(np.int64)


class Workspace:
    """The arrays of one run from ``x`` with ``m`` residuals.

    Parameters
    ----------
    x : ndarray of shape (n,), float64
    m : int
    lower, upper : ndarray of shape (n,)
    scale : ndarray of shape (n,) or None
        Scales of the variables, None for those of the Jacobian's columns.
    loss : int
        A kind of `losses`.
    f_scale : float
    tolerances : tuple of float
        ftol, xtol, gtol.
    max_nfev : int
    pause : bool
        Whether to stop at each iterate.
    cosines : bool
        Whether gtol compares with the cosines of residuals and columns of the Jacobian.
    polish : int
        Evaluations to spend after the tolerances are met.
    factor : float
        The first trust region, relative to x.
    step : int
        Address of what computes a step, see `steps`.
    refine : bool
        Whether Jacobians are forward differences: then central ones are asked for at the end
        (``counts[CENTRAL]`` is 1) where forward ones do not do.
    together : bool
        Whether residuals and Jacobian may be asked for in one task, BOTH.
    size : float
        Length of the weighted data, from which the rounding in differences is judged.
    """

    __slots__ = ("counts", "starts", "work")

    def __init__(
        self, x: np.ndarray, m: int, lower: Any, upper: Any, scale: Any = None, loss: int = LINEAR,
        f_scale: float = 1.0, tolerances: tuple[float, float, float] = (1e-8, 1e-8, 1e-8),
        max_nfev: int = 1000, pause: bool = False, cosines: bool = False, polish: int = 0,
        factor: float = 1.0, step: int = 0, refine: bool = False, together: bool = False,
        size: float = 0.0,
    ) -> None:  # fmt: skip
        n = x.size
        self.counts = counts = np.zeros(HEAD + 4 * n, _INTEGER)
        _pack_counts(
            counts, 0, n, m, NEW, 0, 0, 0, max_nfev, pause, RUNNING, loss, scale is None, cosines,
            polish, 0, 0, 0, 0, step, refine, 0, 0, together, together,
        )  # fmt: skip
        self.starts = starts = _starts(n, m, loss)
        self.work = work = np.zeros(starts[-1] + NUMBERS)
        lines = starts[4]
        work[:n] = work[lines : lines + n] = work[lines + n : lines + 2 * n] = x
        work[lines + LOWER * n : lines + UPPER * n] = lower
        work[lines + UPPER * n : lines + D * n] = upper
        if scale is not None:
            work[lines + D * n : lines + (D + 1) * n] = 1.0 / scale
        _pack_numbers(work, 8 * (starts[-1] + FTOL), *tolerances, f_scale, factor, 0.0, 0.0, 0.0, size)

    @property
    def x(self) -> np.ndarray:
        """The point that the engine asks about."""
        return self.work[: self.counts.item(N)]

    @property
    def r(self) -> np.ndarray:
        """The residuals there."""
        n, m = self.counts.item(N), self.counts.item(M)
        return self.work[n : n + m]

    @property
    def jac(self) -> np.ndarray:
        """The Jacobian that came last."""
        n, m = self.counts.item(N), self.counts.item(M)
        return self.work[n + m : n + m + m * n].reshape(m, n)

    @property
    def rho(self) -> np.ndarray:
        """The loss of the residuals and its derivatives; no rows for the linear loss."""
        return self.work[self.starts[0] : self.starts[1]].reshape(-1, self.counts.item(M))

    @property
    def lines(self) -> np.ndarray:
        """The lines of n numbers."""
        return self.work[self.starts[4] : self.starts[5]].reshape(LINES, -1)

    @property
    def numbers(self) -> np.ndarray:
        """The numbers at the end."""
        return self.work[self.starts[-1] :]

    @property
    def cost(self) -> float:
        """The cost at the iterate."""
        return self.work.item(self.starts[-1] + COST)

    def iterate(self) -> tuple[np.ndarray, np.ndarray]:
        """Return copies of the iterate and its residuals."""
        starts, n, m = self.starts, self.counts.item(N), self.counts.item(M)
        return self.work[starts[4] : starts[4] + n].copy(), self.work[starts[2] : starts[2] + m].copy()


@compiled
def full(m):
    """Return a length for m numbers and some zeros that sums are fast over."""
    return (m + LANES - 1) // LANES * LANES


@functools.lru_cache(maxsize=256)
def _starts(n: int, m: int, loss: int) -> tuple[int, ...]:
    """Return where the parts of `work` begin that follow the Jacobian."""
    rho, length = n + m + m * n, full(m)
    b = rho + (0 if loss == LINEAR else 3 * m)
    kept = b + length
    lines = kept + m + n * length
    triangle = lines + LINES * n
    return rho, b, kept, kept + m, lines, triangle, triangle + 3 * n * n


@compiled
def parts(work, counts):
    """Return the parts of `work`: rho, Q'r, the iterate's residuals, columns, lines, R, numbers."""
    n, m = counts[N], counts[M]
    rho, length = n + m + m * n, full(m)
    b = rho + (0 if counts[LOSS] == LINEAR else 3 * m)
    kept = b + length
    lines = kept + m + n * length
    triangle = lines + LINES * n
    return (
        matrix(work, rho, 3, m),
        vector(work, b, length),
        vector(work, kept, m),
        matrix(work, kept + m, n, length),
        matrix(work, lines, LINES, n),
        matrix(work, triangle, n, n),
        vector(work, triangle + 3 * n * n, NUMBERS),
    )
