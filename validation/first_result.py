"""First result: import, first Adam step, first minimize, each in a new process, cold and cached."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from validation.figures import COLOURS, plt, save
from validation.peers import BLAS_PINNED, Peers
from validation.quiet import wait_until_quiet
from validation.report import Section, span, table
from validation.timing import Timing

_BEGIN = "import json, time\nstart = time.perf_counter()\n"
_END = "print(json.dumps(time.perf_counter() - start))\n"
IMPORTS = {"numba and scipy.optimize": "import numba, scipy.optimize\n", "nbopt": "import nbopt\n"}

ADAM = (
    "import json, time, numpy as np, nbopt\nstart = time.perf_counter()\n"
    "w = np.array([1.0, 2.0])\nnbopt.Adam([w]).step(grads=[2 * w])\n" + _END
)
WAKE = (  # what Numba itself takes to load one trivial function from its cache
    "import json, time, numpy as np, scipy.optimize, numba\n"
    "@numba.njit(cache=True)\ndef twice(x):\n    return 2.0 * x\n"
    "start = time.perf_counter()\ntwice(np.ones(2))\n" + _END
)
SOLVE = """import json, time, numpy as np, numba, nbopt

@numba.njit
def fun(x):
    a, b = {number} - x[0], x[1] - x[0] ** 2
    return a * a + 100.0 * b * b, np.array([-2.0 * a - 400.0 * x[0] * b, 200.0 * b])

x0 = np.array([-1.2, 1.0])
fun(x0)
start = time.perf_counter()
nbopt.minimize(fun, x0, jac=True)
"""


@dataclass
class Runs:
    """Scripts run in new processes, with a cache folder that starts empty."""

    folder: Path
    patience: float
    number: int = field(default=0)

    def script(self, text: str, cache: Path) -> float:
        """Run a script from a file of its own and return the seconds that it prints."""
        path = self.folder / "script.py"
        path.write_text(text)
        environment = {
            **os.environ,
            **BLAS_PINNED,
            "NUMBA_CACHE_DIR": str(cache),
            "PYTHONPYCACHEPREFIX": str(self.folder / "bytecode"),
            "PYTHONPATH": f"{os.getcwd()}{os.pathsep}{os.environ.get('PYTHONPATH', '')}",
        }
        environment.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed package has its byte code on disk
        wait_until_quiet(self.patience)
        done = subprocess.run(
            [sys.executable, path], env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(f"a script of the first-result section failed:\n{done.stderr}")
        return float(json.loads(done.stdout))

    def solve(self, cache: Path) -> float:
        """Minimize a function that no earlier process has seen."""
        self.number += 1
        return self.script(SOLVE.format(number=1.0 + self.number / 1000) + _END, cache)

    def empty(self) -> Path:
        """Return a new, empty cache folder."""
        return Path(tempfile.mkdtemp(dir=self.folder))


def run(peers: Peers, quick: bool, folder: Path) -> Section:
    """Time what a user waits for, several times each, in turn."""
    section = Section("First result")
    with tempfile.TemporaryDirectory(prefix="nbopt-validation-") as name:
        found = _measure(Runs(Path(name), peers.patience), *((1, 1) if quick else (9, 3)))
    section.blocks.append(
        "Seconds in a new process. Imports are whole; everything else counts from after the imports. Cold: "
        "an empty `NUMBA_CACHE_DIR`. Cached: filled by an earlier process. The function given to `minimize` "
        "is new each time and was called once before, as a user does who tries it out."
    )
    rows = [[what, span(t.seconds), span(min(t.rounds)), span(max(t.rounds))] for what, t in found.items()]
    section.blocks.append(table(["what", "median", "fastest", "slowest"], rows))
    section.blocks.append(save(_figure(found), folder, "first_result", "seconds to a first result"))
    extra = found["import nbopt"].seconds - found["import numba and scipy.optimize"].seconds
    keys = {"adam_cached": "first Adam step, cached", "adam_cold": "first Adam step, cold",
            "minimize_cached": "first minimize, cached", "minimize_cold": "first minimize, cold"}  # fmt: skip
    section.worst("import", {"": extra})
    for key, what in keys.items():
        section.worst(key, {"": found[what].seconds})
    return section


def _measure(runs: Runs, rounds: int, cold: int) -> dict[str, Timing]:
    """Run everything in turn; the cold ones less often, because they take long."""
    filled = runs.empty()
    for text in (*(_BEGIN + line + _END for line in IMPORTS.values()), ADAM, WAKE):
        runs.script(text, filled)  # byte code and machine code on disk, for the cached runs
    runs.solve(filled)
    found: dict[str, Timing] = {}

    def note(what: str, seconds: float) -> None:
        found.setdefault(what, Timing()).rounds.append(seconds)

    for turn in range(rounds):
        for name, line in IMPORTS.items():
            note(f"import {name}", runs.script(_BEGIN + line + _END, filled))
        note("Numba wakes: a trivial cached function", runs.script(WAKE, filled))
        note("first Adam step, cached", runs.script(ADAM, filled))
        note("first minimize, cached", runs.solve(filled))
        if turn < cold:
            note("first Adam step, cold", runs.script(ADAM, runs.empty()))
            note("first minimize, cold", runs.solve(runs.empty()))
    return found


def _figure(found: dict[str, Timing]) -> Any:
    """Draw the medians as bars."""
    figure, ax = plt.subplots(figsize=(7, 0.5 + 0.34 * len(found)))
    for k, (what, timing) in enumerate(reversed(found.items())):
        ours = "nbopt" in what or "first" in what
        ax.barh(k, timing.seconds, height=0.62, color=COLOURS["nbopt" if ours else "torch default"])
        ax.annotate(f" {timing.seconds:.2f} s", (timing.seconds, k), va="center", fontsize=9)
    ax.set_yticks(range(len(found)), list(reversed(found)), fontsize=9)
    ax.set_xlabel("seconds")
    ax.grid(axis="y", visible=False)
    return figure
