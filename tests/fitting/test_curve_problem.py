"""The problem behind a fit: pinned parameters, other data, and one compilation for all of them."""

import numba
import numpy as np
import pytest
from fit_models import ERRORS, START, X, Y, peak

from nbopt.fitting.fit import fit


def peak_jac(x, height, centre, width, base):
    z = (x - centre) / width
    e = np.exp(-0.5 * z * z)
    return np.array([e, height * e * z / width, height * e * z * z / width, np.ones_like(x)]).T


GIVEN = [(peak, None), (peak.py_func, None), (peak.py_func, peak_jac)]


@pytest.mark.parametrize("model, jac", GIVEN, ids=["compiled", "plain", "the user's Jacobian"])
@pytest.mark.parametrize("pinned", [0, 2])
def test_a_pinned_parameter_stays_and_the_others_are_fitted(model, jac, pinned):
    result = fit(model, X, Y, START, sigma=ERRORS, jac=jac)
    start = result.x.copy()
    start[pinned] *= 1.1
    found = result.problem.solve(start, pinned=pinned)
    name = list(result.params)[pinned]
    held = fit(model, X, Y, START, sigma=ERRORS, jac=jac, fixed={name: start[pinned]})
    others = np.arange(4) != pinned
    np.testing.assert_allclose(found["x"][others], held.x[others], rtol=1e-6)
    assert 2.0 * found["cost"] == pytest.approx(held.chisqr, rel=1e-9)


@pytest.mark.parametrize("free", [0, 1])
def test_with_every_other_parameter_fixed_the_pinned_one_is_just_evaluated(free):
    names = ["height", "centre", "width", "base"]
    result = fit(peak.py_func, X, Y, START, fixed=[n for i, n in enumerate(names) if i != free])
    start = result.x.copy()
    start[free] += 0.3
    found = result.problem.solve(start, pinned=0)
    assert found["success"] and 2.0 * found["cost"] == pytest.approx(np.sum((peak(X, *start) - Y) ** 2))


def test_pinning_compiles_nothing():
    result = fit(peak, X, Y, START)
    made = dict(peak.__dict__["_nbopt_free"])
    entries = sum(len(f.__dict__["_nbopt_entries"]) for f in made.values())
    result.conf_int()
    assert peak.__dict__["_nbopt_free"] == made
    assert sum(len(f.__dict__["_nbopt_entries"]) for f in made.values()) == entries


def test_other_data_of_the_same_shape():
    result = fit(peak, X, Y, START)
    other = result.problem.data._replace(y=peak(X, 2.0, 0.5, 0.8, 0.1))
    np.testing.assert_allclose(
        result.problem.solve(result.x, data=other)["x"], [2.0, 0.5, 0.8, 0.1], rtol=1e-9
    )


def test_a_users_jacobian_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"fit: jac returned shape \(3, 4\); it must be \(40, 4\)"):
        fit(peak.py_func, X, Y, START, jac=lambda x, *p: np.ones((3, 4)))
    wide, flat, later = _jacobians_of_the_wrong_shape()
    with pytest.raises(ValueError, match=r"fit: jac returned shape \(40, 5\); it must be \(40, 4\)"):
        fit(peak, X, Y, START, jac=wide)  # the first four columns would have been taken
    with pytest.raises(ValueError, match=r"fit: jac returned shape \(40,\); it must be \(40, 4\)"):
        fit(peak, X, Y, START, jac=flat)
    with pytest.raises(ValueError, match="jac returned an array of another shape"):
        fit(peak, X, Y, START, jac=later)


def _jacobians_of_the_wrong_shape():
    """Return compiled Jacobians with a column too many, of one dimension, and with a column too few later."""
    height = START[0]

    @numba.njit
    def wide(x, a, b, c, d):
        return np.ones((x.size, 5))

    @numba.njit
    def flat(x, a, b, c, d):
        return np.ones(x.size)

    @numba.njit
    def later(x, a, b, c, d):
        return np.cos(np.outer(x, np.arange(4.0 if a == height else 3.0)))

    return wide, flat, later


@pytest.mark.parametrize("what", ["conf_int", "bootstrap"])
def test_ctrl_c_ends_what_takes_long(what):
    presses = []

    def model(x, a, b):
        if presses and len(presses) < 12:
            presses.append(0)
            if len(presses) == 12:
                raise KeyboardInterrupt
        return a + b * x

    result = fit(model, X, Y)
    presses.append(0)
    with pytest.raises(KeyboardInterrupt):
        getattr(result, what)()


def test_ctrl_c_in_a_fit_leaves_a_result_once_something_is_known():
    calls = []

    def model(x, a, b):
        calls.append(a)
        if len(calls) == last:
            raise KeyboardInterrupt
        return a * np.exp(b * x)

    last = 3
    with pytest.raises(KeyboardInterrupt):
        fit(model, X, Y, (1.0, 0.1))
    calls.clear()
    last = 9
    result = fit(model, X, Y, (1.0, 0.1))
    assert np.isfinite(result.redchi) and np.isfinite(result.cov).all()
    assert not result.success and "Ctrl-C" in result.message and "did not converge" in result.warnings[0]
