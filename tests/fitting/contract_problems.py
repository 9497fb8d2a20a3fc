"""What the tests of scipy's contract ask least_squares() about: problems, and both functions."""

import numpy as np
import pytest
import scipy
import scipy.optimize

import nbopt

THEIRS, OURS = scipy.optimize.least_squares, nbopt.least_squares
# The contract is that of scipy 1.16 and later; with one before, only ours is asked.
RECENT = tuple(map(int, scipy.__version__.split(".")[:2])) >= (1, 16)
JUDGES = {"scipy": THEIRS, "nbopt": OURS} if RECENT else {"nbopt": OURS}
START = np.array([-1.2, 1.0])
EPS = 2.0**-52

both = pytest.mark.parametrize("least_squares", JUDGES.values(), ids=JUDGES)
every_method = pytest.mark.parametrize("method", ["trf", "dogbox", "lm"])
bounded_method = pytest.mark.parametrize("method", ["trf", "dogbox"])
JACS = ("2-point", "3-point", "cs", "callable")
every_jac = pytest.mark.parametrize("jac", JACS)


def valley(x):
    return np.array([10.0 * (x[1] - x[0] ** 2), 1.0 - x[0]])


def valley_jac(x):
    return np.array([[-20.0 * x[0], 10.0], [-1.0, 0.0]])


def well(x, centre=0.0, depth=1.0):
    return depth * np.cosh(x - centre)


def well_jac(x, centre=0.0, depth=1.0):
    return np.atleast_2d(depth * np.sinh(x - centre))


T = np.linspace(0.0, 3.0, 24)
Y = 2.0 * np.exp(-0.8 * T) + 0.05 * np.random.default_rng(3).normal(size=T.size)


def fall(x, t=T, y=Y):
    return x[0] * np.exp(-x[1] * t) - y


def fall_jac(x, t=T, y=Y):
    e = np.exp(-x[1] * t)
    return np.stack([e, -x[0] * t * e], axis=1)


class Counted:
    """A function that counts its calls and keeps its arguments."""

    def __init__(self, fun):
        self.fun, self.seen = fun, []

    def __call__(self, x, *args):
        self.seen.append(np.array(x))
        return self.fun(x, *args)


# Start, bounds and solution of the valley.
BOXES = [
    ([-2.0, 1.0], ([-np.inf, -1.5], np.inf), [1.0, 1.0]),
    ([2.0, 2.0], ([-np.inf, 1.5], np.inf), [1.2244, 1.5]),
    ([0.0, 2.0], ([-np.inf, 1.5], [1.0, np.inf]), [1.0, 1.5]),
    ([2.0, 2.0], ([1.0, 1.5], [3.0, 3.0]), [1.2244, 1.5]),
    ([-1.2, 1.0], ([-9.0, 0.0], [0.5, 9.0]), [0.5, 0.25]),
]


def hump(z):
    """Return a loss that is none of the named ones, with its derivatives."""
    t = 1.0 + 0.5 * z
    return np.array([4.0 * (np.sqrt(t) - 1.0), 1.0 / np.sqrt(t), -0.25 * t**-1.5])


LOSSES = ["linear", "soft_l1", "huber", "cauchy", "arctan", hump]
every_loss = pytest.mark.parametrize("loss", LOSSES, ids=[*LOSSES[:-1], "callable"])
