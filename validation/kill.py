"""Kills training runs at random moments: ``python -m validation.kill [--quick]``.

A run saves a checkpoint after every step. It is killed (SIGKILL), its checkpoint is loaded and compared
with the state that an unbroken run had after that step, and it goes on from there until it is killed
again. At last it may finish, and must end where the unbroken run ends, in every bit.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import nbopt
from nbopt.lr_scheduler import CosineAnnealingWarmRestarts
from nbopt.optim.checkpoint import load, save
from nbopt.optim.clip_grad import clip_grad_norm_
from validation.peers import Peers
from validation.report import Section, table

RUNS, KILLS = 5, 10  # kills per run
QUICK_RUNS, QUICK_KILLS = 1, 3
LAST_STEPS = 10  # made after the last kill
FOR_EVER = 1 << 40


class Training:
    """Adam over 3.6 MB of parameters and state, with a schedule, clipping, and noise of its own."""

    def __init__(self, seed: int) -> None:
        self.params = [nbopt.Parameter(np.full(200_000, 2, np.float32)), nbopt.Parameter(np.ones((500, 100)))]
        self.rng = np.random.default_rng(seed)
        self.optimizer = nbopt.Adam(self.params, lr=0.05, weight_decay=0.01)
        self.scheduler = CosineAnnealingWarmRestarts(self.optimizer, T_0=7, T_mult=2)
        self.steps = 0

    def step(self) -> None:
        """Make one step on gradients with noise."""
        for p in self.params:
            p.grad = p.data - 0.5 + self.rng.standard_normal(p.shape).astype(p.dtype)
        clip_grad_norm_(self.params, 100.0)
        self.optimizer.step()
        self.scheduler.step()
        self.steps += 1

    def sections(self) -> dict[str, Any]:
        """Return all that must be saved for the run to go on in the same way."""
        return {
            "params": [p.data for p in self.params],
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "rng": self.rng.bit_generator.state,
            "steps": self.steps,
        }

    def resume(self, found: dict[str, Any]) -> None:
        """Take over what `sections` returned."""
        for p, a in zip(self.params, found["params"], strict=True):
            p.data[...] = a
        self.optimizer.load_state_dict(found["optimizer"])
        self.scheduler.load_state_dict(found["scheduler"])
        self.rng.bit_generator.state = found["rng"]
        self.steps = found["steps"]


def digest(state: Any) -> bytes:
    """Return a digest of nested state that any changed bit or type changes."""
    sha = hashlib.sha256(type(state).__name__.encode())
    if isinstance(state, dict):
        for key, value in state.items():
            sha.update(digest(key) + digest(value))
    elif isinstance(state, list | tuple):
        for value in state:
            sha.update(digest(value))
    elif isinstance(state, np.ndarray | np.generic):
        sha.update(f"{state.dtype}{state.shape}".encode() + state.tobytes())
    else:
        sha.update(repr(state).encode())
    return sha.digest()


def train(path: Path, seed: int, steps: int) -> None:
    """Be the process that is killed: go on from the checkpoint, if there is one, up to ``steps`` steps."""
    training = Training(seed)
    if path.exists():
        training.resume(load(path))
    else:
        save(path, **training.sections())
    while training.steps < steps:
        training.step()
        save(path, **training.sections())
        print(training.steps, flush=True)


def start(path: Path, seed: int, steps: int = FOR_EVER) -> subprocess.Popen[str]:
    """Start or continue a run in a process of its own."""
    command = [sys.executable, "-m", "validation.kill", "--train", str(path), str(seed), str(steps)]
    root = str(Path(__file__).resolve().parent.parent)
    search = os.pathsep.join(p for p in (root, os.environ.get("PYTHONPATH")) if p)
    environment = {**os.environ, "PYTHONPATH": search}
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


@dataclass
class Tally:
    """What became of the kills."""

    kills: int = 0
    starting: int = 0  # before the run was ready: importing, loading
    saving: int = 0  # in the middle of a save, which left a temporary file
    loaded: int = 0
    equal: int = 0  # states that are those of the unbroken run after as many steps
    runs: int = 0
    ended_equal: int = 0
    swept: int = 0  # runs that ended without leaving anything but their checkpoint
    size: int = 0
    steps: int = 0
    startup: float = 0.0  # seconds that a process needed to its first checkpoint
    failures: list[str] = field(default_factory=list)

    def note(self, good: bool, failure: str) -> int:
        """Note a failure, if it is one."""
        if not good:
            self.failures.append(failure)
        return int(good)


def kill_once(path: Path, seed: int, moments: random.Random, tally: Tally) -> None:
    """Start a run and kill it: while it starts, one time in five, else while it trains and saves."""
    early = tally.kills % 5 == 4
    began = time.perf_counter()
    process = start(path, seed)
    if early:
        time.sleep(moments.uniform(0, tally.startup))
    elif process.stdout is None or not process.stdout.readline().strip().isdigit():
        raise RuntimeError("kill: the training process did not start")
    else:
        tally.startup = time.perf_counter() - began
        time.sleep(moments.uniform(0, 0.5))
    process.send_signal(signal.SIGKILL)
    told = process.communicate()[0]
    if process.returncode != -signal.SIGKILL:
        raise RuntimeError(f"kill: the training process ended by itself ({process.returncode})")
    tally.kills += 1
    tally.starting += int(early and not told)
    tally.saving += int(any(".nbopt-tmp" in name for name in os.listdir(path.parent)))


def one_run(seed: int, kills: int, tally: Tally, say: Callable[[str], None]) -> None:
    """Kill a run many times, let it finish, and compare all of it with an unbroken run."""
    moments = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.ckpt"
        states: list[dict[str, Any]] = []
        for _ in range(kills):
            kill_once(path, seed, moments, tally)
            try:
                states.append(load(path))
                tally.loaded += 1
            except (OSError, ValueError) as error:
                tally.failures.append(f"run {seed}, kill {tally.kills}: {error}")
                return
        tally.size = path.stat().st_size
        last = states[-1]["steps"] + LAST_STEPS
        tally.steps += last
        start(path, seed, last).communicate()
        final, rest = load(path), os.listdir(folder)
    reached = {state["steps"]: digest(state) for state in [*states, final]}
    unbroken, expected = Training(seed), {}
    while True:
        if unbroken.steps in reached:
            expected[unbroken.steps] = digest(unbroken.sections())
        if unbroken.steps >= last:
            break
        unbroken.step()
    for state in states:
        n = state["steps"]
        tally.equal += tally.note(reached[n] == expected[n], f"run {seed}: differs after step {n}")
    tally.runs += 1
    ended = final["steps"] == last and reached[last] == expected[last]
    tally.ended_equal += tally.note(ended, f"run {seed}: ends elsewhere than the unbroken one")
    tally.swept += tally.note(rest == ["run.ckpt"], f"run {seed}: left {rest}")
    say(f"run {seed}: killed after steps {[s['steps'] for s in states]}, ended at {last}")


def measure(quick: bool, say: Callable[[str], None] = lambda line: None) -> Tally:
    """Kill runs, and count."""
    tally = Tally()
    runs, kills = (QUICK_RUNS, QUICK_KILLS) if quick else (RUNS, KILLS)
    for seed in range(runs):
        one_run(seed, kills, tally, say)
    return tally


def run(peers: Peers | None, quick: bool, folder: Path | None) -> Section:
    """Return the report's section on kills; what failed stands among its losses."""
    del peers, folder  # it starts processes of its own, and draws nothing
    if not hasattr(signal, "SIGKILL"):
        return Section("Killed runs", missing=["kills: this system has no SIGKILL"])
    tally = measure(quick)
    rows = [
        ["kills (SIGKILL, at random moments)", str(tally.kills)],
        ["of these while the run was starting, before its first step", str(tally.starting)],
        ["of these in the middle of a save, with a temporary file left", str(tally.saving)],
        ["checkpoints that loaded", f"{tally.loaded} of {tally.kills}"],
        ["states equal, bit for bit, to the unbroken run's at that step", f"{tally.equal} of {tally.kills}"],
        ["runs that ended where the unbroken one does", f"{tally.ended_equal} of {tally.runs}"],
        ["runs that left nothing but their checkpoint", f"{tally.swept} of {tally.runs}"],
    ]
    text = (
        f"{tally.runs} training runs with Adam, a schedule, clipping and noise of their own ({tally.steps} "
        f"steps in all) save {tally.size / 1e6:.1f} MB after every step. They are killed, their checkpoints "
        "compared, and continued, again and again."
    )
    return Section("Killed runs", [text, table(["", ""], rows)], losses=tally.failures)


def main() -> None:
    """Kill, print what was found, and fail if anything did."""
    parser = argparse.ArgumentParser(prog="python -m validation.kill", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="three kills instead of fifty")
    parser.add_argument("--train", nargs=3, metavar=("PATH", "SEED", "STEPS"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.train:
        path, seed, steps = given.train
        train(Path(path), int(seed), int(steps))
        return
    section = run(None, given.quick, None)
    print("\n\n".join([f"## {section.title}", *section.blocks, *section.losses, *section.missing]))
    sys.exit(1 if section.losses else 0)


if __name__ == "__main__":
    main()
