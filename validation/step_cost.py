"""Step cost: one step of each optimizer through the object, beside torch's three paths."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from validation.figures import COLOURS, plt, save
from validation.peers import Entry, Peers, cores, installed
from validation.report import Section, count, span, table, times
from validation.timing import Timing, ratio

# A new optimizer is a line here: its name in the report, its class, its options.
OPTIMIZERS: dict[str, tuple[str, dict[str, Any]]] = {
    "SGD": ("SGD", {"lr": 1e-3}),
    "SGD, momentum": ("SGD", {"lr": 1e-3, "momentum": 0.9}),
    "Adam": ("Adam", {"lr": 1e-3}),
    "AdamW": ("AdamW", {"lr": 1e-3}),
    "Adagrad": ("Adagrad", {"lr": 1e-2}),
}
PATHS = ("default", "foreach", "fused")
SIZES = (1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 20_000_000)
QUICK_SIZES = (10, 10_000, 100_000, 1_000_000)
SHAPES = ((1, 10), (1000, 10), (1000, 1000))  # arrays, elements of each


@dataclass(frozen=True)
class Situation:
    """What both libraries step over."""

    label: str
    arrays: int
    size: int
    dtype: str
    fresh: bool = False


def run(peers: Peers, quick: bool, folder: Path) -> Section:
    """Measure one array of many sizes, and many small arrays with kept and new gradient objects."""
    section = Section("Step cost")
    if not installed("torch"):
        section.missing.append("torch's optimizers: torch is not installed; the columns stay empty.")
    section.blocks.append(
        "One `step()` through the public object, gradients in place. torch runs in a process of its own, "
        f"each of its paths at its best thread count (of 1 and {cores()}); nbopt decides by itself. "
        "The ratio is torch fused over nbopt, block by block: above 1 we are faster."
    )
    found = {s: measure(peers, s, quick) for s in situations(quick)}
    _hold_against_budgets(section, found)
    for dtype in ("float32", "float64"):
        one = {s: t for s, t in found.items() if s.dtype == dtype and s.arrays == 1 and not s.fresh}
        section.blocks += [f"### One array, {dtype}", _table(one, lambda s: count(s.size), "elements")]
    section.blocks.append(save(_figure(found), folder, "step_cost", "time of a step against size"))
    small = {s: t for s, t in found.items() if (s.arrays, s.size) in SHAPES}
    section.blocks += [
        "### Small arrays, kept and new gradient objects",
        "New: every array gets a new gradient object before each step, as `p.grad = X.T @ r` does in a "
        "script; making it is not timed, finding it is.",
        _table(small, _shape, "arrays x elements"),
    ]
    for s, timings in found.items():
        if "fused" in timings and (r := ratio(timings["fused"], timings["nbopt"])) < 1:
            section.losses.append(f"{_label(s)}: torch fused is {times(1 / r)} as fast.")
    return section


def situations(quick: bool) -> Iterator[Situation]:
    """Go through what is measured; ``quick`` keeps the optimizers and sizes that differ most."""
    labels = ("SGD", "Adam") if quick else tuple(OPTIMIZERS)
    for dtype in ("float32", "float64"):
        for label in labels:
            for size in QUICK_SIZES if quick else SIZES:
                yield Situation(label, 1, size, dtype)
            if quick and dtype == "float32" and label == "Adam":
                yield Situation(label, 1, SIZES[-1], dtype)
            if quick and (dtype == "float32" or label == "SGD"):
                continue
            for arrays, size in SHAPES:
                for fresh in (False, True):
                    if (arrays, fresh) != (1, False):  # that one is among the sizes
                        yield Situation(label, arrays, size, dtype, fresh)


def measure(peers: Peers, s: Situation, quick: bool) -> dict[str, Timing]:
    """Time nbopt and torch's paths in turn, each path at the thread count that a trial found best."""
    optimizer, options = OPTIMIZERS[s.label]
    given = {"optimizer": optimizer, "options": options, "arrays": s.arrays, "size": s.size,
             "dtype": s.dtype, "fresh": s.fresh}  # fmt: skip
    rounds, seconds = (3, 0.02) if quick else (7, 0.06)
    entries = {"nbopt": Entry.of("validation.cases_nbopt:step", **given)}
    large = s.size * s.arrays > 1_000_000
    for path in PATHS if installed("torch") else ():
        if quick and path != "fused" and large:
            continue
        trials = {
            n: Entry.of(
                "validation.cases_torch:step",
                {"OMP_NUM_THREADS": str(n), "MKL_NUM_THREADS": str(n)},
                path=path, **given,
            )
            for n in sorted({1, cores()})
        }  # fmt: skip
        seen = peers.contest(trials, 2, seconds / 2)
        entries[path] = trials[min(seen, key=lambda n: min(seen[n].rounds))]
    return peers.contest(entries, rounds, seconds)


def _hold_against_budgets(section: Section, found: dict[Situation, dict[str, Timing]]) -> None:
    """Take from the timings what the budgets ask for."""
    fused = {s: ratio(t["fused"], t["nbopt"]) for s, t in found.items() if "fused" in t}
    ten = {s: t["nbopt"].seconds * 1e6 for s, t in found.items()
           if (s.label, s.arrays, s.size, s.dtype) == ("Adam", 1, 10, "float64")}  # fmt: skip
    why = {_label(s): _comparison(t) for s, t in found.items() if "fused" in t}
    section.worst("adam_10_kept", {_label(s): v for s, v in ten.items() if not s.fresh}, largest=True)
    section.worst("adam_10_new", {_label(s): v for s, v in ten.items() if s.fresh}, largest=True)
    section.worst("adam_10_ratio", {_label(s): fused[s] for s in ten if s in fused}, why=why)
    many = {s: r for s, r in fused.items() if (s.label, s.arrays, s.size) == ("Adam", 1000, 10)}
    section.worst("adam_1000_kept", {_label(s): r for s, r in many.items() if not s.fresh}, why=why)
    section.worst("adam_1000_new", {_label(s): r for s, r in many.items() if s.fresh}, why=why)
    one = {s: r for s, r in fused.items() if s.arrays == 1 and not s.fresh}
    for size in (10_000, 100_000, 1_000_000, 20_000_000):
        chosen = {_label(s): r for s, r in one.items() if (s.size, s.dtype) == (size, "float32")}
        section.worst(f"float32_{size}", chosen, why=why)
    section.worst("float64", {_label(s): r for s, r in one.items() if s.dtype == "float64"}, why=why)


def _comparison(timings: dict[str, Timing]) -> str:
    """Say what a ratio to torch fused is made of."""
    return f"ours {span(timings['nbopt'].seconds)}, torch fused {span(timings['fused'].seconds)}"


def _shape(s: Situation) -> str:
    return f"{s.arrays} x {count(s.size)} {s.dtype}, {'new' if s.fresh else 'kept'} gradients"


def _label(s: Situation) -> str:
    return f"{s.label}, {_shape(s)}"


def _table(found: dict[Situation, dict[str, Timing]], name: Any, title: str) -> str:
    """Return one row per situation: all paths' times and the ratio to torch fused."""
    rows = []
    for s, timings in found.items():
        times_of = [span(timings[k].seconds) if k in timings else "" for k in ("nbopt", *PATHS)]
        known = "fused" in timings
        rows.append(
            [s.label, name(s), *times_of, times(ratio(timings["fused"], timings["nbopt"])) if known else ""]
        )
    return table(["optimizer", title, "nbopt", *(f"torch {p}" for p in PATHS), "fused / nbopt"], rows)


def _figure(found: dict[Situation, dict[str, Timing]]) -> Any:
    """Draw time per step against size, a panel for each optimizer (float32)."""
    labels = list(dict.fromkeys(s.label for s in found))
    figure, axes = plt.subplots(
        1, len(labels), figsize=(3.4 * len(labels) + 1, 3.6), sharey=True, squeeze=False
    )
    for ax, label in zip(axes[0], labels, strict=True):
        chosen = [s for s in found if (s.label, s.arrays, s.dtype, s.fresh) == (label, 1, "float32", False)]
        for key in (*reversed(PATHS), "nbopt"):
            points = [(s.size, found[s][key].seconds) for s in chosen if key in found[s]]
            name = key if key == "nbopt" else f"torch {key}"
            if points:
                ax.loglog(*zip(*points, strict=True), "o-", ms=4, lw=2, color=COLOURS[name], label=name)
        ax.set(title=label, xlabel="elements (float32)")
    ticks = [1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1]
    axes[0][0].set_yticks(ticks, ["1 µs", "10 µs", "100 µs", "1 ms", "10 ms", "100 ms"])
    axes[0][0].set_ylabel("time of one step")
    axes[0][0].legend()
    figure.tight_layout()
    return figure
