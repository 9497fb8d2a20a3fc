"""Whether x, y and model go together: their shapes, and what the model gives at the start."""

from __future__ import annotations

from typing import Any

import numpy as np

from nbopt.fitting.curve_data import Data
from nbopt.fitting.curve_problem import CurveProblem
from nbopt.kernels.compile import is_compiled


def check_exchange(owner: str, x: Any, y: Any) -> None:
    """Refuse rows of data for a row of places: they can only have been exchanged."""
    rows, places = _shape(y), _shape(x)
    if len(rows) == 2 and len(places) == 1 and rows[1] == places[0]:
        raise ValueError(
            f"{owner}: y has shape {rows}, x has shape {places}; it must have one dimension. "
            "Were they exchanged? The order is fit(model, x, y, p0)"
        )


def _shape(values: Any) -> tuple[int, ...]:
    """Return the shape of what may be an array."""
    try:
        return tuple(np.shape(values))
    except (TypeError, ValueError):  # rows of unequal lengths
        return ()


def check_lengths(owner: str, data: Data) -> None:
    """Refuse x and y of different lengths."""
    x = data.x
    if isinstance(x, np.ndarray) and (x.ndim == 0 or data.y.size not in x.shape):
        where = f"x has shape {x.shape}"
        raise ValueError(f"{owner}: x and y must have the same length: {where}, y has shape {data.y.shape}")


def check_start(problem: CurveProblem) -> None:
    """Refuse a model that gives something else than finite numbers, one for each datum, at the start."""
    owner, y = problem.owner, problem.data.y
    values = _first_values(problem)
    if values.dtype.kind not in "fiub":
        raise TypeError(f"{owner}: the model returned {values.dtype}; it must return real numbers")
    if values.ndim and values.dtype.kind in "iu":
        raise TypeError(
            f"{owner}: the model returned {values.dtype}: whole numbers do not show how it depends on its "
            "parameters; it must return floats (made by np.zeros(n), say, not np.zeros(n, int))"
        )
    shape = getattr(problem.data.x, "shape", None)
    if values.size != 1 and values.shape != y.shape:
        given = f" for x of shape {shape}" if shape else ""
        raise ValueError(f"{owner}: the model returned shape {values.shape}{given}; y has shape {y.shape}")
    if values.size == 1 and y.size > 1 and not _is_constant(problem, values):
        raise ValueError(
            f"{owner}: the model returned one number for the {y.size} points of y, and another one for "
            f"the first half of x: it must return one for each point, shape {y.shape}"
        )
    values = values + 0.0 * y
    bad = ~np.isfinite(values)
    if problem.poisson:
        bad |= (values < 0.0) | ((values == 0.0) & (y > 0.0))
    if bad.any():
        i = int(np.flatnonzero(bad)[0])
        at = f", x={problem.data.x[i]:.8g}" if shape == y.shape else ""
        must = (
            "must be a mean of counts, at least 0, and positive where y is"
            if problem.poisson
            else "must be finite"
        )
        raise ValueError(
            f"{owner}: the model at p0 ({named_start(problem)}) gives {values[i]} at point {i}{at}; it {must}"
        )
    if is_compiled(problem.jac):  # the others are checked at each call
        _check_jacobian(problem)


def _check_jacobian(problem: CurveProblem) -> None:
    """Refuse a Jacobian of the wrong shape: compiled code cannot say which shape it has."""
    start = problem.named.start.tolist()
    found, wanted = np.shape(problem.jac(problem.data.x, *start)), (problem.data.y.size, len(start))
    if found != wanted:
        raise ValueError(f"{problem.owner}: jac returned shape {found}; it must be {wanted}")


def _first_values(problem: CurveProblem) -> np.ndarray:
    """Return what the model gives at the start, or say that it does not take arrays."""
    x, start = problem.data.x, problem.named.start.tolist()
    try:
        values = problem.model(x, *start)
    except ZeroDivisionError as error:
        raise ValueError(
            f"{problem.owner}: the model divides by zero at p0 ({named_start(problem)}); start elsewhere"
        ) from error
    except Exception as error:  # whatever the user's function raises
        if not isinstance(x, np.ndarray) or x.ndim != 1 or not _takes_numbers(problem.model, x, start):
            raise
        raise TypeError(
            f"{problem.owner}: the model takes one number x, not an array of shape {x.shape}: it must return "
            "a value for each x at once, by NumPy's functions (np.exp for math.exp, np.where for if), or "
            "wrapped in np.vectorize"
        ) from error
    if isinstance(values, list) and is_compiled(problem.model):
        raise TypeError(f"{problem.owner}: a compiled model must return an array, not a list: np.array(...)")
    return np.asarray(values)


def named_start(problem: CurveProblem) -> str:
    """Return the parameters at the start by their names."""
    named = problem.named
    return ", ".join(f"{n}={v:.8g}" for n, v in zip(named.names, named.start.tolist(), strict=True))


def _takes_numbers(model: Any, x: np.ndarray, start: list[float]) -> bool:
    """Tell whether a model works for each x alone."""
    try:
        return np.ndim(model(float(x[0]), *start)) == 0
    except Exception:  # the caller raises what the model said to the array
        return False


def _is_constant(problem: CurveProblem, values: np.ndarray) -> bool:
    """Tell whether a model that gives one number gives the same for half of the points."""
    x, m = problem.data.x, problem.data.y.size
    if not isinstance(x, np.ndarray) or x.shape[-1:] != (m,):
        return True  # nobody can tell
    half = np.asarray(problem.model(np.ascontiguousarray(x[..., : m // 2]), *problem.named.start.tolist()))
    return bool(np.array_equal(half, values, equal_nan=True))
