"""Smooth functions in plain NumPy, and runs of LBFGS on them that note every evaluation."""

from typing import NamedTuple

import numpy as np

from nbopt.optim.lbfgs import LBFGS


def rosenbrock(x):
    a, b = 1 - x[:-1], x[1:] - x[:-1] ** 2
    g = np.zeros_like(x)
    g[:-1] -= 2 * a + 400 * b * x[:-1]
    g[1:] += 200 * b
    return float((a * a + 100 * b * b).sum()), g


def quadratic(x):
    scale = 10.0 ** np.linspace(-1, 2, x.size)
    return float(0.5 * (scale * (x - 1) ** 2).sum()), scale * (x - 1)


def beale(x):
    r = [c - x[0] * (1 - x[1] ** k) for k, c in ((1, 1.5), (2, 2.25), (3, 2.625))]
    g0 = sum(-2 * r[k - 1] * (1 - x[1] ** k) for k in (1, 2, 3))
    g1 = sum(2 * r[k - 1] * x[0] * k * x[1] ** (k - 1) for k in (1, 2, 3))
    return float(sum(v * v for v in r)), np.array([g0, g1])


def powell(x):
    r = np.array(
        [x[0] + 10 * x[1], 5**0.5 * (x[2] - x[3]), (x[1] - 2 * x[2]) ** 2, 10**0.5 * (x[0] - x[3]) ** 2]
    )
    a, b = 2 * (x[1] - 2 * x[2]), 2 * 10**0.5 * (x[0] - x[3])
    J = np.array([[1, 10, 0, 0], [0, 0, 5**0.5, -(5**0.5)], [0, a, -2 * a, 0], [b, 0, 0, -b]])
    return float(r @ r), 2 * J.T @ r


def himmelblau(x):
    a, b = x[0] ** 2 + x[1] - 11, x[0] + x[1] ** 2 - 7
    return float(a * a + b * b), np.array([4 * a * x[0] + 2 * b, 2 * a + 4 * b * x[1]])


def tridiagonal(x):
    left, right = np.r_[0, x[:-1]], np.r_[x[1:], 0]
    r = (3 - 2 * x) * x - left - 2 * right + 1
    g = 2 * r * (3 - 4 * x)
    g[:-1] -= 2 * r[1:]
    g[1:] -= 4 * r[:-1]
    return float(r @ r), g


_RNG = np.random.default_rng(0)
_DATA = _RNG.standard_normal((40, 6))
_LABELS = np.where(_RNG.random(40) < 0.5, -1.0, 1.0)


def logistic(x):
    margin = _LABELS * (_DATA @ x)
    share = 1 / (1 + np.exp(margin))
    return float(np.log1p(np.exp(-margin)).sum() + 0.05 * x @ x), -_DATA.T @ (_LABELS * share) + 0.1 * x


def exponentials(x):
    t = np.arange(1, 11) / 10
    e0, e1 = np.exp(-t * x[0]), np.exp(-t * x[1])
    r = e0 - e1 - x[2] * (np.exp(-t) - np.exp(-10 * t))
    g = [(-2 * r * t * e0).sum(), (2 * r * t * e1).sum(), (-2 * r * (np.exp(-t) - np.exp(-10 * t))).sum()]
    return float(r @ r), np.array(g)


def waves(x):
    k = np.arange(1, x.size + 1)
    return float((np.cos(k * x) + 0.1 * x**2 * k).sum()), -k * np.sin(k * x) + 0.2 * x * k


FUNCTIONS = {
    "rosenbrock": (rosenbrock, [-1.2, 1.0]),
    "rosenbrock of 10": (rosenbrock, [-1.2, 1.0] * 5),
    "quadratic": (quadratic, [0.0] * 8),
    "beale": (beale, [1.0, 0.8]),
    "powell": (powell, [3.0, -1.0, 0.0, 1.0]),
    "himmelblau": (himmelblau, [4.0, 4.0]),
    "tridiagonal": (tridiagonal, [-1.0] * 6),
    "logistic": (logistic, [0.1] * 6),
    "exponentials": (exponentials, [0.0, 10.0, 20.0]),
    "waves": (waves, [0.9, -0.4, 0.3, 1.1]),
}


class Run(NamedTuple):
    """What a run visited, and where it ended."""

    points: list
    losses: list
    x: np.ndarray
    opt: LBFGS


def run(fun, x0, steps=1, **options):
    """Run our optimizer; return its points, their losses, the parameters and the optimizer."""
    x, points, losses = np.array(x0), [], []
    opt = LBFGS([x], **options)

    def closure():
        value, g = fun(x)
        points.append(x.copy())
        losses.append(value)
        return value, [g]

    for _ in range(steps):
        opt.step(closure)
    return Run(points, losses, x, opt)


def state_of(opt):
    return opt.state[opt.param_groups[0]["params"][0]]
