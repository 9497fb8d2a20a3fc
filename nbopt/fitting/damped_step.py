"""The step of Levenberg and Marquardt within a trust region: min |R s + b|^2 with |D s| <= delta.

The damping is the root of the secular equation |D s(damping)| = delta, found by Newton's method on its
reciprocal form, kept between bounds. Source: J. J. Moré, "The Levenberg-Marquardt algorithm:
implementation and theory", Lecture Notes in Mathematics 630 (1978), sections 3 to 5.
"""

from __future__ import annotations

import math

from nbopt.fitting.householder import solve_transposed, solve_upper
from nbopt.kernels.compile import compiled

_SLACK = 0.1  # the length of a damped step may differ from delta by this share
_ROUNDS = 10
_TINY = 2.2250738585072014e-308


@compiled
def damped_step(R, rows, b, order, count, D, delta, damping, s, S, z, w):
    """Write the step for the variables in ``order`` to s and return its damping.

    Parameters
    ----------
    R : ndarray of shape (>= rows, >= count)
        Upper triangle or trapezoid of a pivoted factorization.
    rows : int
        Rows of R that count.
    b : ndarray of shape (>= rows,)
    order : ndarray of int64, shape (>= count,)
        Which variable each column belongs to.
    count : int
        Number of columns.
    D : ndarray of shape (n,)
        Positive scales of all variables.
    delta : float
        Radius; may be infinite.
    damping : float
        A guess; 0 if there is none.
    s : ndarray of shape (n,)
        Takes the elements of the step at the variables in ``order``.
    S : ndarray of shape (>= count, >= count)
        Scratch.
    z, w : ndarray of shape (>= count,)
        Scratch.
    """
    rank = _gauss_newton(R, min(rows, count), b, count, z)
    length = _length(z, order, count, D)
    excess = length - delta
    if excess <= _SLACK * delta:
        _scatter(z, order, count, s)
        return 0.0
    low = 0.0
    if rank == count:
        low = excess / delta / _curvature(R, z, order, count, D, length, w)
    size = _gradient_length(R, rows, b, order, count, D, w)
    high = max(size / delta, _TINY / min(delta, 0.1))
    damping = min(max(damping, low), high)
    if damping == 0.0:
        damping = size / length
    for k in range(_ROUNDS):
        damping = max(damping, _TINY, 0.0 if damping > 0.0 else 0.001 * high)
        _eliminate(R, rows, b, order, count, D, math.sqrt(damping), S, z, w)
        length = _length(z, order, count, D)
        before, excess = excess, length - delta
        shrinks = low == 0.0 and excess <= before < 0.0
        if abs(excess) <= _SLACK * delta or shrinks or k == _ROUNDS - 1:
            break
        change = excess / delta / _curvature(S, z, order, count, D, length, w)
        if excess > 0.0:
            low = max(low, damping)
        else:
            high = min(high, damping)
        damping = max(low, damping + change)
    _scatter(z, order, count, s)
    return damping


@compiled
def _gauss_newton(R, rows, b, count, z):
    """Write the undamped step to z, 0 where R has no full rank; return the rank."""
    rank = rows
    for i in range(rows - 1, -1, -1):
        if R[i, i] == 0.0:
            rank = i
    for i in range(count):
        z[i] = -b[i] if i < rank else 0.0
    solve_upper(R, rank, z)
    return rank


@compiled
def _eliminate(R, rows, b, order, count, D, root, S, z, w):
    """Write to z the step damped by root^2: rotate the rows root*D into a copy S of R, and solve."""
    for i in range(count):
        z[i] = -b[i] if i < rows else 0.0
        for j in range(i, count):
            S[i, j] = R[i, j] if i < rows else 0.0
    for k in range(count):
        for j in range(k, count):
            w[j] = 0.0
        w[k], last = root * D[order[k]], 0.0
        for i in range(k, count):
            if w[i] != 0.0:
                last = _rotate(S[i], w, i, count, z, last)
    solve_upper(S, count, z)


@compiled
def _rotate(row, w, i, count, z, last):
    """Rotate the row w into row i so that w[i] becomes 0; return the new right-hand side of w."""
    size = math.hypot(row[i], w[i])
    c, s = row[i] / size, w[i] / size
    for j in range(i, count):
        a, e = row[j], w[j]
        row[j], w[j] = c * a + s * e, c * e - s * a
    a = z[i]
    z[i] = c * a + s * last
    return c * last - s * a


@compiled
def _length(z, order, count, D):
    """Return |D z|."""
    total = 0.0
    for j in range(count):
        total += (D[order[j]] * z[j]) ** 2
    return math.sqrt(total)


@compiled
def _curvature(R, z, order, count, D, length, w):
    """Return |R'^-1 D^2 z / length|^2, what the derivative of the length is made of."""
    for j in range(count):
        w[j] = D[order[j]] * (D[order[j]] * z[j] / length)
    solve_transposed(R, count, w)
    total = 0.0
    for j in range(count):
        total += w[j] * w[j]
    return total


@compiled
def _gradient_length(R, rows, b, order, count, D, w):
    """Return |D^-1 R'b|."""
    total = 0.0
    for j in range(count):
        w[j] = 0.0
        for i in range(min(rows, j + 1)):
            w[j] += R[i, j] * b[i]
        total += (w[j] / D[order[j]]) ** 2
    return math.sqrt(total)


@compiled
def _scatter(z, order, count, s):
    """Put the elements of z where their variables stand."""
    for j in range(count):
        s[order[j]] = z[j]
