"""Evaluations: what it takes on the problems of Moré, Garbow and Hillstrom, beside three solvers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from validation.figures import COLOURS, plt, save
from validation.peers import Entry, Peers, installed
from validation.problems import PROBLEMS
from validation.report import Section, table

OURS, RIVAL, STRICT = "nbopt lbfgs", "scipy L-BFGS-B", "nbopt, ftol=1e-15"


def run(peers: Peers, quick: bool, folder: Path) -> Section:
    """Solve every problem with every solver, from the standard start with default options."""
    section = Section("Evaluations to converge")
    section.blocks.append(
        f"{len(PROBLEMS)} problems of Moré, Garbow and Hillstrom (1981), exact gradients, standard starts, "
        "default options (torch's LBFGS with strong Wolfe, scipy's `gtol`, history 10). The count is of "
        "values with gradients; a dash: the value agrees with no known minimum to four digits (to a "
        "millionth where that is 0)."
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
    rivals = [solved[s] for s in solvers if s not in (OURS, STRICT)]
    why = f"with `ftol=1e-15` ours solves {solved[STRICT]} of {len(found)}"
    section.worst("solved", {"": solved[OURS] - max(rivals)}, why={"": why})
    if not installed("torch"):
        section.missing.append("torch's LBFGS on these problems: torch is not installed.")
    for name, r in found.items():
        others = [s for s in solvers if r[s]["solved"] and s not in (OURS, STRICT)]
        if others and not r[OURS]["solved"]:
            section.losses.append(f"{name}: solved by {', '.join(others)}, not by ours.")
    return section


def _solve(peers: Peers, name: str) -> dict[str, dict[str, Any]]:
    """Return what each solver needed and whether it arrived."""
    entries = {OURS: Entry.of("validation.cases_nbopt:problem", name=name)}
    for method in ("L-BFGS-B", "BFGS"):
        entries[f"scipy {method}"] = Entry.of("validation.cases_scipy:problem", name=name, method=method)
    entries[STRICT] = Entry.of("validation.cases_nbopt:problem", name=name, ftol=1e-15)
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
    """Draw the evaluations of every solver on the problems that it solves, the easy ones on top."""
    names = sorted(found, key=lambda n: -found[n][OURS]["nfev"])
    marks = {OURS: ("o", "nbopt"), RIVAL: ("D", "scipy"), "scipy BFGS": ("x", "torch default"),
             "torch LBFGS": ("s", "torch foreach")}  # fmt: skip
    figure, ax = plt.subplots(figsize=(7.4, 0.9 + 0.21 * len(names)))
    for solver, (mark, colour) in reversed(marks.items()):
        points = [(found[name][solver]["nfev"], k) for k, name in enumerate(names)
                  if solver in found[name] and found[name][solver]["solved"]]  # fmt: skip
        if points:
            size = 8 if solver == OURS else 6
            ax.plot(*zip(*points, strict=True), mark, ms=size, color=COLOURS[colour], label=solver, alpha=0.9)
    ax.set_yticks(range(len(names)), names, fontsize=8)
    ax.set_xscale("log")
    ax.set_xticks([10, 20, 50, 100, 200], ["10", "20", "50", "100", "200"])
    ax.set_xticks([], minor=True)
    ax.set_xlabel("evaluations to converge; no mark where it was not solved")
    ax.legend(loc="upper center", ncols=4, bbox_to_anchor=(0.4, 1.08), fontsize=8)
    return figure
