"""Finite differences of a fit's residuals through Python that spare evaluations, and digits at the end.

Forward differences on the way, without the columns that are constant and one that follows from the others;
central ones where the engine asks for them, because forward ones would cost digits of the solution.
"""

from __future__ import annotations

import functools
import math

import numpy as np

from nbopt.autodiff.finite_differences import RELATIVE, Differences
from nbopt.fitting.constant_columns import compare, is_linear, leave_out
from nbopt.fitting.homogeneity import (
    COLUMN,
    FOUND,
    MEMBERS,
    NONE,
    PROVEN,
    STATE,
    UNSOUGHT,
    choose,
    derive,
    is_confirmed,
    seek,
)
from nbopt.fitting.jacobian_differences import (
    FORWARD,
    LEFT_OUT,
    divide_all,
    place_points,
    size_of_variable,
)
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
from nbopt.kernels.reductions import dot
from nbopt.kernels.views import matrix, vector

# Rows of n numbers in `store`: sizes of the variables, the points for each column, steps of forward and of
# central differences.
_FLOOR, _POINTS, _STEPS, _ROWS = 0, 1, 3, 5
# The numbers that follow: the automatic step of either, what a variable of its size changes residuals by,
# and the length of their rounding errors. Then come the first Jacobian, and residuals and point there; the
# weighted data; what the model gives; two rows of residuals for each column.
_AUTOMATIC, _CHANGE, _ROUNDING, _NUMBERS = 0, 2, 3, 4


@compiled
def _rows_and_numbers(store, n):
    """Return the rows of n numbers, and the numbers after them."""
    return matrix(store, 0, _ROWS, n), vector(store, _ROWS * n, _NUMBERS)


@compiled
def _first(store, n, m):
    """Return the first Jacobian, and residuals and point there."""
    start = _ROWS * n + _NUMBERS
    return matrix(store, start, m, n), vector(store, start + m * n, m), vector(store, start + m * n + m, n)


@compiled
def _data_and_model(store, n, m):
    """Return the weighted data, and what the model gives, weighted likewise."""
    start = _ROWS * n + _NUMBERS + m * n + m + n
    return vector(store, start, m), vector(store, start + m, m)


@compiled
def _place(work, counts, store, known):
    """Choose which columns to compute, and where; count in ``counts`` those that stay of another point."""
    n, m = counts[N], counts[M]
    x, r, limits = vector(work, 0, n), vector(work, n, m), parts(work, counts)[4]
    rows, numbers = _rows_and_numbers(store, n)
    marks, scheme, points = vector(counts, HEAD + 3 * n, n), vector(known, 0, n), rows[_POINTS:]
    central, refreshing = counts[CENTRAL] != 0, counts[PHASE] == REFRESHING
    ending, k = refreshing or counts[POLISHING] != 0, 1 if central else 0
    place_points(
        x, limits[LOWER], limits[UPPER], rows[_FLOOR], rows[_STEPS + k], RELATIVE, numbers[_AUTOMATIC + k],
        central, points, scheme,
    )  # fmt: skip
    if counts[NJEV] == 1:
        J_first, r_first, x_first = _first(store, n, m)
        if is_linear(x, r, x_first, r_first, J_first):
            ending = True
            for j in range(n):
                marks[j] = CONSTANT if marks[j] == UNKNOWN else marks[j]
    others = central or not refreshing
    counts[KEPT] = leave_out(x, limits[LOWER], limits[UPPER], points, scheme, marks, ending, others)
    group = vector(known, n, MEMBERS + n)
    if group[STATE] == NONE:
        return
    observed, model = _data_and_model(store, n, m)
    for i in range(m):
        model[i] = r[i] + observed[i]
    if group[STATE] == UNSOUGHT:
        return
    if others:
        choose(x, rows[_FLOOR], numbers[_CHANGE], model, marks, group)
    if group[COLUMN] >= 0:
        seen = ending and group[STATE] == FOUND  # at one point, that will do
        scheme[group[COLUMN]] = FORWARD if seen else LEFT_OUT
        counts[KEPT] += not ending


@compiled
def _divide(work, counts, store, known, kind, W):
    """Write the Jacobian from the residuals at the points, and learn about its columns."""
    n, m = counts[N], counts[M]
    x, r, J = vector(work, 0, n), vector(work, n, m), matrix(work, n + m, m, n)
    rows, numbers = _rows_and_numbers(store, n)
    scheme, group, model = vector(known, 0, n), vector(known, n, MEMBERS + n), _data_and_model(store, n, m)[1]
    values = matrix(store, store.size - 2 * n * m, 2 * n, m)
    divide_all(x, r, kind, W, rows[_POINTS:], scheme, values, J, numbers[_CHANGE], rows[_FLOOR])
    right = _know_group(x, J, model, scheme, group, rows[_FLOOR], numbers[_CHANGE], values)
    J_first, r_first, x_first = _first(store, n, m)
    if counts[NJEV] == 0:
        J_first[:], r_first[:], x_first[:] = J, r, x
        return
    marks = vector(counts, HEAD + 3 * n, n)
    wrong = compare(J, J_first, marks, x, rows[_POINTS:], scheme, numbers[_ROUNDING])
    if wrong > 0 or not right:
        counts[KEPT] = -1


@compiled
def _know_group(x, J, model, scheme, group, floor, change, scratch):
    """Derive the column that follows from the others; tell whether it is what was computed, if it was."""
    if group[STATE] == UNSOUGHT:
        seek(J, x, model, group, scratch)
    column = group[COLUMN]
    if group[STATE] < FOUND or column < 0:
        return True
    derived = scratch[0]
    derive(J, x, model, group, derived)
    if scheme[column] != LEFT_OUT:
        if not is_confirmed(J, group, derived):
            group[STATE] = NONE
            return False
        group[STATE] = PROVEN
    floor[column] = size_of_variable(math.sqrt(dot(derived, derived)), change)
    for i in range(model.size):
        J[i, column] = derived[i]
    return True


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

    __slots__ = ("known", "points", "residuals", "rows", "scheme", "store")

    def __init__(self, residuals: Residuals, steps: tuple[np.ndarray, np.ndarray]) -> None:
        n, m, fixed = residuals.lower.size, residuals.m, _ROWS * residuals.lower.size
        model = fixed + _NUMBERS + m * n + m + n + m
        self.store = store = np.empty(model + m + 2 * n * m)
        store[:n] = 0.0
        store[_STEPS * n : fixed] = steps[0].ravel()
        store[fixed : fixed + 2] = steps[1]
        store[fixed + _CHANGE] = residuals.change
        store[fixed + _ROUNDING] = residuals.rounding * residuals.length
        store[model - m : model] = residuals.observed
        self.known = known = np.zeros(2 * n + MEMBERS, np.int64)
        self.residuals, self.scheme = residuals, known[:n]
        self.points = store[_POINTS * n : _STEPS * n].reshape(2, n)
        self.rows = list(store[model + m :].reshape(2 * n, m))

    def __call__(self, work: np.ndarray, counts: np.ndarray) -> None:
        """Write the weighted Jacobian at the point in ``work``."""
        residuals, store, known = self.residuals, self.store, self.known
        _place(work, counts, store, known)
        residuals.fill_beside(work[: self.scheme.size], self.points, self.scheme, self.rows)
        _divide(work, counts, store, known, residuals.kind, residuals.W)
