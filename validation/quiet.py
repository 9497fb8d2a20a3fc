"""A quiet machine: how busy others keep it, and waiting until they do not."""

from __future__ import annotations

import time
from pathlib import Path

BUSY = 0.1  # share of all cores' time; more than this disturbs


def _ticks() -> tuple[int, int] | None:
    """Return the cores' idle and total time so far, or None where the system does not tell."""
    stat = Path("/proc/stat")
    if not stat.exists():
        return None
    fields = [int(word) for word in stat.read_text().splitlines()[0].split()[1:9]]
    return fields[3] + fields[4], sum(fields)


def busy(seconds: float = 0.3) -> float:
    """Return the share of all cores' time that was used during the next ``seconds``."""
    before = _ticks()
    time.sleep(seconds)
    after = _ticks()
    if before is None or after is None or after[1] == before[1]:
        return 0.0
    return 1.0 - (after[0] - before[0]) / (after[1] - before[1])


def wait_until_quiet(patience: float) -> None:
    """Return when the machine is idle, or after ``patience`` seconds."""
    end = time.monotonic() + patience
    while time.monotonic() < end and busy() > BUSY:
        pass
