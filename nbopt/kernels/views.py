"""Parts of a caller's array, as arrays of their own: no allocation, no reference counts, no bounds checks."""

from __future__ import annotations

from typing import Any

from numba import types
from numba.core import cgutils
from numba.core import config as numba_config
from numba.extending import intrinsic
from numba.np import arrayobj

# Intrinsics, not compiled functions: Numba would compile one for each literal start and length, 50 ms each.
if numba_config.DISABLE_JIT:  # an intrinsic has no Python body

    def vector(work, start, n):
        """Return ``work[start : start + n]``."""
        return work[start : start + n]

    def matrix(work, start, rows, n):
        """Return the ``rows * n`` elements from ``start`` on as an array of shape (rows, n)."""
        return work[start : start + rows * n].reshape(rows, n)

    def row(a, i):
        """Return ``a[i]`` of a matrix."""
        return a[i]

    def flat(a):
        """Return all elements of a matrix."""
        return a.reshape(-1)

else:

    def _view(context: Any, builder: Any, kind: Any, data: Any, shape: tuple) -> Any:
        """Emit an array of C order over memory that the caller keeps alive."""
        size = context.get_abi_sizeof(context.get_data_type(kind.dtype))
        strides: list[Any] = []
        step = context.get_constant(types.intp, size)
        for extent in reversed(shape):
            strides.insert(0, step)
            step = builder.mul(step, extent)
        array = context.make_array(kind)(context, builder)
        arrayobj.populate_array(
            array, data, shape, strides, context.get_constant(types.intp, size), meminfo=None
        )
        return array._getvalue()

    @intrinsic
    def vector(typing_context, work, start, n):
        """Return ``work[start : start + n]``, valid as long as the caller holds ``work``."""
        kind = types.Array(work.dtype, 1, "C")

        def codegen(context, builder, signature, args):
            data = context.make_array(signature.args[0])(context, builder, args[0]).data
            return _view(context, builder, kind, builder.gep(data, [args[1]]), (args[2],))

        return kind(work, types.intp, types.intp), codegen

    @intrinsic
    def matrix(typing_context, work, start, rows, n):
        """Return the ``rows * n`` elements from ``start`` on as an array of shape (rows, n)."""
        kind = types.Array(work.dtype, 2, "C")

        def codegen(context, builder, signature, args):
            data = context.make_array(signature.args[0])(context, builder, args[0]).data
            return _view(context, builder, kind, builder.gep(data, [args[1]]), (args[2], args[3]))

        return kind(work, types.intp, types.intp, types.intp), codegen

    @intrinsic
    def row(typing_context, a, i):
        """Return ``a[i]`` of a matrix in C order, i not below 0, valid as long as the caller holds ``a``."""
        kind = types.Array(a.dtype, 1, "C")

        def codegen(context, builder, signature, args):
            array = context.make_array(signature.args[0])(context, builder, args[0])
            n = cgutils.unpack_tuple(builder, array.shape)[1]
            data = builder.gep(array.data, [builder.mul(args[1], n)])
            return _view(context, builder, kind, data, (n,))

        return kind(a, types.intp), codegen

    @intrinsic
    def flat(typing_context, a):
        """Return all elements of a matrix in C order, valid as long as the caller holds ``a``."""
        kind = types.Array(a.dtype, 1, "C")

        def codegen(context, builder, signature, args):
            array = context.make_array(signature.args[0])(context, builder, args[0])
            return _view(context, builder, kind, array.data, (array.nitems,))

        return kind(a), codegen
