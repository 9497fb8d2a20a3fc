"""A column of the Jacobian that follows from the others: models are often homogeneous in some parameters.

A sum of amplitudes times shapes, f = a g + b h, is a df/da + b df/db (Euler's theorem on homogeneous
functions), so that df/da costs no evaluation where f and df/db are known. Which parameters these are is found
by trying: one Jacobian tells whether a set of them has that property at its point, and the column, once
computed beside what the others say, whether it has it at another.
"""

from __future__ import annotations

import math

import numpy as np

from nbopt.fitting.workspace import MOVING, UNKNOWN
from nbopt.kernels.compile import compiled
from nbopt.kernels.reductions import dot

# Entries of `group`: what is known of the set, and the column that follows from the others, -1 for none;
# after them come the marks of its members.
STATE, COLUMN, MEMBERS = range(3)
# The set is to be looked for; there is none; it is one at one point; it is one at two points.
UNSOUGHT, NONE, FOUND, PROVEN = range(4)

_MOST = 8  # parameters: all sets of more take too long
_SAME = 1e-6  # the error of the sum, relative to what the column contributes
_AGREES = 1e-5  # and of a column that is computed
_SHARE = 1e-2  # of the model, that a column contributes: rounding of the others makes less of it worthless


@compiled
def seek(J, x, f, group, scratch):
    """Look for a set of parameters that the model is homogeneous of degree 1 in.

    Parameters
    ----------
    J : ndarray of shape (m, n)
    x : ndarray of shape (n,)
        Where one is 0 nothing is decided, for that may be a member or not; nor where a member is 1, as people
        let them start, for there exp(x) is its own derivative times x.
    f : ndarray of shape (m,)
        The values of the model.
    group : ndarray of int64, shape (MEMBERS + n,)
    scratch : ndarray of shape (> n, m)
    """
    n, members = x.size, group[MEMBERS:]
    group[COLUMN] = -1
    for j in range(n):
        if x[j] == 0.0 and n <= _MOST:
            return
    group[STATE] = NONE
    if n > _MOST:
        return
    dots = _dots(J, x, f, scratch)
    best, error = 0, math.inf
    rests = np.empty(1 << n)  # |f|^2 less what each set explains, where that is all
    rests[0] = dots[n, n]
    for k in range(1, 1 << n):
        j, others = _lowest(k), k & (k - 1)
        both = -dots[j, n]
        for i in range(j + 1, n):
            both += dots[j, i] if others >> i & 1 else 0.0
        rests[k] = rests[others] + 2.0 * both + dots[j, j]
        if rests[k] < error:
            best, error = k, rests[k]
    for j in range(n):
        members[j] = best >> j & 1
    largest = 0.0
    for j in range(n):
        largest = max(largest, members[j] * dots[j, j])
    if _error(J, x, f, members) <= _SAME * _SAME * largest:
        group[STATE] = FOUND
        for j in range(n):
            if members[j] and abs(x[j]) == 1.0:
                group[STATE] = UNSOUGHT


@compiled
def _lowest(k):
    """Return the place of the lowest bit of a positive number."""
    j = 0
    while not k >> j & 1:
        j += 1
    return j


@compiled
def _dots(J, x, f, scratch):
    """Return the products of x_j J_j and f with each other."""
    n = x.size
    dots = np.empty((n + 1, n + 1))
    for j in range(n + 1):
        for i in range(f.size):
            scratch[j, i] = f[i] if j == n else x[j] * J[i, j]
        for k in range(j + 1):
            dots[j, k] = dots[k, j] = dot(scratch[j], scratch[k])
    return dots


@compiled
def _error(J, x, f, members):
    """Return the square of the error of Euler's sum."""
    total = 0.0
    for i in range(f.size):
        rest = f[i]
        for j in range(x.size):
            if members[j]:
                rest -= x[j] * J[i, j]
        total += rest * rest
    return total


@compiled
def choose(x, floor, change, f, marks, group):
    """Choose the column to derive, if one of the members contributes enough; keep to it while it does.

    ``floor`` is by how much each variable changes the model by ``change``, 0 where that is never; ``marks``
    are those of `constant_columns`: a column that is constant is none to derive.
    """
    kept, best, largest = group[COLUMN], -1, 0.0
    least = _SHARE * math.sqrt(dot(f, f))
    for j in range(x.size):
        moving = marks[j] == MOVING or marks[j] == UNKNOWN
        if not (group[MEMBERS + j] and moving and floor[j] > 0.0):
            continue
        size = abs(x[j]) * (change / floor[j])
        if size > least and (j == kept or size > largest):
            best, largest = j, math.inf if j == kept else size
    group[COLUMN] = best


@compiled
def derive(J, x, f, group, out):
    """Write the column that follows from the others to ``out``."""
    column = group[COLUMN]
    for i in range(f.size):
        out[i] = f[i]
    for j in range(x.size):
        if group[MEMBERS + j] and j != column:
            for i in range(f.size):
                out[i] -= x[j] * J[i, j]
    for i in range(f.size):
        out[i] /= x[column]


@compiled
def is_confirmed(J, group, derived):
    """Tell whether the column, computed, is what follows from the others."""
    error, length, column = 0.0, 0.0, group[COLUMN]
    for i in range(derived.size):
        error += (J[i, column] - derived[i]) ** 2
        length += derived[i] * derived[i]
    return error <= _AGREES * _AGREES * length
