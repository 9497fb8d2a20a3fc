"""NumPy's functions of whole arrays, for arrays of duals: sums, products, norms, arrays made of numbers."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types
from numba.core.imputils import impl_ret_borrowed
from numba.core.typing.templates import AbstractTemplate, AttributeTemplate, make_overload_template
from numba.extending import intrinsic, register_jitable

from nbopt.autodiff.dual import PLAIN, DualType, dual_in, value_of

# Functions with the templates of their implementations for duals.
TEMPLATES: list[tuple[Callable, Any]] = []


def for_duals(*functions: Callable, literal: bool = False) -> Callable:
    """Register an overload that stands before Numba's own; it returns None where it is not for duals.

    With ``literal`` it sees the values of constants among its arguments.
    """

    def register(implementation: Callable) -> Callable:
        options = {"nopython": True, "no_cpython_wrapper": True, "error_model": "numpy"}
        for function in functions:
            template = make_overload_template(function, implementation, options, True, "never", literal)
            TEMPLATES.append((function, template))
        return implementation

    return register


def is_dual_array(a: Any, *ndims: int) -> bool:
    """Tell whether a type is an array of duals."""
    return isinstance(a, types.Array) and isinstance(a.dtype, DualType) and (not ndims or a.ndim in ndims)


def _is_left_out(a: Any) -> bool:
    """Tell whether an optional argument is not given, or None."""
    return a is None or isinstance(a, types.NoneType | types.Omitted)


def _is_array(a: Any) -> bool:
    """Tell whether a type is an array of duals or of plain numbers."""
    return isinstance(a, types.Array) and isinstance(a.dtype, (DualType, *PLAIN))


@for_duals(np.sum)
def _sum(a, axis=None):
    if not is_dual_array(a):
        return None
    dual = a.dtype

    def sum_line(a, axis=None):
        s = 0.0
        for i in range(a.size):
            s += a[i]
        return s

    def sum_all(a, axis=None):
        s = 0.0
        for v in a.flat:
            s += v
        return s

    def sum_along(a, axis=None):
        if not -2 <= axis <= 1:
            raise ValueError("'axis' entry is out of bounds")
        along = axis % 2
        out = np.zeros(a.shape[1 - along], dual)
        for i in range(a.shape[0]):
            for j in range(a.shape[1]):
                out[i if along else j] += a[i, j]
        return out

    if _is_left_out(axis):
        return sum_line if a.ndim == 1 else sum_all
    return sum_along if a.ndim == 2 and isinstance(axis, types.Integer) else None


@for_duals(np.nansum)
def _nansum(a):
    if not is_dual_array(a):
        return None

    def nansum(a):
        s = 0.0
        for v in a.flat:
            if not math.isnan(v):
                s += v
        return s

    return nansum


@for_duals(np.nanmean)
def _nanmean(a):
    return (lambda a: np.nansum(a) / np.sum(~np.isnan(a))) if is_dual_array(a) else None


@for_duals(np.prod)
def _prod(a):
    if not is_dual_array(a):
        return None

    def prod(a):
        p = 1.0
        for v in a.flat:
            p *= v
        return p

    return prod


@for_duals(np.mean)
def _mean(a):
    return (lambda a: np.sum(a) / a.size) if is_dual_array(a) else None


@for_duals(np.var)
def _var(a):
    if not is_dual_array(a):
        return None

    def var(a):
        mean, s = np.mean(a), 0.0
        for v in a.flat:
            s += (v - mean) * (v - mean)
        return s / a.size

    return var


@for_duals(np.std)
def _std(a):
    return (lambda a: np.sqrt(np.var(a))) if is_dual_array(a) else None


@for_duals(np.cumsum)
def _cumsum(a):
    if not is_dual_array(a):
        return None

    def cumsum(a):
        out, s, i = np.empty(a.size, a.dtype), 0.0, 0
        for v in a.flat:
            s += v
            out[i] = s
            i += 1  # noqa: SIM113
        return out

    return cumsum


@for_duals(np.linalg.norm)
def _norm(a, ord=None):
    if not is_dual_array(a, 1, 2) or not _is_left_out(ord):
        return None

    def norm(a, ord=None):
        s = 0.0
        for v in a.flat:
            s += v * v
        return math.sqrt(s)

    return norm


@for_duals(np.trace)
def _trace(a):
    if not is_dual_array(a, 2):
        return None

    def trace(a):
        s = 0.0
        for i in range(min(a.shape)):
            s += a[i, i]
        return s

    return trace


@register_jitable
def _inner(a, b):
    """Return the sum of products of two lines."""
    if a.size != b.size:
        raise ValueError("incompatible array sizes for a product")
    s = 0.0
    for i in range(a.size):
        s += a[i] * b[i]
    return s


@for_duals(np.dot, operator.matmul)
def _product(a, b):
    if not (_is_array(a) and _is_array(b) and (is_dual_array(a) or is_dual_array(b))):
        return None
    dual: Any = dual_in(a) or dual_in(b)

    def line_line(a, b):
        return _inner(a, b)

    def matrix_line(a, b):
        out = np.empty(a.shape[0], dual)
        for i in range(a.shape[0]):
            out[i] = _inner(a[i], b)
        return out

    def line_matrix(a, b):
        out = np.empty(b.shape[1], dual)
        for j in range(b.shape[1]):
            out[j] = _inner(a, b[:, j])
        return out

    def matrix_matrix(a, b):
        out = np.empty((a.shape[0], b.shape[1]), dual)
        for i in range(a.shape[0]):
            for j in range(b.shape[1]):
                out[i, j] = _inner(a[i], b[:, j])
        return out

    ways = {(1, 1): line_line, (2, 1): matrix_line, (1, 2): line_matrix, (2, 2): matrix_matrix}
    return ways.get((a.ndim, b.ndim))


@for_duals(np.vdot)
def _vdot(a, b):
    if not (_is_array(a) and _is_array(b) and (is_dual_array(a) or is_dual_array(b))):
        return None
    return lambda a, b: _inner(a.ravel(), b.ravel())


def _shape_of(items: Any) -> Any:
    """Return the lengths of nested tuples of numbers (-1 for a list), None for anything else."""
    if isinstance(items, (DualType, *PLAIN)):
        return ()
    if isinstance(items, types.List):
        inner = _shape_of(items.dtype)
        return None if inner is None else (-1, *inner)
    if not isinstance(items, types.BaseTuple) or not len(items):
        return None
    shapes = {_shape_of(item) for item in items.types}
    inner = shapes.pop()
    return None if shapes or inner is None else (len(items), *inner)


@intrinsic
def _alike(typing_context, items):
    """Turn tuples of duals and plain numbers into tuples of duals; a list stays as it is."""
    kind = items
    if not isinstance(items, types.List):
        kind = dual_in(items)
        for length in reversed(_shape_of(items)):
            kind = types.UniTuple(kind, length)

    def codegen(context, builder, signature, args):
        return impl_ret_borrowed(context, builder, kind, context.cast(builder, args[0], items, kind))

    return kind(items), codegen


def _is_float_dtype(dtype: Any) -> bool:
    """Tell whether a dtype argument is absent or float64."""
    return _is_left_out(dtype) or (isinstance(dtype, types.DTypeSpec) and dtype.dtype == types.float64)


def array_of(a, dtype=None):
    """Stand for np.array, which Numba rewrites by name, in functions built for duals."""


@for_duals(array_of, np.asarray)
def _array(a, dtype=None):
    shape: Any = _shape_of(a)
    dual: Any = dual_in(a)
    if is_dual_array(a) and _is_float_dtype(dtype):
        return lambda a, dtype=None: a.copy()
    if not shape or dual is None or not _is_float_dtype(dtype):
        return None

    def line(a, dtype=None):
        row = _alike(a)
        out = np.empty(len(row), dual)
        for i in range(len(row)):
            out[i] = row[i]
        return out

    def matrix(a, dtype=None):
        rows = _alike(a)
        out = np.empty((len(rows), len(rows[0])), dual)
        for i in range(len(rows)):
            for j in range(len(rows[0])):
                out[i, j] = rows[i][j]
        return out

    return {1: line, 2: matrix}.get(len(shape))


@for_duals(np.searchsorted)
def _searchsorted(a, v):
    if isinstance(v, DualType) and isinstance(a, types.Array) and isinstance(a.dtype, PLAIN):
        return lambda a, v: np.searchsorted(a, value_of(v))
    return None


@register_jitable
def _between(x, xp, fp):
    """Return the value at x of the broken line through the points (xp, fp)."""
    v = value_of(x)
    if not v > xp[0]:
        return x if v != v else fp[0] + 0.0 * x
    last = xp.size - 1
    if v >= xp[last]:
        return fp[last] + 0.0 * x
    j = np.searchsorted(xp, v, side="right") - 1
    return fp[j] + (fp[j + 1] - fp[j]) / (xp[j + 1] - xp[j]) * (x - xp[j])


@for_duals(np.linspace)
def _linspace(start, stop, num=50):
    ends = isinstance(start, (DualType, *PLAIN)) and isinstance(stop, (DualType, *PLAIN))
    dual: Any = dual_in(start) or dual_in(stop)
    if not ends or dual is None:
        return None

    def linspace(start, stop, num=50):
        out = np.empty(num, dual)
        for i in range(num):
            out[i] = start + (stop - start) * (i / max(num - 1, 1))
        return out

    return linspace


@for_duals(np.convolve, literal=True)
def _convolve(a, v, mode="full"):
    if not (_is_array(a) and _is_array(v) and a.ndim == v.ndim == 1 and (dual_in(a) or dual_in(v))):
        return None
    dual: Any = dual_in(a) or dual_in(v)

    def full(a, v, mode="full"):
        if a.size == 0 or v.size == 0:
            raise ValueError("np.convolve: an array is empty")
        out = np.zeros(a.size + v.size - 1, dual)
        for i in range(a.size):
            for j in range(v.size):
                out[i + j] += a[i] * v[j]
        return out

    def same(a, v, mode="full"):
        first = (min(a.size, v.size) - 1) // 2
        return np.convolve(a, v)[first : first + max(a.size, v.size)]

    def valid(a, v, mode="full"):
        return np.convolve(a, v)[min(a.size, v.size) - 1 : max(a.size, v.size)]

    literal: Any = getattr(mode, "literal_value", getattr(mode, "value", mode))  # given, left out, or our own
    return {"full": full, "same": same, "valid": valid}.get(literal)


@for_duals(np.interp)
def _interp(x, xp, fp):
    plain = isinstance(xp, types.Array) and isinstance(xp.dtype, PLAIN) and xp.ndim == 1
    if not plain or not _is_array(fp) or fp.ndim != 1:
        return None
    if isinstance(x, DualType):
        return lambda x, xp, fp: _between(x, xp, fp)
    if not _is_array(x) or not (is_dual_array(x) or is_dual_array(fp)):
        return None
    dual: Any = dual_in(x) or dual_in(fp)

    def interp(x, xp, fp):
        out = np.empty(x.shape, dual)
        flat = out.ravel()
        i = 0
        for v in x.flat:
            flat[i] = _between(v, xp, fp)
            i += 1  # noqa: SIM113
        return out

    return interp


@for_duals(np.trapezoid)
def _trapezoid(y, x=None, dx=1.0):
    none = _is_left_out(x)
    if not (is_dual_array(y, 1) or (_is_array(y) and y.ndim == 1 and not none and is_dual_array(x, 1))):
        return None

    def even(y, x=None, dx=1.0):
        s = 0.0
        for i in range(y.size - 1):
            s += (y[i] + y[i + 1]) * 0.5
        return s * dx

    def uneven(y, x=None, dx=1.0):
        s = 0.0
        for i in range(y.size - 1):
            s += (x[i + 1] - x[i]) * (y[i] + y[i + 1]) * 0.5
        return s

    return even if none else uneven


class _Method(AbstractTemplate):
    """A method of arrays of duals that is a function of NumPy."""

    function: Callable

    def generic(self, args: tuple[Any, ...], kws: dict[str, Any]) -> Any:
        """Return the function's signature as the method's."""
        own = next(template for function, template in TEMPLATES if function is self.function)
        found = own(self.context).apply((self.this, *args), kws)
        return found and found.as_method()


_METHODS: dict[str, Callable] = {
    f.__name__: f for f in (np.sum, np.prod, np.mean, np.var, np.std, np.cumsum, np.dot, np.trace)
}
_METHODS["astype"] = array_of
_BY_NAME: dict[str, Any] = {
    name: type(f"Dual_{name}", (_Method,), {"key": ("nbopt", name), "function": staticmethod(function)})
    for name, function in _METHODS.items()
}
METHODS = tuple(_BY_NAME.values())


class ArrayMethods(AttributeTemplate):
    """The methods of arrays of duals that go before Numba's own."""

    key = types.Array

    def generic_resolve(self, array: Any, name: str) -> Any:
        """Return the type of a method, None for Numba's own."""
        method = _BY_NAME.get(name) if is_dual_array(array) else None
        return method and types.BoundFunction(method, array)


def lower_method(method: Any, context: Any, builder: Any, sig: Any, args: Any) -> Any:
    """Emit the call of the function behind a method."""
    found = context.typing_context.resolve_value_type(method.function)
    signature = found.get_call_type(context.typing_context, sig.args, {})
    return context.get_function(found, signature)(builder, args)
