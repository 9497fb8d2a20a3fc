"""One run by one of the fitters, of a NIST set or with a robust loss: evaluations counted, and timed."""

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
    """Fit a set from a start: digits, evaluations of the model, seconds.

    Tolerances are the defaults, or those of scipy's methods 1e-14 where the fitter's name says so.
    """
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
        compiled = _compiled(name)

        def fit() -> Any:
            popt, pcov, info, _, _ = nbopt.curve_fit(compiled, case.x, case.y, p0, full_output=True)
            return popt, np.sqrt(np.diag(pcov)), info["nfev"] + info["njev"] * p0.size

        return fit
    if fitter.startswith("nbopt.fit"):
        return _named_fit(_compiled(name) if fitter == "nbopt.fit, @njit" else None, model, case, p0)
    module, options = (nbopt, {}) if fitter == "nbopt, Python" else (optimize, _scipy_options(fitter))

    def fit_plain() -> Any:
        popt, pcov = module.curve_fit(model, case.x, case.y, p0, **options)
        return popt, np.sqrt(np.diag(pcov)), None

    return fit_plain


def _scipy_options(fitter: str) -> dict[str, Any]:
    """Return the options of scipy's curve_fit that a fitter's name stands for."""
    method, _, tolerance = fitter.removeprefix("scipy ").partition(", ")
    if not tolerance:
        return {"method": method}
    limit = {"maxfev": 20_000} if method == "lm" else {"max_nfev": 2000, "x_scale": "jac"}
    return {"method": method, **limit, **dict.fromkeys(("ftol", "xtol", "gtol"), float(tolerance))}


def _compiled(name: str) -> Any:
    """Return the compiled model of a set."""
    if name not in COMPILED:
        COMPILED[name] = numba.njit(SETS.MODELS[name])
    return COMPILED[name]


def _named_fit(compiled: Any, counted: Any, case: Any, p0: np.ndarray) -> Callable[[], Any]:
    """Return a fit by nbopt.fit, of a compiled model or of one that counts its calls."""

    def fit() -> Any:
        found = nbopt.fit(counted if compiled is None else compiled, case.x, case.y, p0)
        errors = np.array([p.stderr for p in found.params.values()])
        return found.x, errors, None if compiled is None else found.nfev + found.njev * p0.size

    return fit


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


@numba.njit
def _decay(p: Any, t: Any) -> Any:
    return p[0] * np.exp(-p[1] * t) + p[2]


@numba.njit
def _wave(p: Any, t: Any) -> Any:
    return p[0] * np.sin(p[1] * t + p[2]) + p[3]


@numba.njit
def _peak(p: Any, t: Any) -> Any:
    return p[0] * np.exp(-(((t - p[1]) / p[2]) ** 2)) + p[3] + p[4] * t


# A model, the parameters that make the data, and where to start.
ROBUST: dict[str, tuple[Any, tuple[float, ...], tuple[float, ...]]] = {
    "decay": (_decay, (2.5, 1.3, 0.4), (1.0, 1.0, 0.0)),
    "wave": (_wave, (1.5, 2.0, 0.3, 0.2), (1.0, 1.9, 0.0, 0.0)),
    "peak on a slope": (_peak, (3.0, 2.0, 0.7, 0.5, 0.1), (2.0, 1.8, 1.0, 0.0, 0.0)),
}


def _residuals(model: Any) -> Any:
    """Return the compiled residuals of a model, in units of the error."""

    @numba.njit
    def residuals(p: Any, t: Any, y: Any) -> Any:
        return (model(p, t) - y) / 0.1

    return residuals


def _plain_residuals(model: Any) -> Any:
    """Return the same, not compiled."""
    return lambda p, t, y: (model.py_func(p, t) - y) / 0.1


def robust_run(name: str, loss: str, fitter: str) -> dict[str, Any]:
    """Fit 100 points with errors of 0.1, every tenth an outlier: cost, distance, evaluations, time."""
    model, truth, start = ROBUST[name]
    rng = np.random.default_rng(7)
    t = np.linspace(0.0, 4.0, 100)
    y = model(np.array(truth), t) + 0.1 * rng.standard_normal(t.size)
    y[::10] += rng.choice([-1.0, 1.0], 10) * rng.uniform(1.0, 3.0, 10)
    module = nbopt if fitter.startswith("nbopt") else optimize
    fun = (_residuals if fitter == "nbopt, @njit" else _plain_residuals)(model)
    best = np.inf
    for _ in range(4):
        begin = time.perf_counter()
        res = module.least_squares(fun, start, loss=loss, args=(t, y))
        best = min(best, time.perf_counter() - begin)
    # Neither counts the evaluations of differences in nfev.
    calls = res.nfev + (0 if fitter == "nbopt, @njit" else len(start) * res.njev)
    distance = float(np.abs(res.x - truth).max())
    return {"cost": float(res.cost), "distance": distance, "nfev": int(calls), "seconds": best}
