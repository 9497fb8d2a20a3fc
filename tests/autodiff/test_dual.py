"""The type of duals: where it unifies, converts and meets plain numbers."""

import math
import re

import numba
import numpy as np
import pytest
from numba import njit, types

from nbopt.autodiff.dual import (
    DualType,
    dual_in,
    empty_duals,
    partial_of,
    put_partials,
    seed,
    value_of,
    variables,
)
from nbopt.autodiff.dual_math import install
from nbopt.autodiff.gradient import value_and_grad


def test_type_has_a_name_and_is_one_object_for_one_width():
    assert str(DualType(4)) == "dual4"
    assert DualType(4) is DualType(4)
    assert DualType(4) != DualType(8)


@pytest.mark.parametrize(
    "other", [types.float64, types.float32, types.int64, types.boolean, types.literal(2)]
)
def test_plain_numbers_become_duals_never_the_other_way(other):
    context = numba.core.registry.cpu_target.typing_context
    dual = DualType(2)
    assert context.unify_types(other, dual) == context.unify_types(dual, other) == dual
    assert context.can_convert(other, dual) is not None
    assert context.can_convert(dual, other) is None


def test_complex_numbers_and_other_widths_do_not_meet_duals():
    context = numba.core.registry.cpu_target.typing_context
    assert context.unify_types(DualType(2), types.complex128) is None
    assert context.unify_types(DualType(2), DualType(4)) is None


def test_dual_in():
    dual = DualType(2)
    array = types.Array(dual, 2, "C")
    assert dual_in(dual) == dual_in(array) == dual_in(types.Tuple((types.int64, array))) == dual
    assert dual_in(types.Array(types.float64, 1, "C")) is None
    assert dual_in(types.none) is None


def test_arrays_of_variables_on_the_stack_and_on_the_heap():
    install()

    @njit
    def fun(x):
        stack, heap = variables(x, 3, 4), empty_duals(x.size, 2)
        seed(heap, x, 1)
        out = np.empty((6, 5))
        for i in range(3):
            out[i, 0], out[i + 3, 0] = value_of(stack[i]), value_of(heap[i])
            for j in range(4):
                out[i, j + 1] = partial_of(stack[i], j)
                out[i + 3, j + 1] = partial_of(heap[i], j % 2)
        return out

    x = np.array([5, 7, 9, 11, 13])[::2]
    expected = np.zeros((6, 5))
    expected[:3, 0] = expected[3:, 0] = x
    expected[:3, 1:4] = np.eye(3)
    expected[4, 1] = expected[4, 3] = 1.0
    expected[5, 2] = expected[5, 4] = 1.0
    np.testing.assert_array_equal(fun(x), expected)


def test_partials_are_put_into_rows_of_any_layout():
    install()

    @njit
    def fun(x, jac):
        stack = variables(x, 3, 4)
        put_partials(jac, 0, 7.0, 3)
        put_partials(jac, 2, stack[0] * stack[2], 3)

    for jac in (np.full((3, 3), -1.0), np.full((3, 3), -1.0, order="F"), np.full((6, 9), -1.0)[::2, ::3]):
        fun(np.array([2.0, 3.0, 5.0]), jac)
        np.testing.assert_array_equal(jac, [[0.0, 0.0, 0.0], [-1.0, -1.0, -1.0], [5.0, 0.0, 2.0]])


@pytest.mark.parametrize(("k", "aligned"), [(2, set()), (4, {"32"}), (16, {"64"})])
def test_the_stack_is_aligned_to_the_partials(k, aligned):
    install()

    @njit
    def fun(x):
        return value_of(variables(x, 2, k)[1] * 2.0)

    assert fun(np.array([1.0, 2.0])) == 4.0
    (text,) = fun.inspect_llvm().values()
    assert set(re.findall(r"alignstack[=(](\d+)", text)) == aligned


def test_variables_that_are_plain_on_one_way():
    @njit
    def fun(x, flag, n):
        s, p = 0, True
        best = -1.0
        for i in range(n):
            s += x[i] * flag
            p = p * x[i]
        if x[0] > 100:
            return -1.0
        k = 3 if flag else x[0]
        while s < 10:
            s = s * 2
        best = x[1] if x[1] > best else best
        return s + p + k + best + np.float32(0.5) * x[0] + int(x[1]) + float(x[0]) + float(3)

    f, g = value_and_grad(fun)([1.5, 2.0], True, 2)
    assert f == 14.0 + 3.0 + 3.0 + 2.0 + 0.75 + 2 + 1.5 + 3
    assert g.tolist() == [4 + 2.0 + 0.5 + 1, 4 + 1.5 + 1]
    f, g = value_and_grad(fun)([200.0, 2.0], True, 2)
    assert f == -1.0 and g.tolist() == [0.0, 0.0]


def test_conversions_and_truth():
    @njit
    def fun(x):
        kinds = np.zeros(8, np.int64)
        kinds[0], kinds[1] = int(x[0]), round(x[0])
        kinds[2], kinds[3], kinds[4] = math.floor(x[0]), math.ceil(x[0]), math.trunc(-x[0])
        kinds[5], kinds[6], kinds[7] = bool(x[0]), not x[0], bool(x[1])
        if x[1]:
            return 1e9 * x[0]
        return x[0] * (kinds * 10 ** np.arange(8)).sum()

    f, g = value_and_grad(fun)([2.6, 0.0])
    assert g.tolist() == [2 + 30 + 200 + 3000 - 20000 + 100000, 0.0]
    assert f == pytest.approx(2.6 * g[0])


def test_tuples_lists_and_globals_hold_duals():
    @njit
    def fun(x, t):
        pair = (x[0], 2.0)
        items = [x[1], 1.0]
        items.append(pair[0] * pair[1])
        a, b = pair
        total = 0.0
        for v in items:
            total += v
        for i, v in enumerate(t):
            total += v * x[i]
        return total + a * b + sum(items)

    f, g = value_and_grad(fun)([3.0, 5.0], (0.5, 0.25))
    assert f == 12 + 1.5 + 1.25 + 6 + 12
    assert g.tolist() == [2 + 0.5 + 2 + 2, 1 + 0.25 + 1]
