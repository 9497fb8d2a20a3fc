"""ParameterwiseOptimizer: a step that updates one parameter after the other, each as a whole."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any, ClassVar, NamedTuple

import numpy as np

from nbopt.kernels.arrays import check_parameter, fingerprint
from nbopt.optim.gradients import checked_gradient, gradient_of, is_sparse
from nbopt.optim.optimizer import Optimizer
from nbopt.optim.param_groups import array_of, check_distinct, check_member
from nbopt.optim.parameter import Parameter
from nbopt.optim.plan import _can_change_in_place, _equal, _plain_option, _steps_made
from nbopt.optim.torch_tensors import dtype_of_tensor, fingerprint_of_tensor, is_tensor, mark_written


class Job(NamedTuple):
    """One parameter's update, checked and ready: what it reads and what it writes."""

    group: dict[str, Any]
    param: Any
    array: np.ndarray
    grad: np.ndarray
    steps: int
    states: dict[str, np.ndarray]


class Seen:
    """What the last step saw and need not look at again; work arrays. Neither copied nor pickled."""

    def __init__(self) -> None:
        self.options: list[tuple[dict[str, Any], Any, bool]] = []
        self.params: list[Any] = []
        self.prints: list[tuple | None] = []
        self.arrays: list[np.ndarray] = []
        self.work: dict[tuple[str, np.dtype], np.ndarray] = {}


class ParameterwiseOptimizer(Optimizer):
    """Base of optimizers whose update needs a parameter as a whole: its rows, its norm, its matrix.

    A subclass sets ``defaults`` in its constructor, ``ranges``, and two methods: `state_shapes` names
    the arrays that are kept per parameter, `update` steps one parameter. All checks of all groups
    are made before the first update. Complex parameters are refused.

    Attributes
    ----------
    counted : bool
        Whether the state shows ``"step"``. If not, `update` is always told t = 1.

    Examples
    --------
    >>> import numpy as np, nbopt
    >>> from nbopt.optim.parameterwise import ParameterwiseOptimizer
    >>> class UnitDescent(ParameterwiseOptimizer):
    ...     def __init__(self, params, lr=0.1):
    ...         super().__init__(params, {"lr": lr})
    ...     def state_shapes(self, shape):
    ...         return {}
    ...     def update(self, group, t, p, g):
    ...         p -= group["lr"] / np.linalg.norm(g) * g
    >>> w = np.array([1.0, 2.0])
    >>> UnitDescent([w]).step(grads=[np.array([30.0, 40.0])])
    >>> w
    array([0.94, 1.92])
    """

    counted: ClassVar[bool] = True
    takes_device_arrays: ClassVar[bool] = False

    def state_shapes(self, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        """Return names and shapes of the arrays kept for a parameter of this shape, in order."""
        raise NotImplementedError(f"{self._owner} does not define state_shapes()")

    def update(
        self, group: dict[str, Any], t: int, p: np.ndarray, g: np.ndarray, *states: np.ndarray
    ) -> None:
        """Update ``p`` and its states in place at its step ``t`` (from 1); all lie in C order."""
        raise NotImplementedError(f"{self._owner} does not define update()")

    def check_shape(self, shape: tuple[int, ...], where: str) -> None:
        """Raise ValueError if a parameter of this shape cannot be updated; ``where`` opens the message."""

    def _prepare(self) -> None:
        super()._prepare()
        self._memory = Seen()

    def check_group(self, group: dict[str, Any]) -> None:
        """Check the ranges, and that the parameters are real and of a shape that can be updated."""
        super().check_group(group)
        for place, p in enumerate(group["params"]):
            self._check_param(p, place)

    def _check_param(self, p: Any, place: int) -> None:
        """Refuse what cannot be updated in place, is complex, or of a shape that there is no update for."""
        check_member(self._owner, p, place)
        where = f"{self._owner}: parameter {place}"
        if isinstance(p, Parameter):
            check_parameter(p.data, where)
        if dtype_of_tensor(p).kind == "c" if is_tensor(p) else p.data.dtype.kind == "c":
            raise RuntimeError(f"{where} is complex; {self._owner} takes real parameters")
        self.check_shape(tuple(p.shape), where)

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
        self._see_parameters()
        self._check_edits()
        arrays, jobs = iter(self._memory.arrays), []
        for group, (_, _, frozen) in zip(self.param_groups, self._memory.options, strict=True):
            plain = group if frozen else {key: _plain_option(value) for key, value in group.items()}
            for place, p in enumerate(group["params"]):
                array = next(arrays)
                if p.grad is not None:
                    jobs.append(self._job(plain, p, array, place))
        for job in jobs:
            self._run(job)
        mark_written([job.param for job in jobs if is_tensor(job.param)])
        return loss

    def _see_parameters(self) -> None:
        """Check the parameters if any of them, or its memory, is not what it was at the last step."""
        seen = self._memory
        params = [p for group in self.param_groups for p in group["params"]]
        prints = [_fingerprint(p) for p in params]
        same = len(params) == len(seen.params) and all(map(_is, params, seen.params))
        if same and prints == seen.prints and None not in prints:
            return
        for group in self.param_groups:
            for place, p in enumerate(group["params"]):
                self._check_param(p, place)
        check_distinct(self._owner, self.param_groups)
        seen.arrays = [array_of(p) for p in params]
        seen.params, seen.prints = params, prints

    def _check_edits(self) -> None:
        """Validate the options of a group that is new or was edited since the last step."""
        seen, now = self._memory, []
        read: Any = itemgetter(*self.defaults) if self.defaults else tuple
        for k, group in enumerate(self.param_groups):
            options = read(group)
            old: Any = seen.options[k] if k < len(seen.options) else (None, None, False)
            if group is not old[0] or not old[2] or not _equal(options, old[1]):
                self.check_group(group)
                old = group, options, not _can_change_in_place(options)
            now.append(old)
        seen.options = now

    def _job(self, group: dict[str, Any], p: Any, array: np.ndarray, place: int) -> Job:
        """Check a parameter's gradient and state; nothing is changed yet."""
        where = f"{self._owner}: parameter {place}"
        known = self.state.get(p, {})
        count = _steps_made(known.get("step", 0), where) if self.counted else 0
        states = {}
        for name, shape in self.state_shapes(array.shape).items():
            states[name] = self._state_array(known.get(name), name, shape, array, where)
        label = f"{self._owner}: the gradient of parameter {place}"
        g = gradient_of(p, label)
        if is_sparse(g):
            raise RuntimeError(f"{label} is sparse; {self._owner} takes dense gradients")
        return Job(group, p, array, checked_gradient(p, g, label), count, states)

    def _state_array(
        self, have: Any, name: str, shape: tuple[int, ...], array: np.ndarray, where: str
    ) -> Any:
        """Return the array of state that is there, if it can be used as it is; else one that can."""
        if have is None:
            return np.zeros(shape, array.dtype)[...]  # a view: the user cannot resize it
        if np.shape(have) != shape:
            raise ValueError(f"{where} has shape {array.shape}, but its {name} has {np.shape(have)}")
        usable = isinstance(have, np.ndarray) and have.dtype == array.dtype and _is_plain(have)
        if usable and not np.may_share_memory(have, array):
            return have
        try:
            return np.array(have, array.dtype, order="C")[...]
        except (TypeError, ValueError):
            raise TypeError(f"{where}: its {name} is {type(have).__name__}, not an array") from None

    def _run(self, job: Job) -> None:
        """Make one update: of the parameter itself if it lies in C order, else of a copy."""
        self._show(job)
        if job.array.size == 0:
            return
        p, g = job.array, job.grad
        if not p.flags.c_contiguous:
            p = self.work("p", p.dtype, p.shape)
            p[...] = job.array
        if not _is_plain(g) or np.may_share_memory(g, job.array):
            g = self.work("g", p.dtype, p.shape)
            g[...] = job.grad
        self.update(job.group, job.steps + 1, p, g, *job.states.values())
        if p is not job.array:
            job.array[...] = p

    def _show(self, job: Job) -> None:
        """Put into the parameter's state what is not there yet, and count the step."""
        state = self.state[job.param]
        if self.counted:
            step = state.get("step")
            if not (isinstance(step, np.ndarray) and step.shape == () and step.dtype == np.int64):
                state["step"] = step = np.zeros((), np.int64)
            step[...] = job.steps + 1
        for name, array in job.states.items():
            if state.get(name) is not array:
                state[name] = array

    def work(self, name: str, dtype: Any, shape: tuple[int, ...]) -> np.ndarray:
        """Return work memory of that name: kept from step to step, of any content."""
        size = math.prod(shape)
        have = self._memory.work.get((name, dtype))
        if have is None or have.size < size:
            have = self._memory.work[name, dtype] = np.empty(size, dtype)
        return have[:size].reshape(shape)

    def state_names(self, group: dict[str, Any]) -> set[str]:
        """Return the names of all that is kept per parameter."""
        names = {name for p in group["params"] for name in self.state_shapes(tuple(p.shape))}
        return {*names, "step"} if self.counted else names

    def check_state(self, group: dict[str, Any], param: Any, state: dict[str, Any], where: str) -> None:
        """Raise ValueError unless the arrays are those that this optimizer keeps, in the right shape."""
        shapes = self.state_shapes(tuple(param.shape))
        if not state:
            return
        expected = {*shapes, "step"} if self.counted else {*shapes}
        if not expected <= set(state):  # other keys are the user's
            raise ValueError(f"{where} has the state {sorted(state)}; expected {sorted(expected)}")
        for name, shape in shapes.items():
            if np.shape(state[name]) != shape:
                raise ValueError(
                    f"{where}: {name} has shape {np.shape(state[name])}; the parameter, of shape "
                    f"{tuple(param.shape)}, needs {shape}"
                )
        if self.counted and (np.size(state["step"]) != 1 or not 0 <= float(state["step"]) < 2**62):
            raise ValueError(f"{where}: step={state['step']!r} must be a count of steps")

    def adopt_state(self, group: dict[str, Any], param: Any, state: dict[str, Any]) -> dict[str, Any]:
        """Return loaded state with its arrays in the parameter's dtype."""
        dtype = dtype_of_tensor(param) if is_tensor(param) else param.data.dtype
        adopted = dict(state)
        for name in self.state_shapes(tuple(param.shape)):
            if name in state:
                adopted[name] = np.array(state[name], dtype, order="C")[...]
        if self.counted and "step" in state:
            adopted["step"] = np.array(int(np.asarray(state["step"]).item()), np.int64)
        return adopted

    def export_param_state(self, param: Any, state: dict[str, Any]) -> dict[str, Any]:
        """Return a parameter's state with its step count as an int."""
        return {k: int(v) if k == "step" and self.counted else v for k, v in state.items()}


def _is(a: Any, b: Any) -> bool:
    return a is b


def _is_plain(a: np.ndarray) -> bool:
    """Tell whether compiled code can take an array as it is, without a build of its own for it."""
    flags = a.flags
    return flags.c_contiguous and flags.aligned and flags.writeable and a.dtype.isnative


def _fingerprint(p: Any) -> tuple | None:
    """Return what changes when a parameter's memory is moved or laid out anew; None: look again."""
    if is_tensor(p):
        return fingerprint_of_tensor(p)
    data = getattr(p, "data", None)
    return fingerprint(data) if type(data) is np.ndarray else None
