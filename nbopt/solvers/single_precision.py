"""Solves in single precision: the function sees float32, the engine counts in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from nbopt.kernels.compile import compiled, is_compiled

UNIT = 2.0**-23  # differences of values below this share of them are rounding


def is_single(x0: Any) -> bool:
    """Tell whether a start asks for single precision."""
    return isinstance(x0, np.ndarray) and x0.dtype == np.float32


def narrowed(fun: Any) -> Any:
    """Return a function of float64 (or complex) x that hands it on in single precision.

    Of a compiled function it is kept on the function and lives as long as that.

    Parameters
    ----------
    fun : callable

    Returns
    -------
    callable
        Compiled if `fun` is; then x must be real.

    Examples
    --------
    >>> import numpy as np
    >>> from nbopt.solvers.single_precision import narrowed
    >>> narrowed(lambda x: x.dtype)(np.ones(2))
    dtype('float32')
    """
    if not is_compiled(fun):
        return _narrowed_python(fun)
    made = fun.__dict__.get("_nbopt_narrowed")
    if made is None:

        def narrow(x, *args):
            return fun(x.astype(np.float32), *args)

        made = fun.__dict__["_nbopt_narrowed"] = compiled(narrow, cache=False)
    return made


def _narrowed_python(fun: Callable[..., Any]) -> Callable[..., Any]:
    """Return the same for a function that is called from Python."""

    def narrow(x: np.ndarray, *args: Any) -> Any:
        return fun(x.astype(np.complex64 if x.dtype.kind == "c" else np.float32), *args)

    return narrow


def representable(lower: np.ndarray, upper: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the bounds moved inside to numbers of single precision, so that no rounding leaves them.

    Two bounds between which there is no such number stay as they are.
    """
    low, high = lower.astype(np.float32), upper.astype(np.float32)
    low = np.where(low < lower, np.nextafter(low, np.float32(np.inf)), low).astype(np.float64)
    high = np.where(high > upper, np.nextafter(high, np.float32(-np.inf)), high).astype(np.float64)
    crossed = low > high
    return np.where(crossed, lower, low), np.where(crossed, upper, high)


def narrow_result(result: Any) -> Any:
    """Turn the points and the gradient of a result into float32, as they were evaluated; return it."""
    for name in ("x", "jac"):
        result[name] = result[name].astype(np.float32)
    if "allvecs" in result:
        result["allvecs"] = [x.astype(np.float32) for x in result["allvecs"]]
    return result
