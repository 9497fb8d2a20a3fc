"""What curve_fit() does unlike scipy's, on purpose: the rows of .github/DIFFERENCES_FROM_SCIPY.md."""

import warnings

import numpy as np
import pytest
from contract_curves import (
    DESIGN,
    ERRORS,
    OURS,
    THEIRS,
    Y_FALL,
    Y_LINE,
    Counted,
    X,
    assert_same,
    by_hand,
    fall,
    fall_jac,
    line,
)
from scipy.optimize import Bounds, OptimizeWarning


def test_a_fit_ends_where_no_digit_is_left_to_win():
    given = {"f": fall, "xdata": X, "ydata": Y_FALL, "p0": [1.0, 3.0], "method": "trf"}
    right, _ = THEIRS(**given, jac=fall_jac, ftol=1e-15, xtol=1e-15, gtol=1e-15)
    theirs, ours = (np.abs(fit(**given)[0] / right - 1.0).max() for fit in (THEIRS, OURS))
    assert ours < 3e-9 < theirs


def test_the_names_of_methods_change_no_result():
    fits = [OURS(fall, X, Y_FALL, method=m, full_output=True) for m in ("lm", "trf", "dogbox")]
    for fit in fits[1:]:
        np.testing.assert_allclose(fit[0], fits[0][0], rtol=1e-9)
        assert fit[2]["nfev"] == fits[1][2]["nfev"]


def test_evaluations_for_differences_do_not_count_with_lm_either():
    for curve_fit, counts_them in ((THEIRS, True), (OURS, False)):
        f = Counted(fall)
        nfev = curve_fit(f, X, Y_FALL, [1.0, 3.0], full_output=True)[2]["nfev"]
        assert (nfev >= len(f.seen) - 1) == counts_them


def test_every_method_takes_all_options():
    right = OURS(fall, X, Y_FALL)
    for method in ("lm", "trf"):
        for given in ({"epsfcn": 1e-12}, {"factor": 10.0}, {"diag": [1.0, 2.0]}, {"max_nfev": 100},
                      {"maxfev": 100}, {"x_scale": [1.0, 2.0]}, {"diff_step": 1e-6},
                      {"tr_solver": "exact"}, {"callback": lambda x: None}, {"jac": "3-point"}):  # fmt: skip
            assert_same(OURS(fall, X, Y_FALL, method=method, **given), right)
    with pytest.raises(TypeError, match="max_nfev"):
        THEIRS(fall, X, Y_FALL, max_nfev=100)
    with pytest.raises(TypeError, match="unknown option 'col_deriv'; known are callback"):
        OURS(fall, X, Y_FALL, col_deriv=1)


@pytest.mark.parametrize("bad", [0.0, -0.1, np.nan, np.inf])
def test_errors_that_are_none_are_refused(bad):
    sigma = ERRORS.copy()
    sigma[3] = bad
    with pytest.raises(ValueError, match=rf"sigma\[3\]={bad} must be positive and finite"):
        OURS(line, X, Y_LINE, None, sigma)
    with pytest.raises(ValueError, match=rf"sigma\[0\]={bad} must be positive and finite"):
        OURS(line, X, Y_LINE, None, bad)


@pytest.mark.parametrize(
    "given, error, words",
    [
        ({"p0": [np.nan, 1.0]}, ValueError, r"p0\[0\]=nan must be finite"),
        ({"p0": [[1.0, 1.0]]}, ValueError, r"p0 has shape \(1, 2\); it must have at most 1 dimension"),
        ({"p0": []}, ValueError, "p0 is empty"),
        ({"p0": ["1", "1"]}, ValueError, "p0 has dtype <U1; it must be real numbers"),
        ({"ydata": Y_LINE + 1j}, TypeError, "ydata must be real numbers: they are complex"),
        ({"xdata": X + 1j}, TypeError, "xdata must be real numbers: they are complex"),
        ({"sigma": ERRORS + 0j}, TypeError, "sigma must be real numbers: they are complex"),
        ({"sigma": "small"}, ValueError, "sigma must be real numbers"),
        ({"ydata": Y_LINE[:, None]}, ValueError, r"ydata has shape \(15, 1\); it must have one dimension"),
        ({"f": lambda x, a: None}, TypeError, "f returned None; it must return real numbers"),
        ({"f": lambda x, a: a * x + 1j}, TypeError, "f returned complex128; it must return real numbers"),
        ({"f": lambda x, a: np.array("a")}, TypeError, "f returned <U1; it must return real numbers"),
        ({"f": lambda x, a: a * x[None]}, ValueError, r"f returned shape \(1, 15\); ydata has shape"),
        ({"f": lambda x, a: a * x * np.nan}, ValueError, "Residuals are not finite in the initial point"),
        (
            {"f": lambda x, a: a * x, "jac": lambda x, a: x},
            ValueError,
            r"jac returned shape \(15,\)",
        ),
        (
            {"ydata": X * np.nan, "nan_policy": "omit"},
            ValueError,
            "every point has a NaN in it",
        ),
        ({"ydata": X * np.nan, "check_finite": False}, ValueError, "Residuals are not finite in the initial"),
        ({"nan_policy": "drop", "check_finite": True}, ValueError, "nan_policy must be one of"),
        ({"maxfev": -1}, ValueError, "max_nfev=-1 must be None or positive"),
        ({"diff_step": np.nan}, ValueError, "diff_step=nan must be a finite number"),
    ],
    ids=str,
)
def test_bad_input_is_named(given, error, words):
    with pytest.raises(error, match=f"curve_fit: {words}"):
        OURS(**{"f": line, "xdata": X, "ydata": Y_LINE, **given})


def test_values_in_an_array_of_objects_are_numbers():
    assert_same(OURS(lambda x, a, b: line(x, a, b).astype(object), X, Y_LINE), by_hand(DESIGN, Y_LINE))
    assert_same(OURS(line, X, Y_LINE, np.array([1, 1], object)), by_hand(DESIGN, Y_LINE))


def test_a_model_of_float32_is_fitted():
    def f(x, a, b):
        return np.float32(line(x, a, b))

    right = by_hand(DESIGN, Y_LINE)[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OptimizeWarning)
        theirs, ours = (np.abs(c(f, X, Y_LINE)[0] - right).max() for c in (THEIRS, OURS))
    assert ours < 0.01 < theirs  # forward steps of 1e-8 are lost


@pytest.mark.parametrize("jac", [None, "2-point", "3-point", "cs"])
def test_the_errors_of_differences_make_no_rank(jac):
    def twice(x, a, b):
        return a * b * np.exp(-x)

    with pytest.warns(OptimizeWarning, match="Covariance of the parameters could not be estimated"):
        assert np.isinf(OURS(twice, X, Y_FALL, [1.0, 3.0], jac=jac)[1]).all()
    assert (np.diag(THEIRS(twice, X, Y_FALL, [1.0, 3.0])[1]) > 1e6).all()


def test_a_single_number_as_sigma_goes_with_a_jacobian():
    found = OURS(fall, X, Y_FALL, None, 0.1, True, jac=fall_jac)
    assert_same(found, OURS(fall, X, Y_FALL, None, np.full(X.size, 0.1), True), 1e-8)
    with pytest.raises(ValueError):
        THEIRS(fall, X, Y_FALL, None, 0.1, True, jac=fall_jac)


def test_nan_in_ydata_is_left_out_for_any_xdata():
    y = Y_LINE.copy()
    y[3] = np.nan
    found = OURS(lambda x, a, b: line(X[~np.isnan(y)], a, b), None, y, nan_policy="omit")
    assert_same(found, by_hand(DESIGN[~np.isnan(y)], y[~np.isnan(y)]))


def test_numbers_in_a_bounds_object_hold_for_all_parameters():
    popt, _ = OURS(fall, X, Y_FALL, bounds=Bounds(0.0, 1.5))
    assert popt[0] == 1.5
    with pytest.raises((TypeError, ValueError)):
        THEIRS(fall, X, Y_FALL, bounds=Bounds(0.0, 1.5))
