"""Hooks: functions that users hang on an optimizer's step and on its state's coming and going."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

_ids = itertools.count()


class RemovableHandle:
    """What a registration returns: ``remove()`` takes the hook off again; usable in ``with``."""

    def __init__(self, hooks: dict[int, Callable]) -> None:
        self.hooks, self.id = hooks, next(_ids)

    def remove(self) -> None:
        """Take the hook off; a second call does nothing."""
        self.hooks.pop(self.id, None)

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *error: Any) -> None:
        self.remove()


def register(hooks: dict[int, Callable], hook: Callable, prepend: bool = False) -> RemovableHandle:
    """Add a hook to a table, last or first, and return its handle."""
    if not callable(hook):
        raise TypeError(f"a hook must be callable, not {type(hook).__name__}")
    handle = RemovableHandle(hooks)
    later = dict(hooks) if prepend else {}
    if prepend:
        hooks.clear()
    hooks[handle.id] = hook
    hooks.update(later)
    return handle


global_step_pre_hooks: dict[int, Callable] = {}
global_step_post_hooks: dict[int, Callable] = {}


def register_optimizer_step_pre_hook(hook: Callable) -> RemovableHandle:
    """Call a hook before every step of every optimizer.

    Parameters
    ----------
    hook : callable
        Called as ``hook(optimizer, args, kwargs)``, ``args`` with the optimizer first; it returns None
        or a new ``(args, kwargs)``.

    Returns
    -------
    handle : RemovableHandle
        ``handle.remove()`` takes the hook off; usable in ``with``.

    Raises
    ------
    TypeError
        If it cannot be called.

    Examples
    --------
    >>> import numpy as np, nbopt
    >>> w = np.array([1.0])
    >>> opt = nbopt.SGD([w], lr=0.5)
    >>> with nbopt.register_optimizer_step_pre_hook(lambda opt, args, kwargs: print("before", w)):
    ...     opt.step(grads=[np.ones(1)])
    before [1.]
    """
    return register(global_step_pre_hooks, hook)


def register_optimizer_step_post_hook(hook: Callable) -> RemovableHandle:
    """Call a hook after every step of every optimizer.

    Parameters
    ----------
    hook : callable
        Called as ``hook(optimizer, args, kwargs)``, ``args`` with the optimizer first.

    Returns
    -------
    handle : RemovableHandle
        ``handle.remove()`` takes the hook off; usable in ``with``.

    Raises
    ------
    TypeError
        If it cannot be called.

    Examples
    --------
    >>> import numpy as np, nbopt
    >>> w = np.array([1.0])
    >>> opt = nbopt.SGD([w], lr=0.5)
    >>> with nbopt.register_optimizer_step_post_hook(lambda opt, args, kwargs: print("after", w)):
    ...     opt.step(grads=[np.ones(1)])
    after [0.5]
    """
    return register(global_step_post_hooks, hook)


def run_step_hooks(step: Callable, optimizer: Any, args: tuple, kwargs: dict) -> Any:
    """Run one step between its hooks: global before, own before, step, own after, global after."""
    for hook in [*global_step_pre_hooks.values(), *optimizer._step_pre_hooks.values()]:
        answer = hook(optimizer, (optimizer, *args), kwargs)
        if answer is None:
            continue
        if not (isinstance(answer, tuple) and len(answer) == 2):
            raise RuntimeError(
                f"{type(optimizer).__name__}: a step pre-hook must return None or a new "
                f"(args, kwargs), not {answer!r}"
            )
        args, kwargs = tuple(answer[0]), answer[1]
        args = args[1:] if args and args[0] is optimizer else args
    result = step(optimizer, *args, **kwargs)
    for hook in [*optimizer._step_post_hooks.values(), *global_step_post_hooks.values()]:
        hook(optimizer, (optimizer, *args), kwargs)
    return result
