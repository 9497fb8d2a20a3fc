"""Values and derivatives of a user's compiled function by duals: the loops that call it.

All of them come in two forms. Where the number n of variables is known and small, one call on variables on
the stack gives everything; else the function is called once for each chunk of variables. n is then None for
any number, or MANY for any number that is not small.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numba import types
from numba.core.imputils import impl_ret_borrowed
from numba.extending import intrinsic, overload

from nbopt.autodiff.dual import (
    PLAIN,
    DualType,
    dual_in,
    empty_duals,
    partial_of,
    put_partials,
    seed,
    value_of,
    variables,
)
from nbopt.autodiff.dual_arrays import array_of
from nbopt.autodiff.emit import Site
from nbopt.autodiff.not_differentiable import explain
from nbopt.autodiff.rebuild import dual_build
from nbopt.autodiff.rows import RowsType, copy_rows
from nbopt.kernels.compile import FLAGS

# Partials that one call carries at most: one or two registers; fewer calls pay where a call takes long.
WIDEST = 16
# The same where x may be short: registers full of zeros take time, too.
MIDDLE = 8
MANY = -1

GRADIENT, JACOBIAN, RESIDUALS = "gradient", "jacobian", "residuals"


def width_for(n: int | None) -> int:
    """Return how many partials the duals have for n variables; a power of two, as registers are."""
    if n is None:
        return MIDDLE
    return 1 << (n - 1).bit_length() if is_single(n) else WIDEST


def is_single(n: int | None) -> bool:
    """Tell whether one call of the function gives all derivatives by n variables."""
    return n is not None and 1 <= n <= WIDEST


def result_type(fun: Any, kinds: tuple[Any, ...], n: int | None, owner: str, what: str = GRADIENT) -> Any:
    """Compile a user's function for duals, unless it is, and return the type of its result.

    Parameters
    ----------
    fun : numba dispatcher
    kinds : tuple of numba types
        The types of its arguments after x.
    n : int or None
        Number of variables; None for any.
    owner : str
        The public function that was called, for the messages.
    what : {"gradient", "jacobian", "residuals"}
        What it is compiled for; residuals are values with their Jacobian.

    Returns
    -------
    numba type

    Raises
    ------
    NotDifferentiable
        If the function can be compiled for floats, but not for duals.
    numba.core.errors.TypingError
        If it cannot be compiled for floats either: the user's own error.
    """
    build = dual_build(fun) if what == GRADIENT else _rows_build(fun, n, what == RESIDUALS)
    x = types.Array(DualType(width_for(n)), 1, "C")
    try:
        return _resolve(build, (x, *kinds))
    except Exception as error:  # whatever a compiler raises; nothing has run
        _resolve(fun, (types.Array(types.float64, 1, "C"), *kinds))
        raise explain(owner, fun, error) from None


def _rows_build(fun: Any, n: int | None, valued: bool) -> Any:
    """Return a function built for duals whose result becomes rows of a Jacobian, and values if wanted."""
    return dual_build(fun, RowsType(n, valued) if n is not None and is_single(n) else None)


def _resolve(dispatcher: Any, kinds: tuple[Any, ...]) -> Any:
    """Compile a dispatcher for types and return the type of its result."""
    signature = dispatcher.typingctx.resolve_function_type(types.Dispatcher(dispatcher), kinds, {})
    if signature is None:
        raise TypeError(f"{dispatcher.__name__} cannot be called with ({', '.join(map(str, kinds))})")
    return types.unliteral(signature.return_type)


def check_result(kind: Any, what: str, owner: str) -> None:
    """Refuse a result of the wrong kind.

    Parameters
    ----------
    kind : numba type
    what : {"gradient", "jacobian"}
    owner : str

    Raises
    ------
    TypeError
        If a function that has a gradient returns anything but a real number, or one that has a Jacobian
        anything but a line of real numbers.
    """
    number = isinstance(kind, (DualType, *PLAIN))
    if what == GRADIENT and not number:
        raise TypeError(f"{owner}: fun returned {_name(kind)}; it must return a real number")
    if what == JACOBIAN and not is_line(kind):
        raise TypeError(f"{owner}: fun returned {_name(kind)}; it must return a 1-D array of real numbers")


def is_line(kind: Any) -> bool:
    """Tell whether a type is a line of real numbers, or `Rows` of them."""
    if isinstance(kind, types.Array):
        return kind.ndim == 1 and isinstance(kind.dtype, (DualType, *PLAIN))
    if isinstance(kind, RowsType):
        return True
    if isinstance(kind, types.BaseTuple):
        return len(kind) > 0 and all(isinstance(item, (DualType, *PLAIN)) for item in kind.types)
    return isinstance(kind, types.List) and isinstance(kind.dtype, (DualType, *PLAIN))


def _name(kind: Any) -> str:
    """Return the name of a result's type in terms of the user's function, which knows no duals."""
    return "None" if isinstance(kind, types.NoneType) else str(kind).replace(str(dual_in(kind)), "float64")


def _array(y):
    """Return a tuple or list of results as an array."""


@overload(_array)
def _array_of(y):
    return (lambda y: np.array(y)) if dual_in(y) is None else (lambda y: array_of(y))


@intrinsic
def _line(typing_context, y):
    """Return the results of a function as an array, or as the `Rows` that they are."""
    if not is_line(y):
        return None
    made = y
    if not isinstance(y, types.Array | RowsType):
        made = typing_context.resolve_function_type(_array, (y,), {}).return_type

    def codegen(context, builder, signature, args):
        if made is y:
            return impl_ret_borrowed(context, builder, y, args[0])
        return Site(context, builder).apply(_array, (y,), args)[1]

    return made(y), codegen


def _put(y, less, r, jac, n):
    """Write the results of a function, less an array or None, to r, their n derivatives each to jac."""


@overload(_put, prefer_literal=True)
def _put_results(y, less, r, jac, n):
    count, exact = n.literal_value, isinstance(less, types.NoneType)

    def rows(y, less, r, jac, n):
        if y.values.size != r.size:
            raise ValueError("fun returned another number of values than before")
        copy_rows(jac, y)
        for k in range(r.size):
            r[k] = y.values[k] if exact else y.values[k] - less[k]

    def duals(y, less, r, jac, n):
        if y.size != r.size:
            raise ValueError("fun returned another number of values than before")
        for k in range(r.size):
            r[k] = value_of(y[k]) if exact else value_of(y[k]) - less[k]
            put_partials(jac, k, y[k], count)

    return rows if isinstance(y, RowsType) else duals


def _matrix(y, n):
    """Return the first n (a constant) partials of duals in an array."""


@overload(_matrix, prefer_literal=True)
def _matrix_of(y, n):
    count = n.literal_value

    def duals(y, n):
        jac = np.empty((y.size, count))
        for k in range(y.size):
            put_partials(jac, k, y[k], count)
        return jac

    return duals


@intrinsic(prefer_literal=True)
def _rows(typing_context, y, n):
    """Return the derivatives of the results of a function by n variables (a constant)."""
    if not isinstance(y, RowsType):
        made = typing_context.resolve_function_type(_matrix, (y, n), {}).return_type
        return made(y, n), lambda context, builder, signature, args: Site(context, builder).apply(
            _matrix, (y, n), args
        )[1]
    made = y.types[0]

    def codegen(context, builder, signature, args):
        return impl_ret_borrowed(context, builder, made, builder.extract_value(args[0], 0))

    return made(y, n), codegen


def gradient_entry(fun: Any, n: Any, load: Any) -> Any:
    """Return the function ``f = entry(x, g, data)`` that writes a gradient to g, for compiling.

    Parameters
    ----------
    fun : numba dispatcher
    n : int or None
        Number of variables; None for any. A known number is faster.
    load : intrinsic or numba dispatcher
        ``load(data)`` returns the tuple of further arguments of `fun`.

    Returns
    -------
    function
        Python's, not compiled yet: so the caller compiles it with flags of its own, and one level of
        calls less. `result_type` and `check_result` tell beforehand whether it can be.
    """
    build, width = dual_build(fun), width_for(n)

    def single(x, g, data):
        y = build(variables(x, n, width), *load(data))
        for i in range(n):
            g[i] = partial_of(y, i)
        return value_of(y)

    def stepwise(x, g, data):
        duals, f = empty_duals(x.size, width), 0.0
        for start in range(0, x.size, width):
            seed(duals, x, start)
            y = build(duals, *load(data))
            f = value_of(y)
            left = x.size - start
            for i in range(left if left < width else width):
                g[start + i] = partial_of(y, i)
        return f

    return single if is_single(n) else stepwise


def misfit_entry(values: Any, n: int, load: Any) -> Any:
    """Return the function ``entry(x, r, jac, data)`` for values minus the second further argument.

    Subtracting where the values are read saves an array of duals.

    Parameters
    ----------
    values : numba dispatcher
        Its result a line of real numbers.
    n : int
        Number of variables, see `is_single`.
    load : intrinsic or numba dispatcher
        ``load(data)`` returns the tuple of further arguments, the second as long as the result.

    Returns
    -------
    function
        As of `jacobian_entry`.
    """
    build, width = _rows_build(values, n, True), width_for(n)

    def entry(x, r, jac, data):
        args = load(data)
        _put(_line(build(variables(x, n, width), *args)), args[1], r, jac, n)

    return entry


def jacobian_entry(fun: Any, n: Any, load: Any) -> Any:
    """Return the function ``entry(x, r, jac, data)`` that writes values and Jacobian, for compiling.

    Parameters
    ----------
    fun : numba dispatcher
    n : int or None
        Number of variables; None for any. A known number is faster.
    load : intrinsic or numba dispatcher
        ``load(data)`` returns the tuple of further arguments of `fun`.

    Returns
    -------
    function
        Writes the values to r of shape (m,) and the derivatives to jac of shape (m, n), both float64.
    """
    build, width = _rows_build(fun, n, True), width_for(n)

    def single(x, r, jac, data):
        _put(_line(build(variables(x, n, width), *load(data))), None, r, jac, n)

    def stepwise(x, r, jac, data):
        duals = empty_duals(x.size, width)
        for start in range(0, x.size, width):
            seed(duals, x, start)
            y = _line(build(duals, *load(data)))
            if y.size != r.size:
                raise ValueError("fun returned another number of values than before")
            left = x.size - start
            for k in range(y.size):
                r[k] = value_of(y[k])
                for i in range(left if left < width else width):
                    jac[k, start + i] = partial_of(y[k], i)

    return single if is_single(n) else stepwise


def value_and_gradient(fun: Any, n: Any) -> Any:
    """Return the compiled ``f, g = evaluate(x, *args)`` of a function, for Python and compiled code.

    Parameters
    ----------
    fun : numba dispatcher
    n : int or None
        Number of variables; None for any.

    Returns
    -------
    numba dispatcher
    """
    build, width = dual_build(fun), width_for(n)

    def single(x, *args):
        if x.size != n:
            raise ValueError("value_and_grad: x has another number of elements than n says")
        y = build(variables(x, n, width), *args)
        g = np.empty(n)
        for i in range(n):
            g[i] = partial_of(y, i)
        return value_of(y), g

    def stepwise(x, *args):
        if n is not None and n >= 0 and x.size != n:
            raise ValueError("value_and_grad: x has another number of elements than n says")
        duals, g, f = empty_duals(x.size, width), np.empty(x.size), 0.0
        for start in range(0, x.size, width):
            seed(duals, x, start)
            y = build(duals, *args)
            f = value_of(y)
            left = x.size - start
            for i in range(left if left < width else width):
                g[start + i] = partial_of(y, i)
        return f, g

    return numba.njit(single if is_single(n) else stepwise, **FLAGS)


def jacobian(fun: Any, n: Any) -> Any:
    """Return the compiled ``jac = evaluate(x, *args)`` of a function, for Python and compiled code.

    Parameters
    ----------
    fun : numba dispatcher
    n : int or None
        Number of variables; None for any.

    Returns
    -------
    numba dispatcher
    """
    build, width = _rows_build(fun, n, False), width_for(n)

    def single(x, *args):
        if x.size != n:
            raise ValueError("jacobian: x has another number of elements than n says")
        return _rows(_line(build(variables(x, n, width), *args)), n)

    def stepwise(x, *args):
        if n is not None and n >= 0 and x.size != n:
            raise ValueError("jacobian: x has another number of elements than n says")
        duals, jac = empty_duals(x.size, width), np.empty((0, 0))
        for start in range(0, x.size, width):
            seed(duals, x, start)
            y = _line(build(duals, *args))
            if start == 0:
                jac = np.empty((y.size, x.size))
            if y.size != jac.shape[0]:
                raise ValueError("jacobian: fun returned another number of values than before")
            left = x.size - start
            for k in range(y.size):
                for i in range(left if left < width else width):
                    jac[k, start + i] = partial_of(y[k], i)
        return jac

    return numba.njit(single if is_single(n) else stepwise, **FLAGS)
