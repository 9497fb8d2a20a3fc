"""Profile intervals: laws, iminuit's MINOS, bounds, and what has no end."""

import math

import numpy as np
import pytest
from fit_models import COUNTS, ERRORS, MODELS, START, X, Y, data, peak
from scipy.special import ndtri, stdtrit

from nbopt.fitting.confidence import Interval, Intervals
from nbopt.fitting.fit import fit

ONE_SIGMA = math.erf(math.sqrt(0.5))
LINE_X, LINE_Y = np.arange(8.0), np.array([0.1, 2.3, 3.8, 6.1, 8.3, 9.7, 12.2, 13.9])


def line(x, a, b):
    return a + b * x


@pytest.mark.parametrize("name", MODELS)
def test_they_are_those_of_minos(name):
    iminuit = pytest.importorskip("iminuit", reason="iminuit is not installed: MINOS was not compared")
    model, x, y, errors, true = data(name)
    result = fit(model, x, y, true, sigma=errors, absolute_sigma=True)
    minuit = iminuit.Minuit(lambda p: np.sum(((y - model.py_func(x, *p)) / errors) ** 2), result.x)
    minuit.errordef, minuit.strategy, minuit.tol = 1.0, 2, 1e-6
    minuit.migrad()
    minuit.minos()
    np.testing.assert_allclose(
        minuit.values, result.x, atol=1e-4 * min(p.stderr for p in result.params.values())
    )
    found = result.conf_int(ONE_SIGMA)
    assert found.notes == []
    for p, theirs in zip(result.params.values(), minuit.merrors.values(), strict=True):
        low, high = found[p.name]
        assert abs(low - p.value - theirs.lower) < 1e-3 * p.stderr
        assert abs(high - p.value - theirs.upper) < 1e-3 * p.stderr


def test_those_of_counts_are_those_of_minos():
    iminuit = pytest.importorskip("iminuit", reason="iminuit is not installed: MINOS was not compared")
    result = fit(peak, X, COUNTS, (4.0, 0.0, 1.0, 1.0), cost="poisson")
    logs = np.log(np.maximum(COUNTS, 1.0))

    def deviance(p):
        mu = peak.py_func(X, *p)
        return 2.0 * np.sum(mu - COUNTS + COUNTS * (logs - np.log(mu)))

    minuit = iminuit.Minuit(deviance, result.x)
    minuit.errordef, minuit.strategy, minuit.tol = 1.0, 2, 1e-6
    minuit.migrad()
    minuit.minos()
    found = result.conf_int(ONE_SIGMA)
    for p, theirs in zip(result.params.values(), minuit.merrors.values(), strict=True):
        low, high = found[p.name]
        assert abs(low - p.value - theirs.lower) < 1e-3 * p.stderr
        assert abs(high - p.value - theirs.upper) < 1e-3 * p.stderr


@pytest.mark.parametrize("level", [0.5, 0.95, 0.999])
@pytest.mark.parametrize("absolute", [True, False])
def test_those_of_a_linear_model_are_symmetric_multiples_of_the_standard_error(level, absolute):
    result = fit(line, LINE_X, LINE_Y, sigma=0.2, absolute_sigma=absolute)
    tail = 0.5 + 0.5 * level
    quantile = ndtri(tail) if absolute else stdtrit(LINE_X.size - 2, tail)
    for name, (low, high) in result.conf_int(level).items():
        p = result.params[name]
        np.testing.assert_allclose([p.value - low, high - p.value], quantile * p.stderr, rtol=1e-5)


def test_the_same_for_compiled_and_plain_models():
    given = {"sigma": ERRORS, "absolute_sigma": True}
    ours = fit(peak, X, Y, START, **given).conf_int()
    plain = fit(peak.py_func, X, Y, START, **given).conf_int()
    for name, interval in ours.items():
        np.testing.assert_allclose(interval, plain[name], rtol=1e-5, atol=1e-7)


def test_the_sum_of_squares_at_the_ends_is_what_was_asked_for():
    result = fit(peak, X, Y, START, sigma=ERRORS, absolute_sigma=True)
    for end in result.conf_int(0.9, "width")["width"]:
        held = fit(peak, X, Y, result.x, sigma=ERRORS, absolute_sigma=True, fixed={"width": end})
        assert held.chisqr - result.chisqr == pytest.approx(ndtri(0.95) ** 2, rel=3e-5)


@pytest.mark.parametrize("loss", ["huber", "soft_l1", "cauchy"])
def test_those_of_a_robust_loss_agree_with_its_errors_where_the_model_is_linear(loss):
    y = LINE_Y + np.where(LINE_X == 2.0, 50.0, 0.0)
    result = fit(line, LINE_X, y, sigma=0.2, absolute_sigma=True, loss=loss, f_scale=3.0)
    found = result.conf_int(ONE_SIGMA)
    assert str(found).startswith("68.2689% confidence intervals (profile of the robust cost: approximate)")
    for name, (low, high) in found.items():
        p, quantile = result.params[name], stdtrit(LINE_X.size - 2, 0.5 + 0.5 * ONE_SIGMA)
        # psi of Huber's loss is straight while no point crosses f_scale; that of the others is not.
        close = {"rtol": 1e-4} if loss == "huber" else {"rtol": 0.1}
        np.testing.assert_allclose([p.value - low, high - p.value], quantile * p.stderr, **close)


def test_those_of_a_robust_loss_do_not_collapse_where_only_outliers_count_or_nothing_does():
    x, y = np.arange(30.0), np.cos(9 * np.arange(30.0))
    y[-2:] = 9.0, -9.0  # for a step from one to the other the cost stays the same
    result = fit(lambda x, a, b: a + b * (x >= 28.0), x, y, loss="huber")
    low, high = result.conf_int(ONE_SIGMA)["b"]
    assert low < -6.0 and high > 6.0
    assert result.warnings[0].startswith("Outliers stand at the points that determine b: its standard error")
    both = fit(lambda x, a, b, c: a + b + c * x, LINE_X, LINE_Y, loss="cauchy").conf_int()
    assert both["a"] == (-math.inf, math.inf) and 0.0 < both["c"].upper - both["c"].lower < 1.0


def test_where_a_robust_loss_knows_no_errors_there_are_no_intervals():
    result = fit(line, LINE_X, LINE_Y, (1e3, 0.0), loss="arctan", f_scale=1e-6)
    found = result.conf_int()
    assert np.isnan(list(found.values())).all() and "The loss has given up too many" in found.notes[0]


def test_bounds_end_them():
    bounds = {"base": (0.0, None), "height": (None, 2.9)}
    y = Y - result_base()
    result = fit(peak, X, y, (2.0, 0.0, 1.0, 0.1), bounds=bounds)
    assert result.params.height.at_bound == "upper"
    found = result.conf_int()
    assert found["height"].upper == 2.9 and found["height"].lower < 2.9
    assert found["base"].lower == 0.0 and found["base"].upper > result.params.base.value
    assert any("base ends at its bound 0" in note for note in found.notes)


def result_base():
    return fit(peak, X, Y, START).params.base.value - 0.02


def test_a_fixed_parameter_stays_and_has_none():
    result = fit(peak, X, Y, START, fixed={"base": 0.5})
    found = result.conf_int(names=["height", "width"])
    assert list(found) == ["height", "width"]
    with pytest.raises(ValueError, match="'base', which is no free parameter of this fit; those are height"):
        result.conf_int(names="base")


def test_what_the_data_leave_open_has_no_end_and_that_is_said():
    result = fit(lambda x, a, b, c: a + b + c * x, LINE_X, LINE_Y)
    found = result.conf_int()
    assert found["a"] == found["b"] == (-math.inf, math.inf)
    assert math.isfinite(found["c"].lower) and any("a is open below" in note for note in found.notes)
    y = [0.0, 1.1, 0.9, 1.0, 1.2, 0.8, 1.0, 1.1]
    rise = fit(lambda x, a, k: a * (1.0 - np.exp(-k * x)), LINE_X, y, (1.0, 3.0), bounds={"k": (0, None)})
    one_side = rise.conf_int(names="k")
    assert one_side["k"].upper == math.inf and 0.0 < one_side["k"].lower < 3.0
    assert "k is open above" in one_side.notes[0]


def test_a_slope_of_zero_at_the_solution_is_no_obstacle():
    y = 1.0 - 0.2 * LINE_X + np.array([0.1, -0.1, 0.05, 0.0, -0.05, 0.1, -0.1, 0.0])

    def slopes(x, a, b):
        return np.array([np.ones_like(x), 2.0 * b * x]).T

    given = {"sigma": 0.1, "absolute_sigma": True, "jac": slopes}
    result = fit(lambda x, a, b: a + b * b * x, LINE_X, y, (1.0, 0.0), **given)
    assert result.params.b.value == 0.0 and any("does not depend on b" in w for w in result.warnings)
    low, high = result.conf_int()["b"]
    assert -1.0 < low < 0.0 < high < 1.0 and low == pytest.approx(-high, rel=1e-4)


def test_an_end_where_the_model_is_not_finite_is_found_all_the_same():
    y = np.sqrt(LINE_X + 0.02) + np.array([0.0, 0.1, -0.1, 0.1, -0.1, 0.05, -0.05, 0.0])

    def root(x, shift, scale):
        with np.errstate(invalid="ignore"):
            return scale * np.sqrt(x + shift)

    result = fit(root, LINE_X, y, (0.5, 1.0), sigma=0.1, absolute_sigma=True)
    low, high = result.conf_int(0.99)["shift"]
    assert low == pytest.approx(0.0, abs=1e-3) and high > result.params.shift.value


def test_a_better_fit_on_the_way_is_said():
    x = np.linspace(0.0, 6.0, 30)
    y = np.sin(2.0 * x)
    result = fit(lambda x, w, a: a * np.sin(w * x), x, y + 0.1 * np.cos(9 * x), (0.6, 0.5))
    assert result.chisqr > 5.0
    assert "there is a better fit" in result.conf_int().notes[-1]


def test_without_noise_they_are_nan_and_that_is_said():
    exact = fit(line, LINE_X, line(LINE_X, 1.0, 2.0))
    few = fit(line, LINE_X[:2], LINE_Y[:2])
    for result in (exact, few):
        found = result.conf_int()
        assert np.isnan(list(found.values())).all() and "no noise to tell an interval from" in found.notes[0]


@pytest.mark.parametrize("level", [0.0, 1.0, 95, math.nan, "95%"])
def test_a_level_out_of_range_is_refused(level):
    result = fit(line, LINE_X, LINE_Y)
    with pytest.raises(ValueError, match=r"FitResult: level=.* must lie in \(0, 1\)"):
        result.conf_int(level)


def test_they_print_as_a_table():
    found = Intervals(0.9, {"a": 1.0})
    found["a"] = Interval(0.5, math.inf)
    found.notes.append("it is open.")
    text = str(found)
    assert text.startswith("90% confidence") and "-0.5  +inf" in text and "note: it is open." in text
