"""A fit as a picture: data, fit and band above, residuals below."""

from __future__ import annotations

from typing import Any

import numpy as np

from nbopt.fitting.fit_summary import name_of_cost
from nbopt.fitting.whitening import CHOLESKY, WEIGHTS

_FIT, _DATA = "#c2410c", "#334155"
_POINTS = 400  # of the curve


def plot(result: Any, level: float, axes: Any) -> Any:
    """Draw a fit.

    Parameters
    ----------
    result : FitResult
    level : float
        Of the confidence band.
    axes : pair of matplotlib axes or None

    Returns
    -------
    matplotlib Figure

    Notes
    -----
    Where x is not one row of numbers, the points are numbered and the curve is drawn at the data only.
    """
    if axes is None:
        from matplotlib import pyplot as plt

        _, axes = plt.subplots(2, 1, sharex=True, height_ratios=(3, 1), layout="constrained")
    try:
        above, below = axes
    except (TypeError, ValueError):
        raise ValueError(
            f"FitResult.plot: axes={axes!r} must be two, for the fit and the residuals"
        ) from None
    data = result.problem.data
    x, numbered = _abscissa(data)
    error = _bars(result)
    above.errorbar(x, data.y, error, fmt=".", color=_DATA, elinewidth=0.8, ms=5, label="data", zorder=2)
    at, band = _curve(result, level, x, numbered)
    above.plot(at, band.value, color=_FIT, label=_label(result), zorder=3)
    if np.isfinite(band.stderr).all():
        name = f"{100 * level:.4g}% confidence"
        above.fill_between(at, band.lower, band.upper, color=_FIT, alpha=0.2, lw=0, label=name, zorder=1)
    above.set_ylabel("y")
    above.legend(fontsize="small")
    below.axhline(0.0, color=_FIT, lw=1)
    below.plot(x, result.residual, ".", color=_DATA, ms=5)
    below.set_xlabel("point" if numbered else "x")
    below.set_ylabel("residual" if error is None else "residual / error")
    return above.figure


def _label(result: Any) -> str:
    """Return the name of the curve."""
    name = name_of_cost(result).replace("chi square", "χ²")
    state = "" if result.success else " (NOT CONVERGED)"
    return f"fit{state}, {name}/{result.nfree} = {result.redchi:.3g}"


def _abscissa(data: Any) -> tuple[np.ndarray, bool]:
    """Return where the points are drawn, and whether that is just their number."""
    x = np.asarray(data.x) if isinstance(data.x, np.ndarray) else np.empty(0)
    if x.shape == data.y.shape:
        return x, False
    return np.arange(data.y.size), True


def _bars(result: Any) -> np.ndarray | None:
    """Return the errors of the data, if they are known."""
    data = result.problem.data
    if result.problem.poisson:
        return np.sqrt(np.maximum(result.best_fit, 0.0))
    if data.kind == WEIGHTS:
        w = np.broadcast_to(data.W[0], data.y.shape)
        return np.where(w > 0.0, 1.0 / np.where(w > 0.0, w, 1.0), 0.0)
    if data.kind == CHOLESKY:
        return np.sqrt(np.einsum("ij,ij->i", data.W, data.W))
    return None


def _curve(result: Any, level: float, x: np.ndarray, numbered: bool) -> tuple[np.ndarray, Any]:
    """Return where the curve is drawn, and the prediction there."""
    if not numbered:
        at = np.linspace(x.min(), x.max(), _POINTS)
        try:
            found = result.predict(at, level)
            if found.value.shape == at.shape:
                return at, found
        except (ValueError, IndexError):  # a model for just these x
            pass
        order = np.argsort(x)
        found = result.predict(level=level)
        return x[order], type(found)(*(np.broadcast_to(part, x.shape)[order] for part in found))
    return x, result.predict(level=level)
