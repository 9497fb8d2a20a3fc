"""Norms over many arrays in one compiled pass, and the loops that scale or clamp them in place.

The arrays are rows of a table of addresses. All are cut at multiples of CHUNK elements, and the
chunks' sums are added in the order of the table, so a result does not depend on how many threads
there are. Sums are float64; where one of them overflows or underflows the pass is made again in
units of the largest element, so that a norm is as large as the numbers it measures, no larger.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import prange
from numba.core import config as numba_config

from nbopt.kernels.address import load_i32, load_i64
from nbopt.kernels.arrays import PAIRS as COMPLEX
from nbopt.kernels.compile import compiled
from nbopt.kernels.headers import ALIGNED, HEADER, WRITEABLE, address
from nbopt.kernels.launcher import PARALLEL_BYTES, get_num_threads, on_all_threads, part
from nbopt.kernels.reductions import dot, max_abs, sum_abs

# Columns of a table, all int64. SIZE counts reals; in a row of complex numbers two make one element.
ADDRESS, SIZE, KIND = 0, 1, 2
COLUMNS = 3
SINGLE, DOUBLE, PAIRS = 0, 1, 2  # a KIND is SINGLE or DOUBLE, plus PAIRS for complex numbers
KINDS = {np.dtype(np.float32): SINGLE, np.dtype(np.float64): DOUBLE}
KINDS |= {pair: KINDS[real] + PAIRS for pair, real in COMPLEX.items()}

# What a pass computes.
SQUARES, SUM, COMPONENT, LARGEST, SMALLEST, POWERS = range(6)

CHUNK = 1 << 15  # even, so that a complex number is never cut
# Up to these many bytes arrays are read and summed in one call, with the GIL held.
QUICK_BYTES = 1 << 20
FEW = 64  # rows whose pairs are compared faster than NumPy sorts them
# Sums of squares in this range have lost nothing to overflow or underflow.
SAFE = (1e-270, math.inf)

O_TYPE, O_DATA, O_ND, O_DIMS, _, O_DESCR, O_FLAGS, O_LIST, O_NDARRAY, O_KINDS = range(10)
CONTIGUOUS = 3  # NumPy's flags for C and for Fortran order; either will do
EVERYTHING = 1 << 62  # no memory has so many elements
NO_HEADERS, LARGE = -1.0, -2.0  # what `quick_squares` answers if it cannot or should not do all

_SINGLES, _DOUBLES = np.empty(0, np.float32), np.empty(0, np.float64)


def _offsets() -> np.ndarray | None:
    """Return what `scan` must know to read headers, or None where it cannot."""
    if HEADER is None or numba_config.DISABLE_JIT:
        return None
    dtypes = sorted(KINDS, key=lambda dtype: KINDS[dtype])
    known = (*HEADER, object.__basicsize__, id(np.ndarray), *map(id, dtypes))
    return np.array(known, np.int64)


OFFSETS = _offsets()


@compiled(nogil=False)
def scan(items, offsets, need, table):
    """Read where the arrays of the list at ``items`` lie into a table; return how many bytes they have.

    -1 if one is no plain ndarray of floats in this machine's byte order, has gaps, or lacks a flag
    of ``need``. Runs under the GIL, so that no object changes meanwhile.
    """
    total = 0
    first = load_i64(items + offsets[O_LIST] + 8)
    for row in range(table.shape[0]):
        a = load_i64(first + 8 * row)
        if load_i64(a + offsets[O_TYPE]) != offsets[O_NDARRAY]:
            return -1
        flags = load_i32(a + offsets[O_FLAGS])
        if flags & need != need or flags & CONTIGUOUS == 0:
            return -1
        descr, kind = load_i64(a + offsets[O_DESCR]), 0
        while kind < 4 and descr != offsets[O_KINDS + kind]:
            kind += 1
        if kind == 4:
            return -1
        size, dims = 1 + kind // PAIRS, load_i64(a + offsets[O_DIMS])
        for k in range(load_i32(a + offsets[O_ND])):
            size *= load_i64(dims + 8 * k)
        table[row, ADDRESS], table[row, SIZE], table[row, KIND] = load_i64(a + offsets[O_DATA]), size, kind
        total += size * (4 + 4 * (kind & DOUBLE))
    return total


@compiled
def _squares(table, row, start, n):
    """Return the sum of squares of ``n`` reals of a row."""
    if table[row, KIND] & DOUBLE:
        a = part(table[row, ADDRESS], start, n, _DOUBLES)
        return dot(a, a)
    b = part(table[row, ADDRESS], start, n, _SINGLES)
    return dot(b, b)


@compiled
def _squares_in_order(table):
    """Return the sum of all squares, added up chunk by chunk."""
    total = 0.0
    for row in range(table.shape[0]):
        for start in range(0, table[row, SIZE], CHUNK):
            total += _squares(table, row, start, min(CHUNK, table[row, SIZE] - start))
    return total


@compiled(nogil=False)
def quick_squares(items, offsets, need, table, most):
    """Scan a list of arrays and return the sum of their squares; NO_HEADERS or LARGE if not done."""
    nbytes = scan(items, offsets, need, table)
    if nbytes < 0:
        return NO_HEADERS
    if nbytes > most:
        return LARGE
    return _squares_in_order(table)


@compiled
def _moduli(op, pairs, singles, doubles, p, unit, top):
    """Return one number for the moduli |z| / unit of a piece; one of the two arrays is empty."""
    total = np.inf if op == SMALLEST else 0.0
    y = 0.0
    for k in range(0, singles.size + doubles.size, 1 + pairs):
        x = doubles[k] if doubles.size else np.float64(singles[k])
        if pairs:
            y = doubles[k + 1] if doubles.size else np.float64(singles[k + 1])
        r = np.hypot(x / unit, y / unit)
        if op == POWERS:
            total += (r / top) ** p
        elif op == SMALLEST:
            total = np.minimum(total, r)
        else:
            total = np.maximum(total, r)
    return total


@compiled
def _quick_term(op, singles, doubles):
    """Return one number for the reals of a piece, in fixed lanes; one of the two arrays is empty."""
    if op == SQUARES:
        return dot(singles, singles) + dot(doubles, doubles)
    if op == SUM:
        return sum_abs(singles) + sum_abs(doubles)
    return np.maximum(max_abs(singles), max_abs(doubles))


@compiled
def _term(op, table, row, start, n, p, unit, top):
    """Return one number for ``n`` reals of a row."""
    double = table[row, KIND] & DOUBLE
    singles = part(table[row, ADDRESS], start, 0 if double else n, _SINGLES)
    doubles = part(table[row, ADDRESS], start, n if double else 0, _DOUBLES)
    if op <= COMPONENT:
        return _quick_term(op, singles, doubles)
    return _moduli(op, table[row, KIND] >= PAIRS, singles, doubles, p, unit, top)


@compiled
def _terms(op, table, low, high, p, unit, top, terms):
    """Write the terms of the chunks that start in [low, high) of all rows laid end to end."""
    at, chunk = 0, 0
    for row in range(table.shape[0]):
        size = table[row, SIZE]
        for start in range(0, size, CHUNK):
            if low <= at + start < high:
                terms[chunk] = _term(op, table, row, start, min(CHUNK, size - start), p, unit, top)
            chunk += 1
        at += size


@compiled(parallel=True)
def _terms_parallel(op, table, pieces, total, p, unit, top, terms):
    """Share the chunks among threads by their elements; each term is computed by one thread."""
    for k in prange(pieces):
        _terms(op, table, total * k // pieces, total * (k + 1) // pieces, p, unit, top, terms)


@compiled
def _squares_terms(table, low, high, terms):
    """Do what `_terms` does, for sums of squares only: the pass that nearly everybody asks for."""
    at, chunk = 0, 0
    for row in range(table.shape[0]):
        size = table[row, SIZE]
        for start in range(0, size, CHUNK):
            if low <= at + start < high:
                terms[chunk] = _squares(table, row, start, min(CHUNK, size - start))
            chunk += 1
        at += size


@compiled(parallel=True)
def _squares_parallel(table, pieces, total, terms):
    """Share the chunks of a sum of squares among threads."""
    for k in prange(pieces):
        _squares_terms(table, total * k // pieces, total * (k + 1) // pieces, terms)


@compiled
def _scale_line(a, first, second):
    """Multiply by two factors; the second is 1 unless their product is too small for the dtype."""
    c, d = a.dtype.type(first), a.dtype.type(second)
    for k in range(a.size):
        a[k] = a[k] * c * d


@compiled
def _clamp_line(a, limit, unused):
    """Move what lies outside [-limit, limit] to its edge; NaN stays."""
    c = a.dtype.type(limit)
    for k in range(a.size):
        a[k] = np.minimum(np.maximum(a[k], -c), c)


@compiled
def _apart(table):
    """Tell whether no two rows share memory, by looking at all pairs."""
    for row in range(table.shape[0]):
        low, n = table[row, ADDRESS], table[row, SIZE] * (4 + 4 * (table[row, KIND] & DOUBLE))
        for other in range(row):
            start, m = table[other, ADDRESS], table[other, SIZE] * (4 + 4 * (table[other, KIND] & DOUBLE))
            if n > 0 and m > 0 and start < low + n and low < start + m:
                return False
    return True


@compiled
def _change(clamp, table, low, high, first, second):
    """Scale or clamp the elements [low, high) of all rows laid end to end."""
    at = 0
    for row in range(table.shape[0]):
        start, stop = max(low - at, 0), min(high - at, table[row, SIZE])
        if start < stop:
            if table[row, KIND] & DOUBLE:
                a = part(table[row, ADDRESS], start, stop - start, _DOUBLES)
                if clamp:
                    _clamp_line(a, first, second)
                else:
                    _scale_line(a, first, second)
            else:
                b = part(table[row, ADDRESS], start, stop - start, _SINGLES)
                if clamp:
                    _clamp_line(b, first, second)
                else:
                    _scale_line(b, first, second)
        at += table[row, SIZE]


@compiled(parallel=True)
def _change_parallel(clamp, table, pieces, total, first, second):
    """Scale or clamp equal shares of all elements on all threads."""
    for k in prange(pieces):
        _change(clamp, table, total * k // pieces, total * (k + 1) // pieces, first, second)


def _python_term(op: int, a: np.ndarray, pairs: bool, p: float, unit: float, top: float) -> float:
    """Do what `_term` does, for a piece given as an array."""
    singles, doubles = (a, _DOUBLES) if a.dtype == np.float32 else (_SINGLES, a)
    if op <= COMPONENT:
        return _quick_term(op, singles, doubles)
    return _moduli(op, pairs, singles, doubles, p, unit, top)


class Lines:
    """Arrays as stretches of memory: a table of addresses, and what keeps the memory alive.

    Parameters
    ----------
    table : int64 array (arrays, COLUMNS)
    held : list
        Owners of the memory. Under NUMBA_DISABLE_JIT these are the 1-D arrays that are worked on.
    squares : float, optional
        The sum of squares, if it is known already: then the arrays are few and small.
    """

    __slots__ = ("held", "squares", "table")

    def __init__(self, table: np.ndarray, held: list[Any], squares: float | None = None) -> None:
        self.table, self.held, self.squares = table, held, squares

    @property
    def total(self) -> int:
        """Number of reals."""
        return int(self.table[:, SIZE].sum())

    @property
    def lengths(self) -> np.ndarray:
        """Number of bytes of each row."""
        return self.table[:, SIZE] * (4 + 4 * (self.table[:, KIND] & DOUBLE))

    @property
    def disjoint(self) -> bool:
        """Tell whether no two rows share memory."""
        if len(self.table) <= FEW and not numba_config.DISABLE_JIT:
            return _apart(self.table)
        return disjoint(self.table[:, ADDRESS], self.lengths)

    @property
    def nbytes(self) -> int:
        """Number of bytes."""
        return int(self.lengths.sum())

    @property
    def pairs(self) -> bool:
        """Tell whether any row holds complex numbers."""
        return bool((self.table[:, KIND] >= PAIRS).any())

    def _pieces(self) -> int:
        """Return on how many threads a pass pays."""
        small = self.squares is not None or self.nbytes < PARALLEL_BYTES
        return 1 if small else get_num_threads()

    def reduce(self, op: int, p: float = 1.0, unit: float = 1.0, top: float = 1.0) -> float:
        """Make one pass; return the sum, the maximum for COMPONENT and LARGEST, the minimum for SMALLEST."""
        terms = self._terms(op, p, unit, top)
        if op in (COMPONENT, LARGEST):
            return float(terms.max(initial=0.0))
        if op == SMALLEST:
            return float(terms.min(initial=math.inf))
        return float(np.add.accumulate(terms)[-1]) if terms.size else 0.0

    def _terms(self, op: int, p: float, unit: float, top: float) -> np.ndarray:
        """Return one number for each chunk."""
        terms = np.empty(int((-(-self.table[:, SIZE] // CHUNK)).sum()))
        pieces = self._pieces()
        if numba_config.DISABLE_JIT:
            cut = [
                (a[k : k + CHUNK], bool(kind >= PAIRS))
                for a, kind in zip(self.held, self.table[:, KIND], strict=True)
                for k in range(0, a.size, CHUNK)
            ]
            with np.errstate(all="ignore"):
                terms[:] = [_python_term(op, a, pairs, p, unit, top) for a, pairs in cut]
        elif op == SQUARES:
            on_all_threads(_squares_parallel, self.table, pieces, self.total, terms)
        elif pieces == 1:
            _terms(op, self.table, 0, EVERYTHING, p, unit, top, terms)
        else:
            on_all_threads(_terms_parallel, op, self.table, pieces, self.total, p, unit, top, terms)
        return terms

    def _squares(self) -> float:
        """Return the sum of all squares."""
        if self.squares is not None:
            return self.squares
        if numba_config.DISABLE_JIT or self._pieces() > 1:
            return self.reduce(SQUARES)
        return _squares_in_order(self.table)

    def _change(self, clamp: bool, first: float, second: float) -> None:
        """Change all elements in place."""
        pieces = self._pieces()
        if numba_config.DISABLE_JIT:
            with np.errstate(all="ignore"):
                for a in self.held:
                    (_clamp_line if clamp else _scale_line)(a, first, second)
        elif pieces == 1:
            _change(clamp, self.table, 0, EVERYTHING, first, second)
        else:
            on_all_threads(_change_parallel, clamp, self.table, pieces, self.total, first, second)
        self.squares = None

    def scale(self, first: float, second: float = 1.0) -> None:
        """Multiply all elements in place by ``first`` and then by ``second``."""
        self._change(False, first, second)

    def clamp(self, limit: float) -> None:
        """Move all elements in place into [-limit, limit]."""
        self._change(True, limit, 1.0)

    def norm(self, p: float) -> tuple[float, float]:
        """Return (unit, length): the norm is their product, which may be too large for float64.

        Parameters
        ----------
        p : float, not 0
            The norm's order, inf and -inf included.
        """
        if p == 2:
            squares = self._squares()
            if SAFE[0] < squares < SAFE[1] or math.isnan(squares):
                return 1.0, math.sqrt(squares)
        elif p == 1 and not self.pairs:
            sums = self.reduce(SUM)
            if sums < math.inf or math.isnan(sums):
                return 1.0, sums
        if not self.total:
            return 1.0, 0.0
        return self._norm_in_units(p) if p > 0 else self._norm_of_reciprocals(p)

    def _norm_in_units(self, p: float) -> tuple[float, float]:
        """Compute a norm of positive order in units of the largest element."""
        unit = self.reduce(COMPONENT)
        if unit == 0 or not math.isfinite(unit):
            return 1.0, unit
        top = self.reduce(LARGEST, unit=unit) if self.pairs else 1.0
        if p == math.inf:
            return unit, top
        return unit, top * _root(self.reduce(POWERS, p, unit, top), p)

    def _norm_of_reciprocals(self, p: float) -> tuple[float, float]:
        """Compute a norm of negative order in units of the smallest element."""
        unit = self.reduce(SMALLEST)
        if p == -math.inf or unit == 0 or not math.isfinite(unit):
            return 1.0, unit
        return unit, _root(self.reduce(POWERS, p, unit), p)


def _root(total: float, p: float) -> float:
    """Return ``total ** (1 / p)``, inf where it is too large."""
    with np.errstate(all="ignore"):
        return float(np.power(np.float64(total), 1 / p))


def lines_of(arrays: list[Any], writeable: bool) -> Lines | None:
    """Return the memory of plain arrays without gaps; None if some need a closer look, from Python."""
    if OFFSETS is None:
        return None
    table = np.empty((len(arrays), COLUMNS), np.int64)
    need = ALIGNED | WRITEABLE if writeable else ALIGNED
    answer = quick_squares(id(arrays), OFFSETS, need, table, min(QUICK_BYTES, PARALLEL_BYTES))
    if answer == NO_HEADERS:
        return None
    return Lines(table, arrays, None if answer == LARGE else answer)


def row_of(line: np.ndarray, pairs: bool) -> tuple[int, int, int]:
    """Return the table's row for a contiguous 1-D array of reals."""
    return address(line), line.size, KINDS[line.dtype] + (PAIRS if pairs else 0)


def lines_from(rows: list[tuple[int, int, int]], held: list[Any]) -> Lines:
    """Return lines over rows as `row_of` makes them."""
    return Lines(np.array(rows, np.int64).reshape(-1, COLUMNS), held)


def disjoint(low: np.ndarray, nbytes: np.ndarray) -> bool:
    """Tell whether stretches of memory, given by their addresses and lengths, share nothing."""
    if not nbytes.all():  # an empty one shares nothing, wherever it points
        low, nbytes = low[nbytes > 0], nbytes[nbytes > 0]
    # They are disjoint just if the sorted starts and the sorted ends take turns.
    return not bool((np.sort(low)[1:] < np.sort(low + nbytes)[:-1]).any())
