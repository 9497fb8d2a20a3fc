"""How duals are calculated with: the rules of arithmetic, of choices and of conversions.

A rule emits one function for duals; `nbopt.autodiff.dual_math` makes Numba know them. Where a function
has a kink the slope is that of the operand it takes, and of the first where they are equal; the slope
of the absolute value at 0 is 0. Functions with steps have the slope 0.
"""

from __future__ import annotations

import builtins
import math
import operator
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial, reduce
from typing import Any

import numpy as np
from numba import types

from nbopt.autodiff.derivatives import SMOOTH, Smooth, exp, sign
from nbopt.autodiff.emit import (
    FUSED,
    Dual,
    Real,
    Site,
    chain,
    pick,
    scaled,
    scaled_at_pole,
    scaled_in_tail,
    summed,
)

# Exponents up to here, known when compiling, are unrolled.
_UNROLLED = 64


@dataclass(frozen=True, eq=False)
class Rule:
    """A function of duals, known to users by one or more names.

    Parameters
    ----------
    functions : tuple of callables
        What users call: of math, of numpy, of operator.
    emit : callable
        ``emit(site, *operands)``, operands and result `Dual`; the LLVM value where the result is no dual.
    arity : int
        Number of operands; 0: two or more.
    result : numba type, optional
        What the function returns; None: a dual.
    operands : tuple of str, optional
        For each operand "float" (the default), "exponent" (an integer stays one) or "truth".
    elementwise : bool, optional
        Whether the function takes arrays.
    """

    functions: tuple[Callable, ...]
    emit: Callable[..., Any]
    arity: int = 1
    result: Any = None
    operands: tuple[str, ...] = ()
    elementwise: bool = True


def _smooth(entry: Smooth) -> Rule:
    """Return the rule of a function in the table."""

    def emit(site: Site, a: Dual) -> Dual:
        y = site.call(entry.functions[0], a.value)
        return chain(y, (lambda: entry.derivative(a.value, y), a), scale=entry.scale)

    return Rule(entry.functions, emit)


def _steps(*functions: Callable) -> Rule:
    """Return the rule of a function that is constant between its steps."""
    return Rule(functions, lambda site, a: Dual(site.call(functions[0], a.value)))


def _whole(function: Callable) -> Rule:
    """Return the rule of a function to the integers."""

    def emit(site: Site, a: Dual) -> Any:
        kind, value = site.apply(function, (types.float64,), (a.value.llvm,))
        return site.context.cast(site.builder, value, kind, types.int64)

    return Rule((function,), emit, result=types.int64, elementwise=False)


def _property(*functions: Callable) -> Rule:
    """Return the rule of a function that tells something about a value."""

    def emit(site: Site, a: Dual) -> Any:
        return site.apply(functions[0], (types.float64,), (a.value.llvm,))[1]

    return Rule(functions, emit, result=types.boolean)


def _comparison(compare: str, *functions: Callable) -> Rule:
    """Return the rule of a comparison: by value, as for floats."""
    return Rule(functions, lambda site, a, b: a.value.compare(compare, b.value), 2, types.boolean)


def _add(site: Site, a: Dual, b: Dual) -> Dual:
    """Emit a + b."""
    return Dual(a.value + b.value, summed(site, a.partials, b.partials))


def _subtract(site: Site, a: Dual, b: Dual) -> Dual:
    """Emit a - b."""
    y = a.value - b.value
    if a.partials is None:
        return Dual(y, site.builder.fneg(b.partials))
    return Dual(
        y, a.partials if b.partials is None else site.builder.fsub(a.partials, b.partials, flags=FUSED)
    )


def _multiply(site: Site, a: Dual, b: Dual) -> Dual:
    """Emit a * b."""
    return Dual(a.value * b.value, summed(site, scaled(b.value, a.partials), scaled(a.value, b.partials)))


def _divide(site: Site, a: Dual, b: Dual) -> Dual:
    """Emit a / b; where the quotient is 0, b does not matter, be its partials infinite."""
    y = site.call(operator.truediv, a.value, b.value)  # raises where the user's division does
    inverse = 1.0 / b.value
    return Dual(y, summed(site, scaled(inverse, a.partials), scaled_in_tail(-(y * inverse), b.partials)))


def _rest(function: Callable, site: Site, a: Dual, b: Dual) -> Dual:
    """Emit the rest of a division, a - n b with an integer n."""
    y = site.call(function, a.value, b.value)
    return chain(
        y,
        (lambda: site.real(1.0), a),
        (lambda: -site.call(np.rint, (a.value - y) / b.value), b),
    )


def _unrolled(a: Real, n: int) -> Real:
    """Emit a to an integer power by squarings, in the order that Numba takes for floats."""
    y, square, left = None, a, abs(n)
    while left:
        if left & 1:
            y = square if y is None else y * square
        left >>= 1
        square = square * square if left else square
    y = a.site.real(1.0) if y is None else y
    return 1.0 / y if n < 0 else y


def _integer_power(site: Site, a: Dual, n: Real) -> Dual:
    """Emit a to an integer power."""
    if isinstance(n.kind, types.IntegerLiteral) and abs(n.kind.literal_value) <= _UNROLLED:
        m = n.kind.literal_value
        return chain(
            _unrolled(a.value, m), (lambda: m * _unrolled(a.value, m - 1) if m else site.real(0.0), a)
        )
    kind = types.unliteral(n.kind)
    whole = Real(site, site.context.cast(site.builder, n.llvm, n.kind, types.int64), types.int64)
    real = Real(site, site.context.cast(site.builder, n.llvm, n.kind, types.float64))
    less = Real(site, site.builder.sub(whole.llvm, whole.llvm.type(1)), types.int64)
    y = site.call(operator.pow, a.value, Real(site, n.llvm, kind))

    def slope() -> Real:
        """Return n a^(n-1); for n = 0 that power may be an error."""
        rest = lambda: real * site.call(operator.pow, a.value, less)  # noqa: E731
        return site.branch(real.compare("==", 0.0), lambda: site.real(0.0), rest)

    return chain(y, (slope, a))


def _power(site: Site, a: Dual, b: Dual) -> Dual:
    """Emit a to the power b; x^0 has the slope 0 everywhere, 0^b with b > 0 that of its limit in b."""
    if isinstance(b.value.kind, types.Integer):
        return _integer_power(site, a, b.value)
    y = site.call(operator.pow, a.value, b.value)

    def base() -> Real:
        size = site.call(math.fabs, y)
        usual = site.builder.and_(size.compare("!=", 0.0), size.compare("<", math.inf))
        usual = site.builder.and_(usual, a.value.compare("!=", 0.0))
        zero = b.value.compare("==", 0.0)
        return site.branch(
            usual,
            lambda: b.value * y / a.value,  # saves a second power
            lambda: site.choose(zero, 0.0, b.value * site.call(operator.pow, a.value, b.value - 1.0)),
        )

    def exponent() -> Real:
        return site.choose(y.compare("==", 0.0), 0.0, y * site.call(math.log, a.value))

    return chain(y, (base, a), (exponent, b), scale=scaled_at_pole)


def _hypot(site: Site, a: Dual, b: Dual) -> Dual:
    """Emit the length of (a, b), with the slope 0 where it is 0."""
    y = site.call(math.hypot, a.value, b.value)
    length = site.choose(y.compare("==", 0.0), 1.0, y)
    return chain(y, (lambda: a.value / length, a), (lambda: b.value / length, b))


def _angle(site: Site, a: Dual, b: Dual) -> Dual:
    """Emit the angle of the point (b, a)."""
    y = site.call(math.atan2, a.value, b.value)
    square = a.value * a.value + b.value * b.value
    return chain(y, (lambda: b.value / square, a), (lambda: -(a.value / square), b))


def _log_sum(function: Callable, site: Site, a: Dual, b: Dual) -> Dual:
    """Emit the logarithm of a sum of exponentials; the slopes are the operands' shares."""
    y = site.call(function, a.value, b.value)
    share = exp if function is np.logaddexp else partial(site.call, np.exp2)
    return chain(y, (lambda: share(a.value - y), a), (lambda: share(b.value - y), b), scale=scaled_in_tail)


def _copy_sign(site: Site, a: Dual, b: Dual) -> Dual:
    """Emit the size of a with the sign of b."""
    y = site.call(math.copysign, a.value, b.value)
    return chain(y, (lambda: sign(a.value) * site.call(math.copysign, site.real(1.0), b.value), a))


def _choice(compare: str, first_nan: bool, second_nan: bool) -> Callable[..., Dual]:
    """Make the rule of a maximum or minimum: a if ``a compare b`` or where one of them is NaN, as told."""

    def emit(site: Site, a: Dual, b: Dual) -> Dual:
        first = a.value.compare(compare, b.value)
        for wanted, operand in ((first_nan, a), (second_nan, b)):
            if wanted:
                first = site.builder.or_(first, operand.value.compare("!=", operand.value))
        return pick(site, first, a, b)

    return emit


def _best(compare: str) -> Callable[..., Dual]:
    """Make the rule of the built-in max or min: a later operand is taken only where it is better."""

    def better(site: Site, best: Dual, a: Dual) -> Dual:
        if best.partials is None and a.partials is None:
            return Dual(site.choose(a.value.compare(compare, best.value), a.value, best.value))
        return pick(site, a.value.compare(compare, best.value), a, best)

    return lambda site, *operands: reduce(partial(better, site), operands)


def _clip(site: Site, a: Dual, low: Dual, high: Dual) -> Dual:
    """Emit a within bounds."""
    if a.partials is None and low.partials is None:
        inner = Dual(site.call(np.maximum, a.value, low.value))
    else:
        inner = _choice(">=", True, False)(site, a, low)
    return _choice("<=", True, False)(site, inner, high)


def _where(site: Site, condition: Dual, a: Dual, b: Dual) -> Dual:
    """Emit a where the condition holds, else b."""
    return pick(site, condition.value.llvm, a, b)


def _truth(site: Site, a: Dual) -> Any:
    """Emit whether a is not 0."""
    return a.value.compare("!=", 0.0)


RULES = (
    *map(_smooth, SMOOTH),
    Rule((operator.add, np.add), _add, 2),
    Rule((operator.sub, np.subtract), _subtract, 2),
    Rule((operator.mul, np.multiply), _multiply, 2),
    Rule((operator.truediv, np.true_divide), _divide, 2),
    Rule((operator.neg, np.negative), lambda site, a: Dual(-a.value, site.builder.fneg(a.partials))),
    Rule((operator.pos, np.positive), lambda site, a: a),
    Rule(
        (operator.pow, builtins.pow, math.pow, np.power),
        _power,
        2,
        operands=("float", "exponent"),
    ),
    Rule((operator.mod, np.remainder), partial(_rest, operator.mod), 2),
    Rule((np.fmod,), partial(_rest, np.fmod), 2),
    Rule(
        (operator.floordiv, np.floor_divide),
        lambda site, a, b: Dual(site.call(operator.floordiv, a.value, b.value)),
        2,
    ),
    Rule((math.hypot, np.hypot), _hypot, 2),
    Rule((math.atan2, np.arctan2), _angle, 2),
    Rule((np.logaddexp,), partial(_log_sum, np.logaddexp), 2),
    Rule((np.logaddexp2,), partial(_log_sum, np.logaddexp2), 2),
    Rule((math.copysign, np.copysign), _copy_sign, 2),
    Rule((np.maximum,), _choice(">=", True, False), 2),
    Rule((np.minimum,), _choice("<=", True, False), 2),
    Rule((np.fmax,), _choice(">=", False, True), 2),
    Rule((np.fmin,), _choice("<=", False, True), 2),
    Rule((max,), _best(">"), 0, elementwise=False),
    Rule((min,), _best("<"), 0, elementwise=False),
    Rule((np.clip,), _clip, 3),
    Rule((np.where,), _where, 3, operands=("truth", "float", "float")),
    *map(_steps, (np.floor, np.ceil, np.trunc, np.rint, np.sign)),
    *(_whole(function) for function in (math.floor, math.ceil, math.trunc, round, int)),
    Rule((float,), lambda site, a: a, elementwise=False),
    Rule((bool, operator.truth), _truth, result=types.boolean, elementwise=False),
    Rule(
        (operator.not_,), lambda site, a: a.value.compare("==", 0.0), result=types.boolean, elementwise=False
    ),
    _property(math.isnan, np.isnan),
    _property(math.isinf, np.isinf),
    _property(math.isfinite, np.isfinite),
    _property(np.signbit),
    _comparison("<", operator.lt, np.less),
    _comparison("<=", operator.le, np.less_equal),
    _comparison(">", operator.gt, np.greater),
    _comparison(">=", operator.ge, np.greater_equal),
    _comparison("==", operator.eq, np.equal),
    _comparison("!=", operator.ne, np.not_equal),
)

# Operators that write to their first operand, with the operator that computes what they write.
IN_PLACE = {
    operator.iadd: operator.add,
    operator.isub: operator.sub,
    operator.imul: operator.mul,
    operator.itruediv: operator.truediv,
    operator.ifloordiv: operator.floordiv,
    operator.imod: operator.mod,
    operator.ipow: operator.pow,
}
