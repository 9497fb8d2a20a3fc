"""The arguments of least_squares(): scipy's names, ranges and errors."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
from scipy.optimize import Bounds

from nbopt.autodiff.finite_differences import METHODS as DIFFERENCES
from nbopt.fitting.losses import KINDS
from nbopt.fitting.steps import unbounded
from nbopt.optim.near_miss import did_you_mean
from nbopt.solvers.real_numbers import real_numbers

METHODS = ("trf", "dogbox", "lm")
_WAYS = ("auto", "dual", *DIFFERENCES)
_EPS = 2.0**-52
FREE = (-math.inf, math.inf)  # the default of `bounds`: none


def read_start(owner: str, name: str, x0: Any) -> np.ndarray:
    """Return a float64 copy of the start, of one dimension, or say what is wrong with it."""
    x = np.array(x0)
    if x.dtype != np.float64 or x.ndim == 0:
        try:
            x = np.atleast_1d(real_numbers(x))
        except TypeError as error:
            raise ValueError(f"{owner}: {name} {error}") from None
    if x.ndim > 1:
        raise ValueError(f"{owner}: {name} has shape {x.shape}; it must have at most 1 dimension")
    if not x.size:
        raise ValueError(f"{owner}: {name} is empty; it must have at least one element")
    if not all(map(math.isfinite, x.tolist())):
        bad = np.flatnonzero(~np.isfinite(x))[0]
        raise ValueError(f"{owner}: {name}[{bad}]={x[bad]} must be finite")
    return x


def read_bounds(owner: str, name: str, bounds: Any, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return lower and upper bounds of each variable, or say what is wrong with them."""
    if bounds is FREE or (
        type(bounds) is tuple and all(type(end) is float for end in bounds) and bounds == FREE
    ):  # the faster way
        return unbounded(x.size)
    if isinstance(bounds, Bounds):  # it makes arrays of one element of numbers
        pair = tuple(end[0] if np.shape(end) == (1,) else end for end in (bounds.lb, bounds.ub))
    elif isinstance(bounds, tuple | list | np.ndarray) and len(bounds) == 2:
        pair = bounds[0], bounds[1]
    else:
        raise ValueError(f"{owner}: bounds must contain 2 elements, lower and upper, or be a Bounds")
    ends = []
    for end in pair:
        values = np.asarray(end, np.float64)
        if values.ndim == 0:
            values = np.full(x.size, values.item())
        if values.shape != x.shape:
            raise ValueError(
                f"{owner}: Inconsistent shapes between bounds and {name}: {values.shape} and {x.shape}"
            )
        ends.append(np.ascontiguousarray(values))
    lower, upper = ends
    for i, (low, high, at) in enumerate(zip(lower.tolist(), upper.tolist(), x.tolist(), strict=True)):
        if not low < high:
            raise ValueError(
                f"{owner}: Each lower bound must be strictly less than each upper bound; "
                f"those of {name}[{i}] are ({low}, {high})"
            )
        if not low <= at <= high:
            raise ValueError(
                f"{owner}: Initial guess is outside of provided bounds: "
                f"{name}[{i}]={at} must lie in [{low}, {high}]"
            )
    return lower, upper


def read_tolerances(owner: str, method: str, ftol: Any, xtol: Any, gtol: Any) -> tuple[float, float, float]:
    """Return the tolerances, 0 for None, as scipy checks them."""
    values = []
    for name, value in (("ftol", ftol), ("xtol", xtol), ("gtol", gtol)):
        number = 0.0 if value is None else _number(value)
        if not number >= 0.0:
            raise ValueError(f"{owner}: {name}={value!r} must be a number in [0, inf) or None")
        if number < _EPS and value is not None:
            warnings.warn(
                f"Setting `{name}` below the machine epsilon ({_EPS:.2e}) effectively "
                "disables the corresponding termination condition.",
                stacklevel=4,
            )
        values.append(number)
    if method == "lm" and min(values) < _EPS:
        raise ValueError(
            f"{owner}: All tolerances must be higher than machine epsilon ({_EPS:.2e}) for method 'lm'."
        )
    if max(values) < _EPS:
        raise ValueError(
            f"{owner}: At least one of the tolerances must be higher than machine epsilon ({_EPS:.2e})."
        )
    return values[0], values[1], values[2]


def read_scale(owner: str, x_scale: Any, method: str, n: int) -> np.ndarray | None:
    """Return the scales of the variables, None for those of the Jacobian."""
    if isinstance(x_scale, str) and x_scale == "jac":
        return None
    if x_scale is None:
        return None if method == "lm" else np.ones(n)
    try:
        scale = np.asarray(x_scale, np.float64)
        valid = bool(np.isfinite(scale).all() and (scale > 0.0).all())
    except (TypeError, ValueError):
        valid = False
    if not valid:
        raise ValueError(f"{owner}: x_scale={x_scale!r} must be 'jac' or array_like with positive numbers.")
    if scale.ndim == 0:
        scale = np.full(n, scale.item())
    if scale.shape != (n,):
        raise ValueError(f"{owner}: Inconsistent shapes between x_scale and x0: {scale.shape} and ({n},)")
    return scale


def check_choices(owner: str, method: Any, jac: Any, loss: Any, verbose: Any) -> None:
    """Refuse what is none of the choices."""
    if method not in METHODS:
        near = did_you_mean(method, METHODS)
        raise ValueError(f"{owner}: method={method!r} must be 'trf', 'dogbox' or 'lm'{near or '.'}")
    if not callable(jac) and jac is not None and jac not in _WAYS:
        raise ValueError(
            f"{owner}: jac={jac!r} must be '2-point', '3-point', 'cs', 'dual', 'auto', None or callable"
            + (did_you_mean(jac, _WAYS) or ".")
        )
    if not callable(loss) and loss not in KINDS:
        near = did_you_mean(loss, KINDS)
        raise ValueError(f"{owner}: loss={loss!r} must be one of {list(KINDS)} or a callable{near or '.'}")
    if method == "lm" and loss != "linear":
        raise ValueError(f"{owner}: method='lm' supports only 'linear' loss function.")
    if verbose not in (0, 1, 2):
        raise ValueError(f"{owner}: verbose={verbose!r} must be in [0, 1, 2].")


def read_limit(owner: str, max_nfev: Any, n: int) -> int:
    """Return the largest number of evaluations."""
    if max_nfev is None:
        return 100 * n
    if isinstance(max_nfev, bool) or not _number(max_nfev) > 0.0:
        raise ValueError(f"{owner}: max_nfev={max_nfev!r} must be None or positive integer.")
    return int(min(max_nfev, 2**62))


def read_f_scale(owner: str, f_scale: Any) -> float:
    """Return the scale of the residuals for a robust loss."""
    number = _number(f_scale)
    if not 0.0 < number < math.inf:
        raise ValueError(f"{owner}: f_scale={f_scale!r} must be a number in (0, inf)")
    return number


def read_diff_step(owner: str, diff_step: Any, n: int) -> Any:
    """Return the relative steps of finite differences, None for the usual ones."""
    if diff_step is None:
        return None
    try:
        steps = np.asarray(diff_step, np.float64)
    except (TypeError, ValueError):
        steps = np.full(1, math.nan)
    if steps.shape not in ((), (1,), (n,)) or not np.isfinite(steps).all():
        raise ValueError(
            f"{owner}: diff_step={diff_step!r} must be a finite number, or one for each of the {n} variables"
        )
    return np.broadcast_to(steps, n)


def _number(value: Any) -> float:
    """Return a float; NaN for what is none."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan
