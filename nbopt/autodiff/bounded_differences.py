"""Finite differences that never look beyond bounds: steps turn around, or shrink to the room there is.

The steps are scipy's: a forward difference goes backward where only there is room for it, else to the
farther bound; a central difference becomes one-sided of second order (three values on one side) where
there is no room for both sides. Where a variable's bounds are equal there is nothing to take a
difference of: its derivative is given as 0, and the function is not called for it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from nbopt.autodiff.finite_differences import Differences, step_at
from nbopt.kernels.compile import compiled
from nbopt.kernels.native import call_value


@compiled
def forward_within(x, h, low, high):
    """Return where to evaluate beside x for a step h: a point within the bounds that is not x."""
    if low <= x + h <= high:
        return x + h
    below, above = x - low, high - x
    if abs(h) <= (below if h > 0.0 else above):
        return min(max(x - h, low), high)
    return high if above >= below else low


@compiled
def central_within(x, h, low, high):
    """Return the two points for a step h > 0, and whether both lie beside x on one side, the nearer first."""
    below, above = x - low, high - x
    if h <= below and h <= above:
        return max(x - h, low), min(x + h, high), False
    aside = min(h, 0.5 * max(below, above))
    nearest = min(below, above)
    if 0.0 < aside <= nearest:
        return max(x - nearest, low), min(x + nearest, high), False
    if above >= below:
        first, second = min(x + aside, high), x + 2.0 * h if 2.0 * h < above else high
    else:
        first, second = max(x - aside, low), x - 2.0 * h if 2.0 * h < below else low
    if first in (x, second):  # no number lies between: x itself and its neighbour
        return x, second, False
    return first, second, True


@compiled
def _value_beside(entry, data, x, i, moved, scratch):
    """Call the entry at x with ``x[i] = moved``, on a copy: the function may write to what it gets."""
    for j in range(x.size):
        scratch[j] = x[j]
    scratch[i] = moved
    return call_value(entry, scratch, data)


@compiled
def two_point_within(entry, data, x, f, g, scratch, steps, rule, automatic, lower, upper):
    """Write one-sided differences of the function behind an entry, whose value at x is f, to g."""
    for i in range(x.size):
        if lower[i] == upper[i]:
            g[i] = 0.0
            continue
        moved = forward_within(x[i], step_at(x[i], steps, i, rule, automatic), lower[i], upper[i])
        g[i] = (_value_beside(entry, data, x, i, moved, scratch) - f) / (moved - x[i])


@compiled
def three_point_within(entry, data, x, f, g, scratch, steps, rule, automatic, lower, upper):
    """Write differences of second order of the function behind an entry to g."""
    for i in range(x.size):
        if lower[i] == upper[i]:
            g[i] = 0.0
            continue
        h = abs(step_at(x[i], steps, i, rule, automatic))
        a, b, one_sided = central_within(x[i], h, lower[i], upper[i])
        fa = _value_beside(entry, data, x, i, a, scratch)
        fb = _value_beside(entry, data, x, i, b, scratch)
        g[i] = (-3.0 * f + 4.0 * fa - fb) / (b - x[i]) if one_sided else (fb - fa) / (b - a)


_forward = getattr(forward_within, "py_func", forward_within)
_central = getattr(central_within, "py_func", central_within)


class BoundedDifferences(Differences):
    """A way to take finite differences, made to stay within bounds.

    Parameters
    ----------
    ways : Differences
        The complex step stays as it is: it does not move the real part of x.
    lower, upper : ndarray of shape (n,), float64
        Infinite where there is no bound; lower <= upper.

    Examples
    --------
    >>> import numpy as np
    >>> from nbopt.autodiff.bounded_differences import BoundedDifferences
    >>> from nbopt.autodiff.finite_differences import Differences
    >>> def f(x):
    ...     return np.sqrt(1.0 - x[0]) + 3.0 * x[1]
    >>> x = np.array([1.0 - 1e-12, 2.0])
    >>> ways = BoundedDifferences(Differences("3-point", 2), np.zeros(2), np.array([1.0, 2.0]))
    >>> bool(np.isfinite(ways.gradient(f, x, f(x))).all())
    True
    """

    def __init__(self, ways: Differences, lower: np.ndarray, upper: np.ndarray) -> None:
        vars(self).update(vars(ways))
        self.lower, self.upper = lower, upper
        if self.method != "cs":
            movable = int(np.count_nonzero(lower < upper))
            self.evaluations = 2 * movable if self.method == "3-point" else movable

    def gradient(self, fun: Callable[[np.ndarray], Any], x: np.ndarray, f: float) -> np.ndarray:
        """Return the gradient at x, within the bounds, of a function called through Python.

        Parameters
        ----------
        fun : callable
            Gets a new copy of x each time, complex for "cs".
        x : ndarray of shape (n,), float64
        f : float
            ``fun(x)``.

        Returns
        -------
        ndarray of shape (n,)
        """
        if self.method == "cs":
            return super().gradient(fun, x, f)
        g, bounds = np.zeros(x.size), zip(self.lower.tolist(), self.upper.tolist(), strict=True)
        rows = zip(x.tolist(), self.sizes(x), bounds, strict=True)
        for i, (here, h, (low, high)) in enumerate(rows):
            if low == high:
                continue
            if self.method == "2-point":
                moved = _forward(here, h, low, high)
                g[i] = (fun(_beside(x, i, moved)) - f) / (moved - here)
                continue
            a, b, one_sided = _central(here, h, low, high)
            fa, fb = fun(_beside(x, i, a)), fun(_beside(x, i, b))
            g[i] = (-3.0 * f + 4.0 * fa - fb) / (b - here) if one_sided else (fb - fa) / (b - a)
        return g


def _beside(x: np.ndarray, i: int, moved: float) -> np.ndarray:
    """Return a copy of x with one element replaced."""
    beside = x.copy()
    beside[i] = moved
    return beside
