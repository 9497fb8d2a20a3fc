"""Going on from the result of a former solve: its point, and the pairs of its inverse Hessian."""

from __future__ import annotations

from typing import Any

import numpy as np

Pairs = tuple[np.ndarray, np.ndarray]


def pairs_of(former: Any) -> Pairs | None:
    """Return the steps and changes of the gradient that a former result's ``hess_inv`` is made of.

    Parameters
    ----------
    former : OptimizeResult
        Of `nbopt.minimize`, or of scipy's L-BFGS-B.

    Returns
    -------
    (ndarray of shape (pairs, n), ndarray of shape (pairs, n)) or None
        The oldest first, without those that have no curvature; None if the result has none.

    Examples
    --------
    >>> import nbopt
    >>> import numpy as np
    >>> from nbopt.solvers.warm_start import pairs_of
    >>> steps, changes = pairs_of(nbopt.minimize(lambda x: (x @ x, 2 * x), [3.0, 4.0], jac=True))
    >>> np.allclose(changes, 2 * steps)
    True
    """
    product, n = former.get("hess_inv"), np.size(former.get("x"))
    if not (hasattr(product, "sk") and hasattr(product, "yk")):
        return None
    steps, changes = np.asarray(product.sk, np.float64), np.asarray(product.yk, np.float64)
    if steps.ndim != 2 or steps.shape != changes.shape or steps.shape[1] != n:
        return None  # of a problem whose fixed variables scipy has taken out
    curvature = np.einsum("ij,ij->i", steps, changes)
    good = (curvature > 0.0) & np.isfinite(curvature) & np.isfinite(1.0 / np.where(curvature, curvature, 1.0))
    return (steps[good], changes[good]) if good.any() else None
