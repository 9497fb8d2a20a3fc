"""A user's compiled callback behind one fixed signature, to be called by address inside a solve."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
from numba import types
from numba.extending import intrinsic

from nbopt.kernels.address import call_native
from nbopt.kernels.compile import FLAGS
from nbopt.kernels.native import Entry, _Layout, _result_of

_LINE = types.Array(types.float64, 1, "C")
_SIGNATURE = types.boolean(_LINE, types.float64)


@intrinsic
def call_callback(typing_context, address, x, f):
    """Call ``stop = entry(x, f)`` at a machine address; what it raises propagates."""
    kinds = (x, types.float64)

    def codegen(context, builder, signature, args):
        return call_native(context, builder, types.boolean, kinds, args[0], args[1:])

    return types.boolean(types.intp, *kinds), codegen


def _entry(callback: Any, with_value: bool, answers: bool) -> Callable:
    """Return the entry of a callback of (x, f) or of x alone, that answers or returns None."""

    def ask_both(x, f):
        answer = callback(x, f)
        return answer is not None and bool(answer)

    def ask(x, f):
        answer = callback(x)
        return answer is not None and bool(answer)

    def tell_both(x, f):
        callback(x, f)
        return False

    def tell(x, f):
        callback(x)
        return False

    return (ask_both if with_value else ask) if answers else (tell_both if with_value else tell)


def callback_entry(callback: Any, with_value: bool) -> Entry:
    """Return the entry of a compiled callback; it is compiled once and lives as long as the callback.

    Parameters
    ----------
    callback : numba dispatcher
        ``callback(x)``, or ``callback(x, f)`` with `with_value`.
    with_value : bool

    Returns
    -------
    Entry

    Raises
    ------
    TypeError
        If it returns anything but None or a truth value.
    """
    entry = callback.__dict__.get("_nbopt_callback")
    if entry is None:
        kind = _result_of(callback, (_LINE, types.float64) if with_value else (_LINE,))
        inner = kind.type if isinstance(kind, types.Optional) else kind
        answers = not isinstance(inner, types.NoneType)
        if answers and not isinstance(inner, types.Boolean | types.Integer | types.Float):
            raise TypeError(f"minimize: callback returned {kind}; it must return nothing, or whether to stop")
        made = _entry(callback, with_value, answers)
        dispatcher = numba.njit(made, no_cpython_wrapper=True, no_cfunc_wrapper=True, **FLAGS)
        entry = callback.__dict__["_nbopt_callback"] = Entry(dispatcher, _SIGNATURE, _Layout(()))
    return entry
