"""Results that are rows of a Jacobian: arrays filled element by element, and arrays that stay duals."""

import re

import numba
import numpy as np
import pytest
from numba import njit, types

from nbopt.autodiff.dual import DualType
from nbopt.autodiff.forward import JACOBIAN, RESIDUALS, jacobian_entry, result_type
from nbopt.autodiff.gradient import jacobian
from nbopt.autodiff.rebuild import dual_build
from nbopt.autodiff.rows import BareRows, Rows, RowsType

LINE = types.Array(types.float64, 1, "C")
T = np.array([0.5, 1.25, 2.0, 4.0])


def filled(x, t):
    out = np.empty(t.size)
    for i in range(t.size):
        p = x[2]
        for k in range(1, -1, -1):
            p = p * t[i] + x[k]
        out[i] = p
    return out


def sparse(x, t):
    out = np.zeros(len(t) + 1, dtype=np.float64)
    out[0] = 7
    for i, v in enumerate(t):
        if v > 1.0:
            out[-1 - i] = x[0] * x[1] + v * x[2]
    result = out
    return result


def read(x, t):
    out = np.zeros(t.size)
    for i in range(t.size):
        out[i] = x[0] * t[i]
        out[i] += x[1] * x[2]
    return out


def sliced(x, t):
    out = np.empty(t.size)
    out[:2] = x[0] * t[:2]
    out[2:] = x[1] * t[2:] + x[2]
    return out


def early(x, t):
    out = np.zeros(t.size)
    if t[0] > 1e9:
        return out
    out[0] = x[0]
    return out


@pytest.mark.parametrize("fun", [filled, sparse, read, sliced, early])
def test_rows_are_the_derivatives(fun):
    compiled, x = njit(fun), np.array([0.75, -1.5, 2.5])
    found = jacobian(compiled)(x, T)
    assert found.flags.c_contiguous and found.dtype == np.float64
    expected = [(fun(x + h, T) - fun(x - h, T)) / 2e-6 for h in 1e-6 * np.eye(3)]
    np.testing.assert_allclose(found, np.transpose(expected), atol=1e-7)
    kind = result_type(compiled, (LINE,), 3, "jacobian", JACOBIAN)
    assert kind == (RowsType(3, False) if fun in (filled, sparse) else types.Array(DualType(4), 1, "C"))


@pytest.mark.parametrize("fun", [filled, sparse])
def test_rows_have_the_values_of_floats(fun):
    compiled = njit(fun)
    entry = njit(jacobian_entry(compiled, 3, njit(lambda data: data)))
    x = np.array([0.75, -1.5, 2.5])
    r = np.full(compiled(x, T).size, np.nan)
    jac = np.full((r.size, 3), np.nan)
    entry(x, r, jac, (T,))
    np.testing.assert_array_equal(r, compiled(x, T))
    np.testing.assert_array_equal(jac, jacobian(compiled)(x, T))
    assert result_type(compiled, (LINE,), 3, "jacobian", RESIDUALS) == RowsType(3, True)
    with pytest.raises(ValueError, match="another number of values than before"):
        entry(x, r[1:].copy(), jac, (T,))


def test_a_negative_size_is_refused_as_for_floats():
    @njit
    def fun(x, n):
        out = np.empty(n)
        for i in range(n):
            out[i] = x[i]
        return out

    assert jacobian(fun)([1.0, 2.0], 2).tolist() == [[1.0, 0.0], [0.0, 1.0]]
    with pytest.raises(ValueError, match="negative dimensions"):
        jacobian(fun)([1.0, 2.0], -1)


def test_loops_load_duals_again_only_where_these_may_change():
    @njit
    def doubled(a, b):
        out = np.empty(a.size)
        for i in range(a.size):
            b[i] = 2.0 * b[i]
            out[i] = a[i] * a[0]
        return out

    @njit
    def fun(x):
        y = x * 1.0
        return doubled(y, y)

    assert jacobian(fun)([1.0, 3.0]).tolist() == [[8.0, 0.0], [12.0, 4.0]]
    plain = njit(filled)
    jacobian(plain)(np.ones(3), T)
    for function, apart in ((plain, True), (doubled, False)):
        (text,) = dual_build(function, RowsType(3 if apart else 2, False)).inspect_llvm().values()
        assert bool(re.search(r"noalias [^,]*%arg\.x\.4", text)) == apart


def test_bounds_are_checked_where_the_user_wants_it():
    @njit(boundscheck=True)
    def fun(x, n):
        out = np.empty(2)
        for i in numba.prange(n):
            out[i] = x[0]
        return out

    assert jacobian(fun)([1.0], 2).tolist() == [[1.0], [1.0]]
    with pytest.raises(IndexError):
        jacobian(fun)([1.0], 3)


def test_types_of_rows():
    assert RowsType(3, True) == RowsType(3, True)
    assert RowsType(3, True) != RowsType(3, False) != RowsType(4, False)
    assert RowsType(3, True).fields == Rows._fields and RowsType(3, False).fields == BareRows._fields
