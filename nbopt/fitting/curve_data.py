"""The data of a fit: checked, without what is to be left out, with the weights of their errors."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from nbopt.fitting.whitening import CHOLESKY, NONE, WEIGHTS, whiten
from nbopt.kernels.reductions import is_finite

_NO_WEIGHTS = np.empty((0, 0))
_ARRAYS = list, tuple, np.ndarray
_DOUBLE = np.dtype(np.float64)


class Data(NamedTuple):
    """What a model is fitted to; ``kind`` and ``W`` are for `whitening`."""

    x: Any
    y: np.ndarray
    kind: int = NONE
    W: np.ndarray = _NO_WEIGHTS

    def weighted(self) -> np.ndarray:
        """Return y divided by its uncertainties, in an array of its own."""
        y = np.array(self.y, np.float64)
        if self.kind != NONE:
            whiten(self.kind, self.W, y)
        return y


def read_data(
    owner: str,
    xdata: Any,
    ydata: Any,
    sigma: Any,
    check_finite: Any,
    nan_policy: Any,
    weights: Any = None,
    names: tuple[str, str] = ("xdata", "ydata"),
) -> Data:
    """Return the data of a fit, or say what is wrong with them.

    Parameters
    ----------
    owner : str
        The public function that was called, for the messages.
    xdata, ydata, sigma, check_finite, nan_policy
        As for `curve_fit`.
    weights : array_like of shape (M,), optional
        In place of `sigma`: what the squares are multiplied by.
    names : (str, str)
        What the caller calls `xdata` and `ydata`.

    Returns
    -------
    Data

    Raises
    ------
    ValueError
        If an argument has a wrong shape, holds what it must not, or is empty.
    """
    if nan_policy not in (None, "raise", "omit"):
        if nan_policy == "propagate":
            raise ValueError(f"{owner}: `nan_policy='propagate'` is not supported by this function.")
        raise ValueError(f"{owner}: nan_policy must be one of {{None, 'raise', 'omit'}}, not {nan_policy!r}")
    finite = nan_policy is None if check_finite is None else bool(check_finite)
    y = _numbers(owner, names[1], ydata, finite)
    x = _numbers(owner, names[0], xdata, finite) if isinstance(xdata, _ARRAYS) else xdata
    if not y.size:
        raise ValueError(f"{owner}: `{names[1]}` must not be empty!")
    if y.ndim != 1:
        if y.ndim > 1:
            raise ValueError(f"{owner}: {names[1]} has shape {y.shape}; it must have one dimension")
        y = y.reshape(1)
    s = None if sigma is None else _numbers(owner, "sigma", sigma, False)
    if weights is not None:
        s = _squared_weights(owner, weights, y.size)
    if nan_policy is not None:
        x, y, s = _without_nan(owner, x, y, s, nan_policy)
        if not y.size:
            raise ValueError(f"{owner}: every point has a NaN in it; none is left")
    if s is None:
        return Data(x, y)
    if weights is not None:
        return Data(x, y, WEIGHTS, np.ascontiguousarray(np.sqrt(s).reshape(1, -1)))
    return Data(x, y, *_weights(owner, s, y.size))


def spread(data: Data, values: Any) -> Data:
    """Return data whose single y, and its weight, stand for each of a model's values."""
    shape = np.shape(values)
    if len(shape) != 1 or shape == data.y.shape:
        return data
    W = np.full((1, *shape), data.W[0, 0]) if data.kind == WEIGHTS else data.W
    return data._replace(y=np.full(shape, data.y[0]), W=W)


def _numbers(owner: str, name: str, values: Any, finite: bool) -> np.ndarray:
    """Return an array of floats."""
    if type(values) is np.ndarray and values.dtype == _DOUBLE and values.flags.c_contiguous:
        array = values  # as most are
    else:
        try:
            if np.iscomplexobj(values):
                raise TypeError("they are complex")
            array = np.asarray(values, np.float64, order="C")
        except (TypeError, ValueError) as error:
            raise type(error)(f"{owner}: {name} must be real numbers: {error}") from None
    line = array if array.ndim == 1 else array.reshape(-1)
    if finite and not is_finite(line):  # NumPy takes five times as long
        bad = tuple(int(k) for k in np.argwhere(~np.isfinite(array))[0])
        at = ", ".join(map(str, bad))
        raise ValueError(f"{owner}: {name} must not contain infs or NaNs; {name}[{at}] is {array[bad]}")
    return array


def _without_nan(owner: str, x: Any, y: np.ndarray, s: Any, policy: str) -> tuple[Any, np.ndarray, Any]:
    """Leave out the points with NaN, or refuse them."""
    bad = np.isnan(y)
    if isinstance(x, np.ndarray) and x.shape[-1:] == y.shape:
        bad = bad | np.isnan(x).any(axis=tuple(range(x.ndim - 1)))
    if not bad.any():
        return x, y, s
    if policy == "raise":
        raise ValueError(f"{owner}: The input contains nan values: point {np.flatnonzero(bad)[0]}")
    keep = ~bad
    if isinstance(x, np.ndarray):
        x = np.ascontiguousarray(x[..., keep])
    if s is not None and s.shape == y.shape:
        s = s[keep]
    elif s is not None and s.ndim == 2:
        s = s[keep][:, keep]
    return x, y[keep], s


def _squared_weights(owner: str, weights: Any, m: int) -> np.ndarray:
    """Return the weights of the squares, or say what is wrong with them."""
    w = _numbers(owner, "weights", weights, True)
    if w.shape != (m,):
        raise ValueError(f"{owner}: weights has shape {w.shape}; it must be ({m},)")
    if (w < 0.0).any() or not w.any():
        bad = int(np.flatnonzero(w < 0.0)[0]) if (w < 0.0).any() else 0
        raise ValueError(f"{owner}: weights[{bad}]={w[bad]}; none may be negative, and not all may be 0")
    return w


def _weights(owner: str, s: np.ndarray, m: int) -> tuple[int, np.ndarray]:
    """Return the kind of weights and their matrix."""
    if s.shape == (m,) or s.size == 1:
        if not (s > 0.0).all() or not np.isfinite(s).all():
            flat = s.reshape(-1)
            bad = np.flatnonzero(~((flat > 0.0) & np.isfinite(flat)))[0]
            raise ValueError(f"{owner}: sigma[{bad}]={flat[bad]} must be positive and finite")
        return WEIGHTS, np.array(np.broadcast_to(1.0 / s.reshape(1, -1), (1, m)))
    if s.shape != (m, m):
        raise ValueError(f"{owner}: `sigma` has incorrect shape: {s.shape}; it must be ({m},) or ({m}, {m})")
    try:
        return CHOLESKY, np.ascontiguousarray(np.linalg.cholesky(s))
    except np.linalg.LinAlgError:
        raise ValueError(f"{owner}: `sigma` must be positive definite.") from None
