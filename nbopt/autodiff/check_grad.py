"""check_grad(): how far a user's own derivatives are from the right ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np

from nbopt.autodiff.finite_differences import Differences
from nbopt.autodiff.gradient import as_line, jacobian, value_and_grad
from nbopt.autodiff.not_differentiable import NotDifferentiable
from nbopt.kernels.compile import is_compiled


class GradientCheck(float):
    """The distance of a gradient or Jacobian from the right one: a float that knows where it comes from.

    Attributes
    ----------
    given, expected : ndarray
        The user's derivatives and the right ones, of shape (n,) or (m, n).
    method : {"dual", "3-point"}
        How the right ones were found: exactly, or by central differences (good for some eight digits).
    worst : tuple of int
        Where the two differ most, relative to the larger of 1 and the right one.
    """

    given: np.ndarray
    expected: np.ndarray
    method: str
    worst: tuple[int, ...]

    def __new__(cls, given: np.ndarray, expected: np.ndarray, method: str) -> GradientCheck:
        """Compare two sets of derivatives."""
        check = super().__new__(cls, np.linalg.norm(given - expected))
        check.given, check.expected, check.method = given, expected, method
        ratio = np.abs(given - expected) / np.maximum(1.0, np.abs(expected))
        place = np.unravel_index(int(np.argmax(np.where(np.isnan(ratio), np.inf, ratio))), ratio.shape)
        check.worst = tuple(map(int, place))
        return check

    def __str__(self) -> str:
        name = "g" if self.given.ndim == 1 else "jac"
        place = ", ".join(map(str, self.worst))
        return (
            f"distance {float(self):.3g}; most at {name}[{place}]: given {self.given[self.worst]:.9g}, "
            f"expected {self.expected[self.worst]:.9g} ({self.method})"
        )


def check_grad(fun: Callable[..., Any], jac: Any, x: Any, *args: Any) -> GradientCheck:
    """Return how far the user's derivatives of ``fun`` are from the right ones at x.

    Parameters
    ----------
    fun : callable
        ``fun(x, *args) -> float``, or ``-> array_like of shape (m,)``; with ``jac=True`` it returns the pair
        of that and its derivatives.
    jac : callable or True
        ``jac(x, *args) -> array_like of shape (n,)``, or ``(m, n)`` where fun returns an array.
    x : array_like of shape (n,)
        Where to check: at a point without symmetries, which would hide errors. It is not changed.
    *args
        Further arguments of both.

    Returns
    -------
    GradientCheck
        The 2-norm of the difference, a float as that of `scipy.optimize.check_grad`; printed, it tells
        where the difference is largest.

    Raises
    ------
    TypeError
        If fun or jac is not callable.
    ValueError
        If x is no line, or the derivatives have another shape than they must have.

    Notes
    -----
    The right derivatives are exact (`value_and_grad`, `jacobian`) if fun is compiled and can be built for
    dual numbers; else they are central differences.

    Examples
    --------
    >>> import nbopt, numba
    >>> @numba.njit
    ... def f(x):
    ...     return x[0] ** 2 * x[1]
    >>> check = nbopt.check_grad(f, lambda x: [2 * x[0] * x[1], x[0]], [3.0, 2.0])
    >>> check > 1e-6
    True
    >>> print(check)
    distance 6; most at g[1]: given 3, expected 9 (dual)
    """
    if not callable(fun):
        raise TypeError(f"check_grad: fun={fun!r} must be callable")
    if jac is not True and not callable(jac):
        raise TypeError(f"check_grad: jac={jac!r} must be callable or True")
    line = as_line(x, None, "check_grad")
    value = fun
    given = fun(line.copy(), *args)[1] if jac is True else jac(line.copy(), *args)
    if jac is True:
        value = _first(fun)
    expected, method = _derivatives(value, line, args)
    given = np.asarray(given, np.float64)
    if given.shape != expected.shape:
        raise ValueError(
            f"check_grad: the derivatives have shape {given.shape}; here it must be {expected.shape}"
        )
    return GradientCheck(given, expected, method)


def _first(fun: Any) -> Any:
    """Return the function that gives the first result of another; compiled if that is."""
    if is_compiled(fun):
        return numba.njit(lambda x, *args: fun(x, *args)[0])
    return lambda x, *args: fun(x, *args)[0]


def _derivatives(fun: Any, x: np.ndarray, args: tuple[Any, ...]) -> tuple[np.ndarray, str]:
    """Return the right derivatives, and how they were found."""
    here = np.asarray(fun(x.copy(), *args), np.float64)
    if is_compiled(fun):
        try:
            return (value_and_grad(fun)(x, *args)[1] if here.ndim == 0 else jacobian(fun)(x, *args)), "dual"
        except NotDifferentiable:
            pass
    columns = []
    for i, h in enumerate(Differences("3-point", x.size).sizes(x)):
        low, high = x.copy(), x.copy()
        low[i] -= h
        high[i] += h
        rise = np.asarray(fun(high, *args), np.float64) - np.asarray(fun(low, *args), np.float64)
        columns.append(rise / (x[i] + h - (x[i] - h)))
    return np.stack(columns, axis=-1), "3-point"
