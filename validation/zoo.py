"""Zoo: the step of every optimizer on large arrays, matrices and tables, beside torch's best path."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from validation.figures import COLOURS, plt, save
from validation.peers import Entry, Peers, cores, installed
from validation.report import Section, count, span, table, times
from validation.timing import Timing, ratio

FUSED = ("default", "foreach", "fused")
LOOPS = ("default", "foreach")
SIZED = ("SGD", "Adam", "AdamW", "Adagrad")
# Its name in the report: its class, its options, the paths that torch has for it.
ELEMENTWISE: dict[str, tuple[str, dict[str, Any], tuple[str, ...]]] = {
    "SGD": ("SGD", {"lr": 1e-3}, FUSED),
    "SGD, momentum": ("SGD", {"lr": 1e-3, "momentum": 0.9}, FUSED),
    "Adam": ("Adam", {}, FUSED),
    "AdamW": ("AdamW", {}, FUSED),
    "Adagrad": ("Adagrad", {}, FUSED),
    "Adamax": ("Adamax", {}, LOOPS),
    "NAdam": ("NAdam", {}, LOOPS),
    "RAdam": ("RAdam", {}, LOOPS),
    "RMSprop": ("RMSprop", {}, LOOPS),
    "RMSprop, momentum, centered": ("RMSprop", {"momentum": 0.9, "centered": True}, LOOPS),
    "Adadelta": ("Adadelta", {}, LOOPS),
    "ASGD": ("ASGD", {}, LOOPS),
    "Rprop": ("Rprop", {}, LOOPS),
}
# How many arrays a step writes: beside these stands a bare loop over as many, which no step can outrun.
BARE = {"Adamax": 3, "NAdam": 3, "RAdam": 3, "RMSprop": 2, "Adadelta": 3, "ASGD": 2, "Rprop": 3}
DTYPES = ("float32", "float64")
SIZES = (10_000, 100_000, 1_000_000, 20_000_000)
MATRICES = {"Adafactor": ((1000, 1000),), "Muon": ((512, 512), (1024, 256))}
TABLE = {"rows": 1_000_000, "columns": 64, "touched": 1000}
SPARSE = "SparseAdam", "1000 rows of 1e6 x 64", "float32"
Found = dict[tuple[str, Any, str], dict[str, Timing]]


def run(peers: Peers, quick: bool, folder: Path) -> Section:
    """Measure all element-wise optimizers, those that torch fuses at all sizes, and the other three."""
    section = Section("Every optimizer")
    if not installed("torch"):
        section.missing.append("every optimizer beside torch's: torch is not installed.")
    section.blocks.append(
        "One `step()` through the public object, gradients in place. torch runs in a process of its own; "
        f"of its paths (default, foreach, fused where it has it, each at 1 and {cores()} threads) a trial "
        "chooses the fastest, which then takes turns with ours. Above 1 we are faster."
    )
    dtypes = DTYPES[:1] if quick else DTYPES
    large = {(label, 1_000_000, d): _beside_torch(peers, *ELEMENTWISE[label], 1_000_000, d, quick,
                                                  **_bare(label, d))
             for label in ELEMENTWISE for d in dtypes}  # fmt: skip
    sized = {(label, n, d): _beside_torch(peers, *ELEMENTWISE[label][:2], ("fused",), n, d, quick)
             for label in SIZED for n in (SIZES[1:3] if quick else SIZES) for d in dtypes}  # fmt: skip
    matrices = {(name, shape, d): _matrix(peers, name, shape, d, quick)
                for name, shapes in MATRICES.items() for shape in (shapes[:1] if quick else shapes)
                for d in dtypes}  # fmt: skip
    sparse = {SPARSE: _sparse(peers, quick)}
    section.blocks += [
        "### All element-wise optimizers, 1e6 elements",
        "Bare loop: a parallel Numba loop that reads and writes as many arrays and does one addition per "
        "write; torch's time over its time is the largest ratio that a step on this machine can reach.",
        _table(large),
        save(_figure(large), folder, "zoo", "torch's time over ours for every element-wise optimizer"),
        "### Those that torch fuses, beside its fused path", _table(sized),
        "### Adafactor and Muon",
        "Products: the matrix products of Muon's step alone, by the same BLAS calls, on one thread as ours "
        "beside it; against torch ours has one BLAS thread or all, whichever is faster. torch's Muon "
        "iterates in bfloat16, ours in the parameter's own dtype.",
        _table(matrices),
        "### SparseAdam", _table(sparse),
    ]  # fmt: skip
    _hold_against_budgets(section, large, sized, matrices, sparse)
    return section


def _bare(label: str, dtype: str) -> dict[str, Entry]:
    """Return the bare loop beside an optimizer of 1e6 elements."""
    if label not in BARE:
        return {}
    entry = Entry.of("validation.cases_nbopt:move", written=BARE[label], size=1_000_000, dtype=dtype)
    return {"bare loop": entry}


def _fused() -> list[str]:
    """Return the labels that torch has a fused path for."""
    return [label for label, (_, _, paths) in ELEMENTWISE.items() if paths is FUSED]


def _effort(quick: bool, size: Any = None) -> tuple[int, float]:
    """Return rounds and seconds of a block; a block has three steps at least, and large ones last."""
    slow = size == SIZES[-1] or isinstance(size, tuple)
    return (3, 0.02) if quick or slow else (5, 0.03)


def _beside_torch(
    peers: Peers, optimizer: str, options: dict[str, Any], paths: tuple[str, ...],
    size: Any, dtype: str, quick: bool, **others: Entry,
) -> dict[str, Timing]:  # fmt: skip
    """Time ours, others given and torch's fastest way, which is named ``torch ...``, in turn."""
    given = {"optimizer": optimizer, "options": options, "arrays": 1, "size": size, "dtype": dtype,
             "fresh": False}  # fmt: skip
    entries = {"nbopt": Entry.of("validation.cases_nbopt:step", **given), **others}
    rounds, seconds = _effort(quick, size)
    if installed("torch"):
        name, entry = _fastest(peers, "validation.cases_torch:step", paths, given, seconds / 2)
        entries[name] = entry
    return peers.contest(entries, rounds, seconds)


def _fastest(
    peers: Peers, function: str, paths: tuple[str, ...], given: dict[str, Any], seconds: float
) -> tuple[str, Entry]:
    """Try torch's paths at both thread counts and return the fastest with its name."""
    trials = {}
    for threads in sorted({1, cores()}):
        environment = {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
        for path in paths:
            more = {"path": path} if path else {}
            name = " ".join(("torch", *more.values()))
            trials[f"{name}, {threads}"] = Entry.of(function, environment, **more, **given)
    seen = peers.contest(trials, 2, seconds)
    name = min(seen, key=lambda key: min(seen[key].rounds))
    return name, trials[name]


def _matrix(peers: Peers, name: str, shape: tuple[int, int], dtype: str, quick: bool) -> dict[str, Timing]:
    """Time Adafactor or Muon on a matrix; Muon beside its products, and with all BLAS threads, too."""
    if name == "Adafactor":
        return _beside_torch(peers, name, {}, LOOPS, shape, dtype, quick)
    given = {"optimizer": name, "options": {}, "arrays": 1, "size": shape, "dtype": dtype}
    bare = {"rows": shape[0], "columns": shape[1], "dtype": dtype}
    everywhere = {"OPENBLAS_NUM_THREADS": str(cores())}
    others = {
        "products": Entry.of("validation.cases_nbopt:muon_products", **bare),
        "threads": Entry.of("validation.cases_nbopt:step", everywhere, **given),
    }
    return _beside_torch(peers, name, {}, ("default",), shape, dtype, quick, **others)


def _sparse(peers: Peers, quick: bool) -> dict[str, Timing]:
    """Time SparseAdam on a large table of which few rows are touched."""
    rounds, seconds = _effort(quick)
    entries = {"nbopt": Entry.of("validation.cases_nbopt:sparse_step", **TABLE)}
    if installed("torch"):
        name, entry = _fastest(peers, "validation.cases_torch:sparse_step", ("",), TABLE, seconds / 2)
        entries[name] = entry
    return peers.contest(entries, rounds, seconds)


def _torch(timings: dict[str, Timing]) -> str | None:
    """Return the name of torch's entry."""
    return next((name for name in timings if name.startswith("torch")), None)


def _gains(found: Found) -> dict[str, float]:
    """Return torch's time over ours by a name for each case."""
    return {_name(key): _gain(t) for key, t in found.items() if _torch(t)}


def _gain(timings: dict[str, Timing]) -> float:
    """Return torch's time over ours; where BLAS works, at the better of one thread and all."""
    theirs = timings[_torch(timings)]
    return max(ratio(theirs, timings[ours]) for ours in ("nbopt", "threads") if ours in timings)


def _name(key: tuple[str, Any, str]) -> str:
    label, size, dtype = key
    return f"{label}, {_size(size)}, {dtype}"


def _size(size: Any) -> str:
    if isinstance(size, tuple):
        return " x ".join(map(str, size))
    return size if isinstance(size, str) else count(size)


def _table(found: Found) -> str:
    """Return one row per case: ours, torch's best way, the ratio, and what else was measured."""
    muon = any("products" in t for t in found.values())
    bare = any("bare loop" in t for t in found.values())
    rows = []
    for (label, size, dtype), t in found.items():
        row, theirs = [label, _size(size), dtype, span(t["nbopt"].seconds)], _torch(t)
        if "products" in t:
            products = t["products"]
            row += [span(products.seconds), times(ratio(t["nbopt"], products)), span(t["threads"].seconds)]
        elif muon:
            row += [""] * 3
        if bare:
            row.append(span(t["bare loop"].seconds) if "bare loop" in t else "")
        row += [span(t[theirs].seconds), theirs, times(_gain(t))] if theirs else [""] * 3
        rows.append(row)
    extra = ["products", "nbopt / products", "nbopt, all BLAS threads"] if muon else []
    extra += ["bare loop"] if bare else []
    header = ["optimizer", "size", "dtype", "nbopt", *extra, "torch", "by (path, threads)", "torch / nbopt"]
    return table(header, rows)


def _hold_against_budgets(
    section: Section, large: Found, sized: Found, matrices: Found, sparse: Found
) -> None:
    """Take from the timings what the budgets ask for, and note where torch is faster."""
    why = {_name(k): _comparison(t) for found in (large, matrices, sparse) for k, t in found.items()}
    others = {key: t for key, t in large.items() if key[0] not in _fused()}
    section.worst("asgd", _gains({k: t for k, t in others.items() if k[0] == "ASGD"}), why=why)
    section.worst("elementwise", _gains({k: t for k, t in others.items() if k[0] != "ASGD"}), why=why)
    muon = {_name(k): ratio(t["nbopt"], t["products"]) for k, t in matrices.items() if "products" in t}
    section.worst("muon", muon, largest=True, why=why)
    section.worst("sparse_adam", _gains(sparse), why=why)
    why = {_name(key): _comparison(t) for key, t in sized.items()}
    for size in SIZES:
        chosen = {k: t for k, t in sized.items() if k[1:] == (size, "float32")}
        section.worst(f"float32_{size}", _gains(chosen), why=why)
    section.worst("float64", _gains({k: t for k, t in sized.items() if k[2] == "float64"}), why=why)
    gains = [gain for found in (large, sized, matrices, sparse) for gain in _gains(found).items()]
    section.losses += [f"{case}: torch is {times(1 / gain)} as fast." for case, gain in gains if gain < 1]


def _comparison(timings: dict[str, Timing]) -> str:
    """Say what a ratio is made of."""
    return "; ".join(f"{name}: {span(t.seconds)}" for name, t in timings.items())


def _figure(found: Found) -> Any:
    """Draw torch's time over ours, a bar for each optimizer and dtype."""
    labels = list(dict.fromkeys(label for label, _, _ in found))[::-1]
    figure, ax = plt.subplots(figsize=(7.2, 0.8 + 0.36 * len(labels)))
    for k, (dtype, colour) in enumerate(zip(DTYPES, ("nbopt", "scipy"), strict=True)):
        for n, label in enumerate(labels):
            t = found.get((label, 1_000_000, dtype), {})
            if _torch(t):
                gain, y = _gain(t), n + 0.2 - 0.4 * k
                ax.barh(y, gain, 0.36, color=COLOURS[colour], label="" if n else dtype)
                ax.annotate(times(gain), (gain, y), xytext=(3, 0), textcoords="offset points",
                            va="center", fontsize=7)  # fmt: skip
    ax.axvline(1, color=COLOURS["limit"], lw=1)
    ax.set_yticks(range(len(labels)), labels)
    ax.set_xlabel("time of torch's fastest path over ours, 1e6 elements")
    ax.grid(axis="y", visible=False)
    if ax.get_legend_handles_labels()[0]:
        ax.legend()
    return figure
