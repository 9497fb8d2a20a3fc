"""A handle in compiled code: the address of a block of words, and calls of the solver it belongs to.

The user's compiled code is given the handle as an argument (or finds it among its globals) and calls a
function of ours with it, as Python would. All that such code holds of the solver is an address, read from
the block at run time: so nothing of it is compiled again, and code that gets its handle as an argument can be
cached on disk and serves all handles whose functions take arguments of the same types.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numba import types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.core.imputils import lower_constant
from numba.core.registry import cpu_target
from numba.extending import (
    NativeValue,
    intrinsic,
    models,
    overload,
    register_model,
    typeof_impl,
    unbox,
)

from nbopt.kernels.address import call_native, load_i64
from nbopt.kernels.compile import FLAGS, _build_tag, address_of, is_compiled
from nbopt.kernels.native import _Layout

_LINE = types.Array(types.float64, 1, "C")
_WORDS = types.Array(types.int64, 1, "C")
_SOLVE = types.none(types.intp, _LINE, _LINE, _LINE, _WORDS, _WORDS)

SOLVE = 0  # the first word of a block: the solver's address

# What a solver writes to `outcome`.
STATUS, NIT, NFEV, OUTCOME = range(4)


class HandleType(types.Type):
    """The type of a handle in compiled code: that of the further arguments of its function."""

    def __init__(self, kinds: tuple[Any, ...]) -> None:
        self.kinds, self.tag = kinds, _build_tag(Path(__file__).resolve().parent)
        super().__init__(f"nbopt.compile(fun, ({', '.join(map(str, kinds))}))")

    @property
    def key(self) -> Any:
        """What tells types apart: code cached on disk by another build of ours is not that of this type."""
        return self.tag, self.kinds


class NativeHandle:
    """A block of words that compiled code reads, and the types of the arguments that go with it."""

    def bind(self, block: np.ndarray, kinds: tuple[Any, ...], keep: Any) -> None:
        """Say what compiled code gets.

        Parameters
        ----------
        block : ndarray of int64
            Its first word is the address of the solver.
        kinds : tuple of numba types
            Of the function's further arguments.
        keep : object
            Whatever the addresses in the block point into.
        """
        self._block, self._keep = block, keep
        self._address = block.ctypes.data
        self._type = HandleType(kinds)

    def __reduce__(self) -> Any:
        raise TypeError(f"{self!r} holds addresses of this process: call nbopt.compile in the other one")

    def __copy__(self) -> NativeHandle:
        return self

    def __deepcopy__(self, memo: Any) -> NativeHandle:
        return self


@typeof_impl.register(NativeHandle)
def _typeof(handle: NativeHandle, context: Any) -> Any:
    """In compiled code, a handle has the type of its arguments."""
    return handle._type


@register_model(HandleType)
class _Model(models.PrimitiveModel):
    """A handle is an address."""

    def __init__(self, manager: Any, kind: HandleType) -> None:
        super().__init__(manager, kind, cgutils.intp_t)


@unbox(HandleType)
def _unbox(kind: HandleType, handle: Any, c: Any) -> NativeValue:
    """Read the address of a handle's block."""
    number = c.pyapi.object_getattr_string(handle, "_address")
    address = c.pyapi.number_as_ssize_t(number)
    c.pyapi.decref(number)
    return NativeValue(address, is_error=cgutils.is_not_null(c.builder, c.pyapi.err_occurred()))


_constants: list[NativeHandle] = []


@lower_constant(HandleType)
def _constant(context: Any, builder: Any, kind: HandleType, handle: NativeHandle) -> Any:
    """Take a handle from the globals of compiled code; that code is then not cached on disk."""
    _constants.append(handle)  # the address is in the code, which may live for ever
    pointer = context.add_dynamic_addr(builder, handle._address, info="nbopt.compile")
    return builder.ptrtoint(pointer, cgutils.intp_t)


@intrinsic
def _block_of(typing_context, handle):
    """Return the address of a handle's block."""

    def codegen(context, builder, signature, args):
        return args[0]

    return types.intp(handle), codegen


@intrinsic
def _keep(typing_context, value):
    """Keep a value alive up to here."""

    def codegen(context, builder, signature, args):
        return context.get_dummy_value()

    return types.void(value), codegen


@intrinsic
def _call_solve(typing_context, address, block, x, g, value, words, outcome):
    """Call ``solve(block, x, g, value, words, outcome)`` at a machine address."""

    def codegen(context, builder, signature, args):
        call_native(context, builder, types.none, _SOLVE.args, args[0], args[1:])
        return context.get_dummy_value()

    return types.void(types.intp, *_SOLVE.args), codegen


def solve_address(solve: Any) -> int:
    """Compile a solver ``solve(block, x, g, value, words, outcome)`` (or load it); return its address.

    0 under NUMBA_DISABLE_JIT, where it has none.
    """
    return address_of(solve, _SOLVE) if is_compiled(solve) else 0


def _write(context: Any, builder: Any, data: Any, t: Any, place: Any, value: Any) -> None:
    """Emit code that writes a value of type ``t``, for `native._read` to read."""
    if isinstance(t, types.BaseTuple):
        items = zip(t.types, place, cgutils.unpack_tuple(builder, value, len(t)), strict=True)
        for kind, where, item in items:
            _write(context, builder, data, kind, where, item)
        return
    if place is None:
        return

    def at(offset: int, kind: Any) -> Any:
        address = builder.add(data, context.get_constant(types.intp, place + offset))
        return builder.inttoptr(address, context.get_data_type(kind).as_pointer())

    if not isinstance(t, types.Array):
        context.pack_value(builder, t, value, at(0, t))
        return
    array = context.make_array(t)(context, builder, value)
    words = [builder.ptrtoint(array.data, cgutils.intp_t)]
    for part in (array.shape, array.strides):
        words += cgutils.unpack_tuple(builder, part, t.ndim)
    for k, word in enumerate(words):
        builder.store(word, at(8 * k, types.intp))


def _store(layout: Any) -> Any:
    """Make the intrinsic that writes a tuple of arguments, as a layout has it, to an address."""

    @intrinsic
    def store(typing_context, data, args):
        given = _types_of(args)

        def codegen(context, builder, signature, values):
            data, packed = values
            alone = not isinstance(args, types.BaseTuple)
            for k, (t, have) in enumerate(zip(layout.kinds, given, strict=True)):
                value = packed if alone else builder.extract_value(packed, k)
                value = context.cast(builder, value, have, t)
                _write(context, builder, data, t, layout._places[k], value)
            return context.get_dummy_value()

        return types.void(types.intp, args), codegen

    return store


def _types_of(args: Any) -> tuple[Any, ...]:
    """Return the types of further arguments: none by default; anything but a tuple is one."""
    if isinstance(args, types.Omitted) or args == ():
        return ()
    return tuple(args.types) if isinstance(args, types.BaseTuple) else (args,)


def _check(handle: Any, x0: Any, args: Any) -> None:
    """Refuse arguments of other types than those that the handle was made for."""
    if not isinstance(handle, HandleType):
        raise TypingError(
            f"minimize: compiled code must be given what nbopt.compile(fun, args) returned, not {handle}"
        )
    if not (isinstance(x0, types.Array) and x0.ndim == 1 and isinstance(x0.dtype, types.Number)):
        raise TypingError(f"minimize: x0 is {x0}; in compiled code it must be a 1-D array")
    kinds = _types_of(args)
    if len(kinds) != len(handle.kinds):
        raise TypingError(
            f"minimize: {len(kinds)} args were given; nbopt.compile was given {len(handle.kinds)}"
        )
    for k, (given, wanted) in enumerate(zip(kinds, handle.kinds, strict=True)):
        if cpu_target.typing_context.can_convert(given, wanted) is None:
            raise TypingError(f"minimize: args[{k}] is {given}; nbopt.compile was given {wanted}")


def allow_in_compiled_code(function: Any, result: Any) -> None:
    """Let compiled code call ``function(handle, x0, args=())``.

    Parameters
    ----------
    function : callable
        What Python calls.
    result : named tuple
        Its fields are x, fun, jac, nit, nfev, status, success.
    """

    @overload(function, jit_options=FLAGS)
    def for_handles(fun, x0, args=()):
        _check(fun, x0, args)
        layout = _Layout(fun.kinds)
        store, size = _store(layout), layout.size >> 3

        def solve(fun, x0, args=()):
            block, x = _block_of(fun), np.empty(x0.size)
            for k in range(x.size):
                x[k] = x0[k]
            g, value = np.empty(x.size), np.empty(1)
            words, outcome = np.empty(size, np.int64), np.zeros(OUTCOME, np.int64)
            store(words.ctypes.data, args)
            _call_solve(load_i64(block), block, x, g, value, words, outcome)
            _keep(args)
            status = outcome[STATUS]
            return result(x, value[0], g, outcome[NIT], outcome[NFEV], status, status == 0)

        return solve
