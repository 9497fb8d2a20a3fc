"""The 35 problems of Moré, Garbow and Hillstrom (1981), compiled: residuals, standard starts, minima.

J. J. Moré, B. S. Garbow, K. E. Hillstrom: Testing unconstrained optimization software, ACM TOMS 7
(1981) 17-41. The numbers in brackets are the paper's. Where n or m may be chosen, the comment says what is
taken. The objective is the sum of the squares of the residuals; derivatives come from dual numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numba import njit


@dataclass(frozen=True)
class Problem:
    """A sum of squares: its residuals, the standard start, and the minima that the paper gives."""

    residuals: Any
    start: tuple[float, ...]
    minima: tuple[float, ...] = (0.0,)

    @property
    def n(self) -> int:
        """The number of variables."""
        return len(self.start)

    @cached_property
    def fun(self) -> Any:
        """The compiled objective."""
        return _sum_of_squares(self.residuals)

    def reached(self, f: float) -> float | None:
        """Return the published minimum that ``f`` has reached: to four digits; 0 to a millionth."""
        first = (self.residuals.py_func(np.array(self.start)) ** 2).sum()
        for low in self.minima:
            if abs(f - low) <= (1e-4 * low if low > 0.0 else 1e-6 * min(first, 1.0)):
                return low
        return None


def _sum_of_squares(residuals: Any) -> Any:
    """Return the objective of a problem."""

    @njit
    def fun(x):
        r, total = residuals(x), 0.0
        for k in range(r.size):
            total += r[k] * r[k]
        return total

    return fun


@njit
def rosenbrock(x):  # (1), (21)
    r = np.empty_like(x)
    for i in range(0, x.size, 2):
        r[i], r[i + 1] = 10.0 * (x[i + 1] - x[i] * x[i]), 1.0 - x[i]
    return r


@njit
def freudenstein_roth(x):  # (2)
    return np.array([
        -13.0 + x[0] + ((5.0 - x[1]) * x[1] - 2.0) * x[1],
        -29.0 + x[0] + ((x[1] + 1.0) * x[1] - 14.0) * x[1],
    ])  # fmt: skip


@njit
def powell_badly_scaled(x):  # (3)
    return np.array([1e4 * x[0] * x[1] - 1.0, math.exp(-x[0]) + math.exp(-x[1]) - 1.0001])


@njit
def brown_badly_scaled(x):  # (4)
    return np.array([x[0] - 1e6, x[1] - 2e-6, x[0] * x[1] - 2.0])


@njit
def beale(x):  # (5)
    return np.array([
        1.5 - x[0] * (1.0 - x[1]), 2.25 - x[0] * (1.0 - x[1] ** 2), 2.625 - x[0] * (1.0 - x[1] ** 3),
    ])  # fmt: skip


@njit
def jennrich_sampson(x):  # (6), m = 10
    i = np.arange(1.0, 11.0)
    return 2.0 + 2.0 * i - (np.exp(i * x[0]) + np.exp(i * x[1]))


@njit
def helical_valley(x):  # (7)
    turn = math.atan(x[1] / x[0]) / (2.0 * math.pi)
    if x[0] < 0.0:
        turn += 0.5
    return np.array([10.0 * (x[2] - 10.0 * turn), 10.0 * (math.sqrt(x[0] ** 2 + x[1] ** 2) - 1.0), x[2]])


BARD_Y = np.array([0.14, 0.18, 0.22, 0.25, 0.29, 0.32, 0.35, 0.39, 0.37, 0.58, 0.73, 0.96, 1.34, 2.10, 4.39])


@njit
def bard(x):  # (8)
    u = np.arange(1.0, 16.0)
    v = 16.0 - u
    return BARD_Y - (x[0] + u / (v * x[1] + np.minimum(u, v) * x[2]))


GAUSSIAN_Y = np.array([0.0009, 0.0044, 0.0175, 0.0540, 0.1295, 0.2420, 0.3521, 0.3989,
                       0.3521, 0.2420, 0.1295, 0.0540, 0.0175, 0.0044, 0.0009])  # fmt: skip


@njit
def gaussian(x):  # (9)
    t = (8.0 - np.arange(1.0, 16.0)) / 2.0
    return x[0] * np.exp(-x[1] * (t - x[2]) ** 2 / 2.0) - GAUSSIAN_Y


MEYER_Y = np.array([34780.0, 28610.0, 23650.0, 19630.0, 16370.0, 13720.0, 11540.0, 9744.0,
                    8261.0, 7030.0, 6005.0, 5147.0, 4427.0, 3820.0, 3307.0, 2872.0])  # fmt: skip


@njit
def meyer(x):  # (10)
    t = 45.0 + 5.0 * np.arange(1.0, 17.0)
    return x[0] * np.exp(x[1] / (t + x[2])) - MEYER_Y


@njit
def gulf(x):  # (11), m = 99; the paper prints y*m*i*x2, the authors' program has y - x2
    t = np.arange(1.0, 100.0) / 100.0
    y = 25.0 + (-50.0 * np.log(t)) ** (2.0 / 3.0)
    return np.exp(-(np.abs(y - x[1]) ** x[2]) / x[0]) - t


@njit
def box(x):  # (12), m = 10
    t = 0.1 * np.arange(1.0, 11.0)
    return np.exp(-t * x[0]) - np.exp(-t * x[1]) - x[2] * (np.exp(-t) - np.exp(-10.0 * t))


@njit
def powell_singular(x):  # (13), (22)
    r = np.empty_like(x)
    for i in range(0, x.size, 4):
        a, b, c, d = x[i], x[i + 1], x[i + 2], x[i + 3]
        r[i], r[i + 1] = a + 10.0 * b, math.sqrt(5.0) * (c - d)
        r[i + 2], r[i + 3] = (b - 2.0 * c) ** 2, math.sqrt(10.0) * (a - d) ** 2
    return r


@njit
def wood(x):  # (14)
    return np.array([
        10.0 * (x[1] - x[0] ** 2), 1.0 - x[0], math.sqrt(90.0) * (x[3] - x[2] ** 2), 1.0 - x[2],
        math.sqrt(10.0) * (x[1] + x[3] - 2.0), (x[1] - x[3]) / math.sqrt(10.0),
    ])  # fmt: skip


KOWALIK_Y = np.array([0.1957, 0.1947, 0.1735, 0.1600, 0.0844, 0.0627, 0.0456, 0.0342, 0.0323, 0.0235, 0.0246])
KOWALIK_U = np.array([4.0, 2.0, 1.0, 0.5, 0.25, 0.167, 0.125, 0.1, 0.0833, 0.0714, 0.0625])


@njit
def kowalik_osborne(x):  # (15)
    u = KOWALIK_U
    return KOWALIK_Y - x[0] * (u * u + u * x[1]) / (u * u + u * x[2] + x[3])


@njit
def brown_dennis(x):  # (16), m = 20
    t = np.arange(1.0, 21.0) / 5.0
    return (x[0] + t * x[1] - np.exp(t)) ** 2 + (x[2] + x[3] * np.sin(t) - np.cos(t)) ** 2


OSBORNE_1_Y = np.array([
    0.844, 0.908, 0.932, 0.936, 0.925, 0.908, 0.881, 0.850, 0.818, 0.784, 0.751, 0.718, 0.685, 0.658, 0.628,
    0.603, 0.580, 0.558, 0.538, 0.522, 0.506, 0.490, 0.478, 0.467, 0.457, 0.448, 0.438, 0.431, 0.424, 0.420,
    0.414, 0.411, 0.406,
])  # fmt: skip


@njit
def osborne_1(x):  # (17)
    t = 10.0 * np.arange(33.0)
    return OSBORNE_1_Y - (x[0] + x[1] * np.exp(-t * x[3]) + x[2] * np.exp(-t * x[4]))


@njit
def biggs(x):  # (18), m = 13
    t = 0.1 * np.arange(1.0, 14.0)
    y = np.exp(-t) - 5.0 * np.exp(-10.0 * t) + 3.0 * np.exp(-4.0 * t)
    return x[2] * np.exp(-t * x[0]) - x[3] * np.exp(-t * x[1]) + x[5] * np.exp(-t * x[4]) - y


OSBORNE_2_Y = np.array([
    1.366, 1.191, 1.112, 1.013, 0.991, 0.885, 0.831, 0.847, 0.786, 0.725, 0.746, 0.679, 0.608, 0.655, 0.616,
    0.606, 0.602, 0.626, 0.651, 0.724, 0.649, 0.649, 0.694, 0.644, 0.624, 0.661, 0.612, 0.558, 0.533, 0.495,
    0.500, 0.423, 0.395, 0.375, 0.372, 0.391, 0.396, 0.405, 0.428, 0.429, 0.523, 0.562, 0.607, 0.653, 0.672,
    0.708, 0.633, 0.668, 0.645, 0.632, 0.591, 0.559, 0.597, 0.625, 0.739, 0.710, 0.729, 0.720, 0.636, 0.581,
    0.428, 0.292, 0.162, 0.098, 0.054,
])  # fmt: skip


@njit
def osborne_2(x):  # (19)
    t = np.arange(65.0) / 10.0
    peaks = x[1] * np.exp(-((t - x[8]) ** 2) * x[5]) + x[2] * np.exp(-((t - x[9]) ** 2) * x[6])
    return OSBORNE_2_Y - (x[0] * np.exp(-t * x[4]) + peaks + x[3] * np.exp(-((t - x[10]) ** 2) * x[7]))


@njit
def watson(x):  # (20), n = 6
    r = np.zeros(31) * x[0]
    for i in range(29):
        t = (i + 1) / 29.0
        value, slope, power = 0.0 * x[0], 0.0 * x[0], 1.0
        for j in range(x.size):
            value += x[j] * power
            if j + 1 < x.size:
                slope += (j + 1) * x[j + 1] * power
            power *= t
        r[i] = slope - value * value - 1.0
    r[29], r[30] = x[0], x[1] - x[0] * x[0] - 1.0
    return r


@njit
def penalty_1(x):  # (23), n = 10
    r = np.zeros(x.size + 1) * x[0]
    total = 0.0 * x[0]
    for i in range(x.size):
        r[i] = math.sqrt(1e-5) * (x[i] - 1.0)
        total += x[i] * x[i]
    r[x.size] = total - 0.25
    return r


@njit
def penalty_2(x):  # (24), n = 10
    n, a = x.size, math.sqrt(1e-5)
    r = np.zeros(2 * n) * x[0]
    r[0] = x[0] - 0.2
    total = n * x[0] * x[0]
    for i in range(1, n):
        y = math.exp((i + 1) / 10.0) + math.exp(i / 10.0)
        r[i] = a * (math.exp(x[i] / 10.0) + math.exp(x[i - 1] / 10.0) - y)
        r[n + i - 1] = a * (math.exp(x[i] / 10.0) - math.exp(-0.1))
        total += (n - i) * x[i] * x[i]
    r[2 * n - 1] = total - 1.0
    return r


@njit
def variably_dimensioned(x):  # (25), n = 10
    r = np.zeros(x.size + 2) * x[0]
    total = 0.0 * x[0]
    for i in range(x.size):
        r[i] = x[i] - 1.0
        total += (i + 1) * (x[i] - 1.0)
    r[x.size], r[x.size + 1] = total, total * total
    return r


@njit
def trigonometric(x):  # (26), n = 10
    i = np.arange(1.0, x.size + 1.0)
    return x.size - np.sum(np.cos(x)) + i * (1.0 - np.cos(x)) - np.sin(x)


@njit
def brown_almost_linear(x):  # (27), n = 10
    r = np.empty_like(x)
    total, product = 0.0 * x[0], 0.0 * x[0] + 1.0
    for i in range(x.size):
        total += x[i]
        product *= x[i]
    for i in range(x.size - 1):
        r[i] = x[i] + total - (x.size + 1.0)
    r[x.size - 1] = product - 1.0
    return r


@njit
def discrete_boundary_value(x):  # (28), n = 10
    r, h = np.empty_like(x), 1.0 / (x.size + 1.0)
    for i in range(x.size):
        r[i] = 2.0 * x[i] + h * h * (x[i] + (i + 1) * h + 1.0) ** 3 / 2.0
        if i > 0:
            r[i] -= x[i - 1]
        if i + 1 < x.size:
            r[i] -= x[i + 1]
    return r


@njit
def discrete_integral_equation(x):  # (29), n = 10
    r, h = np.empty_like(x), 1.0 / (x.size + 1.0)
    for i in range(x.size):
        t, total = (i + 1) * h, 0.0 * x[0]
        for j in range(x.size):
            s = (j + 1) * h
            total += ((1.0 - t) * s if j <= i else t * (1.0 - s)) * (x[j] + s + 1.0) ** 3
        r[i] = x[i] + h * total / 2.0
    return r


@njit
def broyden_tridiagonal(x):  # (30), n = 10
    r = np.empty_like(x)
    for i in range(x.size):
        r[i] = (3.0 - 2.0 * x[i]) * x[i] + 1.0
        if i > 0:
            r[i] -= x[i - 1]
        if i + 1 < x.size:
            r[i] -= 2.0 * x[i + 1]
    return r


@njit
def broyden_banded(x):  # (31), n = 10
    r = np.empty_like(x)
    for i in range(x.size):
        r[i] = x[i] * (2.0 + 5.0 * x[i] * x[i]) + 1.0
        for j in range(max(0, i - 5), min(x.size, i + 2)):
            if j != i:
                r[i] -= x[j] * (1.0 + x[j])
    return r


@njit
def linear_full_rank(x):  # (32), n = 10, m = 20
    r = np.zeros(2 * x.size) - 2.0 / (2.0 * x.size) * np.sum(x) - 1.0
    for i in range(x.size):
        r[i] += x[i]
    return r


@njit
def linear_rank_1(x):  # (33), n = 10, m = 20
    total = 0.0 * x[0]
    for j in range(x.size):
        total += (j + 1) * x[j]
    return np.arange(1.0, 2.0 * x.size + 1.0) * total - 1.0


@njit
def linear_rank_1_with_zeros(x):  # (34), n = 10, m = 20: zero columns and rows
    total = 0.0 * x[0]
    for j in range(1, x.size - 1):
        total += (j + 1) * x[j]
    i = np.arange(2.0 * x.size)
    i[-1] = 0.0
    return i * total - 1.0


@njit
def chebyquad(x):  # (35), n = 8
    r = np.zeros(x.size) * x[0]
    for j in range(x.size):
        z = 2.0 * x[j] - 1.0
        before, now = 0.0 * z + 1.0, z
        for i in range(x.size):
            r[i] += now / x.size
            before, now = now, 2.0 * z * now - before
    for i in range(1, x.size, 2):  # the integrals of the polynomials of even degree
        r[i] += 1.0 / ((i + 1.0) ** 2 - 1.0)
    return r


def _grid(n: int, value: Callable[[float], float]) -> tuple[float, ...]:
    """Return a value at j/(n + 1) for j = 1 to n."""
    return tuple(value(j / (n + 1)) for j in range(1, n + 1))


# Infinities among the minimizers are the paper's: the value is approached far away.
PROBLEMS = {
    "Rosenbrock": Problem(rosenbrock, (-1.2, 1.0)),
    "Freudenstein and Roth": Problem(freudenstein_roth, (0.5, -2.0), (0.0, 48.9842)),
    "Powell badly scaled": Problem(powell_badly_scaled, (0.0, 1.0)),
    "Brown badly scaled": Problem(brown_badly_scaled, (1.0, 1.0)),
    "Beale": Problem(beale, (1.0, 1.0)),
    "Jennrich and Sampson": Problem(jennrich_sampson, (0.3, 0.4), (124.362,)),
    "Helical valley": Problem(helical_valley, (-1.0, 0.0, 0.0)),
    "Bard": Problem(bard, (1.0, 1.0, 1.0), (8.21487e-3, 17.4286)),
    "Gaussian": Problem(gaussian, (0.4, 1.0, 0.0), (1.12793e-8,)),
    "Meyer": Problem(meyer, (0.02, 4000.0, 250.0), (87.9458,)),
    "Gulf research": Problem(gulf, (5.0, 2.5, 0.15)),
    "Box three-dimensional": Problem(box, (0.0, 10.0, 20.0)),
    "Powell singular": Problem(powell_singular, (3.0, -1.0, 0.0, 1.0)),
    "Wood": Problem(wood, (-3.0, -1.0, -3.0, -1.0)),
    "Kowalik and Osborne": Problem(kowalik_osborne, (0.25, 0.39, 0.415, 0.39), (3.07505e-4, 1.02734e-3)),
    "Brown and Dennis": Problem(brown_dennis, (25.0, 5.0, -5.0, -1.0), (85822.2,)),
    "Osborne 1": Problem(osborne_1, (0.5, 1.5, -1.0, 0.01, 0.02), (5.46489e-5,)),
    "Biggs EXP6": Problem(biggs, (1.0, 2.0, 1.0, 1.0, 1.0, 1.0), (0.0, 5.65565e-3)),
    "Osborne 2": Problem(osborne_2, (1.3, 0.65, 0.65, 0.7, 0.6, 3.0, 5.0, 7.0, 2.0, 4.5, 5.5), (4.01377e-2,)),
    "Watson": Problem(watson, (0.0,) * 6, (2.28767e-3,)),
    "Extended Rosenbrock": Problem(rosenbrock, (-1.2, 1.0) * 10),
    "Extended Powell singular": Problem(powell_singular, (3.0, -1.0, 0.0, 1.0) * 5),
    "Penalty I": Problem(penalty_1, tuple(float(j) for j in range(1, 11)), (7.08765e-5,)),
    "Penalty II": Problem(penalty_2, (0.5,) * 10, (2.93660e-4,)),
    "Variably dimensioned": Problem(variably_dimensioned, tuple(1 - j / 10 for j in range(1, 11))),
    "Trigonometric": Problem(trigonometric, (0.1,) * 10, (0.0, 2.79506e-5)),
    "Brown almost-linear": Problem(brown_almost_linear, (0.5,) * 10, (0.0, 1.0)),
    "Discrete boundary value": Problem(discrete_boundary_value, _grid(10, lambda t: t * (t - 1.0))),
    "Discrete integral equation": Problem(discrete_integral_equation, _grid(10, lambda t: t * (t - 1.0))),
    "Broyden tridiagonal": Problem(broyden_tridiagonal, (-1.0,) * 10),
    "Broyden banded": Problem(broyden_banded, (-1.0,) * 10),
    "Linear, full rank": Problem(linear_full_rank, (1.0,) * 10, (10.0,)),
    "Linear, rank 1": Problem(linear_rank_1, (1.0,) * 10, (20 * 19 / (2 * 41),)),
    "Linear, rank 1, zero rows": Problem(linear_rank_1_with_zeros, (1.0,) * 10, ((400 + 60 - 6) / (2 * 37),)),
    "Chebyquad": Problem(chebyquad, _grid(8, float), (3.51687e-3,)),
}
