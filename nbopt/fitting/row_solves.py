"""Many fits of one compiled model, each to its own data: rows of one launch, on all threads.

A row has its own copy of the engine's arrays and its own words, where its data stand. Which thread runs it
changes nothing about it.
"""

from __future__ import annotations

from collections.abc import Iterator
from time import perf_counter
from typing import Any

import numpy as np

from nbopt.fitting.curve_data import Data
from nbopt.fitting.curve_problem import CurveProblem
from nbopt.fitting.residuals import Bursts, burst_exact, calls_of
from nbopt.fitting.solve import engine
from nbopt.fitting.whitening import whiten, whiten_rows
from nbopt.fitting.workspace import BOTH, BOTH_SMALL, JACOBIAN, REASON, SMALL_GRADIENT, TOGETHER, Workspace
from nbopt.kernels import shares
from nbopt.kernels.compile import compiled
from nbopt.kernels.launcher import get_num_threads
from nbopt.kernels.native import call_advance
from nbopt.kernels.native_residuals import try_jacobian, try_residuals
from nbopt.kernels.views import matrix, vector
from nbopt.solvers.bursts import EVALUATE, GROWTH

# Entries of `setup`: addresses, then lengths.
ADVANCE, ENTRY, JAC_ENTRY, KIND, M, WORDS, COUNTS, WORK, W_ROWS, W_STEP, SETUP = range(11)

_SECONDS = 0.04  # that a launch should take: longer than it may wait for a busy core
_MOST = 1 << 24  # bytes of the engine's arrays in one launch
_ALWAYS = 1 << 40  # "bytes" of a launch: rows are worth threads whatever their memory
_NOTHING = np.empty(0, np.int64)


@compiled
def solve_rows(low, high, arrays, doubles):
    """Run the engine on the rows [low, high): a stage of `shares`."""
    setup, all_words, all_counts, _, _ = arrays
    all_work, all_W = doubles
    m, size = setup[M], setup[WORK]
    for row in range(low, high):
        start = row * (size + m)
        _solve_row(
            setup,
            vector(all_words, row * setup[WORDS], setup[WORDS]),
            vector(all_counts, row * setup[COUNTS], setup[COUNTS]),
            vector(all_work, start, size),
            vector(all_work, start + size, m),
            matrix(all_W, row * setup[W_STEP], setup[W_ROWS], m),
        )


@compiled
def _solve_row(setup, words, counts, work, scratch, W):
    """Run one row to its end; where the model raises, the row is left unfinished."""
    advance, entry, jac_entry, kind = setup[ADVANCE], setup[ENTRY], setup[JAC_ENTRY], setup[KIND]
    data, n, m = words.ctypes.data, counts[0], counts[1]
    x, r, J = vector(work, 0, n), vector(work, n, m), matrix(work, n + m, m, n)
    task, failed = BOTH if counts[TOGETHER] != 0 else EVALUATE, False
    while task in (EVALUATE, JACOBIAN, BOTH) and not failed:
        if task == EVALUATE:
            failed = try_residuals(entry, x, r, data)
        else:
            failed = try_jacobian(jac_entry, x, r if task == BOTH else scratch, J, data)
            whiten_rows(kind, W, J)
        if task != JACOBIAN:
            whiten(kind, W, r)
        if not failed:
            task = call_advance(advance, 0.0, work, counts)


class RowSolves:
    """Fits of a problem to other data, each from the same start.

    Parameters
    ----------
    problem : CurveProblem
    start : ndarray of shape (n,)
        All parameters.
    calls : Bursts
        Of the problem, with an exact Jacobian.
    """

    def __init__(self, problem: CurveProblem, start: np.ndarray, calls: Bursts) -> None:
        self.problem, self.start, self.calls = problem, start, calls
        self.workspace: Workspace = problem.workspace(start, calls)
        entry, _, self.args = calls.keep
        self.words = entry.words(self.args)
        self.places = [self._place(entry, k) for k in (0, 1)]

    def _place(self, entry: Any, k: int) -> int:
        """Return which word has the address of x or y; -1 if that is no array."""
        if not isinstance(self.args[k], np.ndarray):
            return -1
        other = entry.words((*self.args[:k], self.args[k].copy(), *self.args[k + 1 :]))
        return int(np.flatnonzero(other != self.words)[0])

    @classmethod
    def of(cls, problem: CurveProblem, start: np.ndarray) -> RowSolves | None:
        """Return what solves rows of a problem; None without a compiled model and an exact Jacobian."""
        if callable(problem.loss):
            return None
        calls = calls_of(problem.problem(start, None, problem.data))
        return (
            cls(problem, start, calls) if isinstance(calls, Bursts) and calls.burst is burst_exact else None
        )

    def run(self, draws: Iterator[Data], count: int) -> np.ndarray:
        """Fit so many data sets, in launches of about the length of a burst.

        Parameters
        ----------
        draws : iterator of Data
            Of the shapes of the problem's data, and the same kind of weights.
        count : int

        Returns
        -------
        ndarray of shape (count, k)
            The free parameters; NaN where a fit failed.
        """
        k, w = self.problem.named.free.size, self.workspace
        most = max(1, _MOST // (8 * (w.work.size + self.problem.data.y.size)))
        found, done, limit = np.full((count, k), np.nan), 0, 2 * get_num_threads()
        while done < count:
            began = perf_counter()
            rows = min(limit, most, count - done)
            found[done : done + rows] = self._launch([next(draws) for _ in range(rows)])
            done += rows
            pace = _SECONDS / max(perf_counter() - began, 1e-9)
            limit = max(get_num_threads(), int(rows * min(pace, GROWTH)))
        return found

    def _point(self, words: np.ndarray, k: int, arrays: list[Any]) -> np.ndarray | None:
        """Let words point to arrays of the rows, and return those; None if all rows share the problem's."""
        if all(a is self.args[k] for a in arrays):
            return None
        stacked = np.array(arrays)
        words[:, self.places[k]] = stacked.ctypes.data + stacked.strides[0] * np.arange(len(arrays))
        return stacked

    def _launch(self, chunk: list[Data]) -> np.ndarray:
        """Fit some data sets at once."""
        w, rows, m = self.workspace, len(chunk), self.problem.data.y.size
        words = np.tile(self.words, (rows, 1))
        kept = [self._point(words, k, [data[k] for data in chunk]) for k in (0, 1)]
        work = np.empty((rows, w.work.size + m))
        work[:, : w.work.size] = w.work
        counts = np.tile(w.counts, (rows, 1))
        first = chunk[0].W
        shared = all(data.W is first for data in chunk)
        W = first if shared else np.concatenate([data.W for data in chunk])
        setup = np.empty(SETUP, np.int64)
        setup[:] = (
            engine().address, self.calls.source[0], self.calls.source[2], chunk[0].kind, m, self.words.size,
            w.counts.size, w.work.size, first.shape[0], 0 if shared else first.size,
        )  # fmt: skip
        arrays = setup, words.reshape(-1), counts.reshape(-1), _NOTHING, _NOTHING
        shares.run((solve_rows,), (rows,), arrays, (work.reshape(-1), W.reshape(-1)), _ALWAYS)
        del kept  # what the words point to, until here
        good = (counts[:, REASON] >= SMALL_GRADIENT) & (counts[:, REASON] <= BOTH_SMALL)
        return np.where(good[:, None], work[:, : self.problem.named.free.size], np.nan)
