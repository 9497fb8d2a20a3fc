"""Formulas that take one step, quickly, or an array of steps at once."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np


def cos(x: Any) -> Any:
    """Return the cosine."""
    return np.cos(x) if isinstance(x, np.ndarray) else math.cos(x)


def lesser(x: Any, bound: Any) -> Any:
    """Return the lesser of two."""
    return np.minimum(x, bound) if isinstance(x, np.ndarray) else min(x, bound)


def where(condition: Any, yes: Any, no: Any) -> Any:
    """Choose between two."""
    if isinstance(condition, np.ndarray):
        return np.where(condition, yes, no)
    return yes if condition else no


def each(f: Callable[[Any], Any], steps: Any) -> Any:
    """Call a function of one step on a step, or on each of an array of them."""
    if isinstance(steps, np.ndarray):
        return np.array([f(step) for step in steps.tolist()], dtype=np.float64)
    return f(steps)
