"""LLVM numbers that read as mathematics: formulas for values and derivatives, emitted where they stand.

A formula written with these classes becomes a few instructions inside the function that is compiled;
an overload per operation would be a compiled function each, at 30 ms and more.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from llvmlite import ir
from numba import types

from nbopt.autodiff.dual import DOUBLE, DualType, pack, splat, unpack, zeros

# Sums of products of partials may be rounded once instead of twice; values are those of floats.
FUSED = ("contract",)


class Site:
    """The place in a function that code is emitted at."""

    __slots__ = ("builder", "context")

    def __init__(self, context: Any, builder: Any) -> None:
        self.context, self.builder = context, builder

    def real(self, x: Real | float) -> Real:
        """Return a constant as a number of this place."""
        return x if isinstance(x, Real) else Real(self, ir.Constant(DOUBLE, float(x)))

    def apply(self, function: Any, kinds: tuple[Any, ...], args: Any) -> tuple[Any, Any]:
        """Emit a call of any function that Numba knows on LLVM values; return type and value."""
        context = self.context
        found = context.typing_context.resolve_value_type(function)
        signature = found.get_call_type(context.typing_context, kinds, {})
        *first, last = signature.args
        several = isinstance(last, types.StarArgTuple | types.StarArgUniTuple)  # as max of floats takes
        cast = [
            context.cast(self.builder, a, given, wanted)
            for a, given, wanted in zip(
                args, kinds, [*first, *last] if several else signature.args, strict=True
            )
        ]
        if several:
            cast[len(first) :] = [context.make_tuple(self.builder, last, cast[len(first) :])]
        return signature.return_type, context.get_function(found, signature)(self.builder, cast)

    def call(self, function: Any, *args: Real) -> Real:
        """Emit a call of a function of numbers that returns a float."""
        return Real(self, self.apply(function, tuple(a.kind for a in args), [a.llvm for a in args])[1])

    def compile(self, function: Callable, *args: Real) -> Real:
        """Emit a call of a Python function of floats, compiled for the purpose."""
        signature = types.float64(*(types.float64,) * len(args))
        return Real(
            self, self.context.compile_internal(self.builder, function, signature, [a.llvm for a in args])
        )

    def choose(self, condition: Any, yes: Real | float, no: Real | float) -> Real:
        """Emit a choice between two numbers, both of them computed."""
        return Real(self, self.builder.select(condition, self.real(yes).llvm, self.real(no).llvm))

    def branch(self, condition: Any, yes: Callable[[], Real], no: Callable[[], Real]) -> Real:
        """Emit a choice between two formulas of which only one is computed."""
        builder, ways = self.builder, []
        with builder.if_else(condition) as (then, otherwise):
            for way, formula in ((then, yes), (otherwise, no)):
                with way:
                    ways.append((formula().llvm, builder.block))
        phi = builder.phi(DOUBLE)
        for value, block in ways:
            phi.add_incoming(value, block)
        return Real(self, phi)


class Real:
    """A float that is being computed; as an exponent it may be of an integer kind."""

    __slots__ = ("kind", "llvm", "site")

    def __init__(self, site: Site, llvm: Any, kind: Any = types.float64) -> None:
        self.site, self.llvm, self.kind = site, llvm, kind

    def _new(self, emit: Callable, other: Real | float, swap: bool = False) -> Real:
        """Emit an instruction of two operands."""
        pair = self.llvm, self.site.real(other).llvm
        return Real(self.site, emit(*(pair[::-1] if swap else pair)))

    def __add__(self, other: Real | float) -> Real:
        return self._new(self.site.builder.fadd, other)

    def __sub__(self, other: Real | float) -> Real:
        return self._new(self.site.builder.fsub, other)

    def __mul__(self, other: Real | float) -> Real:
        return self._new(self.site.builder.fmul, other)

    def __truediv__(self, other: Real | float) -> Real:
        return self._new(self.site.builder.fdiv, other)

    __radd__, __rmul__ = __add__, __mul__

    def __rsub__(self, other: float) -> Real:
        return self._new(self.site.builder.fsub, other, swap=True)

    def __rtruediv__(self, other: float) -> Real:
        return self._new(self.site.builder.fdiv, other, swap=True)

    def __neg__(self) -> Real:
        return Real(self.site, self.site.builder.fneg(self.llvm))

    def compare(self, sign: str, other: Real | float) -> Any:
        """Emit a comparison, false if one side is NaN (but for "!=", as for floats)."""
        builder = self.site.builder
        emit = builder.fcmp_unordered if sign == "!=" else builder.fcmp_ordered
        return emit(sign, self.llvm, self.site.real(other).llvm)


class Dual(NamedTuple):
    """A value and its partials while they are computed: an LLVM vector, None for a plain number."""

    value: Real
    partials: Any = None


def load(site: Site, kind: Any, llvm: Any) -> Dual:
    """Return an argument of a rule, a dual or a plain number, as a `Dual`."""
    if isinstance(kind, DualType):
        value, partials = unpack(site.builder, llvm)
        return Dual(Real(site, value), partials)
    return Dual(Real(site, llvm, kind))


def store(site: Site, kind: DualType, y: Dual) -> Any:
    """Return the LLVM value of a dual."""
    return pack(site.builder, y.value.llvm, zeros(kind.k) if y.partials is None else y.partials)


def scaled(factor: Real, partials: Any) -> Any:
    """Emit factor times partials."""
    if partials is None:
        return None
    builder = factor.site.builder
    return builder.fmul(splat(builder, factor.llvm, partials.type.count), partials, flags=FUSED)


def scaled_at_pole(factor: Real, partials: Any) -> Any:
    """Emit factor times partials where the factor may be infinite: a partial of 0 stays 0."""
    product = scaled(factor, partials)
    if product is None:
        return None
    builder, zero = factor.site.builder, zeros(partials.type.count)
    return builder.select(builder.fcmp_unordered("!=", partials, zero), product, zero)


def scaled_in_tail(factor: Real, partials: Any) -> Any:
    """Emit factor times partials where these may be infinite: a factor of 0 gives 0."""
    product = scaled(factor, partials)
    if product is None:
        return None
    return factor.site.builder.select(factor.compare("!=", 0.0), product, zeros(partials.type.count))


def summed(site: Site, a: Any, b: Any) -> Any:
    """Emit the sum of two sets of partials."""
    if a is None or b is None:
        return b if a is None else a
    return site.builder.fadd(a, b, flags=FUSED)


def pick(site: Site, condition: Any, a: Dual, b: Dual) -> Dual:
    """Emit a choice between two operands, at least one of them a dual."""
    k = next(d.partials.type.count for d in (a, b) if d.partials is not None)
    yes, no = (zeros(k) if d.partials is None else d.partials for d in (a, b))
    value = site.choose(condition, a.value, b.value)
    return Dual(value, site.builder.select(condition, yes, no))


def chain(y: Real, *terms: tuple[Callable[[], Real], Dual], scale: Callable = scaled) -> Dual:
    """Emit the chain rule: y with the sum of derivative times partials over the operands that have any."""
    partials = None
    for derivative, operand in terms:
        if operand.partials is not None:
            partials = summed(y.site, partials, scale(derivative(), operand.partials))
    return Dual(y, partials)
