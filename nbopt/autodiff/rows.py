"""Results of a function for duals that are values and Jacobian already: nothing is left to copy."""

from __future__ import annotations

import functools
import operator
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.datamodel import models, register_default
from numba.core.registry import cpu_target
from numba.core.typing.templates import AbstractTemplate, signature
from numba.cpython.slicing import fix_index
from numba.extending import intrinsic
from numba.np.arrayobj import _empty_nd_impl, populate_array

from nbopt.autodiff.dual import PLAIN, DualType, first_lanes, lowering, unpack, zeros

WORD = ir.IntType(64)
_VALUES, _PARTIALS = types.Array(types.float64, 1, "C"), types.Array(types.float64, 2, "C")


class Rows(NamedTuple):
    """The derivatives of a function's values, those of one value in a row, and the values."""

    partials: np.ndarray
    values: np.ndarray


class BareRows(NamedTuple):
    """The same without the values."""

    partials: np.ndarray


class RowsType(types.NamedTuple):
    """The type of `Rows` with derivatives by ``n`` variables, of `BareRows` if they are not ``valued``."""

    def __init__(self, n: int, valued: bool) -> None:
        self.n, self.valued = n, valued
        super().__init__(*(((_PARTIALS, _VALUES), Rows) if valued else ((_PARTIALS,), BareRows)))

    @property
    def key(self) -> Any:
        """Tell apart those of different n."""
        return RowsType, self.n, self.valued


register_default(RowsType)(models.TupleModel)


class Writer:
    """What emits stores into rows: their LLVM value is ``rows``."""

    def __init__(self, context: Any, builder: Any, kind: RowsType, rows: Any) -> None:
        self.builder, self.kind, self.rows = builder, kind, rows
        arrays = [
            context.make_array(array)(context, builder, builder.extract_value(rows, number))
            for number, array in enumerate(kind.types)
        ]
        self.partials, self.values = arrays[0].data, arrays[-1].data
        self.size = cgutils.unpack_tuple(builder, arrays[0].shape, 2)[0]

    def row(self, i: Any) -> Any:
        """Emit the place of a row."""
        return self.builder.gep(self.partials, [self.builder.mul(i, WORD(self.kind.n))])

    def put_value(self, i: Any, value: Any) -> None:
        """Emit the store of a value, if values are wanted."""
        if self.kind.valued:
            self.builder.store(value, self.builder.gep(self.values, [i]))

    def put_partials(self, i: Any, partials: Any) -> None:
        """Emit the store of a vector of n derivatives."""
        place = self.builder.bitcast(self.row(i), partials.type.as_pointer())
        self.builder.store(partials, place, align=8)


def allocate(context: Any, builder: Any, kind: RowsType, size: Any, zero: bool = False) -> Any:
    """Emit the allocation of rows, values and partials in one block; return their LLVM value."""
    columns, word = WORD(kind.n), WORD(8)
    total = builder.mul(size, WORD(kind.n + kind.valued))
    block = _empty_nd_impl(context, builder, _VALUES, [total])
    if zero:
        cgutils.memset(builder, block.data, builder.mul(total, word), 0)
    values = builder.gep(block.data, [builder.mul(size, columns)])
    arrays = []
    for array_kind, data, shape, strides in (
        (_PARTIALS, block.data, [size, columns], [WORD(8 * kind.n), word]),
        (_VALUES, values, [size], [word]),
    )[: len(kind.types)]:
        array = context.make_array(array_kind)(context, builder)
        populate_array(array, data=data, shape=shape, strides=strides, itemsize=word, meminfo=block.meminfo)
        arrays.append(array._getvalue())
    if kind.valued:
        context.nrt.incref(builder, _VALUES, arrays[1])
    return context.make_tuple(builder, kind, arrays)


@functools.cache
def new_rows(kind: RowsType, zero: bool, alone: bool) -> Any:
    """Return what allocates rows in a function, ``rows = new(size)``.

    Parameters
    ----------
    kind : RowsType
    zero : bool
        Whether all is to be 0.
    alone : bool
        Whether a single argument of the function has duals in it: then nothing that is stored changes
        them, and loops need not load them again.

    Returns
    -------
    intrinsic
    """

    @intrinsic
    def new(typing_context, size):
        def codegen(context, builder, signature, args):
            if alone:
                _tell_apart(builder.function)
            with builder.if_then(builder.icmp_signed("<", args[0], WORD(0)), likely=False):
                message = "negative dimensions not allowed"
                context.call_conv.return_user_exc(builder, ValueError, (message,))
            return allocate(context, builder, kind, args[0], zero)

        return kind(types.intp), codegen

    cpu_target.typing_context.refresh()  # knows it from now on, in the middle of a compilation
    return new


def _tell_apart(function: Any) -> None:
    """Tell LLVM that the duals of a function, if they are in one array, share their memory with nothing."""
    duals = [a for a in function.args if _is_dual(getattr(a.type, "pointee", None))]
    if len(duals) == 1:
        duals[0].add_attribute("noalias")


def _is_dual(kind: Any) -> bool:
    """Tell whether an LLVM type is that of a dual."""
    return isinstance(kind, ir.LiteralStructType) and isinstance(kind.elements[-1], ir.VectorType)


class SetRow(AbstractTemplate):
    """The typing of an assignment to one of several rows."""

    key = operator.setitem

    def generic(self, args: tuple[Any, ...], kws: dict[str, Any]) -> Any:
        """Return the signature, None if it is none of rows."""
        rows, i, y = args
        if isinstance(rows, RowsType) and isinstance(i, types.Integer) and isinstance(y, (DualType, *PLAIN)):
            return signature(types.none, rows, types.intp, y)
        return None


@lowering.lower(operator.setitem, RowsType, types.Integer, types.Any)
def _set_row(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    """Emit an assignment to a row."""
    (kind, _, y), (rows, i, given) = sig.args, args
    writer = Writer(context, builder, kind, rows)
    i = fix_index(builder, i, writer.size)
    if isinstance(y, DualType):
        value, partials = unpack(builder, given)
        partials = first_lanes(builder, partials, kind.n)
    else:
        value, partials = context.cast(builder, given, y, types.float64), zeros(kind.n)
    writer.put_partials(i, partials)
    writer.put_value(i, value)
    return context.get_dummy_value()


@intrinsic
def copy_rows(typing_context, jac, rows):
    """Copy the derivatives in rows to a matrix of their shape that lies in one piece."""
    if not (isinstance(jac, types.Array) and (jac.ndim, jac.layout, jac.dtype) == (2, "C", types.float64)):
        return None

    def codegen(context, builder, signature, args):
        matrix = context.make_array(jac)(context, builder, args[0])
        source = Writer(context, builder, rows, args[1])
        count = builder.mul(source.size, WORD(rows.n))
        cgutils.raw_memcpy(builder, matrix.data, source.partials, count, WORD(8))
        return context.get_dummy_value()

    return types.void(jac, rows), codegen
