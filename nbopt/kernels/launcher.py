"""One launch for every algorithm, dtype and number of arrays: loops called by address over a table.

A loop is a plain function ``loop(p, g, state, h)`` over whole 1-D arrays: the parameter, its
gradient, a tuple of three state arrays (unused ones empty) and the step's numbers in float64. It is
compiled once per dtype with one signature common to all, so that the launchers here, compiled once,
call any of them over the rows of a table in one call from Python.

The columns of a table are the constants below; one row is one parameter.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from time import perf_counter
from typing import Any

import numba
import numpy as np
from numba import carray, prange, types
from numba.core import config as numba_config

from nbopt.kernels.address import call_loop, load_i32, load_i64, pointer_to, raise_status, try_loop
from nbopt.kernels.compile import address_of, compiled

STATES = 3  # no element-wise optimizer of torch.optim keeps more than three arrays per parameter
NUMBERS = 16  # float64 numbers that a step may hand to its loop

# Columns of a table, all int64.
OBJECT, SIZE, P, G, STATE, LAYOUT, DESCR, NATIVE, PLACE, ACTIVE = 0, 1, 2, 3, 4, 7, 8, 9, 10, 11
COLUMNS = 12

# Entries of the vector of offsets (kernels/headers.py) that `refresh` reads headers by.
O_TYPE, O_DATA, O_ND, O_DIMS, O_STRIDES, O_DESCR, O_FLAGS = range(7)
O_LIST, O_P, O_G, O_NDARRAY, O_OWNER, O_NONE = range(7, 13)

# What a launch over checked headers answers: all well, or which road must be taken instead.
LAUNCHED, CHANGED, GRADIENT, COUNTS = 0, 1, 2, 3

# Below this many bytes read and written a step runs on one thread (measured: validation/crossing).
PARALLEL_BYTES = int(os.environ.get("NBOPT_PARALLEL_BYTES", 1 << 21))
# Below this many bytes it also keeps the GIL, so that nobody can free a gradient under it.
QUICK_BYTES = 1 << 21
# Multiplier of the digest of a layout: so large that no two shapes and strides that fit into memory meet.
MIX = 0x1E3779B97F4A7C15
LINE = 64  # elements: pieces of a parallel launch start at whole cache lines


@compiled
def part(start, skip, n, like):
    """Return ``n`` elements, ``skip`` after an address; none if there is nothing at the address."""
    return carray(pointer_to(start + skip * like.itemsize, like), (n if start != 0 else 0,))


@compiled
def states_of(table, row, skip, n, like):
    """Return ``n`` elements of each of a row's states; unused ones are empty."""
    a = part(table[row, STATE], skip, n, like)
    b = part(table[row, STATE + 1], skip, n, like)
    c = part(table[row, STATE + 2], skip, n, like)
    return a, b, c


@compiled
def _row(table, row, low, high, like):
    """Return the arrays of a loop's call on the elements [low, high) of one row."""
    p = part(table[row, P], low, high - low, like)
    g = part(table[row, G], low, high - low, like)
    return p, g, states_of(table, row, low, high - low, like)


@compiled
def serial(loop, table, like, h):
    """Call the loop on every active row, one after the other."""
    for row in range(table.shape[0]):
        if table[row, ACTIVE] != 0 and table[row, SIZE] > 0:
            p, g, state = _row(table, row, 0, table[row, SIZE], like)
            call_loop(loop, p, g, state, h)


@compiled
def _piece(loop, table, low, high, like, h, fault):
    """Call the loop on the elements [low, high) of all active rows laid end to end, up to a fault."""
    start = 0
    for row in range(table.shape[0]):
        if table[row, ACTIVE] != 0:
            stop = start + table[row, SIZE]
            first, last = max(low, start), min(high, stop)
            if first < last:
                p, g, state = _row(table, row, first - start, last - start, like)
                fault[0], fault[1] = try_loop(loop, p, g, state, h)
            start = stop
            if start >= high or fault[0] != 0:
                break


@compiled(parallel=True)
def parallel(loop, table, like, h, total, faults):
    """Cut all elements into equal pieces, whatever the rows' sizes, and run them on all threads.

    ``faults`` has a row of two zeros for each piece. What a loop raises is raised here, on the
    caller's thread; of several faults the first one.
    """
    pieces = faults.shape[0]
    length = (total // pieces // LINE + 1) * LINE
    for k in prange(pieces):
        _piece(loop, table, k * length, min(total, (k + 1) * length), like, h, faults[k])
    for k in range(pieces):
        raise_status(faults[k, 0], faults[k, 1])


@compiled
def _layout(array, offsets):
    """Digest shape and strides of an ndarray object; strides of axes of length 1 mean nothing."""
    nd = load_i32(array + offsets[O_ND])
    dims, strides = load_i64(array + offsets[O_DIMS]), load_i64(array + offsets[O_STRIDES])
    digest = nd
    for k in range(nd):
        n = load_i64(dims + 8 * k)
        digest = digest * MIX + n
        if n != 1:
            digest = digest * MIX + load_i64(strides + 8 * k)
    return digest


@compiled
def _gradient(array, row, table, offsets, itemsize):
    """Note a gradient's address if it lies exactly as its parameter does; tell whether it does."""
    if load_i64(array + offsets[O_TYPE]) != offsets[O_NDARRAY]:
        return False
    descr = load_i64(array + offsets[O_DESCR])
    if descr != table[row, DESCR] and descr != table[row, NATIVE]:
        return False
    if load_i32(array + offsets[O_FLAGS]) & 0x100 == 0 or _layout(array, offsets) != table[row, LAYOUT]:
        return False
    data = load_i64(array + offsets[O_DATA])
    if abs(data - table[row, P]) < table[row, SIZE] * itemsize:
        return False
    table[row, G] = data
    return True


@compiled
def _parameter(array, row, table, offsets):
    """Tell whether a parameter's array still is where and what the table says."""
    return (
        array != 0  # an empty slot: the user deleted p.data
        and load_i64(array + offsets[O_TYPE]) == offsets[O_NDARRAY]
        and load_i64(array + offsets[O_DATA]) == table[row, P]
        and load_i64(array + offsets[O_DESCR]) == table[row, DESCR]
        and load_i32(array + offsets[O_FLAGS]) & 0x500 == 0x500
        and _layout(array, offsets) == table[row, LAYOUT]
    )


@compiled(nogil=False)
def refresh(params, given, offsets, table, counts, count, itemsize):
    """Read the headers of all parameters and gradients; write the gradients' addresses to the table.

    ``params`` is the address of a list of Parameters, ``given`` that of a list of gradients, one per
    row, or 0 to read each Parameter's own. Runs under the GIL, so that no object changes meanwhile.
    Returns LAUNCHED if the table now describes this step and every active row has made ``count``
    steps before it, else what stands in the way.
    """
    items = load_i64(params + offsets[O_LIST] + 8)
    answer = LAUNCHED
    for row in range(table.shape[0]):
        place = table[row, PLACE]
        if place >= load_i64(params + offsets[O_LIST]):
            return CHANGED
        p = load_i64(items + 8 * place)
        if p != table[row, OBJECT] or load_i64(p + offsets[O_TYPE]) != offsets[O_OWNER]:
            return CHANGED
        if not _parameter(load_i64(p + offsets[O_P]), row, table, offsets):
            return CHANGED
        if given == 0:
            g = load_i64(p + offsets[O_G])
        else:
            g = load_i64(load_i64(given + offsets[O_LIST] + 8) + 8 * row)
        if g == 0 or (g != offsets[O_NONE]) != (table[row, ACTIVE] != 0):
            return CHANGED
        if g != offsets[O_NONE]:
            if not _gradient(g, row, table, offsets, itemsize):
                answer = GRADIENT
            elif counts[row] != count and answer == LAUNCHED:
                answer = COUNTS
    return answer


@compiled
def advance(table, counts, ceiling):
    """Count one more step for every active row."""
    for row in range(table.shape[0]):
        if table[row, ACTIVE] != 0 and counts[row] < ceiling:
            counts[row] += 1


@compiled(nogil=False)
def quick(loop, params, offsets, table, counts, count, ceiling, like, h):
    """Refresh, launch on one thread and count, in one call under the GIL: for small groups."""
    answer = refresh(params, 0, offsets, table, counts, count, like.itemsize)
    if answer == LAUNCHED:
        serial(loop, table, like, h)
        advance(table, counts, ceiling)
    return answer


def loop_signature(dtype: np.dtype, layout: str = "C") -> Any:
    """Return the one signature of all loops of a dtype; ``layout`` "A" lets ``p`` have a stride."""
    t = numba.from_dtype(dtype)
    line = types.Array(t, 1, "C")
    return types.void(
        types.Array(t, 1, layout), line, types.UniTuple(line, STATES), types.Array(types.float64, 1, "C")
    )


_loops: dict[tuple[Callable, np.dtype, str], tuple[Any, int]] = {}


def loop_address(loop: Callable, dtype: np.dtype, layout: str = "C") -> int:
    """Compile a loop for a dtype (once, or from disk) and return its address; it is kept for ever."""
    key = (loop, dtype, layout)
    if key not in _loops:
        dispatcher = compiled(loop)
        found = dispatcher, address_of(dispatcher, loop_signature(dtype, layout))
        _loops.setdefault(key, found)  # another thread may have been first, and use its address already
    return _loops[key][1]


if numba_config.DISABLE_JIT:  # loops have no addresses then: a number stands for each
    _numbered: list[Callable] = []

    def loop_address(loop: Callable, dtype: np.dtype, layout: str = "C") -> int:
        """Return a number by which `run_loop` finds the loop."""
        if loop not in _numbered:
            _numbered.append(loop)
        return _numbered.index(loop)

    def run_loop(loop, p, g, state, h):
        """Run a loop by its number."""
        _numbered[loop](p, g, state, h)

else:

    @compiled
    def run_loop(loop, p, g, state, h):
        """Run a loop at an address, for compiled callers with arrays of their own."""
        call_loop(loop, p, g, state, h)


_parallel_lock = threading.Lock()
_state = {"forked": False, "lock": True}


def _after_fork_in_child() -> None:
    """Pin a forked child to one thread: GNU OpenMP ends a child at its first parallel launch."""
    _state["forked"] = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


def set_num_threads(n: int) -> None:
    """Use at most ``n`` threads in the launches of this Python thread (numba.set_num_threads).

    Parameters
    ----------
    n : int
        From 1 to the number of threads that Numba started with (NUMBA_NUM_THREADS).

    Examples
    --------
    >>> import nbopt
    >>> nbopt.set_num_threads(1)
    >>> nbopt.get_num_threads()
    1
    """
    most = numba_config.NUMBA_NUM_THREADS
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or not 1 <= n <= most:
        raise ValueError(f"set_num_threads: n={n!r} must be an integer in [1, {most}]")
    numba.set_num_threads(int(n))


def get_num_threads() -> int:
    """Return how many threads a large launch of this Python thread uses.

    Examples
    --------
    >>> import nbopt
    >>> nbopt.get_num_threads() >= 1
    True
    """
    return 1 if _state["forked"] else numba.get_num_threads()


def on_all_threads(function: Callable, *args: Any) -> None:
    """Call a function compiled with ``parallel=True``: the one place where threads are started."""
    if _state["lock"]:
        # Numba picks its threading layer at the first parallel call; "workqueue" aborts the process
        # when two Python threads enter it, the others do not mind.
        with _parallel_lock:
            function(*args)
            _state["lock"] = numba.threading_layer() == "workqueue"
    else:
        function(*args)


class _Busy:
    """Keeps launches on one thread for a while after one that had to wait for its cores.

    Where another process holds a core, a parallel launch waits 8 to 30 ms for it: hundreds of times
    the step itself. Which road is taken changes no bit of the result.
    """

    def __init__(self) -> None:
        self.left = self.rest = 0

    def allows(self, nbytes: int) -> bool:
        """Tell whether to try all threads now; where the memory is large, waiting pays all the same."""
        if self.left and nbytes < 1 << 26:
            self.left -= 1
            return False
        return True

    def note(self, seconds: float, nbytes: int) -> None:
        """Learn from a parallel launch: two milliseconds more than memory takes (10 GB/s) is a wait."""
        waited = seconds > 2e-3 + nbytes / 1e10
        self.left = self.rest = min(2 * self.rest or 8, 256) if waited else 0


_busy = _Busy()


def launch(loop: int, table: np.ndarray, like: np.ndarray, h: np.ndarray, total: int, nbytes: int) -> None:
    """Run a loop over all active rows without the GIL, in parallel where that is measured to pay."""
    pieces = get_num_threads() if nbytes >= PARALLEL_BYTES and _busy.allows(nbytes) else 1
    if pieces == 1:
        serial(loop, table, like, h)
        return
    first, began = _state["lock"], perf_counter()
    on_all_threads(parallel, loop, table, like, h, total, np.zeros((pieces, 2), np.int64))
    if not first:  # the first one also compiles
        _busy.note(perf_counter() - began, nbytes)
