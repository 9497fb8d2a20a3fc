"""Slopes of a model by its parameters, for the band."""

import numpy as np
import pytest
from fit_models import START, X, Y, peak

from nbopt.fitting.fit import fit
from nbopt.fitting.prediction import predict, slopes


@pytest.mark.parametrize("fixed, zero", [((), []), ("centre", [1])])
def test_slopes_are_the_derivatives(fixed, zero):
    result = fit(peak.py_func, X, Y, START, fixed=fixed)
    found = slopes(result.problem, result.x, np.full(4, 0.1), X)
    z = (X - result.x[1]) / result.x[2]
    e = np.exp(-0.5 * z * z)
    expected = np.array(
        [e, result.x[0] * e * z / result.x[2], result.x[0] * e * z**2 / result.x[2], 1 + 0 * e]
    )
    expected[zero] = 0.0
    np.testing.assert_allclose(found, expected, atol=1e-8)


def test_differences_stay_within_the_bounds():
    def root(x, a):
        assert a >= 0.0
        return np.sqrt(a) + x

    result = fit(root, X, X - 0.1 * np.abs(np.sin(X)), (0.5,), bounds={"a": (0.0, None)})
    assert result.params.a.at_bound == "lower"
    assert np.isfinite(slopes(result.problem, result.x, np.zeros(1), X)).all()


def test_a_direction_that_is_open_makes_the_error_infinite():
    result = fit(lambda x, a, b: a + b * x, X, Y)
    away = np.array([[1.0], [-1.0]])  # adding to a what is taken from b changes nothing at x = 1
    found = predict(result.problem, result.x, np.eye(2), away, 1.0, np.array([1.0, 2.0]))
    np.testing.assert_allclose(found.stderr, [np.sqrt(2.0), np.inf])
