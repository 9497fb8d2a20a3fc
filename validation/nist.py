"""NIST StRD: 27 certified sets from two starts, by curve_fit and fit, beside scipy's methods and lmfit."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

from validation.figures import COLOURS, plt, save
from validation.peers import Entry, Peers, installed
from validation.report import Section, span, table, times

OURS = ("nbopt, @njit", "nbopt, Python")  # curve_fit
FITS = ("nbopt.fit, @njit", "nbopt.fit, Python")
SCIPY = ("scipy lm", "scipy trf", "scipy dogbox")
FINE = tuple(f"{f}, 1e-14" for f in SCIPY)  # with these tolerances, for as many digits as ours
EXAMPLES = ("BoxBOD", "Misra1a")  # what --quick looks at
Runs = dict[tuple[str, int], dict[str, Any]]


def run(peers: Peers, quick: bool, folder: Path) -> Section:
    """Fit every set from both starts with every fitter."""
    section = Section("NIST StRD: certified fits")
    if not installed("refnx"):
        section.missing.append("NIST's sets: their files come with refnx, which is not installed.")
        return section
    from validation.cases_fitting import SETS

    fitters = [*OURS, *FITS, *SCIPY, *FINE] + ["lmfit"] * installed("lmfit")
    if "lmfit" not in fitters:
        section.missing.append("lmfit on NIST's sets: it is not installed.")
    names = EXAMPLES if quick else tuple(SETS.MODELS)
    found: Runs = {
        (name, start): {f: _one(peers, name, start, f) for f in fitters} for name in names for start in (0, 1)
    }
    section.blocks += [
        f"{len(names)} sets, two starts each, default tolerances but where 1e-14 is said: there scipy's "
        "three are to have as many digits as they can, with scales from the Jacobian and 2000 steps or more. "
        "Digits are those of the worst parameter, "
        "or standard error, beside the certified ones (NIST gives 11). An evaluation is a call of the model, "
        "those of finite differences included; of an `@njit` model a Jacobian counts as one per parameter. "
        "Times are the best of three whole calls. The first two, and scipy's three, are `curve_fit`; "
        "`nbopt.fit` also names the parameters and makes the report.",
        _summary(found, fitters),
        save(_figure(found, fitters), folder, "nist", "right digits of every set, sorted, for every fitter"),
        "### By difficulty, runs with six digits",
        _breakdown(found, [f for f in fitters if f not in FINE]),
    ]
    _judge(section, found, complete=not quick)
    return section


def _one(peers: Peers, name: str, start: int, fitter: str) -> dict[str, Any]:
    entry = Entry.of("validation.cases_fitting:nist_run", name=name, start=start, fitter=fitter)
    return peers.call(entry)


def _reach(found: Runs, fitter: str, what: str, digits: float) -> int:
    """Count the runs that reach so many digits."""
    return sum(r[fitter][what] >= digits for r in found.values())


def _shared(found: Runs, ours: str, theirs: str, what: str) -> tuple[float, float]:
    """Return the sums of evaluations or seconds over the runs that both solve to six digits."""
    both = [r for r in found.values() if min(r[ours]["parameters"], r[theirs]["parameters"]) >= 6]
    return sum(r[ours][what] for r in both), sum(r[theirs][what] for r in both)


def _summary(found: Runs, fitters: list[str]) -> str:
    rows = []
    for f in fitters:
        counts = [str(_reach(found, f, "parameters", d)) for d in (4, 6, 8)]
        counts.append(str(_reach(found, f, "errors", 4)))
        seconds = [r[f]["seconds"] for r in found.values()]
        ours, theirs = _shared(found, OURS[0], f, "seconds")
        rows.append([f, *counts, str(sum(r[f]["nfev"] for r in found.values())),
                     span(statistics.median(seconds)), times(theirs / ours) if ours else ""])  # fmt: skip
    header = ["fitter", "4 digits", "6 digits", "8 digits", "4 digits of errors", "evaluations, all runs",
              "median call", "its time over @njit's, where both have 6"]  # fmt: skip
    return table([f"of {len(found)} runs", *header[1:]], rows)


def _breakdown(found: Runs, fitters: list[str]) -> str:
    from validation.cases_fitting import difficulty

    rows = []
    for level in ("lower", "average", "higher"):
        chosen = {k: r for k, r in found.items() if difficulty(k[0]) == level}
        rows.append([f"{level} ({len(chosen)} runs)",
                     *(str(_reach(chosen, f, "parameters", 6)) for f in fitters)])  # fmt: skip
    return table(["difficulty", *fitters], rows)


def _judge(section: Section, found: Runs, complete: bool) -> None:
    """Hold the budgets against what was found, and say where we lose."""
    if complete:
        for key, what, digits in (("nist_six", "parameters", 6), ("nist_eight", "parameters", 8),
                                  ("nist_errors", "errors", 4)):  # fmt: skip
            short = [f"{n} from start {s + 1}" for (n, s), r in found.items()
                     if min(r[f][what] for f in (*OURS, *FITS)) < digits]  # fmt: skip
            # Computed with mpmath from the data as doubles and as decimals: 3.36 and 10.6 digits.
            lanczos = (
                "; Lanczos1's residuals are the rounding of its data: as doubles these give 3.4 digits, "
                "in arithmetic of 50 digits, too" if what == "errors" else ""
            )  # fmt: skip
            why = {f: "short: " + ", ".join(short) + lanczos for f in (*OURS, *FITS)}
            section.worst(key, {f: _reach(found, f, what, digits) for f in (*OURS, *FITS)}, why=why)
    for key, others in (("nist_evaluations", FINE), ("nist_default", SCIPY)):
        ratios = {}
        for f in others:
            ours, theirs = _shared(found, "nbopt, Python", f, "nfev")
            if theirs:
                ratios[f] = ours / theirs
        section.worst(key, ratios, largest=True)
    for (name, start), r in found.items():
        best = max(SCIPY, key=lambda f, r=r: r[f]["parameters"])
        worst = min(r[f]["parameters"] for f in (*OURS, *FITS))
        if worst < 6 <= r[best]["parameters"]:
            section.losses.append(f"NIST {name}, start {start + 1}: {best} has 6 digits, ours {worst:.1f}.")
    slower = [f"{n} {s + 1}" for (n, s), r in found.items()
              if r[OURS[1]]["seconds"] > r["scipy lm"]["seconds"]]  # fmt: skip
    if slower:
        section.losses.append(
            f"NIST, Python models: scipy's lm, whatever its digits, takes less time in {len(slower)} of "
            f"{len(found)} runs: ours spends more evaluations on more digits."
        )


def _figure(found: Runs, fitters: list[str]) -> Any:
    """Draw for each set the digits of its worse start, the sets sorted by ours."""
    names = list(dict.fromkeys(name for name, _ in found))
    worst = {(n, f): min(found[n, s][f]["parameters"] for s in (0, 1)) for n in names for f in fitters}
    names.sort(key=lambda n: (worst[n, OURS[0]], worst[n, OURS[1]]))
    marks = {"scipy lm": ("D", COLOURS["scipy"]), "scipy trf": ("s", COLOURS["scipy, Python fun"]),
             "scipy dogbox": ("^", COLOURS["torch default"]), "lmfit": ("x", COLOURS["torch fused"]),
             OURS[1]: ("o", COLOURS["nbopt, Python fun"]), OURS[0]: ("o", COLOURS["nbopt"])}  # fmt: skip
    figure, ax = plt.subplots(figsize=(8, 1.2 + 0.24 * len(names)))
    for fitter, (mark, colour) in marks.items():
        if fitter in fitters:
            x = [worst[n, fitter] for n in names]
            ax.plot(x, range(len(names)), mark, ms=7, color=colour, label=fitter, alpha=0.9, clip_on=False)
    ax.axvline(6, color=COLOURS["limit"], lw=1)
    ax.set_yticks(range(len(names)), names, fontsize=8)
    ax.set(xlim=(-0.2, 11.2), xlabel="right digits of the worst parameter from the worse start, of 11")
    ax.legend(loc="lower center", ncols=6, bbox_to_anchor=(0.45, 1.0), fontsize=8, columnspacing=1)
    return figure
