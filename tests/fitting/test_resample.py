"""Data drawn anew: what each kind keeps, and their moments."""

import numpy as np
import pytest
from fit_models import COUNTS, ERRORS, START, X, Y, peak

from nbopt.fitting.fit import fit
from nbopt.fitting.resample import Resampler

MODEL = peak.py_func
MATRIX = np.diag(ERRORS**2) + 0.001
N = 4000


def draws(result, kind, n=N):
    resampler = Resampler(result, kind, 0)
    return [resampler.draw() for _ in range(n)]


@pytest.mark.parametrize("sigma", [None, ERRORS, MATRIX], ids=["none", "errors", "matrix"])
@pytest.mark.parametrize("kind", ["residuals", "parametric"])
def test_data_about_the_fit_have_its_noise(sigma, kind):
    result = fit(MODEL, X, Y, START, sigma=sigma)
    ys = np.array([data.y for data in draws(result, kind)])
    shape = np.eye(X.size) if sigma is None else np.diag(ERRORS**2) if sigma is ERRORS else MATRIX
    variance = result.redchi * shape
    np.testing.assert_allclose(ys.mean(0), result.best_fit, atol=5 * np.sqrt(variance.max() / N))
    lost = (
        np.mean(result.residual) ** 2 / result.redchi * X.size / result.nfree if kind == "residuals" else 0.0
    )
    np.testing.assert_allclose(np.diag(np.cov(ys.T)), np.diag(variance) * (1 - lost), rtol=0.15)


def test_known_errors_of_a_robust_fit_are_drawn_as_they_are():
    result = fit(MODEL, X, Y, START, sigma=ERRORS, absolute_sigma=True, loss="soft_l1")
    ys = np.array([data.y for data in draws(result, "parametric")])
    np.testing.assert_allclose(ys.std(0), ERRORS, rtol=0.08)


def test_residuals_are_drawn_from_those_of_the_fit_and_points_without_weight_stay():
    weights = (np.arange(X.size) % 4 > 0) / ERRORS**2
    result = fit(MODEL, X, Y, START, weights=weights)
    keep = weights > 0
    spread = np.sqrt(result.ndata / result.nfree)
    known = (result.residual[keep] - result.residual[keep].mean()) * spread
    for data in draws(result, "residuals", 5):
        drawn = (data.y - result.best_fit) * np.sqrt(weights)
        assert (data.y[~keep] == result.best_fit[~keep]).all()
        assert np.abs(drawn[keep][:, None] - known).min(axis=1).max() < 1e-9


def test_pairs_stay_together():
    result = fit(MODEL, X, Y, START, sigma=ERRORS)
    known = {(x, y, 1 / e) for x, y, e in zip(X, Y, ERRORS, strict=True)}
    for data in draws(result, "pairs", 5):
        assert set(zip(data.x, data.y, data.W[0], strict=True)) < known
        assert data.x.shape == X.shape and data.W.flags.c_contiguous


def test_counts_are_drawn_as_counts():
    result = fit(MODEL, X, COUNTS, (4.0, 0.0, 1.0, 1.0), cost="poisson")
    ys = np.array([data.y for data in draws(result, "parametric")])
    assert (ys == ys.round()).all() and (ys >= 0).all()
    np.testing.assert_allclose(ys.var(0), result.best_fit, rtol=0.2)


@pytest.mark.parametrize(
    "kind, changes, words",
    [
        ("jackknife", {}, "kind='jackknife' must be one of 'residuals', 'pairs', 'parametric'"),
        ("residuals", {"cost": "poisson", "y": COUNTS}, "residuals of counts are not alike"),
        ("pairs", {"sigma": MATRIX}, "sigma is a matrix"),
        ("pairs", {"x": {"x": X}, "model": lambda x, *p: MODEL(x["x"], *p)}, "needs x to be an array"),
        ("parametric", {"x": X[:4], "y": Y[:4]}, "needs to know the noise"),
        ("parametric", {"loss": "huber"}, "only known with absolute_sigma=True: take kind='residuals' or"),
        ("pair", {}, r"did you mean 'pairs'\?"),
    ],
)
def test_what_cannot_be_drawn_is_said(kind, changes, words):
    given = {"model": MODEL, "x": X, "y": Y, "p0": (2.0, 0.0, 1.0, 0.1), **changes}
    with pytest.raises(ValueError, match=words):
        Resampler(fit(**given), kind, 0)
