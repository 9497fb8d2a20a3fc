"""The 35 problems of Moré, Garbow and Hillstrom: the published minima, and what it takes to reach them."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import scipy.optimize

import nbopt
from validation.garbow import PROBLEMS
from validation.peers import Entry, Peers
from validation.report import Section, table

OURS, RIVAL, DENSE = "nbopt lbfgs", "scipy L-BFGS-B", "scipy BFGS"
SOLVERS = {OURS: None, RIVAL: "L-BFGS-B", DENSE: "BFGS"}
# Each problem is compiled: about half a second.
QUICK = ("Rosenbrock", "Beale", "Powell badly scaled", "Wood", "Brown and Dennis", "Kowalik and Osborne")


def solve(name: str) -> dict[str, dict[str, Any]]:
    """Solve a problem by all solvers, with default options and the same exact gradient."""
    problem, found = PROBLEMS[name], {}
    start, exact = np.array(problem.start), nbopt.value_and_grad(problem.fun)
    for solver, method in SOLVERS.items():
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")  # where a search goes far
            if method is None:
                result = nbopt.minimize(problem.fun, start, jac="dual")
            else:
                result = scipy.optimize.minimize(exact, start, jac=True, method=method)
        found[solver] = {
            "fun": float(result.fun), "nfev": int(result.nfev), "minimum": problem.reached(float(result.fun)),
        }  # fmt: skip
    return found


def run(peers: Peers, quick: bool, folder: Path) -> Section:
    """Solve every problem from its standard start."""
    names = QUICK if quick else tuple(PROBLEMS)
    section = Section("The 35 problems of Moré, Garbow and Hillstrom")
    found = {name: peers.call(Entry.of(f"{__name__}:solve", name=name)) for name in names}
    section.blocks.append(
        f"{len(names)} of the 35 problems of ACM TOMS 7 (1981), standard starts, default options. Ours takes "
        "the gradient by dual numbers from the `@njit` function; scipy's are handed the same gradient. In "
        "each cell: the value reached and the evaluations of value and gradient. Bold: a minimum that the "
        "paper gives (others than the one shown are local), to four digits; 0 counts as reached at 1e-6, or "
        "at a millionth of the first value if that is below 1."
    )
    rows = [[f"{name}, n = {PROBLEMS[name].n}", f"{PROBLEMS[name].minima[0]:g}",
             *(_cell(result) for result in found[name].values())] for name in names]  # fmt: skip
    reached = {s: {n for n in names if found[n][s]["minimum"] is not None} for s in SOLVERS}
    both = reached[OURS] & reached[RIVAL]
    totals = {s: sum(found[n][s]["nfev"] for n in both) for s in (OURS, RIVAL)}
    rows.append(["**published minima reached**", "", *(str(len(reached[s])) for s in SOLVERS)])
    rows.append([f"**evaluations on the {len(both)} that both L-BFGS reach**", "",
                 *(str(totals.get(s, "")) for s in SOLVERS)])  # fmt: skip
    section.blocks.append(table(["problem", "published", *SOLVERS], rows))
    for name in names:
        rivals = [s for s in SOLVERS if s != OURS and name in reached[s]]
        if rivals and name not in reached[OURS]:
            section.losses.append(f"{name}: {' and '.join(rivals)} reach the published minimum, ours not.")
    if totals[OURS] > totals[RIVAL]:
        section.losses.append(
            f"Moré, Garbow, Hillstrom: {totals[OURS]} evaluations, scipy's L-BFGS-B {totals[RIVAL]}."
        )
    return section


def _cell(result: dict[str, Any]) -> str:
    """Write the value and the evaluations."""
    value = f"{result['fun']:.6g}"
    return f"{value if result['minimum'] is None else f'**{value}**'} ({result['nfev']})"
