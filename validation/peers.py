"""Peers: each library runs in a process of its own, with its own thread pool, one at a time."""

from __future__ import annotations

import importlib.util
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any

from validation.quiet import wait_until_quiet
from validation.timing import Timing, take_turns

BLAS_PINNED = {"OPENBLAS_NUM_THREADS": "1", "VECLIB_MAXIMUM_THREADS": "1", "BLIS_NUM_THREADS": "1"}
STEADY, TRIES = 1.5, 4  # a case whose blocks lie farther apart is suspect; how often it is tried
REST = 0.005  # seconds between blocks: the threads of an OpenMP pool spin for a while before they sleep


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def installed(*names: str) -> bool:
    """Tell whether all these packages can be imported."""
    return all(importlib.util.find_spec(name) is not None for name in names)


class Peer:
    """A process that builds and times cases (validation/serve.py)."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "validation.serve"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **BLAS_PINNED, **environment},
            text=True,
        )

    def ask(self, **request: Any) -> Any:
        """Send a request and return its answer; an error there is an error here."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the measuring process died at {request}")
        reply = json.loads(line)
        if "error" in reply:
            raise RuntimeError(f"in the measuring process, at {request}:\n{reply['error']}")
        return reply["answer"]

    def close(self) -> None:
        """End the process."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


@dataclass(frozen=True)
class Entry:
    """One case of a contest: the function that builds it, its arguments, its process's environment."""

    function: str
    given: tuple[tuple[str, Any], ...] = ()
    environment: tuple[tuple[str, str], ...] = ()

    @staticmethod
    def of(function: str, environment: dict[str, str] | None = None, **given: Any) -> Entry:
        """Make an entry."""
        return Entry(function, tuple(given.items()), tuple((environment or {}).items()))


@dataclass
class Peers:
    """All measuring processes, started when first needed; one for each module and environment."""

    processes: dict[Hashable, Peer] = field(default_factory=dict)
    spreads: list[float] = field(default_factory=list)
    patience: float = 0.0

    def peer(self, entry: Entry) -> Peer:
        """Return the process that an entry runs in."""
        key = entry.function.split(":")[0], entry.environment
        if key not in self.processes:
            self.processes[key] = Peer(dict(entry.environment))
        return self.processes[key]

    def call(self, entry: Entry) -> Any:
        """Call a function in its process and return what it returns."""
        return self.peer(entry).ask(do="call", function=entry.function, given=dict(entry.given))

    def contest(self, entries: dict[Any, Entry], rounds: int, seconds: float) -> dict[Any, Timing]:
        """Time all entries in turn, ``rounds`` blocks of about ``seconds`` each; then drop them."""
        used = []
        for key, entry in entries.items():
            peer = self.peer(entry)
            used.append(peer)
            peer.ask(do="build", key=repr(key), function=entry.function, given=dict(entry.given))

        def block(key: Any) -> float:
            time.sleep(REST)
            return self.peer(entries[key]).ask(do="time", key=repr(key), seconds=seconds)

        timings = self._quiet_turns({key: lambda key=key: block(key) for key in entries}, rounds)
        for peer in used:
            peer.ask(do="drop")
        self.spreads += [t.spread for t in timings.values() if rounds > 2]
        return timings

    def _quiet_turns(self, blocks: dict[Any, Callable[[], float]], rounds: int) -> dict[Any, Timing]:
        """Take turns; if there is patience, in a quiet moment, and again where the blocks lie far apart.

        Of several tries that with the smallest spread counts, whoever it favours.
        """
        tries = []
        while len(tries) < (TRIES if self.patience else 1):
            if self.patience:
                wait_until_quiet(self.patience)
            tries.append(take_turns(blocks, rounds))
            if max(t.spread for t in tries[-1].values()) < STEADY:
                break
        return min(tries, key=lambda timings: max(t.spread for t in timings.values()))

    def noise(self) -> str:
        """Say how far apart the blocks of one case lay, over all contests."""
        if not self.spreads:
            return "no blocks were timed"
        wide = sum(s > 2 for s in self.spreads)
        return (
            f"the slowest block of a case took {statistics.median(self.spreads):.2f} times as long as its "
            f"fastest (median of {len(self.spreads)} cases; more than twice in {wide})"
        )

    def close(self) -> None:
        """End all processes."""
        for peer in self.processes.values():
            peer.close()
        self.processes.clear()
