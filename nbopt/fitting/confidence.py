"""Confidence intervals by profile likelihood: asymmetric where the model is curved, and within bounds.

A parameter is held at a value, all others are fitted again, and the interval ends where the sum of squares
has risen by the quantile's square, in units of the variance of the data. Sources: D. M. Bates and
D. G. Watts, "Nonlinear regression analysis and its applications" (1988), section 6.1.1 (with the quantile of
Student's t where the variance is estimated); F. James and M. Roos, "Minuit", Comput. Phys. Commun. 10 (1975).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from nbopt.fitting.curve_problem import CurveProblem

_CLOSE = 1e-5  # relative error of the quantile that is reached at an end
_WIDER, _NARROWER = 60, 60  # trials to get around an end, and to find it
_FAR = 1e6  # sizes of a parameter, or of its standard error, beyond which it must still rise


class Interval(NamedTuple):
    """The ends of a confidence interval.

    Examples
    --------
    >>> from nbopt.fitting.confidence import Interval
    >>> Interval(1.0, 2.0).upper
    2.0
    """

    lower: float
    upper: float


class Intervals(dict[str, Interval]):
    """Intervals by the names of the parameters, their level, and ``notes``: what to know about them.

    Parameters
    ----------
    level : float
    best : dict of str to float
        The fitted values.
    of_what : str
        What they come from, for the title.

    Examples
    --------
    >>> from nbopt.fitting.confidence import Interval, Intervals
    >>> found = Intervals(0.95, {"a": 1.5})
    >>> found["a"] = Interval(1.0, 2.5)
    >>> print(found)
    95% confidence intervals (profile likelihood)
      a = 1.5  -0.5  +1  [1, 2.5]
    """

    def __init__(self, level: float, best: dict[str, float], of_what: str = "profile likelihood") -> None:
        super().__init__()
        self.level, self.best, self.of_what, self.notes = level, best, of_what, list[str]()

    def __str__(self) -> str:
        lines = [f"{100 * self.level:.6g}% confidence intervals ({self.of_what})"]
        width = max(map(len, self), default=0)
        for name, (low, high) in self.items():
            at = self.best[name]
            lines.append(
                f"  {name:<{width}} = {at:.8g}  {low - at:.4g}  +{high - at:.4g}  [{low:.8g}, {high:.8g}]"
            )
        return "\n".join([*lines, *(f"  note: {note}" for note in self.notes)])


class Profile:
    """The sum of squares as a function of one parameter, all others fitted.

    Parameters
    ----------
    problem : CurveProblem
    full : ndarray of shape (n,)
        The fitted parameters.
    chisqr : float
        The sum of squares there.
    variance : float
        Of the data, in units of which rises are measured: positive.
    cov : ndarray of shape (n, n)
        Finite; predicts how the others follow.
    """

    def __init__(
        self, problem: CurveProblem, full: np.ndarray, chisqr: float, variance: float, cov: np.ndarray
    ) -> None:
        self.problem, self.full, self.chisqr, self.variance, self.cov = problem, full, chisqr, variance, cov
        self.notes: list[str] = []
        self._better, self._best = chisqr, full

    def better(self) -> str:
        """Say where a better fit was found on the way; "" if none was."""
        if not self._better < self.chisqr:
            return ""
        named = zip(self.problem.named.names, self._best.tolist(), strict=True)
        where = ", ".join(f"{name}={value:.8g}" for name, value in named)
        what = "chi square" if self.problem.loss == "linear" and not self.problem.poisson else "cost"
        lower = f"{what} {self._better:.8g} < {self.chisqr:.8g}"
        return f"there is a better fit ({lower}): start at {where}."

    def interval(self, j: int, quantile: float, sigma: float) -> Interval:
        """Return the interval of the free parameter ``j``.

        Parameters
        ----------
        j : int
            Its place among the free ones.
        quantile : float
            The rise to look for, as a number of standard errors.
        sigma : float
            About how far one standard error is: positive.

        Returns
        -------
        Interval
        """
        ends = [self._end(j, side, quantile, sigma) for side in (-1.0, 1.0)]
        return Interval(*ends)

    def _end(self, j: int, side: float, quantile: float, sigma: float) -> float:
        """Return one end of an interval."""
        named, i = self.problem.named, int(self.problem.named.free[j])
        name, best = named.names[i], float(self.full[i])
        limit = float(named.lower[i] if side < 0.0 else named.upper[i])
        if best == limit:
            return limit
        visited = [(best, 0.0, self.full)]
        inner, v = (best, 0.0), best + side * quantile * sigma
        for _ in range(_WIDER):
            v = max(v, limit) if side < 0.0 else min(v, limit)
            rise = self._rise(j, v, visited)
            if rise >= quantile:
                return self._crossing(j, inner, (v, rise), quantile, visited)
            still, inner = rise <= 1.1 * inner[1], (v, rise)
            if v == limit:
                self.notes.append(
                    f"the interval of {name} ends at its bound {limit:.8g}, short of the level."
                )
                return limit
            v = best + (v - best) * min(max(1.1 * quantile / max(rise, 1e-3), 1.3), 4.0)
            if still and abs(v - best) > _FAR * max(abs(best), sigma):
                break
        self.notes.append(
            f"the interval of {name} is open {'below' if side < 0 else 'above'}: the fit stays as good."
        )
        return side * math.inf

    def _crossing(
        self, j: int, inner: tuple[float, float], outer: tuple[float, float], quantile: float, visited: list
    ) -> float:
        """Return where the rise is the quantile: regula falsi (Illinois), bisection where it fails."""
        (a, fa), (b, fb) = ((v, rise - quantile) for v, rise in (inner, outer))
        if abs(fb) <= _CLOSE * quantile:
            return b
        moved = 0  # which end moved last: 1 the inner one, -1 the outer one
        for trial in range(_NARROWER):
            v = 0.5 * (a + b) if trial % 6 == 5 or not fb < math.inf else b - fb * (b - a) / (fb - fa)
            if v in (a, b):
                break
            f = self._rise(j, v, visited) - quantile
            if abs(f) <= _CLOSE * quantile:
                return v
            if f < 0.0:
                a, fa, fb, moved = v, f, 0.5 * fb if moved > 0 else fb, 1
            else:
                b, fb, fa, moved = v, f, 0.5 * fa if moved < 0 else fa, -1
        return a  # the last value that the model allows, or one that is close to the end

    def _rise(self, j: int, value: float, visited: list) -> float:
        """Return the root of the rise with the parameter held, in standard errors; infinite without a fit."""
        named, i = self.problem.named, int(self.problem.named.free[j])
        at, _, near = min(visited, key=lambda seen: abs(seen[0] - value))
        variance = self.cov[i, i]
        start = near + (value - at) * self.cov[:, i] / variance if variance > 0.0 else near.copy()
        free = named.free
        start[free] = np.clip(start[free], named.lower[free], named.upper[free])
        start[i] = value
        try:
            found = self.problem.refit(start, pinned=j)
        except ValueError:  # the model is not finite there
            return self._from(near, i, value, j, visited) if at == self.full[i] else math.inf
        return self._visit(found, i, value, start, visited)

    def _from(self, near: np.ndarray, i: int, value: float, j: int, visited: list) -> float:
        """Do the same from another start: all other parameters where they were."""
        start = near.copy()
        start[i] = value
        try:
            found = self.problem.refit(start, pinned=j)
        except ValueError:
            return math.inf
        return self._visit(found, i, value, start, visited)

    def _visit(self, found: dict, i: int, value: float, start: np.ndarray, visited: list) -> float:
        """Keep what a fit with a parameter held has found; return the rise."""
        full = start.copy()
        full[self.problem.named.free] = found["x"]
        full[i] = value
        chisqr = 2.0 * found["cost"]
        if not chisqr < math.inf:
            return math.inf
        if chisqr < self._better - 1e-6 * self.variance:
            self._better = chisqr
            self._best = full
        rise = math.sqrt(max(chisqr - self.chisqr, 0.0) / self.variance)
        visited.append((value, rise, full))
        return rise
