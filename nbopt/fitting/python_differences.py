"""Jacobians by finite differences of residuals that are called from Python."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from nbopt.autodiff.finite_differences import Differences
from nbopt.fitting.jacobian_differences import FORWARD, LEFT_OUT, divide_all, place_points


class Residuals(NamedTuple):
    """Residuals to differentiate, and where.

    Parameters
    ----------
    fill : callable
        ``fill(x, out)`` writes the residuals without weights at x to out.
    numbers : callable
        Returns x in the form that `fill` takes, as something that can be written to.
    kind, W : int, ndarray
        The weights, see `whitening`.
    lower, upper : ndarray of shape (n,)
    m : int
    rounding : float
        Relative rounding error of the residuals.
    length : float
        Length of the weighted data; 0 if sizes of variables are not looked at.
    change : float
        What a variable of its size changes the residuals by; 0 likewise.
    observed : ndarray of shape (m,), optional
        The weighted data, where the residuals are a model less these.
    """

    fill: Callable[[Any, np.ndarray], None]
    numbers: Callable[[np.ndarray], Any]
    kind: int
    W: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    m: int
    rounding: float
    length: float = 0.0
    change: float = 0.0
    observed: np.ndarray | None = None

    def fill_beside(self, x: np.ndarray, points: np.ndarray, scheme: np.ndarray, rows: Any) -> None:
        """Write the residuals at the points for each column, two rows each, where it is not left out."""
        fill, beside = self.fill, self.numbers(x)
        for i, how in enumerate(scheme.tolist()):
            if how == LEFT_OUT:
                continue
            beside[i] = points[0, i]
            fill(beside, rows[2 * i])
            if how != FORWARD:
                beside[i] = points[1, i]
                fill(beside, rows[2 * i + 1])
            beside[i] = x[i]


class PythonDifferences:
    """Writes Jacobians, all of them in one way.

    Parameters
    ----------
    residuals : Residuals
    ways : Differences
    """

    __slots__ = ("floor", "points", "residuals", "rows", "rules", "scheme", "values")

    def __init__(self, residuals: Residuals, ways: Differences) -> None:
        n = residuals.lower.size
        self.residuals, self.floor = residuals, (floor := np.zeros(n))
        self.points, self.scheme = np.empty((2, n)), np.empty(n, np.int64)
        self.rules = (
            residuals.lower, residuals.upper, floor, ways.steps, ways.rule, ways.automatic,
            ways.method == "3-point", self.points, self.scheme,
        )  # fmt: skip
        self.values = np.empty((2 * n, residuals.m))
        self.rows = list(self.values)

    def __call__(self, x: np.ndarray, r: np.ndarray, J: np.ndarray) -> None:
        """Write the weighted Jacobian at x, where the weighted residuals are r, to J."""
        place_points(x, *self.rules)
        residuals, points = self.residuals, self.points
        residuals.fill_beside(x, points, self.scheme, self.rows)
        divide_all(
            x, r, residuals.kind, residuals.W, points, self.scheme, self.values, J, residuals.change,
            self.floor,
        )  # fmt: skip
