"""The columns of a matrix as rows of another: eight elements are collected and stored in one go."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import config as numba_config
from numba.extending import intrinsic

from nbopt.kernels.compile import compiled
from nbopt.kernels.views import row

_GROUP = 8  # elements; with 4 and with 16 it takes longer


if numba_config.DISABLE_JIT:  # an intrinsic has no Python body

    def _copy_group(a, i, j, out):
        """Copy the part of column j from row i on."""
        out[i : i + _GROUP] = a[i : i + _GROUP, j]

else:

    @intrinsic
    def _copy_group(typing_context, a, i, j, out):
        """Copy the part of column j from row i on; LLVM alone would scatter single numbers."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            source, target = (
                context.make_array(signature.args[k])(context, builder, args[k]) for k in (0, 3)
            )
            kind = ir.VectorType(source.data.type.pointee, _GROUP)
            step = builder.extract_value(source.shape, 1)
            group, at = ir.Constant(kind, ir.Undefined), builder.add(builder.mul(args[1], step), args[2])
            for k in range(_GROUP):
                number = builder.load(builder.gep(source.data, [at]))
                group = builder.insert_element(group, number, ir.Constant(ir.IntType(32), k))
                at = builder.add(at, step)
            place = builder.bitcast(builder.gep(target.data, [args[1]]), kind.as_pointer())
            builder.store(group, place).align = 8
            return context.get_dummy_value()

        return types.none(a, types.intp, types.intp, out), codegen


@compiled(inline=True)
def copy_columns(a, out):
    """Copy the j-th column of a matrix to the beginning of row j of another; zeros fill up the row.

    Parameters
    ----------
    a : ndarray of shape (m, n), float64, C order
    out : ndarray of shape (>= n, >= m), float64, C order
    """
    m, groups = a.shape[0], a.shape[0] // _GROUP * _GROUP
    for j in range(a.shape[1]):
        line = row(out, j)
        for i in range(0, groups, _GROUP):
            _copy_group(a, i, j, line)
        for i in range(groups, m):
            line[i] = a[i, j]
        for i in range(m, line.size):
            line[i] = 0.0
