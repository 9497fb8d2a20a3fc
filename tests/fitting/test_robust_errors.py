"""Errors of robust fits: Huber's formula written out, simulated pulls, and what is said of bad ones."""

import re

import numpy as np
import pytest
from fit_models import ERRORS, MODELS, START, X, Y, peak

from nbopt.fitting.fit import fit
from nbopt.fitting.losses import KINDS, fill_rho, scaled
from nbopt.fitting.robust_errors import location, sandwich, scale_warnings

# psi of each loss and its derivative, by hand, in units of f_scale.
PSI = {
    "soft_l1": (lambda u: u / np.sqrt(1 + u**2), lambda u: (1 + u**2) ** -1.5),
    "huber": (lambda u: np.clip(u, -1, 1), lambda u: 1.0 * (np.abs(u) <= 1)),
    "cauchy": (lambda u: u / (1 + u**2), lambda u: (1 - u**2) / (1 + u**2) ** 2),
    "arctan": (lambda u: u / (1 + u**4), lambda u: (1 - 3 * u**4) / (1 + u**4) ** 2),
}
OUTLIERS = np.where(np.arange(X.size) % 9 == 0, 3.0, 0.0) * (-1.0) ** np.arange(X.size)


def line(x, a, b):
    return a + b * x


def variance(loss, u, p):
    """Return V for residuals in units of f_scale."""
    psi, slope = (f(u) for f in PSI[loss])
    K = 1 + p / u.size * slope.var() / slope.mean() ** 2
    return K**2 * np.sum(psi**2) / (u.size - p) / slope.mean() ** 2


@pytest.mark.parametrize("loss", PSI)
@pytest.mark.parametrize("absolute", [True, False])
def test_they_are_hubers_and_the_same_whatever_absolute_sigma_says(loss, absolute):
    given = {"sigma": ERRORS, "loss": loss, "f_scale": 1.5, "absolute_sigma": absolute}
    result = fit(peak, X, Y + OUTLIERS, START, **given)
    J = np.array([(peak.py_func(X, *(result.x + h)) - peak.py_func(X, *(result.x - h))) / 2e-5
                  for h in 1e-5 * np.eye(4)]) / ERRORS  # fmt: skip
    expected = 1.5**2 * variance(loss, result.residual / 1.5, 4) * np.linalg.inv(J @ J.T)
    np.testing.assert_allclose(result.cov, expected, rtol=1e-5, atol=1e-9)
    assert result.warnings == [] and result.sandwich.beyond >= 3
    assert result.quantile(0.95) > 2.02  # Student's


@pytest.mark.parametrize("loss", PSI)
def test_they_scale_with_the_units(loss):
    y, start = Y + OUTLIERS, dict(zip("hcwb", START, strict=True))
    ours = fit(peak.py_func, X, y, START, loss=loss, f_scale=0.4)
    theirs = fit(lambda x, *p: 1e6 * peak.py_func(x, *p), X, 1e6 * y, start, loss=loss, f_scale=4e5)
    np.testing.assert_allclose(theirs.cov, ours.cov, rtol=1e-4)


@pytest.mark.parametrize("noise, low, high", [("normal", 0.95, 1.05), ("outliers", 0.93, 1.07)])
@pytest.mark.parametrize("loss, f_scale", [("huber", 1.345), ("cauchy", 2.385)])
def test_pulls_have_a_standard_deviation_of_1(loss, f_scale, noise, low, high):
    model, x, true, sigma = MODELS["peak"]
    x, rng, pulls = np.linspace(x[0], x[-1], 200), np.random.default_rng(3), []
    for _ in range(300):
        e = rng.normal(size=x.size)
        if noise == "outliers":
            e[rng.random(x.size) < 0.1] *= 10.0
        result = fit(model, x, model(x, *true) + sigma * e, true, sigma=sigma, loss=loss, f_scale=f_scale)
        pulls.append([(p.value - t) / p.stderr for p, t in zip(result.params.values(), true, strict=True)])
    assert low < np.sqrt(np.mean(np.square(pulls))) < high


def test_a_point_without_weight_does_not_count():
    w = np.where(np.arange(X.size) % 7 == 0, 0.0, 1 / ERRORS**2)
    some = fit(peak, X, Y + OUTLIERS, START, weights=w, loss="soft_l1")
    fewer = fit(peak, X[w > 0], (Y + OUTLIERS)[w > 0], START, sigma=ERRORS[w > 0], loss="soft_l1")
    np.testing.assert_allclose(some.cov, fewer.cov, rtol=1e-6)


def test_a_loss_of_the_users_own_is_differentiated_by_its_own_derivatives():
    def mine(z):  # soft_l1
        root = np.sqrt(1 + z)
        return np.array([2 * (root - 1), 1 / root, -0.5 / root**3])

    ours = fit(peak, X, Y + OUTLIERS, START, sigma=ERRORS, loss=mine, f_scale=1.5)
    theirs = fit(peak, X, Y + OUTLIERS, START, sigma=ERRORS, loss="soft_l1", f_scale=1.5)
    np.testing.assert_allclose(ours.cov, theirs.cov, rtol=1e-4)


@pytest.mark.parametrize(
    "given, words, known",
    [
        (
            {"p0": (1e3, 0.0), "loss": "arctan", "f_scale": 1e-6},
            r"given up too many points \(\d+ of 12 ",
            False,
        ),
        ({"loss": "huber", "f_scale": 0.05}, "f_scale=0.05 is small beside the residuals", True),
        ({"loss": "huber", "f_scale": 1e4}, "f_scale=10000 is meant in the units of y and is large", True),
        ({"x": np.arange(2.0), "sigma": 1.0, "absolute_sigma": True}, "and loss='linear' would give", False),
    ],
)
def test_what_is_wrong_with_them_is_said(given, words, known):
    given = {"x": np.arange(12.0), "loss": "huber", **given}
    noise = np.random.default_rng(0).normal(size=given["x"].size)
    result = fit(line, y=line(given["x"], 1.0, 2.0) + noise, **given)
    assert re.search(words, " ".join(result.warnings)) and re.search(words, result.summary())
    assert np.isfinite(result.cov).all() == known
    assert np.isfinite(list(result.conf_int().values())).all() == known


def test_few_or_bent_points_have_no_variance():
    r, ones = np.array([0.5, -0.5, 9.0, -9.0]), np.ones((4, 1))
    assert np.isnan(sandwich("huber", 1.0, r, ones, np.arange(4), 4).variance)
    bent = sandwich("cauchy", 1.0, 9.0 * r, ones, np.arange(4), 1)
    assert bent.slope < 0.0 and np.isnan(bent.variance) and "4 of 4 residuals" in bent.warnings[0]


def test_the_jacobian_is_given_back_as_it_was():
    J, r, rho = np.random.default_rng(2).normal(size=(9, 2)), np.linspace(-4.0, 4.0, 9), np.empty((3, 9))
    for loss, kind in KINDS.items():
        if loss == "linear":
            continue
        fill_rho(kind, r, 1.3, rho)
        found = sandwich(loss, 1.3, r, scaled(kind, r, J, 1.3, rho)[1], np.arange(9), 2)
        np.testing.assert_allclose(found.jac, J, rtol=1e-12)
        assert found.slope == pytest.approx(PSI[loss][1](r / 1.3).mean()) and found.beyond == 6


@pytest.mark.parametrize("loss", PSI)
def test_the_location_of_residuals(loss):
    r = np.random.default_rng(1).normal(0.2, 1.0, 50)
    r[:5] += 20.0
    centre = location(loss, 1.5, r)
    assert abs(np.sum(PSI[loss][0]((r - centre) / 1.5))) < 1e-8 and 0.0 < centre < 1.0


def test_a_scale_in_proportion_is_no_reason_to_warn():
    assert scale_warnings(2.0, X) == [] and len(scale_warnings(2.0, 1e-3 * X)) == 1
    assert scale_warnings(1.0, np.zeros(3)) == []
