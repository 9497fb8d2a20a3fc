"""Problems with bounds for minimizers: compiled functions, starts, bounds.

Sources: W. Hock, K. Schittkowski, "Test examples for nonlinear programming codes" (1981), numbers with
HS; the problems of `classic_problems` (numbers of Moré, Garbow and Hillstrom) with bounds mostly after
D. M. Gay, "A trust-region approach to linearly constrained optimization" (1984); convex quadratics.
"""

from typing import NamedTuple

import numpy as np
from classic_problems import (
    beale,
    box,
    brown_badly_scaled,
    brown_dennis,
    helical_valley,
    powell_badly_scaled,
    powell_singular,
    rosenbrock,
    trigonometric,
    variably_dimensioned,
    wood,
)
from numba import njit

INF = np.inf


class Problem(NamedTuple):
    """``fun(x, *args)`` returns value and gradient."""

    fun: object
    x0: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    args: tuple = ()


@njit
def hs3(x):
    d = x[1] - x[0]
    return x[1] + 1e-5 * d * d, np.array([-2e-5 * d, 1.0 + 2e-5 * d])


@njit
def hs4(x):
    return (x[0] + 1.0) ** 3 / 3.0 + x[1], np.array([(x[0] + 1.0) ** 2, 1.0])


@njit
def hs5(x):
    s, d = x[0] + x[1], x[0] - x[1]
    f = np.sin(s) + d * d - 1.5 * x[0] + 2.5 * x[1] + 1.0
    return f, np.array([np.cos(s) + 2.0 * d - 1.5, np.cos(s) - 2.0 * d + 2.5])


@njit
def hs25(x):
    f, g = 0.0, np.zeros(3)
    for i in range(1, 100):
        u = 25.0 + (-50.0 * np.log(0.01 * i)) ** (2.0 / 3.0) - x[1]
        p = u ** x[2]
        e = np.exp(-p / x[0])
        r = e - 0.01 * i
        f += r * r
        g[0] += 2.0 * r * e * p / x[0] ** 2
        g[1] += 2.0 * r * e * x[2] * p / u / x[0]
        g[2] -= 2.0 * r * e * p * np.log(u) / x[0]
    return f, g


@njit
def hs45(x):
    g = np.empty(5)
    for i in range(5):
        product = 1.0
        for j in range(5):
            if i != j:
                product *= x[j]
        g[i] = -product / 120.0
    return 2.0 + g[0] * x[0], g


@njit
def hs110(x):
    product, f, g = 1.0, 0.0, np.empty(x.size)
    for i in range(x.size):
        product *= x[i]
    power = product**0.2
    for i in range(x.size):
        a, b = np.log(x[i] - 2.0), np.log(10.0 - x[i])
        f += a * a + b * b
        g[i] = 2.0 * a / (x[i] - 2.0) - 2.0 * b / (10.0 - x[i]) - 0.2 * power / x[i]
    return f - power, g


@njit
def quadratic(x, A, b):
    f, g = 0.0, np.empty(x.size)
    for i in range(x.size):
        total = 0.0
        for j in range(x.size):
            total += A[i, j] * x[j]
        g[i] = total - b[i]
        f += x[i] * (0.5 * total - b[i])
    return f, g


def convex(n, condition, seed, lower, upper):
    """Return a convex quadratic of a given condition, its start outside of some bounds or on them."""
    rng = np.random.default_rng(seed)
    q = np.linalg.qr(rng.normal(size=(n, n)))[0]
    A = np.ascontiguousarray((q * np.geomspace(1.0, condition, n)) @ q.T)
    args = (A, rng.normal(size=n) * condition**0.5)
    return Problem(quadratic, np.clip(np.zeros(n), lower, upper), np.full(n, lower), np.full(n, upper), args)


def problem(fun, x0, lower, upper):
    """Return a problem with a start within its bounds."""
    x0 = np.array(x0, float)
    lower, upper = np.broadcast_to(lower, x0.shape) * 1.0, np.broadcast_to(upper, x0.shape) * 1.0
    return Problem(fun, np.clip(x0, lower, upper), lower, upper)


PROBLEMS = {
    "HS1": problem(rosenbrock, [-2, 1], [-INF, -1.5], INF),
    "HS2": problem(rosenbrock, [-2, 1], [-INF, 1.5], INF),
    "HS3": problem(hs3, [10, 1], [-INF, 0], INF),
    "HS4": problem(hs4, [1.125, 0.125], [1, 0], INF),
    "HS5": problem(hs5, [0, 0], [-1.5, -3], [4, 3]),
    "HS25": problem(hs25, [100, 12.5, 3], [0.1, 0, 0], [100, 25.6, 5]),
    "HS25, nearer": problem(hs25, [60, 20, 2], [0.1, 0, 0], [100, 25.6, 5]),
    "HS38": problem(wood, [-3, -1, -3, -1], -10, 10),
    "HS45": problem(hs45, [2, 2, 2, 2, 2], 0, [1, 2, 3, 4, 5]),
    "HS110": problem(hs110, [9] * 10, 2.001, 9.999),
    "rosenbrock": problem(rosenbrock, [-1.2, 1], [-50, 0], [0.5, 100]),
    "powell badly scaled": problem(powell_badly_scaled, [0, 1], [0, 1], [1, 9]),
    "brown badly scaled": problem(brown_badly_scaled, [1, 1], [0, 3e-5], [1e6, 100]),
    "beale": problem(beale, [1, 1], [0.6, 0.5], [10, 100]),
    "helical valley": problem(helical_valley, [-1, 0, 0], [-100, -1, -1], [0.8, 1, 1]),
    "box": problem(box, [0, 10, 20], [0, 5, 0], [2, 9.5, 20]),
    "powell singular": problem(powell_singular, [3, -1, 0, 1], [0.1, -20, -1, -1], [100, 20, 1, 50]),
    "wood": problem(wood, [-3, -1, -3, -1], -100, [0, 10, 100, 100]),
    "brown dennis": problem(brown_dennis, [25, 5, -5, -1], [-10, 0, -100, -20], [100, 15, 0, 0.2]),
    "trigonometric": problem(
        trigonometric, [0.1] * 10, np.arange(0.0, 100.0, 10.0), np.arange(10.0, 101.0, 10.0)
    ),
    "variably dimensioned": problem(
        variably_dimensioned, 1 - np.arange(1, 11) / 10, 0, [10, 20, 30, 40, 50, 60, 70, 80, 90, 0.5]
    ),
    "rosenbrock 20, every other below 1/2": problem(rosenbrock, [-1.2, 1] * 10, [-1.5, -0.5] * 10, 0.5),
    "rosenbrock 25, every other above 1.01": problem(rosenbrock, [3] * 25, [1.01, -100] * 12 + [1.01], 100),
    "rosenbrock 50, every other above 1.1": problem(rosenbrock, [3] * 50, [1.1, -100] * 25, 100),
    "line": convex(1, 1.0, 0, -1.0, 1.0),
    "half line": convex(1, 1.0, 0, 0.0, INF),
    "box 5, condition 10": convex(5, 1e1, 1, -1.0, 1.0),
    "cone 5, condition 10": convex(5, 1e1, 1, 0.0, INF),
    "box 20, condition 100": convex(20, 1e2, 2, -1.0, 1.0),
    "cone 20, condition 100": convex(20, 1e2, 2, 0.0, INF),
    "box 50, condition 1e4": convex(50, 1e4, 4, -1.0, 1.0),
    "cone 50, condition 1e4": convex(50, 1e4, 4, -INF, 0.5),
    "box 100, condition 1e3": convex(100, 1e3, 5, -1.0, 1.0),
}
