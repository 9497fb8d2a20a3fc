"""What a fitted model predicts, with the confidence band that the errors of the parameters make."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from nbopt.fitting.curve_problem import CurveProblem

_STEP = 2.0 ** (-52 / 3)
_LEAK = 1e-6  # share of a slope in a direction that the data leave open, from which on the error is infinite


class Prediction(NamedTuple):
    """Values of the model, their standard errors, and the confidence band (pointwise).

    Examples
    --------
    >>> from nbopt.fitting.prediction import Prediction
    >>> Prediction(1.0, 0.1, 0.8, 1.2).upper
    1.2
    """

    value: Any
    stderr: Any
    lower: Any
    upper: Any


def slopes(problem: CurveProblem, full: np.ndarray, spread: np.ndarray, x: Any) -> np.ndarray:
    """Return the derivatives of the model by its free parameters.

    Parameters
    ----------
    problem : CurveProblem
    full : ndarray of shape (n,)
        Where.
    spread : ndarray of shape (n,)
        Standard errors, for the size of the differences of a parameter near 0.
    x : object
        For the model.

    Returns
    -------
    ndarray of shape (n, points)
        The user's derivatives, or central differences within the bounds.
    """
    if callable(problem.jac):
        return np.asarray(problem.jac(x, *full), np.float64).T
    named, base = problem.named, problem.values(full, x)
    out = np.zeros((full.size, base.size))
    for i in named.free:
        ends = []
        step = _STEP * (max(abs(full[i]), spread[i]) or 1.0)
        for to in (min(full[i] + step, named.upper[i]), max(full[i] - step, named.lower[i])):
            beside = full.copy()
            beside[i] = to
            ends.append((to, problem.values(beside, x).reshape(-1)))
        out[i] = (ends[0][1] - ends[1][1]) / (ends[0][0] - ends[1][0])
    return out


def predict(
    problem: CurveProblem, full: np.ndarray, cov: np.ndarray, away: np.ndarray, quantile: float, x: Any
) -> Prediction:
    """Return the model's values at x with their band, to first order in the errors of the parameters.

    Parameters
    ----------
    problem : CurveProblem
    full : ndarray of shape (n,)
    cov : ndarray of shape (n, n)
        Finite.
    away : ndarray of shape (n, any)
        Directions that the data leave open.
    quantile : float
        Half the width of the band, in standard errors.
    x : object

    Returns
    -------
    Prediction
    """
    value = problem.values(full, x)
    G = slopes(problem, full, np.sqrt(np.diag(cov)), x)
    stderr = np.sqrt(np.maximum(np.einsum("ik,ij,jk->k", G, cov, G), 0.0))
    moved = np.abs(away.T @ G) > _LEAK * (np.abs(away).T @ np.abs(G))
    stderr = np.where(moved.any(axis=0), np.inf, stderr).reshape(value.shape)
    return Prediction(value, stderr, value - quantile * stderr, value + quantile * stderr)
