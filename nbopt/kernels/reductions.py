"""Sums and maxima over arrays in fixed lanes: fast, and the same on any machine and thread count.

A sum in one variable cannot be vectorised without letting the compiler reorder it. Here the order
is ours: LANES float64 accumulators, added up in pairs at the end, then the elements left over (those of
products in four sums by turns, so that none waits for the one before it). Arrays of more than BLOCK
elements are cut into blocks (`blocks_of`), each summed so on its own, and the sums are added in order:
threads may take a block each, and the result is the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core import config as numba_config
from numba.core.errors import TypingError
from numba.extending import intrinsic

from nbopt.kernels.compile import compiled

LANES = 16
BLOCK = 512 * LANES  # elements; the last block also has those that fill no lanes
_DOUBLES = ir.VectorType(ir.DoubleType(), LANES)
_ZERO = ir.Constant(ir.DoubleType(), 0.0)
_TWO = types.UniTuple(types.float64, 2)


def _check(*arrays: Any) -> None:
    """Refuse at compile time what is not 1-D, contiguous and of one real dtype."""
    for a in arrays:
        line = isinstance(a, types.Array) and a.ndim == 1 and a.layout == "C"
        if not line or a.dtype not in (types.float32, types.float64) or a.dtype != arrays[0].dtype:
            raise TypingError(f"reductions take contiguous 1-D arrays of one real dtype, not {a}")


def _load(builder: Any, array: Any, k: Any) -> tuple[Any, Any]:
    """Emit the load of LANES elements from the k-th on; return their address and their values."""
    kind = ir.VectorType(array.data.type.pointee, LANES)
    address = builder.bitcast(builder.gep(array.data, [k]), kind.as_pointer())
    value = builder.load(address)
    value.align = 4 if isinstance(kind.element, ir.FloatType) else 8  # NumPy promises no more
    return address, value


def _doubles(builder: Any, value: Any) -> Any:
    """Emit the conversion of lanes to float64."""
    return value if value.type == _DOUBLES else builder.fpext(value, _DOUBLES)


def _in_pairs(builder: Any, lanes: Any, join: Callable) -> Any:
    """Emit the reduction of LANES accumulators to one number."""
    rest = [builder.extract_element(lanes, ir.Constant(ir.IntType(32), k)) for k in range(LANES)]
    while len(rest) > 1:
        half = len(rest) // 2
        rest = [join(rest[k], rest[k + half]) for k in range(half)]
    return rest[0]


def _in_lanes(
    context: Any,
    builder: Any,
    signature: Any,
    args: Any,
    bodies: tuple[Callable, ...],
    join: Callable,
    block: int = BLOCK,
) -> Any:
    """Emit loops over all blocks and, in each, over its groups of LANES elements.

    Each ``body(arrays, k, total)`` returns its new accumulators, ``join(x, y)`` combines two numbers.
    Returned are, for each body, what all blocks before the last one come to, and the last one without the
    elements left over.
    """
    pairs = [(t, v) for t, v in zip(signature.args, args, strict=True) if isinstance(t, types.Array)]
    arrays = [context.make_array(t)(context, builder, v) for t, v in pairs]
    word = ir.IntType(64)
    none, most = ir.Constant(_DOUBLES, [0.0] * LANES), ir.Constant(word, block // LANES)
    totals = [cgutils.alloca_once(builder, _DOUBLES) for _ in bodies]
    before = [cgutils.alloca_once_value(builder, _ZERO) for _ in bodies]
    start = cgutils.alloca_once_value(builder, ir.Constant(word, 0))
    groups = builder.udiv(arrays[0].nitems, ir.Constant(word, LANES))
    block, following, done = (builder.append_basic_block(name) for name in ("block", "following", "done"))
    builder.branch(block)
    builder.position_at_end(block)
    for total in totals:
        builder.store(none, total)
    left = builder.sub(groups, builder.load(start))
    goes_on = builder.icmp_unsigned(">", left, most)
    with cgutils.for_range(builder, builder.select(goes_on, most, left)) as loop:
        k = builder.mul(builder.add(builder.load(start), loop.index), ir.Constant(word, LANES))
        for body, total in zip(bodies, totals, strict=True):
            builder.store(body(arrays, k, builder.load(total)), total)
    last = [_in_pairs(builder, builder.load(total), join) for total in totals]
    builder.cbranch(goes_on, following, done)
    builder.position_at_end(following)
    for sum_before, sum_last in zip(before, last, strict=True):
        builder.store(join(builder.load(sum_before), sum_last), sum_before)
    builder.store(builder.add(builder.load(start), most), start)
    builder.branch(block)
    builder.position_at_end(done)
    found = [number for pair in zip(map(builder.load, before), last, strict=True) for number in pair]
    return context.make_tuple(builder, signature.return_type, found)


def _product(builder: Any, first: int, second: int) -> Callable:
    """Return the body that sums the products of two of the arrays."""

    def body(arrays, k, total):
        x, y = (_doubles(builder, _load(builder, arrays[place], k)[1]) for place in (first, second))
        return builder.fadd(total, builder.fmul(x, y))

    return body


@intrinsic
def _lanes_dot(typing_context, a, b):
    """Sum a*b over whole groups of LANES elements."""
    _check(a, b)

    def codegen(context, builder, signature, args):
        return _in_lanes(context, builder, signature, args, (_product(builder, 0, 1),), builder.fadd)

    return _TWO(a, b), codegen


@intrinsic
def _lanes_dots(typing_context, a, b, c, d):
    """Sum a*c, a*d, b*c and b*d over whole groups of LANES elements, each element being loaded once."""
    _check(a, b, c, d)

    def codegen(context, builder, signature, args):
        bodies = tuple(_product(builder, i, j) for i in (0, 1) for j in (2, 3))
        return _in_lanes(context, builder, signature, args, bodies, builder.fadd)

    return types.UniTuple(types.float64, 8)(a, b, c, d), codegen


@intrinsic
def _lanes_nothing(typing_context, a):
    """Sum a - a over whole groups of LANES elements: 0, or NaN if one is not finite."""
    _check(a)

    def codegen(context, builder, signature, args):
        def body(arrays, k, total):
            value = _doubles(builder, _load(builder, arrays[0], k)[1])
            return builder.fadd(total, builder.fsub(value, value))

        return _in_lanes(context, builder, signature, args, (body,), builder.fadd, 1 << 62)

    return _TWO(a), codegen


@intrinsic
def _lanes_axpy_dot(typing_context, alpha, x, y, z):
    """Add alpha*x to y and sum y*z over whole groups of LANES elements."""
    _check(x, y, z)

    def codegen(context, builder, signature, args):
        factor = builder.insert_element(
            ir.Constant(ir.VectorType(args[0].type, LANES), ir.Undefined),
            args[0],
            ir.Constant(ir.IntType(32), 0),
        )
        zeros = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
        factor = builder.shuffle_vector(factor, factor, zeros)

        def body(arrays, k, total):
            a, b, c = (_load(builder, array, k) for array in arrays)
            new = builder.fadd(b[1], builder.fmul(factor, a[1]))
            builder.store(new, b[0]).align = b[1].align
            return builder.fadd(total, builder.fmul(_doubles(builder, new), _doubles(builder, c[1])))

        return _in_lanes(context, builder, signature, args, (body,), builder.fadd)

    return _TWO(x.dtype, x, y, z), codegen


def _unary(largest: bool) -> Any:
    """Make the intrinsic that sums |a| or takes its maximum; NaN propagates through both."""

    @intrinsic
    def lanes(typing_context, a):
        _check(a)

        def codegen(context, builder, signature, args):
            def call(name, *values):
                kind = values[0].type
                suffix = f"v{LANES}f64" if kind == _DOUBLES else "f64"
                function_type = ir.FunctionType(kind, [kind] * len(values))
                function = cgutils.get_or_insert_function(
                    builder.module, function_type, f"llvm.{name}.{suffix}"
                )
                return builder.call(function, values)

            def join(x, y):
                return call("maximum", x, y) if largest else builder.fadd(x, y)

            def body(arrays, k, total):
                return join(total, call("fabs", _doubles(builder, _load(builder, arrays[0], k)[1])))

            block = 1 << 62 if largest else BLOCK  # the largest is the same in any order
            return _in_lanes(context, builder, signature, args, (body,), join, block)

        return _TWO(a), codegen

    return lanes


_lanes_sum_abs, _lanes_max_abs = _unary(False), _unary(True)


def _folded(rows: np.ndarray, join: Any) -> tuple[float, float]:
    """Combine rows of LANES numbers as the compiled loops do: block by block, each lane on its own."""
    before = last = 0.0
    for start in range(0, len(rows), BLOCK // LANES):
        block = rows[start : start + BLOCK // LANES]
        rest = join.reduce(np.concatenate([np.zeros((1, LANES)), block]), axis=0)
        while rest.size > 1:
            rest = join(rest[: rest.size // 2], rest[rest.size // 2 :])
        before, last = float(join(before, last)), float(rest[0])
    return before, last


def _rows(a: np.ndarray) -> np.ndarray:
    """Return whole groups of LANES elements as rows of float64."""
    return a[: a.size - a.size % LANES].reshape(-1, LANES).astype(np.float64)


if numba_config.DISABLE_JIT:  # an intrinsic has no Python body

    def _lanes_dot(a, b):
        return _folded(_rows(a) * _rows(b), np.add)

    def _lanes_dots(a, b, c, d):
        return *_lanes_dot(a, c), *_lanes_dot(a, d), *_lanes_dot(b, c), *_lanes_dot(b, d)

    def _lanes_nothing(a):
        return _folded(_rows(a) - _rows(a), np.add)

    def _lanes_axpy_dot(alpha, x, y, z):
        n = y.size - y.size % LANES
        y[:n] += alpha * x[:n]
        return _lanes_dot(y, z)

    def _lanes_sum_abs(a):
        return _folded(np.abs(_rows(a)), np.add)

    def _lanes_max_abs(a):
        return _folded(np.abs(_rows(a)), np.maximum)


@compiled
def blocks_of(n):
    """Return how many blocks a sum over ``n`` elements has: at least one."""
    return max((n // LANES * LANES + BLOCK - 1) // BLOCK, 1)


@compiled
def dot(a, b):
    """Return the sum of a*b in float64."""
    before, last = _lanes_dot(a, b) if a.size >= LANES else (0.0, 0.0)
    fours, s, t, u, v = a.size - a.size % 4, 0.0, 0.0, 0.0, 0.0
    for k in range(a.size - a.size % LANES, fours, 4):
        s += np.float64(a[k]) * np.float64(b[k])
        t += np.float64(a[k + 1]) * np.float64(b[k + 1])
        u += np.float64(a[k + 2]) * np.float64(b[k + 2])
        v += np.float64(a[k + 3]) * np.float64(b[k + 3])
    for k in range(fours, a.size):
        s += np.float64(a[k]) * np.float64(b[k])
    return before + (last + ((s + u) + (t + v)))


@compiled(inline=True)
def padded_dots(a, b, c, d):
    """Return the sums of a*c, a*d, b*c and b*d in one pass, of a length that is a multiple of LANES."""
    ac, last_ac, ad, last_ad, bc, last_bc, bd, last_bd = _lanes_dots(a, b, c, d)
    return ac + last_ac, ad + last_ad, bc + last_bc, bd + last_bd


@compiled(inline=True)
def axpy_dot(alpha, x, y, z):
    """Add alpha*x to y in place, and return the sum of y*z, in one pass over memory.

    Copied into its callers: a call with three arrays takes as long as 30 elements.
    """
    factor = x.dtype.type(alpha)
    before, last = _lanes_axpy_dot(factor, x, y, z) if y.size >= LANES else (0.0, 0.0)
    return before + (last + axpy_dot_from(y.size - y.size % LANES, factor, x, y, z))


@compiled(inline=True)
def axpy_dot_from(start, factor, x, y, z):
    """Do the same for the few elements from ``start`` on; the factor is of the arrays' dtype."""
    if y.size - start < 4:
        return _axpy_dot_few(start, factor, x, y, z)
    fours, s, t, u, v = start + (y.size - start) // 4 * 4, 0.0, 0.0, 0.0, 0.0
    for k in range(start, fours, 4):
        y[k] += factor * x[k]
        s += np.float64(y[k]) * np.float64(z[k])
        y[k + 1] += factor * x[k + 1]
        t += np.float64(y[k + 1]) * np.float64(z[k + 1])
        y[k + 2] += factor * x[k + 2]
        u += np.float64(y[k + 2]) * np.float64(z[k + 2])
        y[k + 3] += factor * x[k + 3]
        v += np.float64(y[k + 3]) * np.float64(z[k + 3])
    for k in range(fours, y.size):
        y[k] += factor * x[k]
        s += np.float64(y[k]) * np.float64(z[k])
    return (s + u) + (t + v)


@compiled(inline=True)
def _axpy_dot_few(start, factor, x, y, z):
    """Do the same for at most three elements, without the sums that are 0: each addition would wait."""
    if y.size == start:
        return 0.0
    y[start] += factor * x[start]
    total = np.float64(y[start]) * np.float64(z[start])
    for k in range(start + 1, y.size):
        y[k] += factor * x[k]
        total += np.float64(y[k]) * np.float64(z[k])
    return total


@compiled
def is_finite(a):
    """Tell whether all elements are finite, in a quarter of the time that `max_abs` takes."""
    before, last = _lanes_nothing(a) if a.size >= LANES else (0.0, 0.0)
    for k in range(a.size - a.size % LANES, a.size):
        last += np.float64(a[k]) - np.float64(a[k])
    return before + last == 0.0


@compiled
def sum_abs(a):
    """Return the sum of |a| in float64."""
    before, last = _lanes_sum_abs(a) if a.size >= LANES else (0.0, 0.0)
    for k in range(a.size - a.size % LANES, a.size):
        last += abs(np.float64(a[k]))
    return before + last


@compiled
def max_abs(a):
    """Return the largest |a|, 0 for no elements, NaN if there is one."""
    before, last = _lanes_max_abs(a) if a.size >= LANES else (0.0, 0.0)
    for k in range(a.size - a.size % LANES, a.size):
        last = np.maximum(last, abs(np.float64(a[k])))
    return np.maximum(before, last)
