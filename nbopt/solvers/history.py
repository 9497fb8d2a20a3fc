"""The history of a solve: value, gradient and cost at each iterate, kept when it is asked for."""

from __future__ import annotations

from time import perf_counter
from typing import Any, NamedTuple

import numpy as np

from nbopt.solvers.lbfgs import NFEV


class History(NamedTuple):
    """What `minimize` knew at the start and after each iteration: arrays of shape (nit + 1,).

    Attributes
    ----------
    fun : ndarray
        The values.
    gradient : ndarray
        The largest elements of the gradient, as gtol is compared with them: within bounds of the
        projected gradient.
    nfev : ndarray of int
        Calls of the function so far.
    seconds : ndarray
        Time since the start.
    """

    fun: np.ndarray
    gradient: np.ndarray
    nfev: np.ndarray
    seconds: np.ndarray


class Recorder:
    """Notes the iterates of one run; the points themselves only where they are wanted."""

    __slots__ = ("began", "points", "rows")

    def __init__(self, with_points: bool) -> None:
        self.points: list[np.ndarray] | None = [] if with_points else None
        self.rows: list[tuple[float, float, int, float]] = []
        self.began = perf_counter()

    def note(self, w: Any) -> None:
        """Note the iterate at which an engine pauses."""
        self.rows.append((w.f, w.gradient_size(), int(w.counts[NFEV]), perf_counter() - self.began))
        if self.points is not None:
            self.points.append(w.x.copy())

    def history(self) -> History:
        """Return what was noted."""
        columns = zip(*self.rows, strict=True) if self.rows else ((), (), (), ())
        fun, gradient, nfev, seconds = columns
        return History(np.array(fun), np.array(gradient), np.array(nfev, np.int64), np.array(seconds))
