"""The errors of fitted parameters, and in words what stands in their way."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from nbopt.fitting.covariance import covariance

_EPS = 2.0**-52
_SHARE = 1e-6  # of a parameter in a direction that the data leave open, from which on it counts


class Errors(NamedTuple):
    """The inverse of the information, without the variance of the data, and what to know about it.

    In ``cov`` the parameters on a bound are NaN and undetermined ones have infinite variances; ``known`` has
    zeros in place of both. The columns of ``open`` are directions that the data say nothing about.
    """

    cov: np.ndarray
    known: np.ndarray
    open: np.ndarray
    warnings: list[str]


def errors_of(
    jac: np.ndarray,
    names: tuple[str, ...],
    free: np.ndarray,
    sides: np.ndarray,
    noise: float = 0.0,
    floor: np.ndarray | None = None,
) -> Errors:
    """Return the errors of all parameters from the Jacobian by the free ones.

    Parameters
    ----------
    jac : ndarray of shape (m, k)
        Weighted derivatives of the residuals.
    names : tuple of str, length n
    free : ndarray of shape (k,)
        Places of the free parameters.
    sides : ndarray of shape (k,)
        -1 or 1 for those on a lower or upper bound, else 0.
    noise : float
        Relative error of the Jacobian, more than its rounding, if it comes from finite differences.
    floor : ndarray of shape (k,), optional
        Lengths of the columns up to which they count as 0: no effect of the parameter is seen in the data.

    Returns
    -------
    Errors

    Examples
    --------
    >>> import numpy as np
    >>> from nbopt.fitting.fit_errors import errors_of
    >>> jac = np.array([[1.0, 2.0], [1.0, 2.0]])
    >>> errors_of(jac, ("a", "b"), np.array([0, 1]), np.zeros(2)).warnings
    ['The data determine only a combination of a and b: their standard errors are infinite.']
    """
    n, words = len(names), _at_bounds(names, free, sides)
    inner = np.flatnonzero(sides == 0)
    places = free[inner]
    cov, known = np.zeros((n, n)), np.zeros((n, n))
    J = jac[:, inner]
    with np.errstate(all="ignore"):
        lengths = np.sqrt(np.einsum("ij,ij->j", J, J))
    if not np.isfinite(lengths).all():
        return _unknown(names, free, words)
    lost = lengths <= (0.0 if floor is None else floor[inner])
    for i in np.flatnonzero(lost):
        name = names[places[i]]
        words.append(f"The model does not depend on {name} at the solution: its standard error is infinite.")
    seen = np.flatnonzero(~lost)
    small, directions = _inverse(J[:, seen], lengths[seen], noise)
    shares = np.abs(directions * lengths[seen, None])  # as in the scaled Jacobian
    open_ = (shares > _SHARE).any(axis=1)
    if open_.any():
        which = _and([names[places[i]] for i in seen[open_]])
        words.append(f"The data determine only a combination of {which}: their standard errors are infinite.")
    known[np.ix_(places[seen], places[seen])] = small
    cov[...] = known
    for i in [*np.flatnonzero(lost), *seen[open_]]:
        cov[places[i]] = cov[:, places[i]] = np.nan
        cov[places[i], places[i]] = np.inf
    for i in free[sides != 0]:
        cov[i] = cov[:, i] = np.nan
    away = np.zeros((n, directions.shape[1] + int(lost.sum())))
    away[places[seen], : directions.shape[1]] = directions
    away[places[lost], directions.shape[1] :] = np.eye(int(lost.sum()))
    return Errors(cov, known, away, words)


def _unknown(names: tuple[str, ...], free: np.ndarray, words: list[str]) -> Errors:
    """Return that there are no errors, and say so."""
    n = len(names)
    cov = np.zeros((n, n))
    cov[free] = cov[:, free] = np.nan
    words.append(
        "The derivatives are not finite at the solution, or a mean of counts is 0 there: "
        "no standard errors are known; see conf_int()."
    )
    return Errors(cov, cov, np.zeros((n, 0)), words)


def _inverse(J: np.ndarray, lengths: np.ndarray, noise: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the (pseudo-)inverse of J'J, and in columns the directions that it leaves open."""
    m, k = J.shape
    if not k:
        return np.empty((0, 0)), np.empty((0, 0))
    full = covariance(J)
    if full is not None and noise == 0.0:
        return full, np.empty((k, 0))
    s, VT = np.linalg.svd(J / lengths, full_matrices=m < k)[1:]
    s = np.concatenate([s, np.zeros(k - s.size)])
    keep = s > max(noise, _EPS * max(m, k)) * s[0]
    if full is not None and keep.all():
        return full, np.empty((k, 0))
    keep[-1] = False  # one at least is open, or there would have been an inverse
    root = VT[keep].T / s[keep] / lengths[:, None]
    with np.errstate(over="ignore", invalid="ignore"):  # variances may be larger than any number
        known = root @ root.T
    return known, VT[~keep].T / lengths[:, None]


def _at_bounds(names: tuple[str, ...], free: np.ndarray, sides: np.ndarray) -> list[str]:
    """Say which parameters stand on a bound."""
    return [
        f"{names[i]} is at its {'lower' if side < 0 else 'upper'} bound: its standard error is not known, "
        "and those of the others hold for this value; see conf_int()."
        for i, side in zip(free.tolist(), sides.tolist(), strict=True)
        if side
    ]


def _and(names: list[str]) -> str:
    """Join names to a phrase."""
    return names[0] if len(names) < 2 else f"{', '.join(names[:-1])} and {names[-1]}"
