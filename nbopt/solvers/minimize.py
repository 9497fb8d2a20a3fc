"""minimize(): scipy's function, on engines that are compiled."""

from __future__ import annotations

import functools
import inspect
import math
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import LbfgsInvHessProduct, OptimizeResult

from nbopt.autodiff.bounded_differences import BoundedDifferences
from nbopt.autodiff.finite_differences import METHODS as DIFFERENCES
from nbopt.autodiff.finite_differences import Differences
from nbopt.kernels.native import advance_address
from nbopt.optim.adadelta import Adadelta
from nbopt.optim.adagrad import Adagrad
from nbopt.optim.adam import Adam
from nbopt.optim.adamax import Adamax
from nbopt.optim.adamw import AdamW
from nbopt.optim.asgd import ASGD
from nbopt.optim.nadam import NAdam
from nbopt.optim.radam import RAdam
from nbopt.optim.rmsprop import RMSprop
from nbopt.optim.rprop import Rprop
from nbopt.optim.sgd import SGD
from nbopt.solvers import first_order, lbfgs, lbfgsb
from nbopt.solvers.bounds import move_within, read_bounds
from nbopt.solvers.bursts import EVALUATE, STOP
from nbopt.solvers.objective import objective
from nbopt.solvers.options import Options, read_first_order, read_options
from nbopt.solvers.result import Lazy, LazyResult
from nbopt.solvers.vector_adafactor import VectorAdafactor

OPTIMIZERS = (SGD, Adam, AdamW, Adamax, NAdam, RAdam, RMSprop, Adagrad, Adadelta, ASGD, Rprop)

_CALLBACK = 99, "`callback` raised `StopIteration`."
_INTERRUPT = 98, "Stopped by Ctrl-C (KeyboardInterrupt)."


class Engine(NamedTuple):
    """What runs a method: the class of its arrays, the function that advances them, its address."""

    workspace: Any
    advance: Any
    address: int


@functools.cache
def _lbfgs() -> Engine:
    """Return the engine of method "lbfgs", compiled or from disk."""
    return Engine(lbfgs.Workspace, lbfgs.advance, advance_address(lbfgs.advance))


@functools.cache
def _lbfgsb() -> Engine:
    """Return the engine of method "lbfgs" for bounds; it lacks them still."""
    return Engine(lbfgsb.Workspace, lbfgsb.advance, advance_address(lbfgsb.advance))


@functools.cache
def _first_order() -> Engine:
    """Return the engine of the methods that are torch's optimizers."""
    return Engine(first_order.Workspace, first_order.advance, advance_address(first_order.advance))


class Method(NamedTuple):
    """What a name stands for: an engine, and how its options are read."""

    engine: Callable[[], Engine]
    read: Callable[[Any, Any], Any]


def _by(kind: type) -> Method:
    """Return the method that steps as an optimizer does."""
    return Method(_first_order, functools.partial(read_first_order, kind))


_LBFGS = Method(_lbfgs, read_options)

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
        a float64 array of shape (n,).
    x0 : array_like of shape (n,)
        Where to start: finite. It is not changed.
    args : tuple, optional
        Further arguments of `fun` and `jac`; anything else than a tuple is one argument. For a
        compiled function they may be arrays, numbers, None, compiled functions, and tuples of these;
        with others (lists, say) each evaluation goes through Python.
    method : str, optional
        "lbfgs", the default; "L-BFGS-B" and the like are other names of it; or an optimizer: "adam",
        "sgd", "rprop" and so on, with its own options. Case does not matter.
    jac : True, callable, {"auto", "2-point", "3-point", "cs"}, optional
        True: `fun` returns the gradient too. A callable: ``jac(x, *args) -> ndarray of shape (n,)``.
        Else finite differences: None and "auto" take forward differences with the absolute step
        ``options["eps"]``, the others relative steps, as in scipy.
    hess, hessp : optional
        Not used; a RuntimeWarning says so.
    bounds : scipy.optimize.Bounds or sequence of (min, max), optional
        None or an infinity where there is no bound; of method "lbfgs" only. No point beyond them is
        evaluated, by finite differences neither. `x0` is moved within them, with an OptimizeWarning.
    constraints : optional
        Not supported; a ValueError says so.
    tol : float, optional
        Sets the options `ftol` and `gtol`: 0 or more.
    callback : callable, optional
        Called after each iteration as ``callback(xk)``, or, if its only parameter has that name, as
        ``callback(intermediate_result=OptimizeResult(x=..., fun=...))``. StopIteration ends the run.
    options : dict, optional
        maxcor : int >= 1, default 10. Pairs that the inverse Hessian is made of.
        ftol : float >= 0, default 2.22e-9. Stop where ``(f_k - f_{k+1})/max(|f_k|, |f_{k+1}|, 1) <= ftol``.
        gtol : float >= 0, default 1e-5. Stop where no element of the gradient is larger; with bounds:
        of the projected gradient, ``P(x - g) - x`` with P the projection onto the bounds.
        maxfun : int >= 1, default 15000. No more calls of `fun`, those of finite differences included.
        maxiter : int >= 0, default 15000.
        maxls : int >= 1, default 20. Evaluations in one line search.
        eps : float or array_like, default 1e-8. Absolute step of forward differences for ``jac=None``.
        finite_diff_rel_step : float or array_like, optional. Relative step of the other differences.
        disp : bool, default False. Print a summary.
        return_all : bool, default False. Keep all iterates in ``allvecs``.

        Optimizers have gtol, ftol (default 0: off), maxiter (default 10000), maxfun, disp and return_all
        too, the options of their constructors (lr, betas, eps, ...), and
        schedule : from a scheduler's ``schedule(...)``, as ``CosineAnnealingLR.schedule(T_max=1000)``.
        clip_grad_norm, clip_grad_value : float > 0. Clip the gradient's norm, or its elements.
        They return the best point evaluated, not the last.

    Returns
    -------
    OptimizeResult
        With x, fun, jac (by differences NaN where two bounds are equal), nfev, njev, nit, status, message,
        success, hess_inv (made when asked for) and jac_method ("user", or the kind of differences).
        Status 0: converged; 1: a limit was reached; 2: no progress, or nothing finite at x0; 98: Ctrl-C,
        with the best iterate so far; 99: the callback raised StopIteration.

    Raises
    ------
    ValueError
        If an argument or option is out of its range.
    TypeError
        If `fun` or `jac` is not callable or returns something else than real numbers.

    Notes
    -----
    L-BFGS (Liu and Nocedal 1989), with bounds L-BFGS-B (Byrd, Lu, Nocedal and Zhu 1995; Morales and
    Nocedal 2011), with the line search of Moré and Thuente (1994). A value or gradient
    that is not finite counts as too far. Where the search finds nothing lower, the method starts again
    with steepest descent once before it gives up. An exception in `fun`, `jac` or `callback` reaches
    the caller.

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
    if not callable(fun):
        raise TypeError(f"minimize: fun={fun!r} must be callable")
    if constraints != () or hess is not None or hessp is not None:
        _refuse(method or "lbfgs", hess, hessp, constraints)
    if callback is not None and not callable(callback):
        raise TypeError(f"minimize: callback={callback!r} must be callable")
    if type(args) is not tuple and not isinstance(args, tuple):
        args = (args,)
    read = chosen.read(options, tol)
    x = _start(x0)
    jac, ways = _derivatives(jac, read, x.size)
    ends = None if bounds is None else read_bounds(bounds, x.size)
    if ends is None:
        engine = chosen.engine()
    else:
        engine, ways = _within(method or "lbfgs", chosen, x, ways, *ends)
    calls = objective(fun, jac, ways, args, x.size)
    return _solve(engine, calls, x, read, ways, None if callback is None else _wrapped(callback))


def _method(method: Any) -> Method:
    """Look up a method by its name."""
    if isinstance(method, str) and method.lower() in _MATRIX_ONLY:
        raise ValueError(f"minimize: method={method!r} {_MATRIX_ONLY[method.lower()]}")
    found = _METHODS.get(method.lower()) if isinstance(method, str) else None
    if found is None:
        raise ValueError(f"minimize: method={method!r} must be one of {', '.join(sorted(_METHODS))}")
    return found


def _within(
    method: str, chosen: Method, x: np.ndarray, ways: Differences | None, lower: np.ndarray, upper: np.ndarray
) -> tuple[Engine, Differences | None]:
    """Move x within the bounds; return the engine for them and the differences that heed them."""
    if chosen is not _LBFGS:
        raise ValueError(f'minimize: method={method!r} takes no bounds; "lbfgs" does')
    move_within(x, lower, upper)
    workspace = functools.partial(lbfgsb.Workspace, lower=lower, upper=upper)
    return _lbfgsb()._replace(workspace=workspace), ways and BoundedDifferences(ways, lower, upper)


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


def _start(x0: Any) -> np.ndarray:
    """Return a float64 copy of the start, or say what is wrong with it."""
    x = np.array(x0) if type(x0) is not np.ndarray else x0.copy()
    if x.dtype != np.float64:
        if x.dtype.kind not in "fiubO":
            raise TypeError(f"minimize: x0 has dtype {x.dtype}; it must be real numbers")
        x = x.astype(np.float64)
    if x.ndim != 1:
        if x.ndim > 1:
            raise ValueError(f"minimize: x0 has shape {x.shape}; it must have one dimension")
        x = x.reshape(1)
    if not x.size:
        raise ValueError("minimize: x0 is empty; it must have at least one element")
    if not (all(map(math.isfinite, x.tolist())) if x.size < 16 else np.isfinite(x).all()):  # the faster way
        bad = np.flatnonzero(~np.isfinite(x))[0]
        raise ValueError(f"minimize: x0[{bad}]={x[bad]} must be finite")
    return x


def _derivatives(jac: Any, options: Options, n: int) -> tuple[Any, Differences | None]:
    """Return where the gradient comes from: True or a function, or a way to take differences."""
    if jac is True or callable(jac):
        return jac, None
    if jac is None or jac is False or jac == "auto":
        return None, Differences("2-point", n, abs_step=options.eps)
    if jac in DIFFERENCES:
        return None, Differences(jac, n, rel_step=options.finite_diff_rel_step)
    if jac == "dual":
        raise ValueError('minimize: jac="dual" (exact derivatives) comes with a later version')
    raise ValueError(f'minimize: jac={jac!r} must be True, a function, "auto", or one of {DIFFERENCES}')


def _wrapped(callback: Callable[..., Any]) -> Callable[[np.ndarray, float], Any]:
    """Return the callback in one form: scipy decides by the names of the parameters."""
    try:
        names = set(inspect.signature(callback).parameters)
    except (TypeError, ValueError):  # a built-in function may have none
        names = set()
    if names == {"intermediate_result"}:
        return lambda x, f: callback(intermediate_result=OptimizeResult(x=x, fun=f))
    return lambda x, f: callback(x)


def _solve(
    engine: Engine, calls: Any, x: np.ndarray, options: Any, ways: Differences | None, callback: Any
) -> LazyResult:
    """Run an engine to its end, or until the callback or Ctrl-C stops it."""
    every = [x.copy()] if options.return_all else None
    cost = 1 if ways is None else 1 + ways.evaluations
    w = engine.workspace(x, options, cost, callback is not None or every is not None)
    task, stopped = EVALUATE, None
    try:
        while True:
            task = calls.run(engine, task, w.work, w.counts)
            if task == STOP:
                break
            if not w.resume():
                continue
            if every is not None:
                every.append(w.x.copy())
            if callback is not None:
                try:
                    callback(w.x.copy(), w.f)
                except StopIteration:
                    stopped = _CALLBACK
                    break
    except KeyboardInterrupt:
        stopped = _INTERRUPT
    return _result(w, stopped, ways, options, every)


def _result(
    w: Any, stopped: tuple[int, str] | None, ways: Differences | None, options: Any, every: list | None
) -> LazyResult:
    """Wrap up a run."""
    counts = w.counts.tolist()
    status, message = stopped or w.messages[counts[lbfgs.REASON]]
    x, g = w.x, w.g
    if stopped is not None:  # in the middle of a search, perhaps
        x, g = w.iterate()
    if isinstance(ways, BoundedDifferences):
        g[ways.lower == ways.upper] = math.nan  # not known
    result = LazyResult(
        x=x,
        fun=w.f,
        jac=g,
        nit=counts[lbfgs.NIT],
        nfev=counts[lbfgs.NFEV],
        njev=counts[lbfgs.NJEV],
        status=status,
        success=status == 0,
        message=message,
        jac_method="user" if ways is None else ways.method,
    )
    if hasattr(w, "correction_pairs"):
        result["hess_inv"] = Lazy(lambda: LbfgsInvHessProduct(*w.correction_pairs()))
    if every is not None:
        result["allvecs"] = every
    if options.disp:
        print(message)
        for name, key in (("f", "fun"), ("Iterations", "nit"), ("Evaluations of fun", "nfev")):
            print(f"         {name}: {result[key]}")
    return result
