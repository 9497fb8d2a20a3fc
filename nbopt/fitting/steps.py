"""One step of the engine, behind an address: without bounds, or within them.

So a run without bounds neither compiles nor loads what bounds need.
"""

from __future__ import annotations

import functools
import math

import numpy as np

from nbopt.fitting.bounded_step import bounded_step, model_change
from nbopt.fitting.damped_step import damped_step
from nbopt.fitting.workspace import (
    BLIND,
    CUT,
    DAMPING,
    DERIVING,
    HEAD,
    IMAGE,
    LENGTH,
    LOWER,
    NUMBERS,
    PHASE,
    PREDICTED,
    SCRATCH,
    SLOPE,
    TANGENT,
    TRIAL,
    UPPER,
    D,
    G,
    M,
    N,
    S,
    X,
    parts,
)  # fmt: skip
from nbopt.kernels.compile import compiled, is_compiled
from nbopt.kernels.native import advance_address, call_advance
from nbopt.kernels.views import matrix, vector


@compiled
def step_anywhere(delta, work, counts):
    """Compute a step of length ``delta`` at most from where the Jacobian was taken."""
    n = counts[N]
    _, b, _, _, lines, R, numbers = parts(work, counts)
    triangle = matrix(work, work.size - NUMBERS - n * n, n, n)
    guess = numbers[DAMPING] if delta < math.inf else 0.0
    numbers[DAMPING] = damped_step(
        R, min(counts[M], n), b, vector(counts, HEAD, n), n, lines[D], delta, guess, lines[S], triangle,
        lines[SCRATCH], lines[SCRATCH + 1],
    )  # fmt: skip
    counts[CUT] = 0
    _measure(delta, work, counts)
    return 0


@compiled
def step_within_bounds(delta, work, counts):
    """Compute a step that stays within the bounds, too."""
    n = counts[N]
    _, b, _, _, lines, R, numbers = parts(work, counts)
    end = work.size - NUMBERS
    small = (
        matrix(work, end - 2 * n * n, n, n),
        matrix(work, end - n * n, n, n),
        matrix(work, end - 3 * n * n - 6 * n, 6, n),
        vector(counts, HEAD + 2 * n, n),
    )
    at = lines[TRIAL] if counts[PHASE] == DERIVING and counts[BLIND] != 0 else lines[X]
    guess = numbers[DAMPING] if delta < math.inf else 0.0
    numbers[DAMPING], cut = bounded_step(
        R, min(counts[M], n), b, vector(counts, HEAD, n), at, lines[G], lines[LOWER], lines[UPPER],
        vector(counts, HEAD + n, n), lines[D], delta, guess, lines[S], small,
    )  # fmt: skip
    counts[CUT] = cut
    _measure(delta, work, counts)
    return 0


@compiled
def _measure(delta, work, counts):
    """Note what the model makes of the step; without a trust region its image is the tangent offset."""
    _, b, _, _, lines, R, numbers = parts(work, counts)
    n = counts[N]
    s, q, slope, image, length = lines[S], lines[SCRATCH], 0.0, 0.0, 0.0
    rows = min(counts[M], n)
    numbers[PREDICTED] = model_change(R, rows, b, vector(counts, HEAD, n), s, q)
    for i in range(rows):
        slope += q[i] * b[i]
        image += q[i] * q[i]
    for i in range(n):
        length += (lines[D, i] * s[i]) ** 2
    numbers[SLOPE], numbers[LENGTH], numbers[IMAGE] = slope, math.sqrt(length), math.sqrt(image)
    if not delta < math.inf:
        numbers[TANGENT] = numbers[IMAGE]


if is_compiled(step_anywhere):

    @compiled
    def take_step(address, delta, work, counts):
        """Call one of the steps."""
        call_advance(address, delta, work, counts)

else:  # NUMBA_DISABLE_JIT

    def take_step(address, delta, work, counts):
        """Call the step that serves all cases."""
        step_within_bounds(delta, work, counts)


@functools.cache
def _address(bounded: bool) -> int:
    """Compile a step, or load it."""
    return advance_address(step_within_bounds if bounded else step_anywhere)


@functools.lru_cache(maxsize=64)
def unbounded(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return infinite bounds of n variables: the same arrays each time, that nobody may change."""
    return np.full(n, -math.inf), np.full(n, math.inf)


def is_bounded(lower: np.ndarray, upper: np.ndarray) -> bool:
    """Tell whether a variable has a bound."""
    if lower is unbounded(lower.size)[0]:  # the faster way
        return False
    return bool(np.isfinite(lower).any() or np.isfinite(upper).any())


def step_address(lower: np.ndarray, upper: np.ndarray) -> int:
    """Return the address of the step for these bounds; 0 where nothing is compiled."""
    return _address(is_bounded(lower, upper))
