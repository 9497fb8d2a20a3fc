"""The gradient of a compiled function by dual numbers, in the forms that a solve runs on."""

from __future__ import annotations

from typing import Any

from nbopt.autodiff.gradient import ValueAndGrad, value_and_grad
from nbopt.kernels.native import EXACT, Entry, NotNative, entry_for


def without_wrapping(fun: Any, jac: Any) -> tuple[Any, Any]:
    """Return the function inside `value_and_grad`, and that its gradient is to be taken by duals."""
    return (fun.fun, "dual") if isinstance(fun, ValueAndGrad) and jac is True else (fun, jac)


def exact_entry(fun: Any, args: tuple[Any, ...], n: int | None, required: bool) -> Entry | None:
    """Return the entry of value and exact gradient; None if there is none and it is not required.

    n is None for any number of variables.

    Raises
    ------
    NotNative
        If an argument has no native form: call the function through Python.
    NotDifferentiable, TypeError
        If it is required and there is none.
    """
    from nbopt.autodiff import forward  # brings in what Numba compiles with: not at import

    known = n if n is None or forward.is_single(n) else forward.MANY

    def make(fun: Any, kinds: tuple[Any, ...], load: Any) -> Any:
        result = forward.result_type(fun, kinds, known, "minimize")
        forward.check_result(result, forward.GRADIENT, "minimize")
        return forward.gradient_entry(fun, known, load)

    # Whether a function can be built for duals is asked once, not in each solve.
    failed = fun.__dict__.setdefault("_nbopt_not_differentiable", set())
    key = known, *map(type, args)
    if key in failed and not required:
        return None
    try:
        return entry_for(fun, args, EXACT, make=make, variant=known)
    except NotNative:
        raise
    except TypeError:  # NotDifferentiable, or a result of the wrong kind
        if required:
            raise
        failed.add(key)
        return None


def exact_from_python(fun: Any, args: tuple[Any, ...], x: Any, required: bool) -> Any:
    """Return ``f, g = fun(x, *args)`` with the exact gradient, for Python; None as in `exact_entry`."""
    exact = value_and_grad(fun)
    try:
        exact(x, *args)
    except Exception:  # whatever the user's function raises there: differences will show it again
        if required:
            raise
        return None
    return exact
