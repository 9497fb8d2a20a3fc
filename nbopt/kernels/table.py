"""A table of parameters of one dtype that are launched together, and the arrays it points into.

The table holds addresses only as long as it holds the arrays; it is never copied or pickled (a copy
would step the original), and before each launch it is checked against the objects themselves.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numba.core import config as numba_config

from nbopt.kernels import launcher as at
from nbopt.kernels.arrays import address, empty_like, in_memory_order, is_dense, same_layout
from nbopt.kernels.headers import HEADER, slot_offset
from nbopt.kernels.launcher import CHANGED, COUNTS, GRADIENT, LAUNCHED
from nbopt.kernels.strided import StridedLaunch

_NUMBERS = struct.Struct(f"{at.NUMBERS}d")
_PADDING = (0.0,) * at.NUMBERS
_MASK = (1 << 64) - 1


def _signed(value: int) -> int:
    """Wrap a Python integer as int64 arithmetic does."""
    value &= _MASK
    return value - (1 << 64) if value >> 63 else value


def layout_digest(a: np.ndarray) -> int:
    """Digest shape and strides as `launcher._layout` does."""
    digest = a.ndim
    for n, stride in zip(a.shape, a.strides, strict=True):
        digest = digest * 1000003 + n
        if n != 1:
            digest = digest * 1000003 + stride
    return _signed(digest)


def offsets_for(owner: type) -> np.ndarray | None:
    """Return the offsets that `launcher.refresh` needs for parameters of this class, or None."""
    if HEADER is None or numba_config.DISABLE_JIT:
        return None
    slots = slot_offset(owner, "data"), slot_offset(owner, "grad")
    if None in slots:
        return None
    known = (*HEADER, object.__basicsize__, *slots, id(np.ndarray), id(owner), id(None))
    return np.array(known, np.int64)


class Table:
    """Parameters of one dtype: their addresses, states, step counts, and how to launch over them.

    Parameters
    ----------
    params : list of objects with ``data`` and ``grad``
    arrays : list of ndarray
        Their memory, one dtype.
    places : list of int
        Where each stands in its group's list.
    offsets : ndarray or None
        From `offsets_for`; None makes every step read its gradients through Python.
    """

    def __init__(
        self,
        params: Sequence[Any],
        arrays: Sequence[np.ndarray],
        places: Sequence[int],
        offsets: np.ndarray | None,
    ) -> None:
        dtype = arrays[0].dtype
        self.params, self.arrays, self.places = list(params), list(arrays), list(places)
        self.dtype, self.offsets = dtype, offsets
        self.like = np.empty(0, dtype)
        self.counts = np.zeros(len(params), np.int64)
        self.states: list[tuple[np.ndarray, ...] | None] = [None] * len(params)
        self.count: int | None = None
        self.held: list[Any] = []
        self.scratch: dict[int, np.ndarray] = {}
        self.h = np.zeros(at.NUMBERS)
        self._buffer: Any = self.h
        self.rows = np.zeros((len(params), at.COLUMNS), np.int64)
        self.strided = None if all(is_dense(a) for a in arrays) else StridedLaunch(self)
        self._fill()
        self.measure()

    def _fill(self) -> None:
        """Write what does not change from step to step."""
        native = id(np.dtype(self.dtype.type))
        for row, (p, a, place) in enumerate(zip(self.params, self.arrays, self.places, strict=True)):
            self.rows[row, : at.G] = id(p), a.size, address(a)
            self.rows[row, at.LAYOUT :] = layout_digest(a), id(a.dtype), native, place, 0

    def measure(self) -> None:
        """Count the elements and bytes that a launch over the active rows reads and writes."""
        active = self.rows[:, at.ACTIVE] != 0
        self.total = int(self.rows[active, at.SIZE].sum())
        kept = max((len(s) for s in self.states if s), default=0)
        self.nbytes = self.total * self.dtype.itemsize * (2 + kept)

    def set_states(self, row: int, states: tuple[np.ndarray, ...]) -> None:
        """Give a row its state arrays, laid out as its parameter."""
        self.states[row] = states
        self.rows[row, at.STATE : at.STATE + at.STATES] = 0
        for k, s in enumerate(states):
            self.rows[row, at.STATE + k] = address(s)

    def activate(self, active: Sequence[bool]) -> None:
        """Say which rows take part in the next launch."""
        self.rows[:, at.ACTIVE] = active
        self.measure()

    def active_rows(self) -> list[int]:
        """Return the rows that take part in the next launch."""
        return np.flatnonzero(self.rows[:, at.ACTIVE]).tolist()

    def check(self, params: list, held: list | None = None) -> int:
        """Compare the table with the objects; note where the gradients lie, ``held`` or the params' own.

        Only the addresses of gradients in ``held`` (one entry per row) may be used after this call.
        """
        if self.offsets is None or self.strided is not None:
            return GRADIENT if self._unchanged(params) else CHANGED
        source = 0 if held is None else id(held)
        answer = at.refresh(id(params), source, self.offsets, self.rows, self.counts, 0, self.like.itemsize)
        return LAUNCHED if answer == COUNTS else answer

    def _unchanged(self, params: list) -> bool:
        """Compare the table with the parameters, through Python."""
        for row, place in enumerate(self.places):
            if place >= len(params) or params[place] is not self.params[row]:
                return False
            a, now = self.arrays[row], params[place].data
            if now is not a or address(now) != self.rows[row, at.P] or now.size != self.rows[row, at.SIZE]:
                return False
            if layout_digest(now) != self.rows[row, at.LAYOUT] or not now.flags.writeable:
                return False
            if (params[place].grad is not None) != bool(self.rows[row, at.ACTIVE]):
                return False
        return True

    def take(self, row: int, gradient: np.ndarray) -> None:
        """Use this gradient for a row: as it lies, or through scratch memory in the right order."""
        a = self.arrays[row]
        apart = not np.may_share_memory(a, gradient)
        straight = gradient.flags.c_contiguous if self.strided else same_layout(gradient, a)
        if not (straight and apart and gradient.flags.aligned):
            scratch = self.scratch.get(row)
            if scratch is None or scratch.shape != gradient.shape:
                scratch = self.scratch[row] = empty_like(a)
            np.copyto(scratch, gradient)
            gradient = scratch
        self.held[row] = gradient
        self.rows[row, at.G] = address(gradient)

    def common_count(self) -> int | None:
        """Return how many steps all active rows have made, or None if they differ."""
        active = self.counts[self.rows[:, at.ACTIVE] != 0]
        if active.size == 0:
            return -1
        return int(active[0]) if (active == active[0]).all() else None

    def distinct_counts(self) -> list[int]:
        """Return the step counts that occur among the active rows."""
        return [int(c) for c in np.unique(self.counts[self.rows[:, at.ACTIVE] != 0])]

    def advance(self, ceiling: int) -> None:
        """Count a step for the active rows, up to ``ceiling``, and let go of their gradients."""
        active = self.rows[:, at.ACTIVE] != 0
        self.counts[active] = np.minimum(self.counts[active] + 1, ceiling)
        self.count = self.common_count()
        self.held = []

    def set_numbers(self, numbers: tuple[float, ...]) -> None:
        """Write a step's numbers where the loop reads them."""
        _NUMBERS.pack_into(self._buffer, 0, *numbers, *_PADDING[len(numbers) :])

    def launch(self, loop: Callable, count: int | None = None) -> None:
        """Run ``loop`` over the active rows, or only over those that have made ``count`` steps."""
        rows, total, nbytes = self.rows, self.total, self.nbytes
        if count is not None:
            rows = rows.copy()
            rows[self.counts != count, at.ACTIVE] = 0
            total = int(rows[rows[:, at.ACTIVE] != 0, at.SIZE].sum())
            nbytes = nbytes * total // max(1, self.total)
        if numba_config.DISABLE_JIT:
            self._launch_python(loop, rows)
        elif self.strided is not None:
            self.strided.launch(loop, rows)
        else:
            at.launch(at.loop_address(loop, self.dtype), rows, self.like, self.h, total, nbytes)

    def _launch_python(self, loop: Callable, rows: np.ndarray) -> None:
        """Run the plain Python loop over 1-D views: the same numbers, bit for bit."""
        empty = np.empty(0, self.dtype)
        with np.errstate(all="ignore"):
            for row in np.flatnonzero(rows[:, at.ACTIVE]):
                arrays = [self.arrays[row], self.held[row], *(self.states[row] or ())]
                lines = [in_memory_order(a) if is_dense(a) else a.reshape(-1) for a in arrays]
                p, g, *state = lines
                loop(p, g, (*state, *[empty] * (at.STATES - len(state))), self.h)
                if not is_dense(self.arrays[row]):
                    self.arrays[row][...] = p.reshape(self.arrays[row].shape)


__all__ = ["CHANGED", "COUNTS", "GRADIENT", "LAUNCHED", "Table", "layout_digest", "offsets_for"]
