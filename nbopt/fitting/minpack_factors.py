"""What curve_fit(full_output=True) tells of the Jacobian with "lm": its factors, in MINPACK's form."""

from __future__ import annotations

import numpy as np


def factors(jac: np.ndarray, r: np.ndarray) -> dict[str, np.ndarray]:
    """Return ``fjac``, ``ipvt`` and ``qtf`` as `scipy.optimize.leastsq` names them.

    Parameters
    ----------
    jac : ndarray of shape (m, n)
        The Jacobian at the solution, m >= n, finite.
    r : ndarray of shape (m,)
        The residuals there.

    Returns
    -------
    dict
        ``fjac`` of shape (n, m): R' of the factorization ``jac[:, ipvt] = Q R``, then zeros; ``ipvt`` of
        shape (n,): the order of the columns; ``qtf`` of shape (n,): Q'r.

    Examples
    --------
    >>> import numpy as np
    >>> from nbopt.fitting.minpack_factors import factors
    >>> factors(np.array([[0.0, 2.0], [1.0, 0.0], [0.0, 0.0]]), np.ones(3))["ipvt"]
    array([1, 0], dtype=int32)
    """
    from scipy.linalg import qr  # not at import: few ask for this

    m, n = jac.shape
    Q, R, order = qr(jac, mode="economic", pivoting=True)
    fjac = np.zeros((n, m))
    fjac[:, :n] = R.T
    return {"fjac": fjac, "ipvt": order.astype(np.int32), "qtf": Q.T @ r}
