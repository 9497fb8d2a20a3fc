"""Peers: each library runs in a process of its own, with its own thread pool, one at a time."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any

from validation.timing import Timing, take_turns

BLAS_PINNED = {"OPENBLAS_NUM_THREADS": "1", "VECLIB_MAXIMUM_THREADS": "1", "BLIS_NUM_THREADS": "1"}
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

        timings = take_turns({key: lambda key=key: block(key) for key in entries}, rounds)
        for peer in used:
            peer.ask(do="drop")
        return timings

    def close(self) -> None:
        """End all processes."""
        for peer in self.processes.values():
            peer.close()
        self.processes.clear()
