"""Passes over long vectors, by a team of threads or by one: the same numbers either way.

A pass takes some vectors of one length, writes to some of them, and may return sums. Compiled code hands it
the address of a `Team`, or 0: then the pass runs where it is called. A team is given the blocks of
`reductions`, each thread a share of them, and what the blocks come to is added in their order, so
no bit depends on the number of threads, nor on whether there was a team at all.

The team's functions are called by address, so that only a solve of many variables compiles them. A solver
may have passes of its own, "stages": `sweep` runs them, and `fold` adds up what the blocks come to.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numba import prange, types
from numba.core import cgutils
from numba.core import config as numba_config
from numba.extending import intrinsic

from nbopt.kernels import launcher, reductions
from nbopt.kernels.address import call_loop, call_native, load_i64
from nbopt.kernels.clock import clock_address, seconds
from nbopt.kernels.compile import address_of, compiled
from nbopt.kernels.headers import address
from nbopt.kernels.launcher import part
from nbopt.kernels.reductions import BLOCK, blocks_of
from nbopt.kernels.views import vector

ARRAYS = 5  # vectors of a pass at most; unused ones repeat another
BYTES = 4  # vectors that a typical pass reads or writes, times the size of an element
FOUND = 3  # what a block comes to: two sums and a largest element

# The words of a team: addresses of `_run`, `_launch` and `_on_threads`; number of threads; addresses of the
# clock (or 0), of what the blocks come to, of a pass's factors, of the rest; then those of the passes, and
# of a solver's own from OWN on.
RUN, LAUNCH, THREADS, SHARES, CLOCK, RESULTS, FACTORS, REST = range(8)
DOT, AXPY_DOT, SCALE, ALONG, PAIR, COPY_MAX_ABS, OWN = range(8, 15)
KINDS = 256  # more than there are words

# Where another process holds a core, a pass waits 4 to 12 ms for it, hundreds of times as long as it takes;
# so it may after a pause, until the thread is awake. Waits add up to a debt, which other passes pay off by
# what they take: threads save about that. A debt beyond PATIENCE means a rest: one thread, for all teams.
LONG_WAIT = 1e-3  # seconds, and for each element that is read or written:
SLOWEST = 1e-9
PATIENCE, SHORTEST, LONGEST = 0.03, 0.5, 4.0
END, LENGTH, DEBT = range(3)

_DOUBLES = np.empty(0)
_rest = np.zeros(DEBT + 1)  # in seconds: when the last one ends; how long it is; the debt


@compiled(parallel=True)
def _on_threads(shares, stage, arrays, doubles):
    """Call a pass's stage on equal shares of its blocks."""
    a, b, c, d, e = arrays
    found, h = doubles
    n = blocks_of(a.size)
    for i in prange(shares):
        call_loop(stage, n * i // shares, n * (i + 1) // shares, (a, b, c, d, e), (found, h))


@compiled(inline=True)
def _account(rest, now, took, elements):
    """Note what a pass took; rest if passes wait too often, twice as long as the last time if soon again."""
    wait = took - SLOWEST * elements
    if wait > LONG_WAIT:
        rest[DEBT] += wait
        if rest[DEBT] > PATIENCE:
            rest[LENGTH] = min(max(2.0 * rest[LENGTH], SHORTEST), LONGEST)
            rest[END], rest[DEBT] = now + rest[LENGTH], 0.5 * PATIENCE
    elif rest[DEBT] > 0.0:
        rest[DEBT] -= took
        if rest[DEBT] <= 0.0:
            rest[DEBT] = rest[LENGTH] = 0.0


@compiled
def _launch(team, kind, arrays, doubles):
    """Run a pass on a team's threads, or on one while they rest.

    ``kind``: which pass, plus KINDS times the number of vectors that it reads or writes.
    """
    which, vectors = kind % KINDS, kind // KINDS
    n, stage = arrays[0].size, load_i64(team + 8 * which)
    rest = part(load_i64(team + 8 * REST), 0, DEBT + 1, _DOUBLES)
    clock = load_i64(team + 8 * CLOCK)
    began = seconds(clock) if clock != 0 else 0.0
    if began < rest[END]:
        call_loop(stage, 0, blocks_of(n), arrays, doubles)
        return
    call_loop(load_i64(team + 8 * THREADS), load_i64(team + 8 * SHARES), stage, arrays, doubles)
    if clock != 0:
        now = seconds(clock)
        _account(rest, now, now - began, vectors * n)


@compiled
def _run(team, which, t, factor, a, b, c, d, e):
    """Run a pass and return two sums and a largest element, as far as it has them."""
    n = a.size
    arrays = a, part(b, 0, n, a), part(c, 0, n, a), part(d, 0, n, a), part(e, 0, n, a)
    found = part(load_i64(team + 8 * RESULTS), 0, FOUND * blocks_of(n), _DOUBLES)
    h = part(load_i64(team + 8 * FACTORS), 0, 2, _DOUBLES)
    h[0], h[1] = t, factor
    _launch(team, which + KINDS * BYTES, arrays, (found, h))
    first, second, largest = 0.0, 0.0, 0.0
    for k in range(0, found.size, FOUND):
        first += found[k]
        second += found[k + 1]
        largest = np.maximum(largest, found[k + 2])
    return first, second, largest


@intrinsic
def _call(typing_context, team, which, t, factor, arrays):
    """Call a team's `_run`; of all arrays but the first one only the address is handed over."""
    result, line = types.UniTuple(types.float64, FOUND), arrays.dtype
    kinds = (types.intp, types.intp, types.float64, types.float64, line, *(types.intp,) * (ARRAYS - 1))

    def codegen(context, builder, signature, args):
        word = context.get_value_type(types.intp)
        run = builder.load(builder.inttoptr(args[0], word.as_pointer()))
        first, *others = cgutils.unpack_tuple(builder, args[-1])
        data = (context.make_array(line)(context, builder, a).data for a in others)
        passed = (*args[:-1], first, *(builder.ptrtoint(p, word) for p in data))
        return call_native(context, builder, result, kinds, run, passed)

    return result(types.intp, types.intp, types.float64, types.float64, arrays), codegen


@compiled(inline=True)
def dot(team, a, b):
    """Return the sum of a*b in float64."""
    if team != 0:
        return _call(team, DOT, 0.0, 0.0, (a, b, a, a, a))[0]
    return reductions.dot(a, b)


@compiled(inline=True)
def axpy_dot(team, alpha, x, y, z):
    """Add alpha*x to y in place, and return the sum of y*z."""
    if team != 0:
        return _call(team, AXPY_DOT, alpha, 0.0, (x, y, z, x, x))[0]
    return reductions.axpy_dot(alpha, x, y, z)


@compiled(inline=True)
def scale(team, factor, x, out):
    """Write factor*x to ``out``, which may be x."""
    if team != 0:
        _call(team, SCALE, 0.0, factor, (x, out, x, x, x))
        return
    number = x.dtype.type(factor)
    for k in range(out.size):
        out[k] = number * x[k]


@compiled(inline=True)
def along(team, t, x, d, out):
    """Write x + t*d to ``out``, which may be x."""
    if team != 0:
        _call(team, ALONG, t, 0.0, (x, d, out, x, x))
        return
    number = x.dtype.type(t)
    for k in range(out.size):
        out[k] = x[k] + number * d[k]


@compiled(inline=True)
def curvature_pair(team, t, factor, d, g, g_old, s, y):
    """Write the pair s = t*d, y = factor*(g - g_old); return y.s and y.y in float64."""
    if team != 0:
        first, second, _ = _call(team, PAIR, t, factor, (d, g, g_old, s, y))
        return first, second
    number, stretch = d.dtype.type(t), d.dtype.type(factor)
    for k in range(s.size):
        s[k] = d[k] * number
    for k in range(y.size):
        y[k] = (g[k] - g_old[k]) * stretch
    return reductions.dot(y, s), reductions.dot(y, y)


@compiled(inline=True)
def copy_max_abs(team, x, out):
    """Copy x to ``out``; return the largest |x|, NaN if there is one."""
    if team != 0:
        return _call(team, COPY_MAX_ABS, 0.0, 0.0, (x, out, x, x, x))[2]
    for k in range(out.size):
        out[k] = x[k]
    return reductions.max_abs(x)


if numba_config.DISABLE_JIT:  # stages have no addresses then: a number stands for all of a solver's
    _numbered: list[tuple[Callable, ...]] = []

    def stages_of(own: tuple[Callable, ...]) -> int:
        """Return a number by which `sweep` finds the stages."""
        if own not in _numbered:
            _numbered.append(own)
        return _numbered.index(own)

    def sweep(crew, which, vectors, arrays, doubles):
        """Run a stage."""
        _numbered[crew[1]][which](0, blocks_of(arrays[0].size), arrays, doubles)

else:

    def stages_of(own: tuple[Callable, ...]) -> int:
        """Compile a solver's own stages for float64, or load them; return where their addresses stand."""
        return address(_stages_of(own))

    @compiled(inline=True)
    def sweep(crew, which, vectors, arrays, doubles):
        """Run one of a solver's own stages over all blocks of the first vector; there are five.

        ``crew`` is the address of a team with these stages, or 0, and what `stages_of` returns.
        ``stage(low, high, arrays, doubles)`` does the blocks [low, high), and what it does to one may not
        depend on the others. ``doubles`` are two arrays: what the blocks come to, and numbers for the stage.
        ``vectors`` says how many it reads or writes. Called by address it is compiled only once.
        """
        team, stages = crew
        first, second = np.int64(0), blocks_of(arrays[0].size)
        if team != 0:
            first, second = team, np.int64(OWN + which + KINDS * vectors)
        runner = load_i64(team + 8 * LAUNCH if team != 0 else stages + 8 * which)
        call_loop(runner, first, second, arrays, doubles)


@compiled
def fold(found, n, sums):
    """Add up what the blocks of ``n`` elements come to, ``sums.size`` numbers each, in their order."""
    for j in range(sums.size):
        total = 0.0
        for k in range(blocks_of(n)):
            total += found[k * sums.size + j]
        sums[j] = total


@compiled
def span(k, n):
    """Return where the k-th block of ``n`` elements begins, and its length."""
    return k * BLOCK, n - k * BLOCK if k == blocks_of(n) - 1 else BLOCK


@compiled
def _block(a, k):
    """Return the k-th block."""
    start, size = span(k, a.size)
    return vector(a, start, size)


@compiled
def _dot(low, high, arrays, doubles):
    """Do `dot` on the blocks [low, high), as all stages below."""
    for k in range(low, high):
        doubles[0][FOUND * k] = reductions.dot(_block(arrays[0], k), _block(arrays[1], k))


@compiled
def _axpy_dot(low, high, arrays, doubles):
    """Do `axpy_dot`."""
    found, h = doubles
    for k in range(low, high):
        x, y, z = _block(arrays[0], k), _block(arrays[1], k), _block(arrays[2], k)
        found[FOUND * k] = reductions.axpy_dot(h[0], x, y, z)


@compiled
def _scale(low, high, arrays, doubles):
    """Do `scale`."""
    for k in range(low, high):
        scale(0, doubles[1][1], _block(arrays[0], k), _block(arrays[1], k))


@compiled
def _along(low, high, arrays, doubles):
    """Do `along`."""
    for k in range(low, high):
        along(0, doubles[1][0], _block(arrays[0], k), _block(arrays[1], k), _block(arrays[2], k))


@compiled
def _curvature_pair(low, high, arrays, doubles):
    """Do `curvature_pair`."""
    found, h = doubles
    for k in range(low, high):
        d, g, g_old = _block(arrays[0], k), _block(arrays[1], k), _block(arrays[2], k)
        s, y = _block(arrays[3], k), _block(arrays[4], k)
        found[FOUND * k], found[FOUND * k + 1] = curvature_pair(0, h[0], h[1], d, g, g_old, s, y)


@compiled
def _copy_max_abs(low, high, arrays, doubles):
    """Do `copy_max_abs`."""
    for k in range(low, high):
        doubles[0][FOUND * k + 2] = copy_max_abs(0, _block(arrays[0], k), _block(arrays[1], k))


STAGES = _dot, _axpy_dot, _scale, _along, _curvature_pair, _copy_max_abs


def _kinds(dtype: np.dtype) -> tuple[Any, Any]:
    """Return the types of a stage's arrays."""
    line, doubles = (types.Array(t, 1, "C") for t in (numba.from_dtype(dtype), types.float64))
    return types.UniTuple(line, ARRAYS), types.UniTuple(doubles, 2)


@functools.cache
def _stages_of(own: tuple[Callable, ...], dtype: np.dtype = _DOUBLES.dtype) -> np.ndarray:
    """Return the addresses of stages for a dtype; it lives for ever."""
    stage = types.void(types.intp, types.intp, *_kinds(dtype))
    return np.array([address_of(s, stage) for s in own], np.int64)


@functools.cache
def _addresses(dtype: np.dtype) -> tuple[int, ...]:
    """Compile all that every team calls for a dtype, or load it; return the addresses."""
    arrays, ways = _kinds(dtype)
    others = (types.intp,) * (ARRAYS - 1)
    numbers = types.float64, types.float64
    run = types.UniTuple(types.float64, FOUND)(types.intp, types.intp, *numbers, arrays.dtype, *others)
    way = types.void(types.intp, types.intp, arrays, ways)
    return address_of(_run, run), address_of(_launch, way), address_of(_on_threads, way)


class Team:
    """Threads for the passes of one solve over vectors of ``n`` elements; not for two solves at a time.

    Parameters
    ----------
    n : int
    dtype : numpy.dtype
    shares : int
        Number of threads.
    own : tuple of compiled functions
        The solver's own stages, passes from OWN on.

    Attributes
    ----------
    address : int
        What the passes take; valid as long as the team lives.
    """

    __slots__ = ("_factors", "_results", "_words", "address")

    def __init__(self, n: int, dtype: np.dtype, shares: int, own: tuple[Callable, ...] = ()) -> None:
        stages = *_stages_of(STAGES, dtype), *(_stages_of(own, dtype) if own else ())
        self._results, self._factors = np.zeros(FOUND * blocks_of(n)), np.zeros(2)
        arrays = address(self._results), address(self._factors), address(_rest)
        words = *_addresses(dtype), shares, clock_address(), *arrays, *stages
        self._words = np.array(words, np.int64)
        self.address = address(self._words)


def team_for(n: int, dtype: np.dtype = _DOUBLES.dtype, own: tuple[Callable, ...] = ()) -> Team | None:
    """Return a team for passes over ``n`` elements, or None where one thread is to do them.

    That is where they are few (`launcher.PARALLEL_BYTES`), where there is one thread only, and with
    Numba's threading layer "workqueue", which Python threads must not enter side by side.
    """
    if BYTES * dtype.itemsize * n < launcher.PARALLEL_BYTES or numba_config.DISABLE_JIT:
        return None
    shares = min(launcher.get_num_threads(), blocks_of(n))
    if shares < 2:
        return None
    _addresses(dtype)  # starts the threads
    return Team(n, dtype, shares, own) if numba.threading_layer() != "workqueue" else None
