"""Problems of Moré, Garbow and Hillstrom (1981): residuals, starts, and the minima known of each.

J. J. Moré, B. S. Garbow, K. E. Hillstrom: Testing unconstrained optimization software, ACM TOMS 7
(1981) 17-41; the numbers are those of the paper. The functions are plain NumPy and analytic, so that
the gradient of the sum of squares comes exactly (to rounding) from the complex step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Problem:
    """A sum of squares: its residuals, where to start, and its known (local) minima."""

    residuals: Callable[[np.ndarray], np.ndarray]
    start: tuple[float, ...]
    minima: tuple[float, ...] = (0.0,)

    def fun(self, x: np.ndarray) -> float:
        """Return the sum of squares."""
        with np.errstate(all="ignore"):  # too far away is inf or NaN: for the solver to notice
            return float((self.residuals(np.asarray(x, float)) ** 2).sum())

    def fun_and_grad(self, x: np.ndarray) -> tuple[float, np.ndarray]:
        """Return the sum of squares and its gradient: Im f(x + i h e) / h."""
        h = 1e-30
        g = np.empty(x.size)
        for k in range(x.size):
            z = x.astype(complex)
            z[k] += 1j * h
            with np.errstate(all="ignore"):
                g[k] = (self.residuals(z) ** 2).sum().imag / h
        return self.fun(x), g

    def solved(self, f: float) -> bool:
        """Tell whether ``f`` reached a known minimum: to four digits; 0 to a millionth."""
        least = 1e-6 * min(self.fun(np.array(self.start)), 1.0)
        return any(abs(f - low) <= (1e-4 * low if low > 0.0 else least) for low in self.minima)


def _freudenstein_roth(x):
    a, b = x
    return np.array([-13 + a + ((5 - b) * b - 2) * b, -29 + a + ((b + 1) * b - 14) * b])


def _powell_badly_scaled(x):
    return np.array([1e4 * x[0] * x[1] - 1, np.exp(-x[0]) + np.exp(-x[1]) - 1.0001])


def _brown_badly_scaled(x):
    return np.array([x[0] - 1e6, x[1] - 2e-6, x[0] * x[1] - 2])


def _beale(x):
    y = np.array([1.5, 2.25, 2.625])
    return y - x[0] * (1 - x[1] ** np.arange(1, 4))


def _jennrich_sampson(x):
    i = np.arange(1, 11)
    return 2 + 2 * i - (np.exp(i * x[0]) + np.exp(i * x[1]))


def _helical_valley(x):
    turn = np.arctan(x[1] / x[0]) / (2 * np.pi) + (0.5 if x[0].real < 0 else 0.0)
    return np.array([10 * (x[2] - 10 * turn), 10 * (np.sqrt(x[0] ** 2 + x[1] ** 2) - 1), x[2]])


_BARD = np.array([0.14, 0.18, 0.22, 0.25, 0.29, 0.32, 0.35, 0.39, 0.37, 0.58, 0.73, 0.96, 1.34, 2.10, 4.39])


def _bard(x):
    u = np.arange(1, 16)
    v = 16 - u
    return _BARD - (x[0] + u / (v * x[1] + np.minimum(u, v) * x[2]))


_GAUSS = np.array([0.0009, 0.0044, 0.0175, 0.0540, 0.1295, 0.2420, 0.3521, 0.3989])


def _gaussian(x):
    t = (8 - np.arange(1, 16)) / 2
    return x[0] * np.exp(-x[1] * (t - x[2]) ** 2 / 2) - np.concatenate([_GAUSS, _GAUSS[-2::-1]])


def _box(x):
    t = 0.1 * np.arange(1, 11)
    return np.exp(-t * x[0]) - np.exp(-t * x[1]) - x[2] * (np.exp(-t) - np.exp(-10 * t))


def _powell_singular(x):
    a, b, c, d = x.reshape(-1, 4).T
    parts = [a + 10 * b, 5**0.5 * (c - d), (b - 2 * c) ** 2, 10**0.5 * (a - d) ** 2]
    return np.concatenate(parts)


def _wood(x):
    a, b, c, d = x
    return np.array([
        10 * (b - a**2), 1 - a, 90**0.5 * (d - c**2), 1 - c, 10**0.5 * (b + d - 2), (b - d) / 10**0.5,
    ])  # fmt: skip


_KOWALIK_Y = np.array(
    [0.1957, 0.1947, 0.1735, 0.1600, 0.0844, 0.0627, 0.0456, 0.0342, 0.0323, 0.0235, 0.0246]
)
_KOWALIK_U = np.array([4, 2, 1, 0.5, 0.25, 0.167, 0.125, 0.1, 0.0833, 0.0714, 0.0625])


def _kowalik_osborne(x):
    u = _KOWALIK_U
    return _KOWALIK_Y - x[0] * (u**2 + u * x[1]) / (u**2 + u * x[2] + x[3])


def _brown_dennis(x):
    t = np.arange(1, 21) / 5
    return (x[0] + t * x[1] - np.exp(t)) ** 2 + (x[2] + x[3] * np.sin(t) - np.cos(t)) ** 2


def _biggs(x):
    t = 0.1 * np.arange(1, 14)
    y = np.exp(-t) - 5 * np.exp(-10 * t) + 3 * np.exp(-4 * t)
    return x[2] * np.exp(-t * x[0]) - x[3] * np.exp(-t * x[1]) + x[5] * np.exp(-t * x[4]) - y


def _rosenbrock(x):
    a, b = x[::2], x[1::2]
    return np.concatenate([10 * (b - a**2), 1 - a])


def _penalty(x):
    return np.append(1e-5**0.5 * (x - 1), (x**2).sum() - 0.25)


def _variably_dimensioned(x):
    s = (np.arange(1, x.size + 1) * (x - 1)).sum()
    return np.concatenate([x - 1, [s, s**2]])


def _trigonometric(x):
    i = np.arange(1, x.size + 1)
    return x.size - np.cos(x).sum() + i * (1 - np.cos(x)) - np.sin(x)


def _brown_almost_linear(x):
    r = x + x.sum() - (x.size + 1)
    r[-1] = x.prod() - 1
    return r


def _broyden_tridiagonal(x):
    z = np.concatenate([[0], x, [0]])
    return (3 - 2 * x) * x - z[:-2] - 2 * z[2:] + 1


def _chebyquad(x):
    y = 2 * x - 1
    before, now = np.ones_like(y), y
    r = []
    for i in range(1, x.size + 1):
        r.append(now.sum() / x.size + (1 / (i * i - 1) if i % 2 == 0 else 0.0))
        before, now = now, 2 * y * now - before
    return np.array(r)


PROBLEMS = {
    "Rosenbrock": Problem(_rosenbrock, (-1.2, 1.0)),
    "Freudenstein and Roth": Problem(_freudenstein_roth, (0.5, -2.0), (0.0, 48.98425368)),
    "Powell badly scaled": Problem(_powell_badly_scaled, (0.0, 1.0)),
    "Brown badly scaled": Problem(_brown_badly_scaled, (1.0, 1.0)),
    "Beale": Problem(_beale, (1.0, 1.0)),
    "Jennrich and Sampson": Problem(_jennrich_sampson, (0.3, 0.4), (124.3621824,)),
    "Helical valley": Problem(_helical_valley, (-1.0, 0.0, 0.0)),
    "Bard": Problem(_bard, (1.0, 1.0, 1.0), (8.214877e-3, 17.42869)),
    "Gaussian": Problem(_gaussian, (0.4, 1.0, 0.0), (1.12793e-8,)),
    "Box 3-dimensional": Problem(_box, (0.0, 10.0, 20.0)),
    "Powell singular": Problem(_powell_singular, (3.0, -1.0, 0.0, 1.0)),
    "Wood": Problem(_wood, (-3.0, -1.0, -3.0, -1.0)),
    "Kowalik and Osborne": Problem(_kowalik_osborne, (0.25, 0.39, 0.415, 0.39), (3.0750561e-4, 1.02734e-3)),
    "Brown and Dennis": Problem(_brown_dennis, (25.0, 5.0, -5.0, -1.0), (85822.20163,)),
    "Biggs EXP6": Problem(_biggs, (1.0, 2.0, 1.0, 1.0, 1.0, 1.0), (0.0, 5.65565e-3)),
    "Extended Rosenbrock": Problem(_rosenbrock, (-1.2, 1.0) * 10),
    "Extended Powell singular": Problem(_powell_singular, (3.0, -1.0, 0.0, 1.0) * 5),
    "Penalty I": Problem(_penalty, tuple(range(1, 11)), (7.08765e-5,)),
    "Variably dimensioned": Problem(_variably_dimensioned, tuple(1 - j / 10 for j in range(1, 11))),
    "Trigonometric": Problem(_trigonometric, (0.1,) * 10, (0.0, 2.79506e-5)),
    "Brown almost linear": Problem(_brown_almost_linear, (0.5,) * 10, (0.0, 1.0)),
    "Broyden tridiagonal": Problem(_broyden_tridiagonal, (-1.0,) * 10),
    "Chebyquad": Problem(_chebyquad, tuple(j / 9 for j in range(1, 9)), (3.51687e-3,)),
}
