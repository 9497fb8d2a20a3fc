"""One launch on a device for every algorithm: the same loops, over a table of arrays of any sizes.

A thread reads a few elements of each array into registers, hands them to the loop as arrays of that
length, and writes back what the loop may have changed. So all reads of a thread are on their way
before its first write, which a loop over the arrays themselves would not allow (they might overlap),
and neighbouring threads read neighbouring elements.

The table on the device has one column per array; its rows are the constants below.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

from nbopt.kernels import cuda
from nbopt.kernels import launcher as at

# Not measured on a device: chosen so that a multiprocessor has over 25 kB of reads on their way.
THREADS = 128  # of a block
EACH = 4  # elements of each array that a thread holds
ROUNDS = 4  # times it does so
STRIDE = THREADS * EACH
CHUNK = STRIDE * ROUNDS  # elements that a block treats, all of one array

# Rows of the table on the device, all int64.
FIRST, SIZE, P, G, STATE = 0, 1, 2, 3, 4  # FIRST: the first of all chunks that is this array's
ROWS = STATE + at.STATES


def memory_access(tools: SimpleNamespace, dtype: np.dtype) -> tuple[Any, Any]:
    """Make the functions that read an element at an address, and write one."""
    element, word = getattr(tools.types, dtype.name), tools.types.int64

    def place(context: Any, builder: Any, address: Any, index: Any) -> Any:
        pointer = context.get_value_type(element).as_pointer(tools.space)  # 1: global memory of a device
        return builder.gep(builder.inttoptr(address, pointer), [index])

    @tools.intrinsic
    def load(typing_context, address, index):
        def codegen(context, builder, signature, args):
            return builder.load(place(context, builder, *args))

        return element(word, word), codegen

    @tools.intrinsic
    def store(typing_context, address, index, value):
        def codegen(context, builder, signature, args):
            builder.store(args[2], place(context, builder, args[0], args[1]))
            return context.get_dummy_value()

        return tools.types.void(word, word, element), codegen

    return load, store


def registers(tools: SimpleNamespace, dtype: np.dtype, n: int) -> Any:
    """Make a function that returns a new array of ``n`` elements, which the compiler keeps in registers."""
    element = getattr(tools.types, dtype.name)
    line = tools.types.Array(element, 1, "C")

    @tools.intrinsic
    def stack(typing_context):
        def codegen(context, builder, signature, args):
            kind, size = context.get_value_type(element), context.get_value_type(tools.types.intp)
            with builder.goto_entry_block():
                data = builder.alloca(kind, size(max(n, 1)))
            array = context.make_array(line)(context, builder)
            shape, strides, itemsize = [size(n)], [size(dtype.itemsize)], size(dtype.itemsize)
            context.populate_array(
                array, data=data, shape=shape, strides=strides, itemsize=itemsize, meminfo=None
            )
            return array._getvalue()

        return line(), codegen

    return stack


def thread_work(tools: SimpleNamespace, loop: Callable, dtype: np.dtype, states: int) -> Callable:
    """Make the function that does one thread's share of a block, for a loop that keeps ``states`` arrays."""
    load, store = memory_access(tools, dtype)
    step, column = tools.device_function(loop), tools.device_function(column_of)
    some, none = registers(tools, dtype, EACH), registers(tools, dtype, 0)
    one, two, three = (states > k for k in range(at.STATES))
    new_a, new_b, new_c = (some if used else none for used in (one, two, three))

    def work(block, thread, table, arrays, h):
        k = column(block, table, arrays)
        last = table[SIZE * arrays + k] - 1
        p_at, g_at, a_at = table[P * arrays + k], table[G * arrays + k], table[STATE * arrays + k]
        b_at, c_at = table[(STATE + 1) * arrays + k], table[(STATE + 2) * arrays + k]
        p, g, a, b, c = some(), some(), new_a(), new_b(), new_c()
        start = (block - table[FIRST * arrays + k]) * CHUNK + thread
        for _ in range(ROUNDS):
            if start > last:
                break
            for j in range(EACH):
                i = start + j * THREADS
                i = i if i < last else last  # past the end the last element is read, and nothing written
                p[j], g[j] = load(p_at, i), load(g_at, i)
                if one:
                    a[j] = load(a_at, i)
                if two:
                    b[j] = load(b_at, i)
                if three:
                    c[j] = load(c_at, i)
            step(p, g, (a, b, c), h)
            for j in range(EACH):
                i = start + j * THREADS
                if i <= last:
                    store(p_at, i, p[j])
                    if one:
                        store(a_at, i, a[j])
                    if two:
                        store(b_at, i, b[j])
                    if three:
                        store(c_at, i, c[j])
            start += STRIDE

    return work


def column_of(block, table, arrays):
    """Return the array that a block's chunk belongs to: the last one whose first chunk is not beyond it."""
    low, high = 0, arrays - 1
    while low < high:
        middle = (low + high + 1) // 2
        if table[middle] <= block:
            low = middle
        else:
            high = middle - 1
    return low


def kernel(tools: SimpleNamespace, loop: Callable, dtype: np.dtype, states: int) -> Callable:
    """Make the kernel of a loop, to be compiled by the caller."""
    work, cuda_module = tools.device_function(thread_work(tools, loop, dtype, states)), tools.cuda

    def step(table, arrays, h):
        work(cuda_module.blockIdx.x, cuda_module.threadIdx.x, table, arrays, h)

    return step


def signature(types: Any) -> Any:
    """Return the one signature of all kernels: table, number of arrays, the step's numbers."""
    numbers = types.UniTuple(types.float64, at.NUMBERS)
    return types.void(types.Array(types.int64, 1, "C"), types.int64, numbers)


def ptx_of(loop: Callable, dtype: Any, states: int, capability: tuple[int, int] = (9, 0)) -> str:
    """Compile a loop's kernel to PTX; no device is needed, only libNVVM."""
    return cuda.ptx(kernel, (loop, np.dtype(dtype), states), signature, capability)


def columns(rows: np.ndarray) -> tuple[np.ndarray, int]:
    """Return a launcher's table of active rows as the device's, and the number of blocks."""
    rows = rows[(rows[:, at.ACTIVE] != 0) & (rows[:, at.SIZE] > 0)]
    blocks = -(-rows[:, at.SIZE] // CHUNK)
    table = np.empty((ROWS, len(rows)), np.int64)
    table[FIRST] = np.cumsum(blocks) - blocks
    table[SIZE], table[P], table[G] = rows[:, at.SIZE], rows[:, at.P], rows[:, at.G]
    table[STATE:] = rows[:, at.STATE : at.STATE + at.STATES].T
    return table.reshape(-1), int(blocks.sum())


class _Sent:
    """A table that was sent: what it holds, where it lies, and a mark after its last launch."""

    def __init__(self, device: Any, n: int) -> None:
        self.pinned, self.numbers, self.event = device.pinned(n), device.numbers(n), device.event()
        self.stream: int | None = None

    def holds(self, table: np.ndarray, stream: int) -> bool:
        """Tell whether this is that table, sent in that stream."""
        return self.stream == stream and np.array_equal(self.pinned, table)


_in_flight: list[_Sent] = []
MOST = 16  # tables held before it is asked which of them are done with


class DeviceLauncher:
    """Launches over tables that are sent only when they change, without ever waiting for the device.

    A table's memory is written again only once the device is past its last launch; until then a new
    one is taken, so that the host may run ahead.
    """

    KEPT = 4  # tables that wait for their return before the oldest is given up

    def __init__(self, device: Any) -> None:
        self.device = device
        self.tables: list[_Sent] = []
        self._rows = np.empty((0, at.COLUMNS), np.int64)
        self._columns = columns(self._rows)

    def launch(self, loop: Callable, dtype: np.dtype, states: int, rows: np.ndarray, h: np.ndarray,
               stream: int) -> None:  # fmt: skip
        """Put one launch over all active rows into the stream."""
        if not np.array_equal(rows, self._rows):
            self._rows, self._columns = rows.copy(), columns(rows)
        table, blocks = self._columns
        if not blocks:
            return
        sent = self.sent(table, stream)
        numbers = tuple(h.tolist())
        chosen = kernel_of(self.device, loop, dtype, states)
        arguments = sent.numbers, table.size // ROWS, numbers
        self.device.launch(chosen, blocks, THREADS, stream, arguments)
        self.note(sent, stream)

    def note(self, sent: _Sent, stream: int) -> None:
        """Mark a table's last launch, and hold its memory until then, whoever drops this launcher."""
        self.device.record(sent.event, stream)
        if len(_in_flight) > MOST:
            _in_flight[:] = [s for s in _in_flight if not self.device.done(s.event)]
        if all(s is not sent for s in _in_flight):
            _in_flight.append(sent)

    def sent(self, table: np.ndarray, stream: int) -> _Sent:
        """Return the table on the device; send it if it is not there."""
        for sent in self.tables:
            if sent.holds(table, stream):
                self.tables.append(self.tables.pop(self.tables.index(sent)))
                return sent
        sent = self._free(table.size)
        sent.pinned[:] = table
        self.device.send(sent.pinned, sent.numbers, stream)
        sent.stream = stream
        self.tables.append(sent)
        return sent

    def _free(self, n: int) -> _Sent:
        """Return the longest unused memory that the device is done with, or new memory."""
        if len(self.tables) >= self.KEPT:
            for sent in self.tables:
                if sent.pinned.size == n and self.device.done(sent.event):
                    self.tables.remove(sent)
                    return sent
            self.tables = [s for s in self.tables if s.pinned.size == n or not self.device.done(s.event)]
        return _Sent(self.device, n)


def let_wait(device: Any, later: list[int], first: list[int]) -> None:
    """Let streams go on only after what others were given so far; the host does not wait."""
    if not later:
        return
    for stream in first:
        event = device.event()
        device.record(event, stream)
        for other in later:
            device.wait(other, event)


@functools.cache
def kernel_of(device: Any, loop: Callable, dtype: np.dtype, states: int) -> Any:
    """Return the kernel of a loop on a device, compiled at its first launch."""
    return device.kernel(kernel, loop, dtype, states)
