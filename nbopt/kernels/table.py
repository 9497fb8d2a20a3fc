"""A table of parameters of one dtype that are launched together, and the arrays it points into.

The table holds addresses only as long as it holds the arrays; it is never copied or pickled (a copy
would step the original), and before each launch it is checked against the objects themselves.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numba.core import config as numba_config

from nbopt.kernels import launcher as at
from nbopt.kernels.arrays import empty_like, in_memory_order, is_dense, same_layout
from nbopt.kernels.headers import HEADER, address, slot_offset
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
        digest = digest * at.MIX + n
        if n != 1:
            digest = digest * at.MIX + stride
    return _signed(digest)


def offsets_for(owner: type) -> np.ndarray | None:
    """Return the offsets that `launcher.refresh` needs for parameters of this class, or None."""
    return None if HEADER is None or numba_config.DISABLE_JIT else _calibrated(owner)


@functools.cache
def _calibrated(owner: type) -> np.ndarray | None:
    """Find the offsets of a class once."""
    assert HEADER is not None
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
        Their memory, one dtype; all dense, or all with gaps.
    places : list of int
        Where each stands in its group's list.
    offsets : ndarray or None
        From `offsets_for`; None makes every step read its gradients through Python.
    fingerprint : callable
        Returns what changes when a parameter's memory is moved or laid out anew.
    scalars : int
        How many float64 numbers of state each parameter keeps besides its arrays and its count.
    """

    def __init__(
        self,
        params: Sequence[Any],
        arrays: Sequence[Any],
        places: Sequence[int],
        offsets: np.ndarray | None,
        fingerprint: Callable[[Any], tuple],
        scalars: int = 0,
    ) -> None:
        dtype = arrays[0].dtype
        self.params, self.places = list(params), list(places)
        self.arrays: list[Any] = list(arrays)
        self.dtype, self.offsets = dtype, offsets
        self.fingerprint, self.prints = fingerprint, [fingerprint(p) for p in params]
        self.active: list[bool] = [False] * len(params)
        self.like = np.empty(0, dtype)
        self.counts = np.zeros(len(params), np.int64)
        self.states: list[tuple[np.ndarray, ...] | None] = [None] * len(params)
        self.scalars = np.zeros((len(params), scalars))
        self.count: int | None = None
        self.shared: tuple[float, ...] = ()
        self.held: list[Any] = []
        self.scratch: dict[int, np.ndarray] = {}
        self.dtypes: dict[int, np.dtype] = {}  # dtype objects of gradients that are not NumPy's own
        self.h = np.zeros(at.NUMBERS)
        self._buffer: Any = self.h
        self.rows = np.zeros((len(params), at.COLUMNS), np.int64)
        self.strided = self._strided_launch(self.arrays)
        self._fill()
        self.measure()

    def _strided_launch(self, arrays: list[np.ndarray]) -> StridedLaunch | None:
        """Return the way to launch over arrays with gaps, None for dense ones."""
        return None if all(is_dense(a) for a in arrays) else StridedLaunch(arrays)

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
        if len(states) > at.STATES:
            raise ValueError(f"a loop keeps at most {at.STATES} arrays per parameter, not {len(states)}")
        self.states[row] = states
        self.rows[row, at.STATE : at.STATE + at.STATES] = 0
        for k, s in enumerate(states):
            self.rows[row, at.STATE + k] = self._address(s)

    def _address(self, a: np.ndarray) -> int:
        """Return where a state array lies."""
        return address(a)

    def activate(self, active: Sequence[bool]) -> None:
        """Say which rows take part in the next launch."""
        self.rows[:, at.ACTIVE] = self.active = list(active)
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
        fingerprint = self.fingerprint
        rows = zip(self.places, self.params, self.prints, self.active, strict=True)
        for place, known, seen, active in rows:
            if place >= len(params) or params[place] is not known:
                return False
            if fingerprint(known) != seen or (known.grad is not None) != active:
                return False
        return True

    def take(self, row: int, gradient: np.ndarray) -> None:
        """Use this gradient for a row: as it lies, or through scratch memory in the right order."""
        a = self.arrays[row]
        apart = not np.may_share_memory(a, gradient)
        straight = gradient.flags.c_contiguous if self.strided else same_layout(gradient, a)
        if not (straight and apart and gradient.flags.aligned and gradient.dtype.isnative):
            scratch = self.scratch.get(row)
            if scratch is None or scratch.shape != gradient.shape:
                scratch = self.scratch[row] = empty_like(a)
            np.copyto(scratch, gradient)
            gradient = scratch
        elif id(gradient.dtype) != self.rows[row, at.NATIVE]:  # Numba's cached functions have their own
            self.dtypes[row] = gradient.dtype
            self.rows[row, at.NATIVE] = id(gradient.dtype)
        self.held[row] = gradient
        self.rows[row, at.G] = address(gradient)

    def moments(self) -> list[tuple[int, tuple[float, ...], np.ndarray | None]]:
        """Return the distinct (steps made, scalars) among the active rows, and which rows have them."""
        active = self.rows[:, at.ACTIVE] != 0
        counts, scalars = self.counts[active], self.scalars[active]
        if counts.size == 0:
            return []
        if (counts == counts[0]).all() and (scalars == scalars[0]).all():
            return [(int(counts[0]), tuple(scalars[0].tolist()), None)]
        found: dict[tuple, list[int]] = {}
        for row in np.flatnonzero(active).tolist():
            found.setdefault((int(self.counts[row]), *self.scalars[row].tolist()), []).append(row)
        return [(key[0], key[1:], np.array(rows)) for key, rows in found.items()]

    def settle(self) -> None:
        """Note the step count that all active rows share (None if they differ, -1 without any)."""
        moments = self.moments()
        self.count = -1 if not moments else moments[0][0] if len(moments) == 1 else None
        self.shared = moments[0][1] if len(moments) == 1 else ()

    def advance(self, ceiling: int) -> None:
        """Count a step for the active rows, up to ``ceiling``, and let go of their gradients."""
        active = self.rows[:, at.ACTIVE] != 0
        self.counts[active] = np.minimum(self.counts[active] + 1, ceiling)
        self.settle()
        self.held = []

    def set_numbers(self, numbers: tuple[float, ...]) -> None:
        """Write a step's numbers where the loop reads them."""
        try:
            _NUMBERS.pack_into(self._buffer, 0, *numbers, *_PADDING[len(numbers) :])
        except (struct.error, TypeError) as error:
            few = f"a step's numbers must be at most {at.NUMBERS} floats in a tuple, not {numbers!r}"
            raise TypeError(few) from error

    def launch(self, loop: Callable, chosen: np.ndarray | None = None) -> None:
        """Run ``loop`` over the active rows, or only over the chosen ones."""
        rows, total, nbytes = self.rows, self.total, self.nbytes
        if chosen is not None:
            rows = rows.copy()
            rows[~np.isin(np.arange(len(rows)), chosen), at.ACTIVE] = 0
            total = int(rows[rows[:, at.ACTIVE] != 0, at.SIZE].sum())
            nbytes = nbytes * total // max(1, self.total)
        if numba_config.DISABLE_JIT:
            self._launch_python(loop, rows)
        elif self.strided is not None:
            self.strided.launch(loop, rows, self.like, self.h)
        else:
            if nbytes >= at.PARALLEL_BYTES and self._crossed(rows):
                nbytes = -1  # on one thread, row by row: what a thread reads no other may be writing
            at.launch(at.loop_address(loop, self.dtype), rows, self.like, self.h, total, nbytes)

    def step(self, loop: Callable, params: list, count: int, ceiling: int) -> int:
        """Launch without the GIL if only gradients changed; return LAUNCHED, or what stands in the way."""
        self.held = [p.grad for p in self.params]
        where, held = id(params), id(self.held)
        answer = at.refresh(where, held, self.offsets, self.rows, self.counts, count, self.like.itemsize)
        if answer == LAUNCHED:
            self.launch(loop)
            at.advance(self.rows, self.counts, ceiling)
        self.held = []
        return answer

    def _crossed(self, rows: np.ndarray) -> bool:
        """Tell whether a gradient lies in the memory of another row's parameter."""
        rows = rows[(rows[:, at.ACTIVE] != 0) & (rows[:, at.SIZE] > 0)]
        if len(rows) < 2:
            return False
        rows = rows[np.argsort(rows[:, at.P])]
        size, start, gradient = rows[:, at.SIZE] * self.dtype.itemsize, rows[:, at.P], rows[:, at.G]
        before = np.searchsorted(start, gradient + size) - 1  # the last that starts before its end
        return bool(((before >= 0) & ((start + size)[before] > gradient)).any())

    def launch_blocks(self, loop: Callable, row: int, blocks: np.ndarray, values: np.ndarray) -> None:
        """Run ``loop`` over blocks (first element, elements) of one parameter, gradients in ``values``."""
        starts, lengths = blocks[:, 0], blocks[:, 1]
        skip = starts * self.dtype.itemsize
        rows = np.zeros((len(blocks), at.COLUMNS), np.int64)
        rows[:, at.SIZE], rows[:, at.ACTIVE] = lengths, 1
        rows[:, at.P] = self.rows[row, at.P] + skip
        rows[:, at.G] = address(values) + (np.cumsum(lengths) - lengths) * self.dtype.itemsize
        for k in range(len(self.states[row] or ())):
            rows[:, at.STATE + k] = self.rows[row, at.STATE + k] + skip
        total = int(lengths.sum())
        if not numba_config.DISABLE_JIT:
            nbytes = total * self.dtype.itemsize * (2 + len(self.states[row] or ()))
            at.launch(at.loop_address(loop, self.dtype), rows, self.like, self.h, total, nbytes)
            return
        empty, first = np.empty(0, self.dtype), 0
        lines = [a.reshape(-1) for a in (self.arrays[row], *(self.states[row] or ()))]
        for start, n in blocks.tolist():
            p, *state = (line[start : start + n] for line in lines)
            g = values[first : first + n]
            loop(p, g, (*state, *[empty] * (at.STATES - len(state))), self.h)
            first += n

    def _launch_python(self, loop: Callable, rows: np.ndarray) -> None:
        """Run the plain Python loop over 1-D views: the same numbers, bit for bit."""
        empty = np.empty(0, self.dtype)
        with np.errstate(all="ignore"):
            for row in np.flatnonzero(rows[:, at.ACTIVE]):
                arrays = [self.arrays[row], np.asarray(self.held[row]), *(self.states[row] or ())]
                lines = [in_memory_order(a) if is_dense(a) else a.reshape(-1) for a in arrays]
                p, g, *state = lines
                loop(p, g, (*state, *[empty] * (at.STATES - len(state))), self.h)
                if not is_dense(self.arrays[row]):
                    self.arrays[row][...] = p.reshape(self.arrays[row].shape)


__all__ = ["CHANGED", "COUNTS", "GRADIENT", "LAUNCHED", "Table", "layout_digest", "offsets_for"]
