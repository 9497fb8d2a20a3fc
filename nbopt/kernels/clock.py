"""The time in compiled code: seconds of a steady clock, by the address of the system's own function."""

from __future__ import annotations

import ctypes
import time
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic


def clock_address() -> int:
    """Return the address of POSIX's clock_gettime; 0 where there is none."""
    if not hasattr(time, "CLOCK_MONOTONIC"):
        return 0
    return ctypes.cast(ctypes.CDLL(None).clock_gettime, ctypes.c_void_p).value or 0


@intrinsic
def seconds(typing_context, address):
    """Read the clock at an address that `clock_address` gave, not 0."""
    which = int(getattr(time, "CLOCK_MONOTONIC", 0))

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        word, kind = ir.IntType(64), ir.IntType(32)
        pair = cgutils.alloca_once(builder, ir.ArrayType(word, 2))  # seconds and nanoseconds
        function_type = ir.FunctionType(kind, [kind, pair.type])
        function = builder.inttoptr(args[0], function_type.as_pointer())
        builder.call(function, [ir.Constant(kind, which), pair])
        whole, rest = (
            builder.sitofp(builder.extract_value(builder.load(pair), k), ir.DoubleType()) for k in (0, 1)
        )
        return builder.fadd(whole, builder.fmul(rest, ir.Constant(ir.DoubleType(), 1e-9)))

    return types.float64(types.intp), codegen
