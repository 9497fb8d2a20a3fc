"""fit(): what it finds, beside curve_fit(), NIST's certified sets and likelihoods; what it refuses."""

import numba
import numpy as np
import pytest
import scipy.optimize as so
from fit_models import COUNTS, ERRORS, START, X, Y, peak
from nist_models import MODELS, digits, read

import nbopt
from nbopt.fitting.curve_fit import curve_fit
from nbopt.fitting.fit import fit

NAMES = ["height", "centre", "width", "base"]
_HALF = np.random.default_rng(3).normal(size=(X.size, X.size))
MATRIX = 0.001 * _HALF @ _HALF.T + np.diag(ERRORS**2)


def peak_jac(x, height, centre, width, base):
    z = (x - centre) / width
    e = np.exp(-0.5 * z * z)
    jac = np.ones((x.size, 4))
    jac[:, 0], jac[:, 1], jac[:, 2] = e, height * e * z / width, height * e * z * z / width
    return jac


COMPILED_JAC = numba.njit(peak_jac)


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("absolute", [True, False])
@pytest.mark.parametrize("sigma", [None, 0.1, ERRORS, MATRIX], ids=["none", "number", "errors", "matrix"])
def test_parameters_and_covariance_are_those_of_curve_fit(compiled, absolute, sigma):
    model = peak if compiled else peak.py_func
    result = fit(model, X, Y, START, sigma=sigma, absolute_sigma=absolute)
    popt, pcov = curve_fit(model, X, Y, START, sigma, absolute)
    np.testing.assert_allclose(result.x, popt, rtol=1e-9)
    np.testing.assert_allclose(result.cov, pcov, rtol=1e-6, atol=1e-10)
    assert result.success and [w for w in result.warnings if "times as large as sigma says" not in w] == []
    assert result.jac_method == "dual" if compiled else result.jac_method in ("2-point", "3-point")


def test_weights_are_inverse_squares_of_errors_and_zeros_leave_out():
    by_sigma = fit(peak, X, Y, START, sigma=ERRORS, absolute_sigma=True)
    by_weights = fit(peak, X, Y, START, weights=1 / ERRORS**2, absolute_sigma=True)
    np.testing.assert_allclose(by_weights.cov, by_sigma.cov, rtol=1e-9)
    keep = np.arange(X.size) % 3 != 0
    some = fit(peak, X, Y, START, weights=keep / ERRORS**2)
    fewer = fit(peak, X[keep], Y[keep], START, sigma=ERRORS[keep])
    np.testing.assert_allclose(some.cov, fewer.cov, rtol=1e-7)
    assert some.ndata == fewer.ndata and some.redchi == pytest.approx(fewer.redchi)


@pytest.mark.parametrize(
    "cost, jac",
    [
        *(("least_squares", jac) for jac in ("3-point", peak_jac, COMPILED_JAC)),
        *(("poisson", jac) for jac in ("dual", "2-point", peak_jac, COMPILED_JAC)),
    ],
)
def test_every_kind_of_jacobian_comes_to_the_same(cost, jac):
    y = COUNTS if cost == "poisson" else Y
    right = fit(peak, X, y, (*START[:3], 1.0), cost=cost)
    model = peak.py_func if jac is peak_jac else peak
    result = fit(model, X, y, (*START[:3], 1.0), cost=cost, jac=jac)
    np.testing.assert_allclose(result.x, right.x, rtol=1e-6)
    np.testing.assert_allclose(result.cov, right.cov, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("jac", [None, peak_jac, COMPILED_JAC])
def test_fixed_parameters_keep_their_value_and_the_others_are_fitted(jac):
    model = peak.py_func if jac is peak_jac else peak
    result = fit(model, X, Y, START, fixed={"base": 0.5}, jac=jac)
    popt, pcov = curve_fit(lambda x, a, b, c: peak.py_func(x, a, b, c, 0.5), X, Y, START[:3])
    np.testing.assert_allclose(result.x, [*popt, 0.5], rtol=1e-7)
    np.testing.assert_allclose(result.cov[:3, :3], pcov, rtol=1e-5, atol=1e-9)
    assert not result.cov[3].any() and result.params.base.fixed and result.params.base.stderr == 0.0
    assert result.nvarys == 3 and result.nfree == X.size - 3
    assert fit(model, X, Y, (*START[:3], 0.5), fixed="base", jac=jac).chisqr == pytest.approx(result.chisqr)


def test_bounds_by_name_by_sequence_and_by_object():
    right = fit(peak, X, Y, START, bounds={"height": (None, 2.8), "width": (0.1, 5.0)})
    ends = [-np.inf, -np.inf, 0.1, -np.inf], [2.8, np.inf, 5.0, np.inf]
    for bounds in (ends, so.Bounds(*ends)):
        assert fit(peak, X, Y, START, bounds=bounds).chisqr == pytest.approx(right.chisqr)
    assert right.params.height.value == 2.8 and right.params.height.at_bound == "upper"
    assert np.isnan(right.params.height.stderr) and np.isfinite(right.params.width.stderr)
    held = fit(peak, X, Y, START, fixed={"height": 2.8})
    np.testing.assert_allclose(right.cov[1:, 1:] * right.nfree, held.cov[1:, 1:] * held.nfree, rtol=1e-6)
    assert "height is at its upper bound" in right.warnings[0]


def test_where_it_starts():
    def model(x, a, b=2.0, c=3.0):
        return a + b * x + c * x**2

    starts = {name: p.start for name, p in fit(model, X, Y).params.items()}
    assert starts == {"a": 1.0, "b": 2.0, "c": 3.0}
    starts = {
        n: p.start for n, p in fit(model, X, Y, {"c": 5}, bounds={"a": (2, 4)}, fixed={"a": 3}).params.items()
    }
    assert starts == {"a": 3.0, "b": 2.0, "c": 5.0}
    any_number = fit(lambda x, *p: p[0] + p[1] * x, X, Y, {"offset": 0, "slope": 1})
    assert list(any_number.params) == ["offset", "slope"]


def test_a_robust_loss_finds_what_scipys_does():
    y = Y.copy()
    y[::9] += 5.0
    for loss in ("soft_l1", "huber", "cauchy"):
        result = fit(peak, X, y, START, sigma=ERRORS, loss=loss, f_scale=1.5)
        theirs = so.curve_fit(peak, X, y, START, ERRORS, jac=peak_jac, loss=loss, f_scale=1.5, method="trf",
                              xtol=1e-14, ftol=1e-14, gtol=1e-13)  # fmt: skip
        np.testing.assert_allclose(result.x, theirs[0], rtol=1e-5)
    own = fit(peak, X, y, START, sigma=ERRORS, loss=lambda z: np.array([z, np.ones_like(z), 0 * z]))
    linear = fit(peak, X, y, START, sigma=ERRORS)
    np.testing.assert_allclose(own.x, linear.x, rtol=1e-6)
    np.testing.assert_allclose(own.cov, linear.cov, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("compiled", [True, False])
def test_counts_get_the_parameters_of_maximum_likelihood_and_its_errors(compiled):
    model = peak if compiled else peak.py_func
    result = fit(model, X, COUNTS, (4.0, 0.0, 1.0, 1.0), cost="poisson")

    def score(p):  # the gradient of the negative log-likelihood
        mu = peak.py_func(X, *p)
        return peak_jac(X, *p).T @ (1 - COUNTS / mu)

    right = so.root(score, result.x, tol=1e-13).x
    np.testing.assert_allclose(result.x, right, rtol=1e-6)
    J, mu = peak_jac(X, *right), peak.py_func(X, *right)
    cov = np.linalg.inv((J.T / mu) @ J)
    errors = np.sqrt(np.diag(cov))  # the unit of what a covariance is worth
    np.testing.assert_allclose(
        result.cov / np.outer(errors, errors), cov / np.outer(errors, errors), atol=1e-6
    )
    assert result.absolute and result.chisqr == pytest.approx(np.sum(result.residual**2))
    assert (COUNTS == 0.0).any()


@pytest.mark.parametrize("bounds", [None, {"rate": (0, None)}])
def test_counts_that_are_all_zero_have_an_upper_end_only(bounds):
    result = fit(lambda x, rate: rate + 0.0 * x, X, np.zeros(40), (1.0,), cost="poisson", bounds=bounds)
    assert 0.0 <= result.params.rate.value < 1e-6 and result.chisqr < 1e-4
    low, high = result.conf_int(0.6826894921370859)["rate"]
    assert high == pytest.approx(1 / 80, rel=1e-3) and 0.0 <= low <= 1e-6  # 2 * 40 * rate = 1


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("start", [0, 1])
def test_nists_sets_to_six_digits(name, start):
    pytest.importorskip("refnx", reason="NIST's files come with refnx")
    case = read(name)
    with np.errstate(all="ignore"):  # trial points may overflow
        result = fit(MODELS[name], case.x, case.y, case.starts[start])
    assert result.success and digits(result.x, case.certified) >= 6.0
    errors = digits(np.array([p.stderr for p in result.params.values()]), case.errors)
    # The residuals of Lanczos1 are rounding errors of the data: what is left is their size.
    assert errors >= (2.5 if name == "Lanczos1" else 4.0)
    assert result.warnings == []


def test_nists_sets_with_a_compiled_model():
    pytest.importorskip("refnx", reason="NIST's files come with refnx")
    for name in ("Thurber", "MGH09"):
        case = read(name)
        model = numba.njit(MODELS[name])
        for start in case.starts:
            result = fit(model, case.x, case.y, start)
            errors = np.array([p.stderr for p in result.params.values()])
            assert digits(result.x, case.certified) >= 8.0 and digits(errors, case.errors) >= 8.0


def test_nan_policy():
    x, y, w = X.copy(), Y.copy(), np.ones(X.size)
    y[3], x[5], w[7] = np.nan, np.nan, 0.0
    keep = np.isfinite(x) & np.isfinite(y)
    result = fit(peak, x, y, START, weights=w, nan_policy="omit")
    right = fit(peak, x[keep], y[keep], START, weights=w[keep])
    np.testing.assert_array_equal(result.x, right.x)
    assert result.residual.size == X.size - 2 and result.ndata == X.size - 3
    with pytest.raises(ValueError, match="contains nan values: point 3"):
        fit(peak, x, y, START, nan_policy="raise")


def test_x_may_be_rows_or_any_object_and_y_may_be_integers():
    rows = np.random.default_rng(2).normal(size=(2, 20))
    result = fit(lambda x, a, b: a * x[0] + b * x[1], rows, 2 * rows[0] - rows[1])
    np.testing.assert_allclose(result.x, [2.0, -1.0])
    result = fit(lambda x, a: a * x["t"], {"t": np.arange(4.0)}, [0, 2, 4, 7])
    assert result.params.a.value == pytest.approx(31 / 14)


def test_the_front_door_has_it():
    assert nbopt.fit is fit and isinstance(fit(peak, X, Y, START), nbopt.FitResult)


def with_nan(a, at):
    b = a.copy()
    b[at] = np.nan
    return b


@pytest.mark.parametrize(
    "error, changes, words",
    [
        (TypeError, {"model": 3}, "model is of type int; it must be callable"),
        (TypeError, {"p0": [1.0, 2.0]}, r"takes 4 parameters after x \(height, centre.*but p0 has 2"),
        (TypeError, {"p0": {"height": 1.0, "depth": 2}}, "p0 names 'depth'; the model takes height"),
        (TypeError, {"p0": {"heigth": 1.0}}, "base; did you mean 'height'?"),
        (TypeError, {"p0": {"height": 1.0}}, "p0 has no value for centre, width, base"),
        (TypeError, {"p0": ["a", 0, 0, 0]}, "p0: height='a' must be a real number"),
        (ValueError, {"p0": [1.0, np.nan, 1, 1]}, "p0: centre=nan must be finite"),
        (ValueError, {"x": X[:5]}, r"the same length: x has shape \(5,\), y has shape \(40,\)"),
        (ValueError, {"y": []}, "`y` must not be empty"),
        (ValueError, {"y": ["a"] * 40}, "y must be real numbers"),
        (ValueError, {"y": np.ones((4, 10))}, "y has shape"),
        (ValueError, {"y": with_nan(Y, 7)}, r"y must not contain infs or NaNs; y\[7\] is nan"),
        (ValueError, {"x": with_nan(X, 3)}, r"x must not contain infs or NaNs; x\[3\] is nan"),
        (ValueError, {"nan_policy": "drop"}, "nan_policy must be one of"),
        (ValueError, {"sigma": np.where(X > 3, 0.0, 1.0)}, r"sigma\[35\]=0.0 must be positive"),
        (ValueError, {"sigma": np.where(X > 3, -1.0, 1.0)}, r"sigma\[35\]=-1.0 must be positive"),
        (ValueError, {"sigma": ERRORS[:3]}, "`sigma` has incorrect shape"),
        (ValueError, {"sigma": -np.eye(40)}, "`sigma` must be positive definite"),
        (ValueError, {"weights": np.where(X > 3, -1.0, 1.0)}, r"weights\[35\]=-1.0; none may be negative"),
        (ValueError, {"weights": np.zeros(40)}, r"weights\[0\]=0.0; none may be negative, and not all"),
        (ValueError, {"weights": np.ones(3)}, r"weights has shape \(3,\); it must be \(40,\)"),
        (ValueError, {"weights": np.ones(40), "sigma": 1.0}, "sigma and weights say the same"),
        (ValueError, {"bounds": {"base": (1.0, 2.0)}}, r"base=0.0 must lie in \[1.0, 2.0\]"),
        (ValueError, {"bounds": {"base": (2.0, 1.0)}}, "lower bound of base, 2.0, must be less"),
        (ValueError, {"bounds": {"depth": (2.0, 1.0)}}, "bounds names 'depth'"),
        (ValueError, {"bounds": {"Base": (2.0, 1.0)}}, "base; did you mean 'base'?"),
        (ValueError, {"fixed": {"base": 5.0}, "bounds": {"base": (0, 1)}},
         r"fixed holds base at 5.0 outside its bounds: it must lie in \[0.0, 1.0\]"),
        (ValueError, {"bounds": [(0, 1), (0, 1), (0, 1), (0, 1)]}, "two sequences, lower and upper; pairs"),
        (ValueError, {"fixed": "depth"}, "fixed names 'depth', which is none of height"),
        (ValueError, {"fixed": NAMES}, "fixed holds every parameter"),
        (ValueError, {"cost": "chi2"}, "cost='chi2' must be one of"),
        (ValueError, {"cost": "possion"}, "did you mean 'poisson'?"),
        (ValueError, {"cost": "poisson", "y": Y - 2.0}, r"y\[0\]=-.*counts may not be negative"),
        (ValueError, {"cost": "poisson", "sigma": 1.0}, "sigma must be None"),
        (ValueError, {"cost": "poisson", "y": COUNTS, "jac": "cs"}, "takes no complex steps"),
        (ValueError, {"cost": "poisson", "loss": "huber"}, "loss must be 'linear'"),
        (ValueError, {"cost": "poisson", "y": COUNTS, "p0": (1, 0, 1, -2)}, "must be a mean of counts"),
        (ValueError, {"loss": "square"}, "loss='square' must be one of"),
        (ValueError, {"loss": "Huber"}, "or callable; did you mean 'huber'?"),
        (ValueError, {"f_scale": 0.0}, "f_scale=0.0 must be"),
        (ValueError, {"jac": "4-point"}, "jac='4-point' must be"),
        (ValueError, {"model": peak.py_func, "jac": "dual"}, "needs a model compiled"),
        (ValueError, {"max_nfev": 0}, "max_nfev=0 must be"),
        (ValueError, {"model": lambda x: x, "p0": None}, "must take x and at least one parameter"),
        (ValueError, {"model": lambda x, *p: x, "p0": None}, "not name its parameters; give p0 as a dict"),
        (ValueError, {"model": lambda x, a: X[:3], "p0": None}, r"shape \(3,\) for x of shape \(40,\); y "),
        (TypeError, {"model": lambda x, a: x * 1j, "p0": None}, "returned complex128; it must"),
        (
            ValueError,
            {"model": lambda x, a: np.where(x > 3, a, np.nan), "p0": None},
            r"the model at p0 \(a=1\) gives nan at point 0, x=-4; it must be finite",
        ),
    ],
)  # fmt: skip
def test_bad_input_gets_a_sentence(error, changes, words):
    given = {"model": peak, "x": X, "y": Y, "p0": START, **changes}
    with pytest.raises(error, match=words) as caught:
        fit(**given)
    assert str(caught.value).startswith("fit: ")


@pytest.mark.parametrize("loss", ["cauchy", "arctan"])
def test_a_loss_that_gives_up_points_starts_from_one_that_does_not(loss):
    rng = np.random.default_rng(3)
    t = np.linspace(0.0, 10.0, 120)
    lost = 0
    for _ in range(20):
        y = peak.py_func(t, 3.0, 4.5, 0.6, 1.0) + rng.normal(0.0, 0.2, t.size)
        far = rng.choice(t.size, 10, replace=False)
        y[far] += rng.uniform(1.0, 4.0, far.size)
        tame = fit(peak, t, y, [3.0, 5.2, 1.0, 0.0], loss="soft_l1", f_scale=0.2)
        found = fit(peak, t, y, [3.0, 5.2, 1.0, 0.0], loss=loss, f_scale=0.2)
        near = fit(peak, t, y, tame.x, loss=loss, f_scale=0.2)
        lost += found.chisqr > near.chisqr * (1.0 + 1e-9)
        assert found.nfev > tame.nfev
    assert lost == 0


def test_residuals_far_larger_than_sigma_says_are_mentioned():
    assert fit(peak, X, Y, START, sigma=0.3, absolute_sigma=True).warnings == []
    (words,) = fit(peak, X, Y, START, sigma=0.03, absolute_sigma=True).warnings
    assert "times as large as sigma says (reduced chi square" in words
    assert fit(peak, X, Y, START, sigma=0.03).warnings == []


def test_a_division_by_zero_names_the_start():
    def ratio(x, a, b):
        return a / b * x

    for model in (ratio, numba.njit(ratio)):
        with pytest.raises(ValueError, match=r"fit: the model.* divide.* by zero.* p0 \(a=1, b=0\)"):
            fit(model, X, Y, {"a": 1.0, "b": 0.0})
