"""curve_fit(): scipy's function, on a compiled engine."""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.optimize import OptimizeWarning

from nbopt.fitting import workspace as ws
from nbopt.fitting.covariance import NOISE, covariance, covariance_of
from nbopt.fitting.curve_data import Data, read_data, spread
from nbopt.fitting.curve_problem import FACTOR, FORWARD
from nbopt.fitting.fit_options import (
    FREE,
    check_choices,
    read_bounds,
    read_diff_step,
    read_f_scale,
    read_limit,
    read_scale,
    read_start,
    read_tolerances,
)
from nbopt.fitting.losses import KINDS
from nbopt.fitting.minpack_factors import factors
from nbopt.fitting.model import (
    check_count,
    is_compiled_model,
    jacobian_of,
    parameter_names,
    python_filler,
    python_residuals,
    residuals_of,
)
from nbopt.fitting.residuals import Problem
from nbopt.fitting.solve import MESSAGES, Run, Settings, result_of, run, scaled_jacobian, wrapped
from nbopt.fitting.steps import is_bounded
from nbopt.optim.near_miss import did_you_mean

_OWNER = "curve_fit"

# scipy's codes of method "lm" are MINPACK's.
_IER = {ws.SMALL_GRADIENT: 4, ws.SMALL_REDUCTION: 1, ws.SMALL_STEP: 2, ws.BOTH_SMALL: 3}

_OPTIONS = {
    "ftol", "xtol", "gtol", "x_scale", "loss", "f_scale", "diff_step", "max_nfev", "maxfev", "verbose",
    "callback", "tr_solver", "tr_options", "epsfcn", "factor", "diag", "workers",
}  # fmt: skip
_ARGUMENTS = (
    "p0", "sigma", "absolute_sigma", "check_finite", "bounds", "method", "jac", "full_output", "nan_policy",
)  # fmt: skip


def curve_fit(
    f: Callable[..., Any],
    xdata: Any,
    ydata: Any,
    p0: Any = None,
    sigma: Any = None,
    absolute_sigma: bool = False,
    check_finite: bool | None = None,
    bounds: Any = FREE,
    method: str | None = None,
    jac: Any = None,
    *,
    full_output: bool = False,
    nan_policy: str | None = None,
    **kwargs: Any,
) -> tuple[Any, ...]:
    """Fit a function to data by least squares, as `scipy.optimize.curve_fit` does.

    If `f` is compiled with ``numba.njit``, the whole fit runs compiled and the Jacobian is exact.

    Parameters
    ----------
    f : callable
        The model, ``f(x, *params) -> array of shape (M,)``.
    xdata : array_like of shape (M,) or (k, M), or any object
        Where the data were taken; passed to `f`.
    ydata : array_like of shape (M,) or float
        The data; one number stands for all values of the model.
    p0 : array_like of shape (n,), optional
        Where to start; ones by default, or a point within the bounds.
    sigma : array_like of shape (M,) or (M, M), or float, optional
        Standard errors of `ydata`, all positive, or their covariance matrix, positive definite.
    absolute_sigma : bool, optional
        Whether `sigma` is meant as it is; else only the ratios count, and the covariance is scaled so
        that the reduced chi square is 1.
    check_finite : bool, optional
        Refuse data with NaN or infinity. True, unless `nan_policy` is given.
    bounds : 2-tuple of array_like, or `scipy.optimize.Bounds`, optional
        Lower and upper bounds of the parameters.
    method : {"lm", "trf", "dogbox"}, optional
        "lm" without bounds and "trf" with; the names stand for the same algorithm, see `least_squares`.
    jac : callable or {None, "auto", "dual", "2-point", "3-point", "cs"}, optional
        ``jac(x, *params) -> array of shape (M, n)``, or how to take derivatives. None and "auto":
        exact ones of a compiled model, else "2-point".
    full_output : bool, optional
        Return `infodict`, `mesg` and `ier`, too.
    nan_policy : {None, "raise", "omit"}, optional
        What to do with NaN in the data.
    **kwargs
        Options of `least_squares`; `x_scale` is "jac" by default. Also MINPACK's `maxfev`, `epsfcn`,
        `factor` and `diag`.

    Returns
    -------
    popt : ndarray of shape (n,)
        The parameters.
    pcov : ndarray of shape (n, n)
        Their covariance; infinite, with an OptimizeWarning, if the data do not determine them.
    infodict : dict
        With nfev, njev and fvec, the weighted residuals; for "lm" also fjac, ipvt and qtf, see `factors`.
    mesg : str
    ier : int
        1 to 4 for success; for "lm" as MINPACK counts, else as `least_squares`.

    Raises
    ------
    ValueError
        If an argument is out of its range, or the model is not finite at `p0`.
    TypeError
        If there are fewer data than parameters with method "lm", or an unknown option.
    RuntimeError
        If no fit was found within the limit of evaluations, as scipy has it.

    Notes
    -----
    The tolerances mean what they mean in scipy, but where they are met the fit goes on while the relative
    offset (Bates and Watts 1981) falls: at the end by Gauss-Newton steps, where the sum of squares is
    flat to rounding. So the digits come from the data, not from the tolerances.

    Examples
    --------
    >>> import numba
    >>> import numpy as np
    >>> from nbopt.fitting.curve_fit import curve_fit
    >>> @numba.njit
    ... def decay(t, a, rate):
    ...     return a * np.exp(-rate * t)
    >>> t = np.linspace(0.0, 4.0, 20)
    >>> popt, pcov = curve_fit(decay, t, 2.5 * np.exp(-1.3 * t))
    >>> popt.round(6)
    array([2.5, 1.3])
    """
    if not callable(f):
        raise TypeError(f"{_OWNER}: f={f!r} must be callable")
    if "args" in kwargs:
        raise ValueError("'args' is not a supported keyword argument.")
    start, lower, upper = _start(f, p0, bounds)
    bounded = is_bounded(lower, upper)
    if method is None:
        method = "trf" if bounded else "lm"
    check_choices(_OWNER, method, jac, "linear", 0)
    if method == "lm" and bounded:
        raise ValueError(
            f"{_OWNER}: Method 'lm' only works for unconstrained problems. Use 'trf' or 'dogbox'."
        )
    data = read_data(_OWNER, xdata, ydata, sigma, check_finite, nan_policy)
    if data.y.size == 1:
        data = spread(data, f(data.x, *start.tolist()))
    n, m = start.size, data.y.size
    if method == "lm" and n > m:
        raise TypeError(
            f"{_OWNER}: The number of func parameters={n} must not exceed the number of data points={m}"
        )
    check_count(_OWNER, f, n)
    settings, diff_step = _settings(kwargs, method, n)
    jac = "auto" if jac is None else jac
    problem = _problem(f, jac, data, start, lower, upper, diff_step)
    try:
        ended = run(_OWNER, problem, settings, None)
    except ValueError:
        problem.check_shapes()
        raise
    status, counts = ended.status, ended.workspace.counts
    if settings.verbose:
        result_of(ended, settings)
    if status <= 0:
        raise RuntimeError("Optimal parameters not found: " + MESSAGES[status])
    popt, r = ended.workspace.iterate()
    pcov = _pcov(ended, settings, method, absolute_sigma)
    if not full_output:
        return popt, pcov
    info = {"nfev": counts.item(ws.NFEV), "njev": counts.item(ws.NJEV), "fvec": r}
    if method == "lm":
        info |= factors(scaled_jacobian(ended.workspace, settings, r)[1], r)
    return popt, pcov, info, MESSAGES[status], _IER[status] if method == "lm" else status


def _start(f: Any, p0: Any, bounds: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return where to start, and the bounds."""
    if p0 is not None:
        x = read_start(_OWNER, "p0", p0)
        return x, *read_bounds(_OWNER, "p0", bounds, x)
    names = parameter_names(_OWNER, f)
    if names is None:
        raise ValueError(f"{_OWNER}: Unable to determine number of fit parameters: f takes any; give p0.")
    pair = (bounds.lb, bounds.ub) if hasattr(bounds, "lb") else bounds
    x = np.ones(len(names))
    try:
        ends = [np.broadcast_to(np.asarray(end, np.float64), x.shape) for end in pair]
    except (TypeError, ValueError):
        ends = []
    if len(ends) == 2:
        low, high = ends
        inner = np.where(np.isfinite(low), low + 1.0, np.where(np.isfinite(high), high - 1.0, 1.0))
        both = np.isfinite(low) & np.isfinite(high)
        x = np.where(both, 0.5 * (np.where(both, low, 0.0) + np.where(both, high, 0.0)), inner)
    return x, *read_bounds(_OWNER, "p0", bounds, x)


def _settings(options: dict[str, Any], method: str, n: int) -> tuple[Settings, Any]:
    """Read the options; return also the relative step of differences."""
    if not options:
        return _defaults(method == "lm", n), None
    unknown = sorted(set(options) - _OPTIONS)
    if unknown:
        known, near = ", ".join(sorted(_OPTIONS)), did_you_mean(unknown[0], [*_ARGUMENTS, *sorted(_OPTIONS)])
        raise TypeError(f"{_OWNER}: unknown option {unknown[0]!r}; known are {known}{near}")
    loss, verbose = options.get("loss", "linear"), options.get("verbose", 0)
    check_choices(_OWNER, method, None, loss, verbose)
    limit = options.get("max_nfev", options.get("maxfev"))
    scale = options.get("x_scale", "jac")
    if options.get("diag") is not None:
        scale = 1.0 / np.asarray(options["diag"], np.float64)
    callback = options.get("callback")
    given = [options.get(name, 1e-8) for name in ("ftol", "xtol", "gtol")]
    if method == "lm":  # leastsq has 0 for a condition that is off
        given = [value or None for value in given]
    settings = Settings(
        scale=read_scale(_OWNER, scale, method, n),
        loss=loss if callable(loss) else KINDS[loss],
        f_scale=read_f_scale(_OWNER, options.get("f_scale", 1.0)),
        tolerances=read_tolerances(_OWNER, "trf", *given),
        max_nfev=read_limit(_OWNER, limit, n) if limit else 200 * (n + 1),
        cosines=method == "lm",
        polish=20 + 10 * n,
        factor=float(options.get("factor", FACTOR)),
        callback=None if callback is None else wrapped(callback),
        verbose=verbose,
    )
    epsfcn = options.get("epsfcn")
    diff_step = options.get("diff_step", None if epsfcn is None else math.sqrt(epsfcn))
    return settings, read_diff_step(_OWNER, diff_step, n)


@functools.lru_cache(maxsize=64)
def _defaults(cosines: bool, n: int) -> Settings:
    """Return what holds without options."""
    return Settings(None, KINDS["linear"], 1.0, (1e-8,) * 3, 200 * (n + 1), cosines, 20 + 10 * n, FACTOR)


def _problem(
    f: Any, jac: Any, data: Data, start: np.ndarray, lower: np.ndarray, upper: np.ndarray, diff_step: Any
) -> Problem:
    """Return the problem that the engine solves."""
    n, x, y, fill = start.size, data.x, data.y, None
    form = None, "2-point" if jac in ("auto", "dual") else jac
    if is_compiled_model(f, jac):
        form = residuals_of(f, n), jacobian_of(jac, n) if callable(jac) else jac
    elif jac == "dual":
        raise ValueError(f"{_OWNER}: jac='dual' needs a model compiled with numba.njit")
    else:
        fill = python_filler(_OWNER, f, x, y)
    user = functools.partial(_derivatives, jac, x, (y.size, n)) if callable(jac) else None
    refine = jac == "auto" and diff_step is None
    if refine:  # MINPACK's steps, for parameters may be tiny; but one that is 0 in fact has no size
        diff_step = FORWARD
    return Problem(
        form[0], form[1], (x, y), functools.partial(python_residuals, _OWNER, f, x, y), user, start, lower,
        upper, y.size, diff_step, refine, data.weighted, data.kind, data.W, fill=fill,
    )  # fmt: skip


def _derivatives(jac: Any, x: Any, shape: tuple[int, int], p: np.ndarray) -> np.ndarray:
    """Return the user's Jacobian, or say what is wrong with it."""
    J = np.asarray(jac(x, *p), np.float64)
    if J.shape != shape:
        raise ValueError(f"{_OWNER}: jac returned shape {J.shape}; it must be {shape}")
    return J


def _pcov(ended: Run, settings: Settings, method: str, absolute: bool) -> np.ndarray:
    """Return the covariance of the parameters; infinite, with a warning, where there is none."""
    w, noise = ended.workspace, NOISE.get(ended.jac_method, 0.0)
    if settings.loss == KINDS["linear"]:
        pcov = covariance_of(w, noise, absolute)
        if pcov is not None:
            return pcov
    x, r = w.iterate()
    m, n = r.size, x.size
    pcov = covariance(scaled_jacobian(w, settings, r)[1], method != "lm", noise)
    if pcov is not None and not absolute:
        pcov = pcov * (2.0 * w.cost / (m - n)) if m > n else None
    if pcov is None or not np.isfinite(pcov).all():
        pcov = np.full((n, n), np.inf)
        text = "Covariance of the parameters could not be estimated"
        warnings.warn(text, category=OptimizeWarning, stacklevel=3)
    return pcov
