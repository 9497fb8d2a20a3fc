"""A user's compiled function behind one fixed signature: an address to call, a pointer to its arguments.

A solver that took the function itself as an argument would be compiled anew for each function, and
never come from the disk cache. So each function gets a thin entry of a signature known beforehand,
and reads its ``args`` from a block of words that the caller owns: arrays by address, scalars by value.
"""

from __future__ import annotations

import inspect
import struct
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numba import types
from numba.core.errors import NumbaError
from numba.extending import intrinsic

from nbopt.kernels.address import call_native
from nbopt.kernels.compile import FLAGS, address_of, is_compiled
from nbopt.kernels.headers import address

_LINE = types.Array(types.float64, 1, "C")
_COMPLEX_LINE = types.Array(types.complex128, 1, "C")

# What an entry computes.
GRADIENT = "gradient"  # f = entry(x, g, data): writes g; fun returns (f, g)
PAIR = "pair"  # the same, of two functions
EXACT = "exact"  # the same, made by the caller
VALUE = "value"  # f = entry(x, data)
COMPLEX = "complex"  # the same, of complex x

_SIGNATURES = {
    GRADIENT: types.float64(_LINE, _LINE, types.intp),
    PAIR: types.float64(_LINE, _LINE, types.intp),
    EXACT: types.float64(_LINE, _LINE, types.intp),
    VALUE: types.float64(_LINE, types.intp),
    COMPLEX: types.complex128(_COMPLEX_LINE, types.intp),
}

_STRUCT_CODES = {np.dtype(c): c for c in "bBhHiIqQfd?"}
_INTEGER = np.dtype(np.int64)
NO_WORDS = np.empty(0, _INTEGER)


@intrinsic
def call_entry(typing_context, address, x, g, data):
    """Call ``f = entry(x, g, data)`` at a machine address; what it raises propagates."""
    kinds = (x, g, types.intp)

    def codegen(context, builder, signature, args):
        return call_native(context, builder, types.float64, kinds, args[0], args[1:])

    return types.float64(types.intp, *kinds), codegen


@intrinsic
def call_value(typing_context, address, x, data):
    """Call ``f = entry(x, data)`` at a machine address; f is of the kind of x's elements."""
    kinds = (x, types.intp)

    def codegen(context, builder, signature, args):
        return call_native(context, builder, x.dtype, kinds, args[0], args[1:])

    return x.dtype(types.intp, *kinds), codegen


@intrinsic
def call_advance(typing_context, address, f, work, counts):
    """Call an engine's ``task = advance(f, work, counts)`` at a machine address."""
    kinds = (types.float64, work, counts)

    def codegen(context, builder, signature, args):
        return call_native(context, builder, types.int64, kinds, args[0], args[1:])

    return types.int64(types.intp, *kinds), codegen


class NotNative(TypeError):
    """An argument that has no native form here; the function can still be called through Python."""


class _Layout:
    """How the values of some types lie in words: a struct format, and code that reads them back."""

    def __init__(self, kinds: tuple[Any, ...]) -> None:
        self.kinds = kinds
        self.codes: list[str] = []
        self.size = 0
        self._places = [self._place(t) for t in kinds]
        self.pack: Any = struct.Struct("=" + "".join(self.codes)).pack_into
        self.simple = all(isinstance(t, types.Float | types.Integer | types.Boolean) for t in kinds)

    def _words(self, count: int) -> int:
        """Reserve integer words and return the byte where they start."""
        start = self.size
        self.codes.append(f"{count}q")
        self.size += 8 * count
        return start

    def _place(self, t: Any) -> Any:
        """Reserve room for a value of this type; return where it starts (a list for a tuple)."""
        if isinstance(t, types.BaseTuple):
            return [self._place(item) for item in t.types]
        if isinstance(t, types.NoneType | types.Dispatcher):
            return None
        if isinstance(t, types.Array):
            return self._words(1 + 2 * t.ndim)
        start = self.size
        if t == types.complex128:
            self.codes.append("dd")
            self.size += 16
            return start
        if not isinstance(t, types.Float | types.Integer | types.Boolean):
            raise NotNative(f"{t} has no native form")
        code = _STRUCT_CODES[numba.np.numpy_support.as_dtype(t)]
        self.codes.append(f"{code}{8 - struct.calcsize('=' + code)}x")
        self.size += 8
        return start

    def words(self, args: tuple[Any, ...]) -> np.ndarray:
        """Pack values of these types; arrays are not copied, so the caller keeps them alive."""
        words = np.empty(self.size >> 3, _INTEGER)
        if self.simple:
            self.pack(words, 0, *args)
        else:
            flat: list[Any] = []
            for a in args:
                if type(a) is np.ndarray:  # the faster way
                    flat += address(a), *a.shape, *a.strides
                else:
                    _flatten(a, flat)
            self.pack(words, 0, *flat)
        return words

    def load(self) -> Any:
        """Make the intrinsic that reads the tuple of values at an address."""
        kind = types.Tuple(self.kinds)  # a UniTuple where all are alike

        @intrinsic
        def load(typing_context, data):
            def codegen(context, builder, signature, args):
                items = [
                    _read(context, builder, args[0], t, place)
                    for t, place in zip(self.kinds, self._places, strict=True)
                ]
                return context.make_tuple(builder, kind, items)

            return kind(types.intp), codegen

        return load


def _flatten(a: Any, flat: list[Any]) -> None:
    """Append the numbers that stand for a value."""
    if isinstance(a, np.ndarray):
        flat += address(a), *a.shape, *a.strides
    elif isinstance(a, tuple):
        for item in a:
            _flatten(item, flat)
    elif isinstance(a, complex):  # np.complex128 too
        flat += a.real, a.imag
    elif a is not None and not is_compiled(a):
        flat.append(a)


def _read(context: Any, builder: Any, data: Any, t: Any, place: Any) -> Any:
    """Emit code that reads a value of type ``t``; arrays are borrowed, nothing is counted."""
    if isinstance(t, types.BaseTuple):
        items = [_read(context, builder, data, k, p) for k, p in zip(t.types, place, strict=True)]
        return context.make_tuple(builder, t, items)
    if place is None:
        return context.get_dummy_value()

    def at(offset: int, kind: Any) -> Any:
        address = builder.add(data, context.get_constant(types.intp, place + offset))
        return builder.inttoptr(address, context.get_data_type(kind).as_pointer())

    if not isinstance(t, types.Array):
        return context.unpack_value(builder, t, at(0, t))
    from numba.np.arrayobj import populate_array  # 60 ms at import, and the first compile loads it anyway

    words = [builder.load(at(8 * k, types.intp)) for k in range(1 + 2 * t.ndim)]
    array = context.make_array(t)(context, builder)
    populate_array(
        array,
        data=builder.inttoptr(words[0], array.data.type),
        shape=words[1 : 1 + t.ndim],
        strides=words[1 + t.ndim :],
        itemsize=context.get_constant(types.intp, context.get_abi_sizeof(context.get_data_type(t.dtype))),
        meminfo=None,
    )
    return array._getvalue()


class Entry:
    """A compiled entry: its address, the layout of its arguments, and what keeps its code alive.

    Not the dispatcher: Numba would then hold the user's function for ever. ``pace`` is for its callers:
    how many calls the last solve made in one go.
    """

    __slots__ = ("_alive", "address", "layout", "pace")

    def __init__(self, dispatcher: Any, signature: Any, layout: _Layout) -> None:
        self.layout, self.pace = layout, 1
        self.address = address_of(dispatcher, signature)
        result = dispatcher.overloads[signature.args]
        self._alive = result.library, result.environment

    def words(self, args: tuple[Any, ...]) -> np.ndarray:
        """Pack the arguments of one solve."""
        return self.layout.words(args) if args else NO_WORDS


def _gradient_entry(fun: Any, jac: Any, load: Any) -> Callable:
    """Return the entry of a function that returns value and gradient."""

    def entry(x, g, data):
        f, grad = fun(x, *load(data))
        if len(grad) != g.size:
            raise ValueError("minimize: the gradient that fun returned has not as many elements as x")
        for i in range(g.size):  # g[:] = grad would take 3 s to compile
            g[i] = grad[i]
        return f

    return entry


def _pair_entry(fun: Any, jac: Any, load: Any) -> Callable:
    """Return the entry of a function and its gradient; either may write to the x that it gets."""

    def entry(x, g, data):
        for i in range(g.size):
            g[i] = x[i]
        f = fun(g, *load(data))
        grad = jac(x, *load(data))
        if len(grad) != g.size:
            raise ValueError("minimize: the gradient that jac returned has not as many elements as x")
        for i in range(g.size):
            g[i] = grad[i]
        return f

    return entry


def _value_entry(fun: Any, jac: Any, load: Any) -> Callable:
    """Return the entry of a function that returns a value."""

    def entry(x, data):
        return fun(x, *load(data))

    return entry


_WRITERS = {GRADIENT: _gradient_entry, PAIR: _pair_entry, VALUE: _value_entry, COMPLEX: _value_entry}


def _result_of(fun: Any, kinds: tuple[Any, ...]) -> Any:
    """Compile the user's function for these types, unless it is, and return the type of its result."""
    signature = fun.typingctx.resolve_function_type(types.Dispatcher(fun), kinds, {})
    if signature is None:
        raise TypeError(f"{fun.__name__} cannot be called with ({', '.join(map(str, kinds))})")
    return types.unliteral(signature.return_type)


def _check_value(t: Any, owner: str, allow_complex: bool) -> None:
    """Refuse a result that is no real number."""
    if isinstance(t, types.Array) and not isinstance(t.dtype, types.Complex):
        raise NotNative("an array of one element")
    numbers = (types.Float, types.Integer, types.Boolean) + ((types.Complex,) if allow_complex else ())
    if not isinstance(t, numbers):
        what = "None" if isinstance(t, types.NoneType) else str(t)
        hint = " (with the gradient beside it: jac=True)" if isinstance(t, types.BaseTuple) else ""
        raise TypeError(f"minimize: {owner} returned {what}; it must return a real number{hint}")


def _check_gradient(t: Any, owner: str) -> None:
    """Refuse a result that is no vector of real numbers."""
    real = isinstance(getattr(t, "dtype", None), types.Float | types.Integer | types.Boolean)
    line = isinstance(t, types.UniTuple | types.List) or (isinstance(t, types.Array) and t.ndim == 1)
    if not (real and line):
        what = "None" if isinstance(t, types.NoneType) else str(t)
        raise TypeError(f"minimize: {owner} gave {what} for the gradient; it must be a 1-D array of floats")


def _check_count(fun: Any, args: tuple[Any, ...]) -> None:
    """Say which arguments are missing, or too many, in fewer words than Numba does."""
    known = list(inspect.signature(fun.py_func).parameters.values())
    if any(p.kind == p.VAR_POSITIONAL for p in known):
        return
    names, least = [p.name for p in known], sum(p.default is p.empty for p in known)
    if not least <= 1 + len(args) <= len(names):
        takes = ", ".join(names[1:]) or "nothing"
        hint = "; args must be a tuple, not a list" if len(args) == 1 and isinstance(args[0], list) else ""
        raise TypeError(f"minimize: {fun.__name__} takes {takes} after x; args has {len(args)} of that{hint}")


def _check_results(fun: Any, jac: Any, what: str, kinds: tuple[Any, ...]) -> None:
    """Compile fun and jac and refuse results of the wrong kind."""
    x = _COMPLEX_LINE if what == COMPLEX else _LINE
    result = _result_of(fun, (x, *kinds))
    if what == GRADIENT:
        if not isinstance(result, types.BaseTuple) or len(result) != 2:
            raise TypeError(f"minimize: with jac=True fun must return (value, gradient), not {result}")
        _check_value(result[0], "fun", False)
        _check_gradient(result[1], "fun")
    else:
        _check_value(result, "fun", what == COMPLEX)
    if what == PAIR:
        _check_gradient(_result_of(jac, (x, *kinds)), "jac")


def _build(fun: Any, jac: Any, what: str, args: tuple[Any, ...], make: Callable | None) -> Entry:
    """Compile the entry of ``fun`` for arguments of these types."""
    _check_count(fun, args)
    try:
        kinds = tuple(numba.typeof(a) for a in args)
    except (ValueError, NumbaError) as error:
        raise NotNative(str(error)) from None
    layout = _Layout(kinds)
    if make is None:
        _check_results(fun, jac, what, kinds)
        entry = _WRITERS[what](fun, jac, layout.load())
    else:
        entry = make(fun, kinds, layout.load())
    # Nobody calls the entry from Python or C: leaving these wrappers out halves the compile time.
    dispatcher = numba.njit(entry, no_cpython_wrapper=True, no_cfunc_wrapper=True, **FLAGS)
    return Entry(dispatcher, _SIGNATURES[what], layout)


def key_of(a: Any) -> Any:
    """Return what decides the type of an argument, at a tenth of the cost of numba.typeof."""
    t = type(a)
    if t is np.ndarray:
        return a.dtype, a.ndim, a.flags.num
    if isinstance(a, tuple):
        return t, *map(key_of, a)
    if t is int:
        return t, -(2**63) <= a < 2**63
    if isinstance(a, np.generic):
        return a.dtype
    if is_compiled(a):
        return a
    return t


def entry_for(
    fun: Any,
    args: tuple[Any, ...],
    what: str,
    jac: Any = None,
    make: Callable | None = None,
    variant: Any = None,
) -> Entry:
    """Return the entry of a compiled function for arguments like these; compile it if it is new.

    The entries are kept on the dispatcher itself and live as long as it does.

    Parameters
    ----------
    fun : numba dispatcher
    args : tuple
        Its further arguments.
    what : str
        One of the kinds above.
    jac : numba dispatcher, optional
        The gradient, for PAIR.
    make : callable, optional
        ``make(fun, kinds, load)`` returns the Python function of an EXACT entry, ``kinds`` being the types
        of the further arguments.
    variant : hashable, optional
        Tells apart what ``make`` makes.

    Returns
    -------
    Entry

    Raises
    ------
    NotNative
        If an argument, or a result that is legal, has no native form: call ``fun`` through Python.
    TypeError
        If ``fun`` or ``jac`` returns something of the wrong kind.
    numba.core.errors.TypingError
        From the user's function, as if called from Python.
    """
    key = (what, jac, variant, *map(key_of, args)) if args else (what, jac, variant)
    entries = fun.__dict__.setdefault("_nbopt_entries", {})
    entry = entries.get(key)
    if entry is None:
        entry = entries[key] = _build(fun, jac, what, args, make)
    return entry


def advance_address(advance: Any) -> int:
    """Compile an engine's ``advance(f, work, counts)`` (or load it) and return its address.

    0 under NUMBA_DISABLE_JIT, where it has none.
    """
    if not is_compiled(advance):
        return 0
    return address_of(advance, types.int64(types.float64, _LINE, types.Array(types.int64, 1, "C")))
