"""What a scheduler sees of an optimizer: the rates of its groups, and whether it has stepped.

Optimizers of nbopt and of torch look alike from here: a list ``param_groups`` of dicts with
``"lr"``, a dict ``defaults`` and a method ``step``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nbopt.optim.ranges import as_number


def check_optimizer(owner: str, optimizer: Any) -> Any:
    """Return the optimizer if it looks like one whose groups have rates; else raise."""
    groups: Any = getattr(optimizer, "param_groups", None)
    looks = (
        isinstance(groups, list)
        and isinstance(getattr(optimizer, "defaults", None), dict)
        and callable(getattr(optimizer, "step", None))
    )
    if not looks or isinstance(optimizer, type):
        shown = f"the class {optimizer.__name__}" if isinstance(optimizer, type) else type(optimizer).__name__
        raise TypeError(f"{owner}: optimizer must be an optimizer of nbopt or torch, but got {shown}")
    for k, group in enumerate(groups):
        if as_number(group.get("lr")) is None:
            raise ValueError(f"{owner}: param_groups[{k}] of {type(optimizer).__name__} has no number 'lr'")
    return optimizer


def rate(group: dict[str, Any], key: str = "lr") -> float:
    """Return a group's rate as a float, also where it is a 1-element tensor or array."""
    value = group[key]
    if type(value) is float:
        return value
    return float(value.item() if hasattr(value, "item") else value)


def rates(optimizer: Any) -> list[float]:
    """Return the rates of all groups."""
    return [rate(group) for group in optimizer.param_groups]


def set_rate(group: dict[str, Any], value: float | None) -> None:
    """Set a group's rate; a tensor or an array that holds it is written in place."""
    held = group["lr"]
    if type(held) is float:  # nearly always: first, to be quick
        group["lr"] = value
    elif isinstance(held, np.ndarray):
        held[...] = value
    elif hasattr(held, "fill_"):
        held.fill_(value)
    else:
        group["lr"] = value


def per_group(owner: str, name: str, value: Any, optimizer: Any) -> list[Any]:
    """Return one value for each group, from a list of them or from one for all."""
    n = len(optimizer.param_groups)
    if not is_list(value):
        return [value] * n
    if len(value) != n:
        raise ValueError(f"{owner}: {name} has {len(value)} values, but there are {n} param groups")
    return list(value)


def is_list(value: Any) -> bool:
    """Tell whether an option was given as one value per group."""
    return isinstance(value, list | tuple) or (isinstance(value, np.ndarray) and value.ndim == 1)


def count_steps(optimizer: Any) -> None:
    """See to it that ``optimizer._step_calls`` counts its steps; nbopt's optimizers do so themselves."""
    if not hasattr(optimizer, "_step_calls") and hasattr(optimizer, "register_step_post_hook"):
        optimizer._step_calls = 0
        optimizer.register_step_post_hook(_count)


def never_stepped(optimizer: Any) -> bool:
    """Tell whether the optimizer is known to have taken no step so far."""
    return getattr(optimizer, "_step_calls", None) == 0


def _count(optimizer: Any, args: Any, kwargs: Any) -> None:
    """Count one step of an optimizer that does not count itself."""
    optimizer._step_calls = getattr(optimizer, "_step_calls", 0) + 1
