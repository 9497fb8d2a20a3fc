"""The callback of minimize(): scipy's two forms, one more with the value, and compiled ones."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.optimize import OptimizeResult

from nbopt.kernels.compile import compiled, is_compiled
from nbopt.kernels.native import advance_address, call_advance
from nbopt.kernels.native_callback import call_callback, callback_entry
from nbopt.kernels.views import vector
from nbopt.solvers.bursts import NEW_ITERATE, STOP
from nbopt.solvers.lbfgs import AT_ITERATE, PHASE

RAISED = 99, "`callback` raised `StopIteration`."
RETURNED = 99, "`callback` returned True."

# What `watch` puts behind an engine's `counts`: addresses of its `advance` and of the callback (0 once
# that has stopped the run), and where in `work` f stands.
_WORDS = 3


@compiled
def advance_watched(f, work, counts):
    """Do as an engine's `advance` does, and call the compiled callback at its iterates."""
    at = counts.size - _WORDS
    task = call_advance(counts[at], f, work, counts)
    while task == NEW_ITERATE and counts[PHASE] == AT_ITERATE:
        if call_callback(counts[at + 1], vector(work, 0, counts[0]), work[counts[at + 2]]):
            counts[at + 1] = 0
            return STOP
        task = call_advance(counts[at], f, work, counts)
    return task


@functools.cache
def _address() -> int:
    """Return the address of `advance_watched`, compiled or from disk."""
    return advance_address(advance_watched)


class UserCallback:
    """A user's callback in one form.

    Parameters
    ----------
    callback : callable
        Of ``intermediate_result``, of x, or of x and f. One of x and f, and a compiled one, stops the
        run by returning True; any that Python calls by raising StopIteration.

    Raises
    ------
    TypeError
        If it is not callable, or compiled and takes neither x nor x and f.
    """

    __slots__ = ("call", "callback", "compiled", "with_value")

    def __init__(self, callback: Callable[..., Any]) -> None:
        if not callable(callback):
            raise TypeError(f"minimize: callback={callback!r} must be callable")
        self.callback, self.compiled = callback, is_compiled(callback)
        names, required = _parameters(callback)
        self.with_value = required == 2
        if self.compiled and (names == {"intermediate_result"} or required not in (1, 2)):
            raise TypeError(
                "minimize: a compiled callback must take x or (x, f), "
                f"not ({', '.join(inspect.signature(callback.py_func).parameters)})"  # type: ignore[attr-defined]
            )
        self.call: Callable[[np.ndarray, float], bool]
        if self.with_value:
            self.call = lambda x, f: bool(callback(x, f))
        elif names == {"intermediate_result"}:  # scipy decides by the name
            self.call = lambda x, f: _only(callback(intermediate_result=OptimizeResult(x=x, fun=f)))
        elif self.compiled:
            self.call = lambda x, f: bool(callback(x))
        else:
            self.call = lambda x, f: _only(callback(x))

    def in_single(self) -> UserCallback:
        """Return the callback for x in single precision; Python calls it, also if it is compiled."""
        narrow = UserCallback(self.callback)
        narrow.compiled, call = False, self.call
        narrow.call = lambda x, f: call(x.astype(np.float32), f)
        return narrow

    def watch(self, engine: Any, w: Any) -> Any:
        """Return an engine that calls the compiled callback by itself, on a workspace made for the first."""
        entry = callback_entry(self.callback, self.with_value)
        w.counts = np.concatenate((w.counts, (engine.address, entry.address, w.place_of_f())))
        return engine._replace(address=_address())


def _only(answer: Any) -> bool:
    """Do not stop, whatever the answer is: scipy does not."""
    return False


def has_stopped(w: Any) -> bool:
    """Tell whether the callback that watches a workspace has stopped the run."""
    return not w.counts[1 - _WORDS]


def is_calling(w: Any) -> bool:
    """Tell whether the engine is in a pause, where the callback is called."""
    return bool(w.counts[PHASE] == AT_ITERATE)


def _parameters(callback: Any) -> tuple[set[str], int]:
    """Return the names of a callback's parameters, and how many it must be given by position."""
    try:
        signature = inspect.signature(getattr(callback, "py_func", callback))
    except (TypeError, ValueError):  # a built-in function may have none
        return set(), 1
    by_place = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    required = [p for p in signature.parameters.values() if p.kind in by_place and p.default is p.empty]
    return set(signature.parameters), len(required)
