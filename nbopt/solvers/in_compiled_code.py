"""compile(): a handle with which compiled code calls minimize(), also on several threads."""

from __future__ import annotations

from typing import Any

import numpy as np

from nbopt.autodiff.finite_differences import difference_entry
from nbopt.kernels.compile import is_compiled
from nbopt.kernels.native import EXACT, GRADIENT, PAIR, Entry, NotNative, entry_for
from nbopt.kernels.native_handle import allow_in_compiled_code, solve_address
from nbopt.solvers.bounds import read_bounds
from nbopt.solvers.engines import lbfgs_engine, lbfgsb_engine
from nbopt.solvers.exact_gradient import exact_entry, without_wrapping
from nbopt.solvers.handle import CompiledResult, Handle, block_of, solve
from nbopt.solvers.minimize import minimize
from nbopt.solvers.options import read_options

allow_in_compiled_code(minimize, CompiledResult)


def compile(
    fun: Any,
    args: Any = (),
    jac: Any = None,
    n: int | None = None,
    bounds: Any = None,
    tol: float | None = None,
    options: dict[str, Any] | None = None,
) -> Handle:
    """Compile a function for solves inside compiled code; return the handle for them.

    ``nbopt.minimize(handle, x0, args)`` in a function compiled with ``numba.njit`` solves by method "lbfgs"
    and returns a named tuple with x, fun, jac, nit, nfev, status and success. It may stand in a ``prange``.

    Parameters
    ----------
    fun : function compiled with numba.njit
        As for `minimize`.
    args : tuple, optional
        Further arguments like those that `fun` will get: only their types count. Compiled code must pass
        arguments of the same types, or of types that convert to them; `x0` must be a 1-D array there.
    jac : True, function compiled with numba.njit, {"auto", "dual", "2-point"}, optional
        As for `minimize`. None and "auto": exact derivatives where `fun` has them, else forward
        differences with the relative steps of "2-point".
    n : int >= 1, optional
        Number of variables: any by default. Exact derivatives of a few variables are faster if it is known.
    bounds : scipy.optimize.Bounds or sequence of (min, max), optional
        For all solves; `n` must be given with them. `x0` is moved within them without a warning.
    tol, options : optional
        maxcor, ftol, gtol, maxfun, maxiter and maxls of `minimize`.

    Returns
    -------
    Handle
        Pass it to compiled code as an argument, or let that find it among its globals; in the second case
        Numba does not cache that code on disk, and says so if it is asked to. In Python
        ``minimize(handle, x0, args)`` is ``minimize(fun, x0, args, jac=jac, ...)``.

    Raises
    ------
    TypeError
        If `fun` or `jac` is not compiled, an argument has no native form, or with ``jac="dual"`` `fun` has no
        exact derivatives.
    ValueError
        If an option is out of its range, or bounds are given without `n`.

    Notes
    -----
    Numba reports what is wrong with the arguments as a TypingError when the caller is compiled. An exception
    raised in `fun` reaches the caller; inside a ``prange``, Numba loses it. Ctrl-C is heard when the compiled
    code returns.

    Examples
    --------
    >>> import nbopt, numba
    >>> import numpy as np
    >>> @numba.njit
    ... def misfit(p, t, y):
    ...     return np.sum((p[0] * np.exp(-p[1] * t) - y) ** 2)
    >>> @numba.njit
    ... def fit_all(handle, t, data):
    ...     found = np.empty((len(data), 2))
    ...     for k in range(len(data)):
    ...         found[k] = nbopt.minimize(handle, np.ones(2), (t, data[k])).x
    ...     return found
    >>> t = np.linspace(0, 4, 50)
    >>> data = np.array([[2.5], [3.0]]) * np.exp(-1.3 * t)
    >>> fit_all(nbopt.compile(misfit, (t, data[0]), n=2), t, data).round(4)
    array([[2.5, 1.3],
           [3. , 1.3]])
    """
    if not isinstance(args, tuple):
        args = (args,)
    fun, jac = without_wrapping(fun, jac)
    if not callable(fun):
        raise TypeError(f"compile: fun={fun!r} must be a function compiled with numba.njit")
    if n is not None and (isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 1):
        raise ValueError(f"compile: n={n!r} must be an integer in [1, inf)")
    if bounds is not None and n is None:
        raise ValueError("compile: bounds need the number of variables, n")
    read = read_options(options, tol)
    ends = None if bounds is None else read_bounds(bounds, int(n or 0))
    handle = Handle(fun, (jac, bounds, tol, options))
    solver = solve_address(solve)
    if not solver:  # under NUMBA_DISABLE_JIT: there is no compiled code
        return handle
    entry, cost = _entry(fun, args, jac, n)
    engine = lbfgs_engine() if ends is None else lbfgsb_engine()
    limits = None if ends is None else np.array(ends)
    block = block_of((solver, entry.address, engine.address), read, cost, limits, int(n or 0))
    handle.bind(block, entry.layout.kinds, (entry, limits, fun))
    return handle


def _entry(fun: Any, args: tuple[Any, ...], jac: Any, n: int | None) -> tuple[Entry, tuple[int, int]]:
    """Return the entry of value and gradient, and what it costs: (1, 0) calls, or (1, 1) with differences."""
    for name, function in (("fun", fun), ("jac", jac)):
        if callable(function) and not is_compiled(function):
            raise TypeError(f"compile: {name}={function!r} must be compiled with numba.njit")
    try:
        if jac is True:
            return entry_for(fun, args, GRADIENT), (1, 0)
        if callable(jac):
            return entry_for(fun, args, PAIR, jac), (1, 0)
        if jac in (None, False, "auto", "dual"):
            exact = exact_entry(fun, args, n, jac == "dual")
            if exact is not None:
                return exact, (1, 0)
        elif jac != "2-point":
            raise ValueError(
                f"compile: jac={jac!r} must be True, a compiled function, 'auto', 'dual' or '2-point'"
            )
        return entry_for(fun, args, EXACT, make=difference_entry, variant="2-point"), (1, 1)
    except NotNative as error:
        raise TypeError(f"compile: args have no native form: {error}") from None
