"""minimize(): scipy's function, on engines that are compiled."""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import OptimizeResult

from nbopt.autodiff.bounded_differences import BoundedDifferences
from nbopt.autodiff.finite_differences import EPS, Differences
from nbopt.autodiff.finite_differences import METHODS as DIFFERENCES
from nbopt.kernels.compile import is_compiled
from nbopt.optim.adadelta import Adadelta
from nbopt.optim.adagrad import Adagrad
from nbopt.optim.adam import Adam
from nbopt.optim.adamax import Adamax
from nbopt.optim.adamw import AdamW
from nbopt.optim.asgd import ASGD
from nbopt.optim.nadam import NAdam
from nbopt.optim.near_miss import did_you_mean
from nbopt.optim.radam import RAdam
from nbopt.optim.rmsprop import RMSprop
from nbopt.optim.rprop import Rprop
from nbopt.optim.sgd import SGD
from nbopt.solvers import lbfgsb
from nbopt.solvers.bounds import move_within, read_bounds
from nbopt.solvers.callbacks import UserCallback
from nbopt.solvers.engines import Engine, first_order_engine, lbfgs_engine, lbfgsb_engine
from nbopt.solvers.exact_gradient import without_wrapping
from nbopt.solvers.handle import Handle
from nbopt.solvers.objective import objective
from nbopt.solvers.options import DEFAULTS, Options, read_first_order, read_options
from nbopt.solvers.real_numbers import real_numbers
from nbopt.solvers.run import run
from nbopt.solvers.single_precision import UNIT, is_single, narrow_result, representable
from nbopt.solvers.vector_adafactor import VectorAdafactor
from nbopt.solvers.warm_start import pairs_of

OPTIMIZERS = (SGD, Adam, AdamW, Adamax, NAdam, RAdam, RMSprop, Adagrad, Adadelta, ASGD, Rprop)


class Method(NamedTuple):
    """What a name stands for: an engine, and how its options are read."""

    engine: Callable[[], Engine]
    read: Callable[[Any, Any], Any]


def _by(kind: type) -> Method:
    """Return the method that steps as an optimizer does."""
    return Method(first_order_engine, functools.partial(read_first_order, kind))


_DOUBLE = np.dtype(np.float64)
_LBFGS = Method(lbfgs_engine, read_options)

# Every name of a method, in lower case.
_METHODS: dict[str, Method] = {
    **dict.fromkeys(("lbfgs", "l-bfgs", "l-bfgs-b", "lbfgsb"), _LBFGS),
    **{kind.__name__.lower(): _by(kind) for kind in OPTIMIZERS},
    "adafactor": _by(VectorAdafactor),
}
_MATRIX_ONLY = {
    "muon": "works on matrices, and x is a vector: use the object nbopt.Muon",
    "sparseadam": "needs sparse gradients: use the object nbopt.SparseAdam",
}


def minimize(
    fun: Callable[..., Any],
    x0: Any,
    args: Any = (),
    method: str | None = None,
    jac: Any = None,
    hess: Any = None,
    hessp: Any = None,
    bounds: Any = None,
    constraints: Any = (),
    tol: float | None = None,
    callback: Callable[..., Any] | None = None,
    options: dict[str, Any] | None = None,
) -> OptimizeResult:
    """Minimize a function of several variables, as `scipy.optimize.minimize` does.

    If `fun` (and `jac`, if it is a function) is compiled with ``numba.njit``, the whole solve runs
    compiled, without the GIL, and only a thin entry is compiled for a new function.

    Parameters
    ----------
    fun : callable
        ``fun(x, *args) -> float``, or ``-> (float, ndarray of shape (n,))`` with ``jac=True``; `x` is
        a float64 array of shape (n,). Or what `compile` returned.
    x0 : array_like of shape (n,), or OptimizeResult
        Where to start: finite. It is not changed. From an array of float32 the functions get float32 and the
        result is float32; only dual numbers and complex steps are computed in double precision all the same.
        From a former result, also scipy's, method "lbfgs" goes on with its x and the pairs of its
        ``hess_inv``, as if it had not stopped; ``maxiter`` and ``maxfun`` count anew. Others take its x.
    args : tuple, optional
        Further arguments of `fun` and `jac`; anything else than a tuple is one argument. For a
        compiled function they may be arrays, numbers, None, compiled functions, and tuples of these;
        with others (lists, say) each evaluation goes through Python.
    method : str, optional
        "lbfgs", the default; "L-BFGS-B" and the like are other names of it; or an optimizer: "adam",
        "sgd", "rprop" and so on, with its own options. Case does not matter.
    jac : True, callable, {"auto", "dual", "2-point", "3-point", "cs"}, optional
        True: `fun` returns the gradient too. A callable: ``jac(x, *args) -> ndarray of shape (n,)``.
        "dual": exact derivatives of a compiled `fun` by dual numbers. None and "auto": these where `fun`
        has them, else forward differences with the absolute step ``options["eps"]``; the result's
        ``jac_method`` says which. The others: differences with relative steps, as in scipy.
    hess, hessp : optional
        Not used; a RuntimeWarning says so.
    bounds : scipy.optimize.Bounds or sequence of (min, max), optional
        None or an infinity where there is no bound; of method "lbfgs" only. A single pair in the sequence, as
        in ``[(0, 1)]``, holds for all variables. No point beyond them is evaluated, by finite differences
        neither. `x0` is moved within them, with an OptimizeWarning.
    constraints : optional
        Not supported; a ValueError says so.
    tol : float, optional
        Sets the options `ftol` and `gtol`: 0 or more.
    callback : callable, optional
        Called after each iteration as ``callback(xk)``, or, if its only parameter has that name, as
        ``callback(intermediate_result=OptimizeResult(x=..., fun=...))``. StopIteration ends the run.
        One that must be given two arguments is called as ``callback(xk, fk)`` and ends the run by returning
        True, as does one compiled with ``numba.njit``. A compiled solve calls a compiled one of (xk, fk)
        or of (xk) itself and does not go back to Python for it.
    options : dict, optional
        maxcor : int >= 1, default 10. Pairs that the inverse Hessian is made of.
        ftol : float >= 0, default 2.22e-9. Stop where ``(f_k - f_{k+1})/max(|f_k|, |f_{k+1}|, 1) <= ftol``
        and the quasi-Newton model promises no more than that, or ten times in a row (with bounds: five).
        gtol : float >= 0, default 1e-5. Stop where no element of the gradient is larger; with bounds:
        of the projected gradient, ``P(x - g) - x`` with P the projection onto the bounds.
        maxfun : int >= 1, default 15000. No more calls of `fun`, those of finite differences included.
        maxiter : int >= 0, default 15000.
        maxls : int >= 1, default 20. Evaluations in one line search.
        eps : float or array_like, default 1e-8. Absolute step of forward differences for ``jac=None``.
        finite_diff_rel_step : float or array_like, optional. Relative step of the other differences.
        disp : bool, default False. Print a summary.
        return_all : bool, default False. Keep all iterates in ``allvecs``, and ``history``.
        history : bool, default False. Keep f, |g|, evaluations and time at each iterate in ``history``,
        for `plot_convergence`.
        progress : bool, default False. Show a progress bar (needs tqdm) where a solve takes a while.

        Optimizers have gtol, ftol (default 0: off), maxiter (default 10000), maxfun, disp, return_all,
        history and progress too, the options of their constructors (lr, betas, eps, ...), and
        schedule : from a scheduler's ``schedule(...)``, as ``CosineAnnealingLR.schedule(T_max=1000)``.
        clip_grad_norm, clip_grad_value : float > 0. Clip the gradient's norm, or its elements.
        They return the best point evaluated, not the last.

    Returns
    -------
    OptimizeResult
        With x, fun, jac (by differences NaN where two bounds are equal), nfev, njev, nit, status, message,
        success, hess_inv (made when asked for) and jac_method ("user", "dual" or the differences taken);
        where asked for allvecs, and history with the arrays fun, gradient (its largest element, as compared
        with gtol), nfev and seconds, one value for the start and one for each iteration.
        Status 0: converged; 1: a limit was reached; 2: no progress, or nothing finite at x0; 98: Ctrl-C,
        with the best iterate so far; 99: the callback raised StopIteration or returned True.

    Raises
    ------
    ValueError
        If an argument or option is out of its range.
    TypeError
        If `fun` or `jac` is not callable or returns something else than real numbers; with ``jac="dual"``
        if `fun` is not compiled, or (NotDifferentiable) has something in it that has no derivative.

    Notes
    -----
    L-BFGS (Liu and Nocedal 1989), with bounds L-BFGS-B (Byrd, Lu, Nocedal and Zhu 1995; Morales and
    Nocedal 2011), with the line search of Moré and Thuente (1994); the changes of the gradient are scaled
    so that the model has the curvature that the values show, too (Zhang, Deng and Chen 1999), and
    `hess_inv` is made of them. A value or gradient that is not finite counts as too far. Where the search
    finds nothing lower, the method starts again with steepest descent once before it gives up. An
    exception in `fun`, `jac` or `callback` reaches the caller.

    Examples
    --------
    >>> import nbopt, numba
    >>> import numpy as np
    >>> @numba.njit
    ... def rosenbrock(x, a, b):
    ...     u, v = a - x[0], x[1] - x[0] ** 2
    ...     return u * u + b * v * v, np.array([-2 * u - 4 * b * v * x[0], 2 * b * v])
    >>> res = nbopt.minimize(rosenbrock, [-1.2, 1.0], args=(1.0, 100.0), jac=True)
    >>> res.success, res.x.round(4)
    (True, array([1., 1.]))
    >>> nbopt.minimize(rosenbrock, [-1.2, 1.0], (1.0, 100.0), jac=True, bounds=[(None, 0.5), (0, 2)]).x
    array([0.5 , 0.25])
    """
    chosen = _LBFGS if method is None else _method(method)
    if type(fun) is Handle:
        fun, jac, bounds, tol, options = fun.given(jac, bounds, tol, options)
    if not callable(fun):
        raise TypeError(f"minimize: fun={fun!r} must be callable")
    if constraints != () or hess is not None or hessp is not None:
        _refuse(method or "lbfgs", hess, hessp, constraints)
    watcher = None if callback is None else UserCallback(callback)
    if type(args) is not tuple and not isinstance(args, tuple):
        args = (args,)
    read = chosen.read(options, tol)
    pairs = None
    if isinstance(x0, OptimizeResult):
        pairs, x0 = pairs_of(x0), x0.x
    x, single = _start(x0)
    fun, jac = without_wrapping(fun, jac)
    jac, ways = _derivatives(fun, jac, read, x.size, single)
    ends = None if bounds is None else read_bounds(bounds, x.size)
    if ends is None:
        engine = chosen.engine()
    else:
        engine, ways = _within(
            method or "lbfgs", chosen, x, ways, *(representable(*ends) if single else ends)
        )
    if not single:
        return run(engine, objective(fun, jac, ways, args, x), x, read, watcher, pairs)
    source = objective(fun, jac, ways, args, x, True)
    if chosen is _LBFGS and source.jac_method not in ("dual", "cs"):  # these are in double precision
        engine = engine._replace(workspace=functools.partial(engine.workspace, unit=UNIT))
    watcher = None if watcher is None else watcher.in_single()
    return narrow_result(run(engine, source, x, read, watcher, pairs))


def _method(method: Any) -> Method:
    """Look up a method by its name."""
    if isinstance(method, str) and method.lower() in _MATRIX_ONLY:
        raise ValueError(f"minimize: method={method!r} {_MATRIX_ONLY[method.lower()]}")
    found = _METHODS.get(method.lower()) if isinstance(method, str) else None
    if found is None:
        near = did_you_mean(method, _METHODS) if isinstance(method, str) else ""
        raise ValueError(f"minimize: method={method!r} must be one of {', '.join(sorted(_METHODS))}{near}")
    return found


def _within(
    method: str, chosen: Method, x: np.ndarray, ways: Differences | None, lower: np.ndarray, upper: np.ndarray
) -> tuple[Engine, Differences | None]:
    """Move x within the bounds; return the engine for them and the differences that heed them."""
    if chosen is not _LBFGS:
        raise ValueError(f'minimize: method={method!r} takes no bounds; "lbfgs" does')
    move_within(x, lower, upper)
    workspace = functools.partial(lbfgsb.Workspace, lower=lower, upper=upper)
    return lbfgsb_engine()._replace(workspace=workspace), ways and BoundedDifferences(ways, lower, upper)


def _refuse(method: str, hess: Any, hessp: Any, constraints: Any) -> None:
    """Refuse or warn about what no method here uses."""
    if len(constraints) if isinstance(constraints, tuple | list | dict) else constraints is not None:
        raise ValueError(
            f"minimize: method={method!r} has no constraints; "
            'scipy.optimize.minimize has, with method="SLSQP" or "trust-constr"'
        )
    for name, value, what in (("hess", hess, "Hessian"), ("hessp", hessp, "Hessian-vector product")):
        if value is not None:
            text = f"Method {method} does not use {what} information ({name})."
            warnings.warn(text, RuntimeWarning, stacklevel=3)


def _start(x0: Any) -> tuple[np.ndarray, bool]:
    """Return a float64 copy of the start, or say what is wrong with it; tell if it is in single precision."""
    x, single = np.array(x0), False
    if x.dtype != _DOUBLE:
        single = is_single(x0)
        try:
            x = real_numbers(x)
        except TypeError as error:
            raise TypeError(f"minimize: x0 {error}") from None
    if x.ndim != 1:
        if x.ndim > 1:
            raise ValueError(f"minimize: x0 has shape {x.shape}; it must have one dimension")
        x = x.reshape(1)
    if not x.size:
        raise ValueError("minimize: x0 is empty; it must have at least one element")
    if not (all(map(math.isfinite, x.tolist())) if x.size < 16 else np.isfinite(x).all()):  # the faster way
        bad = np.flatnonzero(~np.isfinite(x))[0]
        raise ValueError(f"minimize: x0[{bad}]={x[bad]} must be finite")
    return x, single


def _derivatives(
    fun: Any, jac: Any, options: Options, n: int, single: bool
) -> tuple[Any, Differences | None]:
    """Return where the gradient comes from, and the way to take differences if these may be needed."""
    if jac is True or callable(jac):
        return jac, None
    if jac is None or jac is False or jac == "auto":
        step = None if single and options.eps is DEFAULTS.eps else options.eps
        return "auto", Differences("2-point", n, abs_step=step, unit=UNIT if single else EPS)
    if jac in DIFFERENCES:
        unit = UNIT if single and jac != "cs" else EPS
        return None, Differences(jac, n, rel_step=options.finite_diff_rel_step, unit=unit)
    if jac == "dual":
        if not is_compiled(fun):
            raise TypeError(f'minimize: jac="dual" needs a function compiled with numba.njit, not {fun!r}')
        return jac, None
    ways = ", ".join(map(repr, ("auto", "dual", *DIFFERENCES)))
    near = did_you_mean(jac, ("auto", "dual", *DIFFERENCES)) if isinstance(jac, str) else ""
    raise ValueError(f"minimize: jac={jac!r} must be True, a function, or one of {ways}{near}")
