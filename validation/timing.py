"""How a call is timed: blocks of many calls, blocks of all peers in turn, medians and ratios."""

from __future__ import annotations

import gc
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

SAMPLE = 1e-4  # seconds that one reading of the clock should span: its own cost then is below 0.1 %


@dataclass
class Case:
    """A call to be timed; ``prepare`` runs before each call and is not timed.

    Work on one thread may be timed by ``time.process_time``, which others on the machine do not slow.
    """

    call: Callable[[], Any]
    prepare: Callable[[], Any] | None = None
    clock: Callable[[], float] = perf_counter


def time_block(case: Case, seconds: float, least: int = 3) -> float:
    """Return the median time of a call, from samples taken for about ``seconds`` (at least 3)."""
    once = _sample(case, 1)
    repeat = 1 if case.prepare else max(1, min(100_000, round(SAMPLE / max(once, 1e-9))))
    samples = []
    collecting = gc.isenabled()
    gc.disable()
    try:
        end = perf_counter() + seconds
        while len(samples) < least or perf_counter() < end:
            samples.append(_sample(case, repeat))
    finally:
        if collecting:
            gc.enable()
    return statistics.median(samples)


def _sample(case: Case, repeat: int) -> float:
    """Return the mean time of ``repeat`` calls, read off the clock once."""
    if case.prepare:
        case.prepare()
    call, clock = case.call, case.clock
    start = clock()
    for _ in range(repeat):
        call()
    return (clock() - start) / repeat


@dataclass
class Timing:
    """Medians of the blocks of one peer, in the order of the rounds."""

    rounds: list[float] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """The median block."""
        return statistics.median(self.rounds)

    @property
    def spread(self) -> float:
        """Slowest block over fastest: 1 on a quiet machine."""
        return max(self.rounds) / min(self.rounds)


def ratio(slow: Timing, fast: Timing) -> float:
    """Return how many times longer ``slow`` takes: the median over the rounds, each within itself."""
    return statistics.median(s / f for s, f in zip(slow.rounds, fast.rounds, strict=True))


def take_turns(blocks: dict[Any, Callable[[], float]], rounds: int) -> dict[Any, Timing]:
    """Run one block of every entry per round, so that all meet the same moods of the machine."""
    timings: dict[Any, Timing] = {key: Timing() for key in blocks}
    for turn in range(rounds):
        order = list(blocks) if turn % 2 == 0 else list(reversed(blocks))
        for key in order:
            timings[key].rounds.append(blocks[key]())
    return timings
