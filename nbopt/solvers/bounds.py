"""Bounds as minimize() takes them: scipy's Bounds, or a (min, max) pair for each variable."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
from scipy.optimize import Bounds, OptimizeWarning


def read_bounds(bounds: Any, n: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the lower and the upper bounds of n variables, or None where all are infinite.

    Parameters
    ----------
    bounds : scipy.optimize.Bounds, or sequence of (min, max)
        None or an infinity where there is no bound. One pair holds for all variables, as in scipy.
    n : int

    Returns
    -------
    (ndarray of shape (n,), ndarray of shape (n,)) or None
        float64.

    Raises
    ------
    ValueError
        If there are too few or too many, if one is NaN, or if no number lies between a lower and an
        upper bound.
    TypeError
        If they are not pairs of numbers.

    Examples
    --------
    >>> from nbopt.solvers.bounds import read_bounds
    >>> read_bounds([(0, None), (-1, 1)], 2)
    (array([ 0., -1.]), array([inf,  1.]))
    """
    ends = (bounds.lb, bounds.ub) if isinstance(bounds, Bounds) else _ends(bounds)
    lower, upper = np.array(ends[0], np.float64), np.array(ends[1], np.float64)  # copies
    if lower.shape != (n,) or upper.shape != (n,):
        try:
            lower, upper = np.broadcast_to(lower, n).copy(), np.broadcast_to(upper, n).copy()
        except ValueError:
            raise ValueError(
                "minimize: The number of bounds is not compatible with the length of `x0`: there are "
                f"{lower.size} lower and {upper.size} upper bounds, and x0 has {n} elements"
            ) from None
    if not (lower <= upper).all() or lower.max() == math.inf or upper.min() == -math.inf:
        raise ValueError(_what_is_wrong(lower, upper))
    return None if lower.max() == -math.inf and upper.min() == math.inf else (lower, upper)


def _what_is_wrong(lower: np.ndarray, upper: np.ndarray) -> str:
    """Say what is wrong with the first bad pair."""
    wrong = ~(lower <= upper) | (lower == math.inf) | (upper == -math.inf)
    k = int(np.flatnonzero(wrong)[0])
    pair = f"minimize: bounds[{k}]=({lower[k]}, {upper[k]})"
    if math.isnan(lower[k]) or math.isnan(upper[k]):
        return f"{pair} must not be NaN; None or an infinity means no bound"
    if lower[k] > upper[k]:
        return f"{pair}: An upper bound is less than the corresponding lower bound."
    return f"{pair} leaves no finite number"


def _ends(bounds: Any) -> tuple[Any, Any]:
    """Return the lower and the upper bounds of a sequence of pairs."""
    if isinstance(bounds, np.ndarray) and bounds.ndim == 2 and bounds.dtype.kind in "fiu":
        if bounds.shape[1] == 2:
            return bounds[:, 0], bounds[:, 1]
        raise ValueError(f"minimize: bounds has shape {bounds.shape}; it must be (n, 2)")
    try:
        pairs = [tuple(pair) for pair in bounds]
        if any(len(pair) != 2 for pair in pairs):
            raise ValueError("minimize: bounds must be pairs (min, max), one for each variable")
        lower = [-math.inf if low is None else _end(low) for low, _ in pairs]
        return lower, [math.inf if high is None else _end(high) for _, high in pairs]
    except TypeError:
        raise TypeError(
            f"minimize: bounds={bounds!r} must be a sequence of pairs (min, max), or scipy.optimize.Bounds"
        ) from None


def _end(value: Any) -> float:
    """Return a bound as a float; text is none."""
    if isinstance(value, str | bytes):
        raise TypeError
    return float(value)


def move_within(x: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> None:
    """Move a start within the bounds, in place, with a warning where it lies beyond them.

    Parameters
    ----------
    x, lower, upper : ndarray of shape (n,)
    """
    if (x < lower).any() or (x > upper).any():
        text = "minimize: x0 violates the bounds; it was moved to the nearest point within them."
        warnings.warn(text, OptimizeWarning, stacklevel=4)
        np.clip(x, lower, upper, out=x)
