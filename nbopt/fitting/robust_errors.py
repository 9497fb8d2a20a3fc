"""The errors of a robust fit: Huber's sandwich, which takes the noise, outliers included, from the residuals.

With psi(r) = r rho'((r/C)^2), the derivative of the cost by a residual, and J the Jacobian,

    cov = V inv(J'J),   V = K^2 S / m^2,   S = sum psi^2 / (n - p),   m = mean psi',
    K = 1 + p/n var(psi') / m^2.

Sources: P. J. Huber, "Robust regression: asymptotics, conjectures and Monte Carlo", Ann. Statist. 1 (1973),
799-821; P. J. Huber and E. M. Ronchetti, "Robust statistics", 2nd edition (2009), section 7.6, where it is
the first of three. Of those, and of White's (which averages psi^2 J J'), it came nearest to the truth in
simulations with few points, or points of much leverage; validation/pulls.py shows how near.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from nbopt.fitting.losses import KINDS, fill_rho, psi_slopes, python_rho, unscaled

# K from which on 95 % intervals held the truth in fewer than 90 %, and 70 %, of simulated fits.
_ROUGH, _UNKNOWN = 1.2, 2.0
_ROUNDS = 200  # of reweighting
_FAR = 10.0  # robust standard deviations of the residuals within which nothing is an outlier


class Sandwich(NamedTuple):
    """What the residuals say about the noise: its ``variance`` V, and the ``slope`` m of psi.

    ``jac`` is the Jacobian without the loss, ``scaled`` the one with it, whose product is the second
    derivative of the cost; ``beyond`` counts the residuals larger than f_scale. Where V means nothing it is
    NaN, and ``warnings`` says why.
    """

    variance: float
    slope: float
    jac: np.ndarray
    scaled: np.ndarray
    beyond: int
    warnings: list[str]


def sandwich(
    loss: Any, f_scale: float, r: np.ndarray, jac: np.ndarray, counted: np.ndarray, nvarys: int
) -> Sandwich:
    """Return the variance to multiply the inverse of J'J by.

    Parameters
    ----------
    loss : str or callable
        As for `fit`, not "linear".
    f_scale : float
    r : ndarray of shape (m,)
        Weighted residuals at the solution.
    jac : ndarray of shape (m, k)
        Their Jacobian, scaled for the loss as `least_squares` returns it.
    counted : ndarray of shape (any,)
        Places of the points that have a weight.
    nvarys : int
        Number of fitted parameters.

    Returns
    -------
    Sandwich

    Examples
    --------
    >>> import numpy as np
    >>> from nbopt.fitting.robust_errors import sandwich
    >>> r = np.array([-1.0, 1.0, -1.0, 1.0, 9.0])
    >>> found = sandwich("huber", 2.0, r, np.ones((5, 1)), np.arange(5), 1)
    >>> found.slope, found.beyond, found.variance  # K = 1 + 0.2 * 0.16 / 0.8**2, S = 8 / 4
    (0.8, 1, 3.4453125)
    """
    rho = _rho(loss, f_scale, r)
    both = unscaled(jac, r, f_scale, rho), jac
    size, slopes = np.abs(r[counted]), psi_slopes(r, f_scale, rho)[counted]
    n, beyond = size.size, int(np.count_nonzero(size > f_scale))
    m = float(slopes.mean())
    if n <= nvarys:
        return Sandwich(math.nan, m, *both, beyond, [])
    K = 1.0 + nvarys / n * float(slopes.var()) / m**2 if m > 0.0 else math.inf
    if not K < _UNKNOWN:
        return Sandwich(math.nan, m, *both, beyond, [_bent(f_scale, beyond, n)])
    psi = r[counted] * rho[1][counted]
    variance = (K / m) ** 2 * float(psi @ psi) / (n - nvarys)
    return Sandwich(variance, m, *both, beyond, [_rough(f_scale, size)] if K > _ROUGH else [])


def location(loss: Any, f_scale: float, r: np.ndarray) -> float:
    """Return the number near 0 that is to be taken from residuals so that psi of them sums up to 0.

    Parameters
    ----------
    loss, f_scale, r
        As for `sandwich`.

    Returns
    -------
    float
        By reweighting with rho': of a linear loss it would be the mean.

    Examples
    --------
    >>> import numpy as np
    >>> from nbopt.fitting.robust_errors import location
    >>> round(location("huber", 1.0, np.array([0.1, 0.2, 0.3, 50.0])), 6)  # 0.6 + 1.0 = 3 * c
    0.533333
    """
    centre = 0.0
    for _ in range(_ROUNDS):
        weights = _rho(loss, f_scale, r - centre)[1]
        before, total = centre, float(weights.sum())
        centre = float(weights @ r) / total if total > 0.0 else 0.0
        if abs(centre - before) <= 1e-10 * f_scale:
            break
    return centre


def _rho(loss: Any, f_scale: float, r: np.ndarray) -> np.ndarray:
    """Return loss and derivatives of all residuals, of shape (3, m)."""
    rho = np.empty((3, r.size))
    if callable(loss):
        python_rho(loss, r, f_scale, rho)
    else:
        fill_rho(KINDS[loss], np.ascontiguousarray(r), f_scale, rho)
    return rho


def _bent(f_scale: float, beyond: int, n: int) -> str:
    """Say that the loss has given up most points."""
    return (
        f"The loss has given up too many points ({beyond} of {n} residuals are beyond "
        f"f_scale={f_scale:.6g}): the fit lies far from the data, or f_scale is too small for them; no "
        "standard errors are known."
    )


def _rough(f_scale: float, size: np.ndarray) -> str:
    """Say that few points are left to take the errors from."""
    return (
        f"f_scale={f_scale:.6g} is small beside the residuals (their median is {np.median(size):.6g}), or "
        "there are few data: the standard errors of the robust loss are rough, and rather too small."
    )


def scale_warnings(f_scale: float, r: np.ndarray) -> list[str]:
    """Say that f_scale, in the units of the data, is so large that the loss hardly does anything.

    Parameters
    ----------
    f_scale : float
    r : ndarray of shape (m,)
        Residuals without weights.

    Returns
    -------
    list of str

    Examples
    --------
    >>> import numpy as np
    >>> from nbopt.fitting.robust_errors import scale_warnings
    >>> scale_warnings(1.0, np.array([0.1, -0.2, 0.1, 0.5])), len(scale_warnings(9.0, np.array([0.1, 0.5])))
    ([], 1)
    """
    median = float(np.median(np.abs(r)))
    if not median > 0.0 or f_scale <= _FAR * 1.4826 * median:
        return []
    return [
        f"f_scale={f_scale:.6g} is meant in the units of y and is large beside the residuals (their median "
        f"is {median:.3g}): the loss tames only what lies beyond it; sigma, or a smaller f_scale, would tell "
        "it what an outlier is."
    ]
