"""The options of minimize(): scipy's names and defaults, checked, unknown ones warned about."""

from __future__ import annotations

import functools
import math
import warnings
from typing import Any, NamedTuple

from scipy.optimize import OptimizeWarning


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


DEFAULTS = Options()
_LEAST = {"maxcor": 1, "maxfun": 1, "maxiter": 0, "maxls": 1}
_ENDLESS = 2**62


@functools.lru_cache(maxsize=256)
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
    for name, value in dict(options or {}).items():
        if name not in Options._fields:
            unknown.append(name)
        elif name in _LEAST and value is not None:
            values[name] = _count(name, value.item() if hasattr(value, "item") else value)
        elif name in ("ftol", "gtol") and value is not None:
            values[name] = _tolerance(name, value)
        elif value is not None:
            values[name] = value
    if unknown:
        warnings.warn(
            f"Unknown solver options: {', '.join(map(str, unknown))}", OptimizeWarning, stacklevel=3
        )
    return Options(**values)
