"""Where the CUDA section runs: a device, or a stand-in in host memory that shows the script is whole."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

import nbopt
from nbopt.kernels import cuda

PACKAGES = ("numba", "numba-cuda", "numpy", "torch", "cupy-cuda13x", "cupy-cuda12x")


class Device:
    """A real device: Numba's arrays, CUDA events, and the peers that are installed."""

    real = True
    sizes = (1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000)
    steps = 1000
    rotate = 512 << 20  # bytes over which inputs rotate: past any L2 cache

    def __init__(self) -> None:
        self.cuda = cuda.found().module
        self.torch = _module("torch")
        if self.torch is not None and not self.torch.cuda.is_available():
            self.torch = None
        self.torch_device, self.xp = "cuda", _module("cupy")

    def put(self, a: np.ndarray) -> Any:
        """Return a copy of a host array on the device."""
        return self.cuda.to_device(a)

    def get(self, x: Any) -> np.ndarray:
        """Return a copy of a device array on the host."""
        return x.copy_to_host()

    def copy(self, target: Any, source: Any) -> Callable[[], Any]:
        """Return a copy within the device's memory, for comparison."""
        return lambda: target.copy_to_device(source)

    def elapsed(self, calls: Callable[[], Any]) -> float:
        """Return the seconds that the device spends on ``calls``, between two events."""
        start, stop = self.cuda.event(), self.cuda.event()
        start.record()
        calls()
        stop.record()
        stop.synchronize()
        return start.elapsed_time(stop) / 1e3


class StandIn:
    """Host memory that poses as a device's, and the CPU's peers; what it times is no measurement."""

    real = False
    sizes = (1_000, 5_000)
    steps = 20
    rotate = 1 << 16

    def __init__(self) -> None:
        tests = Path(__file__).parents[1] / "tests"
        sys.path.insert(0, str(tests))
        stand_in = importlib.import_module("cuda_stand_in")
        self._array, self.calls = stand_in.DeviceArray, stand_in.StandIn(own_code=True)
        self.torch, self.torch_device, self.xp = _module("torch"), "cpu", np

    def put(self, a: np.ndarray) -> Any:
        """Return a copy of a host array that poses as a device's."""
        return self._array(a.copy())

    def get(self, x: Any) -> np.ndarray:
        """Return a copy of its values."""
        return x.host.copy()

    def copy(self, target: Any, source: Any) -> Callable[[], Any]:
        """Return a copy."""
        return lambda: np.copyto(target.host, source.host)

    def elapsed(self, calls: Callable[[], Any]) -> float:
        """Return the seconds that ``calls`` take."""
        start = perf_counter()
        calls()
        return perf_counter() - start


class Machine:
    """The device if there is one, else the stand-in, in nbopt's place of a device while it is entered."""

    def __enter__(self) -> Any:
        self._found = cuda._found
        if nbopt.cuda.is_available():
            return Device()
        machine = StandIn()
        cuda._found = lambda: (machine.calls, "")  # type: ignore[assignment]
        return machine

    def __exit__(self, *_: Any) -> None:
        cuda._found = self._found


def _module(name: str) -> Any:
    """Return a module if it is installed."""
    return importlib.import_module(name) if importlib.util.find_spec(name) else None


def versions() -> list[str]:
    """Return what is installed of the packages that matter here, with versions."""
    found = []
    for name in PACKAGES:
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            continue
    return found
