"""Finite differences of a fit's residuals through Python that spare evaluations, and digits at the end.

Forward differences on the way, without the columns that are constant; central ones where the engine asks for
them, because forward ones would cost digits of the solution.
"""

from __future__ import annotations

import functools

import numpy as np

from nbopt.autodiff.finite_differences import RELATIVE, Differences
from nbopt.fitting.constant_columns import compare, is_linear, leave_out
from nbopt.fitting.jacobian_differences import divide_all, place_points
from nbopt.fitting.python_differences import Residuals
from nbopt.fitting.workspace import (
    CENTRAL,
    CONSTANT,
    HEAD,
    KEPT,
    LOWER,
    NJEV,
    PHASE,
    POLISHING,
    REFRESHING,
    UNKNOWN,
    UPPER,
    M,
    N,
    parts,
)
from nbopt.kernels.compile import compiled
from nbopt.kernels.views import matrix, vector

# Rows of `lines`: sizes of the variables, and the points for each column.
_FLOOR, _POINTS, _LINES = 0, 1, 3


@compiled
def _first(first, n, m):
    """Return the first Jacobian, and residuals and point there."""
    return matrix(first, 0, m, n), vector(first, m * n, m), vector(first, m * n + m, n)


@compiled
def _place(work, counts, first, lines, scheme, steps, automatic):
    """Choose which columns to compute, and where; count in ``counts`` those that stay of another point."""
    n, m = counts[N], counts[M]
    x, r, limits = vector(work, 0, n), vector(work, n, m), parts(work, counts)[4]
    marks, points = vector(counts, HEAD + 3 * n, n), lines[_POINTS:]
    central, refreshing = counts[CENTRAL] != 0, counts[PHASE] == REFRESHING
    ending, k = refreshing or counts[POLISHING] != 0, 1 if central else 0
    place_points(
        x, limits[LOWER], limits[UPPER], lines[_FLOOR], steps[k], RELATIVE, automatic[k], central, points,
        scheme,
    )  # fmt: skip
    if counts[NJEV] == 1:
        J_first, r_first, x_first = _first(first, n, m)
        if is_linear(x, r, x_first, r_first, J_first):
            ending = True
            for j in range(n):
                marks[j] = CONSTANT if marks[j] == UNKNOWN else marks[j]
    others = central or not refreshing
    counts[KEPT] = leave_out(x, limits[LOWER], limits[UPPER], points, scheme, marks, ending, others)


@compiled
def _divide(work, counts, first, lines, scheme, values, kind, W, change, rounding):
    """Write the Jacobian from the residuals at the points, and learn about its columns."""
    n, m = counts[N], counts[M]
    x, r, J = vector(work, 0, n), vector(work, n, m), matrix(work, n + m, m, n)
    divide_all(x, r, kind, W, lines[_POINTS:], scheme, values, J, change, lines[_FLOOR])
    J_first, r_first, x_first = _first(first, n, m)
    if counts[NJEV] == 0:
        J_first[:], r_first[:], x_first[:] = J, r, x
        return
    marks = vector(counts, HEAD + 3 * n, n)
    if compare(J, J_first, marks, x, lines[_POINTS:], scheme, rounding) > 0:
        counts[KEPT] = -1


@functools.lru_cache(maxsize=64)
def steps_of(n: int, step: float, unit: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the steps of forward and central differences, relative to n variables, and the automatic ones.

    Parameters
    ----------
    n : int
    step : float
        Of the forward ones; it would be too short for central ones.
    unit : float
        The relative rounding error of the residuals.
    """
    ways = Differences("2-point", n, step, unit=unit), Differences("3-point", n, unit ** (1 / 3), unit=unit)
    return np.array([way.steps for way in ways]), np.array([way.automatic for way in ways])


class RefinedDifferences:
    """Writes Jacobians as the engine asks for them in its arrays.

    Parameters
    ----------
    residuals : Residuals
    steps : tuple of ndarray
        Of `steps_of`.
    """

    __slots__ = ("ends", "places", "points", "residuals", "rows", "scheme")

    def __init__(self, residuals: Residuals, steps: tuple[np.ndarray, np.ndarray]) -> None:
        n, m = residuals.lower.size, residuals.m
        first, lines, self.scheme = np.empty(m * n + m + n), np.zeros((_LINES, n)), np.empty(n, np.int64)
        values, self.residuals, self.points = np.empty((2 * n, m)), residuals, lines[_POINTS:]
        rounding = residuals.rounding * residuals.length
        self.rows = list(values)
        self.places = first, lines, self.scheme, *steps
        self.ends = (
            first, lines, self.scheme, values, residuals.kind, residuals.W, residuals.change, rounding
        )  # fmt: skip

    def __call__(self, work: np.ndarray, counts: np.ndarray) -> None:
        """Write the weighted Jacobian at the point in ``work``."""
        _place(work, counts, *self.places)
        self.residuals.fill_beside(work[: self.scheme.size], self.points, self.scheme, self.rows)
        _divide(work, counts, *self.ends)
