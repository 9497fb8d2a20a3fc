"""Robust losses: what a residual costs, and how residuals and Jacobian are scaled for Gauss-Newton.

The cost is 1/2 sum C^2 rho((r/C)^2). With J scaled by sqrt(rho' + 2 rho'' z) and r by rho' over it, J'r is
the gradient and J'J the Gauss-Newton Hessian of that cost. Source: B. Triggs, P. F. McLauchlan,
R. I. Hartley and A. W. Fitzgibbon, "Bundle adjustment - a modern synthesis", LNCS 1883 (2000), section 4.3.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from nbopt.kernels.compile import compiled

LINEAR, SOFT_L1, HUBER, CAUCHY, ARCTAN, CALLABLE = range(6)
KINDS = {"linear": LINEAR, "soft_l1": SOFT_L1, "huber": HUBER, "cauchy": CAUCHY, "arctan": ARCTAN}

_EPS = 2.0**-52


@compiled
def rho_at(kind, z):
    """Return a loss and its first two derivatives at z = (r/C)^2."""
    if kind == SOFT_L1:
        t = 1.0 + z
        root = math.sqrt(t)
        return 2.0 * z / (root + 1.0), 1.0 / root, -0.5 / (t * root)
    if kind == HUBER:
        if z <= 1.0:
            return z, 1.0, 0.0
        root = math.sqrt(z)
        return 2.0 * root - 1.0, 1.0 / root, -0.5 / (z * root)
    if kind == CAUCHY:
        t = 1.0 / (1.0 + z)
        return math.log1p(z), t, -t * t
    if kind == ARCTAN:
        t = 1.0 / (1.0 + z * z)
        return math.atan(z), t, -2.0 * z * t * t
    return z, 1.0, 0.0


@compiled
def fill_rho(kind, r, scale, rho):
    """Write loss and derivatives of all residuals to rho, of shape (3, m)."""
    for i in range(r.size):
        z = (r[i] / scale) ** 2
        rho[0, i], rho[1, i], rho[2, i] = rho_at(kind, z)


@compiled
def cost_of(kind, r, scale, rho):
    """Return the cost of residuals, whose rho is filled unless the loss is linear."""
    total = 0.0
    if kind == LINEAR:
        for i in range(r.size):
            total += r[i] * r[i]
        return 0.5 * total
    for i in range(r.size):
        total += rho[0, i]
    return 0.5 * scale * scale * total


@compiled
def weights(rho, i, residual, scale):
    """Return the factors of residual i and of its row of the Jacobian."""
    slope = rho[1, i]
    square = slope + 2.0 * rho[2, i] * (residual / scale) ** 2
    by = math.sqrt(max(square, _EPS))
    return slope / by, by


def python_rho(loss: Callable, r: np.ndarray, scale: float, rho: np.ndarray) -> None:
    """Write what the user's loss gives to rho, or say what is wrong with it."""
    values = np.asarray(loss((r / scale) ** 2), np.float64)
    if values.shape != rho.shape:
        raise ValueError(
            f"least_squares: loss returned an array of shape {values.shape}; it must be {rho.shape}: "
            "the loss and its first two derivatives, for each residual"
        )
    rho[...] = values


def scaled(
    kind: int, r: np.ndarray, jac: np.ndarray, scale: float, rho: Any
) -> tuple[np.ndarray, np.ndarray]:
    """Return residuals and Jacobian scaled for a loss; the same arrays if it is linear."""
    if kind == LINEAR:
        return r, jac
    if kind != CALLABLE:
        fill_rho(kind, r, scale, rho)
    by = np.sqrt(np.maximum(psi_slopes(r, scale, rho), _EPS))
    return r * rho[1] / by, jac * by[:, None]


def unscaled(jac: np.ndarray, r: np.ndarray, scale: float, rho: np.ndarray) -> np.ndarray:
    """Return the Jacobian as it was before `scaled`, of a loss that is not linear."""
    return jac / np.sqrt(np.maximum(psi_slopes(r, scale, rho), _EPS))[:, None]


def psi_slopes(r: np.ndarray, scale: float, rho: np.ndarray) -> np.ndarray:
    """Return the derivative of psi = r rho' by each residual: the second derivative of the cost."""
    return rho[1] + 2.0 * rho[2] * (r / scale) ** 2
