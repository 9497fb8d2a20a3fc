"""Robust: fits of data with outliers by scipy's losses, beside scipy; and what their errors are worth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from validation import pulls
from validation.figures import COLOURS, plt, save
from validation.peers import Entry, Peers
from validation.report import Section, span, table, times

LOSSES = ("linear", "soft_l1", "huber", "cauchy", "arctan")
FITTERS = ("nbopt, @njit", "nbopt, Python", "scipy trf")
MODELS = ("decay", "wave", "peak on a slope")
Runs = dict[tuple[str, str], dict[str, dict[str, Any]]]


def run(peers: Peers, quick: bool, folder: Path) -> Section:
    """Fit each model by each loss."""
    section = Section("Robust losses")
    section.blocks.append(
        "`least_squares` on 100 points with normal errors, every tenth an outlier of 10 to 30 times that. "
        "The distance is that of the worst parameter from what made the data; evaluations are calls of the "
        "residuals, those of differences included; times are the best of four whole calls."
    )
    found: Runs = {
        (model, loss): {f: peers.call(_entry(model, loss, f)) for f in FITTERS}
        for model in (MODELS[:1] if quick else MODELS)
        for loss in LOSSES
    }
    rows = [_row(*key, results) for key, results in found.items()]
    header = ["model", "loss", "distance", "cost over scipy's, less 1", "evaluations: @njit, Python, scipy",
              "time: @njit, Python, scipy", "scipy's over @njit's"]  # fmt: skip
    section.blocks.append(table(header, rows))
    section.blocks.append(save(_figure(found), folder, "robust", "distance from the truth with every loss"))
    for (model, loss), r in found.items():
        for f in FITTERS[:2]:
            if r[f]["cost"] > r["scipy trf"]["cost"] * (1.0 + 1e-6):
                section.losses.append(f"{model}, {loss}: scipy's least_squares ends lower than {f}.")
            if r[f]["seconds"] > r["scipy trf"]["seconds"]:
                section.losses.append(f"{model}, {loss}: scipy's least_squares takes less time than {f}.")
    pulls.add(section, quick, folder)
    return section


def _entry(model: str, loss: str, fitter: str) -> Entry:
    return Entry.of("validation.cases_fitting:robust_run", name=model, loss=loss, fitter=fitter)


def _row(model: str, loss: str, r: dict[str, dict[str, Any]]) -> list[str]:
    """Return a line of the table."""
    theirs = r["scipy trf"]
    excess = max(r[f]["cost"] for f in FITTERS[:2]) / theirs["cost"] - 1.0
    return [
        model, loss, f"{r[FITTERS[0]]['distance']:.3f}", f"{excess:.0e}",
        ", ".join(str(r[f]["nfev"]) for f in FITTERS), ", ".join(span(r[f]["seconds"]) for f in FITTERS),
        times(theirs["seconds"] / r[FITTERS[0]]["seconds"]),
    ]  # fmt: skip


def _figure(found: Runs) -> Any:
    """Draw the distance from the truth for each loss, a line for each model."""
    figure, ax = plt.subplots(figsize=(6.4, 3.2))
    colours = (COLOURS["nbopt"], COLOURS["scipy"], COLOURS["torch fused"])
    for model, colour in zip(MODELS, colours, strict=True):
        points = [found[model, loss][FITTERS[0]]["distance"] for loss in LOSSES if (model, loss) in found]
        if points:
            ax.plot(range(len(points)), points, "o-", color=colour, label=model)
    ax.set_xticks(range(len(LOSSES)), LOSSES)
    ax.set(yscale="log", ylabel="worst parameter from the truth")
    ax.legend()
    return figure
