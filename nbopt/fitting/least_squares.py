"""least_squares(): scipy's function, on a compiled engine."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.optimize import OptimizeResult
from scipy.sparse import issparse
from scipy.sparse.linalg import LinearOperator

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
from nbopt.fitting.residuals import Problem
from nbopt.fitting.solve import Settings, solve, wrapped
from nbopt.kernels.compile import is_compiled

_OWNER = "least_squares"


def least_squares(
    fun: Callable[..., Any],
    x0: Any,
    jac: Any = None,
    bounds: Any = FREE,
    method: str = "trf",
    ftol: float | None = 1e-8,
    xtol: float | None = 1e-8,
    gtol: float | None = 1e-8,
    x_scale: Any = None,
    loss: Any = "linear",
    f_scale: float = 1.0,
    diff_step: Any = None,
    tr_solver: str | None = None,
    tr_options: dict[str, Any] | None = None,
    jac_sparsity: Any = None,
    max_nfev: int | None = None,
    verbose: int = 0,
    args: Any = (),
    kwargs: dict[str, Any] | None = None,
    callback: Callable[..., Any] | None = None,
    workers: Any = None,
) -> OptimizeResult:
    """Minimize half a sum of squares, with bounds and robust losses, as `scipy.optimize.least_squares`.

    If `fun` (and `jac`, if it is a function) is compiled with ``numba.njit``, the whole solve runs
    compiled, and the Jacobian is exact by dual numbers unless you say otherwise.

    Parameters
    ----------
    fun : callable
        ``fun(x, *args, **kwargs)`` returns the residuals, of shape (m,) (or a number); `x` is a float64
        array of shape (n,), a copy.
    x0 : array_like of shape (n,) or float
        Where to start: finite, within the bounds.
    jac : callable or {None, "auto", "dual", "2-point", "3-point", "cs"}, optional
        A function ``jac(x, *args, **kwargs) -> array of shape (m, n)`` (a sparse one is made dense);
        exact derivatives of a compiled function; or finite differences. None and "auto": exact where
        possible, else "2-point".
    bounds : 2-tuple of array_like, or `scipy.optimize.Bounds`, optional
        Lower and upper bounds; numbers stand for all variables. They hold at every evaluation.
    method : {"trf", "dogbox", "lm"}, optional
        All run Levenberg-Marquardt in a trust region. "trf" and "dogbox" are the same here. "lm" has
        no bounds and no losses, needs ``m >= n``, scales by the Jacobian, and compares `gtol` with cosines.
    ftol : float or None, optional
        Stop where the cost F falls by less than ``ftol * F`` and the model was right about it.
    xtol : float or None, optional
        Stop where a step is shorter than ``xtol * (xtol + |x|)``, in scaled variables.
    gtol : float or None, optional
        Stop where no element of the gradient is larger, at bounds only those that point inside; for
        "lm" where no cosine of the angles between residuals and the Jacobian's columns is.
    x_scale : None, "jac" or array_like of shape (n,), optional
        Positive scales of the variables; "jac": inverse norms of the Jacobian's columns. None is 1,
        for "lm" it is "jac".
    loss : {"linear", "soft_l1", "huber", "cauchy", "arctan"} or callable, optional
        A callable takes ``z = (fun(x) / f_scale)**2`` and returns an array of shape (3, m): the loss and
        its first two derivatives.
    f_scale : float, optional
        Residual from which on a point counts as an outlier: positive.
    diff_step : float or array_like, optional
        Relative step of finite differences.
    tr_solver, tr_options, workers : optional
        Accepted and not used: small dense problems need no choice here.
    jac_sparsity : optional
        Not supported; a ValueError says so.
    max_nfev : int, optional
        Evaluations of `fun`, without those of finite differences; ``100 * n`` by default.
    verbose : {0, 1, 2}, optional
        Print nothing, a summary, or a line for each iteration.
    args : tuple, optional
        Further arguments of `fun` and `jac`.
    kwargs : dict, optional
        Further arguments by name; with these each evaluation goes through Python.
    callback : callable, optional
        Called after each iteration as ``callback(x)``, or, if its only parameter has that name, as
        ``callback(intermediate_result=OptimizeResult)``. StopIteration ends the run.

    Returns
    -------
    OptimizeResult
        With x, cost, fun, jac, grad, optimality, active_mask, nfev, njev, nit, status, message, success,
        jac_method ("user", "dual", or the kind of differences). Status -3: Ctrl-C, with the best point so
        far; -2: the callback stopped; 0: `max_nfev` was reached; 1: `gtol`; 2: `ftol`; 3: `xtol`; 4: `ftol`
        and `xtol`. `jac` is scaled for the loss, so that ``jac.T @ jac`` is the Gauss-Newton Hessian.

    Raises
    ------
    ValueError
        If an argument is out of its range, or residuals or Jacobian are not finite at `x0`.
    TypeError
        If `fun` is not callable.

    Notes
    -----
    Householder QR with column pivoting; the damping solves the secular equation (Moré 1978). Bounds are
    kept by an active set on the linear model, with the Cauchy point of the projected gradient as a
    safeguard (Conn, Gould and Toint 1988): a solution may lie exactly on a bound. A residual that is not
    finite counts as too far.

    Examples
    --------
    >>> import numba
    >>> import numpy as np
    >>> from nbopt.fitting.least_squares import least_squares
    >>> @numba.njit
    ... def rosenbrock(x):
    ...     return np.array([10 * (x[1] - x[0] ** 2), 1 - x[0]])
    >>> res = least_squares(rosenbrock, [0.0, 2.0], bounds=([-2.0, 1.5], 2.0))
    >>> res.x.round(4), res.active_mask
    (array([1.2244, 1.5   ]), array([ 0, -1]))
    """
    if not callable(fun):
        raise TypeError(f"{_OWNER}: fun={fun!r} must be callable")
    check_choices(_OWNER, method, jac, loss, verbose)
    if jac_sparsity is not None:
        raise ValueError(f"{_OWNER}: jac_sparsity is not supported; scipy.optimize.least_squares has it")
    if tr_solver not in (None, "exact", "lsmr"):
        raise ValueError(f"{_OWNER}: tr_solver={tr_solver!r} must be None, 'exact' or 'lsmr'.")
    x = read_start(_OWNER, "x0", x0)
    lower, upper = read_bounds(_OWNER, "x0", bounds, x)
    if method == "lm" and not all(map(math.isinf, [*lower, *upper])):
        raise ValueError(f"{_OWNER}: Method 'lm' doesn't support bounds.")
    if callback is not None and method == "lm":
        warnings.warn("Callback function specified, but not supported with `lm` method.", stacklevel=2)
        callback = None
    settings = Settings(
        scale=read_scale(_OWNER, x_scale, method, x.size),
        loss=loss if callable(loss) else KINDS[loss],
        f_scale=read_f_scale(_OWNER, f_scale),
        tolerances=read_tolerances(_OWNER, method, ftol, xtol, gtol),
        max_nfev=read_limit(_OWNER, max_nfev, x.size),
        cosines=method == "lm",
        callback=None if callback is None else wrapped(callback),
        verbose=verbose,
    )
    jac = "auto" if jac is None else jac
    args = tuple(args) if np.iterable(args) else (args,)
    diff_step = read_diff_step(_OWNER, diff_step, x.size)
    problem, r = _problem(fun, jac, args, kwargs or {}, x, (lower, upper), diff_step)
    if method == "lm" and r.size < x.size:
        raise ValueError(
            f"{_OWNER}: Method 'lm' doesn't work when the number of residuals ({r.size}) "
            f"is less than the number of variables ({x.size})."
        )
    try:
        return solve(_OWNER, problem, settings, r)
    except ValueError:
        problem.check_shapes()
        raise


def _problem(
    fun: Any,
    jac: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    x: np.ndarray,
    bounds: Any,
    diff_step: Any,
) -> tuple[Problem, np.ndarray]:
    """Return the problem and the residuals at the start."""
    r = _first_residuals(fun(x.copy(), *args, **kwargs))
    m, n = r.size, x.size

    def residuals(x: np.ndarray) -> np.ndarray:
        values = np.atleast_1d(fun(x, *args, **kwargs))
        if values.shape != (m,):
            raise ValueError(f"{_OWNER}: fun returned shape {values.shape}, but {(m,)} at x0")
        return values

    def derivatives(x: np.ndarray) -> np.ndarray:
        J = jac(x, *args, **kwargs)
        J = np.atleast_2d(np.asarray(J if type(J) is np.ndarray else _dense(J), np.float64))
        if J.shape != (m, n):
            raise ValueError(
                f"{_OWNER}: The return value of `jac` has wrong shape: expected {(m, n)}, actual {J.shape}."
            )
        return J

    if jac == "dual" and (kwargs or not is_compiled(fun)):
        raise ValueError(f"{_OWNER}: jac='dual' needs fun compiled with numba.njit, and no kwargs")
    form = (None, "2-point" if jac == "auto" else jac) if kwargs else (fun, jac)
    user = derivatives if callable(jac) else None
    unit = float(np.finfo(r.dtype).eps) if r.dtype in (np.float32, np.float16) else 2.0**-52
    problem = Problem(
        form[0], form[1], args, residuals, user, x, bounds[0], bounds[1], m, diff_step, unit=unit
    )
    return problem, r


def _first_residuals(values: Any) -> np.ndarray:
    """Return the residuals at the start as an array of one dimension, or say what is wrong with them."""
    r = np.atleast_1d(values)
    if r.ndim > 1:
        raise ValueError(f"{_OWNER}: `fun` must return at most 1-d array_like. f0.shape: {r.shape}")
    if values is None or r.dtype.kind not in "fiubO":
        what = "None" if values is None else r.dtype
        raise TypeError(f"{_OWNER}: fun returned {what}; it must return real numbers")
    if not r.size:
        raise ValueError(f"{_OWNER}: fun returned no residuals")
    return r.astype(np.float64) if r.dtype.kind == "O" else r


def _dense(J: Any) -> Any:
    """Return a Jacobian that may be sparse as something to make an array of."""
    if isinstance(J, LinearOperator):
        raise ValueError(f"{_OWNER}: jac returned a LinearOperator; it must return an array")
    return J.toarray() if issparse(J) else J
