"""curve_fit() against scipy's, and its contract."""

import warnings

import numba
import numpy as np
import pytest
import scipy.optimize as so
from scipy.optimize import OptimizeWarning

from nbopt.fitting.curve_data import read_data
from nbopt.fitting.curve_fit import curve_fit
from nbopt.fitting.least_squares import least_squares

X = np.linspace(-4.0, 4.0, 40)
RNG = np.random.default_rng(11)
ERRORS = RNG.uniform(0.05, 0.2, X.size)


@numba.njit
def peak(x, height, centre, width, base):
    return height * np.exp(-0.5 * ((x - centre) / width) ** 2) + base


def peak_jac(x, height, centre, width, base):
    z = (x - centre) / width
    e = np.exp(-0.5 * z * z)
    jac = np.ones((x.size, 4))
    jac[:, 0], jac[:, 1], jac[:, 2] = e, height * e * z / width, height * e * z * z / width
    return jac


Y = peak(X, 3.0, 0.4, 1.1, 0.5) + ERRORS * RNG.normal(size=X.size)
START = [2.0, 0.0, 1.0, 0.0]
_HALF = RNG.normal(size=(X.size, X.size))
MATRIX = 0.001 * _HALF @ _HALF.T + np.diag(ERRORS**2)


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("absolute", [True, False])
@pytest.mark.parametrize("sigma", [None, 0.1, ERRORS, MATRIX], ids=["none", "number", "errors", "matrix"])
def test_parameters_and_covariance_are_scipys(compiled, absolute, sigma):
    model = peak if compiled else peak.py_func
    given = {"p0": START, "sigma": sigma, "absolute_sigma": absolute}
    popt, pcov = curve_fit(model, X, Y, **given)
    tight = {"ftol": 1e-15, "xtol": 1e-15, "gtol": 1e-15}
    given["sigma"] = np.full(X.size, sigma) if sigma is not None and np.size(sigma) == 1 else sigma
    right, cov = so.curve_fit(peak, X, Y, jac=peak_jac, method="lm", **given, **tight)
    np.testing.assert_allclose(popt, right, rtol=1e-7)
    errors = np.sqrt(np.diag(cov))
    np.testing.assert_allclose(pcov / np.outer(errors, errors), cov / np.outer(errors, errors), atol=1e-6)


@pytest.mark.parametrize("compiled", [True, False])
def test_with_bounds_the_result_is_scipys(compiled):
    model = peak if compiled else peak.py_func
    bounds = [0.0, -5.0, 0.1, 0.55], [2.8, 5.0, 5.0, 2.0]
    popt, pcov = curve_fit(model, X, Y, bounds=bounds)
    right, cov = so.curve_fit(peak, X, Y, jac=peak_jac, bounds=bounds, xtol=1e-14, ftol=1e-14, gtol=1e-12)
    np.testing.assert_allclose(popt, right, rtol=1e-6)
    np.testing.assert_allclose(pcov, cov, rtol=1e-4, atol=1e-8)
    assert ((popt >= bounds[0]) & (popt <= bounds[1])).all()
    box = so.Bounds(*bounds)
    np.testing.assert_array_equal(curve_fit(model, X, Y, bounds=box)[0], popt)


@pytest.mark.parametrize("method", ["lm", "trf", "dogbox"])
def test_full_output(method):
    popt, _, info, mesg, ier = curve_fit(peak, X, Y, START, ERRORS, method=method, full_output=True)
    np.testing.assert_allclose(info["fvec"], (peak(X, *popt) - Y) / ERRORS, rtol=1e-9, atol=1e-12)
    assert info["nfev"] >= 2 and "satisfied" in mesg and ier in (1, 2, 3, 4)


def test_the_start_is_ones_or_a_point_within_the_bounds():
    seen = []

    def model(x, a, b, c, d):
        seen.append((a, b, c, d))
        return a + b * x + c * x**2 + d * x**3

    curve_fit(model, X, Y)
    assert seen[0] == (1.0, 1.0, 1.0, 1.0)
    seen.clear()
    curve_fit(model, X, Y, bounds=([-3, -np.inf, 2.0, -np.inf], [5.0, -2.0, np.inf, np.inf]))
    assert seen[0] == (1.0, -3.0, 3.0, 1.0)


@pytest.mark.parametrize("jac", [None, "dual", "2-point", "3-point", "cs", peak_jac, numba.njit(peak_jac)])
def test_every_kind_of_jacobian_comes_to_the_same(jac):
    right = curve_fit(peak, X, Y, START, MATRIX)
    popt, pcov = curve_fit(peak, X, Y, START, MATRIX, jac=jac)
    np.testing.assert_allclose(popt, right[0], rtol=1e-6)
    np.testing.assert_allclose(pcov, right[1], rtol=1e-4, atol=1e-8)


def test_a_model_that_has_no_duals_falls_back_to_differences():
    @numba.njit
    def model(x, a, b):
        out = np.empty(x.size, np.float32)
        for i in range(x.size):
            out[i] = np.float32(a) + np.float32(0.0)
        return a + b * x + 0.0 * out.sum()

    y = 2.0 + 3.0 * X
    popt, _ = curve_fit(model, X, y)
    np.testing.assert_allclose(popt, [2.0, 3.0], rtol=1e-6)


def test_nan_policy():
    x, y, s = X.copy(), Y.copy(), ERRORS.copy()
    y[3] = np.nan
    x[5] = np.nan
    keep = np.isfinite(x) & np.isfinite(y)
    right = curve_fit(peak, x[keep], y[keep], START, s[keep])
    popt, pcov = curve_fit(peak, x, y, START, s, nan_policy="omit")
    np.testing.assert_array_equal(popt, right[0])
    np.testing.assert_array_equal(pcov, right[1])
    matrix = curve_fit(peak, x, y, START, MATRIX, nan_policy="omit")[0]
    np.testing.assert_array_equal(matrix, curve_fit(peak, x[keep], y[keep], START, MATRIX[keep][:, keep])[0])
    with pytest.raises(ValueError, match="contains nan values: point 3"):
        curve_fit(peak, x, y, START, nan_policy="raise")
    with pytest.raises(ValueError, match=r"xdata must not contain infs or NaNs; xdata\[5\] is nan"):
        curve_fit(peak, x, Y, START)


def test_x_may_have_more_rows_or_be_any_object():
    @numba.njit
    def plane(x, a, b):
        return a * x[0] + b * x[1]

    rows = RNG.normal(size=(2, 20))
    for model in (plane, plane.py_func):
        np.testing.assert_allclose(curve_fit(model, rows, 2 * rows[0] - rows[1])[0], [2.0, -1.0])
    popt, _ = curve_fit(lambda x, a: a * x["t"], {"t": np.arange(3.0)}, 2 * np.arange(3.0) + [0, 0.1, 0])
    np.testing.assert_allclose(popt, [2.02], rtol=1e-6)


def test_a_robust_loss_is_passed_on():
    y = Y.copy()
    y[::9] += 5.0
    given = {"p0": START, "method": "trf", "loss": "soft_l1", "f_scale": 0.1}
    ours = curve_fit(peak, X, y, **given, xtol=1e-12, ftol=1e-12)
    theirs = so.curve_fit(peak, X, y, jac=peak_jac, **given, xtol=1e-14, ftol=1e-14)
    np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-5)
    np.testing.assert_allclose(ours[1], theirs[1], rtol=1e-4, atol=1e-8)


def test_an_exact_fit_and_a_parameter_that_is_zero():
    popt, pcov = curve_fit(lambda x, a, b: a + b * x, X, 0.0 * X)
    np.testing.assert_allclose(popt, 0.0, atol=1e-12)
    assert np.isfinite(pcov).all()
    popt, pcov = curve_fit(lambda x, a, b: a + b * x, X, 2.0 * X, sigma=0.1, absolute_sigma=True)
    np.testing.assert_allclose(popt, [0.0, 2.0], atol=1e-10)
    np.testing.assert_allclose(np.diag(pcov), [0.01 / X.size, 0.01 / (X @ X)], rtol=1e-6)


def test_an_infinite_covariance_comes_with_a_warning():
    for xs, ys, model in (
        (X, Y, lambda x, a, b: a + b + 0 * x),  # only the sum counts
        (X[:2], Y[:2], lambda x, a, b: a + b * x),  # nothing is left to estimate the errors from
    ):
        with pytest.warns(OptimizeWarning, match="Covariance of the parameters could not be estimated"):
            popt, pcov = curve_fit(model, xs, ys)
        assert np.isinf(pcov).all() and np.isfinite(popt).all()
    _, pcov = curve_fit(lambda x, a, b: a + b * x, X[:2], Y[:2], sigma=0.1, absolute_sigma=True)
    assert np.isfinite(pcov).all()


def test_the_limit_of_evaluations_is_an_error_as_in_scipy():
    for name in ("maxfev", "max_nfev"):
        with pytest.raises(RuntimeError, match="Optimal parameters not found: The maximum number"):
            curve_fit(peak, X, Y, START, **{name: 2})


@pytest.mark.parametrize(
    "error, changes, words",
    [
        (TypeError, {"f": 3}, "f=3 must be callable"),
        (ValueError, {"ydata": []}, "must not be empty"),
        (ValueError, {"ydata": Y[:5]}, "ydata"),
        (ValueError, {"ydata": np.ones((4, 10))}, "ydata has shape"),
        (ValueError, {"ydata": ["a"] * 40}, "ydata must be real numbers"),
        (ValueError, {"sigma": np.zeros(40)}, r"sigma\[0\]=0.0 must be positive"),
        (ValueError, {"sigma": ERRORS[:3]}, "`sigma` has incorrect shape"),
        (ValueError, {"sigma": -np.eye(40)}, "`sigma` must be positive definite"),
        (ValueError, {"bounds": (0, 0.5), "p0": START}, "must lie in"),
        (ValueError, {"bounds": (0, 5), "method": "lm"}, "only works for unconstrained"),
        (ValueError, {"nan_policy": "propagate"}, "is not supported"),
        (ValueError, {"nan_policy": "drop"}, "nan_policy must be one of"),
        (ValueError, {"args": (1,)}, "'args' is not a supported"),
        (TypeError, {"tolerance": 1}, "unknown option 'tolerance'"),
        (TypeError, {"bound": (0, 1)}, r"unknown option 'bound'; known are .*did you mean 'bounds'\?"),
        (TypeError, {"max_fev": 9}, r"did you mean 'max_nfev'\?"),
        (ValueError, {"p0": np.array(["1", 2, 3, 4], object)}, "p0 holds '1'; it must be real numbers"),
        (TypeError, {"p0": [1.0, 2.0]}, "f takes 4 parameters after x, but p0 has 2"),
        (TypeError, {"xdata": X[:3], "ydata": Y[:3]}, "must not exceed the number of data points=3"),
        (ValueError, {"f": lambda x, *p: x}, "Unable to determine number of fit parameters"),
        (ValueError, {"f": lambda x: x}, "Unable to determine number of fit parameters"),
        (ValueError, {"f": lambda x, a: np.ones(3)}, r"f returned shape \(3,\); ydata has shape \(40,\)"),
        (ValueError, {"f": lambda x, a: np.where(x > 0, a, np.nan)}, "residual 0 is nan"),
        (ValueError, {"jac": lambda x, *p: np.ones((3, 4))}, r"jac returned shape \(3, 4\)"),
        (ValueError, {"jac": numba.njit(lambda x, a, b, c, d: np.ones((40, 5)))}, r"curve_fit: .*\(40, 5\)"),
        (ValueError, {"f": peak.py_func, "jac": "dual"}, "needs a model compiled"),
        (ValueError, {"method": "newton"}, "method='newton' must be"),
    ],
)
def test_bad_input_gets_a_sentence(error, changes, words):
    given = {"f": peak, "xdata": X, "ydata": Y, **changes}
    with pytest.raises(error, match=words):
        curve_fit(**given)


@pytest.mark.parametrize("form", ["one number", "float32", "the data themselves"])
def test_a_compiled_model_may_return_what_a_plain_one_may(form):
    y = np.array([1.0, 2.0, 6.0])
    model = {
        "one number": lambda x, a: a,
        "float32": lambda x, a: a * x,
        "the data themselves": lambda x, a: x,
    }
    x = np.ones(3, np.float32) if form == "float32" else np.ones(3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OptimizeWarning)
        popt, pcov = curve_fit(numba.njit(model[form]), x, y, [2.0])
        plain = curve_fit(model[form], x, y, [2.0])
    np.testing.assert_allclose(popt, plain[0], rtol=1e-7)
    np.testing.assert_allclose(pcov, plain[1], rtol=1e-6)
    np.testing.assert_array_equal(x, np.ones(3))
    np.testing.assert_array_equal(y, [1.0, 2.0, 6.0])


def test_a_model_may_be_given_to_the_other_functions_too():
    @numba.njit
    def line(x, a):
        return x - a

    curve_fit(line, np.arange(5.0), np.arange(5.0) - 2.0, [1.0])
    np.testing.assert_allclose(least_squares(line, [1.0, 2.0], args=(3.0,)).x, [3.0, 3.0])


def test_large_data_are_finite_data():
    x = np.arange(1.0, 6.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        np.testing.assert_array_equal(read_data("fit", x, 1e200 * x, None, None, None).y, 1e200 * x)
        with pytest.raises(ValueError, match=r"fit: ydata must not contain infs or NaNs; ydata\[1\] is inf"):
            read_data("fit", x, np.array([1e200, np.inf, 0.0, 1.0, 2.0]), None, None, None)
