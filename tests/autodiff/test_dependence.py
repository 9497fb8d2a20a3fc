"""Which variables depend on duals: the flow through assignments, stores, views, calls and joins."""

import numpy as np
import pytest
from numba import njit, types
from numba.core.compiler import run_frontend
from numba.core.ssa import reconstruct_ssa

from nbopt.autodiff.dependence import Dependence, called, calls
from nbopt.autodiff.dual import DualType


@njit
def helper(out, x):
    out[0] = x[0]


def store(x, t):
    a, b = np.zeros(3), np.zeros(3)
    a[1] = x[0]
    b[1] = t[0]
    return a, b


def view(x, t):
    a, b = np.zeros((3, 3)), np.zeros(3)
    row = a[1]
    row[0] = x[0]
    b[0] = x.size + len(x) + int(x[0])
    return a, b


def in_place(x, t):
    a, b = np.zeros(3), np.zeros(3)
    a += x
    b += t
    return a, b


def callee(x, t):
    a, b = np.zeros(3), np.zeros(3)
    helper(a, x)
    helper(b, t)
    return a, b


def join(x, t):
    a, b = np.zeros(3), np.zeros(3)
    for c in x:
        a = a * t + c
        b = b * t + 1.0
    return a, b


def held(x, t):
    a, b = np.zeros(3), np.zeros(3)
    pair, rest = (a, 1), [b]
    pair[0][1] = x[0]
    rest.append(t)
    return a, b


def compared(x, t):
    a, b = np.zeros(3), np.zeros(3)
    b[0] = 1.0 if x[0] > 2 else 3.0
    a.fill(x[0])
    return a, b


def result(x, t):
    a, b = np.zeros(3), np.zeros(3)
    if t[0] > b[0]:
        return a
    return x * 2


def analyse(fun, *kinds):
    func_ir = reconstruct_ssa(run_frontend(fun))
    from numba.core.ir_utils import build_definitions

    func_ir._definitions = build_definitions(func_ir.blocks)
    return func_ir, Dependence(func_ir, kinds)


X, T = types.Array(DualType(2), 1, "C"), types.Array(types.float64, 1, "C")


@pytest.mark.parametrize("fun", [store, view, in_place, callee, join, held, compared, result])
def test_only_the_array_that_gets_duals_depends(fun):
    func_ir, dependence = analyse(fun, X, T)
    allocated = {
        s.target.name: s.target.name in dependence.names for *_, s, f in calls(func_ir) if f is np.zeros
    }
    assert sorted(allocated.values()) == [False, True]


def test_without_duals_nothing_depends():
    assert analyse(store, T, T)[1].names == set()


def test_called():
    func_ir, _ = analyse(callee, X, T)
    found = [function for *_, function in calls(func_ir)]
    assert found.count(helper) == 2 and found.count(np.zeros) == 2
    assert called(func_ir, next(iter(func_ir.blocks.values())).scope.get("x")) is None
