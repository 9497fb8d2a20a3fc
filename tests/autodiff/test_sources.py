"""What numbers in a function seem to be made of."""

import math

from numba import types
from numba.core import ir
from numba.core.compiler import run_frontend

from nbopt.autodiff.dual import DualType
from nbopt.autodiff.sources import Sources


def numbers(x, t, a, b, c, see):
    see(x[0])
    see(x[-1])
    see(b)
    see(a)
    see(-x[1] * 2.0)
    see(math.exp(b - x[0]))
    d = 1 / b
    see(d * c)
    see(3.0)
    see(x[0] + x[1] + x[2])
    see(x[c])
    see(t[:])
    see((a, b))


def test_sources():
    func_ir, dual = run_frontend(numbers), DualType(4)
    kinds = (types.Array(dual, 1, "C"), types.float64, dual, dual, types.int64, types.none)
    sources, found = Sources(func_ir, kinds, 3), []
    for block in func_ir.blocks.values():
        for statement in block.find_insts(ir.Assign):
            call = statement.value
            if isinstance(call, ir.Expr) and call.op == "call" and call.func.name == "see":
                found.append((sources.variable(call.args[0]), sources.of(call.args[0])))
    one = [(0, {0}), (2, {2}), (1, {1}), (0, {0})]
    made = [(None, {1}), (None, {0, 1}), (None, {1}), (None, set())]
    assert found == one + made + [(None, None)] * 4
