"""Coverage: how often the intervals of fit() hold the truth, in simulated experiments, and MINOS beside."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from validation.figures import COLOURS, plt, save
from validation.peers import Peers, installed
from validation.report import Section, span, table

LEVELS = (math.erf(math.sqrt(0.5)), 0.95)
KINDS = ("standard error", "profile")


@njit
def peak(x, height, centre, width, base):
    return height * np.exp(-0.5 * ((x - centre) / width) ** 2) + base


@njit
def decay(x, a, rate, base):
    return a * np.exp(-rate * x) + base


@njit
def saturation(x, top, half):
    return top * x / (half + x)


class Experiment(NamedTuple):
    """A model, the truth, and how its data come about: noise of a known or unknown size, or counts."""

    model: Callable[..., Any]
    x: np.ndarray
    true: tuple[float, ...]
    sigma: float
    noise: str

    def plain(self) -> Experiment:
        """Return the same with the model not compiled, for a few experiments."""
        return self._replace(model=getattr(self.model, "py_func", self.model))

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """Return the data of one experiment."""
        mean = self.model(self.x, *self.true)
        return rng.poisson(mean).astype(float) if self.noise == "counts" else rng.normal(mean, self.sigma)

    def fit(self, y: np.ndarray) -> Any:
        """Fit the data of one experiment, from the truth."""
        from nbopt import fit

        if self.noise == "counts":
            return fit(self.model, self.x, y, self.true, cost="poisson")
        known = self.noise == "known errors"
        return fit(self.model, self.x, y, self.true, sigma=self.sigma, absolute_sigma=known)


EXPERIMENTS = {
    "a peak": Experiment(peak, np.linspace(-4.0, 4.0, 40), (3.0, 0.4, 1.1, 0.5), 0.3, "known errors"),
    "a decay": Experiment(decay, np.linspace(0.0, 5.0, 12), (2.5, 1.3, 0.4), 0.15, "estimated errors"),
    "a saturation": Experiment(saturation, np.linspace(0.2, 6.0, 10), (4.0, 1.5), 0.25, "estimated errors"),
    "a peak of counts": Experiment(peak, np.linspace(-4.0, 4.0, 40), (20.0, 0.4, 1.1, 4.0), 0.0, "counts"),
}


@dataclass
class Found:
    """How often each kind of interval held the truth, by kind, level and parameter; and MINOS."""

    held: np.ndarray
    fits: int = 0
    failed: int = 0
    seconds: list[float] = field(default_factory=list)
    differences: list[float] = field(default_factory=list)
    minos_seconds: list[float] = field(default_factory=list)

    def shares(self) -> np.ndarray:
        """Return the shares, of shape (kinds, levels, parameters)."""
        return self.held / max(self.fits, 1)


def run(peers: Peers, quick: bool, folder: Path) -> Section:
    """Simulate experiments and count; compare some of the intervals with MINOS."""
    n, minos = (12, 2) if quick else (3000, 200)
    section = Section("Intervals that hold the truth")
    section.blocks.append(
        f"{n} simulated experiments for each model: data are drawn, `fit` is called, and each interval that "
        "holds the true parameter counts. Standard errors give the interval that `FitResult` would "
        "(normal quantiles where the errors of the data are known, Student's t where they are estimated); "
        "the profile is `conf_int`. Shares are means over the parameters, and in brackets those of the "
        f"worst; by chance alone that of one parameter strays by {_chance(n, 0):.1%} and {_chance(n, 1):.1%}."
    )
    cases = {name: case.plain() if quick else case for name, case in EXPERIMENTS.items()}
    found = {name: simulate(case, n, minos, seed) for seed, (name, case) in enumerate(cases.items())}
    section.blocks.append(table(*_coverage_table(found)))
    section.blocks.append(save(_figure(found, n), folder, "coverage", "how often intervals held the truth"))
    departures = {
        f"{name}, {level:.0%}": float(abs(f.shares()[1, k].mean() - level))
        for name, f in found.items()
        for k, level in enumerate(LEVELS)
    }
    if quick:
        section.missing.append(f"The budget of coverage: {n} experiments are too few to tell.")
    else:
        section.worst("coverage", {k: 100.0 * v for k, v in departures.items()}, largest=True)
    _beside_minos(section, found, minos)
    failed = {name: f.failed for name, f in found.items() if f.failed}
    section.losses += [f"{count} of {n} fits of {name} did not converge." for name, count in failed.items()]
    return section


def simulate(case: Experiment, n: int, minos: int, seed: int) -> Found:
    """Return what was counted in ``n`` experiments, the first ``minos`` of them with MINOS beside."""
    rng, true = np.random.default_rng(seed), np.array(case.true)
    found = Found(np.zeros((len(KINDS), len(LEVELS), true.size)))
    compare = minos if installed("iminuit") else 0
    case.fit(case.draw(rng)).conf_int()  # compiles
    for trial in range(n):
        result = case.fit(case.draw(rng))
        if not result.success:
            found.failed += 1
            continue
        found.fits += 1
        errors = np.array([p.stderr for p in result.params.values()])
        for k, level in enumerate(LEVELS):
            began = perf_counter()
            intervals = np.array(list(result.conf_int(level).values()))
            found.seconds.append(perf_counter() - began)
            quantile = result.quantile(level)
            found.held[0, k] += abs(true - result.x) <= quantile * errors
            found.held[1, k] += (intervals[:, 0] <= true) & (true <= intervals[:, 1])
            if trial < compare and k == 0:
                found.differences.append(_difference(case, result, intervals, quantile, found.minos_seconds))
    return found


def _difference(
    case: Experiment, result: Any, intervals: np.ndarray, quantile: float, seconds: list
) -> float:
    """Return the largest difference to MINOS, in standard errors."""
    from iminuit import Minuit

    data, model = result.problem.data, case.plain().model

    def chisqr(p: np.ndarray) -> float:
        mu = model(data.x, *p)
        if case.noise == "counts":
            return float(
                2.0 * np.sum(mu - data.y + np.where(data.y > 0.0, data.y * np.log(data.y / mu), 0.0))
            )
        return float(np.sum(((data.y - mu) / case.sigma) ** 2))

    minuit = Minuit(chisqr, result.x)
    minuit.errordef, minuit.strategy, minuit.tol = quantile**2 * result.variance, 2, 1e-6
    with np.errstate(all="ignore"):
        minuit.migrad()
        began = perf_counter()
        minuit.minos()
    seconds.append(perf_counter() - began)
    ends = np.array([[m.lower, m.upper] for m in minuit.merrors.values()]) + np.array(minuit.values)[:, None]
    errors = np.array([p.stderr for p in result.params.values()])
    return float(np.max(np.abs(ends - intervals) / errors[:, None]))


def _chance(n: int, k: int) -> float:
    """Return the standard error of a share."""
    return math.sqrt(LEVELS[k] * (1.0 - LEVELS[k]) / n)


def _coverage_table(found: dict[str, Found]) -> tuple[list[str], list[list[str]]]:
    """Return header and rows: one row for each model and kind of interval."""
    rows = []
    for name, f in found.items():
        for i, kind in enumerate(KINDS):
            row = [f"{name}, {EXPERIMENTS[name].noise}", kind]
            for k, level in enumerate(LEVELS):
                shares = f.shares()[i, k]
                worst = shares[np.argmax(np.abs(shares - level))]
                row.append(f"{shares.mean():.1%} ({worst:.1%})")
            rows.append(row)
    return ["model and noise", "interval", *(f"{level:.1%}" for level in LEVELS)], rows


def _beside_minos(section: Section, found: dict[str, Found], count: int) -> None:
    """Add what MINOS makes of the same data."""
    if not installed("iminuit"):
        section.missing.append("Intervals beside MINOS: iminuit is not installed.")
        return
    rows = []
    for name, f in found.items():
        times = [span(float(np.median(seconds))) for seconds in (f.seconds, f.minos_seconds)]
        rows.append([name, f"{np.median(f.differences):.1e}", f"{max(f.differences):.1e}", *times])
    section.blocks.append(
        f"The 68.3 % intervals of the first {count} experiments beside iminuit's MINOS (strategy 2, `tol` "
        "1e-6), whose model is the same function without compilation. Differences are in standard errors."
    )
    header = ["model", "difference, median", "largest", "`conf_int`, all parameters", "MINOS"]
    section.blocks.append(table(header, rows))
    section.worst("minos", {name: max(f.differences) for name, f in found.items()}, largest=True)


def _figure(found: dict[str, Found], n: int) -> Any:
    """Draw the shares of every parameter, with what chance does to them."""
    figure, axes = plt.subplots(1, len(LEVELS), figsize=(7.2, 0.9 + 0.5 * len(found)), sharey=True)
    names = list(found)[::-1]
    for k, (ax, level) in enumerate(zip(axes, LEVELS, strict=True)):
        ax.axvspan(
            level - 2 * _chance(n, k), level + 2 * _chance(n, k), color=COLOURS["torch default"], alpha=0.25
        )
        ax.axvline(level, color=COLOURS["limit"], lw=1)
        for i, (kind, colour) in enumerate(zip(KINDS, ("scipy", "nbopt"), strict=True)):
            for y, name in enumerate(names):
                shares = found[name].shares()[i, k]
                at = np.full(shares.size, y + 0.12 - 0.24 * i)
                ax.plot(shares, at, "o", ms=5, color=COLOURS[colour], label="" if y else kind)
        ax.set_title(f"{level:.1%}")
        ax.set_xlabel("share, a dot for each parameter")
    axes[0].set_yticks(range(len(names)), names)
    figure.tight_layout()
    dots = axes[0].get_legend_handles_labels()
    figure.legend(*dots, loc="lower center", ncols=2, bbox_to_anchor=(0.5, -0.08))
    return figure
