"""scipy as the judge, continued: what its L-BFGS-B promises about bounds, asked of scipy and of ours."""

import functools
import warnings

import numpy as np
import pytest
import scipy.optimize
from scipy.optimize import Bounds, OptimizeWarning

import nbopt

SCIPY = functools.partial(scipy.optimize.minimize, method="L-BFGS-B")
START = np.array([-1.2, 1.0])

both = pytest.mark.parametrize("minimize", [SCIPY, nbopt.minimize], ids=["scipy", "nbopt"])


def bowl(x, centre=0.0):
    return float(((x - centre) ** 2).sum())


def bowl_der(x, centre=0.0):
    return 2.0 * (x - centre)


FORMS = {
    "pairs": [(2.0, None), (None, 0.5)],
    "infinities": [(2.0, np.inf), (-np.inf, 0.5)],
    "array": np.array([[2.0, np.inf], [-np.inf, 0.5]]),
    "Bounds": Bounds([2.0, -np.inf], [np.inf, 0.5]),
    "Bounds of lists, feasible kept": Bounds([2.0, -np.inf], [np.inf, 0.5], keep_feasible=True),
}


@both
@pytest.mark.parametrize("form", FORMS)
def test_forms_of_bounds(minimize, form):
    seen = []

    def fun(x):
        seen.append(x.copy())
        return bowl(x, 1.0)

    res = minimize(fun, [3.0, 0.0], bounds=FORMS[form])
    assert res.success
    np.testing.assert_allclose(res.x, [2.0, 0.5], atol=1e-8)
    x = np.array(seen)
    assert (x[:, 0] >= 2.0).all() and (x[:, 1] <= 0.5).all()


@both
def test_numbers_in_bounds_hold_for_all(minimize):
    res = minimize(bowl, [3.0, 2.5], bounds=Bounds(2.0, 4.0))
    np.testing.assert_array_equal(res.x, [2.0, 2.0])


@both
def test_bounds_without_end_change_nothing(minimize):
    res = minimize(bowl, START, jac=bowl_der, bounds=[(None, None)] * 2)
    np.testing.assert_allclose(res.x, 0.0, atol=1e-8)


@both
@pytest.mark.parametrize(
    "bounds",
    [[(0.0, 1.0)] * 3, [(0.0, 1.0, 2.0)] * 2, [(1.0, 0.0)] * 2, Bounds([1.0, 1.0], [0.0, 2.0])],
    ids=str,
)
def test_bounds_that_are_wrong_are_refused(minimize, bounds):
    with pytest.raises(ValueError, match=r"(?i)bound|unpack"):
        minimize(bowl, START, jac=bowl_der, bounds=bounds)


@both
def test_a_start_beyond_the_bounds_is_moved(minimize):
    seen = []

    def fun(x):
        seen.append(x.copy())
        return bowl(x)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OptimizeWarning)
        res = minimize(fun, [-5.0, 9.0], jac=bowl_der, bounds=[(1.0, 2.0), (1.0, 3.0)])
    np.testing.assert_array_equal(seen[0], [1.0, 3.0])
    np.testing.assert_array_equal(res.x, [1.0, 1.0])
    assert ((np.array(seen) >= 1.0) & (np.array(seen) <= [2.0, 3.0])).all()


@both
@pytest.mark.parametrize("jac", [bowl_der, None, "3-point"], ids=["callable", "none", "3-point"])
def test_fixed_variables(minimize, jac):
    res = minimize(bowl, [3.0, 7.0, 3.0], jac=jac, bounds=[(1.0, 5.0), (7.0, 7.0), (None, None)])
    assert res.success and res.x[1] == 7.0
    np.testing.assert_allclose(res.x, [1.0, 7.0, 0.0], atol=1e-6)


@both
def test_all_variables_fixed(minimize):
    res = minimize(bowl, [7.0, 8.0], bounds=[(7.0, 7.0), (8.0, 8.0)])
    assert res.success and res.nfev == 1
    assert res.message == "All independent variables were fixed by bounds."
    np.testing.assert_array_equal(res.x, [7.0, 8.0])


@both
def test_differences_stay_within_narrow_bounds(minimize):
    seen = []

    def fun(x):
        seen.append(x.copy())
        return np.sqrt(1.0 - x[0]) + x[1] ** 2  # not a number beyond 1

    res = minimize(fun, [1.0 - 1e-9, 0.0], bounds=[(0.5, 1.0), (-1e-10, 1e-10)])
    x = np.array(seen)
    assert (x[:, 0] <= 1.0).all() and (np.abs(x[:, 1]) <= 1e-10).all()
    assert np.isfinite(res.fun)
