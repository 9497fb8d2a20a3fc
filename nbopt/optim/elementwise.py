"""ElementwiseOptimizer: a step that is one compiled loop, launched once over a whole group."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np

from nbopt.kernels.table import CHANGED
from nbopt.optim.device_arrays import new_state, on_device, placed
from nbopt.optim.optimizer import Optimizer
from nbopt.optim.param_groups import check_distinct
from nbopt.optim.parameter import Parameter
from nbopt.optim.plan import GroupPlan
from nbopt.optim.torch_tensors import dtype_of_tensor


class ElementwiseOptimizer(Optimizer):
    """Base of optimizers that treat every element alike: subclasses give a loop and its numbers.

    A subclass sets ``defaults`` in its constructor, ``ranges``, and two methods: `algorithm` names
    the loop and the arrays of state that it keeps per parameter; `numbers` gives what the loop reads
    in a step, computed in float64. The loop is a plain function ``loop(p, g, state, h)`` over 1-D
    arrays; it is compiled when it is first needed, and the same function serves one thread, many
    threads, a device, and ``NUMBA_DISABLE_JIT=1``.

    Parameters
    ----------
    params, defaults
        As in `Optimizer`.

    Attributes
    ----------
    counted : bool
        Whether the state shows ``"step"``. If not, `numbers` is told only whether a step is a
        parameter's first (t = 1) or a later one (t = 2).
    scalars : dict
        Names and first values of float64 numbers kept per parameter; `numbers` is given them, and
        `next_scalars` says what they are after the step.
    sparse : bool or "only"
        Whether gradients may be, or must be, sparse: the loop then runs over stored entries.

    Examples
    --------
    >>> import numpy as np, nbopt
    >>> def sign_descent(p, g, state, h):
    ...     lr = p.dtype.type(h[0])
    ...     for i in range(p.size):
    ...         p[i] -= lr * np.sign(g[i])
    >>> class SignDescent(nbopt.ElementwiseOptimizer):
    ...     counted = False
    ...     def __init__(self, params, lr=0.1):
    ...         super().__init__(params, {"lr": lr})
    ...     def algorithm(self, group):
    ...         return sign_descent, ()
    ...     def numbers(self, group, t):
    ...         return (group["lr"],)
    >>> w = np.array([1.0, -2.0])
    >>> SignDescent([w]).step(grads=[np.array([3.0, -4.0])])
    >>> w
    array([ 0.9, -1.9])
    """

    counted: ClassVar[bool] = True
    scalars: ClassVar[dict[str, float]] = {}
    sparse: ClassVar[bool | str] = False

    def algorithm(self, group: dict[str, Any]) -> tuple[Callable, tuple[str, ...]]:
        """Return the loop for a group's options, and the names of the (at most 3) arrays it keeps."""
        raise NotImplementedError(f"{self._owner} does not define algorithm()")

    def numbers(self, group: dict[str, Any], t: int, *scalars: float) -> tuple[float, ...]:
        """Return the numbers (at most 16) that the loop reads at a parameter's step ``t`` (from 1)."""
        raise NotImplementedError(f"{self._owner} does not define numbers()")

    def initial(self, group: dict[str, Any], name: str) -> float:
        """Return the value that a new array of state is filled with."""
        return 0.0

    def first_scalars(self, group: dict[str, Any]) -> tuple[float, ...]:
        """Return the scalars before a parameter's first step."""
        return tuple(self.scalars.values())

    def next_scalars(self, group: dict[str, Any], t: int, *scalars: float) -> tuple[float, ...]:
        """Return the scalars after step ``t``."""
        return scalars

    def sparse_keeps_moving(self, group: dict[str, Any]) -> bool:
        """Tell whether rows without a gradient still move, as momentum makes them."""
        return False

    def _start(self, group: dict[str, Any]) -> None:
        """Make a new group's state at once, before its first step."""
        _, names = self.algorithm(group)
        for p in group["params"]:
            dtype = p.data.dtype if isinstance(p, Parameter) else dtype_of_tensor(p)
            unit = 1 + 1j if dtype.kind == "c" else 1
            first = {name: self.initial(group, name) for name in names}
            if on_device(p):
                arrays = {name: new_state(p, v) for name, v in first.items()}
            else:
                arrays = {name: np.full(tuple(p.shape), v * unit, dtype) for name, v in first.items()}
            self.state[p] = {"step": np.zeros((), np.int64), **arrays}

    def _prepare(self) -> None:
        super()._prepare()
        self._plans: list[GroupPlan] = []
        self._memory: list[tuple] = []

    def step(self, closure: Callable[[], Any] | None = None, *, grads: Sequence[Any] | None = None) -> Any:
        """Update every parameter that has a gradient, once.

        Parameters
        ----------
        closure : callable, optional
            Sets the gradients and returns the loss; or returns ``(loss, grads)``.
        grads : sequence of arrays, optional
            One gradient (or None) per parameter, in order, instead of setting each ``.grad``.

        Returns
        -------
        loss : object or None
            What the closure returned.
        """
        loss = None if closure is None and grads is None else self.run_closure(closure, grads)
        plans = self._plans
        alone = len(plans) == len(self.param_groups) == 1 and plans[0].group is self.param_groups[0]
        if not alone or self._flag.raised or not plans[0].quick():
            self._step_with_care()
        return loss

    def _step_with_care(self) -> None:
        """Step by any road: check all groups before the first is launched."""
        self._check_edits()
        if self._flag.raised or not self._plans_fit():
            self._plan()
        for attempt in range(2):
            answers = [table.check(plan.params) for plan in self._plans for table in plan.tables]
            if CHANGED not in answers:
                break
            if attempt == 0:
                self._plan()
        for plan in self._plans:
            plan.gather()
        for plan in self._plans:
            plan.launch()

    def _check_edits(self) -> None:
        """Validate options that were edited since the last step; plan anew if the loop changes."""
        if not self._plans_fit():
            for group in self.param_groups:
                self.check_group(group)
            return
        for plan in self._plans:
            if not plan.options_unchanged():
                self.check_group(plan.group)
                if self.algorithm(plan.group) != plan.algorithm:
                    self._flag.raised = True
                plan.remember_options()

    def _plans_fit(self) -> bool:
        """Tell whether the plans are those of the present groups and lists of parameters."""
        return len(self._plans) == len(self.param_groups) and all(
            plan.fits(group) for plan, group in zip(self._plans, self.param_groups, strict=True)
        )

    def _plan(self) -> None:
        """Build the tables anew from groups and state; on an error the old ones stay."""
        plans = [GroupPlan(self, group) for group in self.param_groups]
        memory = [seen for plan in plans for table in plan.tables for seen in table.prints]
        if memory != self._memory:  # lists of parameters or their arrays were edited
            check_distinct(self._owner, self.param_groups)
            self._memory = memory
        for plan in plans:
            plan.bind_states()
        self._plans = plans
        self._flag.raised = False

    def state_names(self, group: dict[str, Any]) -> set[str]:
        """Return the names of all that is kept per parameter under a group's options."""
        _, names = self.algorithm(group)
        return {*names, *self.scalars, "step"} if self.counted else set(names)

    def check_state(self, group: dict[str, Any], param: Any, state: dict[str, Any], where: str) -> None:
        """Raise ValueError unless the arrays are those that this optimizer keeps, in the right shape."""
        if not state:
            return
        _, names = self.algorithm(group)
        expected = self.state_names(group)
        if not self.counted:
            state.pop("step", None)
            for name in [k for k, v in state.items() if v is None]:
                del state[name]
            if not state:
                return
        if not expected <= set(state):  # other keys are the user's
            raise ValueError(f"{where} has the state {sorted(state)}; expected {sorted(expected)}")
        for name in names:
            if np.shape(state[name]) != tuple(param.shape):
                raise ValueError(
                    f"{where}: {name} has shape {np.shape(state[name])}, the parameter {tuple(param.shape)}"
                )
        for name in self.scalars:
            if np.size(state[name]) != 1:
                raise ValueError(f"{where}: {name}={state[name]!r} must be one number")
        if self.counted and (np.size(state["step"]) != 1 or not 0 <= float(state["step"]) < 2**62):
            raise ValueError(f"{where}: step={state['step']!r} must be a count of steps")

    def adopt_state(self, group: dict[str, Any], param: Any, state: dict[str, Any]) -> dict[str, Any]:
        """Return loaded state with its arrays in the parameter's dtype."""
        dtype = param.data.dtype if isinstance(param, Parameter) else dtype_of_tensor(param)
        _, names = self.algorithm(group)
        adopted = dict(state)
        cast = {k: np.asarray(state[k]).astype(dtype, copy=False) for k in names if k in state}
        adopted.update({k: placed(param, a) for k, a in cast.items()})
        adopted.update({k: float(np.asarray(state[k]).item()) for k in self.scalars if k in state})
        if "step" in state:
            adopted["step"] = int(np.asarray(state["step"]).item())
        return adopted

    def export_param_state(self, param: Any, state: dict[str, Any]) -> dict[str, Any]:
        """Return a parameter's state with its step count as an int and its scalars as floats."""
        return {k: int(v) if k == "step" else float(v) if k in self.scalars else v for k, v in state.items()}
