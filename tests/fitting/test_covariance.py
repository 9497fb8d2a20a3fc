"""The covariance against plain inversion, scales, and rank."""

import numpy as np
import pytest

from nbopt.fitting.covariance import covariance, covariance_of
from nbopt.fitting.workspace import COST, Workspace


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


@pytest.mark.parametrize("absolute", [True, False])
@pytest.mark.parametrize("m, n", [(20, 3), (16, 1), (3, 3)])
def test_that_of_a_run_is_that_of_its_jacobian(absolute, m, n):
    J, run = np.random.default_rng(m).normal(size=(m, n)), ended_run(m, n)
    run.jac[...], run.numbers[COST] = J, 8.5
    found = covariance_of(run, 0.0, absolute)
    if m == n and not absolute:
        assert found is None
    else:
        expected = covariance(J) * (1.0 if absolute else 17.0 / (m - n))
        np.testing.assert_allclose(found, expected, rtol=1e-9)


@pytest.mark.parametrize("J", [np.ones((4, 2)), np.zeros((4, 2)), np.ones((1, 2)), 1e-200 * np.eye(4, 2)])
def test_a_run_without_full_rank_or_with_overflow_has_none(J):
    run = ended_run(*J.shape)
    run.jac[...] = J
    assert covariance_of(run, 0.0, True) is None


def ended_run(m, n):
    return Workspace(np.zeros(n), m, np.full(n, -np.inf), np.full(n, np.inf))
