"""Dual numbers as a Numba type: a value with its partial derivatives by k variables.

In LLVM a dual is a packed structure of a double and a vector of k doubles, the same in registers and in
memory: one instruction works on all partials, and an array of duals is an ordinary Numba array.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.datamodel import models, register_default
from numba.core.imputils import Registry
from numba.core.typeconv import Conversion
from numba.extending import intrinsic
from numba.np.arrayobj import _empty_nd_impl, populate_array

DOUBLE = ir.DoubleType()
_LANE = ir.IntType(32)

# What a plain number must be to meet a dual.
PLAIN = (types.Float, types.Integer, types.Boolean)

lowering = Registry("nbopt duals")


class DualType(types.Type):
    """The type of a dual number with ``k`` partials.

    Parameters
    ----------
    k : int >= 1
        Number of partials.

    Examples
    --------
    >>> from nbopt.autodiff.dual import DualType
    >>> DualType(4)
    dual4
    """

    def __init__(self, k: int) -> None:
        self.k = k
        super().__init__(name=f"dual{k}")

    @property
    def is_internal(self) -> bool:
        """Let Numba fuse array expressions of duals as it does those of floats."""
        return True

    def unify(self, context: Any, other: Any) -> DualType | None:
        """Return the type of a variable that is a dual on one way and ``other`` on another."""
        return self if isinstance(other, PLAIN) else None

    def can_convert_from(self, context: Any, other: Any) -> Any:
        """Allow plain numbers where duals are expected, never the other way: partials would be lost."""
        return Conversion.safe if isinstance(other, PLAIN) else None

    def cast_python_value(self, value: Any) -> float:
        """Return the constant that Numba's own loops start from (a sum at 0, a product at 1)."""
        return float(value)


@register_default(DualType)
class _DualModel(models.PrimitiveModel):
    """A dual is one packed structure wherever it stands."""

    def __init__(self, manager: Any, kind: DualType) -> None:
        super().__init__(manager, kind, ir.LiteralStructType([DOUBLE, vector(kind.k)], packed=True))


def vector(k: int, of: Any = DOUBLE) -> Any:
    """Return the LLVM type of k partials."""
    return ir.VectorType(of, k)


def zeros(k: int) -> Any:
    """Return k partials that are all 0."""
    return ir.Constant(vector(k), [0.0] * k)


def splat(builder: Any, x: Any, k: int) -> Any:
    """Emit a vector of k times the same element."""
    undefined = ir.Constant(vector(k, x.type), ir.Undefined)
    first = builder.insert_element(undefined, x, _LANE(0))
    return builder.shuffle_vector(first, undefined, ir.Constant(vector(k, _LANE), [0] * k))


def pack(builder: Any, value: Any, partials: Any) -> Any:
    """Emit a dual of its parts."""
    kind = ir.LiteralStructType([DOUBLE, partials.type], packed=True)
    _align_stack(builder.function, partials.type.count)
    dual = builder.insert_value(ir.Constant(kind, ir.Undefined), value, 0)
    return builder.insert_value(dual, partials, 1)


def _align_stack(function: Any, k: int) -> None:
    """Align a function's stack to vectors of k partials.

    Calls of exp() and the like empty all registers into the stack. Where a vector there lies across two
    lines of the cache, which else is a matter of luck, the Jacobian of a peak takes 1.4 times as long.
    """
    if k > 2:  # any stack is aligned to two doubles
        attributes = function.attributes
        attributes.alignstack = max(attributes.alignstack, min(8 * k, 64))
        attributes.add("noredzone")  # changes nothing here, but llvmlite writes no alignstack that is alone


def unpack(builder: Any, dual: Any) -> tuple[Any, Any]:
    """Emit the parts of a dual: value and partials."""
    return builder.extract_value(dual, 0), builder.extract_value(dual, 1)


def first_lanes(builder: Any, partials: Any, n: int) -> Any:
    """Emit the first n of some partials."""
    lanes = ir.Constant(vector(n, _LANE), list(range(n)))
    return builder.shuffle_vector(partials, ir.Constant(partials.type, ir.Undefined), lanes)


def _unit(builder: Any, lane: Any, k: int) -> Any:
    """Emit the partials of the variable number ``lane`` of a chunk; zeros if it is not in the chunk."""
    lanes = ir.Constant(vector(k, lane.type), list(range(k)))
    here = builder.icmp_signed("==", splat(builder, lane, k), lanes)
    return builder.select(here, ir.Constant(vector(k), [1.0] * k), zeros(k))


def _promote(context: Any, builder: Any, given: Any, wanted: DualType, value: Any) -> Any:
    """Emit a plain number as a dual that depends on nothing."""
    return pack(builder, context.cast(builder, value, given, types.float64), zeros(wanted.k))


for _plain in PLAIN:
    lowering.lower_cast(_plain, DualType)(_promote)


def dual_in(kind: Any) -> DualType | None:
    """Return the type of the duals that a type is made of: itself, elements of an array, of a tuple."""
    if isinstance(kind, DualType):
        return kind
    if isinstance(kind, types.BaseTuple):
        return next(filter(None, map(dual_in, kind.types)), None)
    return dual_in(kind.dtype) if isinstance(kind, types.Array | types.List) else None


@intrinsic(prefer_literal=True)
def empty_duals(typing_context, n, k):
    """Allocate n duals of k partials (a constant)."""
    kind = types.Array(DualType(k.literal_value), 1, "C")

    def codegen(context, builder, signature, args):
        return _empty_nd_impl(context, builder, kind, [args[0]])._getvalue()

    return kind(types.intp, k), codegen


def _element(context: Any, builder: Any, kind: Any, line: Any, i: Any) -> Any:
    """Emit element i of a line of real numbers as a double."""
    (stride,) = cgutils.unpack_tuple(builder, line.strides, 1)
    place = cgutils.pointer_add(builder, line.data, builder.mul(stride, i), line.data.type)
    value = context.unpack_value(builder, kind.dtype, place)
    return context.cast(builder, value, kind.dtype, types.float64)


def _is_line(x: Any) -> bool:
    """Tell whether a type is a line of real numbers."""
    return isinstance(x, types.Array) and x.ndim == 1 and isinstance(x.dtype, PLAIN)


@intrinsic
def seed(typing_context, duals, x, start):
    """Make the elements of x variables: those from ``start`` on, as many as there are partials, active."""
    if not _is_line(x):
        return None

    def codegen(context, builder, signature, args):
        target, line = (
            context.make_array(duals)(context, builder, args[0]),
            context.make_array(x)(context, builder, args[1]),
        )
        (size,) = cgutils.unpack_tuple(builder, line.shape, 1)
        with cgutils.for_range(builder, size) as loop:
            value = _element(context, builder, x, line, loop.index)
            unit = _unit(builder, builder.sub(loop.index, args[2]), duals.dtype.k)
            builder.store(pack(builder, value, unit), builder.gep(target.data, [loop.index]))
        return context.get_dummy_value()

    return types.void(duals, x, types.intp), codegen


@intrinsic(prefer_literal=True)
def variables(typing_context, x, n, k):
    """Return the first n elements of x as an array of n <= k variables (constants), on the stack."""
    if not _is_line(x):
        return None
    size, kind = n.literal_value, DualType(k.literal_value)
    array = types.Array(kind, 1, "C")

    def codegen(context, builder, signature, args):
        word = context.get_value_type(types.intp)
        data = cgutils.alloca_once(builder, context.get_data_type(kind), word(size))
        line = context.make_array(x)(context, builder, args[0])
        for i in range(size):
            value = _element(context, builder, x, line, word(i))
            unit = ir.Constant(vector(kind.k), [float(j == i) for j in range(kind.k)])
            builder.store(pack(builder, value, unit), builder.gep(data, [word(i)]))
        itemsize = word(context.get_abi_sizeof(context.get_data_type(kind)))
        found = context.make_array(array)(context, builder)
        populate_array(
            found, data=data, shape=[word(size)], strides=[itemsize], itemsize=itemsize, meminfo=None
        )
        return found._getvalue()

    return array(x, n, k), codegen


@intrinsic
def value_of(typing_context, y):
    """Return the value of a dual or a plain number as a float."""
    if not isinstance(y, (DualType, *PLAIN)):
        return None

    def codegen(context, builder, signature, args):
        if isinstance(y, DualType):
            return builder.extract_value(args[0], 0)
        return context.cast(builder, args[0], y, types.float64)

    return types.float64(y), codegen


@intrinsic
def partial_of(typing_context, y, lane):
    """Return the partial number ``lane`` of a dual, 0 for a plain number."""
    if not isinstance(y, (DualType, *PLAIN)):
        return None

    def codegen(context, builder, signature, args):
        if isinstance(y, DualType):
            return builder.extract_element(builder.extract_value(args[0], 1), args[1])
        return context.get_constant(types.float64, 0.0)

    return types.float64(y, types.intp), codegen


@intrinsic(prefer_literal=True)
def put_partials(typing_context, jac, k, y, n):
    """Write the first n (a constant) partials of a dual, zeros for a plain number, to row k of a matrix."""
    rows = isinstance(jac, types.Array) and jac.ndim == 2 and jac.dtype == types.float64
    if not rows or not isinstance(y, (DualType, *PLAIN)):
        return None
    count = n.literal_value

    def codegen(context, builder, signature, args):
        matrix = context.make_array(jac)(context, builder, args[0])
        down, along = cgutils.unpack_tuple(builder, matrix.strides, 2)
        row = cgutils.pointer_add(builder, matrix.data, builder.mul(down, args[1]), matrix.data.type)
        partials = zeros(count)
        if isinstance(y, DualType):
            partials = first_lanes(builder, builder.extract_value(args[2], 1), count)
        if jac.layout == "C":
            builder.store(partials, builder.bitcast(row, partials.type.as_pointer()), align=8)
            return context.get_dummy_value()
        for i in range(count):
            place = cgutils.pointer_add(builder, row, builder.mul(along, along.type(i)), row.type)
            builder.store(builder.extract_element(partials, _LANE(i)), place)
        return context.get_dummy_value()

    return types.void(jac, types.intp, y, n), codegen
