"""The arrays of a least-squares run: where everything stands in ``work`` and ``counts``."""

from __future__ import annotations

from typing import Any

import numpy as np

from nbopt.fitting.losses import LINEAR
from nbopt.kernels.compile import compiled
from nbopt.kernels.views import matrix, vector

JACOBIAN = 3  # what `advance` may answer besides

# Entries of `counts`; after them come the order of the columns, the marks of the bounds, and scratch.
N, M, PHASE, NIT, NFEV, NJEV, MAX_NFEV, PAUSE, REASON, LOSS, JAC_SCALE, COSINES, POLISH = range(13)
POLISHING, BLIND, CUT, ENDING, STEP, REFINE, LAST, HEAD = 13, 14, 15, 16, 17, 18, 19, 20

# Entries of `numbers`, the last part of `work`.
COST, TRIAL_COST, DELTA, DAMPING, PREDICTED, SLOPE, LENGTH, FTOL, XTOL, GTOL, F_SCALE = range(11)
FACTOR, TANGENT, IMAGE, BEFORE, NUMBERS = 11, 12, 13, 14, 15

# Lines of n numbers: iterate, trial point, bounds, scales, gradient, step; then scratch.
X, TRIAL, LOWER, UPPER, D, G, S, SCRATCH = range(8)
LINES = SCRATCH + 6

NEW, TRYING, DERIVING, RETURNING, AT_ITERATE, STOPPED = range(6)

# Why a run stopped (counts[REASON]): scipy's status, and what is no status there.
EVALUATIONS, SMALL_GRADIENT, SMALL_REDUCTION, SMALL_STEP, BOTH_SMALL = range(5)
RUNNING, BAD_START, BAD_JACOBIAN = 10, 11, 12


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
        Whether the Jacobian gets better (and slower) once ``counts[POLISHING]`` is not 0.
    """

    __slots__ = ("counts", "jac", "lines", "numbers", "r", "rho", "work", "x")

    def __init__(
        self, x: np.ndarray, m: int, lower: Any, upper: Any, scale: Any = None, loss: int = LINEAR,
        f_scale: float = 1.0, tolerances: tuple[float, float, float] = (1e-8, 1e-8, 1e-8),
        max_nfev: int = 1000, pause: bool = False, cosines: bool = False, polish: int = 0,
        factor: float = 1.0, step: int = 0, refine: bool = False,
    ) -> None:  # fmt: skip
        n = x.size
        self.counts = counts = np.zeros(HEAD + 3 * n, np.int64)
        counts[:HEAD] = (
            n, m, NEW, 0, 0, 0, max_nfev, pause, RUNNING, loss, scale is None, cosines, polish,
            0, 0, 0, 0, step, refine, 0,
        )  # fmt: skip
        counts[HEAD : HEAD + n] = range(n)
        starts = _starts(n, m, loss)
        self.work = work = np.zeros(starts[-1] + NUMBERS)
        self.x, self.r, self.jac = work[:n], work[n : n + m], work[n + m : starts[0]].reshape(m, n)
        self.rho = work[starts[0] : starts[1]].reshape(-1, m)  # no rows for the linear loss
        self.lines = lines = work[starts[4] : starts[5]].reshape(LINES, n)
        self.x[...] = lines[X] = lines[TRIAL] = x
        lines[LOWER], lines[UPPER] = lower, upper
        lines[D] = 0.0 if scale is None else 1.0 / scale
        self.numbers = work[starts[-1] :]
        self.numbers[FTOL : GTOL + 1] = tolerances
        self.numbers[F_SCALE], self.numbers[FACTOR] = f_scale, factor

    @property
    def cost(self) -> float:
        """The cost at the iterate."""
        return float(self.numbers[COST])

    def iterate(self) -> tuple[np.ndarray, np.ndarray]:
        """Return copies of the iterate and its residuals."""
        m = self.r.size
        starts = _starts(self.x.size, m, int(self.counts[LOSS]))
        return self.lines[X].copy(), self.work[starts[2] : starts[2] + m].copy()


def _starts(n: int, m: int, loss: int) -> tuple[int, ...]:
    """Return where the parts of `work` begin that follow the Jacobian."""
    rho = n + m + m * n
    b = rho + (0 if loss == LINEAR else 3 * m)
    lines = b + 2 * m + n * m
    triangle = lines + LINES * n
    return rho, b, b + m, b + 2 * m, lines, triangle, triangle + 3 * n * n


@compiled
def parts(work, counts):
    """Return the parts of `work`: rho, Q'r, the iterate's residuals, columns, lines, R, numbers."""
    n, m = counts[N], counts[M]
    rho = n + m + m * n
    b = rho + (0 if counts[LOSS] == LINEAR else 3 * m)
    lines = b + 2 * m + n * m
    triangle = lines + LINES * n
    return (
        matrix(work, rho, 3, m),
        vector(work, b, m),
        vector(work, b + m, m),
        matrix(work, b + 2 * m, n, m),
        matrix(work, lines, LINES, n),
        matrix(work, triangle, n, n),
        vector(work, triangle + 3 * n * n, NUMBERS),
    )
