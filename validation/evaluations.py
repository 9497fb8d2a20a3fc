"""Evaluations: what it takes on the problems of Moré, Garbow and Hillstrom, beside three solvers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from validation.figures import COLOURS, plt, save
from validation.peers import Entry, Peers, installed
from validation.problems import PROBLEMS
from validation.report import Section, table

OURS, RIVAL = "nbopt lbfgs", "scipy L-BFGS-B"


def run(peers: Peers, quick: bool, folder: Path) -> Section:
    """Solve every problem with every solver, from the standard start with default options."""
    section = Section("Evaluations to converge")
    section.blocks.append(
        f"{len(PROBLEMS)} problems of Moré, Garbow and Hillstrom (1981), exact gradients, standard starts, "
        "default options (torch's LBFGS with strong Wolfe, scipy's `gtol`, history 10). The count is of "
        "values with gradients; a dash: the end lies farther from a known minimum than a millionth of the "
        "way from the start."
    )
    found = {name: _solve(peers, name) for name in PROBLEMS}
    solvers = list(next(iter(found.values())))
    rows = [[f"{name}, n = {len(PROBLEMS[name].start)}", *(_cell(results[s]) for s in solvers)]
            for name, results in found.items()]  # fmt: skip
    solved = {s: sum(r[s]["solved"] for r in found.values()) for s in solvers}
    rows.append(["**solved**", *(str(solved[s]) for s in solvers)])
    both = [r for r in found.values() if r[OURS]["solved"] and r[RIVAL]["solved"]]
    totals = {s: sum(r[s]["nfev"] for r in both) for s in (OURS, RIVAL)}
    rows.append([f"**evaluations on the {len(both)} that both L-BFGS solve**",
                 *(str(totals[s]) if s in totals else "" for s in solvers)])  # fmt: skip
    section.blocks.append(table(["problem", *solvers], rows))
    section.blocks.append(save(_figure(found), folder, "evaluations", "evaluations, ours over scipy's"))
    if both:
        section.worst("evaluations", {"": totals[OURS] / totals[RIVAL]})
    rivals = [solved[s] for s in solvers if s != OURS]
    section.worst("solved", {"": solved[OURS] - max(rivals)})
    if not installed("torch"):
        section.missing.append("torch's LBFGS on these problems: torch is not installed.")
    for name, r in found.items():
        others = [s for s in solvers if r[s]["solved"] and s != OURS]
        if others and not r[OURS]["solved"]:
            section.losses.append(f"{name}: solved by {', '.join(others)}, not by ours.")
    return section


def _solve(peers: Peers, name: str) -> dict[str, dict[str, Any]]:
    """Return what each solver needed and whether it arrived."""
    entries = {OURS: Entry.of("validation.cases_nbopt:problem", name=name)}
    for method in ("L-BFGS-B", "BFGS"):
        entries[f"scipy {method}"] = Entry.of("validation.cases_scipy:problem", name=name, method=method)
    if installed("torch"):
        one = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        entries["torch LBFGS"] = Entry.of("validation.cases_torch:problem", one, name=name)
    results = {solver: peers.call(entry) for solver, entry in entries.items()}
    for result in results.values():
        result["solved"] = PROBLEMS[name].solved(result["fun"])
    return results


def _cell(result: dict[str, Any]) -> str:
    return str(result["nfev"]) if result["solved"] else f"- ({result['nfev']})"


def _figure(found: dict[str, dict[str, Any]]) -> Any:
    """Draw our evaluations over L-BFGS-B's for each problem that both solve, best first."""
    shares = {n: r[OURS]["nfev"] / r[RIVAL]["nfev"] for n, r in found.items()
              if r[OURS]["solved"] and r[RIVAL]["solved"]}  # fmt: skip
    names = sorted(shares, key=lambda n: -shares[n])
    figure, ax = plt.subplots(figsize=(6.4, 0.6 + 0.22 * len(names)))
    for k, name in enumerate(names):
        better = shares[name] <= 1
        ax.plot([1, shares[name]], [k, k], color="#d1d5db", lw=2, zorder=1)
        ax.plot(shares[name], k, "o", color=COLOURS["nbopt" if better else "torch default"], zorder=2)
    ax.axvline(1, color=COLOURS["limit"], lw=1)
    ax.set_yticks(range(len(names)), names, fontsize=8)
    ax.set_xscale("log")
    ticks = [
        t
        for t in (0.25, 0.5, 0.75, 1, 1.5, 2, 4)
        if min(shares.values()) / 1.3 < t < max(shares.values()) * 1.3
    ]
    ax.set_xticks(ticks, [f"{t:g}" for t in ticks])
    ax.set_xticks([], minor=True)
    ax.set_xlabel("our evaluations over those of scipy's L-BFGS-B (left: we need fewer)")
    ax.grid(axis="y", visible=False)
    return figure
