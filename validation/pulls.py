"""Pulls of robust fits: how far parameters lie from the truth in units of their errors, ours and scipy's."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from validation.coverage import EXPERIMENTS, Experiment
from validation.figures import COLOURS, plt, save
from validation.report import Section, table

# A loss with the f_scale, in standard deviations of the noise, that it is usually taken at.
LOSSES = {"huber": 1.345, "soft_l1": 1.345, "cauchy": 2.385, "arctan": 3.0}
NOISES = ("normal", "10 % outliers", "t, 3 degrees")
MODELS = ("a peak", "a decay", "a saturation")
WAYS = ("ours", "scipy's, scaled", "scipy's, absolute")
LEVEL = 0.95


class Found(NamedTuple):
    """Of one model, noise, size and loss: pulls by way, fit and parameter, and shares of intervals."""

    pulls: np.ndarray
    by_errors: float
    by_profile: float
    failed: int

    def spread(self) -> np.ndarray:
        """Return the root mean squares of the pulls for each way."""
        return np.sqrt(np.mean(self.pulls**2, axis=(1, 2)))


Runs = dict[tuple[str, int, str], list[Found]]


def noise_of(kind: str, rng: np.random.Generator, n: int) -> np.ndarray:
    """Draw noise; the bulk of it has a standard deviation of about 1."""
    if kind == "t, 3 degrees":
        return rng.standard_t(3, n)
    e = rng.standard_normal(n)
    return np.where(rng.random(n) < 0.1, 10.0 * e, e) if kind == "10 % outliers" else e


def _pseudo_inverse(J: np.ndarray) -> np.ndarray:
    """Return the inverse of J'J as scipy's curve_fit finds it."""
    _, s, V = np.linalg.svd(J, full_matrices=False)
    keep = s > np.finfo(float).eps * max(J.shape) * s[0]
    return (V[keep].T / s[keep] ** 2) @ V[keep]


def simulate(case: Experiment, kind: str, n: int, loss: str, fits: int, profiles: int) -> Found:
    """Fit so many experiments, and ask the first for profile intervals, too."""
    from nbopt import fit

    rng, x, true = np.random.default_rng(n), np.linspace(case.x[0], case.x[-1], n), np.array(case.true)
    mean, pulls, held, failed = case.model(x, *true), [], np.zeros(2), 0
    for trial in range(fits):
        y = mean + case.sigma * noise_of(kind, rng, n)
        result = fit(case.model, x, y, true, sigma=case.sigma, loss=loss, f_scale=LOSSES[loss])
        if not result.success or not np.isfinite(result.cov).all():
            failed += 1
            continue
        theirs = np.diag(_pseudo_inverse(result.sandwich.scaled))
        variances = np.array([np.diag(result.cov), theirs * result.redchi, theirs])
        pulls.append((result.x - true) / np.sqrt(variances))
        held[0] += np.mean(np.abs(pulls[-1][0]) <= result.quantile(LEVEL))
        if trial < profiles:
            ends = np.array(list(result.conf_int(LEVEL).values()))
            held[1] += np.mean((ends[:, 0] <= true) & (true <= ends[:, 1]))
    shares = held / (len(pulls), profiles)
    return Found(np.array(pulls).swapaxes(0, 1), float(shares[0]), float(shares[1]), failed)


def add(section: Section, quick: bool, folder: Path) -> None:
    """Simulate, and add what was found to a section."""
    fits, profiles = (10, 2) if quick else (1000, 150)
    sizes, losses = ((30,), ("huber",)) if quick else ((30, 200), tuple(LOSSES))
    models = [EXPERIMENTS[name].plain() if quick else EXPERIMENTS[name] for name in MODELS]
    found: Runs = {
        (kind, n, loss): [simulate(model, kind, n, loss, fits, profiles) for model in models]
        for kind in NOISES
        for n in sizes
        for loss in losses
    }
    section.blocks += [
        "### Errors of robust fits",
        f"{fits} simulated experiments with each of three models ({', '.join(MODELS)}), fitted by `fit` from "
        "the truth; a pull is the distance of a parameter from the truth in units of its standard error, and "
        "should have a standard deviation of 1 (a little more for 30 points, whose errors are estimated). "
        "Ours is Huber's sandwich, whatever `absolute_sigma` says. scipy's formula is the inverse of the "
        "scaled J'J, times the reduced cost or (`absolute_sigma=True`) not. Means over models, in brackets "
        f"the worst model; then how many {LEVEL:.0%} intervals held the truth, by our standard errors and "
        f"(in {profiles} experiments) by `conf_int`. Outliers are 10 times as wide as the rest.",
        table(*rows_of(found)),
        save(_figure(found), folder, "pulls", "standard deviations of pulls: a dot for each model"),
    ]
    wide = [f"{loss}, {n} points, {kind}" for (kind, n, loss), f in found.items()
            if not quick and max(each.spread()[0] for each in f) > 1.1]  # fmt: skip
    if wide:
        section.losses.append(
            f"Robust errors: pulls wider than 1.1 with some model: {'; '.join(wide)}. These losses do not "
            "tame an outlier at a point that alone determines a parameter; how many intervals hold the "
            "truth all the same "
            "stands in the table."
        )
    failed = sum(each.failed for f in found.values() for each in f)
    if failed:
        section.losses.append(f"{failed} robust fits of {fits * len(MODELS) * len(found)} knew no errors.")


def rows_of(found: Runs) -> tuple[list[str], list[list[str]]]:
    """Return header and rows of the table."""
    rows = []
    for (kind, n, loss), f in found.items():
        spreads = np.array([each.spread() for each in f])
        worst = spreads[np.argmax(np.abs(np.log(spreads)), axis=0), np.arange(len(WAYS))]
        cells = [f"{a:.2f} ({b:.2f})" for a, b in zip(spreads.mean(axis=0), worst, strict=True)]
        shares = np.mean([[each.by_errors, each.by_profile] for each in f], axis=0)
        rows.append([f"{kind}, {n} points", loss, *cells, *(f"{share:.1%}" for share in shares)])
    header = ["noise", "loss", *WAYS, f"{LEVEL:.0%} by errors", f"{LEVEL:.0%} by `conf_int`"]
    return header, rows


def _figure(found: Runs) -> Any:
    """Draw the standard deviations: a dot for each model."""
    sizes, losses = (list(dict.fromkeys(key[k] for key in found)) for k in (1, 2))
    figure, axes = plt.subplots(1, len(sizes), figsize=(8, 1 + 0.25 * len(NOISES) * len(losses)),
                                sharey=True, squeeze=False)  # fmt: skip
    labels = [f"{kind}: {loss}" for kind in NOISES for loss in losses][::-1]
    colours = [COLOURS[name] for name in ("nbopt", "scipy", "scipy, Python fun")]
    for ax, n in zip(axes[0], sizes, strict=True):
        ax.axvline(1.0, color=COLOURS["limit"], lw=1)
        for kind in NOISES:
            for loss in losses:
                y = labels.index(f"{kind}: {loss}")
                spreads = np.array([each.spread() for each in found[kind, n, loss]])
                for k in (2, 1, 0):
                    ax.plot(spreads[:, k], np.full(len(spreads), y), "o", ms=5, color=colours[k],
                            label="" if y else WAYS[k])  # fmt: skip
        ax.set_title(f"{n} points")
        ax.set_xlabel("standard deviation of pulls")
    axes[0][0].set_yticks(range(len(labels)), labels, fontsize=8)
    figure.tight_layout()
    dots = axes[0][0].get_legend_handles_labels()
    figure.legend(*dots, loc="lower center", ncols=3, bbox_to_anchor=(0.5, -0.08))
    return figure
