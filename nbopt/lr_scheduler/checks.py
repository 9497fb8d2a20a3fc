"""Checks of a scheduler's options: numbers in a range, whole numbers, names from a list."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from nbopt.optim.ranges import Range, as_number


def number(owner: str, name: str, value: Any, allowed: Range) -> float:
    """Return a number inside its range as a float, or raise."""
    allowed.check(owner, name, value)
    found = as_number(value)
    assert found is not None
    return found


def whole(owner: str, name: str, value: Any, low: int) -> int:
    """Return a whole number that is at least ``low`` (10.0 counts as whole), or raise."""
    found = as_number(value)
    if found is None:
        raise TypeError(f"{owner}: {name}={value!r} must be a whole number >= {low}")
    if not math.isfinite(found) or found != int(found) or found < low:
        raise ValueError(f"{owner}: {name}={value!r} must be a whole number >= {low}")
    return int(found)


def whole_list(owner: str, name: str, values: Any, low: int) -> list[int]:
    """Return a list of whole numbers, or raise."""
    if isinstance(values, str | bytes) or not isinstance(values, Iterable):
        raise TypeError(f"{owner}: {name}={values!r} must be a list of whole numbers >= {low}")
    return [whole(owner, f"{name}[{k}]", value, low) for k, value in enumerate(values)]


def choice(owner: str, name: str, value: Any, allowed: tuple[str, ...]) -> str:
    """Return a name from a list, or raise."""
    if value not in allowed:
        raise ValueError(f"{owner}: {name}={value!r} must be one of {allowed}")
    return value


def function(owner: str, name: str, value: Any) -> Any:
    """Return a callable, or raise."""
    if not callable(value):
        raise TypeError(f"{owner}: {name} must be a function, not {type(value).__name__}")
    return value
