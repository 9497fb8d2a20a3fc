"""Classic test functions for minimizers: compiled, each with its gradient and its usual start.

Source: J. J. Moré, B. S. Garbow, K. E. Hillstrom, "Testing unconstrained optimization software",
ACM TOMS 7 (1981), 17-41; numbers in brackets are theirs.
"""

import numpy as np
from numba import njit


@njit
def rosenbrock(x):  # (1), chained for more than two variables
    f, g = 0.0, np.zeros(x.size)
    for i in range(x.size - 1):
        a, b = x[i + 1] - x[i] * x[i], 1.0 - x[i]
        f += 100.0 * a * a + b * b
        g[i] += -400.0 * x[i] * a - 2.0 * b
        g[i + 1] += 200.0 * a
    return f, g


@njit
def powell_badly_scaled(x):  # (3)
    a, b = 1e4 * x[0] * x[1] - 1.0, np.exp(-x[0]) + np.exp(-x[1]) - 1.0001
    g = np.array([2e4 * a * x[1] - 2.0 * b * np.exp(-x[0]), 2e4 * a * x[0] - 2.0 * b * np.exp(-x[1])])
    return a * a + b * b, g


@njit
def brown_badly_scaled(x):  # (4)
    a, b, c = x[0] - 1e6, x[1] - 2e-6, x[0] * x[1] - 2.0
    return a * a + b * b + c * c, np.array([2.0 * a + 2.0 * c * x[1], 2.0 * b + 2.0 * c * x[0]])


@njit
def beale(x):  # (5)
    f, g = 0.0, np.zeros(2)
    for i in range(3):
        power = 1.0 - x[1] ** (i + 1)
        r = (1.5, 2.25, 2.625)[i] - x[0] * power
        f += r * r
        g[0] -= 2.0 * r * power
        g[1] += 2.0 * r * x[0] * (i + 1) * x[1] ** i
    return f, g


@njit
def helical_valley(x):  # (7)
    turn = np.arctan(x[1] / x[0]) / (2.0 * np.pi)
    if x[0] < 0.0:
        turn += 0.5
    r = np.sqrt(x[0] ** 2 + x[1] ** 2)
    u, q = x[2] - 10.0 * turn, 1.0 / (2.0 * np.pi * r * r)
    g = np.empty(3)
    g[0] = 200.0 * (10.0 * u * x[1] * q + (r - 1.0) * x[0] / r)
    g[1] = 200.0 * (-10.0 * u * x[0] * q + (r - 1.0) * x[1] / r)
    g[2] = 200.0 * u + 2.0 * x[2]
    return 100.0 * (u * u + (r - 1.0) ** 2) + x[2] ** 2, g


@njit
def box(x):  # (12)
    f, g = 0.0, np.zeros(3)
    for i in range(10):
        t = 0.1 * (i + 1)
        e, a, b = np.exp(-t) - np.exp(-10.0 * t), np.exp(-t * x[0]), np.exp(-t * x[1])
        r = a - b - x[2] * e
        f += r * r
        g[0] -= 2.0 * r * t * a
        g[1] += 2.0 * r * t * b
        g[2] -= 2.0 * r * e
    return f, g


@njit
def powell_singular(x):  # (13)
    a, b, c, d = x[0] + 10.0 * x[1], x[2] - x[3], x[1] - 2.0 * x[2], x[0] - x[3]
    g = np.empty(4)
    g[0], g[1] = 2.0 * a + 40.0 * d**3, 20.0 * a + 4.0 * c**3
    g[2], g[3] = 10.0 * b - 8.0 * c**3, -10.0 * b - 40.0 * d**3
    return a * a + 5.0 * b * b + c**4 + 10.0 * d**4, g


@njit
def wood(x):  # (14)
    p, q, r, s = x[1] - x[0] ** 2, 1.0 - x[0], x[3] - x[2] ** 2, 1.0 - x[2]
    u, v = x[1] - 1.0, x[3] - 1.0
    f = 100.0 * p * p + q * q + 90.0 * r * r + s * s + 10.1 * (u * u + v * v) + 19.8 * u * v
    g = np.empty(4)
    g[0], g[1] = -400.0 * x[0] * p - 2.0 * q, 200.0 * p + 20.2 * u + 19.8 * v
    g[2], g[3] = -360.0 * x[2] * r - 2.0 * s, 180.0 * r + 20.2 * v + 19.8 * u
    return f, g


@njit
def brown_dennis(x):  # (16)
    f, g = 0.0, np.zeros(4)
    for i in range(20):
        t = (i + 1) / 5.0
        a, b = x[0] + t * x[1] - np.exp(t), x[2] + x[3] * np.sin(t) - np.cos(t)
        r = a * a + b * b
        f += r * r
        g[0] += 4.0 * r * a
        g[1] += 4.0 * r * a * t
        g[2] += 4.0 * r * b
        g[3] += 4.0 * r * b * np.sin(t)
    return f, g


@njit
def trigonometric(x):  # (26)
    n, f, g, total = x.size, 0.0, np.zeros(x.size), 0.0
    cosines = np.cos(x).sum()
    for i in range(n):
        r = n - cosines + (i + 1) * (1.0 - np.cos(x[i])) - np.sin(x[i])
        f += r * r
        total += r
        g[i] += 2.0 * r * ((i + 1) * np.sin(x[i]) - np.cos(x[i]))
    for i in range(n):
        g[i] += 2.0 * total * np.sin(x[i])
    return f, g


@njit
def variably_dimensioned(x):  # (25)
    f, g, s = 0.0, np.zeros(x.size), 0.0
    for i in range(x.size):
        f += (x[i] - 1.0) ** 2
        g[i] += 2.0 * (x[i] - 1.0)
        s += (i + 1) * (x[i] - 1.0)
    for i in range(x.size):
        g[i] += (2.0 * s + 4.0 * s**3) * (i + 1)
    return f + s * s + s**4, g


@njit
def stretched(x):  # a quadratic of condition 1e4
    f, g = 0.0, np.zeros(x.size)
    for i in range(x.size):
        c = 10.0 ** (4.0 * i / (x.size - 1))
        f += 0.5 * c * x[i] * x[i]
        g[i] = c * x[i]
    return f, g


# name: function, start, least value
PROBLEMS = {
    "rosenbrock 2": (rosenbrock, np.array([-1.2, 1.0]), 0.0),
    "rosenbrock 10": (rosenbrock, np.tile([-1.2, 1.0], 5), 0.0),
    "rosenbrock 100": (rosenbrock, np.tile([-1.2, 1.0], 50), 0.0),
    "brown badly scaled": (brown_badly_scaled, np.array([1.0, 1.0]), 0.0),
    "beale": (beale, np.array([1.0, 1.0]), 0.0),
    "helical valley": (helical_valley, np.array([-1.0, 0.0, 0.0]), 0.0),
    "box": (box, np.array([0.0, 10.0, 20.0]), 0.0),
    "powell singular": (powell_singular, np.array([3.0, -1.0, 0.0, 1.0]), 0.0),
    "wood": (wood, np.array([-3.0, -1.0, -3.0, -1.0]), 0.0),
    "brown dennis": (brown_dennis, np.array([25.0, 5.0, -5.0, -1.0]), 85822.2016263563),
    "trigonometric": (trigonometric, np.full(10, 0.1), 2.795056121876575e-05),
    "variably dimensioned": (variably_dimensioned, 1.0 - np.arange(1.0, 11.0) / 10.0, 0.0),
    "stretched 100": (stretched, np.ones(100), 0.0),
}
