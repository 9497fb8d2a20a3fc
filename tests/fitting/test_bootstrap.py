"""The bootstrap: its errors beside the covariance, its intervals, and the same numbers by every way."""

import numpy as np
import pytest
from fit_models import COUNTS, ERRORS, START, X, Y, peak

from nbopt.fitting.bootstrap import Bootstrap
from nbopt.fitting.fit import fit

RESULT = fit(peak, X, Y, START, sigma=ERRORS)


@pytest.mark.parametrize("kind", ["residuals", "pairs", "parametric"])
def test_errors_are_about_those_of_the_covariance(kind):
    found = RESULT.bootstrap(1500, kind, seed=1)
    assert found.failed == 0 and found.params.shape == (1500, 4)
    errors = [p.stderr for p in RESULT.params.values()]
    np.testing.assert_allclose(found.stderr, errors, rtol=0.3 if kind == "pairs" else 0.12)
    np.testing.assert_allclose(found.stderr, np.sqrt(np.diag(found.cov)))


@pytest.mark.parametrize("kind", ["residuals", "pairs"])
def test_compiled_and_plain_models_give_the_same(kind):
    plain = fit(peak.py_func, X, Y, START, sigma=ERRORS)
    ours, theirs = RESULT.bootstrap(40, kind, seed=3), plain.bootstrap(40, kind, seed=3)
    np.testing.assert_allclose(ours.params, theirs.params, rtol=1e-5, atol=1e-7)


def test_counts_have_a_parametric_one_by_default():
    result = fit(peak, X, COUNTS, (4.0, 0.0, 1.0, 1.0), cost="poisson")
    found = result.bootstrap(400, seed=np.random.default_rng(1))
    errors = [p.stderr for p in result.params.values()]
    np.testing.assert_allclose(np.nanstd(found.params, axis=0), errors, rtol=0.35)


def test_a_fixed_parameter_stays():
    found = fit(peak.py_func, X, Y, START, fixed={"base": 0.5}).bootstrap(20, seed=1)
    assert (found.params[:, 3] == 0.5).all() and found.stderr[3] == 0.0


def test_bounds_hold_in_every_fit():
    result = fit(lambda x, a, b: a + b * x, X, Y, bounds={"b": (0.0, None)})
    found = result.bootstrap(60, seed=1)
    assert (found.params[:, 1] >= 0.0).all() and (found.params[:, 1] == 0.0).any()


def test_intervals_are_quantiles_and_failures_are_left_out():
    params = np.arange(101.0)[:, None] * [1.0, 10.0]
    found = Bootstrap(("a", "b"), np.concatenate([params, [[np.nan, 5.0]]]))
    assert found.failed == 1 and repr(found) == "<Bootstrap of 102 fits, 1 failed>"
    assert found.conf_int(0.9)["a"] == pytest.approx((5.0, 95.0))
    assert found.conf_int(0.9)["b"] == pytest.approx((50.0, 950.0))
    assert np.isnan(Bootstrap(("a",), np.full((3, 1), np.nan)).conf_int()["a"]).all()
    with pytest.raises(ValueError, match=r"level=95 must lie in \(0, 1\)"):
        found.conf_int(95)


def test_a_fit_that_fails_is_a_row_of_nan():
    def model(x, a, b):
        return np.where(a > -0.05, a, np.nan) + b * x

    y = np.array([0.3, -0.4, 0.35, -0.3, 0.4, -0.35])
    found = fit(model, np.arange(6.0) - 2.5, y, (0.5, 0.0)).bootstrap(50, seed=1)
    assert np.isfinite(found.stderr).all()
    assert found.failed == np.isnan(found.params).any(axis=1).sum()


@pytest.mark.parametrize("n", [1, 0, -5, 2.5, True])
def test_a_number_of_fits_out_of_range_is_refused(n):
    with pytest.raises(ValueError, match=f"bootstrap: n={n} must be an integer of at least 2"):
        RESULT.bootstrap(n)


def test_a_robust_loss_draws_its_residuals_and_leaves_the_fit_where_it_was():
    y = 2.0 * X + 3.0 + 0.1 * np.sin(50 * X) + np.where(np.arange(X.size) % 8 == 0, 5.0, 0.0)  # to one side
    result = fit(lambda x, slope: slope * x + 3.0, X, y, sigma=0.1, absolute_sigma=True, loss="huber")
    found = result.bootstrap(150, seed=1)
    assert abs(found.params.mean() - result.params.slope.value) < 0.25 * found.stderr[0]
    assert found.stderr[0] == pytest.approx(result.params.slope.stderr, rel=0.25)


def test_that_the_data_do_not_determine_a_parameter_is_said():
    result = fit(lambda x, a, b: a * x + 0.0 * b, X, 2.0 * X + 0.1 * np.cos(9.0 * X))
    with pytest.warns(UserWarning, match="bootstrap: the data do not determine b: the spread") as caught:
        found = result.bootstrap(20, seed=1)
    assert caught[0].filename == __file__ and found.stderr[0] > 0.0
