"""Stages of an update, each a loop over tiles that threads share: for arrays that are cut their own way.

A stage is a compiled function ``stage(low, high, arrays, doubles)``: it works on the tiles
[low, high) of five 1-D arrays of one dtype (unused ones empty), and two of float64: sums that it
leaves behind, one set a tile, and numbers. What it does to a tile may not depend on the share that
the tile is in; a stage of one tile runs on one thread. All stages are called by address from one
launch, so that they are compiled once, for one thread and for many.
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Any

import numba
import numpy as np
from numba import prange, types
from numba.core import config as numba_config

from nbopt.kernels import launcher
from nbopt.kernels.address import call_loop
from nbopt.kernels.compile import address_of, compiled

ARRAYS = 5


@compiled
def _in_turn(stages, tiles, a, b, c, d, e, sums, h):
    """Call one stage after the other."""
    for k in range(stages.size):
        call_loop(stages[k], 0, tiles[k], (a, b, c, d, e), (sums, h))


@compiled(parallel=True)
def _on_threads(shares, stages, tiles, a, b, c, d, e, sums, h):
    """Call one stage after the other, each on equal shares of its tiles."""
    for k in range(stages.size):
        stage, n = stages[k], tiles[k]
        if n == 1:
            call_loop(stage, 0, 1, (a, b, c, d, e), (sums, h))
        else:
            for i in prange(shares):
                call_loop(stage, n * i // shares, n * (i + 1) // shares, (a, b, c, d, e), (sums, h))


_addresses: dict[tuple[tuple[Callable, ...], np.dtype], np.ndarray] = {}


def _addresses_of(stages: tuple[Callable, ...], dtype: np.dtype) -> np.ndarray:
    """Return the machine addresses of stages for a dtype; the dispatchers of modules live for ever."""
    key = stages, dtype
    if key not in _addresses:
        line, doubles = (types.Array(t, 1, "C") for t in (numba.from_dtype(dtype), types.float64))
        arrays, numbers = types.UniTuple(line, ARRAYS), types.UniTuple(doubles, 2)
        signature = types.void(types.intp, types.intp, arrays, numbers)
        found = np.array([address_of(stage, signature) for stage in stages], np.int64)
        _addresses.setdefault(key, found)
    return _addresses[key]


def run(
    stages: tuple[Callable, ...],
    tiles: tuple[int, ...],
    arrays: tuple[np.ndarray, ...],
    doubles: tuple[np.ndarray, np.ndarray],
    nbytes: int,
) -> None:
    """Run stages over their numbers of tiles, in parallel if a stage's ``nbytes`` are worth it."""
    if numba_config.DISABLE_JIT:
        with np.errstate(all="ignore"):  # as in machine code
            for stage, n in zip(stages, tiles, strict=True):
                stage(0, n, arrays, doubles)
        return
    where: Any = _addresses_of(stages, arrays[0].dtype), np.array(tiles, np.int64)
    large = nbytes >= launcher.PARALLEL_BYTES and launcher._busy.allows(nbytes)
    shares = min(launcher.get_num_threads(), max(tiles)) if large else 1
    if shares < 2:
        _in_turn(*where, *arrays, *doubles)
        return
    builds, began = len(_on_threads.signatures), perf_counter()
    launcher.on_all_threads(_on_threads, shares, *where, *arrays, *doubles)
    if len(_on_threads.signatures) == builds:  # else it was compiled just now
        launcher._busy.note(perf_counter() - began, nbytes)
