"""minimize() on anything: holes of NaN, cliffs, overflow, plateaus, noise. It ends and says why."""

import math

import numpy as np
import pytest
from numba import njit

from nbopt.solvers.minimize import minimize

hypothesis = pytest.importorskip("hypothesis", reason="hypothesis is not installed: nothing random was tried")
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

MOST = 300  # evaluations
KINDS = (
    "bowl", "valley", "cone", "cliff", "hole of NaN", "wall of infinity", "bottomless", "overflow", "plateau",
    "noise", "wrong gradient", "gradient of NaN", "steps", "saddle", "NaN everywhere", "minus infinity",
)  # fmt: skip


@njit(error_model="numpy")
def anything(x, kind, scale, shift, seed):
    """Return the value and gradient of one of the KINDS."""
    n = x.size
    f, g = 0.0, np.empty(n)
    for k in range(n):
        d = x[k] - shift
        f += (k + 1.0) * d * d
        g[k] = 2.0 * (k + 1.0) * d
    if kind == 1:
        for k in range(n - 1):
            a = x[k + 1] - x[k] * x[k]
            f += 100.0 * a * a
            g[k] -= 400.0 * a * x[k]
            g[k + 1] += 200.0 * a
    elif kind == 2:
        root = np.sqrt(f)
        for k in range(n):
            g[k] /= 2.0 * root
        f = root
    elif kind == 3 and x[0] > shift + 0.3:
        f += 1e6
    elif kind == 4 and x[0] < shift + 0.1:
        f = math.nan
    elif kind == 5 and x[n - 1] < shift + 0.2:
        f = math.inf
    elif kind == 6 or (kind == 15 and f < 1.0):
        f = -f if kind == 6 else -math.inf
        for k in range(n):
            g[k] = -g[k]
    elif kind == 7:
        e = np.exp(f)
        for k in range(n):
            g[k] *= e
        f = e
    elif kind == 8 and f < 10.0:
        f = 10.0
        for k in range(n):
            g[k] = 0.0
    elif kind == 9:
        f += 1e-3 * np.sin(1e9 * (x[0] + seed))
    elif kind == 10:
        for k in range(n):
            g[k] *= -1.0
    elif kind == 11 and f < 5.0:
        g[0] = math.nan
    elif kind == 12:
        f = np.floor(f)
    elif kind == 13:
        f -= 2.0 * (x[0] - shift) ** 2
        g[0] -= 4.0 * (x[0] - shift)
    elif kind == 14:
        f = math.nan
    for k in range(n):
        g[k] *= scale
    return scale * f, g


@njit(error_model="numpy")
def anything_without_slope(x, kind, scale, shift, seed):
    """Return the value alone, for differences."""
    return anything(x, kind, scale, shift, seed)[0]


numbers = st.floats(-50.0, 50.0) | st.sampled_from([0.0, 1e-300, 1e8, -1e100, 1e200])
runs = st.fixed_dictionaries({
    "kind": st.integers(0, len(KINDS) - 1),
    "x0": st.lists(numbers, min_size=1, max_size=6),
    "scale": st.sampled_from([1.0, 1e-12, 1e12, 1e-200, 1e200]),
    "shift": st.floats(-2.0, 2.0),
    "seed": st.integers(0, 9),
    "ftol": st.sampled_from([None, 0.0, 1e-3]),
    "maxcor": st.sampled_from([1, 3, 10]),
    "python": st.booleans(),
})  # fmt: skip
widths = st.lists(
    st.tuples(st.sampled_from([0.0, 1e-14, 0.1, 3.0, math.inf]), st.sampled_from([0.0, 1.0, math.inf])),
    min_size=6, max_size=6,
)  # fmt: skip


def solve(run, bounds=None, **more):
    """Run a case; return the result, the value at its end and the value at its start."""
    fun = anything_without_slope if more.get("jac") == "2-point" else anything
    args = float(run["kind"]), run["scale"], run["shift"], float(run["seed"])
    x0 = np.array(run["x0"])
    more.setdefault("jac", True)
    options = {"ftol": run["ftol"], "gtol": 0.0, "maxfun": MOST, "maxcor": run["maxcor"]}
    called = fun.py_func if run["python"] and fun is anything else fun
    with np.errstate(all="ignore"):
        result = minimize(called, x0, args, bounds=bounds, options=options, **more)
        return result, anything(result.x, *args)[0], anything(x0, *args)[0]


def check(result, end, start):
    """Assert what holds however a run ended."""
    assert result.x.dtype == np.float64 and np.isfinite(result.x).all()
    assert result.nfev <= MOST
    assert result.status in (0, 1, 2) and result.success == (result.status == 0)
    assert isinstance(result.message, str) and result.message.endswith(".")
    if math.isfinite(start):
        assert math.isfinite(result.fun) and result.fun <= start + 3e-14 * abs(start)
        assert result.fun == end
    else:
        assert result.status == 2 and result.nit == 0
    if result.status == 1:
        assert "maxfun" in result.message or "maxiter" in result.message
    assert result.nit <= result.njev


@settings(max_examples=300, deadline=None, derandomize=True)
@given(runs)
def test_without_bounds(run):
    result, end, start = solve(run)
    check(result, end, start)
    if KINDS[run["kind"]] == "bowl" and run["scale"] == 1.0 and start < 1e12 and run["ftol"] != 1e-3:
        assert result.success
        np.testing.assert_allclose(result.x, run["shift"], atol=1e-4)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(runs, widths)
def test_within_bounds(run, wide):
    x0 = np.array(run["x0"])
    below, above = np.array(wide[: x0.size]).T
    lower, upper = x0 - below, x0 + above
    result, end, start = solve(run, bounds=np.column_stack([lower, upper]))
    assert (lower <= result.x).all() and (result.x <= upper).all()
    if result.message.startswith("All independent variables"):
        assert (lower == upper).all()
    else:
        check(result, end, start)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(runs, widths, st.booleans())
def test_by_differences(run, wide, bounded):
    x0 = np.array(run["x0"])
    below, above = np.array(wide[: x0.size]).T
    bounds = np.column_stack([x0 - below, x0 + above]) if bounded else None
    result, _, start = solve(run, bounds=bounds, jac="2-point")
    assert np.isfinite(result.x).all() and result.nfev <= MOST
    assert result.status in (0, 1, 2)
    if math.isfinite(start):
        assert result.fun <= start + 3e-14 * abs(start)
    if bounded:
        assert (bounds[:, 0] <= result.x).all() and (result.x <= bounds[:, 1]).all()
