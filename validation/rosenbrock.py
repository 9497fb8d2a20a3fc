"""Rosenbrock's chain with its gradient: compiled, and as a Python function of NumPy calls."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from scipy.optimize import rosen, rosen_der


@numba.njit(cache=True)
def compiled(x):
    """Return value and gradient in one pass."""
    f, g = 0.0, np.zeros(x.size)
    for i in range(x.size - 1):
        a, b = 1.0 - x[i], x[i + 1] - x[i] * x[i]
        f += a * a + 100.0 * b * b
        g[i] -= 2.0 * a + 400.0 * x[i] * b
        g[i + 1] += 200.0 * b
    return f, g


def lean(x: np.ndarray) -> tuple[Any, np.ndarray]:
    """Return value and gradient through a Python function that costs next to nothing."""
    return compiled(x)


def numpy(x: np.ndarray) -> tuple[Any, np.ndarray]:
    """Return value and gradient as a user of NumPy writes them."""
    return rosen(x), rosen_der(x)


FUNCTIONS: dict[str, Callable] = {"compiled": compiled, "Python, lean": lean, "Python, NumPy": numpy}


def clock(n: int) -> Callable[[], float]:
    """Return the clock for a solve: CPU time, or wall time where more than one thread may work."""
    return time.process_time if n <= 1000 else time.perf_counter


def start(n: int) -> np.ndarray:
    """Return the usual start: -1.2 and 1 in turn."""
    return np.resize([-1.2, 1.0], n)
