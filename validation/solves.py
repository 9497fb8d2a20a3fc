"""Solves: whole calls of minimize() beside scipy's L-BFGS-B, on compiled and on Python functions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from validation.figures import COLOURS, plt, save
from validation.peers import Entry, Peers, cores
from validation.report import Section, count, span, table, times
from validation.timing import Timing, ratio

# Above n = 1000 both stop after the same number of iterations: the chain takes about five per variable.
CASES = (
    *(("compiled", n, None) for n in (2, 10, 100, 1000)),
    *(("Python, lean", n, None) for n in (2, 10, 100)),
    *(("Python, NumPy", n, None) for n in (2, 10, 100, 1000)),
    *(("Python, NumPy", n, 100) for n in (10_000, 100_000)),
)

# Variables and iterations of the solves that threads share.
MANY = ((100_000, 60), (300_000, 60), (1_000_000, 30))
ONE_THREAD = {"NUMBA_NUM_THREADS": "1"}


def run(peers: Peers, quick: bool, folder: Path) -> Section:
    """Time whole solves of Rosenbrock's chain, and take them apart into iterations and evaluations."""
    section = Section("Solves: minimize() and scipy's L-BFGS-B")
    section.blocks.append(
        "Rosenbrock's chain of n variables from (-1.2, 1, ...), value and gradient in one function "
        "(`jac=True`), default options, the same function for both libraries: compiled (`@njit`); a lean "
        "Python function (it only calls the compiled one); one of NumPy calls (`rosen`, `rosen_der`). "
        "BLAS is pinned to one thread. Times are CPU times up to n = 1000, wall times above. "
        "An iteration is the time of the whole call less that of a call with "
        "`maxiter=1`, over the iterations between; our own time per evaluation is that of the call less what "
        "the function takes alone."
    )
    found = {
        case: _measure(peers, *case, quick) for case in CASES if not (quick and case[1] in (1000, 100_000))
    }
    rows = [_row(section, case, **parts) for case, parts in found.items()]
    header = ["function", "n", "nbopt", "scipy", "scipy / nbopt", "iterations", "evaluations",
              "per iteration", "ours per evaluation"]  # fmt: skip
    section.blocks.append(table(header, rows))
    section.blocks.append(save(_figure(found), folder, "solves", "time of a whole solve against n"))
    _many_variables(section, peers, quick)
    _python_budgets(section, {c: p for c, p in found.items() if c[0] != "compiled"})
    return section


def _many_variables(section: Section, peers: Peers, quick: bool) -> None:
    """Time solves of many variables on one thread and on all, beside scipy's."""
    rows = []
    for n, maxiter in MANY[:1] if quick else MANY:
        given = {"kind": "compiled", "n": n, "maxiter": maxiter}
        entries = {
            "all": Entry.of("validation.cases_nbopt:solve", **given),
            "one": Entry.of("validation.cases_nbopt:solve", ONE_THREAD, **given),
            "scipy": Entry.of("validation.cases_scipy:solve", **given),
        }
        values = {
            peers.call(Entry.of("validation.cases_nbopt:counts", environment, **given))["fun"]
            for environment in ({}, ONE_THREAD)
        }
        t = peers.contest(entries, *((3, 0.02) if quick else (5, 0.1)))
        gain, speed = ratio(t["one"], t["all"]), ratio(t["scipy"], t["all"])
        rows.append([
            count(n), str(maxiter), *(span(t[key].seconds) for key in ("one", "all", "scipy")),
            times(gain), times(speed), "yes" if len(values) == 1 else "NO",
        ])  # fmt: skip
        if gain < 1:
            section.losses.append(
                f"minimize, compiled function, n = {n}: one thread is {times(1 / gain)} as fast."
            )
    header = ["n", "iterations", "one thread", f"{cores()} threads", "scipy", "gain of threads",
              "scipy / nbopt", "same value"]  # fmt: skip
    section.blocks += [
        "Many variables: the same chain, compiled, with the passes over vectors on one thread and on all; "
        "the function itself runs on one. Where the pairs (20 n numbers) do not fit into the last cache, "
        "memory sets the pace.",
        table(header, rows),
    ]


def _python_budgets(section: Section, found: dict[tuple, dict[str, Any]]) -> None:
    """Hold the Python functions against their budgets."""
    speed, overhead, why, small = {}, {}, {}, set()
    for (kind, n, _), parts in found.items():
        name = f"{kind}, n = {count(n)}"
        timings, counts = parts["timings"], parts["counts"]
        speed[name], overhead[name] = ratio(timings["scipy"], timings["nbopt"]), _overhead(parts) * 1e6
        each = {k: span(timings[k].seconds / counts[k]["nfev"]) for k in ("nbopt", "scipy")}
        why[name] = (f"the function alone takes {span(timings['fun'].seconds)} of our {each['nbopt']} per "
                     f"evaluation and of scipy's {each['scipy']}")  # fmt: skip
        if n <= 100:
            small.add(name)
    section.worst("python_small", {k: v for k, v in speed.items() if k in small}, why=why)
    section.worst("python_large", speed, why=why)
    section.worst("python_overhead", {k: v for k, v in overhead.items() if k in small}, largest=True)


def _measure(peers: Peers, kind: str, n: int, maxiter: int | None, quick: bool) -> dict[str, Any]:
    """Time one case: the solve in both libraries, our shortest call, and the function alone."""
    given = {"kind": kind, "n": n, "maxiter": maxiter}
    entries = {
        "nbopt": Entry.of("validation.cases_nbopt:solve", **given),
        "scipy": Entry.of("validation.cases_scipy:solve", **given),
        "one": Entry.of("validation.cases_nbopt:solve", kind=kind, n=n, maxiter=1),
        "fun": Entry.of("validation.cases_nbopt:evaluate", kind=kind, n=n),
    }
    counts = {
        "nbopt": peers.call(Entry.of("validation.cases_nbopt:counts", **given)),
        "scipy": peers.call(Entry.of("validation.cases_scipy:counts", **given)),
    }
    timings = peers.contest(entries, *((3, 0.02) if quick else (7, 0.1)))
    return {"timings": timings, "counts": counts}


def _iteration(timings: dict[str, Timing], counts: dict[str, Any]) -> float:
    """Return our time per iteration beyond the first."""
    return (timings["nbopt"].seconds - timings["one"].seconds) / max(1, counts["nbopt"]["nit"] - 1)


def _overhead(parts: dict[str, Any]) -> float:
    """Return our own time per evaluation."""
    timings, nfev = parts["timings"], parts["counts"]["nbopt"]["nfev"]
    return timings["nbopt"].seconds / nfev - timings["fun"].seconds


def _row(section: Section, case: tuple, timings: dict[str, Timing], counts: dict[str, Any]) -> list[str]:
    """Return a row of the table, and note what it says about budgets and losses."""
    kind, n, maxiter = case
    speed = ratio(timings["scipy"], timings["nbopt"])
    iteration = _iteration(timings, counts)
    ours, theirs = counts["nbopt"], counts["scipy"]
    if kind == "compiled":
        section.worst(f"iteration_{n}", {"": iteration * 1e6})
        each = span(timings["scipy"].seconds / theirs["nfev"])
        first = span(timings["one"].seconds)
        why = f"scipy takes {each} per evaluation, ours {first} per call and {span(iteration)} per iteration"
        section.worst(f"solve_{n}", {"": speed}, why={"": why})
    if speed < 1:
        section.losses.append(f"minimize, {kind} function, n = {n}: scipy is {times(1 / speed)} as fast.")
    if ours["nfev"] > theirs["nfev"]:
        section.losses.append(
            f"minimize, Rosenbrock's chain, {kind}, n = {n}: "
            f"{ours['nfev']} evaluations, scipy's {theirs['nfev']}."
        )
    python = span(_overhead({"timings": timings, "counts": counts})) if kind != "compiled" else ""
    return [
        kind, count(n) + (f" ({maxiter} iterations)" if maxiter else ""), span(timings["nbopt"].seconds),
        span(timings["scipy"].seconds), times(speed), f"{ours['nit']} / {theirs['nit']}",
        f"{ours['nfev']} / {theirs['nfev']}", span(iteration), python,
    ]  # fmt: skip


def _figure(found: dict[tuple, dict[str, Any]]) -> Any:
    """Draw the time of whole solves against n, and how many times longer scipy takes."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6))
    for kind, suffix in (("compiled", ""), ("Python, lean", ", Python fun")):
        chosen = [
            (case[1], parts["timings"]) for case, parts in found.items() if case[0] == kind and not case[2]
        ]
        sizes = [n for n, _ in chosen]
        for name in ("scipy", "nbopt"):
            label = name + suffix
            left.loglog(
                sizes, [t[name].seconds for _, t in chosen], "o-", lw=2, color=COLOURS[label], label=label
            )
        gains = [ratio(t["scipy"], t["nbopt"]) for _, t in chosen]
        right.loglog(sizes, gains, "o-", lw=2, color=COLOURS["nbopt" + suffix], label=f"{kind} function")
        for n, gain in zip(sizes, gains, strict=True):
            right.annotate(
                times(gain), (n, gain), xytext=(0, 6), textcoords="offset points", ha="center", fontsize=8
            )
    left.set(xlabel="variables", title="Whole solve, Rosenbrock's chain")
    ticks = [1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1]
    left.set_yticks(ticks, ["10 µs", "100 µs", "1 ms", "10 ms", "100 ms", "1 s"])
    right.axhline(1, color=COLOURS["limit"], lw=1)
    right.set(xlabel="variables", title="scipy's time over ours")
    right.set_yticks([1, 3, 10, 30, 100], ["1x", "3x", "10x", "30x", "100x"])
    left.legend(fontsize=8)
    right.legend(fontsize=8)
    figure.tight_layout()
    return figure
