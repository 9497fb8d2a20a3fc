"""wolfe_search: a step along a line that meets the strong Wolfe conditions, for any callable."""

from __future__ import annotations

import math
from collections.abc import Callable
from numbers import Real
from typing import Any, NamedTuple

import numpy as np

from nbopt.linesearch import more_thuente, strong_wolfe
from nbopt.linesearch.search_state import (
    BAD_START,
    BEST_DPHI,
    BEST_PHI,
    EVALUATE,
    MESSAGES,
    NFEV,
    NOT_DESCENT,
    SIZE,
    STEP,
)

METHODS: dict[str, Any] = {"more_thuente": more_thuente, "strong_wolfe": strong_wolfe}


class WolfeSearchResult(NamedTuple):
    """What `wolfe_search` returns."""

    step: float
    phi: float
    dphi: float
    nfev: int
    status: int

    @property
    def message(self) -> str:
        """The status in words."""
        return MESSAGES[self.status]


def wolfe_search(
    phi: Callable[[float], tuple[float, float]],
    step: float,
    phi0: float,
    dphi0: float,
    c1: float = 1e-4,
    c2: float = 0.9,
    max_step: float = math.inf,
    max_nfev: int = 50,
    method: str = "more_thuente",
) -> WolfeSearchResult:
    """Search along a line for a step that meets the strong Wolfe conditions.

    These are ``phi(t) <= phi0 + c1*t*dphi0`` and ``|phi'(t)| <= c2*|dphi0|``: the value has fallen
    enough, and the slope has flattened enough.

    Parameters
    ----------
    phi : callable
        ``phi(t)`` returns the value and the slope at step ``t > 0``, two numbers; plain Python or
        compiled. A value or slope that is not finite means that ``t`` is too far.
    step : float
        The first step to try, positive; longer than `max_step` is brought down to it.
    phi0, dphi0 : float
        Value and slope at step 0.
    c1, c2 : float
        Constants of the conditions, ``0 < c1 <= c2 < 1``.
    max_step : float
        The longest step allowed; infinity stands for 1e300.
    max_nfev : int
        Limit of calls of `phi`, at least 1.
    method : {"more_thuente", "strong_wolfe"}
        The search of Moré and Thuente [1]_, which needs few evaluations and is safeguarded; or the
        one of torch.optim.LBFGS, bracketing and zooming [2]_.

    Returns
    -------
    WolfeSearchResult
        The named tuple ``(step, phi, dphi, nfev, status)``. ``status`` 1 means that the conditions
        hold; any other says why not, and ``message`` says it in words: 2 limit of evaluations,
        3 still falling at `max_step`, 4 no decrease at the smallest step, 5 rounding prevents
        progress, 6 `dphi0` is not negative, 7 `phi0` or `dphi0` is not finite. Then `step` is the
        best one found, or 0.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind or out of its range, or `phi` does not return two numbers.

    References
    ----------
    .. [1] J. J. Moré and D. J. Thuente, "Line search algorithms with guaranteed sufficient
       decrease", ACM TOMS 20(3), 1994, 286-307.
    .. [2] J. Nocedal and S. J. Wright, "Numerical Optimization", 2nd ed., algorithms 3.5 and 3.6.

    Examples
    --------
    >>> import nbopt
    >>> result = nbopt.wolfe_search(lambda t: ((t - 2) ** 2, 2 * (t - 2)), 0.1, 4.0, -4.0, c2=0.1)
    >>> round(result.step, 12), result.nfev, result.message
    (2.0, 3, 'The strong Wolfe conditions hold.')
    """
    if not callable(phi):
        raise TypeError(f"wolfe_search: phi must be callable, not {type(phi).__name__}")
    if method not in METHODS:
        raise ValueError(f"wolfe_search: method={method!r} must be one of {sorted(METHODS)}")
    numbers = _checked(step=step, phi0=phi0, dphi0=dphi0, c1=c1, c2=c2, max_step=max_step)
    if isinstance(max_nfev, bool) or not isinstance(max_nfev, int | np.integer) or max_nfev < 1:
        raise ValueError(f"wolfe_search: max_nfev={max_nfev!r} must be an integer in [1, inf)")
    search = METHODS[method]
    s = np.empty(SIZE)
    step, phi0, dphi0, c1, c2, max_step = numbers
    task = search.start(s, phi0, dphi0, step, c1, c2, 0.0, max_step, int(max_nfev), 0.0, 0.0)
    while task == EVALUATE:
        task = search.advance(s, *_call(phi, float(s[STEP])))
    if task in (NOT_DESCENT, BAD_START):
        return WolfeSearchResult(0.0, phi0, dphi0, 0, int(task))
    return WolfeSearchResult(float(s[STEP]), float(s[BEST_PHI]), float(s[BEST_DPHI]), int(s[NFEV]), int(task))


def _checked(**numbers: Any) -> list[float]:
    """Return the arguments as floats, or refuse what is no number or out of range."""
    for name, value in numbers.items():
        if isinstance(value, bool) or not (
            isinstance(value, Real) or (np.ndim(value) == 0 and hasattr(value, "item"))
        ):
            raise TypeError(f"wolfe_search: {name}={value!r} must be a number")
    values = {name: float(value) for name, value in numbers.items()}
    for name in ("step", "max_step"):
        if not values[name] > 0.0 or (name == "step" and math.isinf(values[name])):
            raise ValueError(
                f"wolfe_search: {name}={numbers[name]!r} must be positive{' and finite' * (name == 'step')}"
            )
    if not 0.0 < values["c1"] <= values["c2"] < 1.0:
        raise ValueError(
            f"wolfe_search: c1={numbers['c1']!r} and c2={numbers['c2']!r} must satisfy 0 < c1 <= c2 < 1"
        )
    return list(values.values())


def _call(phi: Callable, t: float) -> tuple[float, float]:
    """Call phi and return its two numbers as floats, or say what it returned instead."""
    answer = phi(t)
    try:
        value, slope = answer
        return float(value), float(slope)
    except (TypeError, ValueError):
        raise TypeError(
            f"wolfe_search: phi({t!r}) must return two numbers, the value and the slope, not {answer!r}"
        ) from None
