"""Where the numbers come from: processor, load, versions, threads."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path

from validation.peers import Entry, Peers, cores

PACKAGES = ("numba", "numpy", "scipy", "torch", "refnx", "lmfit", "matplotlib")


def processor() -> str:
    """Return the processor's name as the system tells it."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def load() -> str:
    """Return the load of the last minute: how busy others keep the machine."""
    return f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"


def versions() -> tuple[list[str], list[str]]:
    """Return installed packages with their versions, and the names of those that are missing."""
    found, missing = [f"Python {platform.python_version()}"], []
    for name in PACKAGES:
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            missing.append(name)
    return found, missing


def describe(peers: Peers) -> list[str]:
    """Return what the head of the report says about the machine."""
    found, missing = versions()
    threads = peers.call(Entry.of("validation.cases_nbopt:threads"))
    lines = [
        f"- Machine: {processor()}, {cores()} cores, {platform.system()} {platform.machine()}.",
        f"- Versions: {', '.join(found)}." + (f" Not installed: {', '.join(missing)}." if missing else ""),
        f"- Threads: nbopt {threads}; BLAS pinned to 1; torch at the best of 1 and {cores()} for each case.",
    ]
    return lines
