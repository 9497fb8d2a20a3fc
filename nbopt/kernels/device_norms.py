"""Norms over arrays on a device, and the loops that scale or clamp them there.

As in norms.py every chunk gives one float64 number and the host adds these in the order of the table:
a block is a chunk, its threads' sums meet in a fixed tree, so a norm is the same every time.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

from nbopt.kernels import cuda
from nbopt.kernels import launcher as at
from nbopt.kernels.cuda import DeviceMemory
from nbopt.kernels.cuda_launcher import (
    CHUNK,
    EACH,
    FIRST,
    ROUNDS,
    ROWS,
    SIZE,
    THREADS,
    DeviceLauncher,
    P,
    column_of,
    columns,
    let_wait,
    memory_access,
)
from nbopt.kernels.norms import COMPONENT, LARGEST, POWERS, SMALLEST, SQUARES, SUM, Lines

OPERATIONS = SQUARES, SUM, COMPONENT, SMALLEST, POWERS


def thread_term(tools: SimpleNamespace, op: int, dtype: np.dtype) -> Callable:
    """Make the function that returns what one thread's elements of a block come to, in float64."""
    load, _ = memory_access(tools, dtype)
    column = tools.device_function(column_of)
    least, double = op == SMALLEST, tools.types.float64

    def term(block, thread, table, arrays, p, unit):
        k = column(block, table, arrays)
        last, start_at = table[SIZE * arrays + k] - 1, table[P * arrays + k]
        start = (block - table[FIRST * arrays + k]) * CHUNK + thread
        total = math.inf if least else 0.0
        for j in range(EACH * ROUNDS):
            i = start + j * THREADS
            if i <= last:
                x = abs(double(load(start_at, i)))
                if op == SQUARES:
                    total += x * x
                elif op == SUM:
                    total += x
                elif op == POWERS:
                    total += (x / unit) ** p
                elif least:
                    total = np.minimum(total, x / unit)
                else:
                    total = np.maximum(total, x / unit)
        return total

    return term


def joined(op: int) -> Callable:
    """Return the function that makes one number of two threads'."""
    if op in (COMPONENT, LARGEST):
        return lambda a, b: np.maximum(a, b)
    return (lambda a, b: np.minimum(a, b)) if op == SMALLEST else (lambda a, b: a + b)


def reduction(tools: SimpleNamespace, op: int, dtype: np.dtype) -> Callable:
    """Make the kernel that writes one number for each block."""
    term, join = (tools.device_function(f) for f in (thread_term(tools, op, dtype), joined(op)))
    module, double = tools.cuda, tools.types.float64

    def reduce(table, arrays, p, unit, terms):
        thread, half = module.threadIdx.x, THREADS // 2
        shared = module.shared.array(THREADS, double)
        shared[thread] = term(module.blockIdx.x, thread, table, arrays, p, unit)
        module.syncthreads()
        while half > 0:
            if thread < half:
                shared[thread] = join(shared[thread], shared[thread + half])
            module.syncthreads()
            half //= 2
        if thread == 0:
            terms[module.blockIdx.x] = shared[0]

    return reduce


def signature(types: Any) -> Any:
    """Return the signature of all reductions: table, number of arrays, order, unit, one number per block."""
    line = types.Array(types.int64, 1, "C"), types.int64, types.float64, types.float64
    return types.void(*line, types.Array(types.float64, 1, "C"))


def ptx_of(op: int, dtype: Any, capability: tuple[int, int] = (9, 0)) -> str:
    """Compile a reduction to PTX; no device is needed, only libNVVM."""
    return cuda.ptx(reduction, (op, np.dtype(dtype)), signature, capability)


@functools.cache
def _kernel_of(device: Any, op: int, dtype: np.dtype) -> Any:
    """Return a reduction on a device, compiled at its first launch."""
    return device.kernel(reduction, op, dtype)


def scaled(p, g, state, h):
    """Multiply by two factors; the second is 1 unless their product is too small for the dtype."""
    first, second = p.dtype.type(h[0]), p.dtype.type(h[1])
    for i in range(p.size):
        p[i] = p[i] * first * second


def clamped(p, g, state, h):
    """Move what lies outside [-limit, limit] to its edge; NaN stays."""
    limit = p.dtype.type(h[0])
    for i in range(p.size):
        p[i] = np.minimum(np.maximum(p[i], -limit), limit)


class _Part:
    """Arrays of one dtype on one device, with the streams that they are used in."""

    def __init__(self, device: Any, memories: Sequence[DeviceMemory], streams: Sequence[int]) -> None:
        self.device, self.number, self.dtype = device, memories[0].device, memories[0].dtype
        self.main, self.others = streams[0], sorted(set(streams) - {streams[0]})
        self.launcher = DeviceLauncher(device)
        self.rows = np.zeros((len(memories), at.COLUMNS), np.int64)
        for row, memory in enumerate(memories):
            self.rows[row, at.SIZE] = memory.size
            self.rows[row, [at.P, at.G]] = memory.pointer
        self.rows[:, at.ACTIVE] = 1

    def terms(self, op: int, p: float, unit: float) -> np.ndarray:
        """Return one number for each block; the host waits for them."""
        table, blocks = columns(self.rows)
        if not blocks:
            return np.empty(0)
        with self.device.on(self.number):
            let_wait(self.device, [self.main], self.others)
            found = self.device.doubles(blocks)
            sent = self.launcher.sent(table, self.main)
            arguments = sent.numbers, table.size // ROWS, float(p), float(unit), found
            chosen = _kernel_of(self.device, op, self.dtype)
            self.device.launch(chosen, blocks, THREADS, self.main, arguments)
            self.launcher.note(sent, self.main)
            return self.device.fetch(found, self.main)

    def change(self, loop: Callable, numbers: tuple[float, float]) -> None:
        """Run a loop over all elements, in place."""
        h = np.zeros(at.NUMBERS)
        h[:2] = numbers
        with self.device.on(self.number):
            let_wait(self.device, [self.main], self.others)
            self.launcher.launch(loop, self.dtype, 0, self.rows, h, self.main)
            let_wait(self.device, self.others, [self.main])


class DeviceLines(Lines):
    """Arrays on devices, measured and changed there; complex numbers count as pairs of reals.

    Parameters
    ----------
    device : Cuda
        From `cuda.device`.
    memories : list of DeviceMemory
    streams : list of int
        The stream that each is used in.
    """

    __slots__ = ("parts",)

    def __init__(self, device: Any, memories: list[DeviceMemory], streams: list[int]) -> None:
        super().__init__(np.empty((0, 3), np.int64), memories)
        kinds: dict[Any, list[int]] = {}
        for k, memory in enumerate(memories):
            kinds.setdefault((memory.device, memory.dtype), []).append(k)
        chosen = [[(memories[k], streams[k]) for k in places] for places in kinds.values()]
        self.parts = [_Part(device, *zip(*members, strict=True)) for members in chosen]

    @property
    def total(self) -> int:
        """Number of reals."""
        return sum(memory.size for memory in self.held)

    @property
    def pairs(self) -> bool:
        """Tell whether any array holds complex numbers."""
        return any(memory.pairs for memory in self.held)

    def norm(self, p: float) -> tuple[float, float]:
        """Return (unit, length) as `Lines.norm` does; of complex numbers only the order 2 is computed."""
        if self.pairs and p != 2:
            raise TypeError("complex gradients on a device: norm_type must be 2")
        return super().norm(p)

    def _terms(self, op: int, p: float, unit: float, top: float) -> np.ndarray:
        """Return one number for each block of all parts."""
        return np.concatenate([np.empty(0), *(part.terms(op, p, unit * top) for part in self.parts)])

    def _squares(self) -> float:
        """Return the sum of all squares."""
        return self.reduce(SQUARES)

    def _change(self, clamp: bool, first: float, second: float) -> None:
        """Change all elements in place."""
        for part in self.parts:
            part.change(clamped if clamp else scaled, (first, second))
