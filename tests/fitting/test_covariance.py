"""The covariance against plain inversion, scales, and rank."""

import numpy as np
import pytest

from nbopt.fitting.covariance import covariance


@pytest.mark.parametrize("m, n", [(6, 1), (10, 4), (5, 5)])
def test_it_is_the_inverse(m, n):
    J = np.random.default_rng(m).normal(size=(m, n))
    np.testing.assert_allclose(covariance(J), np.linalg.inv(J.T @ J), rtol=1e-8, atol=1e-10)


def test_units_do_not_change_the_rank():
    J = np.random.default_rng(0).normal(size=(10, 3))
    units = np.array([1e-150, 1.0, 1e150])
    np.testing.assert_allclose(covariance(J * units) * np.outer(units, units), covariance(J), rtol=1e-9)


@pytest.mark.parametrize("J", [np.ones((4, 2)), np.zeros((4, 2)), np.ones((1, 2))])
def test_without_full_rank_there_is_none_or_the_pseudo_inverse(J):
    assert covariance(J) is None
    np.testing.assert_allclose(covariance(J, True), np.linalg.pinv(J.T @ J), atol=1e-15)


def test_what_the_errors_of_differences_could_make_is_no_rank():
    J = np.ones((5, 2))
    J[0, 1] += 1e-10
    assert np.isfinite(covariance(J)).all()
    assert covariance(J, noise=1e-9) is None
    np.testing.assert_allclose(covariance(J, True, 1e-9), np.full((2, 2), 0.05), rtol=1e-8)
