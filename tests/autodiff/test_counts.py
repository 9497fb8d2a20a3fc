"""Which variables are whole numbers for certain."""

import math

import numba
import numpy as np
import pytest
from numba import njit, types
from numba.core import ir
from numba.core.compiler import run_frontend
from numba.core.ir_utils import build_definitions
from numba.core.ssa import reconstruct_ssa

from nbopt.autodiff.counts import Counts

SIZE = 7


def loops(t, n, a, whole, other):
    whole(n)
    whole(SIZE)
    whole(t.size // 2 + len(t) * 3)
    whole(t.shape[0])
    whole(int(a))
    for i in range(n):
        whole(i - 1)
    for j in numba.prange(3):
        whole(j)
    for k, v in enumerate(t):
        whole(k)
        other(v)
    m = 0
    while m < n:
        whole(m)
        m += 1
    other(a)
    other(t)
    other(n / 2)
    other(t[0])
    other(math.floor(a))
    for v in t:
        other(v)
    b = 0
    for v in t:
        b = b + v
        other(b)
    for p, q in zip(t, t):  # noqa: B905 (Numba's zip takes no keyword)
        other(p)
        other(q)


def test_counts():
    func_ir = reconstruct_ssa(run_frontend(loops))
    func_ir._definitions = build_definitions(func_ir.blocks)
    line = types.Array(types.float64, 1, "C")
    counts = Counts(func_ir, (line, types.int64, types.float64, types.none, types.none))
    seen = {"whole": [], "other": []}
    for block in func_ir.blocks.values():
        for statement in block.find_insts(ir.Assign):
            call = statement.value
            if isinstance(call, ir.Expr) and call.op == "call" and call.func.name in seen:
                seen[call.func.name].append(counts.is_count(call.args[0]))
    assert seen == {"whole": [True] * 9, "other": [False] * 10}


@pytest.mark.parametrize("kind", [types.float64, types.int64])
def test_an_argument_counts_if_it_is_whole(kind):
    func_ir = run_frontend(njit(lambda n: np.empty(n)).py_func)
    func_ir._definitions = build_definitions(func_ir.blocks)
    assert Counts(func_ir, (kind,)).is_count(ir.Var(None, "n", ir.Loc(__file__, 1))) == (kind is types.int64)
