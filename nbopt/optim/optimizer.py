"""Optimizer: parameter groups, options, hooks, state, and the step that subclasses fill in."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from nbopt.optim.device_arrays import fill, on_device, refuse_device
from nbopt.optim.gradients import is_sparse
from nbopt.optim.hooks import (
    RemovableHandle,
    global_step_post_hooks,
    global_step_pre_hooks,
    register,
    run_step_hooks,
)
from nbopt.optim.param_groups import (
    check_distinct,
    check_member,
    mention_idle_flags,
    read_groups,
    read_params,
    warn_of_near_misses,
)
from nbopt.optim.parameter import Parameter
from nbopt.optim.ranges import Range
from nbopt.optim.state import Flag, State
from nbopt.optim.state_dict import export_state, import_state
from nbopt.optim.torch_tensors import is_tensor


class Optimizer:
    """Base of all optimizers, and of your own.

    Parameters
    ----------
    params : iterable
        Parameters, arrays (each is wrapped in a `Parameter`), torch tensors, ``(name, array)``
        pairs, or dicts of groups; or one dict from names to arrays. Arrays may lie on a device.
    defaults : dict
        Options for the groups that do not set their own.

    Attributes
    ----------
    param_groups : list of dict
        The groups: each a dict of options with the list ``"params"``.
    state : dict
        State of each parameter: ``state[p]`` is a dict.
    defaults : dict
        The options given to the constructor.
    takes_device_arrays : bool
        Whether parameters may lie on a device; a subclass that reads them in Python may say no.

    Notes
    -----
    A subclass writes ``step(self, closure=None, *, grads=None)`` in Python and keeps what it needs
    in ``self.state[p]``. `ElementwiseOptimizer` is the shorter way for an update that treats all
    elements alike: it takes a loop and compiles it. ``ranges`` maps options to the `Range` that
    they are checked against.

    Examples
    --------
    >>> import numpy as np, nbopt
    >>> class Descent(nbopt.Optimizer):
    ...     def __init__(self, params, lr=0.1):
    ...         super().__init__(params, {"lr": lr})
    ...     def step(self, closure=None, *, grads=None):
    ...         loss = self.run_closure(closure, grads)
    ...         for group in self.param_groups:
    ...             for p in group["params"]:
    ...                 if p.grad is not None:
    ...                     p.data -= group["lr"] * p.grad
    ...         return loss
    >>> w = np.array([1.0, 2.0])
    >>> Descent([w]).step(grads=[np.array([1.0, 1.0])])
    >>> w
    array([0.9, 1.9])
    """

    ranges: ClassVar[dict[str, Range]] = {}
    takes_device_arrays: ClassVar[bool] = True

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "step" in vars(cls):
            cls.step = _with_hooks(vars(cls)["step"])  # type: ignore[method-assign]

    def __init__(self, params: Any, defaults: dict[str, Any]) -> None:
        self.defaults: dict[str, Any] = dict(defaults)
        self.param_groups: list[dict[str, Any]] = []
        self._prepare()
        self.state = {}
        self._constructing = True
        for group in read_groups(self._owner, params):
            self.add_param_group(group)
        self._constructing = False
        check_distinct(self._owner, self.param_groups)  # once: it looks at all parameters

    def _prepare(self) -> None:
        """Set up what is neither copied nor pickled."""
        self._flag = Flag()
        self._in_step = False
        self._constructing = False
        self._step_calls = 0
        self._step_pre_hooks: dict[int, Callable] = {}
        self._step_post_hooks: dict[int, Callable] = {}
        self._state_dict_hooks: dict[str, dict[int, Callable]] = {
            kind: {} for kind in ("pre", "post", "load_pre", "load_post")
        }

    @property
    def state(self) -> State:
        """State of each parameter; assigning a dict (an empty one starts afresh) replaces it."""
        return vars(self)["state"]

    @state.setter
    def state(self, value: dict[Any, Any]) -> None:
        self._flag.raised = True
        state = State(self._flag)
        state.update(value)
        vars(self)["state"] = state

    @property
    def _owner(self) -> str:
        """The name that messages start with."""
        return type(self).__name__

    def check_group(self, group: dict[str, Any]) -> None:
        """Raise ValueError or TypeError if an option of the group is out of its range.

        Called on construction, by `add_param_group`, on loading, and when an option was edited.
        Extend it for rules that `ranges` cannot say.
        """
        for name, allowed in self.ranges.items():
            allowed.check(self._owner, name, group[name])

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters with options of their own; on an error nothing has changed.

        Parameters
        ----------
        param_group : dict
            ``"params"`` and any options; what is missing comes from the defaults.
        """
        owner = self._owner
        if not isinstance(param_group, dict):
            raise TypeError(f"{owner}: a group must be a dict, but got {type(param_group).__name__}")
        if "params" not in param_group:
            raise ValueError(f"{owner}: a group needs the key 'params'; got {sorted(param_group)}")
        group = {key: value for key, value in param_group.items() if key != "params"}
        params, names = read_params(owner, param_group["params"])
        if not self.takes_device_arrays:
            refuse_device(owner, params)
        if self.param_groups and ("param_names" in self.param_groups[0]) != (names is not None):
            raise ValueError(f"{owner}: all groups must have named parameters, or none")
        if names is not None:
            group["param_names"] = names
        warn_of_near_misses(owner, group, self.defaults)
        for name, value in self.defaults.items():
            group.setdefault(name, value)
        group["params"] = params
        self.check_group(group)
        mention_idle_flags(owner, group)
        if not self._constructing:
            check_distinct(owner, [*self.param_groups, group])
        self.param_groups.append(group)
        self._flag.raised = True

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop all gradients, or with ``set_to_none=False`` fill them with zeros in place."""
        for group in self.param_groups:
            for p in group["params"]:
                if set_to_none:
                    p.grad = None
                elif p.grad is not None:
                    _fill_with_zeros(p)

    def step(self, closure: Callable[[], Any] | None = None, *, grads: Sequence[Any] | None = None) -> Any:
        """Update the parameters once; to be written by subclasses.

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
        raise NotImplementedError(f"{self._owner} does not define step()")

    def run_closure(self, closure: Callable[[], Any] | None, grads: Any = None) -> Any:
        """Call the closure, put gradients in their places, and return the loss."""
        loss = None
        if closure is not None:
            if grads is not None:
                raise TypeError(f"{self._owner}: pass a closure or grads, not both")
            loss = _call_closure(closure, self.param_groups)
            if isinstance(loss, tuple) and len(loss) == 2:
                loss, grads = loss
        if grads is not None:
            self._set_grads(grads)
        return loss

    def _set_grads(self, grads: Any) -> None:
        """Give each parameter its gradient; refuse a wrong number or shape before any is set."""
        params = [p for group in self.param_groups for p in group["params"]]
        alone = len(params) == 1 and (isinstance(grads, np.ndarray) or on_device(grads))
        if alone and grads.shape == params[0].shape:
            grads = [grads]
        if isinstance(grads, dict) or not isinstance(grads, Iterable):
            raise TypeError(f"{self._owner}: grads must be a sequence with one array per parameter")
        grads = list(grads)
        if len(grads) != len(params):
            raise ValueError(f"{self._owner}: got {len(grads)} gradients for {len(params)} parameters")
        for k, (p, g) in enumerate(zip(params, grads, strict=True)):
            check_member(self._owner, p, k)
            if is_tensor(p) and g is not None and not is_tensor(g):
                raise TypeError(f"{self._owner}: gradient {k} is {type(g).__name__}, its parameter a tensor")
            if g is not None and not is_sparse(g) and tuple(np.shape(g)) != tuple(p.shape):
                raise ValueError(
                    f"{self._owner}: gradient {k} has shape {np.shape(g)}, its parameter {tuple(p.shape)}"
                )
        for p, g in zip(params, grads, strict=True):
            p.grad = g

    def state_dict(self) -> dict[str, Any]:
        """Return a copy of all state and options: ``{"state": ..., "param_groups": ...}``.

        Parameters are numbered in the order of the groups. Arrays are copies, step counts integers;
        for torch parameters the arrays are tensors, so that ``torch.save`` takes them.
        """
        for hook in [*self._state_dict_hooks["pre"].values()]:
            hook(self)
        result = export_state(self)
        for hook in [*self._state_dict_hooks["post"].values()]:
            answer = hook(self, result)
            result = result if answer is None else answer
        return result

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a copy of a state; on any error nothing has changed.

        Parameters
        ----------
        state_dict : dict
            From `state_dict`, or from the torch optimizer of the same name.

        Raises
        ------
        ValueError
            If it belongs to another class, number of groups, set of names, or shape.
        """
        if not isinstance(state_dict, Mapping):
            raise ValueError(f"{self._owner}: a state_dict is a dict with 'state' and 'param_groups'")
        state_dict = dict(state_dict)
        for hook in [*self._state_dict_hooks["load_pre"].values()]:
            answer = hook(self, state_dict)
            state_dict = state_dict if answer is None else answer
        import_state(self, state_dict)
        self._flag.raised = True
        for hook in [*self._state_dict_hooks["load_post"].values()]:
            hook(self)

    def state_names(self, group: dict[str, Any]) -> set[str] | None:
        """Return the names of all that is kept per parameter under a group's options; None: not known."""
        return None

    def adopt_group(self, group: dict[str, Any]) -> None:
        """Mend a loaded group where a subclass forces an option."""

    def check_state(self, group: dict[str, Any], param: Any, state: dict[str, Any], where: str) -> None:
        """Raise ValueError if a parameter's loaded state does not fit; ``where`` opens the message."""

    def adopt_state(self, group: dict[str, Any], param: Any, state: dict[str, Any]) -> dict[str, Any]:
        """Return a parameter's loaded state as this optimizer keeps it (already copied)."""
        return state

    def export_param_state(self, param: Any, state: dict[str, Any]) -> dict[str, Any]:
        """Return a parameter's state as `state_dict` shows it (copied afterwards)."""
        return dict(state)

    def register_step_pre_hook(self, hook: Callable) -> RemovableHandle:
        """Call ``hook(optimizer, args, kwargs)`` before each step; it may return new ones."""
        return register(self._step_pre_hooks, hook)

    def register_step_post_hook(self, hook: Callable) -> RemovableHandle:
        """Call ``hook(optimizer, args, kwargs)`` after each step."""
        return register(self._step_post_hooks, hook)

    def register_state_dict_pre_hook(self, hook: Callable, prepend: bool = False) -> RemovableHandle:
        """Call ``hook(optimizer)`` before `state_dict` collects."""
        return register(self._state_dict_hooks["pre"], hook, prepend)

    def register_state_dict_post_hook(self, hook: Callable, prepend: bool = False) -> RemovableHandle:
        """Call ``hook(optimizer, state_dict)`` after; it may return another dict."""
        return register(self._state_dict_hooks["post"], hook, prepend)

    def register_load_state_dict_pre_hook(self, hook: Callable, prepend: bool = False) -> RemovableHandle:
        """Call ``hook(optimizer, state_dict)`` before loading; it may return another dict."""
        return register(self._state_dict_hooks["load_pre"], hook, prepend)

    def register_load_state_dict_post_hook(self, hook: Callable, prepend: bool = False) -> RemovableHandle:
        """Call ``hook(optimizer)`` after loading."""
        return register(self._state_dict_hooks["load_post"], hook, prepend)

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy or pickle keeps: options, groups, state; no hooks, no addresses."""
        return {key: value for key, value in vars(self).items() if key not in _TRANSIENT}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._prepare()
        self.__dict__.update(state)
        self.state = state["state"]

    def __repr__(self) -> str:
        lines = [f"{self._owner} ("]
        for k, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {k}")
            shown = sorted(key for key in group if key not in {"params", "param_names"})
            lines += [f"    {key}: {group[key]}" for key in shown]
        return "\n".join([*lines, ")"])


_TRANSIENT = {
    "_flag",
    "_in_step",
    "_constructing",
    "_step_calls",
    "_step_pre_hooks",
    "_step_post_hooks",
    "_state_dict_hooks",
    "_plans",
    "_memory",
}


def _fill_with_zeros(p: Any) -> None:
    """Set a gradient to zero in its own memory, or replace it where that cannot be."""
    if is_tensor(p):
        p.grad.detach_()
        p.grad.zero_()
    elif isinstance(p.grad, np.ndarray) and p.grad.flags.writeable:
        p.grad[...] = 0
    elif on_device(p.grad):
        fill(p.grad, 0.0)
    else:
        p.grad = np.zeros(p.shape, p.dtype)


def _call_closure(closure: Callable[[], Any], groups: list[dict[str, Any]]) -> Any:
    """Call a closure, with autograd on where the parameters are torch's."""
    if not callable(closure):
        raise TypeError(f"step: closure must be callable, not {type(closure).__name__}")
    first = next((p for group in groups for p in group["params"]), None)
    if isinstance(first, Parameter) or first is None:
        return closure()
    import torch

    with torch.enable_grad():
        return closure()


def _with_hooks(step: Callable) -> Callable:
    """Wrap a class's step: hooks around it, and a count of steps that schedulers read."""

    @functools.wraps(step)
    def wrapper(self: Any, *args: Any, **kwargs: Any) -> Any:
        if self._in_step:  # a subclass's step calls its parent's
            return step(self, *args, **kwargs)
        self._in_step = True
        try:
            if (
                self._step_pre_hooks
                or self._step_post_hooks
                or global_step_pre_hooks
                or global_step_post_hooks
            ):
                result = run_step_hooks(step, self, args, kwargs)
            else:
                result = step(self, *args, **kwargs)
        finally:
            self._in_step = False
        self._step_calls += 1
        return result

    return wrapper
