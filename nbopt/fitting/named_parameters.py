"""The parameters of a fit by their names: where they start, which are fixed, and their bounds."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import Bounds

from nbopt.optim.near_miss import did_you_mean
from nbopt.solvers.real_numbers import real_numbers

_APART = "; each parameter is an argument of its own: model(x, a, b)"


class Named(NamedTuple):
    """All parameters of a model in its order; ``free`` are the places of those that are not fixed."""

    names: tuple[str, ...]
    start: np.ndarray
    free: np.ndarray
    lower: np.ndarray
    upper: np.ndarray


def read_parameters(owner: str, model: Any, p0: Any, fixed: Any, bounds: Any) -> Named:
    """Return the parameters of a model, or say what is wrong with how they were given.

    Parameters
    ----------
    owner : str
        The public function that was called, for the messages.
    model, p0, fixed, bounds
        As for `fit`.

    Returns
    -------
    Named

    Raises
    ------
    ValueError
        If a value is out of its range.
    TypeError
        If the model takes other parameters than were given.

    Examples
    --------
    >>> from nbopt.fitting.named_parameters import read_parameters
    >>> read_parameters("fit", lambda x, a, b=2.0: a + b * x, {"a": 1.0}, "b", {"a": (0, None)}).start
    array([1., 2.])
    """
    signature = _signature(owner, model)
    held = _held(owner, fixed)
    names, start = _start(owner, signature, p0, held, bounds)
    for name in held:
        if name not in names:
            raise ValueError(f"{owner}: fixed names {name!r}, which is {_none_of(name, names)}")
        if held[name] is not None:
            start[names.index(name)] = _number(owner, "fixed", name, held[name])
    lower, upper = _bounds(owner, bounds, names)
    _check_held(owner, held, names, start, lower, upper)
    free = np.array([i for i, name in enumerate(names) if name not in held], np.int64)
    if not free.size:
        raise ValueError(f"{owner}: fixed holds every parameter; at least one must be free")
    for i in free:
        if not lower[i] <= start[i] <= upper[i]:
            raise ValueError(
                f"{owner}: p0 lies outside the bounds: "
                f"{names[i]}={start[i]} must lie in [{lower[i]}, {upper[i]}]"
            )
    return Named(names, start, free, lower, upper)


def _signature(owner: str, model: Any) -> dict[str, Any] | None:
    """Return the names of a model's parameters after x with their defaults; None if it takes any number."""
    try:
        known = list(inspect.signature(getattr(model, "py_func", model)).parameters.values())
    except (TypeError, ValueError):
        return None
    if any(p.kind == p.VAR_POSITIONAL for p in known):
        return None
    places = [p for p in known if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if len(places) < 2:
        raise ValueError(f"{owner}: the model must take x and at least one parameter after it")
    empty = inspect.Parameter.empty
    return {p.name: None if p.default is empty else p.default for p in places[1:]}


def _held(owner: str, fixed: Any) -> dict[str, Any]:
    """Return the names of fixed parameters with their values, None for the start."""
    if isinstance(fixed, str):
        return {fixed: None}
    if isinstance(fixed, Mapping):
        names = dict(fixed)
    else:
        try:
            names = dict.fromkeys(fixed)
        except TypeError:
            raise TypeError(
                f"{owner}: fixed={fixed!r} must be names, or a dict of names and values"
            ) from None
    bad = [name for name in names if not isinstance(name, str)]
    if bad:
        raise TypeError(f"{owner}: fixed holds {bad[0]!r}; it must hold names of parameters")
    return names


def _check_held(
    owner: str, held: dict[str, Any], names: tuple[str, ...], start: np.ndarray, lower: Any, upper: Any
) -> None:
    """Refuse a fixed parameter outside its bounds."""
    for name in held:
        i = names.index(name)
        if not lower[i] <= start[i] <= upper[i]:
            from_start = "" if held[name] is not None else ", its start,"
            raise ValueError(
                f"{owner}: fixed holds {name} at {start[i]}{from_start} outside its bounds: "
                f"it must lie in [{lower[i]}, {upper[i]}]"
            )


def _none_of(name: Any, names: tuple[str, ...]) -> str:
    """Return which names there are, and which of them is near."""
    return f"none of {', '.join(names)}{did_you_mean(name, names)}"


def _number(owner: str, argument: str, name: str, value: Any) -> float:
    """Return a finite number, or say which is none: text that reads like one is none."""
    try:
        number = None if isinstance(value, str | bytes) else float(value)
    except (TypeError, ValueError):
        number = None
    if number is None:
        raise TypeError(f"{owner}: {argument}: {name}={value!r} must be a real number")
    if not math.isfinite(number):
        raise ValueError(f"{owner}: {argument}: {name}={number} must be finite")
    return number


def _start(
    owner: str, signature: dict[str, Any] | None, p0: Any, held: dict[str, Any], bounds: Any
) -> tuple[tuple[str, ...], np.ndarray]:
    """Return the names and where they start."""
    if isinstance(p0, Mapping):
        return _start_by_name(owner, signature, p0, held)
    if p0 is None:
        if signature is None:
            raise ValueError(
                f"{owner}: the model's signature does not name its parameters; give p0 as a dict"
            )
        names = tuple(signature)
        lower, upper = _bounds(owner, bounds, names)
        within = zip(signature.values(), lower.tolist(), upper.tolist(), strict=True)
        values = [_within(low, high) if default is None else default for default, low, high in within]
    else:
        if isinstance(p0, str | bytes):
            raise TypeError(f"{owner}: p0={p0!r} must be numbers, or a dict of names and numbers")
        try:
            values = list(p0) if np.ndim(p0) else [p0]
        except TypeError:
            raise TypeError(f"{owner}: p0={p0!r} must be numbers, or a dict of names and numbers") from None
        names = tuple(signature or (f"p{i}" for i in range(len(values))))
        if len(values) != len(names):
            raise TypeError(
                f"{owner}: the model takes {len(names)} parameters after x ({', '.join(names)}), but p0 has "
                f"{len(values)}{_APART if len(names) == 1 else ''}"
            )
    return names, np.array([_number(owner, "p0", n, v) for n, v in zip(names, values, strict=True)])


def _start_by_name(
    owner: str, signature: dict[str, Any] | None, p0: Mapping[str, Any], held: dict[str, Any]
) -> tuple[tuple[str, ...], np.ndarray]:
    """Return the names and where they start, p0 being a dict."""
    names = tuple(map(str, p0)) if signature is None else tuple(signature)
    unknown = [name for name in p0 if name not in names]
    if unknown:
        near = did_you_mean(unknown[0], names)
        raise TypeError(f"{owner}: p0 names {unknown[0]!r}; the model takes {', '.join(names)}{near}")
    known = {**(signature or {}), **{n: v for n, v in held.items() if v is not None}, **p0}
    missing = [name for name in names if known.get(name) is None]
    if missing:
        raise TypeError(f"{owner}: p0 has no value for {', '.join(missing)}")
    return names, np.array([_number(owner, "p0", name, known[name]) for name in names])


def _within(low: float, high: float) -> float:
    """Return a start between two bounds, 1 if there are none."""
    if math.isfinite(low) and math.isfinite(high):
        return 0.5 * (low + high)
    return low + 1.0 if math.isfinite(low) else high - 1.0 if math.isfinite(high) else 1.0


def _bounds(owner: str, bounds: Any, names: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return lower and upper bounds of all parameters."""
    n, pairs = len(names), ""
    lower, upper = np.full(n, -math.inf), np.full(n, math.inf)
    if bounds is None:
        return lower, upper
    if isinstance(bounds, Mapping):
        for name, pair in bounds.items():
            i, ends = _bounds_of_one(owner, name, pair, names)
            lower[i], upper[i] = ends
    else:
        pairs = f"pairs go into a dict of names, such as {{{names[0]!r}: (0, None)}}"
        ends = (bounds.lb, bounds.ub) if isinstance(bounds, Bounds) else bounds
        if not isinstance(ends, tuple | list | np.ndarray) or len(ends) != 2:
            raise ValueError(f"{owner}: bounds must be two sequences, lower and upper; {pairs}")
        try:
            lower[:], upper[:] = _side(ends[0], -math.inf), _side(ends[1], math.inf)
        except (TypeError, ValueError):
            raise ValueError(
                f"{owner}: bounds: lower and upper must have {n} numbers each, or one; {pairs}"
            ) from None
    for i, name in enumerate(names):
        if not lower[i] < upper[i]:
            raise ValueError(
                f"{owner}: bounds: the lower bound of {name}, {lower[i]}, "
                f"must be less than the upper, {upper[i]}{pairs and f' (bounds are lower, upper; {pairs})'}"
            )
    return lower, upper


def _bounds_of_one(
    owner: str, name: Any, pair: Any, names: tuple[str, ...]
) -> tuple[int, tuple[float, float]]:
    """Return the place of a parameter and its bounds."""
    if name not in names:
        raise ValueError(f"{owner}: bounds names {name!r}, which is {_none_of(name, names)}")
    if not isinstance(pair, tuple | list | np.ndarray) or len(pair) != 2:
        raise ValueError(f"{owner}: bounds: {name}={pair!r} must be a pair (lower, upper)")
    try:
        return names.index(name), (_side(pair[0], -math.inf).item(), _side(pair[1], math.inf).item())
    except (TypeError, ValueError):
        raise ValueError(f"{owner}: bounds: {name}={pair!r} must be two numbers, or None") from None


def _side(ends: Any, unbounded: float) -> np.ndarray:
    """Return bounds of one side; None is no bound."""
    values = np.asarray(ends)
    if values.dtype == object:
        known = [unbounded if end is None else end for end in values.flat]
        values = np.array(known, object).reshape(values.shape)
    return real_numbers(values)
