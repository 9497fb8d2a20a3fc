"""What the user wants minimized, in the form that an engine can run on: compiled, or through Python."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from nbopt.autodiff.bounded_differences import BoundedDifferences
from nbopt.autodiff.finite_differences import Differences
from nbopt.kernels.compile import is_compiled
from nbopt.kernels.native import COMPLEX, GRADIENT, PAIR, VALUE, NotNative, entry_for
from nbopt.solvers.bounded_bursts import burst_within
from nbopt.solvers.bursts import EVALUATE, Bursts, burst, burst_complex, burst_differences
from nbopt.solvers.exact_gradient import exact_entry, exact_from_python
from nbopt.solvers.single_precision import narrowed

EXACT = "auto", "dual"


@dataclass(slots=True)
class Objective:
    """What runs an engine: its calls, the differences it takes, if any, and the name of how."""

    calls: Any
    ways: Differences | None
    jac_method: str


class PythonCalls:
    """Runs an engine on a Python function: ``evaluate(x, g)`` returns f and writes the gradient to g."""

    __slots__ = ("between", "evaluate")

    def __init__(self, evaluate: Callable[[np.ndarray, np.ndarray], float]) -> None:
        self.evaluate = evaluate
        self.between: Any = None  # called after each evaluation that another one follows

    def run(self, engine: Any, task: int, work: np.ndarray, counts: np.ndarray) -> int:
        """Go on until the engine stops or pauses at an iterate; return its task."""
        evaluate, advance, f, n = self.evaluate, engine.advance, 0.0, int(counts[0])
        x, g = work[:n], work[n : 2 * n]
        while True:
            if task == EVALUATE:
                f = evaluate(x, g)
            task = advance(f, work, counts)
            if task != EVALUATE:
                return task
            if self.between is not None:
                self.between()


def as_value(f: Any) -> float:
    """Return what the function gave as a float, or say what is wrong with it."""
    if isinstance(f, np.ndarray):
        if f.size != 1:
            raise ValueError(
                f"minimize: fun returned an array of shape {f.shape}; it must return a real number"
            )
        f = f.item()
    real = isinstance(f, float | int | np.floating | np.integer | np.bool_)
    if not real and (
        isinstance(f, str | bytes | complex | np.complexfloating) or not hasattr(f, "__float__")
    ):
        what = "None" if f is None else f"{type(f).__name__} {f!r}"
        hint = " (with the gradient beside it: jac=True)" if isinstance(f, tuple) and len(f) == 2 else ""
        raise TypeError(f"minimize: fun returned {what}; it must return a real number{hint}")
    return float(f)


def store_gradient(grad: Any, g: np.ndarray, owner: str) -> None:
    """Write what the function gave to g, or say what is wrong with it."""
    if grad is None:
        raise TypeError(
            f"minimize: {owner} gave None for the gradient; it must be an array of shape {g.shape}"
        )
    values = np.asarray(grad)
    if values.dtype == object and None not in values.reshape(-1).tolist():  # NumPy reads None as NaN
        with contextlib.suppress(TypeError, ValueError):
            values = values.astype(np.float64)
    if values.dtype.kind not in "fiub":
        raise TypeError(f"minimize: {owner} gave {grad!r} for the gradient; it must be an array of floats")
    if values.shape != g.shape and not (values.size == 1 == g.size):
        raise ValueError(
            f"minimize: {owner} gave a gradient of shape {values.shape}; it must be that of x, {g.shape}"
        )
    g[...] = values.reshape(-1)


def _joint(fun: Callable, args: tuple[Any, ...]) -> PythonCalls:
    """Return the calls of a Python function that gives value and gradient."""

    def evaluate(x: np.ndarray, g: np.ndarray) -> float:
        result = fun(x.copy(), *args)
        if not isinstance(result, tuple | list) or len(result) != 2:
            raise TypeError(f"minimize: with jac=True fun must return (value, gradient), not {result!r}")
        f, grad = result
        if type(grad) is np.ndarray and grad.dtype == g.dtype and grad.shape == g.shape:
            g[...] = grad
        else:
            store_gradient(grad, g, "fun")
        return f if type(f) is float else as_value(f)

    return PythonCalls(evaluate)


def _separate(fun: Callable, jac: Callable, args: tuple[Any, ...]) -> PythonCalls:
    """Return the calls of a Python function and its gradient."""

    def evaluate(x: np.ndarray, g: np.ndarray) -> float:
        f = fun(x.copy(), *args)
        grad = jac(x.copy(), *args)
        if type(grad) is np.ndarray and grad.dtype == g.dtype and grad.shape == g.shape:
            g[...] = grad
        else:
            store_gradient(grad, g, "jac")
        return f if type(f) is float else as_value(f)

    return PythonCalls(evaluate)


def _differences(fun: Callable, ways: Differences, args: tuple[Any, ...]) -> PythonCalls:
    """Return the calls of a Python function and its finite differences."""

    def value(x: np.ndarray) -> Any:
        f = fun(x, *args)
        return f if type(f) is float or x.dtype == complex else as_value(f)

    def evaluate(x: np.ndarray, g: np.ndarray) -> float:
        f = value(x.copy())
        g[...] = ways.gradient(value, x, f)
        return f

    return PythonCalls(evaluate)


def _compiled_differences(fun: Any, ways: Differences, args: tuple[Any, ...], n: int) -> Bursts:
    """Return the bursts of a compiled function and its finite differences."""
    entry = entry_for(fun, args, VALUE)
    rest: tuple[Any, ...] = (np.empty(n), ways.steps, ways.rule, ways.automatic)
    if ways.method != "cs":
        source = entry.address, entry.words(args), ways.method == "3-point", *rest
        if isinstance(ways, BoundedDifferences):
            return Bursts(burst_within, (*source, ways.lower, ways.upper), (entry, args))
        return Bursts(burst_differences, source, (entry, args))
    other = entry_for(fun, args, COMPLEX)
    scratch = np.empty(n, np.complex128)
    all_of_it = entry.address, entry.words(args), other.address, rest[0], scratch, *rest[1:]
    return Bursts(burst_complex, all_of_it, (entry, other, args))


def _compiled(fun: Any, jac: Any, ways: Differences | None, args: tuple[Any, ...], n: int) -> Bursts:
    """Return the bursts of a compiled function."""
    if ways is not None:
        return _compiled_differences(fun, ways, args, n)
    entry = entry_for(fun, args, GRADIENT) if jac is True else entry_for(fun, args, PAIR, jac)
    return Bursts(burst, (entry.address, entry.words(args)), (entry, args, fun, jac), _explain)


def _explain(keep: tuple[Any, ...], x: np.ndarray, g: np.ndarray) -> None:
    """Call value and gradient through Python, which says what is wrong with their sizes."""
    _, args, fun, jac = keep
    (_joint(fun, args) if jac is True else _separate(fun, jac, args)).evaluate(x, g)


def _exact(fun: Any, args: tuple[Any, ...], x0: np.ndarray, required: bool) -> Objective | None:
    """Return what runs an engine on a compiled function and its exact derivatives; None if it has none."""
    try:
        entry = exact_entry(fun, args, x0.size, required)
        if entry is None:
            return None
        return Objective(Bursts(burst, (entry.address, entry.words(args)), (entry, args)), None, "dual")
    except NotNative:  # an argument such as a list: each call goes through Python
        exact = exact_from_python(fun, args, x0, required)
        return None if exact is None else Objective(_joint(exact, args), None, "dual")


def objective(
    fun: Any,
    jac: Any,
    ways: Differences | None,
    args: tuple[Any, ...],
    x0: np.ndarray,
    single: bool = False,
) -> Objective:
    """Return what runs an engine on ``fun``: compiled if the function (and its gradient) is.

    Parameters
    ----------
    fun : callable
    jac : True, callable, "auto", "dual" or None
        "dual" stands for exact derivatives; "auto" for these where `fun` has them, else differences;
        None for differences.
    ways : Differences or None
        A way to take differences, unless `jac` is True, a function or "dual".
    args : tuple
    x0 : ndarray of shape (n,)
        Where the solve starts.
    single : bool
        Whether the functions get x in single precision. Dual numbers and complex steps do not.
    """
    if jac in EXACT and is_compiled(fun):
        exact = _exact(fun, args, x0, jac == "dual")
        if exact is not None:
            return exact
    if single and (ways is None or ways.method != "cs"):
        fun, jac = narrowed(fun), narrowed(jac) if callable(jac) else jac
    name = "user" if ways is None else ways.method
    if is_compiled(fun) and (not callable(jac) or is_compiled(jac)):
        try:
            return Objective(_compiled(fun, jac, ways, args, x0.size), ways, name)
        except NotNative:
            pass
    if ways is not None:
        return Objective(_differences(fun, ways, args), ways, name)
    return Objective(_joint(fun, args) if jac is True else _separate(fun, jac, args), None, name)
