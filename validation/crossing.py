"""Crossing: from how many bytes on a step pays for its threads (behind launcher.PARALLEL_BYTES)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from validation.figures import COLOURS, plt, save
from validation.peers import Entry, Peers, cores
from validation.report import Section, span, table, times
from validation.timing import Timing, ratio

ARRAYS = {"SGD": 2, "Adam": 4}  # arrays of a step's table: what the constant counts in bytes
BYTES = tuple(1 << k for k in range(17, 25))


def run(peers: Peers, quick: bool, folder: Path) -> Section:
    """Time the same step forced to one thread and forced to all, each in its own process."""
    section = Section("Serial or parallel")
    if cores() == 1:
        section.missing.append("the serial/parallel crossing: this machine has one core.")
        return section
    found: dict[tuple[str, int], dict[str, Timing]] = {}
    sizes = BYTES[::2] if quick else BYTES
    for label in ("Adam",) if quick else ARRAYS:
        for nbytes in sizes:
            given = {"optimizer": label, "options": {"lr": 1e-3}, "arrays": 1, "dtype": "float32",
                     "size": nbytes // 4 // ARRAYS[label]}  # fmt: skip
            entries = {
                way: Entry.of("validation.cases_nbopt:forced_step", {"FORCED": way}, way=way, **given)
                for way in ("serial", "parallel")
            }
            found[label, nbytes] = peers.contest(entries, *((3, 0.02) if quick else (9, 0.06)))
    gains = {key: ratio(t["serial"], t["parallel"]) for key, t in found.items()}
    rows = [
        [label, f"{nbytes >> 10} KiB", span(t["serial"].seconds), span(t["parallel"].seconds),
         times(gains[label, nbytes])]
        for (label, nbytes), t in found.items()
    ]  # fmt: skip
    used = peers.call(Entry.of("validation.cases_nbopt:parallel_bytes"))
    section.blocks += [
        f"The launcher runs a step on one thread below {used >> 10} KiB of parameters, gradients and state "
        f"(`NBOPT_PARALLEL_BYTES`) and on all {cores()} threads above. The same float32 step, forced both "
        "ways; above 1 threads pay. When another process holds a core a parallel launch waits for it, "
        "for milliseconds, so the constant lies on the high side of the crossing.",
        table(["optimizer", "bytes", "one thread", "all threads", "gain"], rows),
        save(_figure(gains, used), folder, "crossing", "gain of a parallel step against bytes"),
    ]
    return section


def _figure(gains: dict[tuple[str, int], float], used: int) -> Any:
    """Draw the gain of all threads against the bytes of a step."""
    figure, ax = plt.subplots(figsize=(5.6, 3.2))
    for label, colour in zip(ARRAYS, (COLOURS["scipy"], COLOURS["nbopt"]), strict=True):
        points = [(nbytes / 1024, gain) for (name, nbytes), gain in gains.items() if name == label]
        if points:
            ax.semilogx(*zip(*points, strict=True), "o-", base=2, lw=2, color=colour, label=label)
    ax.axhline(1, color=COLOURS["limit"], lw=1)
    ax.axvline(used / 1024, color=COLOURS["limit"], lw=1, ls="--", label="threads from here on")
    ax.set(xlabel="KiB of parameters, gradients and state", ylabel="one thread / all threads")
    ticks = sorted({nbytes // 1024 for _, nbytes in gains})
    ax.set_xticks(ticks, [str(t) for t in ticks])
    ax.legend()
    return figure
