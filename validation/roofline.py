"""Roofline: how near a step over 2e7 elements comes to a loop that only moves the same memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from validation.figures import COLOURS, plt, save
from validation.peers import Entry, Peers
from validation.report import Section, span, table
from validation.step_cost import OPTIMIZERS
from validation.timing import Timing, ratio

ELEMENTS = 20_000_000
# How many arrays a step reads and writes, besides the gradient that it reads.
WRITTEN = {"SGD": 1, "SGD, momentum": 2, "Adam": 3, "AdamW": 3, "Adagrad": 2}


def run(peers: Peers, quick: bool, folder: Path) -> Section:
    """Time each optimizer and the bare loop in turn, in one process."""
    section = Section("Roofline")
    section.blocks.append(
        f"A step over {ELEMENTS:.0e} elements beside a parallel Numba loop over as many arrays that reads "
        "and writes the same bytes and does one addition per write. The share is the loop's time over the "
        "step's; 1 means that arithmetic costs nothing and memory is all there is."
    )
    found = {}
    for dtype in ("float32", "float64"):
        for label in ("Adam",) if quick else WRITTEN:
            optimizer, options = OPTIMIZERS[label]
            size = {"size": ELEMENTS, "dtype": dtype}
            entries = {
                "step": Entry.of("validation.cases_nbopt:step", optimizer=optimizer, options=options,
                                 arrays=1, **size),
                "loop": Entry.of("validation.cases_nbopt:move", written=WRITTEN[label], **size),
            }  # fmt: skip
            found[label, dtype] = peers.contest(entries, *((4, 0.05) if quick else (9, 0.15)))
    shares = {key: ratio(t["loop"], t["step"]) for key, t in found.items()}
    rows = [
        [label, dtype, span(t["step"].seconds), span(t["loop"].seconds),
         f"{_speed(label, dtype, t['step']):.1f} GB/s", f"{_speed(label, dtype, t['loop']):.1f} GB/s",
         f"{shares[label, dtype]:.2f}"]
        for (label, dtype), t in found.items()
    ]  # fmt: skip
    section.blocks.append(table(["optimizer", "dtype", "step", "loop", "step", "loop", "share"], rows))
    section.blocks.append(save(_figure(found), folder, "roofline", "memory speed of steps and bare loops"))
    why = {
        f"{label}, {dtype}": f"step {span(t['step'].seconds)}, bare loop {span(t['loop'].seconds)}"
        for (label, dtype), t in found.items()
    }
    section.worst("roofline", {f"{label}, {dtype}": r for (label, dtype), r in shares.items()}, why=why)
    section.losses += [
        f"{label}, {dtype}, {ELEMENTS:.0e} elements: {share:.2f} of the bare loop's speed."
        for (label, dtype), share in shares.items()
        if share < 0.95
    ]
    return section


def _speed(label: str, dtype: str, timing: Timing) -> float:
    """Return GB/s read and written."""
    passes = 2 * WRITTEN[label] + 1
    return passes * ELEMENTS * (4 if dtype == "float32" else 8) / timing.seconds / 1e9


def _figure(found: dict[tuple[str, str], dict[str, Timing]]) -> Any:
    """Draw GB/s of each step, and of its loop as a black mark."""
    figure, ax = plt.subplots(figsize=(1.5 + 0.95 * len(found), 3.2))
    for k, ((label, dtype), t) in enumerate(found.items()):
        ax.bar(
            k, _speed(label, dtype, t["step"]), width=0.62, color=COLOURS["nbopt"], label="" if k else "step"
        )
        top = _speed(label, dtype, t["loop"])
        ax.plot(
            [k - 0.38, k + 0.38], [top, top], color=COLOURS["limit"], lw=2, label="" if k else "bare loop"
        )
    ax.set_xticks(range(len(found)), [f"{label}\n{dtype}" for label, dtype in found], fontsize=8)
    ax.set_ylabel("GB/s read and written")
    ax.grid(axis="x", visible=False)
    ax.legend(loc="upper center", ncols=2, bbox_to_anchor=(0.5, 1.14))
    return figure
