"""Loops that write a function's result: which of them find each row without the others."""

import numpy as np
import pytest
from numba.core.compiler import run_frontend
from numba.core.ir_utils import build_definitions
from numba.core.ssa import reconstruct_ssa

from nbopt.autodiff.row_loop import find_loop


def plain(out, t):
    s = t[0]
    for i in range(t.size):
        p = s
        for k in range(3):
            p = p * t[i] + k
        out[i] = p
    return s


def branches(out, t):
    for i in range(t.size):
        out[i] = t[i] if t[i] > 0.0 else 0.0


def carried(out, t):
    s = 0.0
    for i in range(t.size):
        s += t[i]
        out[i] = s


def needed_later(out, t):
    s = 0.0
    for i in range(t.size):
        s = t[i]
        out[i] = s
    return s


def two_places(out, t):
    for i in range(t.size):
        out[i] = t[i]
    out[0] = 1.0


def from_one(out, t):
    for i in range(1, t.size):
        out[i] = t[i]


def enumerated(out, t):
    for i, v in enumerate(t):
        out[i] = v


def counted(out, t):
    i = 0
    while i < t.size:
        out[i] = t[i]
        i += 1


def own(out, t):
    for i in range(t.size):
        out = np.zeros(3)
        out[i] = t[i]


def outside(out, t):
    for _ in range(t.size):
        pass
    out[0] = 1.0


def ssa(fun):
    """Return a function as it is before types are known."""
    func_ir = run_frontend(fun)
    func_ir._definitions = build_definitions(func_ir.blocks)
    return reconstruct_ssa(func_ir)


@pytest.mark.parametrize(
    ("fun", "expected"),
    [
        (plain, True),
        (branches, True),
        *((fun, False) for fun in (carried, needed_later, two_places, from_one, enumerated, counted)),
        *((fun, False) for fun in (own, outside)),
    ],
)
def test_what_is_a_loop_over_rows(fun, expected):
    func_ir = ssa(fun)
    loop = find_loop(func_ir, ["out", "out.1"])
    assert (loop is not None) == expected
    if loop is not None:
        assert loop.before is func_ir.blocks[min(func_ir.blocks)] and "i" in loop.own
        assert loop.header in loop.body and loop.after not in loop.body
        assert "s" not in loop.own and loop.count.name not in loop.own
