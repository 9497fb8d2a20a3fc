"""A model of data, ``f(x, *params)``, as residuals of a vector of parameters."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from nbopt.kernels.compile import compiled, is_compiled

VALUES = "_nbopt_values"  # attribute of compiled residuals ``(p, x, y, ...)``: what y is subtracted from


def parameter_names(owner: str, f: Any) -> list[str] | None:
    """Return the names of a model's parameters after x, None if it takes any number of them and names none.

    Raises
    ------
    ValueError
        If the model's signature is unknown, or it takes no parameter.
    """
    try:
        known = inspect.signature(getattr(f, "py_func", f)).parameters.values()
    except (TypeError, ValueError):
        raise ValueError(f"{owner}: Unable to determine number of fit parameters: give p0.") from None
    names = [p.name for p in known if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if len(names) < 2 and any(p.kind == p.VAR_POSITIONAL for p in known):
        return None
    if len(names) < 2:
        raise ValueError(f"{owner}: Unable to determine number of fit parameters: f takes none after x.")
    return names[1:]


def check_count(owner: str, f: Any, n: int) -> None:
    """Refuse a number of parameters that the model does not take."""
    code = getattr(getattr(f, "py_func", f), "__code__", None)
    if code is not None and code.co_argcount == n + 1:  # so it is; inspect takes ten times as long
        return
    try:
        parameters = list(inspect.signature(getattr(f, "py_func", f)).parameters.values())
    except (TypeError, ValueError):
        return
    if any(p.kind == p.VAR_POSITIONAL for p in parameters):
        return
    places = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    least = sum(p.default is p.empty for p in places) - 1
    if not least <= n <= len(places) - 1:
        raise TypeError(
            f"{owner}: f takes {len(places) - 1} parameters after x, but p0 has {n}: "
            f"{', '.join(p.name for p in places[1:])}"
        )


def residuals_of(f: Any, n: int) -> Any:
    """Return compiled residuals ``(p, x, y) -> f(x, *p) - y`` of a compiled model with n parameters.

    They are kept on the model and live as long as it does; Numba needs one argument per parameter
    written out.
    """
    made = f.__dict__.setdefault("_nbopt_residuals", {})
    if n not in made:
        made[n] = _of_one_vector(f, n, "residuals", " - y")
        made[n].__dict__[VALUES] = _of_one_vector(f, n, "values")
    return made[n]


def jacobian_of(jac: Any, n: int) -> Any:
    """Return the compiled ``(p, x, y) -> jac(x, *p)`` of a compiled function."""
    made = jac.__dict__.setdefault("_nbopt_jacobians", {})
    if n not in made:
        made[n] = _of_one_vector(jac, n, "derivatives")
    return made[n]


def _of_one_vector(f: Any, n: int, name: str, then: str = "") -> Any:
    """Return a compiled function that takes the parameters as one vector."""
    items = ", ".join(f"p[{i}]" for i in range(n))
    scope: dict[str, Any] = {"f": f}
    exec(f"def {name}(p, x, y):\n    return f(x, {items}){then}\n", scope)
    function: Callable = scope[name]
    return compiled(function, cache=False)


def python_residuals(owner: str, f: Any, x: Any, y: np.ndarray, p: np.ndarray) -> np.ndarray:
    """Return ``f(x, *p) - y``, called from Python, or say what is wrong with the result."""
    values = f(x, *p)
    if type(values) is not np.ndarray or values.shape != y.shape or values.dtype.kind != "f":
        values = _values(owner, values, y.shape, p.dtype.kind == "c")
    return values - y


def python_filler(owner: str, f: Any, x: Any, y: np.ndarray) -> Callable[[Any, np.ndarray], None]:
    """Return what writes ``f(x, *p) - y`` to an array, p being left alone: the model sees numbers only."""
    shape = y.shape

    def fill(p: Any, out: np.ndarray) -> None:
        values = f(x, *p)
        if type(values) is not np.ndarray or values.shape != shape or values.dtype.kind != "f":
            values = _values(owner, values, shape, False)
        np.subtract(values, y, out)

    return fill


def _values(owner: str, result: Any, shape: tuple[int, ...], complexes: bool) -> np.ndarray:
    """Return what a model returned as an array of numbers, or say what is wrong with it."""
    values = np.asarray(result)
    if values.size != 1 and values.shape != shape:
        raise ValueError(f"{owner}: f returned shape {values.shape}; ydata has shape {shape}")
    if values.dtype.kind in "fiub" or (complexes and values.dtype.kind == "c"):
        return values
    if result is None or values.dtype.kind != "O":
        what = "None" if result is None else values.dtype
        raise TypeError(f"{owner}: f returned {what}; it must return real numbers")
    return values.astype(np.complex128 if complexes else np.float64)


def is_compiled_model(f: Any, jac: Any) -> bool:
    """Tell whether a model, and its Jacobian if that is a function, is compiled."""
    return is_compiled(f) and (not callable(jac) or is_compiled(jac))
