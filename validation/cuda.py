"""CUDA: every optimizer on a device against the CPU, its steps against peers and a copy, and the PTX.

``python -m validation --cuda`` writes cuda.md on a machine with a device (with torch and CuPy where
they are to be compared). Without a device the same script runs on a stand-in, in small sizes, and says
that nothing was measured.
"""

from __future__ import annotations

import datetime
import statistics
import tempfile
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

import nbopt
from validation import cuda_cases, ptx
from validation.budgets import BUDGETS
from validation.cuda_machine import Machine, versions
from validation.report import Section, count, span, table, times
from validation.timing import ratio, take_turns

NOT_MEASURED = "not measured on a device"
ROUNDS = 5
SHAPES = ((1000, 1000),)
BOUND = 2.0  # ulps by which a step may differ from the CPU's: products and sums are fused there


def run(peers: Any, quick: bool, folder: Path) -> Section:
    """Check and measure; ``peers`` (processes for the CPU's contests) are not needed here."""
    section, found = Section("CUDA"), nbopt.cuda.why().removesuffix(".")
    section.blocks.append(f"- Device: {found}.\n- Versions: {', '.join(versions())}.")
    with Machine() as machine:
        if not machine.real:
            section.missing.append(f"GPU: {NOT_MEASURED}, because {found}.")
            section.blocks.append(
                f"**All that needs a device: {NOT_MEASURED}.** The script ran to its end on a stand-in in "
                "host memory, where the kernels' own source, compiled for the CPU, works thread by thread "
                f"on the tables that a device would be sent. {_recorded(folder)}"
            )
        section.blocks += ["### Steps against the CPU's", *_checks(machine, quick)]
        section.blocks += ["### Times of a step", *_times(section, machine, quick)]
    section.blocks += ["### Kernels as PTX", *_kernels(quick)]
    return section


def _recorded(folder: Path) -> str:
    """Point to the results of an earlier run on a device, if they lie beside the report."""
    path = folder / "cuda.md"
    measured = path.exists() and NOT_MEASURED not in path.read_text(encoding="utf-8")
    return "What was measured on a device, and when: [cuda.md](cuda.md)." if measured else ""


def write(folder: Path, quick: bool) -> Path:
    """Run the section alone and write it to cuda.md, with the budgets of the device."""
    section = run(None, quick, folder)
    rows = []
    for budget in BUDGETS:
        if budget.what.startswith("GPU"):
            found = section.measured.get(budget.key)
            verdict = NOT_MEASURED if found is None else "met" if budget.met(found.value) else "**missed**"
            rows.append([budget.what, budget.limit_text, "" if found is None else budget.show(found.value),
                         verdict])  # fmt: skip
    head = f"`python -m validation --cuda{' --quick' if quick else ''}` on {datetime.date.today()}."
    blocks = ["# nbopt on CUDA", head, table(["what", "budget", "measured", ""], rows), *section.blocks]
    path = folder / "cuda.md"
    path.write_text("\n\n".join(blocks) + "\n", encoding="utf-8")
    return path


def _checks(machine: Any, quick: bool) -> list[str]:
    """Compare every optimizer's steps with the CPU's."""
    steps = min(machine.steps, 100) if quick else machine.steps
    rows, sizes = [], cuda_cases.SIZES
    for name, options in cuda_cases.CHECKED[:: 4 if quick else 1]:
        label = ", ".join([name, *(f"{k}={v}" for k, v in options.items() if k != "lr")])
        worst = [cuda_cases.worst_step(machine, name, options, d, steps) for d in ("float32", "float64")]
        rows.append([label, *(f"{w:.2g}" for w in worst), "yes" if max(worst) <= BOUND else "**no**"])
    gaps = "yes" if cuda_cases.refuses_gaps(machine) else "**no**"
    where = "the device" if machine.real else "the stand-in"
    said = (
        f"{steps} steps on {where} over {len(sizes)} arrays of 1 to {max(sizes)} elements, sizes around "
        "those of a block among them; every twentieth is also made by the CPU from the same state. The "
        f"largest difference in units of the last place; at most {BOUND:g} is asked for. Arrays with gaps "
        f"are refused: {gaps}."
    )
    return [said, table(["optimizer", "float32", "float64", "within"], rows)]


def _times(section: Section, machine: Any, quick: bool) -> list[str]:
    """Time steps beside peers and a copy."""
    sizes = [(1, n) for n in machine.sizes] + list(SHAPES if machine.real else ((20, 50),))
    sizes = sizes[1::2] if quick else sizes
    blocks = [
        "Seconds on the device between two events, median of blocks in turns after a warm-up, inputs "
        "rotated past the cache. The rate counts every array read and written once. Host: what `step()` "
        "keeps Python for."
    ]
    for dtype in ("float32", "float64"):
        rows = []
        for label in cuda_cases.TIMED:
            for arrays, size in sizes:
                rows.append(_row(section, machine, label, arrays, size, dtype))
        names = ["nbopt", "GB/s", "of a copy", "host", "on tensors", "torch fused", "foreach", "CuPy"]
        blocks += [f"#### {dtype}", table(["step", *names, "fused / nbopt"], rows)]
    return blocks


def _row(section: Section, machine: Any, label: str, arrays: int, size: int, dtype: str) -> list[str]:
    """Time one situation; on the stand-in run it and write no figure."""
    calls = cuda_cases.contest(machine, label, arrays, size, dtype)
    timings = take_turns({key: _block(machine, call) for key, call in calls.items()}, ROUNDS)
    host = statistics.median(_host(calls["nbopt"]) for _ in range(ROUNDS))
    shape = count(size) if arrays == 1 else f"{count(arrays)} x {count(size)}"
    if not machine.real:
        return [f"{label}, {shape}", NOT_MEASURED, *[""] * 8]
    ours, moved = timings["nbopt"].seconds, arrays * size * np.dtype(dtype).itemsize
    speed = moved * cuda_cases.TIMED[label][2] / ours
    share = speed / (2 * moved / timings["copy"].seconds) if "copy" in timings else None
    fused = ratio(timings["torch fused"], timings["nbopt"]) if "torch fused" in timings else None
    if (label, dtype, size) == ("Adam", "float32", 100_000_000):
        _hold(section, share, fused)
    others = (timings.get(k) for k in ("nbopt on tensors", "torch fused", "torch foreach", "CuPy"))
    return [
        f"{label}, {shape}", span(ours), f"{speed / 1e9:.0f}", "" if share is None else f"{share:.2f}",
        span(host), *("" if t is None else span(t.seconds) for t in others),
        "" if fused is None else times(fused),
    ]  # fmt: skip


def _hold(section: Section, share: float | None, fused: float | None) -> None:
    """Hold the two figures that budgets name against them."""
    for key, value in (("gpu_copy", share), ("gpu_fused", fused)):
        if value is not None:
            section.worst(key, {"": value})


def _block(machine: Any, call: Any) -> Any:
    """Return a block: seconds per call, from as many calls as fill about 20 ms of the device's time."""

    def several(n: int) -> None:
        for _ in range(n):
            call()

    several(3)
    once = max(machine.elapsed(lambda: several(3)) / 3, 1e-7)
    n = max(3, min(1000, round((0.02 if machine.real else 1e-4) / once)))
    several(n)
    return lambda: machine.elapsed(lambda: several(n)) / n


def _host(call: Any) -> float:
    """Return the seconds that a call keeps Python for; the device may be behind."""
    start = perf_counter()
    for _ in range(5):
        call()
    return (perf_counter() - start) / 5


def _kernels(quick: bool) -> list[str]:
    """Compile the kernels, and say what the assembler says of them."""
    with tempfile.TemporaryDirectory() as place:
        found, why = ptx.in_process_of_its_own(Path(place), few=0 if quick else None)
        if not found:
            return [f"Not compiled here: {why}."]
        keys = [(k["dtype"], k["target"]) for k in found if k["name"] == found[0]["name"]]
        cells = {(k["name"], k["dtype"], k["target"]): k for k in found}
        double = [
            k for k in found if k["kept"] is not None and k["dtype"] == "float32" and _double(k["path"])
        ]
    rows = []
    for name in dict.fromkeys(k["name"] for k in found):
        shown = [cells.get((name, *key), {}) for key in keys]
        kept = shown[0].get("kept")
        rows.append([name, "" if kept is None else str(kept), *(str(k.get("registers", "")) for k in shown)])
    spills = sum(k.get(key, 0) for k in found for key in ("stack", "spill_stores", "spill_loads"))
    assembled = "registers" in found[0]
    said = (
        f"Compiled without a device, through {found[0]['package']}. "
        + (f"Registers per thread; {spills} bytes of stack and spills in all. " if assembled else "")
        + f"Steps in float32 with float64 arithmetic: {len(double)}."
        + ("" if assembled else f" No registers: {found[0]['unassembled']}.")
    )
    header = ["loop", "states", *(f"{dtype}, {target}" for dtype, target in keys)]
    return [said, table(header, rows)]


def _double(path: str) -> bool:
    """Tell whether a kernel computes in float64; reading and rounding the step's numbers is not that."""
    allowed = {"ld.param.f64", "cvt.rn.f32.f64"}
    return any(".f64" in name and name not in allowed for name in ptx.instructions(path))
