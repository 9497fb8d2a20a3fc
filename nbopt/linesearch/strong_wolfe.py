"""The strong Wolfe search of torch.optim.LBFGS, as a state machine driven like `more_thuente`.

It brackets by extrapolation, then zooms with a cubic through the ends of the bracket (Nocedal and
Wright, "Numerical Optimization", 2nd ed., algorithms 3.5 and 3.6), with torch 2.13's bounds, ties
and rule of insufficient progress, so that `LBFGS` visits the points that torch visits. How to drive
it stands in `nbopt.linesearch.more_thuente`; what is particular here:

- ``width`` is torch's ``tolerance_change / max|d|``, ``max_nfev`` its ``max_ls + 1``.
- ``s[IMPROVED]`` marks the point that would be returned: the last one while extrapolating, the lower
  end of the bracket afterwards. If the limit is reached while extrapolating it is, as in torch, the
  lower of the last point and step 0.
- A value or slope that is not finite is "too far" and is never returned; torch extrapolates over it.
"""

from __future__ import annotations

import math

from nbopt.kernels.compile import compiled
from nbopt.linesearch.search_state import (
    AT_MAX_STEP,
    AT_MIN_STEP,
    BEST,
    BEST_DPHI,
    BEST_PHI,
    C1,
    C2,
    CONVERGED,
    DPHI0,
    EVALUATE,
    IMPROVED,
    MAX_EVALUATIONS,
    MAX_NFEV,
    MAX_STEP,
    MIN_STEP,
    NFEV,
    OWN,
    PHI0,
    RELATIVE_WIDTH,
    STEP,
    TOO_NARROW,
    WIDTH,
    begin,
    keep,
    resolved,
)

# The bracket: its lower end LOW and the other; while extrapolating LOW is the previous point.
LOW, PHI_LOW, DPHI_LOW, HIGH, PHI_HIGH, DPHI_HIGH = OWN, OWN + 1, OWN + 2, OWN + 3, OWN + 4, OWN + 5
ZOOMING, LOW_FIRST, STALLED = OWN + 6, OWN + 7, OWN + 8  # flags; torch breaks ties by position

MARGIN = 0.1  # of the bracket: a trial nearer to an end makes insufficient progress
BEYOND_LOW, BEYOND_HIGH = 0.01, 10.0  # how far an extrapolation goes: past the last step, times it


@compiled
def start(s, phi0, dphi0, step, c1, c2, min_step, max_step, max_nfev, width, resolution):
    """Begin a search; see the docstring of `nbopt.linesearch.more_thuente`."""
    task = begin(s, phi0, dphi0, step, c1, c2, min_step, max_step, max_nfev, width, resolution)
    s[PHI_LOW], s[DPHI_LOW] = phi0, dphi0
    return task


@compiled
def advance(s, phi, dphi):
    """Take the value and slope at ``s[STEP]``; see `nbopt.linesearch.more_thuente`."""
    s[NFEV] += 1.0
    s[IMPROVED] = 0.0
    if math.isfinite(phi) and math.isfinite(dphi):
        value = resolved(s, phi, dphi)
    else:
        value, dphi = math.inf, 0.0
    enough = value <= s[PHI0] + s[C1] * s[STEP] * s[DPHI0]
    flat = abs(dphi) <= -s[C2] * s[DPHI0]
    if s[ZOOMING] == 1.0:
        task = _zoom(s, value, phi, dphi, enough, flat)
    else:
        task = _bracket(s, value, phi, dphi, enough, flat)
    if task > CONVERGED:
        s[STEP] = s[BEST]
    return task


@compiled
def _bracket(s, value, phi, dphi, enough, flat):
    """Go on to longer steps until one of them is too far; then begin to zoom."""
    t = s[STEP]
    if s[NFEV] >= s[MAX_NFEV]:
        return _end_of_bracketing(s, phi, dphi, value, enough and flat)
    if not enough or (s[NFEV] > 2.0 and value >= s[PHI_LOW]):
        return _begin_zoom(s, value, phi, dphi)
    if flat:
        keep(s, phi, dphi)
        return CONVERGED
    if dphi >= 0.0:
        return _begin_zoom(s, value, phi, dphi)
    keep(s, phi, dphi)
    if t >= s[MAX_STEP]:
        return AT_MAX_STEP
    least, most = t + BEYOND_LOW * (t - s[LOW]), t * BEYOND_HIGH
    trial = _cubic(s[LOW], s[PHI_LOW], s[DPHI_LOW], t, value, dphi, least, most)
    s[LOW], s[PHI_LOW], s[DPHI_LOW] = t, value, dphi
    s[STEP] = min(trial, s[MAX_STEP])
    return EVALUATE


@compiled
def _end_of_bracketing(s, phi, dphi, value, wolfe):
    """Return the lower of the last point and step 0, as torch does at its limit."""
    if value < s[PHI0]:
        keep(s, phi, dphi)
    else:
        s[BEST], s[BEST_PHI], s[BEST_DPHI] = 0.0, s[PHI0], s[DPHI0]
    return CONVERGED if wolfe else MAX_EVALUATIONS


@compiled
def _begin_zoom(s, value, phi, dphi):
    """Make a bracket of the previous point and the one just evaluated."""
    s[ZOOMING] = s[LOW_FIRST] = 1.0
    s[HIGH], s[PHI_HIGH], s[DPHI_HIGH] = s[STEP], value, dphi
    if value < s[PHI_LOW]:
        _swap(s)
        keep(s, phi, dphi)
    return _propose(s)


@compiled
def _swap(s):
    """Exchange the ends of the bracket."""
    for k in range(3):
        s[LOW + k], s[HIGH + k] = s[HIGH + k], s[LOW + k]
    s[LOW_FIRST] = 1.0 - s[LOW_FIRST]


@compiled
def _zoom(s, value, phi, dphi, enough, flat):
    """Put the point just evaluated into the bracket in place of one of its ends."""
    if not enough or value >= s[PHI_LOW]:
        s[HIGH], s[PHI_HIGH], s[DPHI_HIGH] = s[STEP], value, dphi
        if value < s[PHI_LOW] or (value == s[PHI_LOW] and s[LOW_FIRST] == 0.0):
            _swap(s)
            keep(s, phi, dphi)
        return _propose(s)
    keep(s, phi, dphi)
    if flat:
        return CONVERGED
    if dphi * (s[HIGH] - s[LOW]) >= 0.0:
        s[HIGH], s[PHI_HIGH], s[DPHI_HIGH] = s[LOW], s[PHI_LOW], s[DPHI_LOW]
    s[LOW], s[PHI_LOW], s[DPHI_LOW] = s[STEP], value, dphi
    return _propose(s)


@compiled
def _propose(s):
    """Ask for the next trial inside the bracket, or stop where none is left."""
    if s[NFEV] >= s[MAX_NFEV]:
        return MAX_EVALUATIONS
    left, right = min(s[LOW], s[HIGH]), max(s[LOW], s[HIGH])
    length = right - left
    if length < s[WIDTH] or length <= RELATIVE_WIDTH * right:
        return TOO_NARROW
    t = _cubic(s[LOW], s[PHI_LOW], s[DPHI_LOW], s[HIGH], s[PHI_HIGH], s[DPHI_HIGH], left, right)
    if min(right - t, t - left) < MARGIN * length:
        if s[STALLED] == 1.0 or t >= right or t <= left:
            t = right - MARGIN * length if abs(t - right) < abs(t - left) else left + MARGIN * length
            s[STALLED] = 0.0
        else:
            s[STALLED] = 1.0
    else:
        s[STALLED] = 0.0
    t = max(t, s[MIN_STEP])
    if t >= right:  # the least step allowed, or by rounding
        return AT_MIN_STEP if s[MIN_STEP] >= right else TOO_NARROW
    s[STEP] = t
    return EVALUATE


@compiled
def _cubic(x1, f1, d1, x2, f2, d2, least, most):
    """Return where the cubic through two points with slopes is least, within bounds, else the middle.

    Nocedal and Wright, eq. (3.59).
    """
    if x1 > x2:
        x1, f1, d1, x2, f2, d2 = x2, f2, d2, x1, f1, d1
    if not (math.isfinite(f1) and math.isfinite(f2)) or x1 == x2:
        return 0.5 * (least + most)
    a = d1 + d2 - 3.0 * (f1 - f2) / (x1 - x2)
    square = a * a - d1 * d2
    if not square >= 0.0:
        return 0.5 * (least + most)
    root = math.sqrt(square)
    below = d2 - d1 + 2.0 * root
    if below == 0.0:
        return 0.5 * (least + most)
    trial = x2 - (x2 - x1) * ((d2 + root - a) / below)
    return min(max(trial, least), most)
