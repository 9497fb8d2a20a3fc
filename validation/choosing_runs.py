"""One optimizer on one of the six problems: the rate that arrives first, its steps and its time."""

from __future__ import annotations

import functools
import statistics
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np

import nbopt
from validation.choosing_problems import PROBLEMS, RANDOM, Problem

TOO_FAR = 1e3  # times the first gap: such a run is given up
SEEDS = 3


@dataclass
class Run:
    """A problem on its way with an optimizer."""

    problem: Problem
    optimizer: str
    options: dict[str, Any]
    lr: float

    def __post_init__(self) -> None:
        self.params = [a.copy() for a in self.problem.start]
        made = getattr(nbopt, self.optimizer)
        self.opt = made([nbopt.Parameter(a) for a in self.params], lr=self.lr, **self.options)
        self.steps = self.evaluations = 0

    def closure(self) -> tuple[float, Any]:
        """Return loss and gradients where the parameters are."""
        self.evaluations += 1
        return self.problem.evaluate(self.params, self.steps)

    def step(self) -> None:
        """Make one step."""
        self.opt.step(self.closure)
        self.steps += 1

    def gap(self) -> float:
        """Return how far the result is from the minimum: ASGD's result is its average."""
        averaged = self.opt.averages() if self.optimizer == "ASGD" else self.params
        return self.problem.gap(averaged)

    def arrive(self, limit: int) -> bool:
        """Step until the target is reached, or it cannot be within ``limit`` evaluations."""
        far = TOO_FAR * self.problem.gap(self.params)
        while self.evaluations < limit:
            for _ in range(self.problem.every):
                self.step()
            gap = self.gap()
            if gap <= self.problem.target:
                return self.evaluations <= limit
            if not gap <= far:
                return False
        return False

    def seconds(self, steps: int) -> float:
        """Return the time of so many steps, with their evaluations and nothing else."""
        start = perf_counter()
        for _ in range(steps):
            self.step()
        return perf_counter() - start


def solve(problem: str, optimizer: str, options: dict[str, Any], rates: list[float],
          sparse: bool = False, quick: bool = False) -> dict[str, Any] | None:  # fmt: skip
    """Return rate, evaluations, steps and seconds to the target with the best of the rates, or None.

    Where batches are random, the best rate of the first seed runs on others too, and the median counts.
    """
    more = {"sparse": True} if sparse else {}
    made = [
        PROBLEMS[problem](seed, **more) for seed in range(SEEDS if problem in RANDOM and not quick else 1)
    ]
    with np.errstate(all="ignore"):  # too large a rate ends at inf or NaN, as it may
        best = _best_rate(made[0], optimizer, options, rates)
        if best is None:
            return None
        runs = [best, *(Run(one, optimizer, options, best.lr) for one in made[1:])]
        arrived = [run for run in runs if run is best or run.arrive(run.problem.limit)]
        if len(arrived) <= len(runs) // 2:
            return None
        middle = sorted(arrived, key=lambda run: run.evaluations)[len(runs) // 2]
        spent = [Run(middle.problem, optimizer, options, best.lr).seconds(middle.steps) for _ in range(3)]
    return {"lr": best.lr, "evaluations": middle.evaluations, "steps": middle.steps,
            "seconds": statistics.median(spent)}  # fmt: skip


@functools.cache
def _made(problem: str, seed: int, sparse: bool) -> Problem:
    """Return a problem; it is made once for all optimizers."""
    return PROBLEMS[problem](seed, **({"sparse": True} if sparse else {}))


def _best_rate(problem: Problem, optimizer: str, options: dict[str, Any], rates: list[float]) -> Run | None:
    """Return the run that arrives first, over rates from the largest down to two that do worse."""
    best, limit, worse = None, problem.limit, 0
    for lr in sorted(rates, reverse=True):
        run = Run(problem, optimizer, options, lr)
        if run.arrive(limit):
            best, limit, worse = run, run.evaluations - 1, 0
        elif best is not None:
            worse += 1
        if worse == 2:
            break
    return best
