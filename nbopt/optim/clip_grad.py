"""Gradient clipping as in torch.nn.utils: by the norm of all gradients together, or value by value."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from nbopt.optim.device_arrays import on_device
from nbopt.optim.gradient_lines import lines_of_arrays, lines_of_parameters, why_no_grad
from nbopt.optim.parameter import Parameter
from nbopt.optim.ranges import Range, as_number
from nbopt.optim.torch_tensors import is_tensor

_LIMIT = Range(0.0, math.inf, "[]")
# torch adds this to the norm: gradients whose norm is exactly max_norm shrink by one part in a million.
_MARGIN = 1e-6
# A factor below float32's normal numbers is applied in two steps, or it would lose its digits.
_SMALL, _STEP = 1e-37, 2.0**120


def clip_grad_norm_(
    parameters: Any,
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Any:
    """Scale all gradients by one factor so that their norm, taken together, is at most ``max_norm``.

    The factor is min(1, max_norm / (norm + 1e-6)), as in torch. Gradients on a device are measured
    and scaled there; the call waits for their norm.

    Parameters
    ----------
    parameters : iterable of Parameter or torch tensor, or one of them
        Whatever has a ``.grad``. Where it is None the parameter is passed over; a parameter listed
        twice counts once. Sparse gradients are measured with duplicates summed.
    max_norm : float in [0, inf]
        With inf the gradients are only measured.
    norm_type : float, not 0
        The norm's order p in (sum |g|^p)^(1/p); inf is the largest |g|, -inf the smallest.
    error_if_nonfinite : bool
        Raise if a gradient holds NaN or inf. Otherwise, as in torch, NaN anywhere turns all gradients
        into NaN, and inf turns itself into NaN and everything else into 0.
    foreach : bool, optional
        Accepted as in torch, without meaning here.

    Returns
    -------
    norm : np.float64, or a 0-d tensor if the first parameter is one
        The norm before clipping. It does not overflow or underflow where squares would; where the
        norm itself is above 1.8e308 it is inf, and the gradients are clipped all the same.

    Raises
    ------
    RuntimeError
        If ``error_if_nonfinite`` and a gradient is not finite; nothing has changed then.
    TypeError, ValueError
        If a parameter, gradient or option cannot be used; nothing has changed then.

    References
    ----------
    Pascanu, Mikolov, Bengio, "On the difficulty of training recurrent neural networks", ICML 2013,
    algorithm 1.

    Examples
    --------
    >>> import numpy as np, nbopt
    >>> w = nbopt.Parameter(np.zeros(2), grad=np.array([3.0, 4.0]))
    >>> float(nbopt.clip_grad_norm_([w], max_norm=1.0))
    5.0
    >>> w.grad.round(6)
    array([0.6, 0.8])
    """
    owner = "clip_grad_norm_"
    limit, order = _limit(owner, "max_norm", max_norm), _order(owner, norm_type)
    params = _listed(owner, parameters)
    gradients = lines_of_parameters(owner, params)
    unit, length = gradients.measured.norm(order)
    if error_if_nonfinite and not (math.isfinite(unit) and math.isfinite(length)):
        _refuse_nonfinite(owner, params, unit * length, order)
    first, second = _factors(limit, unit, length)
    if first != 1.0:
        gradients.scale(first, second)
    return _answer(unit * length, params)


def clip_grad_value_(parameters: Any, clip_value: float, foreach: bool | None = None) -> None:
    """Move every element of every gradient into [-clip_value, clip_value]; NaN stays NaN.

    Parameters
    ----------
    parameters : iterable of Parameter or torch tensor, or one of them
        Whatever has a ``.grad``. Where it is None the parameter is passed over.
    clip_value : float in [0, inf]
        The largest absolute value that is left.
    foreach : bool, optional
        Accepted as in torch, without meaning here.

    Raises
    ------
    TypeError, ValueError
        If a gradient is complex, or sparse with entries of the same index, or something else cannot
        be used; nothing has changed then.

    Examples
    --------
    >>> import numpy as np, nbopt
    >>> w = nbopt.Parameter(np.zeros(3), grad=np.array([-7.0, 0.1, 2.0]))
    >>> nbopt.clip_grad_value_([w], 1.0)
    >>> w.grad
    array([-1. ,  0.1,  1. ])
    """
    owner = "clip_grad_value_"
    limit = _limit(owner, "clip_value", clip_value)
    params = _listed(owner, parameters)
    gradients = lines_of_parameters(owner, params, distinct_entries=True)
    if gradients.measured.pairs:
        raise TypeError(f"{owner}: a gradient is complex; complex numbers have no order to clip by")
    gradients.clamp(limit)


def get_total_norm(
    tensors: Any, norm_type: float = 2.0, error_if_nonfinite: bool = False, foreach: bool | None = None
) -> Any:
    """Return the norm of all arrays taken together, as if they were one vector.

    Parameters
    ----------
    tensors : iterable of ndarray, torch tensor or device array, or one of them
        The gradients themselves, not their parameters; None is passed over.
    norm_type : float, not 0
        The norm's order, as in `clip_grad_norm_`.
    error_if_nonfinite : bool
        Raise if an array holds NaN or inf.
    foreach : bool, optional
        Accepted as in torch, without meaning here.

    Returns
    -------
    norm : np.float64, or a 0-d tensor if the first array is a tensor

    Raises
    ------
    RuntimeError
        If ``error_if_nonfinite`` and an array is not finite.
    TypeError, ValueError
        If something is no dense array of float32, float64, complex64 or complex128.

    Examples
    --------
    >>> import numpy as np, nbopt
    >>> float(nbopt.get_total_norm([np.array([3.0]), np.array([4.0])]))
    5.0
    """
    owner = "get_total_norm"
    order = _order(owner, norm_type)
    if isinstance(tensors, np.ndarray) or is_tensor(tensors) or on_device(tensors):
        tensors = [tensors]
    arrays = [a for a in _listed(owner, tensors) if a is not None]
    unit, length = lines_of_arrays(owner, arrays).norm(order)
    if error_if_nonfinite and not (math.isfinite(unit) and math.isfinite(length)):
        raise RuntimeError(f"{owner}: the norm of order {order:g} is {unit * length}")
    return _answer(unit * length, arrays)


def _limit(owner: str, name: str, value: Any) -> float:
    """Return a limit as a float, or say why it is none."""
    if type(value) is not float or not value >= 0:
        _LIMIT.check(owner, name, value)
        value = as_number(value)
    return value


def _order(owner: str, norm_type: Any) -> float:
    """Return a norm's order as a float, or say why it is none."""
    try:
        order = float(norm_type)  # "inf" too, as in torch
    except (TypeError, ValueError):
        order = math.nan
    if math.isnan(order) or order == 0:
        raise ValueError(f"{owner}: norm_type={norm_type!r} must be a number other than 0, or inf or -inf")
    return order


def _listed(owner: str, given: Any) -> list[Any]:
    """Return parameters as a list; one alone is a list of one."""
    if type(given) is list:
        return given
    if isinstance(given, Parameter) or is_tensor(given):
        return [given]
    if isinstance(given, Mapping):
        raise TypeError(f"{owner}: got a {type(given).__name__}; pass its .values()")
    if isinstance(given, np.ndarray):
        raise TypeError(why_no_grad(f"{owner}: this", given))
    if not isinstance(given, Iterable) or isinstance(given, str):
        hint = ""
        if hasattr(given, "param_groups"):
            hint = "; of an optimizer pass [p for group in opt.param_groups for p in group['params']]"
        elif hasattr(given, "parameters"):
            hint = "; of a module pass its .parameters()"
        raise TypeError(f"{owner}: {type(given).__name__} cannot be iterated over{hint}")
    return list(given)


def _factors(limit: float, unit: float, length: float) -> tuple[float, float]:
    """Return the factor that clips, as one number and 1, or as two where one would be too small."""
    norm = unit * length
    too_large = math.isinf(norm) and math.isfinite(unit) and math.isfinite(length)
    a, b = (unit, length) if too_large else (norm + _MARGIN, 1.0)
    factor = limit / a / b
    if factor >= 1 or limit == math.inf:
        return 1.0, 1.0
    if not factor < _SMALL:  # NaN too
        return factor, 1.0
    return (limit / a * _STEP / b if limit > 1 else limit * _STEP / a / b), 1 / _STEP


def _refuse_nonfinite(owner: str, params: list[Any], norm: float, order: float) -> None:
    """Raise the error that `error_if_nonfinite` asks for, naming the first culprit."""
    finite = [bool(np.isfinite(lines_of_parameters(owner, [p]).measured.norm(2.0)).all()) for p in params]
    raise RuntimeError(
        f"{owner}: the norm of order {order:g} of all gradients is {norm}, since that of parameter "
        f"{finite.index(False)} is not finite; nothing was changed"
    )


def _answer(norm: float, given: list[Any]) -> Any:
    """Return a norm as a NumPy number, or as a tensor of torch's choice of dtype where it fits."""
    if not given or not is_tensor(given[0]):
        return np.float64(norm)
    torch = sys.modules["torch"]
    doubles = {torch.float64, torch.complex128}
    single = not 3.4e38 < norm < math.inf and doubles.isdisjoint([x.dtype for x in given if is_tensor(x)])
    return torch.tensor(norm, dtype=torch.float32 if single else torch.float64)
