"""LBFGS: torch's limited-memory quasi-Newton optimizer, with three ways to choose the step."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np

from nbopt.kernels.reductions import dot, max_abs, sum_abs
from nbopt.linesearch import more_thuente, strong_wolfe, two_loop
from nbopt.linesearch.search_state import BEST_PHI, EVALUATE, IMPROVED, STEP
from nbopt.optim.flat_vector import FlatVector
from nbopt.optim.lbfgs_memory import STATE_NAMES, Memory, adopted_layout, check_layout
from nbopt.optim.optimizer import Optimizer
from nbopt.optim.param_groups import array_of
from nbopt.optim.ranges import NON_NEGATIVE, Range, as_number

SEARCHES: dict[str, Any] = {"strong_wolfe": strong_wolfe, "more_thuente": more_thuente}
C1, C2 = 1e-4, 0.9
NARROWEST = 1e-9  # of the bracket times max|d|: torch's, whatever the user's tolerance_change
SEARCH_LIMIT = 25  # evaluations of a step's first search, and of steps back from NaN, whatever max_eval

STARTING = {"t": 0.0, "H_diag": 1.0, "prev_loss": math.nan}  # before the first iteration

# Why the last step ended.
NOT_STARTED, SMALL_GRADIENT, SMALL_STEP, SMALL_CHANGE, NO_DESCENT = 0, 1, 2, 3, 4
MAX_ITER, MAX_EVAL, SEARCH_FAILED, NOT_FINITE = 5, 6, 7, 8
MESSAGES = (
    "No step has been made.",
    "The largest gradient component is within tolerance_grad.",
    "The largest change of a parameter is within tolerance_change.",
    "The change of the loss is below tolerance_change.",
    "The slope along the direction is within tolerance_change.",
    "max_iter iterations were made.",
    "max_eval evaluations were made.",
    "The line search found no lower point; the parameters are where they were.",
    "The loss or gradient is not finite; the parameters are where they were.",
)


class LBFGS(Optimizer):
    """Limited-memory BFGS: steps along a direction built from the last gradients.

    Every `step` makes up to `max_iter` iterations and calls the closure for each evaluation.

    Parameters
    ----------
    params : iterable
        Parameters, arrays, ``(name, array)`` pairs, a dict of names, or one group dict.
    lr : float, in [0, inf)
        The step along the direction, or the first step that a line search tries. In the first
        iteration of all it is scaled by ``min(1, 1/sum|grad|)``.
    max_iter : int, at least 1
        Iterations per `step`.
    max_eval : int, at least 1, optional
        Evaluations per `step`; default ``max_iter * 5 // 4``. As in torch, the search that reaches
        the limit may make one more. With the default the first search of a `step` may always make 25:
        in torch ``max_iter=1`` leaves none.
    tolerance_grad : float
        Stop when ``max|grad|`` is not above it.
    tolerance_change : float
        Stop when no parameter, or the loss, changes by more.
    history_size : int, at least 1
        Pairs of differences that the direction is built from.
    line_search_fn : {None, "strong_wolfe", "more_thuente"}
        None takes the step `lr` as it is. "strong_wolfe" is torch's search; "more_thuente" is the
        search of Moré and Thuente, which ends at a Wolfe point wherever there is one to be found.

    Attributes
    ----------
    status : int
        Why the last `step` ended: 1 small gradient, 2 small step, 3 small change of the loss, 4 no
        descent, 5 `max_iter`, 6 `max_eval`, 7 the search failed, 8 not finite; 0 before the first.
    message : str
        The same in words.

    Raises
    ------
    ValueError, TypeError
        If an option is outside its range, or there is more than one group.

    Notes
    -----
    Iterates and order of updates are those of torch 2.13, state and gradients of all parameters one
    vector in the state of the first. A loss or gradient that is not finite means "too far": the step
    is shortened until it is finite, or the parameters are put back. When a search fails they are put
    back bit for bit. Without a line search, the point that a `step` ends at is evaluated by the next.

    References
    ----------
    J. Nocedal: Updating quasi-Newton matrices with limited storage, Math. Comp. 35, 1980.

    Examples
    --------
    >>> import numpy as np, nbopt
    >>> w = np.array([-1.0, 1.0])
    >>> opt = nbopt.LBFGS([w], max_iter=100, tolerance_change=0.0, line_search_fn="strong_wolfe")
    >>> def closure():
    ...     a, b = 1 - w[0], w[1] - w[0] ** 2
    ...     return a**2 + 100 * b**2, [np.array([-2 * a - 400 * b * w[0], 200 * b])]
    >>> float(opt.step(closure))  # the loss before the step
    4.0
    >>> w.round(6), opt.message
    (array([1., 1.]), 'The largest gradient component is within tolerance_grad.')
    """

    takes_device_arrays: ClassVar[bool] = False
    ranges: ClassVar[dict[str, Range]] = {
        "lr": NON_NEGATIVE,
        "tolerance_grad": NON_NEGATIVE,
        "tolerance_change": NON_NEGATIVE,
    }

    def __init__(
        self,
        params: Any,
        lr: float = 1,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
    ) -> None:
        _check_count("max_iter", max_iter)
        defaults = {
            "lr": lr, "max_iter": max_iter,
            "max_eval": _default_max_eval(max_iter) if max_eval is None else max_eval,
            "tolerance_grad": tolerance_grad, "tolerance_change": tolerance_change,
            "history_size": history_size, "line_search_fn": line_search_fn,
        }  # fmt: skip
        self._status = NOT_STARTED
        self._left: np.ndarray | None = None
        super().__init__(params, defaults)

    def _prepare(self) -> None:
        super()._prepare()
        self._memory: Memory | None = None

    @property
    def status(self) -> int:
        """Why the last step ended, as a number."""
        return self._status

    @property
    def message(self) -> str:
        """Why the last step ended, in words."""
        return MESSAGES[self._status]

    def check_group(self, group: dict[str, Any]) -> None:
        """Check the ranges, the counts and the name of the search."""
        super().check_group(group)
        for name in ("max_iter", "max_eval", "history_size"):
            _check_count(name, group[name])
        search = group["line_search_fn"]
        if search is not None and search not in SEARCHES:
            raise ValueError(f"LBFGS: line_search_fn={search!r} must be None or one of {[*SEARCHES]}")
        if not group["params"]:
            raise ValueError("LBFGS: the group has no parameters")

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add the one group; a second is refused."""
        if self.param_groups:
            raise ValueError(
                "LBFGS: there can be only one parameter group, because one direction is built for all "
                "parameters; put all of them into it"
            )
        super().add_param_group(param_group)

    def step(self, closure: Callable[[], Any] | None = None, *, grads: Sequence[Any] | None = None) -> Any:
        """Make up to ``max_iter`` iterations.

        Parameters
        ----------
        closure : callable
            Sets the gradients and returns the loss; or returns ``(loss, grads)``. It is called once
            per evaluation.
        grads : None
            Not taken: one gradient is not enough for a step.

        Returns
        -------
        loss : object
            What the closure returned first: the loss before the step.

        Raises
        ------
        TypeError
            Without a closure, or if it does not return one number as loss.
        """
        if closure is None or grads is not None:
            raise TypeError(
                "LBFGS: step needs a closure that computes the gradients and returns the loss, because it "
                "evaluates more than once"
            )
        if len(self.param_groups) != 1:
            raise ValueError(f"LBFGS: there must be one parameter group, not {len(self.param_groups)}")
        group = self.param_groups[0]
        self.check_group(group)
        flat = FlatVector(self._owner, group["params"])
        iteration = Iteration(self, closure, group, flat)
        return iteration.run()

    def state_names(self, group: dict[str, Any]) -> set[str]:
        """Return the names of all that stands in the state of the first parameter."""
        return {*STATE_NAMES, "al"}

    def check_state(self, group: dict[str, Any], param: Any, state: dict[str, Any], where: str) -> None:
        """Raise ValueError unless the vectors have the length of all parameters together."""
        if state and param is not group["params"][0]:
            raise ValueError(f"{where} has state, but LBFGS keeps all of it under the first parameter")
        if state:
            check_layout(state, sum(array_of(p).size for p in group["params"]), where)

    def adopt_state(self, group: dict[str, Any], param: Any, state: dict[str, Any]) -> dict[str, Any]:
        """Return loaded state with vectors in the parameters' dtype and numbers as Python's."""
        dtype = np.result_type(*(array_of(p).dtype for p in group["params"]))
        return adopted_layout(state, dtype) if state else state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a copy of a state, nbopt's or torch's; on any error nothing has changed.

        Parameters
        ----------
        state_dict : dict
            From `state_dict`, or from torch's LBFGS.

        Raises
        ------
        ValueError
            If it belongs to another class or to parameters of other number, names, order or shape.
        """
        groups = state_dict.get("param_groups") if isinstance(state_dict, dict) else None
        saved = groups[0].get("param_names") if groups and isinstance(groups[0], dict) else None
        names = self.param_groups[0].get("param_names")
        if names and saved and list(saved) != list(names) and set(saved) == set(names):
            raise ValueError(
                "LBFGS: the state_dict has the parameters in another order; its vectors span all of them"
            )
        super().load_state_dict(state_dict)
        self._left = None


def _default_max_eval(max_iter: int) -> int:
    """Return torch's default."""
    return max_iter * 5 // 4


def _check_count(name: str, value: Any) -> None:
    """Refuse what is not a positive integer."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"LBFGS: {name}={value!r} must be an integer in [1, inf)")
    if value < 1:
        raise ValueError(f"LBFGS: {name}={value!r} must lie in [1, inf)")


class Iteration:
    """The iterations of one call of `LBFGS.step`."""

    def __init__(self, optimizer: LBFGS, closure: Callable, group: dict[str, Any], flat: FlatVector) -> None:
        self.optimizer, self.closure, self.flat = optimizer, closure, flat
        self.first = group["params"][0]
        known = optimizer.state.get(self.first, {})
        if known.get("d") is not None and len(known["d"]) != flat.size:
            raise ValueError(
                f"LBFGS: the state has vectors of {len(known['d'])} elements, the parameters {flat.size}; "
                "clear optimizer.state to start afresh"
            )
        memory = optimizer._memory
        if memory is None or not memory.fits(known, flat, group["history_size"]):
            memory = optimizer._memory = Memory(known, flat, group["history_size"])
        self.memory = memory
        self.search: str = group["line_search_fn"] or ""
        self.lr = as_number(group["lr"]) or 0.0
        self.tolerance_grad, self.tolerance_change = (
            float(as_number(group[name]) or 0.0) for name in ("tolerance_grad", "tolerance_change")
        )
        self.max_iter, self.max_eval = int(group["max_iter"]), int(group["max_eval"])
        self.total, self.func_evals = known.get("n_iter", 0), known.get("func_evals", 0)
        self.t, self.scale, self.loss_old = (known.get(k, v) for k, v in STARTING.items())
        self.loss, self.evals, self.made, self.evaluated = math.nan, 0, 0, True

    def run(self) -> Any:
        """Evaluate, iterate until there is a reason to stop, and keep the state."""
        m = self.memory
        self.flat.read(m.x)
        answer = self.evaluate()
        if not self.finite() and not self.shorten_last_step():
            return self.end(NOT_FINITE, answer)
        if max_abs(m.g) <= self.tolerance_grad:
            self.keep_counts()
            return self.end(SMALL_GRADIENT, answer)
        self.optimizer._left = None
        try:
            status = self.iterate()
        except BaseException:
            self.put_back()
            self.total -= 1
            raise
        finally:
            self.keep_counts()
            self.keep_state()
        if not self.evaluated:
            self.optimizer._left = m.x.copy()
        return self.end(status, answer)

    def end(self, status: int, answer: Any) -> Any:
        """Note why the step ended; return what the closure returned first."""
        self.optimizer._status = status
        return answer

    def evaluate(self) -> Any:
        """Call the closure where the parameters are; read loss and gradient."""
        answer = self.optimizer.run_closure(self.closure)
        loss = as_number(answer)
        if loss is None:
            shown = type(answer).__name__ if answer is not None else None
            raise TypeError(
                f"LBFGS: the closure must return the loss, one real number, but it returned {shown}"
            )
        self.flat.read_gradient(self.memory.g)
        self.loss = loss
        self.evals += 1
        self.func_evals += 1
        return answer

    def finite(self) -> bool:
        """Tell whether loss and gradient are finite."""
        return math.isfinite(self.loss) and math.isfinite(max_abs(self.memory.g))

    def place(self, t: float) -> None:
        """Put the parameters at x0 + t*d."""
        m = self.memory
        np.multiply(m.d, t, out=m.x)
        m.x += m.x0
        self.flat.write(m.x)

    def put_back(self) -> None:
        """Put the parameters back to x0, bit for bit, with the loss and gradient that they had there."""
        m = self.memory
        m.x[:], m.g[:] = m.x0, m.g_old
        self.flat.write(m.x)
        self.loss, self.t, self.evaluated = self.loss_old, 0.0, True

    def iterate(self) -> int:
        """Iterate; return why it ended."""
        m = self.memory
        while True:
            m.x0[:] = m.x
            self.made += 1
            self.total += 1
            slope = self.choose_direction()
            if not (slope < 0.0 and slope <= -self.tolerance_change):
                self.t = 0.0  # the parameters did not move: the next pair must be refused
                return NO_DESCENT
            if not self.search or self.t == 0.0:
                moved = self.fixed_step()
            else:
                moved = self.line_search(slope)
            if not moved:
                return self.why_unmoved()
            status = self.why_stop()
            if status != NOT_STARTED:
                return status

    def choose_direction(self) -> float:
        """Add the last pair, build the direction and the first step; return the slope along it."""
        m = self.memory
        if self.total == 1:
            m.ring[:], self.scale = 0, 1.0
        else:
            self.scale = m.add(self.t) or self.scale
        m.g_old[:], self.loss_old = m.g, self.loss
        two_loop.direction(m.S, m.Y, m.rho, m.alpha, m.ring, self.scale, m.g, m.d)
        slope = dot(m.g, m.d)
        if self.total > 1 and not math.isfinite(slope):  # overflow: forget all and go downhill
            m.ring[:], self.scale = 0, 1.0
            np.negative(m.g, out=m.d)
            slope = dot(m.g, m.d)
        self.t = min(1.0, 1.0 / sum_abs(m.g)) * self.lr if self.total == 1 else self.lr
        return slope

    def fixed_step(self) -> bool:
        """Step by lr; evaluate unless it is the last iteration; tell whether a finite point was found."""
        self.place(self.t)
        self.evaluated = self.made < self.max_iter
        if not self.evaluated:
            return True
        self.evaluate()
        if self.finite() or self.step_back():
            return True
        self.put_back()
        return False

    def step_back(self) -> bool:
        """Shorten the step, each time by a larger factor, until loss and gradient are finite."""
        share, longest = 0.5, max_abs(self.memory.d)
        for _ in range(SEARCH_LIMIT):
            self.t *= share
            share *= share
            if self.t * longest <= self.tolerance_change:
                return False
            self.place(self.t)
            self.evaluate()
            if self.finite():
                return True
        return False

    def shorten_last_step(self) -> bool:
        """Shorten the last step of the call before, if that left this point without evaluating it."""
        m, left = self.memory, self.optimizer._left
        if left is None or not np.array_equal(left, m.x):
            return False
        m.x0[:] = m.x - self.t * m.d
        found = False
        try:
            found = self.step_back()
        finally:
            if found:
                self.optimizer.state[self.first]["t"] = self.t
            else:
                m.x[:] = left
                self.flat.write(m.x)
        return found

    def line_search(self, slope: float) -> bool:
        """Search along the direction; leave the parameters at its result; tell whether that is lower."""
        m, search = self.memory, SEARCHES[self.search]
        limit = max(self.max_eval - self.evals + 1, 1)
        if self.made == 1 and self.max_eval == _default_max_eval(self.max_iter):
            limit = max(limit, SEARCH_LIMIT)  # few iterations shall not mean no search
        width = NARROWEST / max_abs(m.d)
        task = search.start(m.s, self.loss, slope, self.t, C1, C2, 0.0, math.inf, limit, width, 0.0)
        here = 0.0
        while task == EVALUATE:
            here = float(m.s[STEP])
            self.place(here)
            self.evaluate()
            task = search.advance(m.s, self.loss, dot(m.g, m.d))
            if task == EVALUATE and m.s[IMPROVED] == 1.0:
                m.g_best[:] = m.g
        self.t = float(m.s[STEP])
        if self.t == 0.0:
            self.put_back()
            return False
        if self.t != here:
            self.place(self.t)
            self.loss, m.g[:] = float(m.s[BEST_PHI]), m.g_best
        return True

    def why_unmoved(self) -> int:
        """Return why a direction led nowhere."""
        if not self.search:
            return NOT_FINITE
        return MAX_EVAL if self.evals >= self.max_eval else SEARCH_FAILED

    def why_stop(self) -> int:
        """Return the first reason to stop, or NOT_STARTED if there is none."""
        m = self.memory
        if self.evaluated and max_abs(m.g) <= self.tolerance_grad:
            return SMALL_GRADIENT
        if self.made == self.max_iter:
            return MAX_ITER
        if self.evals >= self.max_eval:
            return MAX_EVAL
        if max_abs(m.d) * self.t <= self.tolerance_change:
            return SMALL_STEP
        if abs(self.loss - self.loss_old) < self.tolerance_change:
            return SMALL_CHANGE
        return NOT_STARTED

    def keep_counts(self) -> None:
        """Put the counts into the state."""
        state = self.optimizer.state[self.first]
        state["func_evals"], state["n_iter"] = self.func_evals, self.total

    def keep_state(self) -> None:
        """Put all else into the state."""
        state = self.optimizer.state[self.first]
        self.memory.show(state)
        state["t"], state["H_diag"], state["prev_loss"] = self.t, float(self.scale), self.loss_old
