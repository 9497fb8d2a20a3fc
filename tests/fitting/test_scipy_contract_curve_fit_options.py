"""scipy as the judge: curve_fit(), its sigma, covariance, bounds and options; asked of scipy and of ours."""

import warnings

import numpy as np
import pytest
from contract_curves import (
    DESIGN,
    ERRORS,
    MATRIX,
    SIGMAS,
    Y_FALL,
    Y_LINE,
    Counted,
    X,
    absolute,
    assert_same,
    both,
    bounded_method,
    by_hand,
    every_method,
    fall,
    fall_jac,
    line,
)
from scipy.optimize import Bounds, OptimizeWarning


@both
@every_method
@pytest.mark.parametrize("sigma", [*SIGMAS, "matrix as list", "integers", "float32"])
def test_forms_of_sigma(curve_fit, method, sigma):
    more = {"matrix as list": MATRIX.tolist(), "integers": np.arange(1, 16), "float32": np.float32(ERRORS)}
    sigma = (SIGMAS | more)[sigma]
    for absolute_sigma in (False, True):
        found = curve_fit(line, X, Y_LINE, None, sigma, absolute_sigma, method=method)
        assert_same(found, by_hand(DESIGN, Y_LINE, sigma, absolute_sigma))


@both
@every_method
def test_only_an_absolute_sigma_has_a_size(curve_fit, method):
    for factor in (1.0, 3.0, 1e-6):
        given = X, Y_FALL, None, factor * ERRORS
        relative = curve_fit(fall, *given, method=method)
        assert_same(relative, curve_fit(fall, X, Y_FALL, None, ERRORS, method=method))
        size = curve_fit(fall, *given, True, method=method)[1] / factor**2
        popt, one = curve_fit(fall, X, Y_FALL, None, ERRORS, True, method=method)
        np.testing.assert_allclose(size, one, rtol=1e-3)
        chi2 = (((fall(X, *popt) - Y_FALL) / ERRORS) ** 2).sum()
        np.testing.assert_allclose(relative[1], one * chi2 / (X.size - 2), rtol=1e-3)


@both
@absolute
@pytest.mark.parametrize("jac", [None, fall_jac], ids=["none", "callable"])
def test_errors_are_the_same_in_any_form(curve_fit, absolute_sigma, jac):
    one = curve_fit(fall, X, Y_FALL, None, ERRORS, absolute_sigma, jac=jac)
    two = curve_fit(fall, X, Y_FALL, None, np.diag(ERRORS**2), absolute_sigma, jac=jac)
    assert_same(two, one, 1e-8)
    number, array = (curve_fit(fall, X, Y_FALL, None, s, absolute_sigma) for s in (0.3, np.full(X.size, 0.3)))
    np.testing.assert_array_equal(number[0], array[0])
    np.testing.assert_array_equal(number[1], array[1])


@both
@absolute
@pytest.mark.parametrize("jac", [None, "callable"])
def test_correlated_data_may_be_rotated(curve_fit, absolute_sigma, jac):
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(X.size, X.size)))[0]

    def turned(x, height, rate):
        return turn @ fall(x, height, rate)

    jacs = (fall_jac, lambda x, *p: turn @ fall_jac(x, *p)) if jac else (None, None)
    one = curve_fit(fall, X, Y_FALL, None, ERRORS, absolute_sigma, jac=jacs[0])
    matrix = turn @ np.diag(ERRORS**2) @ turn.T
    two = curve_fit(turned, X, turn @ Y_FALL, None, matrix, absolute_sigma, jac=jacs[1])
    assert_same(two, one, 1e-6)


@both
@every_method
def test_sigma_that_does_not_fit_is_refused(curve_fit, method):
    for sigma in (ERRORS[:4], ERRORS[None], ERRORS[:, None], MATRIX[:4], MATRIX[..., None], []):
        with pytest.raises(ValueError, match="`sigma` has incorrect shape"):
            curve_fit(line, X, Y_LINE, None, sigma, method=method)
    for sigma in (-MATRIX, np.zeros_like(MATRIX), np.ones_like(MATRIX) - 2.0 * np.eye(X.size)):
        with pytest.raises(ValueError, match="`sigma` must be positive definite"):
            curve_fit(line, X, Y_LINE, None, sigma, method=method)


@both
@every_method
def test_one_half_of_a_matrix_is_enough(curve_fit, method):
    found = curve_fit(line, X, Y_LINE, None, np.tril(MATRIX), method=method)
    assert_same(found, by_hand(DESIGN, Y_LINE, MATRIX))


@both
@every_method
def test_without_data_to_spare_only_absolute_errors_are_known(curve_fit, method):
    with pytest.warns(OptimizeWarning, match="Covariance of the parameters could not be estimated"):
        popt, pcov = curve_fit(line, X[:2], Y_LINE[:2], method=method)
    assert np.isposinf(pcov).all() and pcov.shape == (2, 2)
    found = curve_fit(line, X[:2], Y_LINE[:2], None, ERRORS[:2], True, method=method)
    right = np.linalg.inv(DESIGN[:2].T @ np.diag(ERRORS[:2] ** -2) @ DESIGN[:2])
    assert_same(found, (popt, right))


@both
def test_what_the_data_do_not_determine(curve_fit):
    def flat(x, a, b):
        return a * x

    with pytest.warns(OptimizeWarning, match="Covariance of the parameters could not be estimated"):
        popt, pcov = curve_fit(flat, X, Y_LINE, [1.0, 5.0])
    assert np.isposinf(pcov).all() and popt[1] == 5.0
    right = by_hand(DESIGN[:, :1], Y_LINE)
    for method in ("trf", "dogbox"):  # the pseudo-inverse
        popt, pcov = curve_fit(flat, X, Y_LINE, [1.0, 5.0], method=method)
        np.testing.assert_allclose(popt, [right[0][0], 5.0], rtol=1e-4)
        np.testing.assert_allclose(pcov, [[right[1][0, 0] * 14 / 13, 0.0], [0.0, 0.0]], rtol=1e-4)


@both
def test_a_covariance_is_symmetric_and_not_negative(curve_fit):
    x = np.arange(60.0)
    y = np.log(x + 2.0) + 0.05 * np.random.default_rng(2).normal(size=60)

    def two_logs(x, a, b, c, d, e):  # nearly the same twice
        with np.errstate(invalid="ignore"):
            return a * np.log(x + 1.0 + b) + c * np.log(x + 1.0 + d) + e

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        _, pcov = curve_fit(two_logs, x, y, [1.0, 1.0, 0.5, 2.0, 0.0], maxfev=100_000)
    assert (np.diag(pcov) > 0.0).all()
    np.testing.assert_allclose(pcov, pcov.T, rtol=1e-9)


# Methods, derivatives and bounds


@both
@every_method
@pytest.mark.parametrize("sigma", [None, ERRORS, MATRIX], ids=["none", "errors", "matrix"])
def test_a_jacobian_is_weighted_by_sigma(curve_fit, method, sigma):
    for jac in (fall_jac, lambda *a: fall_jac(*a).tolist()):
        found = curve_fit(fall, X, Y_FALL, None, sigma, method=method, jac=jac)
        assert_same(found, curve_fit(fall, X, Y_FALL, None, sigma, method=method), 1e-6)


@both
@bounded_method
def test_how_to_take_differences(curve_fit, method):
    method = method or "trf"
    right = curve_fit(fall, X, Y_FALL, jac=fall_jac, method=method)
    for jac in ("2-point", "3-point", "cs"):
        assert_same(curve_fit(fall, X, Y_FALL, jac=jac, method=method), right, 1e-6)


@both
@every_method
def test_what_is_no_method_or_jacobian_is_refused(curve_fit, method):
    with pytest.raises(ValueError, match="method"):
        curve_fit(line, X, Y_LINE, method="newton")
    for jac in ("4-point", True, 3):
        with pytest.raises((ValueError, TypeError)):
            curve_fit(line, X, Y_LINE, method=method, jac=jac)
    for jac in (lambda x, a, b: np.ones((4, 2)), lambda x, a, b: np.ones((2, X.size))):
        with pytest.raises((ValueError, TypeError), match="shape"):
            curve_fit(line, X, Y_LINE, method=method, jac=jac)


FORMS = {
    "arrays": ([0.5, 0.0], [1.5, 3.0]),
    "list of arrays": [np.array([0.5, 0.0]), np.array([1.5, 3.0])],
    "rows": np.array([[0.5, 0.0], [1.5, 3.0]]),
    "number below": (0.0, [1.5, 3.0]),
    "numbers": (0.0, 1.5),
    "Bounds": Bounds([0.5, 0.0], [1.5, 3.0]),
    "above alone": (-np.inf, [1.5, np.inf]),
}


@both
@bounded_method
@pytest.mark.parametrize("form", FORMS)
def test_forms_of_bounds(curve_fit, method, form):
    for p0 in (None, [1.0, 1.0]):
        popt, pcov = curve_fit(fall, X, Y_FALL, p0, bounds=FORMS[form], method=method)
        np.testing.assert_allclose(popt[0], 1.5, rtol=1e-6)
        right = curve_fit(lambda x, rate: fall(x, 1.5, rate), X, Y_FALL)[0]
        np.testing.assert_allclose(popt[1], right, rtol=1e-3)
        assert np.isfinite(pcov).all()


@both
@pytest.mark.parametrize(
    "bounds, start",
    [
        ((-np.inf, np.inf), (1.0, 1.0)),
        (([-3.0, -np.inf], [5.0, 7.0]), (1.0, 6.0)),
        (([2.0, -np.inf], np.inf), (3.0, 1.0)),
        (Bounds([0.0, 0.0], [0.5, np.inf]), (0.25, 1.0)),
    ],
    ids=str,
)
def test_the_start_without_p0(curve_fit, bounds, start):
    f = Counted(line)
    curve_fit(f, X, Y_LINE, bounds=bounds)
    assert f.seen[0] == start


@both
@bounded_method
def test_bounds_do_not_move_the_start(curve_fit, method):
    def wave(x, phase):
        return np.sin(3.0 * x + phase)

    for bounds in ((-np.inf, np.inf), (-10.0, 10.0)):
        popt, _ = curve_fit(wave, X, np.sin(3.0 * X), 6.5, bounds=bounds, method=method)
        np.testing.assert_allclose(popt, 2.0 * np.pi, rtol=1e-6)


@both
@every_method
def test_bounds_that_are_wrong_are_refused(curve_fit, method):
    for bounds in (([3.0, 3.0], [0.0, 0.0]), ([0.0], [1.0, 2.0]), ([0.0, 0.0], [0.0, 1.0])):
        with pytest.raises((ValueError, IndexError)):
            curve_fit(line, X, Y_LINE, bounds=bounds, method=method)
    with pytest.raises(ValueError, match=r"lm|outside of provided bounds"):
        curve_fit(line, X, Y_LINE, [1.0, 5.0], bounds=(0.0, 4.0), method=method)


@both
def test_lm_is_for_problems_without_bounds(curve_fit):
    for bounds in ((0.0, 3.0), ([0.0, -np.inf], np.inf), Bounds([0.0, 0.0], [1.0, 1.0])):
        with pytest.raises(ValueError, match="Method 'lm' only works for unconstrained problems"):
            curve_fit(line, X, Y_LINE, bounds=bounds, method="lm")


# Limits and options


@both
@every_method
def test_too_few_evaluations_are_an_error(curve_fit, method):
    with pytest.raises(RuntimeError, match="Optimal parameters not found"):
        curve_fit(fall, X, Y_FALL, [20.0, 5.0], method=method, maxfev=3)
    if method in ("trf", "dogbox"):
        with pytest.raises(RuntimeError, match="Optimal parameters not found"):
            curve_fit(fall, X, Y_FALL, [20.0, 5.0], method=method, max_nfev=3)


@both
def test_a_limit_may_have_either_name_with_bounds(curve_fit):
    for given in ({"maxfev": 100}, {"max_nfev": 100}, {"maxfev": None}):
        popt, _ = curve_fit(lambda x, p: p * x, X, 2.0 * X, bounds=(0.0, 3.0), **given)
        np.testing.assert_allclose(popt, 2.0, atol=1e-12)


@both
@pytest.mark.parametrize(
    "method, given",
    [
        ("lm", {"ftol": 1e-10, "xtol": 1e-10, "gtol": 1e-10}),
        ("lm", {"gtol": 0.0}),
        ("lm", {"ftol": 0.0, "gtol": 0.0}),
        ("lm", {"epsfcn": 1e-10}),
        ("lm", {"factor": 10}),
        ("lm", {"diag": [1.0, 2.0]}),
        ("trf", {"ftol": 1e-10, "xtol": None, "gtol": 1e-10}),
        ("trf", {"x_scale": [1.0, 2.0], "verbose": 0}),
        ("dogbox", {"x_scale": "jac", "tr_solver": "exact", "tr_options": {}}),
        ("dogbox", {"diff_step": 1e-6}),
        ("trf", {"loss": "linear", "f_scale": 2.0}),
    ],
    ids=str,
)
def test_options_are_passed_on(curve_fit, method, given):
    assert_same(curve_fit(fall, X, Y_FALL, method=method, **given), curve_fit(fall, X, Y_FALL), 1e-5)


@both
@bounded_method
def test_a_robust_loss_is_passed_on(curve_fit, method):
    y = Y_FALL.copy()
    y[[3, 8]] += 4.0
    given = {"loss": "soft_l1", "f_scale": 0.1, "method": method or "trf"}
    popt, pcov = curve_fit(fall, X, y, **given)
    np.testing.assert_allclose(popt, [2.0, 1.2], atol=0.3)
    assert np.abs(curve_fit(fall, X, y)[0] - [2.0, 1.2]).max() > 0.4 and np.isfinite(pcov).all()
    same = curve_fit(fall, X, y, loss=lambda z: np.array([2.0 * (np.sqrt(1 + z) - 1), (1 + z) ** -0.5,
                                                          -0.5 * (1 + z) ** -1.5]),
                     f_scale=0.1, method=method or "trf")  # fmt: skip
    assert_same(same, (popt, pcov))


@both
@every_method
def test_options_that_do_not_exist_are_refused(curve_fit, method):
    with pytest.raises(TypeError, match="tolerance"):
        curve_fit(line, X, Y_LINE, method=method, tolerance=1e-9)
    with pytest.raises(ValueError, match="'args' is not a supported keyword argument"):
        curve_fit(line, X, Y_LINE, method=method, args=(1.0,))


# Problems that are hard in their numbers


@both
@every_method
def test_narrow_peaks_far_from_zero(curve_fit, method):
    x = 812.3 + np.linspace(0.0, 0.1, 25)

    def peaks(x, one, two, high, low, width, base):
        a, b = ((x - centre) / width for centre in (one, two))
        return high * np.exp(-0.5 * a * a) + low * np.exp(-0.5 * b * b) + base

    true = np.array([812.33, 812.365, 1700.0, 1500.0, 0.008, 850.0])
    y = peaks(x, *true) + 3.0 * np.sin(np.arange(25.0) ** 2)
    start = [812.333, 812.362, 1300.0, 1300.0, 0.005, 860.0]
    scale = {} if method in (None, "lm") else {"x_scale": "jac"}
    popt, pcov = curve_fit(peaks, x, y, start, maxfev=10_000, method=method, **scale)
    np.testing.assert_allclose((popt - true) / np.sqrt(np.diag(pcov)), 0.0, atol=4.0)
    np.testing.assert_allclose(popt[:2], true[:2], atol=1e-3)


@both
@every_method
def test_exact_data_and_an_exact_start(curve_fit, method):
    for p0 in (None, [1.5, 0.5]):
        popt, pcov = curve_fit(line, X, 1.5 * X + 0.5, p0, method=method)
        np.testing.assert_allclose(popt, [1.5, 0.5], rtol=1e-9)
        assert np.abs(pcov).max() < 1e-15


@both
@every_method
def test_data_that_were_rounded_to_float32(curve_fit, method):
    exact = curve_fit(fall, X, Y_FALL, method=method)
    for x, y in ((np.float32(X), Y_FALL), (X, np.float32(Y_FALL)), (np.float32(X), np.float32(Y_FALL))):
        assert_same(curve_fit(fall, x, y, method=method), exact, 1e-5)
