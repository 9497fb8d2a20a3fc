"""Fitted parameters: a value with its standard error, and all of them by name."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from nbopt.optim.near_miss import did_you_mean


@dataclass(frozen=True)
class FitParameter:
    """One parameter of a fit; ``float()`` gives its value.

    Parameters
    ----------
    name : str
    value : float
    stderr : float
        Standard error; 0 for a fixed parameter, NaN at a bound or where the fit knows none, infinite where
        the data do not determine the parameter. The warnings of the result say so.
    start : float
        Where the fit began.
    fixed : bool
    lower, upper : float
        Bounds.
    at_bound : str
        "lower" or "upper" if the value lies on that bound, else "".

    Examples
    --------
    >>> from nbopt.fitting.fit_parameters import FitParameter
    >>> float(FitParameter("a", 2.0, 0.1, 1.0)) + 1
    3.0
    """

    name: str
    value: float
    stderr: float
    start: float
    fixed: bool = False
    lower: float = -math.inf
    upper: float = math.inf
    at_bound: str = ""

    def __float__(self) -> float:
        return self.value

    def __str__(self) -> str:
        return f"{self.name} = {with_error(self.value, self.stderr)}" + (" (fixed)" if self.fixed else "")


class FitParameters(Mapping[str, FitParameter]):
    """All parameters of a fit, in the model's order: ``params["a"]`` or ``params.a``.

    Parameters
    ----------
    parameters : list of FitParameter

    Examples
    --------
    >>> from nbopt.fitting.fit_parameters import FitParameter, FitParameters
    >>> params = FitParameters([FitParameter("a", 2.0, 0.1, 1.0)])
    >>> params["a"].stderr, params.a.value, list(params)
    (0.1, 2.0, ['a'])
    """

    def __init__(self, parameters: list[FitParameter]) -> None:
        self._by_name = {p.name: p for p in parameters}

    def __getitem__(self, name: str) -> FitParameter:
        if name not in self._by_name:
            near = did_you_mean(name, self._by_name)
            raise KeyError(f"no parameter {name!r}; there are {', '.join(self._by_name)}{near}")
        return self._by_name[name]

    def __getattr__(self, name: str) -> FitParameter:
        known = self.__dict__.get("_by_name", {})
        if name not in known:
            near = did_you_mean(name, known)
            raise AttributeError(f"no parameter {name!r}; there are {', '.join(known)}{near}")
        return known[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_name)

    def __len__(self) -> int:
        return len(self._by_name)

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self._by_name]

    def __repr__(self) -> str:
        return f"FitParameters({', '.join(map(str, self._by_name.values()))})"


def with_error(value: float, error: float) -> str:
    """Write a value with its error, to two digits of the error.

    Parameters
    ----------
    value, error : float

    Returns
    -------
    str

    Examples
    --------
    >>> from nbopt.fitting.fit_parameters import with_error
    >>> with_error(1234.5678, 0.123), with_error(2e-9, 3e-11), with_error(2.5, 0.0)
    ('1234.57 ± 0.12', '(2.000 ± 0.030)e-09', '2.5')
    """
    if error == 0.0:
        return f"{value:.8g}"
    if not 0.0 < error < math.inf:
        return f"{value:.8g} ± {'?' if error != error else '∞'}"
    largest = max(abs(value), error)
    if 1e-4 <= largest < 1e7:
        digits = max(0, 1 - math.floor(math.log10(error)))
        return f"{value:.{digits}f} ± {error:.{digits}f}" if digits < 13 else f"{value:.15g} ± {error:.1e}"
    exponent = math.floor(math.log10(largest))
    scale = 10.0**exponent
    digits = min(max(0, 1 - math.floor(math.log10(error / scale))), 15)
    return f"({value / scale:.{digits}f} ± {error / scale:.{digits}f})e{exponent:+03d}"
