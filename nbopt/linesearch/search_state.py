"""The state that both line searches keep in one float64 array, and the answers that they give.

A search minimizes ``phi(t) = f(x + t*d)`` over ``t > 0`` and never calls ``phi``: it says where the
caller shall evaluate (reverse communication). All that it knows stands in an array ``s`` of SIZE
float64 numbers, which the caller owns; counters and flags are kept as floats in it. The caller
reads:

- ``s[STEP]``: where to evaluate next; at the end the step that the search returns;
- ``s[BEST]``, ``s[BEST_PHI]``, ``s[BEST_DPHI]``: the point that it would return if it stopped now
  (step 0 at first), as the caller gave it;
- ``s[IMPROVED]``: 1 if the point just evaluated has become that point;
- ``s[NFEV]``: the evaluations so far, the one at step 0 not counted.
"""

from __future__ import annotations

import math

from nbopt.kernels.compile import compiled

SIZE = 32

STEP, BEST, BEST_PHI, BEST_DPHI, IMPROVED, NFEV = 0, 1, 2, 3, 4, 5
PHI0, DPHI0, C1, C2, MIN_STEP, MAX_STEP, MAX_NFEV, WIDTH, RESOLUTION = 6, 7, 8, 9, 10, 11, 12, 13, 14
SHRINK = 15  # the next step back from a non-finite point, as a fraction of the way to it
OWN = 16  # from here on each search keeps numbers of its own

RELATIVE_WIDTH = 4.0 * 2.220446049250313e-16  # of the upper end: a bracket of a few roundings
LARGEST = 1e300  # where an infinite max_step ends, so that no arithmetic on steps overflows

# What `start` and `advance` answer. Everything above CONVERGED says why there is no Wolfe point.
EVALUATE = 0
CONVERGED = 1
MAX_EVALUATIONS = 2
AT_MAX_STEP = 3
AT_MIN_STEP = 4
TOO_NARROW = 5
NOT_DESCENT = 6
BAD_START = 7

MESSAGES = (
    "The search waits for an evaluation.",
    "The strong Wolfe conditions hold.",
    "The limit of evaluations was reached.",
    "The function still falls at the largest step allowed.",
    "No decrease was found at the smallest step allowed.",
    "The bracket is too narrow: rounding prevents progress.",
    "The direction does not lead downhill: the slope at step 0 is not negative.",
    "The value or slope at step 0 is not finite, or the first step is not positive.",
)


@compiled(inline=True)
def begin(s, phi0, dphi0, step, c1, c2, min_step, max_step, max_nfev, width, resolution):
    """Fill the common part of the state; return EVALUATE, or why no search is possible."""
    for k in range(s.size):
        s[k] = 0.0
    s[BEST_PHI], s[BEST_DPHI], s[PHI0], s[DPHI0] = phi0, dphi0, phi0, dphi0
    s[C1], s[C2], s[MIN_STEP], s[MAX_NFEV] = c1, c2, min_step, max_nfev
    s[MAX_STEP] = min(max_step, LARGEST)
    s[WIDTH], s[RESOLUTION], s[SHRINK] = width, resolution, 0.5
    if not (math.isfinite(phi0) and math.isfinite(dphi0) and step > 0.0):
        return BAD_START
    if dphi0 >= 0.0:
        return NOT_DESCENT
    s[STEP] = min(max(step, min_step), s[MAX_STEP])
    return EVALUATE


@compiled
def keep(s, phi, dphi):
    """Note that the search would now return the point just evaluated."""
    s[BEST], s[BEST_PHI], s[BEST_DPHI], s[IMPROVED] = s[STEP], phi, dphi, 1.0


@compiled(inline=True)
def resolved(s, phi, dphi):
    """Return phi, or where it cannot be told from phi0 the value that the two slopes give.

    The rule of the trapezoid is exact on quadratics; put into the test of sufficient decrease it is
    the approximate Wolfe condition of W. W. Hager and H. Zhang, SIAM J. Optim. 16 (2005), 170-192.
    """
    if abs(phi - s[PHI0]) < s[RESOLUTION] * abs(s[PHI0]):
        return s[PHI0] + 0.5 * s[STEP] * (s[DPHI0] + dphi)
    return phi
