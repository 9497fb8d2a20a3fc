"""ElementwiseOptimizer: a step that is one compiled loop, launched once over a whole group."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any, ClassVar

import numpy as np

from nbopt.kernels import launcher
from nbopt.kernels.arrays import check_parameter, empty_like, same_layout
from nbopt.kernels.table import CHANGED, GRADIENT, LAUNCHED, Table, offsets_for
from nbopt.optim.optimizer import Optimizer
from nbopt.optim.param_groups import array_of
from nbopt.optim.parameter import Parameter
from nbopt.optim.torch_tensors import gradient_of_tensor, is_tensor, mark_written


class ElementwiseOptimizer(Optimizer):
    """Base of optimizers that treat every element alike: subclasses give a loop and its numbers.

    A subclass sets ``defaults`` in its constructor, ``ranges``, and two methods: `algorithm` names
    the loop and the arrays of state that it keeps per parameter; `numbers` gives what the loop reads
    in a step, computed in float64. The loop is a plain function ``loop(p, g, state, h)`` over 1-D
    arrays; it is compiled when it is first needed, and the same function serves one thread, many
    threads and ``NUMBA_DISABLE_JIT=1``.

    Attributes
    ----------
    counted : bool
        Whether the state shows ``"step"``. If not, `numbers` is told only whether a step is a
        parameter's first (t = 1) or a later one (t = 2).

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

    def algorithm(self, group: dict[str, Any]) -> tuple[Callable, tuple[str, ...]]:
        """Return the loop for a group's options, and the names of the (at most 3) arrays it keeps."""
        raise NotImplementedError(f"{self._owner} does not define algorithm()")

    def numbers(self, group: dict[str, Any], t: int) -> tuple[float, ...]:
        """Return the numbers (at most 16) that the loop reads at a parameter's step ``t`` (from 1)."""
        raise NotImplementedError(f"{self._owner} does not define numbers()")

    def initial(self, group: dict[str, Any], name: str) -> float:
        """Return the value that a new array of state is filled with."""
        return 0.0

    def _prepare(self) -> None:
        super()._prepare()
        self._plans: list[_Plan] = []

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
        if len(plans) != 1 or self._flag.raised or len(self.param_groups) != 1 or not plans[0].quick():
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
            plan.gather(self._owner)
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
        plans = [_Plan(self, group) for group in self.param_groups]
        for plan in plans:
            plan.bind_states()
        self._plans = plans
        self._flag.raised = False

    def check_state(self, group: dict[str, Any], param: Any, state: dict[str, Any], where: str) -> None:
        """Raise ValueError unless the arrays are those that this optimizer keeps, in the right shape."""
        if not state:
            return
        _, names = self.algorithm(group)
        expected = {*names, "step"} if self.counted else set(names)
        if not self.counted:
            state.pop("step", None)
            for name in [k for k, v in state.items() if v is None]:
                del state[name]
            if not state:
                return
        if set(state) != expected:
            raise ValueError(f"{where} has the state {sorted(state)}; expected {sorted(expected)}")
        for name in names:
            if np.shape(state[name]) != tuple(param.shape):
                raise ValueError(
                    f"{where}: {name} has shape {np.shape(state[name])}, the parameter {tuple(param.shape)}"
                )
        if self.counted and (np.size(state["step"]) != 1 or not 0 <= float(state["step"]) < 2**62):
            raise ValueError(f"{where}: step={state['step']!r} must be a count of steps")

    def adopt_state(self, group: dict[str, Any], param: Any, state: dict[str, Any]) -> dict[str, Any]:
        """Return loaded state with its arrays in the parameter's dtype."""
        dtype = array_of(param).dtype
        return {
            k: np.int64(float(v)) if k == "step" else np.asarray(v).astype(dtype, copy=False)
            for k, v in state.items()
        }

    def export_param_state(self, param: Any, state: dict[str, Any]) -> dict[str, Any]:
        """Return a parameter's state with its step count as an int."""
        return {k: int(v) if k == "step" else v for k, v in state.items()}


class _Plan:
    """How one group is launched: its options as last seen, its loop, its tables by dtype."""

    def __init__(self, optimizer: ElementwiseOptimizer, group: dict[str, Any]) -> None:
        self.optimizer, self.group, self.params = optimizer, group, group["params"]
        self.algorithm = optimizer.algorithm(group)
        self.loop, self.names = self.algorithm
        self.ceiling = (1 << 62) if optimizer.counted else 1
        self.read = itemgetter(*optimizer.defaults) if optimizer.defaults else tuple
        self.remember_options()
        self.length = len(self.params)
        self.tables = self._make_tables()
        self.tensors = [p for p in self.params if is_tensor(p)]
        only = self.tables[0] if len(self.tables) == 1 else None
        ready = only is not None and only.offsets is not None and only.strided is None
        self.small = only if ready else None
        self.loop_at = 0

    def remember_options(self) -> None:
        """Note the options; arrays and tensors, which change in place, are read anew each step."""
        self.options = self.read(self.group)
        values = self.options if isinstance(self.options, tuple) else (self.options,)
        self.frozen = not any(hasattr(v, "shape") and not isinstance(v, np.generic) for v in values)

    def options_unchanged(self) -> bool:
        """Tell whether the group's options are those that were last validated."""
        return self.frozen and bool(self.read(self.group) == self.options)

    def fits(self, group: dict[str, Any]) -> bool:
        """Tell whether this plan was made for this group with this list of parameters."""
        same = self.group is group and group["params"] is self.params
        return same and len(self.params) == self.length

    def _make_tables(self) -> list[Table]:
        """Sort the parameters by dtype, arrays apart from tensors, into one table each."""
        kinds: dict[Any, list[int]] = {}
        arrays = []
        for place, p in enumerate(self.params):
            label = f"{self.optimizer._owner}: parameter {place}"
            if isinstance(p, Parameter):
                check_parameter(p.data, label)
            arrays.append(array_of(p))
            kinds.setdefault((arrays[-1].dtype, is_tensor(p)), []).append(place)
        tables = []
        for (_, torch), places in kinds.items():
            offsets = None if torch or type(self.params) is not list else _offsets()
            chosen = [self.params[k] for k in places], [arrays[k] for k in places]
            tables.append(Table(*chosen, places, offsets))
        return tables

    def bind_states(self) -> None:
        """Give every active row its state: what the optimizer has, or new arrays."""
        state = self.optimizer.state
        for table in self.tables:
            table.activate([_gradient(p, "") is not None for p in table.params])
            for row, p in enumerate(table.params):
                known = state.get(p)
                if known or table.rows[row, launcher.ACTIVE]:
                    self._bind_row(table, row, p, dict(known or {}))
            table.count = table.common_count()

    def _bind_row(self, table: Table, row: int, p: Any, known: dict[str, Any]) -> None:
        """Put a parameter's state into the table and the table's memory into the state."""
        where = f"{self.optimizer._owner}: parameter {table.places[row]}"
        arrays = [self._state_array(table, row, known, name, where) for name in self.names]
        new: dict[str, Any] = {}
        if self.optimizer.counted:
            table.counts[row] = int(known.get("step", 0))
            new["step"] = table.counts[row : row + 1].reshape(())
        else:
            table.counts[row] = int(bool(self.names) and all(name in known for name in self.names))
        new.update(zip(self.names, arrays, strict=True))
        extra = {k: v for k, v in known.items() if k not in new}
        table.set_states(row, tuple(arrays))
        if new or extra:
            self.optimizer.state[p] = {**new, **extra}

    def _state_array(self, table: Table, row: int, known: dict, name: str, where: str) -> np.ndarray:
        """Return the array of state ``name`` in the parameter's layout, new if there was none."""
        like = table.arrays[row]
        have = known.get(name)
        if have is None:
            fresh = empty_like(like)
            fresh[...] = self.optimizer.initial(self.group, name)
            return fresh
        if np.shape(have) != like.shape:
            raise ValueError(f"{where} has shape {like.shape}, but its {name} has {np.shape(have)}")
        straight = have.flags.c_contiguous if table.strided else same_layout(have, like)
        if have.dtype == like.dtype and straight and have.flags.aligned and have.flags.writeable:
            return have
        fresh = empty_like(like)
        fresh[...] = have
        return fresh

    def quick(self) -> bool:
        """Step a small group in one compiled call; False, with nothing changed, if that cannot be."""
        table, group = self.small, self.group
        if table is None or table.nbytes > launcher.QUICK_BYTES or table.count is None:
            return False
        if group["params"] is not self.params or len(self.params) != self.length:
            return False
        if not self.frozen or self.read(group) != self.options:
            return False
        count = table.count
        if not self.loop_at:
            self.loop_at = launcher.loop_address(self.loop, table.dtype)
        table.set_numbers(self.optimizer.numbers(group, count + 1))
        answer = launcher.quick(
            self.loop_at, id(self.params), table.offsets, table.rows, table.counts, count,
            self.ceiling, table.like, table.h,
        )  # fmt: skip
        if answer != LAUNCHED:
            return False
        if count < self.ceiling:
            table.count = count + 1
        return True

    def gather(self, owner: str) -> None:
        """Hold every active gradient until the launch is over, and note where it lies."""
        for table in self.tables:
            table.held = [None] * len(table.params)
            for row in table.active_rows():
                where = f"{owner}: the gradient of parameter {table.places[row]}"
                table.held[row] = _gradient(table.params[row], where)
            if table.check(self.params, table.held) == GRADIENT:
                for row in table.active_rows():
                    where = f"{owner}: the gradient of parameter {table.places[row]}"
                    table.take(row, _checked(table.held[row], table.arrays[row], where))

    def launch(self) -> None:
        """Run the loop, once per step count that occurs, and count."""
        for table in self.tables:
            counts = table.distinct_counts()
            for count in counts:
                table.set_numbers(self.optimizer.numbers(self.group, count + 1))
                table.launch(self.loop, None if len(counts) == 1 else count)
            table.advance(self.ceiling)
        mark_written([t for t in self.tensors if t.grad is not None])


_offsets_found: list[np.ndarray | None] = []


def _offsets() -> np.ndarray | None:
    """Return the calibrated header offsets, found once."""
    if not _offsets_found:
        _offsets_found.append(offsets_for(Parameter))
    return _offsets_found[0]


def _gradient(p: Any, where: str) -> Any:
    """Return a parameter's gradient as it is, or a tensor's as an array; None if there is none."""
    return gradient_of_tensor(p, where) if is_tensor(p) else p.grad


def _checked(g: Any, like: np.ndarray, where: str) -> np.ndarray:
    """Return a gradient as an array, or say why it cannot be used."""
    if isinstance(g, np.generic):
        g = np.asarray(g)
    if not isinstance(g, np.ndarray):
        raise TypeError(f"{where} is {type(g).__name__}; it must be an array like its parameter")
    if g.shape != like.shape:
        raise ValueError(f"{where} has shape {g.shape}, its parameter {like.shape}")
    if g.dtype.newbyteorder("=") != like.dtype:
        raise TypeError(
            f"{where} has dtype {g.dtype}, its parameter {like.dtype}; write grad.astype({like.dtype.name!r})"
        )
    return g
