"""plot_convergence(): how value and gradient came down in one solve or in several."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nbopt.solvers.history import History

_AXES = {"iterations": "iterations", "nfev": "evaluations of the function", "seconds": "seconds"}


def plot_convergence(results: Any, labels: Any = None, against: str = "iterations", axes: Any = None) -> Any:
    """Plot how far each iterate's value lies above the lowest one, and how large its gradient is.

    Parameters
    ----------
    results : OptimizeResult, or sequence or dict of these
        From `nbopt.minimize` with ``options={"history": True}`` (or ``return_all``). The keys of a dict are
        the labels.
    labels : str or sequence of str, optional
        One for each result.
    against : {"iterations", "nfev", "seconds"}, default "iterations"
        What the horizontal axis shows.
    axes : sequence of two matplotlib axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    ndarray of two matplotlib axes
        The left one has ``f - min(f)``, the minimum taken over all results: the lowest point itself cannot
        be shown. The right one has the largest element of the gradient, within bounds of the projected
        one, that minimize() compares with gtol.

    Raises
    ------
    ValueError
        If a result has no history, or there are not as many labels as results.
    TypeError
        If `results` is anything else.
    ImportError
        If matplotlib is not installed.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("Agg")
    >>> import nbopt
    >>> def bowl(x):
    ...     return x @ x, 2 * x
    >>> kept = {"history": True}
    >>> first = nbopt.minimize(bowl, [3.0, 4.0], jac=True, options=kept)
    >>> second = nbopt.minimize(bowl, [3.0, 4.0], jac=True, method="adam", options={**kept, "lr": 0.1})
    >>> left, right = nbopt.plot_convergence([first, second], ["lbfgs", "adam"])
    >>> left.get_yscale(), right.get_xlabel()
    ('log', 'iterations')
    """
    if against not in _AXES:
        raise ValueError(
            f"plot_convergence: against={against!r} must be one of {', '.join(map(repr, _AXES))}"
        )
    histories, names = _read(results, labels)
    left, right = _two_axes(axes)
    lowest = min((np.nanmin(h.fun) for h in histories if np.isfinite(h.fun).any()), default=0.0)
    for history, name in zip(histories, names, strict=True):
        places = np.arange(history.fun.size) if against == "iterations" else getattr(history, against)
        marker = "." if history.fun.size <= 60 else None
        for axis, heights in ((left, history.fun - lowest), (right, history.gradient)):
            shown = np.where(heights > 0.0, heights, np.nan)  # a logarithm shows no zeros
            axis.plot(places, shown, marker=marker, linewidth=1.2, label=name)
    for axis, title in ((left, "f - min f"), (right, "largest element of the gradient")):
        axis.set(yscale="log", xlabel=_AXES[against], title=title)
        axis.grid(alpha=0.3)
    if any(names):
        left.legend()
    return np.array([left, right])


def _read(results: Any, labels: Any) -> tuple[list[History], list[str | None]]:
    """Return the histories and the labels."""
    if isinstance(results, dict) and "x" not in results:
        results, labels = list(results.values()), list(results) if labels is None else labels
    if isinstance(results, dict):  # an OptimizeResult is one, too
        results = [results]
    if not isinstance(results, Sequence) or not all(isinstance(r, dict) for r in results) or not results:
        raise TypeError(f"plot_convergence: results={results!r} must be a result of minimize(), or several")
    for k, result in enumerate(results):
        if "history" not in result:
            raise ValueError(
                f"plot_convergence: result {k} has no history; "
                'it is kept with minimize(..., options={"history": True})'
            )
    names = [None] * len(results) if labels is None else [labels] if isinstance(labels, str) else list(labels)
    if len(names) != len(results):
        raise ValueError(f"plot_convergence: there are {len(names)} labels and {len(results)} results")
    return [result["history"] for result in results], [None if n is None else str(n) for n in names]


def _two_axes(axes: Any) -> Any:
    """Return the axes to draw on."""
    if axes is not None:
        if np.size(axes) != 2:
            raise ValueError(f"plot_convergence: axes={axes!r} must be two matplotlib axes")
        return axes
    try:
        from matplotlib import pyplot
    except ImportError:
        raise ImportError("plot_convergence: needs the package matplotlib: pip install matplotlib") from None
    return pyplot.subplots(1, 2, figsize=(10, 4), layout="constrained")[1]
