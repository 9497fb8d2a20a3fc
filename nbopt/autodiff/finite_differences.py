"""Gradients by finite differences, with scipy's steps: for Python functions and for compiled ones.

A compiled function is reached through an entry (kernels/native.py) by address, so that the loops
here are compiled once, whatever the function is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from nbopt.kernels.compile import compiled
from nbopt.kernels.native import VALUE, _check_results, call_value

METHODS = ("2-point", "3-point", "cs")

# How `steps` are meant.
AUTOMATIC, RELATIVE, ABSOLUTE = 0, 1, 2

EPS = 2.0**-52
_POWER = {"2-point": 1 / 2, "3-point": 1 / 3, "cs": 1 / 2}  # of the rounding unit: the automatic step


@compiled
def step_at(x, steps, i, rule, automatic):
    """Return the step for the coordinate ``x = x[i]``: signed as x, never lost in rounding."""
    sign = 1.0 if x >= 0.0 else -1.0
    fallback = automatic * sign * max(1.0, abs(x))
    if rule == 0:
        return fallback
    h = steps[i] * sign * abs(x) if rule == 1 else steps[i]
    return fallback if (x + h) - x == 0.0 else h


@compiled
def _value_beside(entry, data, x, i, moved, scratch):
    """Call the entry at x with ``x[i] = moved``, on a copy: the function may write to what it gets."""
    for j in range(x.size):
        scratch[j] = x[j]
    scratch[i] = moved
    return call_value(entry, scratch, data)


@compiled
def two_point(entry, data, x, f, g, scratch, steps, rule, automatic):
    """Write the forward differences of the function behind an entry, whose value at x is f, to g."""
    for i in range(x.size):
        h = step_at(x[i], steps, i, rule, automatic)
        moved = x[i] + h
        g[i] = (_value_beside(entry, data, x, i, moved, scratch) - f) / (moved - x[i])


@compiled
def three_point(entry, data, x, f, g, scratch, steps, rule, automatic):
    """Write the central differences of the function behind an entry to g."""
    for i in range(x.size):
        h = abs(step_at(x[i], steps, i, rule, automatic))
        low, high = x[i] - h, x[i] + h
        below = _value_beside(entry, data, x, i, low, scratch)
        g[i] = (_value_beside(entry, data, x, i, high, scratch) - below) / (high - low)


@compiled
def complex_step(entry, data, x, f, g, scratch, steps, rule, automatic):
    """Write the derivatives by complex step to g; the entry and the scratch are complex.

    Source: W. Squire and G. Trapp, "Using complex variables to estimate derivatives of real
    functions", SIAM Review 40(1), 1998, 110-112.
    """
    for i in range(x.size):
        h = step_at(x[i], steps, i, rule, automatic)
        g[i] = _value_beside(entry, data, x, i, complex(x[i], h), scratch).imag / h


def difference_entry(fun: Any, kinds: tuple[Any, ...], load: Any) -> Callable:
    """Return the function ``f = entry(x, g, data)`` that writes forward differences to g, for compiling.

    Parameters
    ----------
    fun : numba dispatcher
    kinds : tuple of numba types
        Of its further arguments.
    load : intrinsic
        ``load(data)`` returns the tuple of these.

    Raises
    ------
    TypeError
        If the function does not return a real number.
    """
    _check_results(fun, None, VALUE, kinds)
    automatic, steps = EPS ** _POWER["2-point"], np.empty(0)

    def entry(x, g, data):
        scratch = x.copy()  # the function may write to what it gets
        f = fun(scratch, *load(data))
        for i in range(x.size):
            for j in range(x.size):
                scratch[j] = x[j]
            scratch[i] = x[i] + step_at(x[i], steps, i, 0, automatic)
            moved = scratch[i]
            g[i] = (fun(scratch, *load(data)) - f) / (moved - x[i])
        return f

    return entry


COMPILED: dict[str, Any] = {"2-point": two_point, "3-point": three_point, "cs": complex_step}


class Differences:
    """A way to take finite differences of a function of n variables.

    Parameters
    ----------
    method : {"2-point", "3-point", "cs"}
        Forward differences, central differences, or the complex step.
    n : int
        Number of variables.
    rel_step : float or array_like of shape (n,), optional
        Step relative to each ``|x|``; by default the square root of the rounding unit (its cube root
        for "3-point") times ``max(1, |x|)``.
    abs_step : float or array_like of shape (n,), optional
        Absolute step; goes before `rel_step`.
    unit : float, optional
        The rounding unit of the function: that of float64 by default.

    Attributes
    ----------
    evaluations : int
        Calls of the function that one gradient takes, besides the one at x itself.

    Raises
    ------
    ValueError
        If the method is unknown, or a step is not finite or of another shape.

    Notes
    -----
    A step that would be lost in rounding, such as a relative one at ``x = 0``, is replaced by the
    default. The complex step is exact to rounding for analytic functions and silently wrong for
    ``abs``, ``max`` and comparisons of x.

    Examples
    --------
    >>> import numpy as np
    >>> from nbopt.autodiff.finite_differences import Differences
    >>> def f(x):
    ...     return x[0] ** 2 + 3 * x[1]
    >>> x = np.array([2.0, 1.0])
    >>> Differences("3-point", 2).gradient(f, x, f(x)).round(6)
    array([4., 3.])
    """

    def __init__(
        self, method: str, n: int, rel_step: Any = None, abs_step: Any = None, unit: float = EPS
    ) -> None:
        if method not in METHODS:
            raise ValueError(f"finite differences: method={method!r} must be one of {METHODS}")
        self.method, self.automatic = method, unit ** _POWER[method]
        self.evaluations = 2 * n if method == "3-point" else n
        self.dtype = np.dtype(np.complex128 if method == "cs" else np.float64)
        if abs_step is not None:
            self.rule, self.steps = ABSOLUTE, _steps("abs_step", abs_step, n)
        elif rel_step is not None:
            self.rule, self.steps = RELATIVE, _steps("rel_step", rel_step, n)
        else:
            self.rule, self.steps = AUTOMATIC, np.empty(0)

    def gradient(self, fun: Callable[[np.ndarray], Any], x: np.ndarray, f: float) -> np.ndarray:
        """Return the gradient at x of a function called through Python.

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
        g = np.empty(x.size)
        for i, (here, h) in enumerate(zip(x.tolist(), self.sizes(x), strict=True)):
            if self.method == "2-point":
                moved = here + h
                g[i] = (fun(_beside(x, i, moved)) - f) / (moved - here)
            elif self.method == "3-point":
                low, high = here - h, here + h
                below = fun(_beside(x, i, low))
                g[i] = (fun(_beside(x, i, high)) - below) / (high - low)
            else:
                g[i] = complex(fun(_beside(x.astype(complex), i, complex(here, h)))).imag / h
        return g

    def sizes(self, x: np.ndarray) -> list[float]:
        """Return the steps at x, as `step_at` computes them."""
        sign = np.where(x >= 0.0, 1.0, -1.0)
        h = fallback = self.automatic * sign * np.maximum(1.0, np.abs(x))
        if self.rule != AUTOMATIC:
            h = self.steps * sign * np.abs(x) if self.rule == RELATIVE else self.steps
            h = np.where((x + h) - x == 0.0, fallback, h)
        return (np.abs(h) if self.method == "3-point" else h).tolist()


def _beside(x: np.ndarray, i: int, moved: complex) -> np.ndarray:
    """Return a copy of x with one element replaced."""
    beside = x.copy()
    beside[i] = moved
    return beside


def _steps(name: str, steps: Any, n: int) -> np.ndarray:
    """Return one step per variable."""
    values = np.asarray(steps, np.float64)
    if values.ndim > 1 or values.size not in (1, n) or not np.isfinite(values).all():
        raise ValueError(
            f"finite differences: {name}={steps!r} must be a finite number, "
            f"or one for each of the {n} variables"
        )
    return np.ascontiguousarray(np.broadcast_to(values.reshape(-1), (n,)))
