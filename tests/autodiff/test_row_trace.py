"""Bodies of loops as expressions: what they compute, and which are none."""

import math
import operator

import numpy as np
import pytest
from numba import njit, types
from numba.core import ir
from numba.core.compiler import run_frontend
from numba.core.ir_utils import build_definitions
from numba.core.ssa import reconstruct_ssa

from nbopt.autodiff.dependence import Dependence
from nbopt.autodiff.dual import DualType
from nbopt.autodiff.row_loop import find_loop
from nbopt.autodiff.row_trace import ROW, Leaf, trace

TWO = 2
KINDS = (
    types.Array(types.float64, 1, "C"),
    types.Array(DualType(4), 1, "C"),
    types.Array(types.float64, 1, "C"),
)


def evaluated(tree, leaves, x, t, i):
    """Return the value of an expression for a row."""
    if isinstance(tree, ir.Const):
        return tree.value
    if isinstance(tree, ir.Var):
        var, index = leaves[tree.name]
        index = i if index == ROW else index
        return index if var is None else {"x": x, "t": t}[var.name][index]
    function, operands = tree
    return function(*(evaluated(operand, leaves, x, t, i) for operand in operands))


def traced(fun):
    """Return the expression of a loop's rows by three variables."""
    func_ir = run_frontend(fun)
    func_ir._definitions = build_definitions(func_ir.blocks)
    func_ir = reconstruct_ssa(func_ir)
    return trace(func_ir, find_loop(func_ir, ["out"]), Dependence(func_ir, KINDS), 3)


def horner(out, x, t):
    for i in range(t.size):
        p = x[-1]
        for k in range(len(x) - 2, -1, -1):
            p *= t[i]
            p += x[k]
        out[i] = p


def swaps(out, x, t):
    n = x.shape[0] * TWO
    for i in range(t.size):
        a, b, c, d = x[0], t[i], 2, np.pi
        for k in range(n):
            if not k % 3 or k >= n - 1:
                a, b = b, math.sin(a) + k * d
            elif k // 2 == c:
                continue
        out[i] = a - -b / (i + 1)


@pytest.mark.parametrize("fun", [horner, swaps])
def test_expressions_have_the_values_of_loops(fun):
    x, t, out = np.array([0.5, -1.5, 2.0]), np.array([0.25, 1.0, 3.0]), np.zeros(3)
    row = traced(fun)
    fun(out, x, t)
    assert [evaluated(row.tree, row.leaves, x, t, i) for i in range(3)] == out.tolist()
    assert [var.name for var in row.sized] == ["x"]


def test_numbers_found_by_running_are_no_constants():
    def fun(out, x, t):
        for i in range(t.size):
            p = x[0] ** 2
            for k in range(2):
                p = p * t[i] ** k
            out[i] = p

    row = traced(fun)
    powers = []

    def visit(tree):
        if isinstance(tree, tuple):
            powers.extend(tree[1][1:] if tree[0] is operator.pow else [])
            for operand in tree[1]:
                visit(operand)

    visit(row.tree)
    found = [p.value if isinstance(p, ir.Const) else row.leaves[p.name] for p in powers]
    assert sorted(found, key=str) == [2, Leaf(None, 0), Leaf(None, 1)]


@njit
def helper(v):
    return v


def branches(out, x, t):
    for i in range(t.size):
        out[i] = x[0] if t[i] > 0.0 else x[1]


def other_place(out, x, t):
    for i in range(t.size):
        out[i // 2] = x[0] * t[i]


def neighbour(out, x, t):
    for i in range(t.size):
        out[i] = x[0] * t[i - 1]


def twice(out, x, t):
    for i in range(t.size):
        for k in range(2):
            out[i] = x[k]


def stores(out, x, t):
    for i in range(t.size):
        t[i] = 0.0
        out[i] = x[0]


def calls(out, x, t):
    for i in range(t.size):
        out[i] = helper(x[0])


def for_nothing(out, x, t):
    for i in range(t.size):
        v = 1.0 / t[i]
        out[i] = x[0]
        v += 1.0


def leaves_early(out, x, t):
    for i in range(t.size):
        if x.size > 2:
            break
        out[i] = x[0]


def unknown_length(out, x, t):
    for i in range(t.size):
        s = x[0]
        for k in range(t.size):
            s += t[k]
        out[i] = s


def long(out, x, t):
    for i in range(t.size):
        s = x[0]
        for _ in range(1000):
            s += t[i]
        out[i] = s


def empty(out, x, t):
    for i in range(t.size):
        for _ in range(100000):
            pass
        out[i] = x[0]


def sliced(out, x, t):
    for i in range(t.size):
        out[i] = np.sum(x[:i])


def no_number(out, x, t):
    for i in range(t.size):
        out[i] = x[0] * 1j + (t.size // 0 if x.size else 1 % 0)


NONE = [branches, other_place, neighbour, twice, stores, calls, for_nothing, leaves_early, unknown_length]


@pytest.mark.parametrize("fun", [*NONE, long, empty, sliced, no_number])
def test_what_is_no_expression(fun):
    assert traced(fun) is None
