"""state_dict and load_state_dict: copies out, checks in, and nothing changed when a check fails."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from nbopt.optim.device_arrays import host_copy, on_device
from nbopt.optim.torch_tensors import from_array, is_tensor

if TYPE_CHECKING:
    from nbopt.optim.optimizer import Optimizer

VERSION = 1

# Options that torch added over the years: a checkpoint from before them may lack them.
LATER_OPTIONS = {
    "amsgrad", "capturable", "centered", "decoupled_weight_decay", "differentiable", "foreach",
    "fused", "maximize", "momentum", "nesterov",
}  # fmt: skip


def export_state(optimizer: Optimizer) -> dict[str, Any]:
    """Return copies of all state and options, parameters numbered through the groups."""
    ids: dict[int, int] = {}
    groups, state = [], {}
    for group in optimizer.param_groups:
        for p in group["params"]:
            ids[id(p)] = len(ids)
        packed = {key: _plain(value) for key, value in group.items() if key != "params"}
        groups.append({**packed, "params": [ids[id(p)] for p in group["params"]]})
    for key, value in optimizer.state.items():
        if id(key) in ids:
            shown = optimizer.export_param_state(key, value)
            state[ids[id(key)]] = {k: _out(v, is_tensor(key)) for k, v in shown.items()}
        else:  # what a user keeps in the state under a key of his own travels along
            state[key] = copy.deepcopy(value)
    marker = {"class": type(optimizer).__name__, "version": VERSION}
    return {"state": dict(sorted(state.items(), key=_numbers_first)), "param_groups": groups, "nbopt": marker}


def _numbers_first(item: tuple[Any, Any]) -> tuple[int, int]:
    """Sort key: parameters in their order, then the user's own keys as they came."""
    return (0, item[0]) if isinstance(item[0], int) else (1, 0)


def _plain(value: Any) -> Any:
    """Return an option as a copy, NumPy scalars as Python's."""
    return value.item() if isinstance(value, np.generic) else copy.deepcopy(value)


def _out(value: Any, torch: bool) -> Any:
    """Return a copy of a state entry as the outside sees it: for a torch parameter, arrays as tensors."""
    if isinstance(value, list | tuple):
        return type(value)(_out(v, torch) for v in value)
    if isinstance(value, np.ndarray):
        return from_array(value.copy()) if torch else value.copy()
    if on_device(value):
        return from_array(host_copy(value)) if torch else host_copy(value)
    return copy.deepcopy(value)


def into_array(value: Any) -> Any:
    """Return a copy of a loaded entry: arrays and tensors as arrays, 0-d ones too; lists entry by entry."""
    if isinstance(value, list | tuple):
        return type(value)(into_array(v) for v in value)
    if on_device(value):
        return host_copy(value)
    if is_tensor(value):
        return value.detach().cpu().numpy().copy()
    return copy.deepcopy(value)


def import_state(optimizer: Optimizer, state_dict: Any) -> None:
    """Check a whole state_dict against the optimizer, then take copies over."""
    owner = type(optimizer).__name__
    if not isinstance(state_dict, Mapping) or not {"state", "param_groups"} <= set(state_dict):
        raise ValueError(f"{owner}: a state_dict is a dict with 'state' and 'param_groups'")
    _check_marker(owner, state_dict.get("nbopt"))
    saved_groups = state_dict["param_groups"]
    if not isinstance(saved_groups, list | tuple) or not isinstance(state_dict["state"], Mapping):
        raise ValueError(f"{owner}: 'param_groups' must be a list of dicts and 'state' a dict")
    if len(saved_groups) != len(optimizer.param_groups):
        raise ValueError(
            f"{owner}: the state_dict has {len(saved_groups)} parameter groups, the optimizer "
            f"{len(optimizer.param_groups)}"
        )
    groups: list[dict[str, Any]] = []
    where_from: dict[Any, tuple[Any, dict[str, Any]]] = {}
    for k, (saved, own) in enumerate(zip(saved_groups, optimizer.param_groups, strict=True)):
        group, keys = _read_group(optimizer, k, saved, own)
        groups.append(group)
        if len({*where_from, *keys}) < len(where_from) + len(keys):
            raise ValueError(f"{owner}: group {k} of the state_dict lists a parameter a second time")
        where_from.update({key: (p, group) for key, p in zip(keys, own["params"], strict=True)})
    state = {}
    for key, value in state_dict["state"].items():
        if key in where_from:
            param, group = where_from[key]
            _check_names(optimizer, group, value, key, "nbopt" in state_dict)
            state[param] = _read_state(optimizer, param, group, value, f"parameter {key}")
        elif isinstance(key, int):
            raise ValueError(f"{owner}: the state_dict has state for {key}, which no group contains")
        else:
            state[key] = copy.deepcopy(value)
    _commit(optimizer, groups, state)


def _check_marker(owner: str, marker: Any) -> None:
    """Refuse another class's state, or one from a newer nbopt; torch's has no marker."""
    if marker is None:
        return
    if not isinstance(marker, Mapping):
        raise ValueError(f"{owner}: the state_dict's 'nbopt' is {type(marker).__name__}, not a dict")
    if marker.get("class") != owner:
        raise ValueError(f"{owner}: the state_dict belongs to {marker.get('class')}")
    if marker.get("version") != VERSION:
        raise ValueError(
            f"{owner}: the state_dict has version {marker.get('version')!r}; this nbopt reads {VERSION}"
        )


def _read_group(optimizer: Optimizer, k: int, saved: Any, own: dict) -> tuple[dict[str, Any], list[Any]]:
    """Return a saved group as a checked group, and the saved keys in the order of our parameters."""
    owner = type(optimizer).__name__
    if not isinstance(saved, Mapping) or not isinstance(saved.get("params"), list | tuple):
        raise ValueError(f"{owner}: group {k} of the state_dict is not a dict with a list 'params'")
    keys = list(saved["params"])
    if len(keys) != len(own["params"]):
        raise ValueError(
            f"{owner}: group {k} of the state_dict has {len(keys)} parameters, the optimizer's "
            f"{len(own['params'])}"
        )
    group = {key: _plain(value) for key, value in saved.items() if key != "params"}
    names, saved_names = own.get("param_names"), saved.get("param_names")
    if names is not None and saved_names is not None:
        if set(names) != set(saved_names):
            odd = sorted(set(names) ^ set(saved_names))
            raise ValueError(f"{owner}: group {k} names other parameters than the state_dict: {odd}")
        keys = [keys[saved_names.index(name)] for name in names]
    group.pop("param_names", None)
    if names is not None:
        group["param_names"] = list(names)
    for name, value in optimizer.defaults.items():
        if name in group:
            continue
        if name not in LATER_OPTIONS:
            raise ValueError(
                f"{owner}: group {k} of the state_dict has no {name!r}; it belongs to another class "
                f"(its options: {sorted(set(saved) - {'params', 'param_names'})})"
            )
        group[name] = value
    group["params"] = own["params"]
    optimizer.adopt_group(group)
    optimizer.check_group(group)
    return group, keys


def _read_state(optimizer: Optimizer, param: Any, group: dict, value: Any, where: str) -> dict[str, Any]:
    """Return a parameter's saved state, copied and checked."""
    owner = type(optimizer).__name__
    if not isinstance(value, Mapping):
        raise ValueError(f"{owner}: the state of {where} is {type(value).__name__}, not a dict")
    copied = {name: into_array(v) for name, v in value.items()}
    optimizer.check_state(group, param, copied, f"{owner}: {where}")
    return optimizer.adopt_state(group, param, copied)


def _check_names(optimizer: Optimizer, group: dict, value: Any, key: Any, marked: bool) -> None:
    """Refuse unknown state where only its names can tell the class: in torch's own checkpoints."""
    known = optimizer.state_names(group)
    if marked or known is None or not isinstance(value, Mapping):
        return
    odd = {name for name, v in value.items() if v is not None} - known - {"step"}
    if odd:
        raise ValueError(
            f"{type(optimizer).__name__}: the state of parameter {key} has {sorted(map(str, odd))}, which "
            f"belongs to another class or other options; expected {sorted(known)}"
        )


def _commit(optimizer: Optimizer, groups: list[dict], state: dict[Any, Any]) -> None:
    """Put checked groups and state in place; group dicts that somebody holds stay the same objects."""
    for own, new in zip(optimizer.param_groups, groups, strict=True):
        own.clear()
        own.update(new)
    optimizer.state.clear()
    for key, value in state.items():
        optimizer.state[key] = value
