"""What the tests of scipy's contract ask curve_fit() about: models and data, and both functions."""

import numpy as np
import pytest
import scipy.optimize
from contract_problems import RECENT

import nbopt

THEIRS, OURS = scipy.optimize.curve_fit, nbopt.curve_fit

JUDGES = {"scipy": THEIRS, "nbopt": OURS} if RECENT else {"nbopt": OURS}
both = pytest.mark.parametrize("curve_fit", JUDGES.values(), ids=JUDGES)
every_method = pytest.mark.parametrize("method", [None, "lm", "trf", "dogbox"])
bounded_method = pytest.mark.parametrize("method", [None, "trf", "dogbox"])
absolute = pytest.mark.parametrize("absolute_sigma", [False, True], ids=["relative", "absolute"])

RNG = np.random.default_rng(17)
X = np.linspace(0.0, 2.0, 15)
ERRORS = np.linspace(0.05, 0.2, X.size)
Y_LINE = 1.5 * X - 0.7 + ERRORS * RNG.normal(size=X.size)
Y_FALL = 2.0 * np.exp(-1.2 * X) + 0.5 * ERRORS * RNG.normal(size=X.size)
_HALF = RNG.normal(size=(X.size, X.size))
MATRIX = 0.002 * _HALF @ _HALF.T + np.diag(ERRORS**2)
DESIGN = np.stack([X, np.ones_like(X)], axis=1)
SIGMAS = {"none": None, "number": 0.1, "errors": ERRORS, "list": ERRORS.tolist(), "matrix": MATRIX}


def line(x, slope, offset):
    return slope * x + offset


def fall(x, height, rate):
    return height * np.exp(-rate * x)


def fall_jac(x, height, rate):
    e = np.exp(-rate * x)
    return np.stack([e, -height * x * e], axis=1)


def by_hand(design, y, sigma=None, absolute_sigma=False):
    """Return the parameters of a linear model and their covariance, from the normal equations."""
    m, n = design.shape
    sigma = 1.0 if sigma is None else np.asarray(sigma, np.float64)
    W = np.linalg.inv(sigma if np.ndim(sigma) == 2 else np.diag(np.broadcast_to(sigma, m) ** 2))
    cov = np.linalg.inv(design.T @ W @ design)
    p = cov @ design.T @ W @ y
    r = y - design @ p
    return p, cov * (1.0 if absolute_sigma else r @ W @ r / (m - n))


def assert_same(found, right, rtol=1e-5):
    """Compare parameters and covariance."""
    np.testing.assert_allclose(found[0], right[0], rtol=rtol, atol=rtol)
    np.testing.assert_allclose(found[1], right[1], rtol=100.0 * rtol, atol=rtol * np.abs(right[1]).max())


class Counted:
    """A model that keeps the parameters that it was called with."""

    def __init__(self, fun):
        self.fun, self.seen = fun, []

    def __call__(self, x, first, second):
        self.seen.append((float(first), float(second)))
        return self.fun(x, first, second)
