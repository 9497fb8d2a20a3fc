"""Ranges of options, and the one sentence that refuses a value outside them."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any, NamedTuple


class Range(NamedTuple):
    """An interval for a number, or for each of a pair of numbers."""

    low: float
    high: float
    brackets: str = "[)"
    pair: bool = False

    def __str__(self) -> str:
        return f"{self.brackets[0]}{self.low:g}, {self.high:g}{self.brackets[1]}"

    def holds(self, value: float) -> bool:
        """Tell whether one number lies inside; NaN never does."""
        above = value >= self.low if self.brackets[0] == "[" else value > self.low
        return above and (value <= self.high if self.brackets[1] == "]" else value < self.high)

    def check(self, owner: str, name: str, value: Any) -> None:
        """Raise TypeError or ValueError, saying what was given, unless ``value`` is inside."""
        if self.pair:
            ordered = isinstance(value, list | tuple) or getattr(value, "ndim", 0) == 1
            numbers = [as_number(v) for v in value] if ordered else []
            if len(numbers) != 2 or None in numbers:
                raise TypeError(f"{owner}: {name}={value!r} must be a pair of numbers in {self}")
        else:
            numbers = [as_number(value)]
            if numbers[0] is None:
                raise TypeError(f"{owner}: {name}={value!r} must be a number in {self}")
        if not all(v is not None and self.holds(v) for v in numbers):
            raise ValueError(f"{owner}: {name}={value!r} must lie in {self}")


def as_number(value: Any) -> float | None:
    """Return a real number, or the element of a 1-element array or tensor, as float; else None."""
    if isinstance(value, Real) and not isinstance(value, bool):
        return float(value)
    size = getattr(value, "numel", None)
    count = size() if callable(size) else getattr(value, "size", None)
    if count == 1 and hasattr(value, "item"):
        item = value.item()
        return float(item) if isinstance(item, Real) and not isinstance(item, bool) else None
    return None


NON_NEGATIVE = Range(0.0, math.inf)
POSITIVE = Range(0.0, math.inf, "()")
DECAY = Range(0.0, 1.0)
DECAYS = Range(0.0, 1.0, pair=True)
FRACTION = Range(0.0, 1.0, "[]")
REAL = Range(-math.inf, math.inf, "()")
