"""FitResult: its numbers and their laws, and what it says where a fit is in trouble."""

import copy
import math
import pickle

import numba
import numpy as np
import pytest
from fit_models import COUNTS, ERRORS, START, X, Y, peak

from nbopt.fitting.fit import fit


def line(x, a, b):
    return a + b * x


FIVE = np.arange(5.0), np.array([1.1, 2.9, 5.2, 7.1, 8.9])


def test_the_numbers_hang_together():
    result = fit(peak, X, Y, START, sigma=ERRORS)
    np.testing.assert_allclose(result.best_fit, peak(X, *result.x), rtol=1e-12)
    np.testing.assert_allclose(result.residual, (Y - result.best_fit) / ERRORS, rtol=1e-9, atol=1e-12)
    assert result.chisqr == pytest.approx(np.sum(result.residual**2))
    assert (result.ndata, result.nvarys, result.nfree) == (40, 4, 36)
    assert result.redchi == pytest.approx(result.chisqr / 36)
    assert [p.value for p in result.params.values()] == result.x.tolist()
    np.testing.assert_allclose([p.stderr for p in result.params.values()], np.sqrt(np.diag(result.cov)))
    sizes = np.sqrt(np.diag(result.cov))
    np.testing.assert_allclose(result.correl * np.outer(sizes, sizes), result.cov)
    assert (np.diag(result.correl) == 1.0).all()


def test_information_criteria():
    known = fit(peak, X, Y, START, sigma=ERRORS, absolute_sigma=True)
    assert known.aic == pytest.approx(known.chisqr + 8.0)
    assert known.bic == pytest.approx(known.chisqr + 4.0 * math.log(40))
    estimated = fit(peak, X, Y, START)
    assert estimated.aic == pytest.approx(40 * math.log(estimated.chisqr / 40) + 8.0)
    assert estimated.bic - estimated.aic == pytest.approx(4.0 * math.log(40) - 8.0)
    base_only = fit(lambda x, base: base + 0.0 * x, X, Y)
    assert base_only.aic > estimated.aic and base_only.bic > estimated.bic


def test_correlations_of_a_fixed_parameter_are_zero():
    result = fit(peak.py_func, X, Y, START, fixed={"base": 0.5})
    np.testing.assert_array_equal(result.correl[3], [0.0, 0.0, 0.0, 1.0])
    assert np.isfinite(result.correl).all()


def test_the_answer_does_not_depend_on_units():
    right = fit(peak.py_func, X, Y, START)
    for unit in (1e-9, 1e9):
        scaled = fit(lambda x, h, c, w, b, u=unit: peak.py_func(x, h, c, w, b), X, Y * unit,
                     {"h": 2 * unit, "c": 0.0, "w": 1.0, "b": 0.1 * unit}, fixed={"u": unit})  # fmt: skip
        np.testing.assert_allclose(scaled.x[:4] / [unit, 1, 1, unit], right.x, rtol=1e-6)
        np.testing.assert_allclose(scaled.redchi / unit**2, right.redchi, rtol=1e-8)


def test_a_fit_that_stops_early_is_a_result_and_says_so():
    result = fit(peak, X, Y, START, max_nfev=2)
    assert not result.success and result.status == 0
    assert result.warnings[0].startswith("The fit did not converge: The maximum number")
    assert "NOT CONVERGED" in result.summary() and "not converged" in repr(result)


@numba.njit
def bell(x, height, centre, base):
    return height * np.exp(-0.5 * (x - centre) ** 2) + base


@pytest.mark.parametrize("model", [bell, bell.py_func], ids=["exact", "differences"])
@pytest.mark.parametrize("centre", [15.0, 60.0], ids=["lost in rounding", "zero"])
def test_a_start_where_the_model_depends_on_nothing_is_no_success(model, centre):
    x = np.linspace(-3.0, 3.0, 30)
    y = bell(x, 2.0, 0.5, 0.0) + 0.1 * np.cos(9.0 * x)
    result = fit(model, x, y, (1.0, centre, 0.0), fixed="base")
    assert not result.success and result.status == -4 and "NOT CONVERGED" in result.summary()
    assert result.warnings[0].startswith(
        "The fit did not converge: The model does not depend on any free parameter at p0: start elsewhere"
    )
    found = fit(model, x, y, (1.0, centre, 0.0))  # the base converges, the others are said to be lost
    assert found.success and found.params.base.stderr < 1.0
    assert found.params.height.stderr == found.params.centre.stderr == math.inf
    assert [words.split(" at ")[0][-6:] for words in found.warnings] == ["height", "centre"]


def test_a_parameter_that_is_0_has_an_error_all_the_same():
    x = np.array([-1.0, 0.0, 1.0])
    for start in (0.0, 1.0, 1e-9):
        result = fit(lambda x, a: a * x, x, np.array([1.0, -2.0, 1.0]), start)
        assert result.success and result.params.a.stderr == pytest.approx(math.sqrt(1.5))


def test_zero_residuals():
    result = fit(line, FIVE[0], 1.0 + 2.0 * FIVE[0])
    assert result.exact and "exact to rounding: the standard errors show rounding" in result.warnings[0]
    known = fit(line, FIVE[0], 1.0 + 2.0 * FIVE[0], sigma=0.1, absolute_sigma=True)
    assert known.warnings == [] and known.params.b.stderr == pytest.approx(0.1 / math.sqrt(10.0))


@pytest.mark.parametrize("absolute", [True, False])
def test_as_many_parameters_as_data_and_more(absolute):
    given = {"sigma": 0.1, "absolute_sigma": absolute}
    equal = fit(line, FIVE[0][:2], FIVE[1][:2], **given)
    assert math.isnan(equal.redchi) and equal.nfree == 0
    if absolute:
        assert equal.warnings == [] and equal.params.a.stderr == pytest.approx(0.1)
    else:
        assert "No degrees of freedom" in equal.warnings[0] and math.isnan(equal.params.a.stderr)
    more = fit(lambda x, a, b, c: a + b * x + c * x**2, FIVE[0][:2], FIVE[1][:2], **given)
    assert "more free parameters (3) than data (2)" in more.warnings[0]
    assert any("only a combination of" in words for words in more.warnings)
    np.testing.assert_allclose(more.best_fit, FIVE[1][:2], rtol=1e-9)


def test_entangled_parameters_are_said_and_their_band_is_infinite_where_it_counts():
    result = fit(lambda x, a, b, c: a + b * np.minimum(x, 10.0) + c * np.maximum(x - 10.0, 0.0), *FIVE)
    assert "does not depend on c" in result.warnings[0] and result.params.c.stderr == math.inf
    inside, outside = result.predict(np.array([2.0, 20.0])).stderr
    assert math.isfinite(inside) and outside == math.inf


def test_predictions_and_their_band():
    result = fit(line, *FIVE)
    at = np.array([0.0, 2.0, 7.0])
    value, stderr, lower, upper = result.predict(at)
    design = np.array([np.ones(3), at])
    np.testing.assert_allclose(value, result.x @ design)
    np.testing.assert_allclose(
        stderr, np.sqrt(np.einsum("ik,ij,jk->k", design, result.cov, design)), rtol=1e-7
    )
    np.testing.assert_allclose(upper - value, 3.182446305 * stderr, rtol=1e-9)  # Student's t, 3 degrees
    np.testing.assert_allclose(value - lower, upper - value, rtol=1e-9)
    known = fit(line, *FIVE, sigma=0.1, absolute_sigma=True).predict(at, level=0.6826894921370859)
    np.testing.assert_allclose(known.upper - known.value, known.stderr, rtol=1e-9)
    np.testing.assert_array_equal(result.predict().value, result.best_fit)
    assert result.predict(2).value == pytest.approx(result.predict([2.0]).value[0])


def test_the_band_takes_a_parameter_on_a_bound_as_known():
    result = fit(line, *FIVE, bounds={"a": (None, 0.5)})
    stderr = result.predict(np.array([0.0, 2.0])).stderr
    assert stderr[0] == 0.0 and stderr[1] == pytest.approx(2.0 * result.params.b.stderr)


def test_the_users_jacobian_makes_the_same_band():
    def jac(x, a, b):
        return np.array([np.ones_like(x), x]).T

    ours, theirs = fit(line, *FIVE).predict(), fit(line, *FIVE, jac=jac).predict()
    np.testing.assert_allclose(ours.stderr, theirs.stderr, rtol=1e-6)


def test_results_can_be_copied_and_pickled():
    result = fit(line, *FIVE)
    for other in (copy.deepcopy(result), pickle.loads(pickle.dumps(result))):
        assert other.summary() == result.summary()
        assert other.conf_int() == result.conf_int()


def test_counts_say_what_they_minimized():
    result = fit(peak, X, COUNTS, (4.0, 0.0, 1.0, 1.0), cost="poisson")
    assert "deviance = " in result.summary() and result.aic == pytest.approx(result.chisqr + 8.0)
    assert result.redchi == pytest.approx(result.chisqr / 36)


def test_a_level_out_of_range_is_refused():
    with pytest.raises(ValueError, match=r"FitResult: level=2 must lie in \(0, 1\)"):
        fit(line, *FIVE).predict(level=2)
