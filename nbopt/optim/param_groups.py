"""Every way to say which parameters to optimize, read into one: a list of groups of parameters."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from nbopt.kernels.arrays import as_reals, check_parameter, overlapping
from nbopt.optim.device_arrays import memory_of_parameter, on_device, overlapping_memory
from nbopt.optim.near_miss import nearest
from nbopt.optim.parameter import Parameter
from nbopt.optim.torch_tensors import is_tensor, view_of_tensor


def read_groups(owner: str, params: Any) -> list[dict[str, Any]]:
    """Return a list of group dicts from arrays, (name, param) pairs, a dict of names, or groups."""
    if _is_one_parameter(params):
        raise TypeError(
            f"{owner}: params must be an iterable of parameters or of group dicts, but got one "
            f"{type(params).__name__}; write [{type(params).__name__.lower()}] around it"
        )
    if isinstance(params, Mapping):
        if "params" in params:
            raise TypeError(
                f"{owner}: params is one group dict; write [{{'params': ...}}] for a list of groups "
                "(a plain dict maps names to parameters)"
            )
        params = list(params.items())
    if isinstance(params, set | frozenset):
        raise TypeError(f"{owner}: params is a set, which has no order; pass a list")
    if isinstance(params, str | bytes) or not isinstance(params, Iterable):
        hint = "; pass its parameters()" if hasattr(params, "parameters") else ""  # a torch module
        raise TypeError(f"{owner}: params must be an iterable, but got {type(params).__name__}{hint}")
    items = list(params)
    if not items:
        raise ValueError(f"{owner}: params is empty; there is nothing to optimize")
    return items if isinstance(items[0], dict) else [{"params": items}]


def _is_one_parameter(x: Any) -> bool:
    """Tell whether something is an array rather than a list of them."""
    return isinstance(x, np.ndarray | Parameter) or is_tensor(x) or on_device(x)


def read_params(owner: str, params: Any) -> tuple[list[Any], list[str] | None]:
    """Return the parameters of one group, wrapped where they are bare arrays, and their names."""
    if isinstance(params, set | frozenset):
        raise TypeError(f"{owner}: a group's params is a set, which has no order; pass a list")
    if _is_one_parameter(params):
        params = [params]
    items = list(params.items()) if isinstance(params, Mapping) else list(params)
    named = [isinstance(item, tuple) for item in items]
    if not any(named):
        return [as_parameter(owner, p, f"params[{k}]") for k, p in enumerate(items)], None
    if not all(named):
        raise ValueError(f"{owner}: some parameters of a group have names and some have none")
    bad = [item for item in items if len(item) != 2 or not isinstance(item[0], str)]
    if bad:
        raise TypeError(f"{owner}: a named parameter must be (name, array), but got {bad[0]!r}")
    names = [name for name, _ in items]
    twice = {name for name in names if names.count(name) > 1} if len(set(names)) < len(names) else ()
    if twice:
        raise ValueError(f"{owner}: the names {sorted(twice)} stand for more than one parameter")
    return [as_parameter(owner, p, name, name) for name, p in items], names


def as_parameter(owner: str, item: Any, where: str, name: str | None = None) -> Any:
    """Return a Parameter (or the torch tensor as it is) that can be updated in place, or refuse."""
    label = f"{owner}: {where}"
    tensor = is_tensor(item)
    p = item if tensor or isinstance(item, Parameter) else Parameter(item, name=name)
    if on_device(p):
        memory_of_parameter(p, label)
    elif tensor:
        view_of_tensor(p, label)
    else:
        check_parameter(p.data, label)
    return p


def array_of(param: Any) -> np.ndarray:
    """Return the memory of a parameter as an array of reals; complex numbers are pairs of them."""
    if isinstance(param, Parameter):
        if not isinstance(param.data, np.ndarray) and on_device(param):  # np.asarray might make a copy
            raise TypeError("a parameter became a device array; only host memory can be updated here")
        return as_reals(np.asarray(param.data))  # a subclass such as memmap as a plain view
    return view_of_tensor(param, "parameter")


def check_member(owner: str, param: Any, place: int) -> None:
    """Refuse what a user put into a group's list without wrapping it."""
    if not isinstance(param, Parameter) and not is_tensor(param):
        raise TypeError(
            f"{owner}: parameter {place} of a group is {type(param).__name__}; use add_param_group, or "
            "wrap it in nbopt.Parameter"
        )


def check_distinct(owner: str, groups: Iterable[dict[str, Any]]) -> None:
    """Refuse parameters that occur twice or share memory: they would be stepped twice."""
    params = [p for group in groups for p in group["params"]]
    if len({id(p) for p in params}) < len(params):
        seen: dict[int, int] = {}
        first, second = next((seen[id(p)], k) for k, p in enumerate(params) if seen.setdefault(id(p), k) != k)
        raise ValueError(f"{owner}: parameter {second} is parameter {first} again")
    places: dict[bool, list[int]] = {False: [], True: []}
    for k, p in enumerate(params):
        places[on_device(p)].append(k)
    found = overlapping([array_of(params[k]) for k in places[False]])
    pair = found and [places[False][k] for k in found]
    if pair is None and places[True]:
        found = overlapping_memory([memory_of_parameter(params[k], "a parameter") for k in places[True]])
        pair = found and [places[True][k] for k in found]
    if pair is not None:
        raise ValueError(f"{owner}: parameters {pair[0]} and {pair[1]} share memory; both would step it")


def warn_of_near_misses(owner: str, group: dict[str, Any], known: Iterable[str]) -> None:
    """Warn where a group's key looks like a misspelt option; other keys of the user's pass."""
    known = [*known, "params", "param_names", "initial_lr"]
    for key in group:
        close = None if key in known else nearest(key, known, 0.75)
        if close and key not in {"max_lr", "min_lr", "swa_lr", "max_momentum", "base_momentum"}:
            warnings.warn(
                f"{owner}: the group's {key!r} is not an option; is {close!r} meant?",
                UserWarning,
                stacklevel=_level_of_the_user(),
            )


_IDLE = {
    "foreach": "every step is one compiled launch over all arrays",
    "fused": "every step is one compiled launch over all arrays",
    "capturable": "there is no CUDA graph to capture",
    "differentiable": "steps are not recorded by autograd",
}
_mentioned: set[tuple[str, str]] = set()


def _level_of_the_user() -> int:
    """Return the stacklevel that points to the line outside of nbopt: subclasses add frames."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("nbopt."):
        frame, level = frame.f_back, level + 1
    return level


def mention_idle_flags(owner: str, group: dict[str, Any]) -> None:
    """Say once per class and flag that a flag of torch's has no effect here."""
    for flag, why in _IDLE.items():
        if group.get(flag) and (owner, flag) not in _mentioned:
            _mentioned.add((owner, flag))
            warnings.warn(
                f"{owner}: {flag}={group[flag]!r} has no effect here: {why}",
                UserWarning,
                stacklevel=_level_of_the_user(),
            )
