"""The line search of Moré and Thuente, as a state machine that asks for one evaluation at a time.

Source: J. J. Moré and D. J. Thuente, "Line search algorithms with guaranteed sufficient decrease",
ACM TOMS 20(3), 1994, 286-307. It looks for a step ``t`` with

    phi(t) <= phi(0) + c1*t*phi'(0)    and    |phi'(t)| <= c2*|phi'(0)|,    0 < c1 <= c2 < 1.

How to drive it (from compiled code or from Python; `strong_wolfe` is driven in the same way)::

    from nbopt.linesearch import more_thuente as search
    from nbopt.linesearch.search_state import BEST, CONVERGED, EVALUATE, IMPROVED, SIZE, STEP

    s = np.empty(SIZE)                      # once; float64; yours, so one per problem or thread
    task = search.start(s, phi0, dphi0, step, c1, c2, min_step, max_step, max_nfev, width, resolution)
    while task == EVALUATE:
        # evaluate at x + s[STEP]*d: phi = f, dphi = gradient . d
        task = search.advance(s, phi, dphi)
        if s[IMPROVED] == 1.0: ...          # optional: keep a copy of this point's gradient
    # s[STEP] is the result (also s[BEST], with s[BEST_PHI] and s[BEST_DPHI])

- All scalars are float64, ``max_nfev`` is an integer. Neither function allocates or raises.
- CONVERGED: the result is the point evaluated last. Any other end (MAX_EVALUATIONS, AT_MAX_STEP,
  AT_MIN_STEP, TOO_NARROW): the result is the lowest point seen, which is the last one with
  ``s[IMPROVED] == 1``, or step 0 if there was none; ``search_state.MESSAGES[task]`` says why in words.
- AT_MAX_STEP means: enough decrease, and still downhill at ``max_step``. With bounds that is a success.
- ``start`` answers NOT_DESCENT or BAD_START (phi0 or dphi0 not finite, no positive step) without asking
  for anything.
- A value or slope that is not finite counts as "too far": the search steps back towards its best
  finite point and never returns such a point.
- ``width``: the bracket (in ``t``) at which to give up; 0 leaves only the limit of rounding.
- ``resolution``: relative accuracy of phi (say 1e-7 for a float32 function; 0: exact). Where phi and
  phi0 are closer than that, slopes decide (the approximate Wolfe condition).
- ``s[NFEV]`` counts the evaluations asked for, without the one at step 0.
- A snapshot of ``s`` is the whole state: copy it to branch or to resume.
"""

from __future__ import annotations

import math

from nbopt.kernels.compile import compiled
from nbopt.linesearch.search_state import (
    AT_MAX_STEP,
    AT_MIN_STEP,
    BEST,
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
    SHRINK,
    STEP,
    TOO_NARROW,
    WIDTH,
    begin,
    keep,
    resolved,
)

# The interval: X is its better end, Y the other; LOW and HIGH bound the next trial.
X, PHI_X, DPHI_X, Y, PHI_Y, DPHI_Y = OWN, OWN + 1, OWN + 2, OWN + 3, OWN + 4, OWN + 5
BRACKETED, STAGE, LOW, HIGH = OWN + 6, OWN + 7, OWN + 8, OWN + 9
LENGTH, LENGTH_BEFORE = OWN + 10, OWN + 11  # of the interval, one and two trials ago
WALL = OWN + 12  # the nearest step beyond X known to be "too far" while there is no bracket
LOWEST = OWN + 13  # value of the best point, as `resolved` sees it

NARROWER = 0.66  # two trials must shorten the bracket by this, else it is halved (section 4)
FURTHER_LOW, FURTHER_HIGH = 1.1, 4.0  # how far to go beyond a trial while there is no bracket


@compiled
def start(s, phi0, dphi0, step, c1, c2, min_step, max_step, max_nfev, width, resolution):
    """Begin a search; see the module's docstring."""
    task = begin(s, phi0, dphi0, step, c1, c2, min_step, max_step, max_nfev, width, resolution)
    s[PHI_X], s[DPHI_X], s[PHI_Y], s[DPHI_Y], s[LOWEST] = phi0, dphi0, phi0, dphi0, phi0
    s[STAGE] = 1.0
    s[HIGH] = s[STEP] + FURTHER_HIGH * s[STEP]
    s[LENGTH] = s[MAX_STEP] - s[MIN_STEP]
    s[LENGTH_BEFORE] = 2.0 * s[LENGTH]
    s[WALL] = math.inf
    return task


@compiled
def advance(s, phi, dphi):
    """Take the value and slope at ``s[STEP]``; see the module's docstring."""
    s[NFEV] += 1.0
    s[IMPROVED] = 0.0
    task = _judge(s, phi, dphi)
    if task > CONVERGED:
        s[STEP] = s[BEST]
    return task


@compiled(inline=True)
def _judge(s, phi, dphi):
    """Say whether the point just evaluated ends the search; else propose another."""
    t, slope = s[STEP], s[C1] * s[DPHI0]
    if math.isfinite(phi) and math.isfinite(dphi):
        value = resolved(s, phi, dphi)
        enough = value <= s[PHI0] + t * slope
        done = enough and abs(dphi) <= -s[C2] * s[DPHI0]
        if done or value < s[LOWEST]:
            s[LOWEST] = value
            keep(s, phi, dphi)
        if done:
            return CONVERGED
        if t >= s[MAX_STEP] and enough and dphi <= slope:
            return AT_MAX_STEP
        if t <= s[MIN_STEP] and not (enough and dphi < slope):
            return AT_MIN_STEP
        if enough and dphi >= 0.0:
            s[STAGE] = 2.0
        # Section 3: while no point has psi <= 0 and phi' >= 0, the interval is updated with
        # psi(t) = phi(t) - phi(0) - c1*t*phi'(0) whenever phi alone would move it the wrong way.
        tilt = slope if s[STAGE] == 1.0 and value <= s[PHI_X] and not enough else 0.0
        s[SHRINK] = 0.5
        trial = _next_trial(s, value, dphi, tilt)
    else:
        if t <= s[MIN_STEP]:
            return AT_MIN_STEP
        trial = _shorter_trial(s)
    return _propose(s, trial)


@compiled
def _shorter_trial(s):
    """Treat a non-finite point as too far: go a part of the way to it, each time a smaller part."""
    t = s[STEP]
    if s[BRACKETED] == 1.0:
        s[Y], s[PHI_Y] = t, math.inf
    else:
        s[WALL] = t
    trial = s[X] + s[SHRINK] * (t - s[X])
    s[SHRINK] *= s[SHRINK]  # 1/2, 1/4, 1/16, ...: from 1e300 to 1 in ten steps
    return trial


@compiled
def _next_trial(s, value, dphi, tilt):
    """Update the interval with the point just evaluated and return the next trial."""
    t, x, y = s[STEP], s[X], s[Y]
    f, d = value - t * tilt, dphi - tilt
    fx, dx = s[PHI_X] - x * tilt, s[DPHI_X] - tilt
    fy, dy = s[PHI_Y] - y * tilt, s[DPHI_Y] - tilt
    bracketed = s[BRACKETED] == 1.0
    trial, bracketed = _trial_step(x, fx, dx, y, fy, dy, t, f, d, bracketed, s[LOW], s[HIGH])
    if f > fx:
        s[Y], s[PHI_Y], s[DPHI_Y] = t, value, dphi
    else:
        if d * math.copysign(1.0, dx) < 0.0:
            s[Y], s[PHI_Y], s[DPHI_Y] = x, s[PHI_X], s[DPHI_X]
        s[X], s[PHI_X], s[DPHI_X] = t, value, dphi
    if bracketed:
        s[BRACKETED] = 1.0
        length = abs(s[Y] - s[X])
        if length >= NARROWER * s[LENGTH_BEFORE]:
            trial = s[X] + 0.5 * (s[Y] - s[X])
        s[LENGTH_BEFORE], s[LENGTH] = s[LENGTH], length
    return trial


@compiled
def _propose(s, trial):
    """Bring a trial within its bounds and ask for it, or stop where none is left."""
    x = s[X]
    if s[BRACKETED] == 1.0:
        low, high = min(x, s[Y]), max(x, s[Y])
        s[LOW], s[HIGH] = low, high
        if high - low <= max(s[WIDTH], RELATIVE_WIDTH * high):
            return TOO_NARROW
        if not low < trial < high:
            trial = low + 0.5 * (high - low)
        trial = max(trial, s[MIN_STEP])
        if trial >= high:
            return AT_MIN_STEP
    else:
        s[LOW] = trial + FURTHER_LOW * (trial - x)
        s[HIGH] = trial + FURTHER_HIGH * (trial - x)
        trial = min(trial, x + 0.5 * (s[WALL] - x), s[MAX_STEP])
        trial = max(trial, s[MIN_STEP])
        if trial <= x or s[WALL] - x <= max(s[WIDTH], RELATIVE_WIDTH * x):
            return TOO_NARROW
    if s[NFEV] >= s[MAX_NFEV]:
        return MAX_EVALUATIONS
    s[STEP] = trial
    return EVALUATE


@compiled
def _trial_step(x, fx, dx, y, fy, dy, t, f, d, bracketed, low, high):
    """Choose the next trial by the four cases of section 4; tell also whether there is a bracket."""
    higher, turned, flatter = f > fx, d * math.copysign(1.0, dx) < 0.0, abs(d) < abs(dx)
    if higher:
        a, fa, da, b, fb, db = x, fx, dx, t, f, d
    elif turned or flatter:
        a, fa, da, b, fb, db = t, f, d, x, fx, dx
    else:
        a, fa, da, b, fb, db = t, f, d, y, fy, dy
    fraction, root = _cubic(a, fa, da, b, fb, db)
    cubic = _inside(a, b, fraction)
    if higher:  # case 1: a minimum lies between x and t
        quadratic = _inside(x, t, 0.5 * dx / ((fx - f) / (t - x) + dx))
        if abs(cubic - x) < abs(quadratic - x):
            return cubic, True
        return cubic + 0.5 * (quadratic - cubic), True
    if turned:  # case 2: lower, and the slope changed sign
        secant = _inside(t, x, d / (d - dx))
        return (cubic if abs(cubic - t) > abs(secant - t) else secant), True
    end = high if t > x else low
    if flatter:  # case 3: lower, the same sign, less steep; the cubic may have no minimizer beyond t
        cubic = t + fraction * (x - t) if fraction < 0.0 and root != 0.0 else end
        return _further(cubic, t + d / (d - dx) * (x - t), x, y, t, bracketed, low, high), bracketed
    return (cubic if bracketed else end), bracketed  # case 4: lower, the same sign, no less steep


@compiled
def _further(cubic, secant, x, y, t, bracketed, low, high):
    """Choose between the two steps of case 3: the longer one, with a bracket the shorter one."""
    nearer = abs(cubic - t) < abs(secant - t)
    if not bracketed:
        return min(max(secant if nearer else cubic, low), high)
    trial = cubic if nearer else secant
    limit = t + NARROWER * (y - t)
    return min(limit, trial) if t > x else max(limit, trial)


@compiled
def _cubic(a, fa, da, b, fb, db):
    """Return where the cubic through two points with slopes is least, as a fraction from a to b.

    The second number is the root in the formula (0 if the cubic has no minimizer).
    """
    theta = 3.0 * (fa - fb) / (b - a) + da + db
    scale = max(abs(theta), abs(da), abs(db))
    gamma = 0.0
    if scale > 0.0:
        gamma = scale * math.sqrt(max(0.0, (theta / scale) ** 2 - (da / scale) * (db / scale)))
    if b < a:
        gamma = -gamma
    if theta * gamma < 0.0:  # gamma**2 - theta**2 = -da*db: the plain sum would cancel
        above = -da - (da / (gamma - theta)) * db
    else:
        above = gamma - da + theta
    below = gamma - da + gamma + db
    return above / below if below != 0.0 else 0.5, gamma


@compiled
def _inside(a, b, fraction):
    """Return the point at a fraction of the way from a to b; the middle if that is not between."""
    if not 0.0 <= fraction <= 1.0:
        fraction = 0.5
    return a + fraction * (b - a)
