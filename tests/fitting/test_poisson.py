"""Poisson's deviance as squares: the formula in more digits, and its slopes."""

import math

import numpy as np
import pytest

from nbopt.fitting.poisson import deviance_roots, information_rows, root_slopes, series

MEANS = np.array([1e-8, 0.3, 0.5, 0.95, 1.0, 1.0 + 1e-9, 1.05, 1.11, 1.6, 40.0, 1e6])


def exact(mu, y):
    """Return the signed root in sixty digits."""
    from decimal import Decimal, getcontext

    getcontext().prec = 60
    m, c = Decimal(float(mu)), Decimal(float(y))
    d = 2 * (m - c + (c * (c / m).ln() if c else 0))
    return float(d.sqrt()) * (1 if m > c else -1)


@pytest.mark.parametrize("count", [0.0, 1.0, 7.0, 1e6])
def test_the_roots_are_those_of_the_formula(count):
    mu = MEANS * max(count, 1.0)
    expected = [exact(m, count) for m in mu]
    found = deviance_roots(mu, np.full(mu.size, count))
    np.testing.assert_allclose(found, expected, rtol=2e-13, atol=0.0)


@pytest.mark.parametrize("count", [0.0, 1.0, 7.0])
def test_the_slopes_are_the_derivatives_of_the_roots(count):
    mu, y = MEANS[1:] * max(count, 1.0), np.full(MEANS.size - 1, count)
    h = 1e-5 * mu
    differences = (deviance_roots(mu + h, y) - deviance_roots(mu - h, y)) / (2.0 * h)
    np.testing.assert_allclose(root_slopes(mu, y), differences, rtol=1e-7)


def test_the_series_meets_the_formula():
    for t in (-0.0999, 0.0999):
        assert series(t) == pytest.approx(2.0 * (t - math.log1p(t)) / t**2, rel=1e-13)
    assert series(0.0) == 1.0


def test_negative_means_are_nan_and_a_mean_of_zero_has_a_finite_slope():
    found = deviance_roots(np.array([-1.0, -1.0, 0.0]), np.array([0.0, 2.0, 0.0]))
    assert np.isnan(found[:2]).all() and found[2] == pytest.approx(0.0, abs=1e-100)
    assert np.isfinite(root_slopes(np.zeros(1), np.zeros(1))).all()


def test_rows_of_the_information():
    mu, y = np.array([0.5, 2.0, 9.0, 0.0]), np.array([0.0, 2.0, 11.0, 0.0])
    change = np.array([[1.0, 2.0], [0.5, -1.0], [3.0, 0.1], [0.0, 0.0]])  # of the means
    rows = information_rows(change * root_slopes(mu, y)[:, None], mu, y)
    expected = np.einsum("ij,ik,i->jk", change[:3], change[:3], 1.0 / mu[:3])
    np.testing.assert_allclose(rows.T @ rows, expected, rtol=1e-12)
