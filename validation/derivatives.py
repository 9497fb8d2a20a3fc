"""Derivatives: what an exact one takes beside the same derivative written by hand and compiled."""

from __future__ import annotations

from pathlib import Path

from validation.cases_derivatives import PAIRS, POINTS
from validation.peers import Entry, Peers
from validation.report import Section, span, table, times
from validation.timing import Timing, ratio

WAYS = ("function", "hand", "dual")
BUDGET = 1.5


def run(peers: Peers, quick: bool, folder: Path) -> Section:
    """Time each function, its derivative by hand and by duals in turn, in one process."""
    section = Section("Derivatives: by duals and by hand")
    section.blocks.append(
        "`value_and_grad` and `jacobian` of compiled functions of 2 to 8 variables, called in a compiled "
        "loop, beside derivatives written by hand that compute each exponential once. Both return new "
        "arrays, and agree to 1e-12 in each element before they are timed. The time of the function alone is "
        "what a difference takes per variable. Jacobians are without the values of the function, either way. "
        "Times are CPU times per call."
    )
    found = {(name, m): _measure(peers, name, m, quick) for name, pair in PAIRS.items() for m in pair.sizes}
    header = ["function", "style", "derivative", "n", "rows", *("function", "by hand", "duals"), "ratio"]
    section.blocks.append(table(header, [_row(name, m, t) for (name, m), t in found.items()]))
    ratios = {_title(*case): ratio(t["dual"], t["hand"]) for case, t in found.items()}
    why = {_title(*case): _why(t) for case, t in found.items()}
    section.worst("derivative", ratios, largest=True, why=why)
    section.losses += [
        f"Exact derivative, {name}: {times(value)} the time of that by hand; {why[name]}."
        for name, value in ratios.items()
        if value > BUDGET
    ]
    return section


def _measure(peers: Peers, name: str, m: int, quick: bool) -> dict[str, Timing]:
    """Time one function at one number of rows."""
    given = {"name": name, "m": m}
    entries = {way: Entry.of("validation.cases_derivatives:derivatives", way=way, **given) for way in WAYS}
    return peers.contest(entries, *((3, 0.01) if quick else (5, 0.02)))


def _title(name: str, m: int) -> str:
    """Return the name of a case."""
    return f"{name}, {m} rows" if m else name


def _each(timing: Timing) -> str:
    """Write the time of one call."""
    return span(timing.seconds / POINTS)


def _why(timings: dict[str, Timing]) -> str:
    """Say what the parts take."""
    return "the function alone takes {}, the derivative by hand {}, by duals {}".format(
        *(_each(timings[way]) for way in WAYS)
    )


def _row(name: str, m: int, timings: dict[str, Timing]) -> list[str]:
    """Return a row of the table."""
    pair = PAIRS[name]
    return [
        name, pair.style, "gradient" if pair.gradient else "Jacobian", str(len(pair.x)), str(m or ""),
        *(_each(timings[way]) for way in WAYS), times(ratio(timings["dual"], timings["hand"])),
    ]  # fmt: skip
