"""Choosing: every optimizer on six problems of different kinds, with the best of a few learning rates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from validation.choosing_problems import NEEDS_SKLEARN, PROBLEMS
from validation.figures import plt, save
from validation.peers import Entry, Peers, installed
from validation.report import Section, span, table

RATES = (1e-4, 3e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0)
# Its name here: its class, its options, and the smallest and largest of the rates that are tried.
OPTIMIZERS: dict[str, tuple[str, dict[str, Any], float, float]] = {
    "LBFGS": ("LBFGS", {"line_search_fn": "strong_wolfe", "max_iter": 1, "history_size": 10}, 1.0, 1.0),
    "SGD": ("SGD", {}, 3e-4, 100.0),
    "SGD, momentum": ("SGD", {"momentum": 0.9}, 1e-4, 30.0),
    "Adam": ("Adam", {}, 1e-3, 3.0),
    "AdamW": ("AdamW", {}, 1e-3, 3.0),
    "Adamax": ("Adamax", {}, 1e-3, 3.0),
    "NAdam": ("NAdam", {}, 1e-3, 3.0),
    "RAdam": ("RAdam", {}, 1e-3, 3.0),
    "RMSprop": ("RMSprop", {}, 1e-4, 0.3),
    "Adagrad": ("Adagrad", {}, 0.01, 10.0),
    "Adadelta": ("Adadelta", {}, 0.1, 300.0),
    "Rprop": ("Rprop", {}, 1e-3, 0.3),
    "ASGD": ("ASGD", {"t0": 100}, 3e-4, 100.0),
    "SparseAdam": ("SparseAdam", {}, 1e-3, 1.0),
    "Adafactor": ("Adafactor", {}, 0.01, 1.0),
    "Muon": ("Muon", {"weight_decay": 0.0}, 3e-3, 0.3),
}
QUICK = "Rosenbrock", "noisy least squares"
SPARSE, MATRICES = "sparse embedding", ("small network", "sparse embedding")
TAKE_ROWS = "SGD", "Adagrad", "SparseAdam"  # momentum moves all rows: it takes dense gradients
NOT_REACHED, NOT_FOR_IT = "-", ""
Found = dict[tuple[str, str], dict[str, Any] | None]


def run(peers: Peers, quick: bool, folder: Path) -> Section:
    """Let every optimizer loose on every problem that it takes."""
    section = Section("Choosing an optimizer")
    problems = list(QUICK if quick else PROBLEMS)
    if not installed("sklearn"):
        problems = [name for name in problems if name not in NEEDS_SKLEARN]
        section.missing.append(
            f"{' and '.join(NEEDS_SKLEARN)}: scikit-learn, which has the data, is missing."
        )
    found = {(problem, name): _solve(peers, problem, name, quick)
             for problem in problems for name in OPTIMIZERS if applies(problem, name)}  # fmt: skip
    section.blocks += [
        "Steps to the target, time (the gradients' included), and the best of the learning rates below. "
        f'"{NOT_REACHED}": no rate reached the target in the steps allowed; empty: the optimizer is not made '
        "for such parameters. Options are the defaults but for those named below.",
        table(["", *problems], [[name, *(_cell(found, p, name) for p in problems)] for name in OPTIMIZERS]),
        save(_figure(found, problems), folder, "choosing", "steps and time to the target, by colour"),
        "\n".join(f"- **{name}**: {_about(name)}" for name in problems),
        _grid(quick),
    ]
    return section


def applies(problem: str, name: str) -> bool:
    """Tell whether an optimizer takes the parameters and gradients of a problem."""
    return {"Muon": problem in MATRICES, "SparseAdam": problem == SPARSE}.get(name, True)


def rates(name: str, quick: bool) -> list[float]:
    """Return the learning rates that are tried: two in a decade, or one."""
    _, _, low, high = OPTIMIZERS[name]
    return [r for r in RATES if low <= r <= high][:: -2 if quick else -1]


def _solve(peers: Peers, problem: str, name: str, quick: bool) -> dict[str, Any] | None:
    """Run an optimizer in nbopt's process."""
    optimizer, options, _, _ = OPTIMIZERS[name]
    tried = rates(name, quick)
    given: dict[str, Any] = {"problem": problem, "optimizer": optimizer, "options": options, "rates": tried}
    sparse = problem == SPARSE and name in TAKE_ROWS
    return peers.call(Entry.of("validation.choosing_runs:solve", **given, sparse=sparse, quick=quick))


def _cell(found: Found, problem: str, name: str) -> str:
    if (problem, name) not in found:
        return NOT_FOR_IT
    seen = found[problem, name]
    return f"{seen['steps']}, {span(seen['seconds'])}, {seen['lr']:g}" if seen else NOT_REACHED


def _about(problem: str) -> str:
    """Say what a problem is, from its docstring, and when it counts as solved."""
    what, made = (PROBLEMS[problem].__doc__ or "").splitlines()[0], PROBLEMS[problem](0)
    return (
        f"{what} Solved: {made.target:.2g} above the minimum (at the start {made.gap(made.start):.2g}), "
        f"looked at every {made.every} steps; given up after {made.limit} evaluations."
    )


def _grid(quick: bool) -> str:
    """Say which rates and options were tried."""
    rows = []
    for name, (optimizer, options, _, _) in OPTIMIZERS.items():
        call = f"`{optimizer}({', '.join(f'{k}={v!r}' for k, v in options.items())})`"
        rows.append([name, call, ", ".join(f"{r:g}" for r in rates(name, quick))])
    text = (
        "Rates are tried from the largest down, until two in a row do worse. LBFGS makes one iteration a "
        "step, at about two evaluations; of ASGD the average counts. Where batches are random, the best rate "
        "of the first seed runs with two other seeds, and the median counts."
    )
    return f"{text}\n\n{table(['', 'made by', 'rates'], rows)}"


def _figure(found: Found, problems: list[str]) -> Any:
    """Colour each cell by how many times more steps it took than the best of its column."""
    figure, ax = plt.subplots(figsize=(2.6 + 1.25 * len(problems), 1.2 + 0.36 * len(OPTIMIZERS)))
    ratios = np.full((len(OPTIMIZERS), len(problems)), np.nan)
    for column, problem in enumerate(problems):
        for row, name in enumerate(OPTIMIZERS):
            seen = found.get((problem, name))
            middle = {"ha": "center", "va": "center"}
            if seen:
                ratios[row, column] = seen["steps"]
                ax.text(column, row - 0.13, str(seen["steps"]), fontsize=9, **middle)
                ax.text(column, row + 0.27, span(seen["seconds"]), fontsize=6.5, **middle)
            elif (problem, name) in found:
                ax.text(column, row, "not reached", fontsize=7, color="#9ca3af", **middle)
    ratios /= np.nanmin(ratios, axis=0)
    image = ax.imshow(np.log10(ratios), cmap="RdYlGn_r", vmin=0, vmax=2, aspect="auto", alpha=0.75)
    ax.set_xticks(range(len(problems)), [p.replace(" ", "\n", 1) for p in problems])
    ax.set_yticks(range(len(OPTIMIZERS)), list(OPTIMIZERS))
    ax.tick_params(length=0, top=True, labeltop=True, bottom=False, labelbottom=False)
    ax.grid(visible=False)
    ax.spines[:].set_visible(False)
    bar = figure.colorbar(image, ax=ax, pad=0.02, shrink=0.6)
    bar.set_ticks([0, 1, 2], labels=["1x", "10x", "100x"])
    bar.set_label("steps, beside the best of the column")
    return figure
