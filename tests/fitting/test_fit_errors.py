"""Errors of parameters and the sentences about them: bounds, lost and entangled parameters."""

import numpy as np
import pytest

from nbopt.fitting.fit_errors import errors_of

J = np.random.default_rng(4).normal(size=(12, 3))
NAMES = ("a", "b", "c", "d")
FREE = np.array([0, 1, 3])


def test_without_trouble_it_is_the_inverse_and_nothing_is_said():
    found = errors_of(J, NAMES, FREE, np.zeros(3))
    assert found.warnings == [] and found.open.shape == (4, 0)
    np.testing.assert_allclose(found.cov[np.ix_(FREE, FREE)], np.linalg.inv(J.T @ J), rtol=1e-10)
    assert not found.cov[2].any() and not found.cov[:, 2].any()
    np.testing.assert_array_equal(found.cov, found.known)


@pytest.mark.parametrize("side, word", [(-1, "lower"), (1, "upper")])
def test_a_parameter_on_a_bound_is_held(side, word):
    found = errors_of(J, NAMES, FREE, np.array([0, side, 0]))
    inner = np.ix_([0, 3], [0, 3])
    np.testing.assert_allclose(found.cov[inner], np.linalg.inv(J[:, [0, 2]].T @ J[:, [0, 2]]), rtol=1e-10)
    assert np.isnan(found.cov[1]).all() and np.isnan(found.cov[:, 1]).all() and not found.known[1].any()
    assert found.warnings[0].startswith(f"b is at its {word} bound: its standard error is not known")


def test_a_parameter_that_nothing_depends_on():
    lost = J.copy()
    lost[:, 2] = 0.0
    found = errors_of(lost, NAMES, FREE, np.zeros(3))
    assert found.cov[3, 3] == np.inf and np.isnan(found.cov[3, 0]) and np.isfinite(found.cov[0, 1])
    np.testing.assert_array_equal(found.open, [[0.0], [0.0], [0.0], [1.0]])
    assert found.warnings[0].startswith("The model does not depend on d")
    lost[:, 2] = 1e-30
    below = errors_of(lost, NAMES, FREE, np.zeros(3), floor=np.array([0.0, 0.0, 1e-29]))
    np.testing.assert_array_equal(below.cov, found.cov)
    assert below.warnings == found.warnings


@pytest.mark.parametrize("noise, tolerance", [(0.0, 0.0), (1e-12, 1e-9), (1e-8, 1e-7)])
@pytest.mark.parametrize("unit", [1.0, 1e-80, 1e80])
def test_entangled_parameters_are_named_whatever_their_units(noise, tolerance, unit):
    both = J.copy()
    both[:, 2] = unit * (J[:, 0] + noise * J[:, 1])
    found = errors_of(both, NAMES, FREE, np.zeros(3), tolerance)
    assert found.warnings == [
        "The data determine only a combination of a and d: their standard errors are infinite."
    ]
    assert found.cov[0, 0] == found.cov[3, 3] == np.inf and np.isfinite(found.cov[1, 1])
    direction = found.open[:, 0] / found.open[0, 0]
    np.testing.assert_allclose(direction * [1, 1, 1, unit], [1.0, 0.0, 0.0, -1.0], atol=1e-6)


def test_fewer_data_than_parameters():
    found = errors_of(J[:2], NAMES, FREE, np.zeros(3))
    assert "a combination of a, b and d" in found.warnings[0] and found.open.shape == (4, 1)
    np.testing.assert_allclose(J[:2] @ found.open[FREE], 0.0, atol=1e-12)


def test_derivatives_that_are_not_finite():
    wild = J.copy()
    wild[3, 1] = np.inf
    found = errors_of(wild, NAMES, FREE, np.zeros(3))
    assert np.isnan(found.cov[np.ix_(FREE, FREE)]).all() and found.cov[2, 2] == 0.0
    assert "no standard errors are known" in found.warnings[0]
