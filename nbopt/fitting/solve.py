"""A whole run of the engine: from a problem to scipy's result, with callback, printing and Ctrl-C."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import OptimizeResult

from nbopt.fitting import workspace as ws
from nbopt.fitting.levenberg_marquardt import advance
from nbopt.fitting.losses import CALLABLE, python_rho, scaled
from nbopt.fitting.residuals import Problem, calls_of
from nbopt.fitting.steps import step_address
from nbopt.kernels.native import advance_address
from nbopt.solvers.bursts import EVALUATE, NEW_ITERATE, STOP
from nbopt.solvers.result import Lazy, LazyResult

CALLBACK, INTERRUPT = -2, -3

MESSAGES = {
    INTERRUPT: "Stopped by Ctrl-C (KeyboardInterrupt).",
    CALLBACK: "Stopped because `callback` function raised `StopIteration` or returned `True`",
    ws.EVALUATIONS: "The maximum number of function evaluations is exceeded.",
    ws.SMALL_GRADIENT: "`gtol` termination condition is satisfied.",
    ws.SMALL_REDUCTION: "`ftol` termination condition is satisfied.",
    ws.SMALL_STEP: "`xtol` termination condition is satisfied.",
    ws.BOTH_SMALL: "Both `ftol` and `xtol` termination conditions are satisfied.",
}


class Engine(NamedTuple):
    """What advances the arrays: the function, and its address."""

    advance: Any
    address: int


@functools.cache
def engine() -> Engine:
    """Return the engine, compiled or from disk."""
    return Engine(advance, advance_address(advance))


class Settings(NamedTuple):
    """How to run: what `Workspace` takes (``loss`` may be a function), and what the user wants to see."""

    scale: Any
    loss: Any
    f_scale: float
    tolerances: tuple[float, float, float]
    max_nfev: int
    cosines: bool = False
    polish: int = 0
    factor: float = 1.0
    callback: Callable[[OptimizeResult], Any] | None = None
    verbose: int = 0


def wrapped(callback: Callable[..., Any]) -> Callable[[OptimizeResult], Any]:
    """Return a callback in one form: scipy decides by the names of the parameters."""
    try:
        names = set(inspect.signature(callback).parameters)
    except (TypeError, ValueError):  # a built-in function may have none
        names = set()
    if names == {"intermediate_result"}:
        return lambda result: callback(intermediate_result=result)
    return lambda result: callback(result.x.copy())


def workspace_of(problem: Problem, settings: Settings, kind: int, calls: Any) -> ws.Workspace:
    """Return the arrays of a run of the engine, its loss being of a kind."""
    return ws.Workspace(
        problem.x0, problem.m, problem.lower, problem.upper, settings.scale, kind, settings.f_scale,
        settings.tolerances, settings.max_nfev, settings.callback is not None or settings.verbose == 2,
        settings.cosines, settings.polish, settings.factor, step_address(problem.lower, problem.upper),
        calls.refine, calls.together, calls.size,
    )  # fmt: skip


@dataclass(slots=True)
class Run:
    """A run that has ended: its arrays, and why it stopped if that was not the engine's own decision."""

    workspace: ws.Workspace
    jac_method: str
    stopped: int | None

    @property
    def status(self) -> int:
        """The code that scipy has for it."""
        return self.workspace.counts.item(ws.REASON) if self.stopped is None else self.stopped


def run(owner: str, problem: Problem, settings: Settings, r: np.ndarray | None) -> Run:
    """Run the engine on a problem to its end.

    Parameters
    ----------
    owner : str
        The public function that was called, for the messages.
    problem : Problem
    settings : Settings
    r : ndarray of shape (m,) or None
        The weighted residuals at the start, if they are known.

    Returns
    -------
    Run

    Raises
    ------
    ValueError
        If residuals or Jacobian are not finite at the start.
    """
    kind = CALLABLE if callable(settings.loss) else settings.loss
    if kind == CALLABLE:
        problem = problem._replace(loss=lambda r: python_rho(settings.loss, r, settings.f_scale, w.rho))
    calls = calls_of(problem)
    w = workspace_of(problem, settings, kind, calls)
    stopped = None
    try:
        stopped = _run(owner, w, calls, problem, settings, r)
    except KeyboardInterrupt:
        stopped = INTERRUPT
    return Run(w, "3-point" if w.counts.item(ws.CENTRAL) else calls.jac_method, stopped)


def solve(owner: str, problem: Problem, settings: Settings, r: np.ndarray | None) -> LazyResult:
    """Do as `run` does; return scipy's result."""
    return result_of(run(owner, problem, settings, r), settings)


def _run(
    owner: str, w: Any, calls: Any, problem: Problem, settings: Settings, r: np.ndarray | None
) -> int | None:
    """Run to the end; return why, if it was not the engine's own decision."""
    task = ws.BOTH if calls.together else EVALUATE
    if r is not None:
        w.counts[ws.BROUGHT] = 0
        calls.take(r, w.r)
        task = engine().advance(0.0, w.work, w.counts)
    if settings.verbose == 2:
        print(f"{'Iteration':^15}{'Total nfev':^15}{'Cost':^15}{'Cost reduction':^15}{'Step norm':^15}")
    before = problem.x0, math.nan
    while task != STOP:
        task = calls.run(engine(), task, w.work, w.counts)
        if task == NEW_ITERATE:
            if settings.verbose == 2:
                before = _print_iterate(w, before)
            if settings.callback is not None and _is_enough(settings.callback, w):
                return CALLBACK
    reason = w.counts.item(ws.REASON)
    if reason in (ws.BAD_START, ws.BAD_JACOBIAN):
        _explain_start(owner, w, reason)
    return None


def _is_enough(callback: Any, w: Any) -> bool:
    """Show an iterate to the callback; tell whether that stops the run."""
    nfev, nit = int(w.counts[ws.NFEV]), int(w.counts[ws.NIT])
    x, r = w.iterate()
    try:
        callback(OptimizeResult(x=x, fun=r, cost=w.cost, nfev=nfev, nit=nit))
    except StopIteration:
        return True
    return False


def _print_iterate(w: Any, before: tuple[np.ndarray, float]) -> tuple[np.ndarray, float]:
    """Print a line on an iterate; return it."""
    x, cost = w.x.copy(), w.cost
    step = float(np.linalg.norm(x - before[0]))
    numbers = f"{cost:^15.4e}{before[1] - cost:^15.2e}{step:^15.2e}"
    print(f"{w.counts[ws.NIT]:^15}{w.counts[ws.NFEV]:^15}{numbers}")
    return x, cost


def _explain_start(owner: str, w: Any, reason: int) -> None:
    """Say what is not finite at the start."""
    if reason == ws.BAD_START:
        bad = np.flatnonzero(~np.isfinite(w.r))
        where = f": residual {bad[0]} is {w.r[bad[0]]}" if bad.size else ": their sum of squares overflows"
        raise ValueError(f"{owner}: Residuals are not finite in the initial point{where}.")
    row, column = np.argwhere(~np.isfinite(w.jac))[0]
    raise ValueError(
        f"{owner}: the Jacobian is not finite in the initial point: "
        f"the derivative of residual {row} by variable {column} is {w.jac[row, column]}."
    )


def scaled_jacobian(w: ws.Workspace, settings: Settings, r: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the residuals of the iterate and the Jacobian, scaled for the loss."""
    kind = w.counts.item(ws.LOSS)
    if kind == CALLABLE:
        python_rho(settings.loss, r, settings.f_scale, w.rho)
    return scaled(kind, r, w.jac, settings.f_scale, w.rho)


def result_of(ended: Run, settings: Settings) -> LazyResult:
    """Wrap up a run as scipy does, and print about it if that is asked for."""
    w, status = ended.workspace, ended.status
    counts, lines = w.counts.tolist(), w.lines
    x, r = w.iterate()
    weighted, jac = scaled_jacobian(w, settings, r)
    message = MESSAGES[status]
    result = LazyResult(
        message=message,
        success=status > 0,
        status=status,
        fun=r,
        x=x,
        cost=w.cost,
        jac=jac,
        grad=Lazy(lambda: weighted @ jac),
        optimality=Lazy(lambda: _optimality(result)),
        active_mask=Lazy(lambda: _active(lines)),
        nfev=counts[ws.NFEV],
        njev=counts[ws.NJEV],
        nit=counts[ws.NIT],
        jac_method=ended.jac_method,
    )
    if settings.verbose:
        print(message)
        print(
            f"Function evaluations {result['nfev']}, final cost {w.cost:.4e}, "
            f"first-order optimality {result['optimality']:.2e}."
        )
    return result


def _active(lines: np.ndarray) -> np.ndarray:
    """Return 1, -1 or 0 for a variable at its upper bound, its lower bound, or between."""
    return (lines[ws.X] >= lines[ws.UPPER]).astype(int) - (lines[ws.X] <= lines[ws.LOWER])


def _optimality(result: LazyResult) -> float:
    """Return the largest element of the gradient that no bound holds."""
    grad = result["grad"]
    return float(np.abs(grad[result["active_mask"] * grad >= 0.0]).max(initial=0.0))
