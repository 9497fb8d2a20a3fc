"""Calls and arrays by machine address, for use inside compiled functions."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from numba import types
from numba.core import cgutils
from numba.core.callconv import excinfo_ptr_t
from numba.extending import intrinsic


def _call(context: Any, builder: Any, result: Any, kinds: tuple, address: Any, args: Any) -> Any:
    """Emit a call of the function at ``address``; return its status and its value."""
    pointer = context.call_conv.get_function_type(result, kinds).as_pointer()
    function = builder.inttoptr(address, pointer)
    return context.call_conv.call_function(builder, function, result, kinds, args)


def call_native(context: Any, builder: Any, result: Any, kinds: tuple, address: Any, args: Any) -> Any:
    """Emit a call of the function at ``address``; an exception raised inside it propagates."""
    status, value = _call(context, builder, result, kinds, address, args)
    with cgutils.if_unlikely(builder, status.is_error):  # else the exception would vanish
        context.call_conv.return_status_propagate(builder, status)
    return value


def try_native(context: Any, builder: Any, result: Any, kinds: tuple, address: Any, args: Any) -> Any:
    """Emit a call of the function at ``address``; return whether it raised, what it raised being lost."""
    return _call(context, builder, result, kinds, address, args)[0].is_error


@intrinsic
def call_loop(typing_context, address, p, g, state, h):
    """Call ``loop(p, g, state, h)`` at a machine address."""
    kinds = (p, g, state, h)

    def codegen(context, builder, signature, args):
        call_native(context, builder, types.none, kinds, args[0], args[1:])
        return context.get_dummy_value()

    return types.void(types.intp, *kinds), codegen


@intrinsic
def try_loop(typing_context, address, p, g, state, h):
    """Call ``loop(p, g, state, h)``; return (0, 0), or what `raise_status` needs to raise its exception.

    An exception set on one of Numba's worker threads is lost, so a parallel launch carries it home.
    """
    kinds = (p, g, state, h)
    words = types.UniTuple(types.intp, 2)

    def codegen(context, builder, signature, args):
        status, _ = _call(context, builder, types.none, kinds, args[0], args[1:])
        word = context.get_value_type(types.intp)
        none = word(0)
        code = builder.select(status.is_error, builder.sext(status.code, word), none)
        found = builder.ptrtoint(status.excinfoptr, word)
        return context.make_tuple(builder, words, (code, builder.select(status.is_user_exc, found, none)))

    return words(types.intp, *kinds), codegen


@intrinsic
def raise_status(typing_context, code, info):
    """Raise the exception that `try_loop` caught."""

    def codegen(context, builder, signature, args):
        code = builder.trunc(args[0], cgutils.int32_t)
        info = builder.inttoptr(args[1], excinfo_ptr_t)
        failed = builder.icmp_signed("!=", code, cgutils.int32_t(0))
        with builder.if_then(failed):  # a block of its own: code follows in this one
            context.call_conv.return_status_propagate(builder, SimpleNamespace(code=code, excinfoptr=info))
        return context.get_dummy_value()

    return types.void(types.intp, types.intp), codegen


@intrinsic
def pointer_to(typing_context, address, like):
    """Turn an integer address into a typed pointer to elements as those of ``like``."""
    kind = types.CPointer(like.dtype)

    def codegen(context, builder, signature, args):
        return builder.inttoptr(args[0], context.get_value_type(kind))

    return kind(types.intp, like), codegen


def _load(width: Any) -> Any:
    """Make a function that reads one integer at an address."""

    @intrinsic
    def load(typing_context, address):
        def codegen(context, builder, signature, args):
            pointer = builder.inttoptr(args[0], context.get_value_type(width).as_pointer())
            value = builder.load(pointer)
            return context.cast(builder, value, width, types.intp)

        return types.intp(types.intp), codegen

    return load


load_i64 = _load(types.int64)
load_i32 = _load(types.int32)
