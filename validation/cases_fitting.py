"""One run of a NIST set by one of the fitters, with the model's evaluations counted and the time taken."""

from __future__ import annotations

import importlib.util
import inspect
import re
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import numpy as np
from scipy import optimize

import nbopt


def _sets() -> Any:
    """Return the models and the reader of the tests."""
    path = Path(__file__).resolve().parents[1] / "tests" / "fitting" / "nist_models.py"
    spec = importlib.util.spec_from_file_location("nist_models", path)
    assert spec is not None and spec.loader is not None
    sys.modules["nist_models"] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SETS = _sets()
COMPILED: dict[str, Any] = {}


def difficulty(name: str) -> str:
    """Return NIST's level of difficulty of a set: Lower, Average or Higher."""
    text = SETS.path(name).read_text(errors="replace")
    return re.search(r"(\w+)\s+Level of Difficulty", text).group(1).lower()  # type: ignore[union-attr]


def nist_run(name: str, start: int, fitter: str) -> dict[str, Any]:
    """Fit a set from a start with default tolerances: digits, evaluations of the model, seconds."""
    case, calls = SETS.read(name), [0]

    def model(x: Any, *p: float) -> Any:
        calls[0] += 1
        return SETS.MODELS[name](x, *p)

    fit = _fitter(fitter, name, model, case, start)
    popt, errors, nfev, message = _quietly(fit)
    nfev = calls[0] if nfev is None else nfev
    seconds = np.inf
    for _ in range(3):
        begin = time.perf_counter()
        _quietly(fit)
        seconds = min(seconds, time.perf_counter() - begin)
    return {
        "parameters": _digits(popt, case.certified),
        "errors": _digits(errors, case.errors),
        "nfev": nfev,
        "seconds": seconds,
        "message": message,
    }


def _fitter(fitter: str, name: str, model: Any, case: Any, start: int) -> Callable[[], Any]:
    """Return a function that fits once: parameters, their errors, evaluations where they are not counted."""
    p0 = case.starts[start]
    if fitter == "lmfit":
        return lambda: _lmfit(SETS.MODELS[name], model, case, p0)
    if fitter == "nbopt, @njit":
        if name not in COMPILED:
            COMPILED[name] = numba.njit(SETS.MODELS[name])
        compiled = COMPILED[name]

        def fit() -> Any:
            popt, pcov, info, _, _ = nbopt.curve_fit(compiled, case.x, case.y, p0, full_output=True)
            return popt, np.sqrt(np.diag(pcov)), info["nfev"] + info["njev"] * p0.size

        return fit
    method = {} if fitter == "nbopt, Python" else {"method": fitter.removeprefix("scipy ")}
    module = nbopt if fitter == "nbopt, Python" else optimize

    def fit_plain() -> Any:
        popt, pcov = module.curve_fit(model, case.x, case.y, p0, **method)
        return popt, np.sqrt(np.diag(pcov)), None

    return fit_plain


def _lmfit(named: Any, model: Any, case: Any, p0: np.ndarray) -> Any:
    """Fit with lmfit's Model and its default method."""
    import lmfit

    names = named.__code__.co_varnames[1 : 1 + p0.size]

    def counted(x: Any, **p: float) -> Any:
        return model(x, *(p[n] for n in names))

    counted.__signature__ = inspect.signature(named)  # type: ignore[attr-defined]
    found = lmfit.Model(counted).fit(case.y, x=case.x, **dict(zip(names, p0, strict=True)))
    errors = [found.params[n].stderr or np.nan for n in names]
    return np.array([found.params[n].value for n in names]), np.array(errors, float), None


def _quietly(fit: Callable[[], Any]) -> tuple[Any, Any, int | None, str]:
    """Fit; where the fitter gives up, no digits are right, and the message says why."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            return *fit(), ""
        except (RuntimeError, ValueError, TypeError) as error:
            return np.nan, np.nan, None, str(error)


def _digits(found: Any, right: np.ndarray) -> float:
    """Return how many digits of the worst number are right: 0 to 11, which NIST certifies."""
    wrong = np.max(np.abs(found - right) / np.abs(right))
    return float(np.clip(-np.log10(wrong + 1e-16), 0.0, 11.0)) if np.isfinite(wrong) else 0.0
