"""A table of parameters in the memory of a device: as `Table`, but every launch goes into a stream."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nbopt.kernels import launcher as at
from nbopt.kernels.arrays import same_layout
from nbopt.kernels.cuda import DeviceMemory, memory_of
from nbopt.kernels.cuda_launcher import DeviceLauncher, let_wait
from nbopt.kernels.table import Table


class DeviceTable(Table):
    """Parameters of one dtype on one device.

    Parameters
    ----------
    device : Cuda
        From `cuda.device`.
    params, places, fingerprint, scalars
        As in `Table`; ``fingerprint`` also tells when the stream of an array is another.
    memories : list of DeviceMemory
        Where the parameters lie.
    stream_of : callable
        Returns the stream that a parameter's owner works in now, None if there is no such thing.
    where_state : callable
        Returns where a state array lies.
    """

    def __init__(
        self,
        device: Any,
        params: Sequence[Any],
        memories: Sequence[DeviceMemory],
        places: Sequence[int],
        fingerprint: Callable[[Any], tuple],
        scalars: int,
        stream_of: Callable[[Any], int | None],
        where_state: Callable[[Any, str], DeviceMemory] = memory_of,
    ) -> None:
        self.device, self.number = device, memories[0].device
        self.launcher = DeviceLauncher(device)
        self.stream_of, self.where_state = stream_of, where_state
        self.streams: set[int | None] = set()
        super().__init__(params, memories, places, None, fingerprint, scalars)

    def _strided_launch(self, arrays: Any) -> None:
        """Return nothing: arrays with gaps do not come here."""

    def _fill(self) -> None:
        """Write what does not change from step to step."""
        for row, (memory, place) in enumerate(zip(self.arrays, self.places, strict=True)):
            self.rows[row, at.SIZE], self.rows[row, at.P] = memory.size, memory.pointer
            self.rows[row, at.PLACE] = place

    def _address(self, a: Any) -> int:
        """Return where a state array lies."""
        return self.where_state(a, "a state").pointer

    def begin(self) -> None:
        """Forget the gradients of the step before."""
        self.held, self.streams = [None] * len(self.params), set()

    def take(self, row: int, gradient: Any) -> None:
        """Use this gradient for a row; it lies as its parameter does."""
        self.held[row] = gradient
        self.streams.add(gradient.stream)
        self.rows[row, at.G] = gradient.pointer

    def take_all(self, rows: list[int], held: list[Any], pointers: list[int], streams: set) -> bool:
        """Use gradients that lie as their parameters do, unless one lies in its parameter's memory."""
        where, known = np.array(pointers, np.int64), self.rows[rows]
        if (np.abs(where - known[:, at.P]) < known[:, at.SIZE] * self.like.itemsize).any():
            return False
        self.held, self.streams = held, streams
        self.rows[rows, at.G] = where
        return True

    def fits(self, row: int, gradient: DeviceMemory) -> bool:
        """Tell whether a gradient can be used as it lies: an element may only meet its own parameter."""
        a = self.arrays[row]
        apart = gradient.end <= a.pointer or a.end <= gradient.pointer or gradient.pointer == a.pointer
        return apart and same_layout(gradient, a)

    def crossed(self) -> bool:
        """Tell whether a gradient lies in the memory of another row's parameter."""
        return self._crossed(self.rows)

    def launch(self, loop: Callable, chosen: np.ndarray | None = None) -> None:
        """Put a launch over the active rows, or only over the chosen ones, into the caller's stream."""
        rows = self.rows
        if chosen is not None:
            rows = rows.copy()
            rows[~np.isin(np.arange(len(rows)), chosen), at.ACTIVE] = 0
        active = np.flatnonzero(rows[:, at.ACTIVE]).tolist()
        if not active:
            return
        kept = max(len(s) for s in self.states if s is not None)
        stream = self.stream_of(self.params[active[0]])
        main = 0 if stream is None else stream
        known = self.streams | {self.arrays[row].stream for row in active}
        others = sorted(s for s in known if s is not None and s != main)
        with self.device.on(self.number):
            let_wait(self.device, [main], others)
            self.launcher.launch(loop, self.dtype, kept, rows, self.h, main)
            let_wait(self.device, others, [main])
