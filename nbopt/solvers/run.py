"""A run of an engine from start to end: its pauses, what stops it, and its result."""

from __future__ import annotations

import math
from typing import Any

from scipy.optimize import LbfgsInvHessProduct

from nbopt.autodiff.bounded_differences import BoundedDifferences
from nbopt.solvers import callbacks, lbfgs
from nbopt.solvers.bursts import EVALUATE, STOP, Bursts
from nbopt.solvers.callbacks import UserCallback
from nbopt.solvers.history import Recorder
from nbopt.solvers.objective import Objective
from nbopt.solvers.progress import Progress
from nbopt.solvers.result import Lazy, LazyResult

_INTERRUPT = 98, "Stopped by Ctrl-C (KeyboardInterrupt)."

Stop = tuple[int, str]  # status and message


def run(
    engine: Any, source: Objective, x: Any, options: Any, callback: UserCallback | None, pairs: Any = None
) -> LazyResult:
    """Run an engine to its end, or until the callback or Ctrl-C stops it.

    Parameters
    ----------
    engine : Engine
    source : Objective
    x : ndarray of shape (n,)
        Where to start.
    options : Options or FirstOrderOptions
    callback : UserCallback or None
    pairs : tuple of two arrays, optional
        From `warm_start.pairs_of`.

    Returns
    -------
    LazyResult
    """
    calls, ways = source.calls, source.ways
    keeps = options.return_all or options.history
    watches = callback is not None and callback.compiled and not keeps and type(calls) is Bursts
    pause = lbfgs.AT_EACH if callback is not None else lbfgs.NOWHERE
    w = engine.workspace(
        x,
        options,
        1 if ways is None else 1 + ways.evaluations,
        lbfgs.FROM_START if keeps else pause,
    )
    if pairs is not None and hasattr(w, "remember"):
        w.remember(*pairs)
    if watches and callback is not None:
        engine, callback = callback.watch(engine, w), None
    progress = None
    if options.progress:  # methods that end by themselves are not likely to come near maxiter
        progress = Progress(w, None if hasattr(w, "correction_pairs") else options.maxiter)
        calls.between = progress.look
    recorder = Recorder(options.return_all) if keeps else None
    try:
        stopped = _advance(engine, calls, w, recorder, callback)
        if watches and callbacks.has_stopped(w):
            stopped = callbacks.RETURNED
    except StopIteration:
        if not (watches and callbacks.is_calling(w)):
            raise
        stopped = callbacks.RAISED
    except KeyboardInterrupt:
        stopped = _INTERRUPT
    finally:
        if progress is not None:
            progress.close()
    return _result(w, stopped, source, options, recorder)


def _advance(
    engine: Any, calls: Any, w: Any, recorder: Recorder | None, callback: UserCallback | None
) -> Stop | None:
    """Advance the engine until it stops, with what is done in its pauses; tell if the callback stops it."""
    task = EVALUATE
    while True:
        task = calls.run(engine, task, w.work, w.counts)
        if task == STOP:
            return None
        if not w.resume():
            continue
        if recorder is not None:
            recorder.note(w)
        if callback is not None and w.counts[lbfgs.NIT]:  # the start is no iteration
            try:
                if callback.call(w.x.copy(), w.f):
                    return callbacks.RETURNED
            except StopIteration:
                return callbacks.RAISED


def _result(
    w: Any, stopped: Stop | None, source: Objective, options: Any, recorder: Recorder | None
) -> LazyResult:
    """Wrap up a run."""
    counts = w.counts.tolist()
    status, message = stopped or w.messages[counts[lbfgs.REASON]]
    x, g = w.x, w.g
    if stopped is not None:  # in the middle of a search, perhaps
        x, g = w.iterate()
    ways = source.ways
    if isinstance(ways, BoundedDifferences):
        g[ways.lower == ways.upper] = math.nan  # not known
    result = LazyResult(
        x=x,
        fun=w.f,
        jac=g,
        nit=counts[lbfgs.NIT],
        nfev=counts[lbfgs.NFEV],
        njev=counts[lbfgs.NJEV],
        status=status,
        success=status == 0,
        message=message,
        jac_method=source.jac_method,
    )
    if hasattr(w, "correction_pairs"):
        result["hess_inv"] = Lazy(_inverse_hessian, w)
    if recorder is not None:
        result["history"] = recorder.history()
        if recorder.points is not None:
            result["allvecs"] = recorder.points
    if options.disp:
        print(message)
        for name, key in (("f", "fun"), ("Iterations", "nit"), ("Evaluations of fun", "nfev")):
            print(f"         {name}: {result[key]}")
    return result


def _inverse_hessian(w: Any) -> LbfgsInvHessProduct:
    """Return the inverse Hessian that the remembered pairs make."""
    return LbfgsInvHessProduct(*w.correction_pairs())
