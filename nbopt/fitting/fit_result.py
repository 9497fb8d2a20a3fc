"""FitResult: what fit() returns."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from scipy.special import ndtri, stdtrit

from nbopt.fitting import fit_plot, fit_summary
from nbopt.fitting.bootstrap import Bootstrap, bootstrap
from nbopt.fitting.confidence import Interval, Intervals, Profile
from nbopt.fitting.covariance import NOISE
from nbopt.fitting.curve_problem import CurveProblem
from nbopt.fitting.fit_errors import errors_of
from nbopt.fitting.fit_parameters import FitParameter, FitParameters
from nbopt.fitting.poisson import information_rows
from nbopt.fitting.prediction import Prediction, predict
from nbopt.fitting.robust_errors import Sandwich, sandwich, scale_warnings
from nbopt.fitting.whitening import NONE, WEIGHTS
from nbopt.optim.near_miss import did_you_mean

_EPS = 2.0**-52
# By how much the root of a robust cost may rise less than on average within an error: until that is said;
# and within what limits conf_int() follows the error rather than the cost.
_LESS, _EVEN = 0.7, (0.9, 2.0)
_FLAT = -4  # a status beside those of least_squares
_UNLIKELY = 5.0 * 2.0**0.5  # five standard deviations of a reduced chi square, times the root of nfree


class FitResult:
    """Fitted parameters with their errors, and what can be asked about a fit.

    Parameters
    ----------
    problem : CurveProblem
        What was fitted.
    found : OptimizeResult
        What `least_squares` has to say about it.
    absolute : bool
        Whether `sigma` is meant as it is, rather than up to a factor.

    Attributes
    ----------
    params : FitParameters
        ``params["a"]`` or ``params.a`` has ``value``, ``stderr``, ``fixed``, ``at_bound`` and more.
    x : ndarray of shape (n,)
        The values of all parameters, in the model's order.
    cov, correl : ndarray of shape (n, n)
        Covariance and correlation, in the model's order; zeros for fixed parameters, NaN for those on a
        bound, infinite variances where the data do not determine a parameter. Of a robust loss it is
        Huber's sandwich, see `fit`.
    estimated : bool
        Whether the size of the noise is taken from the residuals: unless ``absolute_sigma=True`` or the data
        are counts; with a robust loss always.
    sandwich : Sandwich or None
        What the residuals of a robust fit say about the noise.
    chisqr : float
        What was minimized: the sum of squares of the weighted residuals; of the losses of a robust one; the
        deviance of counts.
    redchi : float
        `chisqr` over `nfree`; NaN without degrees of freedom.
    ndata, nvarys, nfree : int
        Data that count, free parameters, their difference.
    aic, bic : float
        Information criteria of Akaike and Schwarz, up to a constant of the data: ``chisqr + 2 nvarys``
        where the errors are known, else ``ndata log(chisqr / ndata) + 2 nvarys``; ``log(ndata)`` in
        place of 2.
    success : bool
    status : int
        As for `least_squares`; -4, and no success, where the model depends on no free parameter.
    message : str
        Why the fit stopped.
    warnings : list of str
        What is wrong with the fit or its errors, in words; empty if nothing is.
    best_fit : ndarray of shape (m,)
        The model at the data's x.
    residual : ndarray of shape (m,)
        Data minus fit, over sigma; of counts the signed roots of the deviance.
    nfev, njev : int
        Evaluations of model and Jacobian.
    jac_method : str
        Where the Jacobian came from.

    Examples
    --------
    >>> import numpy as np
    >>> import nbopt
    >>> x = np.arange(5.0)
    >>> result = nbopt.fit(lambda x, a, b: a + b * x, x, [1.1, 2.9, 5.2, 7.1, 8.9])
    >>> isinstance(result, nbopt.FitResult), round(result.params.b.value, 3), result.warnings
    (True, 1.98, [])
    """

    def __init__(self, problem: CurveProblem, found: Any, absolute: bool) -> None:
        self.problem, self.absolute, self.robust = problem, absolute, problem.loss != "linear"
        self.estimated = self.robust or not absolute
        self.success, self.status, self.message = found["success"], found["status"], found["message"]
        self.nfev, self.njev, self.jac_method = found["nfev"], found["njev"], found["jac_method"]
        self.x = problem.named.start.copy()
        self.x[problem.named.free] = found["x"]
        self.best_fit = problem.values(self.x) + 0.0 * problem.data.y
        self.residual = 0.0 - found["fun"]
        self._measure(2.0 * float(found["cost"]))
        self.sandwich = self._noise(found) if self.robust else None
        self._estimate(found)

    def _measure(self, chisqr: float) -> None:
        """Compute the numbers on the fit as a whole."""
        data = self.problem.data
        self.chisqr, self.nvarys, self.ndata = chisqr, int(self.problem.named.free.size), data.y.size
        if data.kind == WEIGHTS and data.W.shape[1] == data.y.size:
            self.ndata = int(np.count_nonzero(data.W))
        self.nfree = self.ndata - self.nvarys
        self.redchi = chisqr / self.nfree if self.nfree > 0 else math.nan
        self.variance = self._rise = 1.0 if self.absolute else self.redchi
        self.aic, self.bic = (self._criterion(each) for each in (2.0, math.log(self.ndata)))
        size = _EPS * float(np.abs(data.weighted()).max())
        self.exact = self.estimated and chisqr <= self.ndata * (4.0 * size) ** 2

    def _noise(self, found: Any) -> Sandwich:
        """Take the noise of a robust fit from its residuals."""
        data = self.problem.data
        counted = np.flatnonzero(data.W[0]) if data.kind == WEIGHTS else np.arange(data.y.size)
        noise = sandwich(
            self.problem.loss, self.problem.f_scale, found["fun"], found["jac"], counted, self.nvarys
        )
        self.variance = noise.variance
        self._rise = noise.variance * noise.slope  # of twice the cost, one standard error away: on average
        return noise

    def _estimate(self, found: Any) -> None:
        """Compute the errors of the parameters."""
        named, jac = self.problem.named, self.sandwich.jac if self.sandwich else found["jac"]
        if self.problem.poisson:
            jac = information_rows(jac, self.best_fit, self.problem.data.y)
        noise, floor = NOISE.get(found["jac_method"], 0.0), self._floor()
        errors = errors_of(jac, named.names, named.free, found["active_mask"], noise, floor)
        with np.errstate(invalid="ignore"):  # infinite, times the variance 0 of an exact fit
            self.cov, self._known = errors.cov * self.variance, errors.known
        self._open = errors.open
        with np.errstate(all="ignore"):
            self._lengths = np.sqrt(np.einsum("ij,ij->j", jac, jac))
        if self.success and (self._lengths <= floor).all():
            self._take_back_success()
        self._stretch = self._stretches(found["active_mask"], noise)
        self.warnings = [*self._misfits(), *errors.warnings, *self._given_up()]
        self.params = self._parameters(found["active_mask"])

    def _floor(self) -> np.ndarray:
        """Return up to which length of its column a change of a parameter by its own size is rounding.

        A parameter that started at 0 has no size that is known: only a column of zeros counts.
        """
        start, end = (np.abs(x[self.problem.named.free]) for x in (self.problem.named.start, self.x))
        size = np.where(start > 0.0, np.maximum(start, end), np.inf)
        return _EPS * float(np.linalg.norm(self.residual)) / size

    def _take_back_success(self) -> None:
        """Say that a fit of which no parameter has an effect has found nothing: others fit as well."""
        at_start = np.array_equal(self.x, self.problem.named.start)
        self.success, self.status = False, _FLAT
        self.message = (
            f"The model does not depend on any free parameter at {'p0' if at_start else 'the last point'}: "
            "start elsewhere, or see whether the model uses them."
        )

    def _stretches(self, sides: np.ndarray, noise: float) -> np.ndarray:
        """Return, for each free parameter, by how much more the root of the cost rises within its error.

        It is 1 but for a robust loss: there the error averages the slopes of psi over all points, and the
        cost rises by those of the points that determine the parameter.
        """
        named = self.problem.named
        stretch = np.ones(named.free.size)
        if self.sandwich and self.variance > 0.0 and not self._open.size:
            curved = errors_of(self.sandwich.scaled, named.names, named.free, sides, noise).known
            known, rising = (np.diag(each)[named.free] for each in (self._known, curved))
            good = (known > 0.0) & (rising > 0.0)
            stretch[good] = np.sqrt(known[good] / (self.sandwich.slope * rising[good]))
        return stretch

    def _given_up(self) -> list[str]:
        """Say which parameters depend on points that the loss has given up."""
        names = [self.problem.named.names[i] for i in self.problem.named.free[self._stretch < _LESS]]
        return [
            f"Outliers stand at the points that determine {name}: its standard error, which averages over "
            "all points, is too small; see conf_int()."
            for name in names
        ]

    def _criterion(self, each: float) -> float:
        """Return an information criterion that charges so much for each parameter."""
        if self.absolute:
            return self.chisqr + each * self.nvarys
        spread = self.chisqr / self.ndata
        return (self.ndata * math.log(spread) if spread > 0.0 else -math.inf) + each * self.nvarys

    def _misfits(self) -> list[str]:
        """Say what is unusual about the fit as a whole."""
        words = []
        if not self.success:
            words.append(f"The fit did not converge: {self.message}")
        if self.nfree < 0:
            words.append(
                f"There are more free parameters ({self.nvarys}) than data ({self.ndata}): "
                "many parameters fit equally well, this is one of them."
            )
        words += self._no_noise()
        known = not self.estimated and not self.problem.poisson and self.nfree > 0
        if known and self.redchi > 1.0 + _UNLIKELY / math.sqrt(self.nfree):
            words.append(
                f"The residuals are {math.sqrt(self.redchi):.3g} times as large as sigma says (reduced chi "
                f"square {self.redchi:.4g}): the model does not fit, some points are outliers (see loss), or "
                "sigma is too small; the standard errors then mean little."
            )
        if self.sandwich and not self.exact and self.variance > 0.0:
            words += self.sandwich.warnings
            if self.problem.data.kind == NONE:
                words += scale_warnings(self.problem.f_scale, self.residual)
        return words

    def _no_noise(self) -> list[str]:
        """Say what stands in the way of taking the size of the noise from the residuals."""
        words = []
        if self.nfree <= 0 and self.estimated:
            linear = " and loss='linear'" if self.robust else ""
            words.append(
                "No degrees of freedom are left to estimate the errors from: they are NaN; "
                f"sigma with absolute_sigma=True{linear} would give them."
            )
        elif self.sandwich and not self.variance >= 0.0:
            words += self.sandwich.warnings
        if self.exact:
            errors = "the standard errors show rounding, not noise, and " if self.nfree > 0 else ""
            words.append(f"The fit is exact to rounding: {errors}aic and bic mean nothing.")
        return words

    def _parameters(self, mask: np.ndarray) -> FitParameters:
        """Return the parameters with their errors."""
        named = self.problem.named
        sides = dict(zip(named.free.tolist(), mask.tolist(), strict=True))
        variances = np.diag(self.cov)
        return FitParameters(
            [
                FitParameter(
                    name=name,
                    value=float(self.x[i]),
                    stderr=0.0 if i not in sides else float(np.sqrt(variances[i])),
                    start=float(named.start[i]),
                    fixed=i not in sides,
                    lower=float(named.lower[i]),
                    upper=float(named.upper[i]),
                    at_bound={-1: "lower", 1: "upper"}.get(sides.get(i, 0), ""),
                )
                for i, name in enumerate(named.names)
            ]
        )

    @property
    def correl(self) -> np.ndarray:
        """The correlations of the parameters."""
        with np.errstate(invalid="ignore", divide="ignore"):
            sizes = np.sqrt(np.diag(self.cov))
            found = self.cov / np.outer(sizes, sizes)
        for i in np.flatnonzero(sizes == 0.0):
            found[i] = found[:, i] = 0.0
        np.fill_diagonal(found, 1.0)
        return found

    def __repr__(self) -> str:
        state = "converged" if self.success else "not converged"
        return f"<FitResult, {state}: {', '.join(map(str, self.params.values()))}>"

    def quantile(self, level: float = 0.95) -> float:
        """Return how many standard errors to each side hold a probability.

        Parameters
        ----------
        level : float in (0, 1), optional

        Returns
        -------
        float
            Of the normal distribution where the errors of the data are known, of Student's t with `nfree`
            degrees of freedom where they are `estimated`; NaN without degrees of freedom.

        Examples
        --------
        >>> import numpy as np
        >>> import nbopt
        >>> result = nbopt.fit(lambda x, a: a * x, np.arange(3.0), [0.0, 1.1, 1.9])
        >>> round(result.quantile(0.95), 3)
        4.303
        """
        try:
            inside = 0.0 < level < 1.0
        except TypeError:
            inside = False
        if not inside:
            raise ValueError(f"FitResult: level={level!r} must lie in (0, 1), 0.95 for 95 percent")
        tail = 0.5 * (1.0 + level)
        if not self.estimated:
            return float(ndtri(tail))
        return float(stdtrit(self.nfree, tail)) if self.nfree > 0 else math.nan

    def predict(self, x: Any = None, level: float = 0.95) -> Prediction:
        """Return what the model predicts, with its confidence band.

        Parameters
        ----------
        x : object, optional
            Where, as the model takes it; where the data are by default.
        level : float in (0, 1), optional
            Probability that the band holds the model's value, at each point by itself.

        Returns
        -------
        Prediction
            ``value``, ``stderr``, ``lower`` and ``upper``, to first order in the errors of the parameters;
            those on a bound are taken as known. Infinite where an undetermined parameter counts.

        Examples
        --------
        >>> import numpy as np
        >>> import nbopt
        >>> x = np.arange(5.0)
        >>> result = nbopt.fit(lambda x, a, b: a + b * x, x, [1.1, 2.9, 5.2, 7.1, 8.9])
        >>> value, stderr, lower, upper = result.predict(np.array([2.0]))
        >>> bool(lower < value < upper), value.round(3)
        (True, array([5.04]))
        """
        quantile = self.quantile(level)
        if x is None:
            x = self.problem.data.x
        elif isinstance(x, list | tuple | int | float):
            x = np.asarray(x, np.float64)
        return predict(self.problem, self.x, self._known * self.variance, self._open, quantile, x)

    def conf_int(self, level: float = 0.95, names: str | Iterable[str] | None = None) -> Intervals:
        """Return confidence intervals of the parameters by profile likelihood.

        Each parameter in turn is held at other values and all others are fitted again, each time from the
        last fit: so the intervals are asymmetric where the model is curved, and end at bounds.

        Parameters
        ----------
        level : float in (0, 1), optional
            0.6827 is one standard error of a normal distribution.
        names : str or iterable of str, optional
            Which parameters; all free ones by default.

        Returns
        -------
        Intervals
            A dict of ``(lower, upper)`` by name; ``notes`` says where an end is a bound, or where there is
            none. ``print()`` shows a table.

        Notes
        -----
        The sum of squares rises by the square of the quantile, times the variance of the data: that of the
        normal distribution where the errors are known (as MINOS has it), that of Student's t with `nfree`
        degrees of freedom where they are estimated (Bates and Watts 1988, section 6.1.1).

        A robust loss is no likelihood of the data: its cost rises by the square of Student's quantile, times
        what it rises by within one standard error while model and psi are straight. There the interval agrees
        with the standard error, unless outliers stand at the points that determine the parameter, which
        makes it wider; elsewhere it is approximate.

        Examples
        --------
        >>> import numpy as np
        >>> import nbopt
        >>> x = np.arange(5.0)
        >>> result = nbopt.fit(lambda x, a, b: a + b * x, x, [1.1, 2.9, 5.2, 7.1, 8.9])
        >>> low, high = result.conf_int(0.9)["b"]
        >>> bool(low < 1.98 < high)
        True
        """
        quantile = self.quantile(level)
        named, free = self.problem.named, self.problem.named.free
        known = [named.names[i] for i in free]
        chosen = [names] if isinstance(names, str) else known if names is None else list(names)
        for name in chosen:
            if name not in known:
                raise ValueError(
                    f"FitResult.conf_int: names holds {name!r}, which is no free parameter of this fit; "
                    f"those are {', '.join(known)}{did_you_mean(name, known)}"
                )
        of_what = "profile of the robust cost: approximate" if self.robust else "profile likelihood"
        found = Intervals(level, {name: self.params[name].value for name in known}, of_what)
        if not quantile > 0.0 or not self._rise > 0.0 or self.exact:
            found.notes.append(" ".join(["there is no noise to tell an interval from:", *self._no_noise()]))
            found.update(dict.fromkeys(chosen, Interval(math.nan, math.nan)))
            return found
        profile = Profile(self.problem, self.x, self.chisqr, self._rise, self._known)
        stretch = np.clip(self._stretch, *_EVEN).tolist()
        for name in chosen:
            j = known.index(name)
            found[name] = profile.interval(j, quantile * stretch[j], self._step(j) / stretch[j])
        found.notes += [*profile.notes, *filter(None, [profile.better()])]
        return found

    def _step(self, j: int) -> float:
        """Return a positive guess of a standard error."""
        stderr = self.params[self.problem.named.names[self.problem.named.free[j]]].stderr
        if 0.0 < stderr < math.inf:
            return stderr
        if 0.0 < self._lengths[j] < math.inf:
            return math.sqrt(self.variance) / float(self._lengths[j])
        return max(0.1 * abs(float(self.x[self.problem.named.free[j]])), 0.1)

    def bootstrap(self, n: int = 1000, kind: str | None = None, seed: Any = None) -> Bootstrap:
        """Fit resampled data again and again, for errors that assume less.

        Parameters
        ----------
        n : int, optional
            Number of fits: at least 2.
        kind : {"residuals", "pairs", "parametric"}, optional
            "residuals": the residuals are drawn anew and put on the fit, which takes them as alike (each
            in units of its sigma). "pairs": the points are drawn anew, for errors that are not alike.
            "parametric": data are drawn from the fit, with normal errors or Poisson's counts. By default
            "parametric" where the errors of the data are known (counts; ``absolute_sigma=True`` with a linear
            loss), else "residuals", which takes size and shape of the errors from the residuals.
        seed : None, int or numpy.random.Generator, optional
            The same seed gives the same result, whatever the number of threads.

        Returns
        -------
        Bootstrap
            ``params`` (n, number of parameters), ``stderr``, ``cov``, ``conf_int(level)``, ``failed``.

        Notes
        -----
        B. Efron and R. J. Tibshirani, "An introduction to the bootstrap" (1993), sections 9.4 and 9.5.
        Each fit starts at this one. With an ``@njit`` model the fits run compiled, on all threads.

        Examples
        --------
        >>> import numpy as np
        >>> import nbopt
        >>> x = np.arange(5.0)
        >>> result = nbopt.fit(lambda x, a, b: a + b * x, x, [1.1, 2.9, 5.2, 7.1, 8.9])
        >>> result.bootstrap(50, seed=1).params.shape
        (50, 2)
        """
        return bootstrap(self, n, kind, seed)

    def summary(self) -> str:
        """Return the fit as a table of text.

        Returns
        -------
        str

        Examples
        --------
        >>> import numpy as np
        >>> import nbopt
        >>> result = nbopt.fit(lambda x, a: a * x, np.arange(3.0), [0.0, 1.1, 1.9])
        >>> print(result.summary().splitlines()[0])
        Fit of <lambda> to 3 data: converged
        """
        return fit_summary.text(self)

    def __str__(self) -> str:
        return self.summary()

    def _repr_html_(self) -> str:
        """Return the fit as a table for a notebook."""
        return fit_summary.html(self)

    def plot(self, level: float = 0.95, axes: Any = None) -> Any:
        """Draw data, fit and confidence band, and the residuals below them; needs matplotlib.

        Parameters
        ----------
        level : float in (0, 1), optional
            Of the band.
        axes : pair of matplotlib axes, optional
            For the fit and for the residuals; a new figure by default.

        Returns
        -------
        matplotlib Figure
        """
        return fit_plot.plot(self, level, axes)
