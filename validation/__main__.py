"""``python -m validation [--quick] [--out DIR] [--only SECTION ...]``: measure, and write the report."""

from __future__ import annotations

import argparse
import datetime
import importlib
import time
from pathlib import Path

from validation import environment, html_page, report
from validation.peers import Peers

# A new section is a file with run(peers, quick, folder) -> Section, and its name here.
SECTIONS = (
    "step_cost", "zoo", "roofline", "crossing", "solves", "derivatives", "evaluations",
    "more_garbow_hillstrom", "choosing", "nist", "robust", "coverage", "kill",
    "first_result", "cuda",
)  # fmt: skip
LONG = ("zoo", "derivatives", "choosing", "kill", "cuda")  # --quick leaves them out, unless --only names them


def main() -> None:
    """Run the sections one after the other and write the report."""
    parser = argparse.ArgumentParser(prog="python -m validation", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer cases and rounds: under two minutes")
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).parent / "report", help="folder to write to"
    )
    parser.add_argument("--only", nargs="+", choices=SECTIONS, help="run these sections only")
    parser.add_argument(
        "--patient", type=float, default=0.0, metavar="SECONDS",
        help="on a shared machine: wait so long for a quiet moment before each case, repeat unsteady ones",
    )  # fmt: skip
    parser.add_argument(
        "--cuda", action="store_true", help="only the CUDA section, to cuda.md; peers on a device"
    )
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    if given.cuda:
        print(importlib.import_module("validation.cuda").write(given.out, given.quick))
        return
    chosen = [name for name in SECTIONS if not (given.quick and name in LONG)]
    peers, start, load = Peers(patience=given.patient), time.perf_counter(), environment.load()
    sections = []
    try:
        machine = environment.describe(peers)
        for name in given.only or chosen:
            began = time.perf_counter()
            module = importlib.import_module(f"validation.{name}")
            sections.append(module.run(peers, given.quick, given.out))
            print(f"{name}: {time.perf_counter() - began:.0f} s", flush=True)
    finally:
        peers.close()
    minutes = (time.perf_counter() - start) / 60
    command = "python -m validation" + (" --quick" if given.quick else "")
    command += f" --patient {given.patient:g}" if given.patient else ""
    head = [
        "# nbopt, measured",
        f"`{command}` on {datetime.date.today()}, {minutes:.1f} minutes. Times are medians of blocks that "
        "all peers ran in turn, each in a process of its own; ratios are taken round by round and their "
        f"median is given. How quiet the machine was: a load of {load} before the start; {peers.noise()}. "
        "On a busy machine parallel launches wait for a core, for milliseconds: measure on an idle one."
        + (f" Left to a full run: {', '.join(LONG)}." if given.quick and not given.only else ""),
        "\n".join(machine),
    ]
    path = report.write(given.out, head, sections)
    print(path)
    print(
        html_page.write(path) or "no page for a browser: `markdown` is not installed (pip install markdown)"
    )


if __name__ == "__main__":
    main()
