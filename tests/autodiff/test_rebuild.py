"""Functions built for duals: what is changed in them, what stays, and that the user's own are untouched."""

import re

import numba
import numpy as np
import pytest
from numba import njit, types

from nbopt.autodiff import rebuild
from nbopt.autodiff.dual import DualType
from nbopt.autodiff.gradient import jacobian, value_and_grad
from nbopt.autodiff.not_differentiable import NotDifferentiable
from nbopt.autodiff.rebuild import dual_build

T = np.array([0.5, 1.25, 2.0])


def test_one_build_for_each_function_and_the_user_s_stays_as_it_is():
    @njit
    def fun(x):
        return x[0]

    assert dual_build(fun) is dual_build(fun)
    value_and_grad(fun)([1.0])
    assert fun.signatures == []  # nothing was compiled into the user's own
    (signature,) = dual_build(fun).signatures
    assert signature == (types.Array(DualType(1), 1, "C"),)


def test_allocations_that_get_duals_and_those_that_do_not():
    @njit
    def fun(x, t):
        a, b, c, d = np.zeros(2), np.empty(2, np.float64), np.ones(2, dtype=float), np.full(2, 3.0)
        e, f, g, h = np.zeros_like(t), np.empty_like(t), np.ones_like(t), np.full_like(t, 4.0)
        index = np.zeros(2, np.int64)
        plain = np.zeros(2)
        plain[1] = t[1]
        index[0] = int(x[0])
        for k, row in enumerate((a, b, c, d, e, f, g, h)):
            row[0] = x[0] * (k + 1)
            row[1] = plain[1]
        total = np.searchsorted(plain, 0.5) * x[0]  # of floats: has no rule for duals
        for row in (a, b, c, d, e, f, g, h):
            total += row[0] * row[1]
        return total + index[0] * c[0]

    f, g = value_and_grad(fun)([2.0], np.array([1.0, 3.0]))
    assert (f, g.tolist()) == (fun(np.array([2.0]), np.array([1.0, 3.0])), [1 + 36 * 3.0 + 2 * 3])


def test_elements_that_are_not_written_keep_their_fill():
    @njit
    def fun(x, t):
        a, b, c = np.ones(3), np.full(3, 5.0), np.full_like(t, 7.0)
        a[0], b[0], c[0] = x[0], x[0], x[0]
        return a + 10 * b + 100 * c

    t = np.zeros(3)
    total = njit(lambda x, t: np.sum(fun(x, t)))
    assert value_and_grad(total)([2.0], t)[0] == 222.0 + 2 * 751.0
    assert jacobian(fun)([2.0], t)[:, 0].tolist() == [111.0, 0.0, 0.0]


def test_integer_arrays_are_not_made_duals():
    @njit
    def fun(x, n):
        out = np.zeros_like(n)
        out[0] = x[0]
        return out[0]

    with pytest.raises(NotDifferentiable, match=r"`out\[0\] = x\[0\]`"):
        value_and_grad(fun)([1.0], np.array([1, 2]))


def test_arrays_from_outside_cannot_take_duals():
    @njit
    def fun(x, work):
        work[0] = x[0]
        return work[0]

    with pytest.raises(NotDifferentiable, match="an array of floats cannot take dual numbers"):
        value_and_grad(fun)([1.0], np.ones(2))


def test_options_of_the_user_s_build():
    @njit(boundscheck=True, parallel=True, cache=False)
    def fun(x):
        return x[5] + np.sum(x * 2)

    with pytest.raises(IndexError):
        value_and_grad(fun)([1.0, 2.0])
    assert value_and_grad(fun)(np.ones(6))[1].tolist() == [2.0] * 5 + [3.0]


def test_results_of_different_kinds_on_different_ways():
    @njit
    def fun(x, t, flag):
        if flag:
            return np.zeros(2)
        return x[0] * t

    assert jacobian(fun)([2.0], np.ones(2), True).tolist() == [[0.0], [0.0]]
    assert jacobian(fun)([2.0], np.ones(2), False).tolist() == [[1.0], [1.0]]


def test_callees_that_get_no_duals_are_the_user_s():
    @njit
    def weights(t):
        return np.exp(-t)

    @njit
    def fun(x, t):
        return np.sum(weights(t) * x[0])

    value_and_grad(fun)([1.0], np.ones(2))
    assert len(weights.signatures) == 1 and "_nbopt_dual" not in weights.__dict__


@njit
def talkative(x, t):
    print("rows:", t.size)
    if t[0] < 0.0:
        raise ValueError("first", t[0])
    return x[0] * t


@njit
def in_python(x, t):
    with numba.objmode(total="float64"):
        total = float(sum(t.tolist()))
    return x[0] * t * total


def test_rows_are_inlined_and_may_call_into_python(capfd):
    jac = jacobian(talkative)
    assert jac([3.0, 1.0], T).tolist() == [[t, 0.0] for t in T]
    assert capfd.readouterr().out == f"rows: {T.size}\n"
    (text,) = jac.compiled(2).inspect_asm().values()
    assert not re.search(r"^\S*talkative\S*:", text, re.MULTILINE)  # no function of its own
    with pytest.raises(ValueError, match=r"\('first', -1\.0\)"):
        jac([3.0, 1.0], -T[:2] - 0.5)
    assert jacobian(in_python)([3.0], T[:1]).tolist() == [[T[0] ** 2]]


def test_without_fragments_rows_are_the_same(monkeypatch):
    monkeypatch.setattr(rebuild, "UserFragments", None)
    fun = njit(lambda x, t: x[0] * t)
    assert jacobian(fun)([3.0, 1.0], T).tolist() == [[t, 0.0] for t in T]
