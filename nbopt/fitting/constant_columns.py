"""Columns of a Jacobian that are the same at all points: finite differences leave them out on the way.

A parameter that enters linearly, with no other parameter beside it, such as an offset or a slope, has such a
column. It is found by comparing the first Jacobian with a later one that differs from it elsewhere. Where the
fit is to end it is computed once more, from points far apart: then rounding costs no digits.
"""

from __future__ import annotations

import math

from nbopt.fitting.jacobian_differences import FORWARD, LEFT_OUT
from nbopt.fitting.workspace import CONSTANT, EXACT, MOVING, UNKNOWN
from nbopt.kernels.compile import compiled

_FAR = 2.0**12  # times the step of forward differences: 1e-5 of the variable, and 1e-11 of rounding
_SAME = 1e-6  # a relative change of a column that is none
_OTHER = 1e-2  # and one of another column: that these are two points
_NOISE = 1e-3  # relative rounding of a column that hides what it does
_ROUNDINGS = 4.0  # of the residuals, in the difference of two columns


@compiled
def leave_out(x, lower, upper, points, scheme, marks, ending, others):
    """Leave out what need not be computed; return how many columns are those of another point.

    Parameters
    ----------
    x, lower, upper : ndarray of shape (n,)
    points : ndarray of shape (>= 1, n)
        Row 0 is moved away from x for the columns that are constant.
    scheme : ndarray of int64, shape (n,)
        How each column is computed; see `jacobian_differences`.
    marks : ndarray of int64, shape (n,)
    ending : bool
        Whether the constant columns are computed.
    others : bool
        Whether those are computed that may have changed.
    """
    kept = 0
    for j in range(marks.size):
        if marks[j] == CONSTANT and ending:
            step = _FAR * (points[0, j] - x[j])
            room = upper[j] - x[j] if step > 0.0 else x[j] - lower[j]
            points[0, j] = x[j] + math.copysign(min(abs(step), room), step)
            scheme[j] = FORWARD
        elif marks[j] == CONSTANT:
            scheme[j], kept = LEFT_OUT, kept + 1
        elif marks[j] == EXACT or not others:
            scheme[j] = LEFT_OUT
    return kept


@compiled
def is_linear(x, r, x_before, r_before, J_before):
    """Tell whether the residuals are what an earlier Jacobian foretold."""
    error, change = 0.0, 0.0
    for i in range(r.size):
        foretold = r_before[i]
        for j in range(x.size):
            foretold += J_before[i, j] * (x[j] - x_before[j])
        error += (r[i] - foretold) ** 2
        change += (r[i] - r_before[i]) ** 2
    return error <= _SAME * _SAME * change


@compiled
def compare(J, before, marks, x, points, scheme, rounding):
    """Mark the columns that were computed; return how many were taken for constant and are not.

    Parameters
    ----------
    J, before : ndarray of shape (m, n)
        Forward differences here and at the first point.
    marks : ndarray of int64, shape (n,)
        What is known of the columns, and will be.
    x : ndarray of shape (n,)
    points : ndarray of shape (>= 1, n)
        In row 0 the value of each variable at the other end of its difference.
    scheme : ndarray of int64, shape (n,)
    rounding : float
        Length of the rounding errors of the residuals.
    """
    wrong, unknown, others = 0, 0, False
    for j in range(marks.size):
        unknown += marks[j] == UNKNOWN
        if marks[j] == CONSTANT and scheme[j] != LEFT_OUT:
            moving = _is_moving(J, before, j, rounding / abs(points[0, j] - x[j]))
            marks[j], wrong = MOVING if moving else EXACT, wrong + moving
    if unknown == 0:
        return wrong
    for j in range(marks.size):
        others = others or _change(J, before, j) > _OTHER * _length(J, j)
    for j in range(marks.size):
        if others and marks[j] == UNKNOWN:
            moving = _is_moving(J, before, j, rounding / abs(points[0, j] - x[j]))
            marks[j] = MOVING if moving else CONSTANT
    return wrong


@compiled
def _is_moving(J, before, j, noise):
    """Tell whether a column differs from what it was, or may."""
    length, noise = _length(J, j), _ROUNDINGS * noise
    return not (noise < _NOISE * length and _change(J, before, j) <= _SAME * length + noise)


@compiled
def _length(J, j):
    """Return the length of a column."""
    total = 0.0
    for i in range(J.shape[0]):
        total += J[i, j] * J[i, j]
    return math.sqrt(total)


@compiled
def _change(J, before, j):
    """Return the length of the change of a column."""
    total = 0.0
    for i in range(J.shape[0]):
        total += (J[i, j] - before[i, j]) ** 2
    return math.sqrt(total)
