"""Exact derivatives of a compiled function: value_and_grad() and jacobian(), for Python and compiled code."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numba.core.errors import NumbaError
from numba.extending import typeof_impl

from nbopt.kernels.compile import is_compiled


class _Derivative:
    """A function's derivatives: compiled on first use for the number of variables and types that it meets."""

    owner = what = ""

    def __init__(self, fun: Any, n: int | None = None) -> None:
        if not is_compiled(fun):
            raise TypeError(
                f"{self.owner}: fun={fun!r} must be compiled with numba.njit; "
                "a plain Python function has only finite differences"
            )
        if n is not None and (isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 1):
            raise ValueError(f"{self.owner}: n={n!r} must be an integer >= 1")
        self.fun, self.n = fun, None if n is None else int(n)
        self._compiled: dict[int | None, Any] = {}
        self._by_size: dict[int, Any] = {}

    def __repr__(self) -> str:
        return f"{self.owner}({self.fun.__name__})"

    def __call__(self, x: Any, *args: Any) -> Any:
        """Return the derivatives at x; see `value_and_grad` and `jacobian`."""
        line = as_line(x, self.n, self.owner)
        run = self._by_size.get(line.size) or self._for_size(line.size)
        try:
            return run(line, *args)
        except NumbaError as error:
            said = error
        self._explain(line.size, args)
        raise said

    def _for_size(self, size: int) -> Any:
        """Return the compiled function for x of a size; all large ones share theirs."""
        from nbopt.autodiff import forward  # brings in what Numba compiles with: not at import

        found = self._by_size[size] = self.compiled(size if forward.is_single(size) else forward.MANY)
        return found

    def compiled(self, n: int | None) -> Any:
        """Return the compiled function of ``(x, *args)`` that does the work.

        Parameters
        ----------
        n : int or None
            Number of variables; None for any, or `forward.MANY`.

        Returns
        -------
        numba dispatcher
        """
        found = self._compiled.get(n)
        if found is None:
            from nbopt.autodiff import forward

            make = forward.value_and_gradient if self.what == forward.GRADIENT else forward.jacobian
            found = self._compiled[n] = make(self.fun, n)
        return found

    def _explain(self, n: int, args: tuple[Any, ...]) -> None:
        """Raise the error that says in terms of the user's function what could not be compiled."""
        from nbopt.autodiff import forward

        kinds = tuple(numba.typeof(a) for a in args)
        kind = forward.result_type(self.fun, kinds, n, self.owner, self.what)
        forward.check_result(kind, self.what, self.owner)


class ValueAndGrad(_Derivative):
    """What `value_and_grad` returns."""

    owner, what = "value_and_grad", "gradient"


class Jacobian(_Derivative):
    """What `jacobian` returns."""

    owner, what = "jacobian", "jacobian"


@typeof_impl.register(_Derivative)
def _typeof(derivative: _Derivative, context: Any) -> Any:
    """In compiled code, a derivative is its compiled function."""
    return numba.typeof(derivative.compiled(derivative.n))


def as_line(x: Any, n: int | None, owner: str) -> np.ndarray:
    """Return x as a line of floats, or say what is wrong with it."""
    line = x if type(x) is np.ndarray else np.asarray(x)
    if line.dtype != np.float64:
        if line.dtype.kind not in "fiub":
            raise TypeError(f"{owner}: x has dtype {line.dtype}; it must be real numbers")
        line = line.astype(np.float64)
    if line.ndim != 1 or not line.size:
        raise ValueError(f"{owner}: x has shape {line.shape}; it must be (n,) with n >= 1")
    if n is not None and line.size != n:
        raise ValueError(f"{owner}: x has shape {line.shape}; with n={n} it must be ({n},)")
    return line


def value_and_grad(fun: Any, n: int | None = None) -> ValueAndGrad:
    """Return a function that gives the value of ``fun`` and its exact gradient.

    `fun` is built once more, unchanged, for dual numbers: a value with its partial derivatives, to which
    every operation applies the chain rule. The gradient is exact to rounding and takes one evaluation for
    each eight variables.

    Parameters
    ----------
    fun : function compiled with numba.njit
        ``fun(x, *args) -> float`` with x of shape (n,). Loops, branches, slices, NumPy's functions of arrays
        and calls of other compiled functions are allowed. Options of ``njit`` and signatures do not matter.
    n : int >= 1, optional
        Number of variables, for use in compiled code, where it makes small problems faster: x must then
        have that many elements. Called from Python, the function finds out itself.

    Returns
    -------
    ValueAndGrad
        ``f, g = result(x, *args)`` with f a float and g a new float64 array of shape (n,); from Python
        and in code compiled with ``numba.njit``. From Python, x may be any array_like of real numbers.

    Raises
    ------
    TypeError
        If `fun` is not compiled; when called, if it returns anything but a real number.
    ValueError
        If `n` is no integer >= 1; when called, if x is not of shape (n,).
    NotDifferentiable
        When called from Python, if `fun` uses something that has no derivative here, such as a function
        of SciPy; the message names the line. In compiled code it is Numba's TypingError.

    Notes
    -----
    At a kink the slope is that of the branch that is taken: of the first operand of ``max``, ``min``,
    ``np.maximum``, ``np.minimum`` where both are equal; 0 for ``abs`` at 0. Steps (``floor``, ``round``,
    ``sign``) have the slope 0. An infinite slope (``sqrt`` at 0) is inf for the variables that the operand
    depends on and 0 for all others. ``x**0`` has the slope 0 everywhere.

    Source: A. Griewank and A. Walther, Evaluating Derivatives, 2nd ed., SIAM, 2008, chapter 3 (forward
    mode, vector form).

    Examples
    --------
    >>> import nbopt, numba
    >>> import numpy as np
    >>> @numba.njit
    ... def misfit(x, t, y):
    ...     model = x[0] * np.exp(-x[1] * t)
    ...     return np.sum((model - y) ** 2)
    >>> t = np.array([0.0, 1.0, 2.0])
    >>> f, g = nbopt.value_and_grad(misfit)([2.0, 0.0], t, np.ones(3))
    >>> f, g
    (3.0, array([  6., -12.]))
    """
    return ValueAndGrad(fun, n)


def jacobian(fun: Any, n: int | None = None) -> Jacobian:
    """Return a function that gives the exact Jacobian of ``fun``.

    Parameters
    ----------
    fun : function compiled with numba.njit
        ``fun(x, *args) -> ndarray of shape (m,)`` with x of shape (n,); a tuple or list of m numbers will
        do. As for `value_and_grad`.
    n : int >= 1, optional
        Number of variables, for use in compiled code, as for `value_and_grad`.

    Returns
    -------
    Jacobian
        ``jac = result(x, *args)``, a new float64 array of shape (m, n) with the partial derivative of the
        value i by the variable j at ``jac[i, j]``; from Python and in code compiled with ``numba.njit``.

    Raises
    ------
    TypeError
        If `fun` is not compiled; when called, if it returns anything but a 1-D array of real numbers.
    ValueError
        If `n` is no integer >= 1; when called, if x is not of shape (n,).
    NotDifferentiable
        As for `value_and_grad`.

    Examples
    --------
    >>> import nbopt, numba
    >>> import numpy as np
    >>> @numba.njit
    ... def decay(x, t):
    ...     return x[0] * np.exp(-x[1] * t)
    >>> nbopt.jacobian(decay)([2.0, 0.0], np.array([0.0, 1.0]))
    array([[ 1.,  0.],
           [ 1., -2.]])
    """
    return Jacobian(fun, n)
