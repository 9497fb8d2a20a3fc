"""scipy as the judge: curve_fit(), its results, models and data; asked of scipy and of ours.

What differs is listed in .github/DIFFERENCES_FROM_SCIPY.md, see test_scipy_differences_curve_fit.py.
"""

import functools
import inspect
import itertools

import numpy as np
import pytest
from contract_curves import (
    DESIGN,
    ERRORS,
    MATRIX,
    OURS,
    SIGMAS,
    THEIRS,
    Y_FALL,
    Y_LINE,
    Counted,
    X,
    assert_same,
    both,
    by_hand,
    every_method,
    fall,
    fall_jac,
    line,
)
from scipy.optimize import OptimizeWarning

# The signature and what is returned


def test_the_arguments_have_scipys_names_order_and_defaults():
    theirs, ours = (inspect.signature(f).parameters.values() for f in (THEIRS, OURS))
    assert [(p.name, p.kind, p.default) for p in ours] == [(p.name, p.kind, p.default) for p in theirs]


@both
@every_method
def test_two_arrays_are_returned(curve_fit, method):
    popt, pcov = curve_fit(fall, X, Y_FALL, method=method)
    assert type(popt) is type(pcov) is np.ndarray and popt.dtype == pcov.dtype == np.float64
    assert popt.shape == (2,) and pcov.shape == (2, 2)
    np.testing.assert_allclose(popt, [2.0, 1.2], atol=0.15)
    np.testing.assert_allclose(pcov, pcov.T, rtol=1e-12)
    popt, pcov = curve_fit(lambda x, a: a * np.exp(-1.2 * x), X, Y_FALL, method=method)
    assert popt.shape == (1,) and pcov.shape == (1, 1)


@both
@every_method
@pytest.mark.parametrize("sigma", [None, ERRORS], ids=["none", "errors"])
def test_full_output(curve_fit, method, sigma):
    plain = curve_fit(fall, X, Y_FALL, None, sigma, method=method)
    for full_output in (True, 1):
        found = curve_fit(fall, X, Y_FALL, None, sigma, method=method, full_output=full_output)
        popt, pcov, infodict, mesg, ier = found
        np.testing.assert_array_equal(popt, plain[0])
        np.testing.assert_array_equal(pcov, plain[1])
        r = (fall(X, *popt) - Y_FALL) / (1.0 if sigma is None else sigma)
        np.testing.assert_allclose(infodict["fvec"], r, rtol=1e-9, atol=1e-12)
        assert infodict["nfev"] >= 3 and isinstance(mesg, str) and ier in (1, 2, 3, 4)


@both
@pytest.mark.parametrize("method", [None, "lm"])
@pytest.mark.parametrize("sigma", [None, ERRORS, MATRIX], ids=["none", "errors", "matrix"])
def test_lm_tells_the_factors_of_the_jacobian(curve_fit, method, sigma):
    popt, pcov, info, _, _ = curve_fit(fall, X, Y_FALL, None, sigma, True, method=method, full_output=True)
    assert info["fjac"].shape == (2, X.size) and info["ipvt"].shape == info["qtf"].shape == (2,)
    R, order = np.triu(info["fjac"].T[:2]), info["ipvt"]
    L = np.linalg.cholesky(MATRIX) if sigma is MATRIX else np.diag(sigma if sigma is not None else X**0)
    J = np.linalg.solve(L, fall_jac(X, *popt))[:, order]
    np.testing.assert_allclose(R.T @ R, J.T @ J, rtol=1e-4)
    np.testing.assert_allclose(R.T @ info["qtf"], J.T @ info["fvec"], atol=1e-3)
    np.testing.assert_allclose(np.linalg.inv(R.T @ R), pcov[order][:, order], rtol=1e-6)
    assert abs(R[0, 0]) >= abs(R[1, 1])


@both
@every_method
def test_a_linear_model_gives_what_linear_algebra_gives(curve_fit, method):
    assert_same(curve_fit(line, X, Y_LINE, method=method), by_hand(DESIGN, Y_LINE))


@both
def test_no_parameters_are_tried_twice_in_a_row(curve_fit):
    for model in (Counted(fall), Counted(fall_jac)):
        f, jac = (model, fall_jac) if model.fun is fall else (fall, model)
        curve_fit(f, X, Y_FALL, [1.0, 3.0], jac=jac)
        assert len(model.seen) > 3 and all(a != b for a, b in itertools.pairwise(model.seen))


# The model, and the number of its parameters


class Falls:
    """Models that are methods and objects."""

    def method(self, x, height, rate):
        return fall(x, height, rate)

    @classmethod
    def of_class(cls, x, height, rate):
        return fall(x, height, rate)

    @staticmethod
    def static(x, height, rate):
        return fall(x, height, rate)

    def __call__(self, x, height, rate):
        return fall(x, height, rate)


MODELS = {
    "method": Falls().method,
    "method of a class": Falls.of_class,
    "static method": Falls.static,
    "object": Falls(),
    "lambda": lambda x, height, rate: fall(x, height, rate),
    "default value": lambda x, height, rate=1.0: fall(x, height, rate),
    "keyword alone": lambda x, height, rate, *, base=0.0: fall(x, height, rate) + base,
    "and more": lambda x, height, rate, *more: fall(x, height, rate),
    "partial": functools.partial(lambda base, x, height, rate: fall(x, height, rate) + base, 0.0),
    "decorated": functools.wraps(fall)(lambda *args: fall(*args)),
}


@both
@every_method
@pytest.mark.parametrize("form", MODELS)
def test_forms_of_models(curve_fit, method, form):
    found = curve_fit(MODELS[form], X, Y_FALL, None if form != "decorated" else [1.0, 1.0], method=method)
    assert_same(found, curve_fit(fall, X, Y_FALL, method=method), 1e-12)


@both
def test_the_number_of_parameters_may_come_from_p0(curve_fit):
    def polynomial(x, *p):
        return np.polyval(p, x)

    for n in (1, 2, 4):
        found = curve_fit(polynomial, X, Y_LINE, np.ones(n))
        assert_same(found, by_hand(np.vander(X, n), Y_LINE))
    found = curve_fit(lambda x, slope, offset=0.0: line(x, slope, offset), X, Y_LINE, [1.0])
    assert_same(found, by_hand(DESIGN[:, :1], Y_LINE))
    assert curve_fit(np.power, X + 1.0, Y_LINE + 2.0, 1.0)[0].shape == (1,)


@both
@pytest.mark.parametrize(
    "f",
    [lambda x: x, lambda x, *p: p[0] * x, lambda *p: p[1] * p[0], lambda: 1.0, lambda x, *, a: a * x],
    ids=["none", "any", "x or any", "no x", "named"],
)
def test_without_p0_the_model_must_tell_their_number(curve_fit, f):
    with pytest.raises(ValueError, match="Unable to determine number of fit parameters"):
        curve_fit(f, X, Y_LINE)


@both
@every_method
def test_p0_of_the_wrong_length_is_refused(curve_fit, method):
    for p0 in ([1.0], [1.0, 1.0, 1.0]):
        with pytest.raises(TypeError):
            curve_fit(fall, X, Y_FALL, p0, method=method)


@both
@every_method
@pytest.mark.parametrize(
    "p0", [[2, 1], (2.0, 1), np.array([2, 1]), np.float32([2, 1]), np.array([2.0, 9.0, 1.0])[::2]], ids=repr
)
def test_forms_of_p0(curve_fit, method, p0):
    before, f = np.array(p0), Counted(fall)
    curve_fit(f, X, Y_FALL, p0, method=method)
    assert f.seen[0] == (2.0, 1.0)
    np.testing.assert_array_equal(p0, before)


@both
@every_method
@pytest.mark.parametrize("p0", [2, 2.0, np.array(2.0), [2.0]], ids=repr)
def test_one_parameter_needs_no_list(curve_fit, method, p0):
    popt, _ = curve_fit(lambda x, a: np.exp(-a * x), X, np.exp(-1.5 * X), p0, method=method)
    np.testing.assert_allclose(popt, [1.5], rtol=1e-6)


@both
@every_method
def test_forms_of_what_a_model_returns(curve_fit, method):
    for f in (
        lambda x, a, b: [a * v + b for v in x],
        lambda x, a, b: tuple(a * x + b),
        lambda x, a, b: np.float32(0.0) + line(x, a, b),
    ):
        assert_same(curve_fit(f, X, Y_LINE, method=method), by_hand(DESIGN, Y_LINE))
    for f in (lambda x, a: a, lambda x, a: np.array(a), lambda x, a: np.array([a])):  # a constant
        assert_same(curve_fit(f, X, Y_LINE, method=method), by_hand(DESIGN[:, 1:], Y_LINE))


@both
@every_method
@pytest.mark.parametrize("zero", [0, 0.0, [0.0], np.array(0), np.zeros(1)], ids=repr)
def test_one_number_as_ydata_stands_for_all(curve_fit, method, zero):
    def residuals(x, slope, offset):
        return line(x, slope, offset) - Y_LINE

    for sigma in (None, 0.3):
        found = curve_fit(residuals, X, zero, None, sigma, True, method=method)
        assert_same(found, by_hand(DESIGN, Y_LINE, sigma, True))


@both
@every_method
def test_values_that_do_not_fit_ydata_are_refused(curve_fit, method):
    for f in (lambda x, a: a * x[:4], lambda x, a: np.ones(99), lambda x, a: "a", lambda x, a: None):
        with pytest.raises((ValueError, TypeError)):
            curve_fit(f, X, Y_LINE, method=method)
    with pytest.raises(ValueError):
        curve_fit(line, X[:4], Y_LINE, method=method)


@both
@every_method
def test_what_a_model_raises_is_what_the_caller_gets(curve_fit, method):
    class MyError(Exception):
        pass

    def fail(x, a, b):
        raise MyError("mine")

    with pytest.raises(MyError, match="mine"):
        curve_fit(fail, X, Y_LINE, method=method)
    with pytest.raises(MyError, match="mine"):
        curve_fit(line, X, Y_LINE, method=method, jac=fail)


# The data


@both
@every_method
@pytest.mark.parametrize("kind", [list, tuple, np.float32, np.float16, np.array], ids=lambda k: k.__name__)
def test_forms_of_data(curve_fit, method, kind):
    x, y = np.arange(6.0), np.array([1.0, 3.0, 4.5, 7.0, 9.5, 11.0])  # exact in every one of them
    seen = []

    def f(x, a, b):
        seen.append(x)
        return a * x + b

    found = curve_fit(f, kind(x), kind(y), method=method)
    assert_same(found, by_hand(np.stack([x, np.ones(6)], axis=1), y))
    assert all(type(x) is np.ndarray and x.dtype == np.float64 and x.shape == (6,) for x in seen)


@both
@every_method
def test_integers_and_truth_values_are_numbers(curve_fit, method):
    x = np.arange(5)
    for y in ([1, 3, 4, 8, 9], [False, False, True, True, True], np.array([1, 3, 4, 8, 9], np.uint8)):
        right = by_hand(np.stack([x, np.ones(5)], axis=1), np.asarray(y, float))
        assert_same(curve_fit(line, x, y, method=method), right)


def plane(x, a, b):
    return a * x[0] + b * x[1]


ROWS = np.stack([X, np.cos(3.0 * X)])
PLANES = {
    "(2, M)": (plane, ROWS),
    "(M, 2)": (lambda x, a, b: a * x[:, 0] + b * x[:, 1], ROWS.T),
    "(1, 2, M)": (lambda x, a, b: plane(x[0], a, b), ROWS[None]),
    "strided": (plane, np.repeat(ROWS, 2, axis=1)[:, ::2]),
    "list of lists": (plane, ROWS.tolist()),
    "tuple of arrays": (plane, (ROWS[0], ROWS[1])),
    "dict": (lambda x, a, b: a * x["u"] + b * x["v"], {"u": ROWS[0], "v": ROWS[1]}),
    "None": (lambda x, a, b: plane(ROWS, a, b), None),
    "number": (lambda x, a, b: plane(x * ROWS, a, b), 1.0),
    "range": (lambda x, a, b: plane(ROWS[:, list(x)], a, b), range(X.size)),
}


@both
@every_method
@pytest.mark.parametrize("form", PLANES)
def test_xdata_may_be_anything(curve_fit, method, form):
    f, x = PLANES[form]
    assert_same(curve_fit(f, x, Y_LINE, method=method), by_hand(ROWS.T, Y_LINE))


@both
@every_method
@pytest.mark.parametrize("bounds", [(-np.inf, np.inf), (0.0, 5.0)], ids=str)
def test_without_data_there_is_no_fit(curve_fit, method, bounds):
    if method == "lm":
        bounds = (-np.inf, np.inf)
    for x, y in (([], []), ([1.0], []), (X, [])):
        with pytest.raises(ValueError, match="`ydata` must not be empty!"):
            curve_fit(line, x, y, bounds=bounds, method=method)


@both
@every_method
def test_data_that_are_no_numbers_are_refused(curve_fit, method):
    for x, y in ((X, ["a"] * X.size), (["a"] * X.size, Y_LINE), (X, [None, [1.0]] * 7 + [1.0])):
        with pytest.raises((ValueError, TypeError)):
            curve_fit(line, x, y, method=method)


@both
def test_a_model_with_more_parameters_than_data(curve_fit):
    def five(x, a, b, c, d, e):
        return a + b * x + c * x**2 + d * x**3 + e * x**4

    with pytest.raises(TypeError, match="The number of func parameters=5 must not exceed the number of"):
        curve_fit(five, X[:4], Y_LINE[:4])
    for method in ("trf", "dogbox"):
        with pytest.warns(OptimizeWarning, match="Covariance of the parameters could not be estimated"):
            popt, pcov = curve_fit(five, X[:4], Y_LINE[:4], method=method)
        np.testing.assert_allclose(five(X[:4], *popt), Y_LINE[:4], atol=1e-4)
        assert np.isinf(pcov).all() and pcov.shape == (5, 5)


# NaN


def with_nan(where):
    """Return x and y with some NaN, and which points have none."""
    x, y = X.copy(), Y_LINE.copy()
    if "x" in where:
        x[[2, 7]] = np.nan
    if "y" in where:
        y[[4, 7]] = np.nan
    return x, y, ~(np.isnan(x) | np.isnan(y))


@both
@every_method
@pytest.mark.parametrize("where", ["x", "y", "xy"])
def test_nan_is_refused_unless_a_policy_is_given(curve_fit, method, where):
    x, y, _ = with_nan(where)
    for given in ({}, {"check_finite": True}, {"check_finite": True, "nan_policy": None}):
        with pytest.raises(ValueError, match="must not contain infs or NaNs"):
            curve_fit(line, x, y, method=method, **given)
        with pytest.raises(ValueError, match="must not contain infs or NaNs"):
            curve_fit(line, X, np.where(np.isnan(x + y), np.inf, Y_LINE), method=method, **given)
    for given in ({}, {"check_finite": False}):
        with pytest.raises(ValueError, match="The input contains nan values"):
            curve_fit(line, x, y, method=method, nan_policy="raise", **given)


@both
@every_method
@pytest.mark.parametrize("sigma", SIGMAS)
def test_points_with_nan_may_be_left_out(curve_fit, method, sigma):
    sigma = SIGMAS[sigma]
    for where in ("x", "y", "xy", "none"):
        x, y, keep = with_nan(where)
        kept = sigma
        if np.ndim(sigma) > 0:
            kept = np.asarray(sigma)[keep] if np.ndim(sigma) == 1 else sigma[keep][:, keep]
        found = curve_fit(line, x, y, None, sigma, method=method, nan_policy="omit")
        assert_same(found, by_hand(DESIGN[keep], y[keep], kept))
        assert_same(curve_fit(line, x[keep], y[keep], None, kept, method=method), found, 1e-12)


@both
@pytest.mark.parametrize("shape", [(2, 15), (1, 2, 15)], ids=str)
def test_points_with_nan_in_several_rows(curve_fit, shape):
    x, y = ROWS.copy(), Y_LINE.copy()
    x[0, 3], x[1, 5], y[9] = np.nan, np.nan, np.nan
    keep = ~np.isin(np.arange(X.size), [3, 5, 9])
    found = curve_fit(lambda x, a, b: plane(x.reshape(2, -1), a, b), x.reshape(shape), y, nan_policy="omit")
    assert_same(found, by_hand(ROWS.T[keep], Y_LINE[keep]))


@both
def test_policies_that_are_none(curve_fit):
    x, y, _ = with_nan("x")
    with pytest.raises(ValueError, match="`nan_policy='propagate'` is not supported by this"):
        curve_fit(line, x, y, nan_policy="propagate")
    for policy in ("drop", 3, True):
        with pytest.raises(ValueError, match=r"nan_policy must be one of \{"):
            curve_fit(line, x, y, nan_policy=policy)


@both
def test_without_checks_good_data_give_the_same(curve_fit):
    for given in ({"check_finite": False}, {"nan_policy": "omit"}, {"nan_policy": "raise"}):
        assert_same(curve_fit(line, X, Y_LINE, **given), by_hand(DESIGN, Y_LINE))
