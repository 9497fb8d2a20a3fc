"""Counts: Poisson's deviance as a sum of squares, so that the least-squares engine can fit it.

The deviance of a count y with mean mu is d = 2 (mu - y + y log(y / mu)); its signed square root
sign(mu - y) sqrt(d) takes the place of a residual, so that half the sum of squares is the negative
log-likelihood, up to a constant. Source: P. McCullagh and J. A. Nelder, "Generalized linear models", 2nd
edition (1989), sections 2.3 and 2.4.3.
"""

from __future__ import annotations

import math

import numpy as np

from nbopt.kernels.compile import compiled

_NEAR = 0.1  # relative distance of mu and y below which logarithms cancel
_TINY = 1e-300  # keeps the slope finite where a mean is 0 by the model


@compiled
def deviance_roots(mu, y):
    """Return the signed root of the deviance of each count; NaN where a mean is negative."""
    out = 0.0 * mu
    for i in range(y.size):
        out[i] = root_at(mu[i], y[i])
    return out


@compiled
def root_at(mu, y):
    """Return the signed root of the deviance of one count."""
    if y == 0.0:
        return math.sqrt(2.0 * (mu + _TINY))
    t = (mu - y) / y
    if abs(t) < _NEAR:
        return math.sqrt(y) * t * math.sqrt(series(t))
    root = math.sqrt(2.0 * (mu - y - y * math.log(mu / y)))
    return root if mu > y else -root


@compiled
def series(t):
    """Return 2 (t - log(1 + t)) / t^2 for small t."""
    total = 0.0 * t
    for k in range(19, 1, -1):
        total = 2.0 / k - t * total
    return total


@compiled
def root_slopes(mu, y):
    """Return the derivatives of the roots by the means."""
    out = np.empty(y.size)
    for i in range(y.size):
        t = (mu[i] - y[i]) / y[i] if y[i] > 0.0 else math.inf
        if abs(t) < _NEAR:
            out[i] = 1.0 / ((1.0 + t) * math.sqrt(y[i]) * math.sqrt(series(t)))
        else:
            out[i] = (1.0 - y[i] / (mu[i] + _TINY)) / root_at(mu[i], y[i])
    return out


def information_rows(jac: np.ndarray, mu: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return rows whose products sum up to Fisher's information.

    Parameters
    ----------
    jac : ndarray of shape (m, k)
        The Jacobian of the roots.
    mu, y : ndarray of shape (m,)
        Means and counts.

    Returns
    -------
    ndarray of shape (m, k)
        The derivatives of the means over the roots of the means: J'J is the expected second derivative of
        the negative log-likelihood. Rows with a mean of 0 count for nothing.
    """
    with np.errstate(all="ignore"):
        by = np.where(mu > 0.0, 1.0 / (root_slopes(mu, y) * np.sqrt(np.where(mu > 0.0, mu, 1.0))), 0.0)
        return jac * by[:, None]
