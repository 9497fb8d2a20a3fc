"""The result of minimize(): scipy's OptimizeResult, whose expensive fields are made when asked for."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

from scipy.optimize import OptimizeResult


class Lazy(functools.partial):
    """A field that is computed, by a call, at its first use."""

    __slots__ = ()


class LazyResult(OptimizeResult):
    """An OptimizeResult whose `Lazy` fields turn into their values when they are looked at.

    Examples
    --------
    >>> from nbopt.solvers.result import Lazy, LazyResult
    >>> res = LazyResult(x=1.0, big=Lazy(lambda: sum(range(5))))
    >>> res.big, res["big"], dict(res)["big"]
    (10, 10, 10)
    """

    def __getitem__(self, name: str) -> Any:
        value: Any = dict.__getitem__(self, name)
        if type(value) is Lazy:
            value = self[name] = value()
        return value

    def _settled(self) -> LazyResult:
        """Compute all lazy fields."""
        name: str
        for name in list(dict.keys(self)):
            self[name]
        return self

    def get(self, name: str, default: Any = None) -> Any:
        """Return a field, or the default if there is none."""
        return self[name] if name in self else default  # noqa: SIM401 (that would be this method)

    def pop(self, name: str, *default: Any) -> Any:
        """Remove a field and return it."""
        return dict.pop(self._settled(), name, *default)

    def setdefault(self, name: str, default: Any = None) -> Any:
        """Return a field, set to the default if there is none."""
        return self[name] if name in self else dict.setdefault(self, name, default)

    def popitem(self) -> tuple[str, Any]:
        """Remove the last field and return it with its name."""
        return dict.popitem(self._settled())

    def copy(self) -> LazyResult:
        """Return a shallow copy."""
        return LazyResult(self)

    def items(self) -> Any:
        """Return the fields with their names."""
        return dict.items(self._settled())

    def values(self) -> Any:
        """Return the fields."""
        return dict.values(self._settled())

    def __iter__(self) -> Iterator[str]:  # with this, dict(result) asks for each field
        return iter(dict.keys(self))

    def __eq__(self, other: object) -> bool:
        return dict.__eq__(self._settled(), other)

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[Any, ...]:
        return LazyResult, (dict(self),)
