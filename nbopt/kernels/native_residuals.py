"""Entries of the user's functions for least squares: residuals, and residuals with their Jacobian.

As in `native`: one signature for all functions, ``entry(x, r, data)`` and ``entry(x, r, jac, data)``, called
by address, so that what calls them is compiled once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
from numba import types
from numba.core.errors import NumbaError
from numba.extending import intrinsic

from nbopt.kernels.address import call_native, try_native
from nbopt.kernels.compile import FLAGS
from nbopt.kernels.native import Entry, NotNative, _Layout, _result_of, key_of

_LINE = types.Array(types.float64, 1, "C")
_MATRIX = types.Array(types.float64, 2, "C")
_COMPLEX_LINE = types.Array(types.complex128, 1, "C")

# What an entry computes.
RESIDUALS = "residuals"  # entry(x, r, data)
COMPLEX_RESIDUALS = "complex residuals"  # the same, of complex x
JACOBIAN = "jacobian"  # entry(x, r, jac, data), of a function that returns the Jacobian: r is left alone
EXACT = "exact"  # the same; made by the caller, writes r too

_SIGNATURES = {
    RESIDUALS: types.none(_LINE, _LINE, types.intp),
    COMPLEX_RESIDUALS: types.none(_COMPLEX_LINE, _COMPLEX_LINE, types.intp),
    JACOBIAN: types.none(_LINE, _LINE, _MATRIX, types.intp),
    EXACT: types.none(_LINE, _LINE, _MATRIX, types.intp),
}


@intrinsic
def call_residuals(typing_context, address, x, r, data):
    """Call ``entry(x, r, data)`` at a machine address; what it raises propagates."""
    kinds = (x, r, types.intp)

    def codegen(context, builder, signature, args):
        call_native(context, builder, types.none, kinds, args[0], args[1:])
        return context.get_dummy_value()

    return types.none(types.intp, *kinds), codegen


@intrinsic
def call_jacobian(typing_context, address, x, r, jac, data):
    """Call ``entry(x, r, jac, data)`` at a machine address."""
    kinds = (x, r, jac, types.intp)

    def codegen(context, builder, signature, args):
        call_native(context, builder, types.none, kinds, args[0], args[1:])
        return context.get_dummy_value()

    return types.none(types.intp, *kinds), codegen


@intrinsic
def try_residuals(typing_context, address, x, r, data):
    """Call ``entry(x, r, data)`` on a thread that is not Python's; tell whether it raised."""
    kinds = (x, r, types.intp)

    def codegen(context, builder, signature, args):
        return try_native(context, builder, types.none, kinds, args[0], args[1:])

    return types.boolean(types.intp, *kinds), codegen


@intrinsic
def try_jacobian(typing_context, address, x, r, jac, data):
    """Call ``entry(x, r, jac, data)`` on a thread that is not Python's; tell whether it raised."""
    kinds = (x, r, jac, types.intp)

    def codegen(context, builder, signature, args):
        return try_native(context, builder, types.none, kinds, args[0], args[1:])

    return types.boolean(types.intp, *kinds), codegen


def _residual_entry(fun: Any, load: Any) -> Callable:
    """Return the entry of a function that returns residuals."""

    def entry(x, r, data):
        values = fun(x, *load(data))
        if len(values) != r.size:
            raise ValueError("least_squares: fun returned another number of residuals than at x0")
        for i in range(r.size):
            r[i] = values[i]

    return entry


def _jacobian_entry(jac: Any, load: Any) -> Callable:
    """Return the entry of a function that returns the Jacobian."""

    def entry(x, r, out, data):
        values = jac(x, *load(data))
        if values.shape[0] != out.shape[0] or values.shape[1] != out.shape[1]:
            raise ValueError("least_squares: jac returned an array of another shape than (m, n)")
        for i in range(out.shape[0]):
            for j in range(out.shape[1]):
                out[i, j] = values[i, j]

    return entry


def _check(result: Any, what: str) -> None:
    """Refuse results that have another form: the way through Python takes or explains them."""
    numbers: tuple[Any, ...] = (types.Float, types.Integer, types.Boolean)
    if what == COMPLEX_RESIDUALS:
        numbers += (types.Complex,)
    if what == JACOBIAN:
        good = isinstance(result, types.Array) and result.ndim == 2
    else:
        good = isinstance(result, types.UniTuple | types.List)
        good = good or (isinstance(result, types.Array) and result.ndim == 1)
    if not good or not isinstance(result.dtype, numbers):
        raise NotNative(f"a result of type {result}")


def _build(fun: Any, args: tuple[Any, ...], what: str, make: Callable | None) -> Entry:
    """Compile the entry of ``fun`` for arguments of these types."""
    try:
        kinds = tuple(numba.typeof(a) for a in args)
    except (ValueError, NumbaError) as error:
        raise NotNative(str(error)) from None
    layout = _Layout(kinds)
    if make is None:
        x = _COMPLEX_LINE if what == COMPLEX_RESIDUALS else _LINE
        _check(_result_of(fun, (x, *kinds)), what)
        make = _jacobian_entry if what == JACOBIAN else _residual_entry
        entry = make(fun, layout.load())
    else:
        entry = make(fun, kinds, layout.load())
    # Nobody calls the entry from Python or C: leaving these wrappers out halves the compile time.
    dispatcher = numba.njit(entry, no_cpython_wrapper=True, no_cfunc_wrapper=True, **FLAGS)
    return Entry(dispatcher, _SIGNATURES[what], layout)


def residual_entry(
    fun: Any, args: tuple[Any, ...], what: str, make: Callable | None = None, variant: Any = None
) -> Entry:
    """Return the entry of a compiled function for arguments like these; compile it if it is new.

    Parameters
    ----------
    fun : numba dispatcher
        Returns residuals, or for JACOBIAN a matrix.
    args : tuple
        Its further arguments.
    what : str
        One of the kinds above.
    make : callable, optional
        ``make(fun, kinds, load)`` returns the Python function of an EXACT entry, ``kinds`` being the types
        of the further arguments.
    variant : hashable, optional
        Tells apart what ``make`` makes.

    Returns
    -------
    Entry

    Raises
    ------
    NotNative
        If an argument, or the result, has no native form: call ``fun`` through Python.
    """
    key = (what, variant, *map(key_of, args))
    entries = fun.__dict__.setdefault("_nbopt_entries", {})
    entry = entries.get(key)
    if entry is None:
        entry = entries[key] = _build(fun, args, what, make)
    return entry
