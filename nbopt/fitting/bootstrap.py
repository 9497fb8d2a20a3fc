"""The bootstrap: fits of resampled data, for the errors of a fit."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from nbopt.fitting.confidence import Interval
from nbopt.fitting.curve_data import Data
from nbopt.fitting.curve_problem import CurveProblem
from nbopt.fitting.resample import Resampler
from nbopt.fitting.row_solves import RowSolves


class Bootstrap:
    """Parameters of the fits of resampled data.

    Parameters
    ----------
    names : tuple of str
    params : ndarray of shape (n, number of parameters)
        A row of NaN where a fit failed.

    Attributes
    ----------
    failed : int
        Fits that did not converge; they are left out of everything else.
    stderr : ndarray
        Standard deviations of the parameters.
    cov : ndarray
        Their covariance.

    Examples
    --------
    >>> import numpy as np
    >>> from nbopt.fitting.bootstrap import Bootstrap
    >>> found = Bootstrap(("a",), np.array([[1.0], [2.0], [3.0], [np.nan]]))
    >>> found.failed, found.stderr, found.conf_int(0.5)["a"]
    (1, array([1.]), Interval(lower=1.5, upper=2.5))
    """

    def __init__(self, names: tuple[str, ...], params: np.ndarray) -> None:
        self.names, self.params = names, params
        good = np.isfinite(params).all(axis=1)
        self.failed = int(np.count_nonzero(~good))
        self._good = params[good]
        n = params.shape[1]
        enough = self._good.shape[0] > 1
        self.cov = np.cov(self._good, rowvar=False).reshape(n, n) if enough else np.full((n, n), np.nan)
        self.stderr = np.sqrt(np.diag(self.cov))

    def conf_int(self, level: float = 0.95) -> dict[str, Interval]:
        """Return the intervals between the quantiles of the parameters (percentiles).

        Parameters
        ----------
        level : float in (0, 1), optional

        Returns
        -------
        dict of str to Interval
        """
        if not 0.0 < level < 1.0:
            raise ValueError(f"Bootstrap.conf_int: level={level!r} must lie in (0, 1), 0.95 for 95 percent")
        if not self._good.size:
            return dict.fromkeys(self.names, Interval(np.nan, np.nan))
        tails = 0.5 - 0.5 * level, 0.5 + 0.5 * level
        ends = np.quantile(self._good, tails, axis=0).T.tolist()
        return {name: Interval(*pair) for name, pair in zip(self.names, ends, strict=True)}

    def __repr__(self) -> str:
        return f"<Bootstrap of {self.params.shape[0]} fits, {self.failed} failed>"


def bootstrap(result: Any, n: int, kind: str | None, seed: Any) -> Bootstrap:
    """Fit resampled data, each fit starting at the result; see `FitResult.bootstrap`.

    Parameters
    ----------
    result : FitResult
    n : int
    kind : str or None
    seed : None, int or numpy.random.Generator

    Returns
    -------
    Bootstrap
    """
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 2:
        raise ValueError(f"bootstrap: n={n!r} must be an integer of at least 2")
    problem = result.problem
    if kind is None:
        kind = "residuals" if result.estimated else "parametric"
    resampler = Resampler(result, kind, seed)
    lost = [name for name, p in result.params.items() if np.isinf(p.stderr)]
    if lost:
        open_ = f"the data do not determine {', '.join(lost)}"
        warnings.warn(f"bootstrap: {open_}: the spread of the fits is not their error", stacklevel=3)
    params = np.tile(result.x, (n, 1))
    rows = RowSolves.of(problem, result.x)
    if rows is not None:
        params[:, problem.named.free] = rows.run(iter(resampler.draw, None), n)
    else:
        for row in params:
            row[problem.named.free] = _solved(problem, result.x, resampler.draw())
    return Bootstrap(problem.named.names, params)


def _solved(problem: CurveProblem, start: np.ndarray, data: Data) -> Any:
    """Return the free parameters of one fit; NaN if it failed."""
    try:
        found = problem.refit(start, data=data)
    except ValueError:  # the model is not finite for these data
        return np.nan
    return found["x"] if found["success"] else np.nan
