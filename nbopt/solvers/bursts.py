"""Compiled solves in bursts: so many evaluations without Python, short enough for Ctrl-C to be heard.

An engine's ``advance`` is called by address like the user's function, so a burst is compiled once
for all engines, and an engine once for all kinds of derivatives. The agreement: an engine keeps all that
it knows in two arrays that the caller owns, ``work`` (float64) and ``counts`` (int64). ``counts[0]``
is n; ``work`` begins with the point x, then comes room for the gradient. ``advance(f, work, counts)``
takes value and gradient at x and answers EVALUATE (x is the next point), NEW_ITERATE (where a pause
was asked for: look, and call it again) or STOP.
"""

from __future__ import annotations

from time import perf_counter
from typing import Any

import numpy as np

from nbopt.autodiff.finite_differences import complex_step, three_point, two_point
from nbopt.kernels.compile import compiled
from nbopt.kernels.native import call_advance, call_entry, call_value
from nbopt.kernels.views import vector

# What an engine's `advance` answers.
EVALUATE, NEW_ITERATE, STOP = 0, 1, 2

SECONDS = 0.02  # that a burst should take; Ctrl-C is to be answered within 0.05
GROWTH = 32  # a burst makes at most so many times the evaluations of the burst before
FIRST = 256  # and the first one of a solve so many, if the solves before it were fast


@compiled
def burst(advance, task, limit, work, counts, entry, words):
    """Run with an entry that gives value and gradient; return the task that ended the burst."""
    data, f, n = words.ctypes.data, 0.0, counts[0]
    x, g = vector(work, 0, n), vector(work, n, n)
    for _ in range(limit):
        if task == EVALUATE:
            f = call_entry(entry, x, g, data)
        task = call_advance(advance, f, work, counts)
        if task != EVALUATE:
            break
    return task


@compiled
def burst_differences(
    advance, task, limit, work, counts, entry, words, central, scratch, steps, rule, automatic
):
    """Run with an entry that gives the value, and forward or central differences of it."""
    data, f, n = words.ctypes.data, 0.0, counts[0]
    x, g = vector(work, 0, n), vector(work, n, n)
    for _ in range(limit):
        if task == EVALUATE:
            for k in range(x.size):  # the function may write to what it gets
                scratch[k] = x[k]
            f = call_value(entry, scratch, data)
            if central:
                three_point(entry, data, x, f, g, scratch, steps, rule, automatic)
            else:
                two_point(entry, data, x, f, g, scratch, steps, rule, automatic)
        task = call_advance(advance, f, work, counts)
        if task != EVALUATE:
            break
    return task


@compiled
def burst_complex(
    advance, task, limit, work, counts, entry, words,
    complex_entry, scratch, complex_scratch, steps, rule, automatic,
):  # fmt: skip
    """Run with an entry that gives the value, and complex steps of one that takes complex x."""
    data, f, n = words.ctypes.data, 0.0, counts[0]
    x, g = vector(work, 0, n), vector(work, n, n)
    for _ in range(limit):
        if task == EVALUATE:
            for k in range(x.size):
                scratch[k] = x[k]
            f = call_value(entry, scratch, data)
            complex_step(complex_entry, data, x, f, g, complex_scratch, steps, rule, automatic)
        task = call_advance(advance, f, work, counts)
        if task != EVALUATE:
            break
    return task


class Bursts:
    """Runs an engine on a compiled function, each burst as long as the last ones allow.

    Parameters
    ----------
    burst : compiled function
        One of those above.
    source : tuple
        Its arguments after the state: where the function and its arguments stand.
    keep : tuple
        Whatever the addresses in `source` point into; the function's entry first.
    explain : callable, optional
        Called with `keep`, x and room for the gradient where that has not the size of x: says the sizes.
    """

    __slots__ = ("between", "burst", "explain", "keep", "limit", "source")

    def __init__(
        self, burst: Any, source: tuple[Any, ...], keep: tuple[Any, ...], explain: Any = None
    ) -> None:
        self.burst, self.source, self.keep, self.explain = burst, source, keep, explain
        self.limit = keep[0].pace
        self.between: Any = None  # called after each burst that another one follows

    def run(self, engine: Any, task: int, work: np.ndarray, counts: np.ndarray) -> int:
        """Go on until the engine stops or pauses at an iterate; return its task."""
        advance, burst, source, limit = engine.address, self.burst, self.source, self.limit
        while True:
            began = perf_counter()
            try:
                task = burst(advance, task, limit, work, counts, *source)
            except ValueError as error:
                if self.explain is not None and str(error).endswith("has not as many elements as x"):
                    self.explain(self.keep, *work[: 2 * counts[0]].reshape(2, -1))
                raise
            if task != EVALUATE:
                return task
            pace = SECONDS / max(perf_counter() - began, 1e-9)
            limit = self.limit = max(1, int(limit * min(pace, GROWTH)))
            self.keep[0].pace = min(limit, FIRST)
            if self.between is not None:
                self.between()
