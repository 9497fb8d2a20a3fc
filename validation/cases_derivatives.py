"""Functions with derivatives written by hand, shared exponentials and all, and those that duals give."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from time import process_time
from typing import Any

import numpy as np
from numba import njit

import nbopt
from validation.timing import Case

# So many points x are visited in one compiled loop: Python's part of a call must not count.
POINTS = 64


@dataclass(frozen=True)
class Pair:
    """A function of ``(x, *data)``, its derivative by hand, a point, and what makes data of m rows.

    ``derivative`` returns ``f, gradient`` or the Jacobian, in new arrays, as nbopt's does.
    """

    fun: Any
    derivative: Any
    x: tuple[float, ...]
    data: Callable[[int], tuple[np.ndarray, ...]] | None = None
    gradient: bool = False
    style: str = "loops"

    @property
    def sizes(self) -> tuple[int, ...]:
        """The numbers of rows of data that are measured; 0 for none."""
        return (25, 250) if self.data else (0,)

    def rows(self, m: int) -> tuple[np.ndarray, ...]:
        """Return the data."""
        return self.data(m) if self.data else ()

    def exact(self) -> Any:
        """Return nbopt's derivative."""
        make = nbopt.value_and_grad if self.gradient else nbopt.jacobian
        return make(self.fun, n=len(self.x))


def _times(m: int) -> tuple[np.ndarray, ...]:
    """Return m times."""
    return (np.linspace(0.1, 4.0, m),)


def _observations(m: int) -> tuple[np.ndarray, ...]:
    """Return m times and values."""
    (t,) = _times(m)
    return t, 2.0 * np.exp(-0.7 * t) + 0.3 * np.cos(5.0 * t)


def _labels(m: int) -> tuple[np.ndarray, ...]:
    """Return m rows of three features, and labels of both kinds."""
    rng = np.random.default_rng(0)
    return rng.standard_normal((m, 3)), np.sign(rng.standard_normal(m))


@njit
def rosenbrock(x):
    f = 0.0
    for i in range(x.size - 1):
        f += 100.0 * (x[i + 1] - x[i] ** 2) ** 2 + (1.0 - x[i]) ** 2
    return f


@njit
def rosenbrock_by_hand(x):
    f, g = 0.0, np.zeros(x.size)
    for i in range(x.size - 1):
        d, e = x[i + 1] - x[i] * x[i], 1.0 - x[i]
        f += 100.0 * d * d + e * e
        g[i] -= 400.0 * d * x[i] + 2.0 * e
        g[i + 1] += 200.0 * d
    return f, g


@njit
def decay_misfit(x, t, y):
    return np.sum((x[0] * np.exp(-x[1] * t) + x[2] - y) ** 2)


@njit
def decay_misfit_by_hand(x, t, y):
    a, b, c = x
    f, ga, gb, gc = 0.0, 0.0, 0.0, 0.0
    for i in range(t.size):
        e = math.exp(-b * t[i])
        r = a * e + c - y[i]
        f += r * r
        ga += r * e
        gb += r * e * t[i]
        gc += r
    g = np.empty(3)
    g[0], g[1], g[2] = 2.0 * ga, -2.0 * a * gb, 2.0 * gc
    return f, g


@njit
def peak(x, t):
    return x[0] * np.exp(-0.5 * ((t - x[1]) / x[2]) ** 2) + x[3] + x[4] * t


@njit
def peak_by_hand(x, t):
    jac = np.empty((t.size, 5))
    a, centre, inverse = x[0], x[1], 1.0 / x[2]
    for i in range(t.size):
        u = (t[i] - centre) * inverse
        e = math.exp(-0.5 * u * u)
        slope = a * e * u * inverse
        jac[i, 0], jac[i, 1], jac[i, 2], jac[i, 3], jac[i, 4] = e, slope, slope * u, 1.0, t[i]
    return jac


@njit
def peak_in_a_loop(x, t):
    out = np.empty(t.size)
    for i in range(t.size):
        u = (t[i] - x[1]) / x[2]
        out[i] = x[0] * math.exp(-0.5 * u * u) + x[3] + x[4] * t[i]
    return out


@njit
def saturation(x, t):
    return x[0] * t / (x[1] + t)


@njit
def saturation_by_hand(x, t):
    jac = np.empty((t.size, 2))
    for i in range(t.size):
        share = t[i] / (x[1] + t[i])
        jac[i, 0], jac[i, 1] = share, -x[0] * share / (x[1] + t[i])
    return jac


@njit
def growth(x, t):
    return x[0] / (1.0 + np.exp(-x[1] * (t - x[2])))


@njit
def growth_by_hand(x, t):
    jac = np.empty((t.size, 3))
    for i in range(t.size):
        d = t[i] - x[2]
        e = math.exp(-x[1] * d)
        s = 1.0 / (1.0 + e)
        slope = x[0] * e * s * s
        jac[i, 0], jac[i, 1], jac[i, 2] = s, slope * d, -slope * x[1]
    return jac


@njit
def horner(x, t):
    out = np.empty(t.size)
    for i in range(t.size):
        p = x[4]
        for k in range(3, -1, -1):
            p = p * t[i] + x[k]
        out[i] = p
    return out


@njit
def powers(x, t):
    return x[0] + x[1] * t + x[2] * t**2 + x[3] * t**3 + x[4] * t**4


@njit
def polynomial_by_hand(x, t):
    jac = np.empty((t.size, 5))
    for i in range(t.size):
        power = 1.0
        for k in range(5):
            jac[i, k] = power
            power *= t[i]
    return jac


@njit
def two_decays(x, t):
    return x[0] * np.exp(-x[1] * t) + x[2] * np.exp(-x[3] * t)


@njit
def two_decays_by_hand(x, t):
    jac = np.empty((t.size, 4))
    for i in range(t.size):
        e, d = math.exp(-x[1] * t[i]), math.exp(-x[3] * t[i])
        jac[i, 0], jac[i, 1], jac[i, 2], jac[i, 3] = e, -x[0] * t[i] * e, d, -x[2] * t[i] * d
    return jac


@njit
def lennard_jones(x):
    f = 0.0
    for i in range(0, x.size, 2):
        for j in range(0, i, 2):
            s = 1.0 / ((x[i] - x[j]) ** 2 + (x[i + 1] - x[j + 1]) ** 2) ** 3
            f += 4.0 * (s * s - s)
    return f


@njit
def lennard_jones_by_hand(x):
    f, g = 0.0, np.zeros(x.size)
    for i in range(0, x.size, 2):
        for j in range(0, i, 2):
            dx, dy = x[i] - x[j], x[i + 1] - x[j + 1]
            q = 1.0 / (dx * dx + dy * dy)
            s = q * q * q
            f += 4.0 * (s * s - s)
            slope = -24.0 * q * (2.0 * s * s - s)
            g[i] += slope * dx
            g[i + 1] += slope * dy
            g[j] -= slope * dx
            g[j + 1] -= slope * dy
    return f, g


@njit
def log_likelihood(x, features, label):
    f = 0.0
    for i in range(label.size):
        z = x[0]
        for j in range(features.shape[1]):
            z += x[j + 1] * features[i, j]
        f += math.log1p(math.exp(-label[i] * z))
    return f


@njit
def log_likelihood_by_hand(x, features, label):
    f, g = 0.0, np.zeros(x.size)
    for i in range(label.size):
        z = x[0]
        for j in range(features.shape[1]):
            z += x[j + 1] * features[i, j]
        e = math.exp(-label[i] * z)
        f += math.log1p(e)
        slope = -label[i] * e / (1.0 + e)
        g[0] += slope
        for j in range(features.shape[1]):
            g[j + 1] += slope * features[i, j]
    return f, g


_PEAK = (2.0, 1.8, 0.6, 0.3, -0.1)
_SERIES = (1.0, -0.5, 0.25, 0.3, -0.1)
PAIRS = {
    "Rosenbrock, n = 2": Pair(rosenbrock, rosenbrock_by_hand, (-1.2, 1.0), gradient=True),
    "Rosenbrock, n = 8": Pair(rosenbrock, rosenbrock_by_hand, (-1.2, 1.0) * 4, gradient=True),
    "Lennard-Jones, 4 atoms in the plane": Pair(
        lennard_jones, lennard_jones_by_hand, (0.0, 0.0, 1.1, 0.1, 0.2, 1.2, 1.3, 1.0), gradient=True
    ),
    "decay, sum of squares": Pair(
        decay_misfit, decay_misfit_by_hand, (1.9, 0.8, 0.1), _observations, gradient=True, style="NumPy"
    ),
    "logistic regression": Pair(
        log_likelihood, log_likelihood_by_hand, (0.1, 0.5, -0.4, 0.2), _labels, gradient=True
    ),
    "peak on a line": Pair(peak, peak_by_hand, _PEAK, _times, style="NumPy"),
    "peak on a line, in a loop": Pair(peak_in_a_loop, peak_by_hand, _PEAK, _times),
    "saturation": Pair(saturation, saturation_by_hand, (1.4, 0.6), _times, style="NumPy"),
    "logistic growth": Pair(growth, growth_by_hand, (3.0, 1.5, 2.0), _times, style="NumPy"),
    "two decays": Pair(two_decays, two_decays_by_hand, (2.0, 0.4, 1.0, 2.5), _times, style="NumPy"),
    "polynomial by Horner": Pair(horner, polynomial_by_hand, _SERIES, _times),
    "polynomial by powers": Pair(powers, polynomial_by_hand, _SERIES, _times, style="NumPy"),
}


@functools.cache
def _loop(name: str, way: str) -> Any:
    """Return the compiled loop that takes one derivative, or value, at each of several points."""
    pair = PAIRS[name]
    call = {"dual": pair.exact, "hand": lambda: pair.derivative, "function": lambda: pair.fun}[way]()

    # What was found goes back to the points, times 0: the next pass waits for this one.
    @njit
    def gradients(points, *data):
        for i in range(points.shape[0]):
            f, g = call(points[i], *data)
            points[i, 0] += 0.0 * f * g[0]

    @njit
    def jacobians(points, *data):
        for i in range(points.shape[0]):
            points[i, 0] += 0.0 * call(points[i], *data)[0, 0]

    @njit
    def values(points, *data):
        for i in range(points.shape[0]):
            points[i, 0] += 0.0 * call(points[i], *data)

    @njit
    def arrays(points, *data):
        for i in range(points.shape[0]):
            points[i, 0] += 0.0 * call(points[i], *data)[0]

    if way == "function":
        return values if pair.gradient else arrays
    return gradients if pair.gradient else jacobians


def check(name: str, m: int) -> None:
    """Hold nbopt's derivative against that by hand."""
    pair = PAIRS[name]
    found, expected = (d(np.array(pair.x), *pair.rows(m)) for d in (pair.exact(), pair.derivative))
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, err_msg=name)


def derivatives(name: str, m: int, way: str) -> Case:
    """Return `POINTS` calls of a derivative, "dual" or by "hand", or of the "function" alone."""
    check(name, m)
    pair = PAIRS[name]
    rng = np.random.default_rng(0)
    points = pair.x * (1.0 + 0.01 * rng.standard_normal((POINTS, len(pair.x))))
    loop, data = _loop(name, way), pair.rows(m)
    return Case(lambda: loop(points, *data), clock=process_time)
