"""The options of minimize(): scipy's names and defaults, checked, unknown ones warned about."""

from __future__ import annotations

import functools
import inspect
import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import OptimizeWarning

from nbopt.optim.near_miss import nearest


class Options(NamedTuple):
    """Options of method "lbfgs", with the defaults of scipy's L-BFGS-B."""

    maxcor: int = 10
    ftol: float = 1e7 * 2.0**-52
    gtol: float = 1e-5
    maxfun: int = 15000
    maxiter: int = 15000
    maxls: int = 20
    eps: Any = 1e-8
    finite_diff_rel_step: Any = None
    disp: bool = False
    return_all: bool = False
    history: bool = False
    progress: bool = False


DEFAULTS = Options()
_LEAST = {"maxcor": 1, "maxfun": 1, "maxiter": 0, "maxls": 1}
_ENDLESS = 2**62


@functools.lru_cache(maxsize=256, typed=True)  # True is not 1
def _count(name: str, value: Any) -> int:
    """Check an option that counts something; infinity is allowed."""
    least = _LEAST[name]
    whole = not isinstance(value, bool) and isinstance(value, int | float) and value >= least
    if not whole or (value != math.inf and value != int(value)) or (name == "maxcor" and value == math.inf):
        raise ValueError(f"minimize: {name}={value!r} must be an integer in [{least}, inf)")
    return int(min(value, _ENDLESS))


def _tolerance(name: str, value: Any) -> float:
    """Check a tolerance."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not 0.0 <= number < math.inf:
        raise ValueError(f"minimize: {name}={value!r} must be a number in [0, inf)")
    return number


def _as_dict(options: Any) -> dict[str, Any]:
    """Return a copy of the options as a dict."""
    if not isinstance(options, Mapping | None):
        raise TypeError(f"minimize: options={options!r} must be a dict")
    return dict(options or {})


def read_options(options: Any, tol: Any) -> Options:
    """Return the options of a call; what is None keeps its default.

    Parameters
    ----------
    options : mapping or None
        As the user gave it.
    tol : float or None
        Sets `ftol` and `gtol` where `options` does not.

    Returns
    -------
    Options

    Raises
    ------
    ValueError
        If a value is out of its range.
    """
    if not options and tol is None:
        return DEFAULTS
    values: dict[str, Any] = {} if tol is None else dict.fromkeys(("ftol", "gtol"), _tolerance("tol", tol))
    unknown = []
    for name, value in _as_dict(options).items():
        if name not in Options._fields:
            unknown.append(name)
        elif name in _LEAST and value is not None:
            values[name] = _count(name, value.item() if hasattr(value, "item") else value)
        elif name in ("ftol", "gtol") and value is not None:
            values[name] = _tolerance(name, value)
        elif value is not None:
            values[name] = value
    _mention(unknown, Options._fields)
    return Options(**values)


def _mention(unknown: list[Any], known: Sequence[str]) -> None:
    """Warn of options that the method does not know, as scipy does, and say what they may have meant."""
    if unknown:
        close = dict.fromkeys(filter(None, (nearest(name, known) for name in unknown)))
        hint = f"did you mean {', '.join(map(repr, close))}?" if close else f"known are {', '.join(known)}"
        text = f"Unknown solver options: {', '.join(map(str, unknown))}; {hint}"
        warnings.warn(text, OptimizeWarning, stacklevel=4)


class FirstOrderOptions(NamedTuple):
    """Options of the methods that are torch's optimizers; `optimizer` holds those of its own."""

    optimizer: Any
    schedule: Any = None
    clip_grad_norm: float = math.inf
    clip_grad_value: float = math.inf
    ftol: float = 0.0
    gtol: float = 1e-5
    maxfun: int = _ENDLESS
    maxiter: int = 10_000
    finite_diff_rel_step: Any = None
    disp: bool = False
    return_all: bool = False
    history: bool = False
    progress: bool = False
    eps: float = 1e-8  # the step of differences; an optimizer's own eps is in `optimizer`


# Arguments of torch's constructors that are no options here: there is one parameter, and it is minimized.
_NOT_OPTIONS = {"params", "maximize", "foreach", "fused", "capturable", "differentiable"}


def read_first_order(kind: Any, options: Any, tol: Any) -> FirstOrderOptions:
    """Return the options of a call by an optimizer; those of its constructor go there.

    Parameters
    ----------
    kind : type
        The optimizer's class; ``kind.options_of``, if there is one, has the constructor to go by.
    options : mapping or None
        As the user gave it.
    tol : float or None
        Sets `gtol` where `options` does not.
    """
    own = [
        n for n in inspect.signature(getattr(kind, "options_of", kind)).parameters if n not in _NOT_OPTIONS
    ]
    common = [name for name in FirstOrderOptions._fields if name not in ("optimizer", "eps")]
    values: dict[str, Any] = {} if tol is None else {"gtol": _tolerance("tol", tol)}
    hyper, unknown = {}, []
    for name, value in _as_dict(options).items():
        if name in own:
            hyper[name] = value
        elif name not in common:
            unknown.append(name)
        elif value is not None:
            values[name] = _first_order_value(name, value)
    _mention(unknown, [*own, *common])
    return FirstOrderOptions(kind([np.zeros(1)], **hyper), **values)


def _first_order_value(name: str, value: Any) -> Any:
    """Check one option that all optimizers have here."""
    if name in _LEAST:
        return _count(name, value.item() if hasattr(value, "item") else value)
    if name in ("ftol", "gtol"):
        return _tolerance(name, value)
    if name in ("clip_grad_norm", "clip_grad_value"):
        number = _tolerance(name, value) if value != math.inf else math.inf
        if number == 0.0:
            raise ValueError(f"minimize: {name}={value!r} must lie in (0, inf]")
        return number
    if name == "schedule":
        if not hasattr(value, "bind") or isinstance(value, type):
            raise TypeError(f"minimize: schedule={value!r} must be made as StepLR.schedule(...)")
        if value.kind.__name__ == "ReduceLROnPlateau":
            raise ValueError(
                "minimize: a schedule by ReduceLROnPlateau needs a metric; use a loop of objects"
            )
    return value
