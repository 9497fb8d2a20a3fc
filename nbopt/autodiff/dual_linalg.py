"""Linear systems of duals: np.linalg.solve, inv and det by elimination with partial pivoting by value."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numba.extending import register_jitable

from nbopt.autodiff.dual import PLAIN, DualType, dual_in, value_of
from nbopt.autodiff.dual_arrays import for_duals, is_dual_array


@register_jitable
def _eliminate(a, b):
    """Make a triangular, and b along with it; return the sign of the row exchanges, 0 if a is singular."""
    n, sign = a.shape[0], 1.0
    for k in range(n):
        best = k
        for i in range(k + 1, n):
            if abs(value_of(a[i, k])) > abs(value_of(a[best, k])):
                best = i
        if value_of(a[best, k]) == 0.0:
            return 0.0
        if best != k:
            sign = -sign
            for j in range(n):
                a[k, j], a[best, j] = a[best, j], a[k, j]
            for j in range(b.shape[1]):
                b[k, j], b[best, j] = b[best, j], b[k, j]
        for i in range(k + 1, n):
            ratio = a[i, k] / a[k, k]
            for j in range(k + 1, n):
                a[i, j] -= ratio * a[k, j]
            for j in range(b.shape[1]):
                b[i, j] -= ratio * b[k, j]
    return sign


@register_jitable
def _substitute(a, b):
    """Solve a triangular system in place."""
    n = a.shape[0]
    for j in range(b.shape[1]):
        for i in range(n - 1, -1, -1):
            for k in range(i + 1, n):
                b[i, j] -= a[i, k] * b[k, j]
            b[i, j] /= a[i, i]


@register_jitable
def _copy(source, target):
    """Copy a matrix; element loops compile in a fraction of the time of anything shorter."""
    for i in range(source.shape[0]):
        for j in range(source.shape[1]):
            target[i, j] = source[i, j]


@register_jitable
def _solve_in_place(a, b):
    """Turn b into the solution; a is lost."""
    if a.shape[0] != a.shape[1]:
        raise np.linalg.LinAlgError("Last 2 dimensions of the array must be square.")
    if a.shape[0] != b.shape[0]:
        raise np.linalg.LinAlgError("Incompatible array sizes, system is not dimensionally valid.")
    if _eliminate(a, b) == 0.0:
        raise np.linalg.LinAlgError("Matrix is singular to machine precision.")
    _substitute(a, b)


def _is_matrix(a: Any) -> bool:
    """Tell whether a type is a matrix of duals or plain numbers."""
    return isinstance(a, types.Array) and a.ndim == 2 and isinstance(a.dtype, (DualType, *PLAIN))


@for_duals(np.linalg.solve)
def _solve(a, b):
    line = isinstance(b, types.Array) and b.ndim == 1 and isinstance(b.dtype, (DualType, *PLAIN))
    if not (_is_matrix(a) and (line or _is_matrix(b)) and (is_dual_array(a) or is_dual_array(b))):
        return None
    dual: Any = dual_in(a) or dual_in(b)

    def solve_line(a, b):
        left, right, out = np.empty(a.shape, dual), np.empty((b.size, 1), dual), np.empty(b.size, dual)
        _copy(a, left)
        for i in range(b.size):
            right[i, 0] = b[i]
        _solve_in_place(left, right)
        for i in range(b.size):
            out[i] = right[i, 0]
        return out

    def solve_matrix(a, b):
        left, right = np.empty(a.shape, dual), np.empty(b.shape, dual)
        _copy(a, left)
        _copy(b, right)
        _solve_in_place(left, right)
        return right

    return solve_line if line else solve_matrix


@for_duals(np.linalg.inv)
def _inv(a):
    if not is_dual_array(a, 2):
        return None

    def inv(a):
        left, right = np.empty(a.shape, a.dtype), np.zeros(a.shape, a.dtype)
        _copy(a, left)
        for i in range(min(a.shape)):
            right[i, i] = 1.0
        _solve_in_place(left, right)
        return right

    return inv


@for_duals(np.linalg.det)
def _det(a):
    if not is_dual_array(a, 2):
        return None

    def det(a):
        if a.shape[0] != a.shape[1]:
            raise np.linalg.LinAlgError("Last 2 dimensions of the array must be square.")
        left, none = np.empty(a.shape, a.dtype), np.empty((a.shape[0], 0), a.dtype)
        _copy(a, left)
        d = _eliminate(left, none) * left[0, 0]
        for i in range(1, a.shape[0]):
            d *= left[i, i]
        return d

    return det
