"""The table of smooth functions of one variable: each with its derivative, exact to rounding everywhere.

A derivative gets the argument v and the value y, and is written so that nothing cancels: 1 - tanh(v)^2
would lose all digits at v = 20. Where a slope may be infinite (at a pole of it, such as that of sqrt at 0),
or 0 while the argument has overflowed (in a tail, such as that of exp), the partials are scaled with care:
inf times 0 would make NaN of the derivatives of a finite value.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from nbopt.autodiff.emit import Real, scaled, scaled_at_pole, scaled_in_tail


class Smooth(NamedTuple):
    """A function of one variable: what users call it, its derivative, how that scales the partials."""

    functions: tuple[Callable, ...]
    derivative: Callable[[Real, Real], Real]
    scale: Callable = scaled


def exp(v: Real) -> Real:
    """Emit the exponential."""
    return v.site.call(math.exp, v)


def sqrt(v: Real) -> Real:
    """Emit the square root."""
    return v.site.call(math.sqrt, v)


def absolute(v: Real) -> Real:
    """Emit the absolute value."""
    return v.site.call(math.fabs, v)


def sign(v: Real) -> Real:
    """Emit the slope of the absolute value: -1 or 1, and 0 at 0."""
    return v.site.choose(v.compare("==", 0.0), 0.0, v.site.call(math.copysign, v.site.real(1.0), v))


def _tanh(v: Real, y: Real) -> Real:
    """Return 1/cosh(v)^2; the exponential is at most 1."""
    e = exp(-2.0 * absolute(v))
    return 4.0 * e / ((1.0 + e) * (1.0 + e))


def _sinc(v: Real, y: Real) -> Real:
    """Return the slope of sin(pi v)/(pi v)."""
    return v.site.compile(sinc_slope, v)


def sinc_slope(x):
    """Return the derivative of sin(pi x)/(pi x); near 0 by its series.

    Parameters
    ----------
    x : float

    Returns
    -------
    float

    Examples
    --------
    >>> from nbopt.autodiff.derivatives import sinc_slope
    >>> sinc_slope(1.0)
    -1.0
    """
    u = math.pi * x
    if abs(u) >= 1.0:
        return math.pi * (math.cos(u) - math.sin(u) / u) / u
    term = s = 1.0
    for n in range(1, 9):
        term *= -u * u / (2 * n * (2 * n + 3))
        s += term
    return -math.pi * u / 3.0 * s


def _log_gamma(v: Real, y: Real) -> Real:
    """Return digamma(v)."""
    return v.site.compile(digamma, v)


def digamma(x):
    """Return the logarithmic derivative of the gamma function.

    Recurrence up to x >= 10, there the asymptotic series; reflection for x < 0. Source: Abramowitz and
    Stegun, Handbook of Mathematical Functions, 6.3.5, 6.3.7, 6.3.18.

    Parameters
    ----------
    x : float

    Returns
    -------
    float
        Good to 1e-15 (relative, absolute where it is below 1); NaN at the poles 0, -1, -2, ...

    Examples
    --------
    >>> from nbopt.autodiff.derivatives import digamma
    >>> round(-digamma(1.0), 14)  # Euler's constant
    0.57721566490153
    """
    shift = 0.0
    if x <= 0.0:
        if x == math.floor(x):
            return math.nan
        # The tangent has the period 1: of the fraction alone it keeps its digits.
        shift = -math.pi / math.tan(math.pi * (x - math.floor(x)))
        x = 1.0 - x
    while x < 10.0:
        shift -= 1.0 / x
        x += 1.0
    u = 1.0 / (x * x)
    # B(2k)/(2k) for k = 1...7, by Horner's rule.
    tail = u * (
        1 / 12
        - u * (1 / 120 - u * (1 / 252 - u * (1 / 240 - u * (1 / 132 - u * (691 / 32760 - u * (1 / 12))))))
    )
    return shift + (math.log(x) - 0.5 / x - tail)


_LN2, _LN10, _DEGREE = math.log(2.0), math.log(10.0), math.pi / 180.0
_ERF = 2.0 / math.sqrt(math.pi)

SMOOTH = (
    Smooth((math.exp, np.exp), lambda v, y: y, scaled_in_tail),
    Smooth((math.expm1, np.expm1), lambda v, y: exp(v), scaled_in_tail),
    Smooth((np.exp2,), lambda v, y: _LN2 * y, scaled_in_tail),
    Smooth((math.log, np.log), lambda v, y: 1.0 / v, scaled_at_pole),
    Smooth((math.log1p, np.log1p), lambda v, y: 1.0 / (1.0 + v), scaled_at_pole),
    Smooth((math.log2, np.log2), lambda v, y: 1.0 / (_LN2 * v), scaled_at_pole),
    Smooth((math.log10, np.log10), lambda v, y: 1.0 / (_LN10 * v), scaled_at_pole),
    Smooth((math.sqrt, np.sqrt), lambda v, y: 0.5 / y, scaled_at_pole),
    Smooth((np.cbrt,), lambda v, y: 1.0 / (3.0 * y * y), scaled_at_pole),
    Smooth((np.square,), lambda v, y: 2.0 * v),
    Smooth((np.reciprocal,), lambda v, y: -(y * y), scaled_in_tail),
    Smooth((math.sin, np.sin), lambda v, y: v.site.call(math.cos, v)),
    Smooth((math.cos, np.cos), lambda v, y: -v.site.call(math.sin, v)),
    Smooth((math.tan, np.tan), lambda v, y: 1.0 + y * y),
    Smooth((math.asin, np.arcsin), lambda v, y: 1.0 / sqrt((1.0 - v) * (1.0 + v)), scaled_at_pole),
    Smooth((math.acos, np.arccos), lambda v, y: -1.0 / sqrt((1.0 - v) * (1.0 + v)), scaled_at_pole),
    Smooth((math.atan, np.arctan), lambda v, y: 1.0 / (1.0 + v * v), scaled_in_tail),
    Smooth((math.sinh, np.sinh), lambda v, y: v.site.call(math.cosh, v)),
    Smooth((math.cosh, np.cosh), lambda v, y: v.site.call(math.sinh, v)),
    Smooth((math.tanh, np.tanh), _tanh, scaled_in_tail),
    Smooth((math.asinh, np.arcsinh), lambda v, y: 1.0 / v.site.call(math.hypot, v, v.site.real(1.0))),
    Smooth((math.acosh, np.arccosh), lambda v, y: 1.0 / (sqrt(v - 1.0) * sqrt(v + 1.0)), scaled_at_pole),
    Smooth((math.atanh, np.arctanh), lambda v, y: 1.0 / ((1.0 - v) * (1.0 + v)), scaled_at_pole),
    Smooth((math.erf,), lambda v, y: _ERF * exp(-(v * v)), scaled_in_tail),
    Smooth((math.erfc,), lambda v, y: -_ERF * exp(-(v * v)), scaled_in_tail),
    Smooth((np.sinc,), _sinc, scaled_in_tail),
    Smooth((math.gamma,), lambda v, y: y * _log_gamma(v, y)),
    Smooth((math.lgamma,), _log_gamma),
    Smooth((math.radians, np.deg2rad, np.radians), lambda v, y: v.site.real(_DEGREE)),
    Smooth((math.degrees, np.rad2deg, np.degrees), lambda v, y: v.site.real(1.0 / _DEGREE)),
    Smooth((math.fabs, np.fabs, abs, np.absolute), lambda v, y: sign(v)),
)
