"""Launches over parameters with gaps in memory: one row of the table becomes many strided runs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numba import carray
from numpy.lib.stride_tricks import as_strided

from nbopt.kernels import launcher as at
from nbopt.kernels.address import call_loop, pointer_to
from nbopt.kernels.compile import compiled
from nbopt.kernels.launcher import part, states_of

N, RUN_P, STEP, OFFSET, OWNER = range(5)


@compiled
def strided_serial(loop, runs, table, like, h):
    """Call the loop on every run: ``p`` with its stride, gradient and states contiguous."""
    for k in range(runs.shape[0]):
        row, n, skip = runs[k, OWNER], runs[k, N], runs[k, OFFSET]
        if table[row, at.ACTIVE] != 0 and n > 0:
            p = as_strided(carray(pointer_to(runs[k, RUN_P], like), (n,)), (n,), (runs[k, STEP],))
            g = part(table[row, at.G], skip, n, like)
            call_loop(loop, p, g, states_of(table, row, skip, n, like), h)


def runs_of(a: np.ndarray, address: int, owner: int) -> np.ndarray:
    """Cut an array, in C order of its indices, into runs (elements, address, stride, offset, row)."""
    if a.size == 0:
        return np.empty((0, 5), np.int64)
    axes = [(n, stride) for n, stride in zip(a.shape, a.strides, strict=True) if n > 1]
    inner, step = axes.pop() if axes else (1, a.itemsize)
    while axes and axes[-1][1] == inner * step:  # neighbouring rows lie end to end
        inner *= axes.pop()[0]
    starts = np.array([address], np.int64)
    for n, stride in axes:
        starts = (starts[:, None] + np.arange(n, dtype=np.int64) * stride).reshape(-1)
    runs = np.empty((starts.size, 5), np.int64)
    runs[:, N], runs[:, STEP], runs[:, OWNER] = inner, step, owner
    runs[:, RUN_P], runs[:, OFFSET] = starts, np.arange(starts.size) * inner
    return runs


class StridedLaunch:
    """The runs of a table's parameters; their gradients and states are contiguous, in C order."""

    def __init__(self, arrays: list[np.ndarray]) -> None:
        self.arrays, self.runs = arrays, np.empty((0, 5), np.int64)

    def launch(self, loop: Callable, rows: np.ndarray, like: np.ndarray, h: np.ndarray) -> None:
        """Run ``loop`` over the runs of all active rows, on one thread."""
        if not len(self.runs):
            cut = [runs_of(a, int(rows[k, at.P]), k) for k, a in enumerate(self.arrays)]
            self.runs = np.concatenate(cut)
        loop_at = at.loop_address(loop, like.dtype, "A")
        strided_serial(loop_at, self.runs, rows, like, h)
