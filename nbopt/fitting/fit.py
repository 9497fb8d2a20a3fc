"""fit(): a model to data, with parameters by name and errors that can be believed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from nbopt.fitting.curve_data import read_data
from nbopt.fitting.curve_problem import CurveProblem
from nbopt.fitting.fit_options import check_choices, read_f_scale, read_limit
from nbopt.fitting.fit_result import FitResult
from nbopt.fitting.losses import KINDS
from nbopt.fitting.model import check_count, is_compiled_model
from nbopt.fitting.named_parameters import read_parameters
from nbopt.fitting.solve import INTERRUPT
from nbopt.fitting.start_checks import check_exchange, check_lengths, check_start, named_start
from nbopt.optim.near_miss import did_you_mean
from nbopt.solvers.result import LazyResult

_OWNER = "fit"
_REDESCENDING = "cauchy", "arctan"
COSTS = ("least_squares", "poisson")


def fit(
    model: Callable[..., Any],
    x: Any,
    y: Any,
    p0: Any = None,
    *,
    fixed: Any = (),
    bounds: Any = None,
    sigma: Any = None,
    absolute_sigma: bool = False,
    weights: Any = None,
    cost: str = "least_squares",
    loss: Any = "linear",
    f_scale: float = 1.0,
    jac: Any = None,
    nan_policy: str | None = None,
    max_nfev: int | None = None,
) -> FitResult:
    """Fit a model to data: named parameters, their errors, and a report.

    If `model` is compiled with ``numba.njit``, the whole fit runs compiled and the Jacobian is exact.

    Parameters
    ----------
    model : callable
        ``model(x, *parameters) -> array of shape (m,)``. Its signature names the parameters.
    x : array_like of shape (m,) or (k, m), or any object
        Where the data were taken; passed to `model`.
    y : array_like of shape (m,)
        The data.
    p0 : dict of str to float, or array_like of shape (n,), optional
        Where to start. What is left out starts at its default in the signature; without `p0` at that, or
        between the bounds, or at 1. For a model that takes ``*parameters`` a dict names them.
    fixed : str, iterable of str, or dict of str to float, optional
        Parameters that are not fitted: they keep their start, or the value in the dict.
    bounds : dict of str to (lower, upper), or (lower, upper), or `scipy.optimize.Bounds`, optional
        Bounds of some parameters by name, None meaning none; or all lower and all upper ones, as in
        `curve_fit`.
    sigma : array_like of shape (m,) or (m, m), or float, optional
        Standard errors of `y`, all positive, or their covariance matrix, positive definite.
    absolute_sigma : bool, optional
        Whether `sigma` (or `weights`) is meant as it is; else only the ratios count, and the covariance is
        scaled so that the reduced chi square is 1. The errors of a robust loss come from the residuals
        either way: where outliers are expected, `sigma` does not tell how many there are.
    weights : array_like of shape (m,), optional
        In place of `sigma`: factors of the squares, ``1 / sigma**2``; 0 leaves a point out.
    cost : {"least_squares", "poisson"}, optional
        "poisson": `y` are counts, the model is their mean, and the deviance is minimized, which gives
        the parameters of maximum likelihood. The errors are those of the likelihood (Fisher's information),
        whatever `absolute_sigma` says.
    loss : {"linear", "soft_l1", "huber", "cauchy", "arctan"} or callable, optional
        Robust loss, as in `least_squares`. The errors are then those of Huber's sandwich, see the notes; they
        are not scipy's, which come from the scaled Jacobian.
    f_scale : float, optional
        Residual from which on a point counts as an outlier: positive, in units of `sigma`, or of `y` without
        it. For a loss that keeps 95 % of the efficiency where there are no outliers: 1.345 times the size
        of the noise for "huber", 2.385 for "cauchy".
    jac : callable or {None, "auto", "dual", "2-point", "3-point", "cs"}, optional
        ``jac(x, *parameters) -> array of shape (m, n)``, or how to take derivatives. None and "auto":
        exact ones of a compiled model, else finite differences.
    nan_policy : {None, "raise", "omit"}, optional
        What to do with NaN in the data; None refuses infinities, too.
    max_nfev : int, optional
        Evaluations of the model, without those of finite differences; ``200 * (n + 1)`` by default.

    Returns
    -------
    FitResult
        ``params``, ``cov``, ``chisqr``, ..., ``summary()``, ``plot()``, ``predict(x)``, ``conf_int(level)``,
        ``bootstrap(n)``. A fit that stops early is a result too, and so is one whose model depends
        on no parameter at `p0`: `success` is False, `warnings` says why.

    Raises
    ------
    ValueError
        If an argument is out of its range, or the model is not finite at `p0`, or gives one number for
        many points although it depends on x.
    TypeError
        If the model takes other parameters than were given, or does not take arrays.

    Notes
    -----
    Levenberg-Marquardt as in `curve_fit`, with a final polish, so that the digits come from the data.
    Standard errors are those of the linearized model, ``cov = s^2 inv(J'J)``; parameters on a bound count
    as known there. `conf_int` does not linearize.

    With a robust loss ``s^2 = K^2 [sum psi^2 / (n - p)] / [mean psi']^2``, where psi is the derivative of the
    loss by the residual, and ``K = 1 + p/n var(psi') / [mean psi']^2`` corrects for few data (Huber and
    Ronchetti, "Robust statistics", 2nd edition (2009), section 7.6). This takes errors that are alike, in
    units of `sigma`, of whatever distribution, and outliers to both sides; those to one side move the fit.

    Examples
    --------
    >>> import numba
    >>> import numpy as np
    >>> import nbopt
    >>> @numba.njit
    ... def decay(t, a, rate):
    ...     return a * np.exp(-rate * t)
    >>> t = np.linspace(0.0, 4.0, 20)
    >>> y = 2.5 * np.exp(-1.3 * t) + 0.01 * np.cos(40 * t)
    >>> result = nbopt.fit(decay, t, y, {"a": 1.0, "rate": 1.0})
    >>> print(result.params.a, result.params["rate"], sep=", ")
    a = 2.5045 ± 0.0062, rate = 1.3029 ± 0.0052
    """
    if not callable(model):
        kind = type(model).__name__
        raise TypeError(f"{_OWNER}: model is of type {kind}; it must be callable: fit(model, x, y, p0)")
    _check(cost, loss, jac, sigma, weights)
    named = read_parameters(_OWNER, model, p0, fixed, bounds)
    check_count(_OWNER, model, named.start.size)
    if isinstance(getattr(x, "ndim", None), int) and x.ndim == 1:  # a Series, say
        x = np.asarray(x)
    check_exchange(_OWNER, x, y)
    data = read_data(_OWNER, x, y, sigma, None, nan_policy, weights, ("x", "y"))
    check_lengths(_OWNER, data)
    poisson = cost == "poisson"
    if poisson and (data.y < 0.0).any():
        bad = int(np.flatnonzero(data.y < 0.0)[0])
        raise ValueError(f"{_OWNER}: y[{bad}]={data.y[bad]}; with cost='poisson' counts may not be negative")
    limit = 200 * (named.free.size + 1) if max_nfev is None else read_limit(_OWNER, max_nfev, named.free.size)
    jac = "auto" if jac is None else jac
    if jac == "dual" and not is_compiled_model(model, jac):
        raise ValueError(f"{_OWNER}: jac='dual' needs a model compiled with numba.njit")
    problem = CurveProblem(
        _OWNER, model, jac, data, named, poisson, loss, read_f_scale(_OWNER, f_scale), limit
    )
    check_start(problem)
    try:
        found = _found(problem)
    except ZeroDivisionError as error:
        where = named_start(problem)
        raise ValueError(
            f"{_OWNER}: the model, or its derivative, divided by zero on the way from p0 ({where}); start "
            "elsewhere, or keep that parameter away from 0 by bounds"
        ) from error
    if found["status"] == INTERRUPT and not found["njev"]:  # nothing is known yet
        raise KeyboardInterrupt
    return FitResult(problem, found, poisson or bool(absolute_sigma))


def _found(problem: CurveProblem) -> LazyResult:
    """Fit; a loss that gives up far points starts from where one leads that gives up none.

    It has minima where it has given up the wrong points: of 100 simulated peaks with outliers 32 ended in
    one by "arctan" and 1 by "cauchy" from a rough start, from there none.
    """
    start, first = problem.named.start, None
    if problem.loss in _REDESCENDING:
        first = replace(problem, loss="soft_l1").refit(start)
        start = start.copy()
        start[problem.named.free] = first["x"]
    found = problem.solve(start)
    if first is not None:
        found["nfev"] += first["nfev"]
        found["njev"] += first["njev"]
    return found


def _check(cost: Any, loss: Any, jac: Any, sigma: Any, weights: Any) -> None:
    """Refuse what is no choice, or does not go together."""
    if cost not in COSTS:
        known = ", ".join(map(repr, COSTS))
        raise ValueError(f"{_OWNER}: cost={cost!r} must be one of {known}{did_you_mean(cost, COSTS)}")
    if isinstance(loss, str) and loss not in KINDS:
        known = ", ".join(map(repr, KINDS))
        near = did_you_mean(loss, KINDS)
        raise ValueError(f"{_OWNER}: loss={loss!r} must be one of {known}, or callable{near}")
    check_choices(_OWNER, "trf", jac, loss, 0)
    if sigma is not None and weights is not None:
        raise ValueError(f"{_OWNER}: sigma and weights say the same thing; give one of them")
    if cost == "poisson" and sigma is not None:
        raise ValueError(f"{_OWNER}: cost='poisson' takes the errors from the counts; sigma must be None")
    if cost == "poisson" and isinstance(jac, str) and jac == "cs":
        raise ValueError(f"{_OWNER}: cost='poisson' takes no complex steps; jac must not be 'cs'")
    if cost == "poisson" and loss != "linear":
        raise ValueError(f"{_OWNER}: cost='poisson' has no robust loss; loss must be 'linear'")
