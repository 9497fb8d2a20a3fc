"""Finite differences: scipy's steps and values, in Python and in compiled code."""

import numpy as np
import pytest
import scipy.optimize
from numba import njit
from scipy.optimize._numdiff import approx_derivative

from nbopt.autodiff.finite_differences import COMPILED, METHODS, Differences
from nbopt.kernels.native import COMPLEX, VALUE, entry_for

POINTS = [
    np.array([1.0, -2.0, 0.5]),
    np.array([0.0, -0.0, 3e-9]),
    np.array([1e10, -1e-10, 7.0]),
    np.array([-1e17, 1e17, 1.0]),
]
STEPS = [{}, {"rel_step": 1e-6}, {"rel_step": [1e-5, 1e-6, 1e-7]}, {"rel_step": 0.0}]
STEPS += [{"abs_step": 1e-8}, {"abs_step": [1e-5, -1e-6, 1e-7]}, {"abs_step": 1e-300}]


@njit
def smooth(x):
    return x[1] / (1.0 + 1e-6 * x[0] ** 2) + x[2] ** 3 + 1e-2 * np.sin(x[0])


@njit
def _at(differences, entry, x, f, g, scratch, steps, rule, automatic):
    differences(entry, 0, x, f, g, scratch, steps, rule, automatic)


@njit
def careless(x):
    f = x[0] * x[1] + x[2] ** 2
    x[:] = -1.0
    return f


def compiled_gradient(fun, ways, x):
    """Return the differences that compiled code takes."""
    entry = entry_for(fun, (), COMPLEX if ways.method == "cs" else VALUE)
    g, scratch = np.empty(x.size), np.empty(x.size, ways.dtype)
    call = COMPILED[ways.method]
    _at(call, entry.address, x, fun(x.copy()), g, scratch, ways.steps, ways.rule, ways.automatic)
    return g


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("steps", STEPS, ids=str)
def test_same_values_as_scipy_and_compiled_the_same_bits(method, steps):
    given = {k: np.asarray(v) if isinstance(v, list) else v for k, v in steps.items()}
    ways = Differences(method, 3, **given)
    for x in POINTS:
        theirs = approx_derivative(smooth, x, method=method, **given)
        ours = ways.gradient(smooth, x, smooth(x))
        np.testing.assert_array_equal(ours, theirs)
        np.testing.assert_array_equal(compiled_gradient(smooth, ways, x), ours)


def test_forward_differences_are_those_of_l_bfgs_b():
    x = POINTS[0]
    ours = Differences("2-point", 3, abs_step=1e-8).gradient(smooth, x, smooth(x))
    np.testing.assert_array_equal(ours, scipy.optimize.approx_fprime(x, smooth, 1e-8))


def test_how_accurate_they_are():
    x = np.array([1.0, -2.0, 0.5])
    exact = [4e-6 / (1.0 + 1e-6) ** 2 + 1e-2 * np.cos(1.0), 1.0 / (1.0 + 1e-6), 0.75]
    for method, error in (("2-point", 1e-7), ("3-point", 1e-9), ("cs", 1e-15)):
        found = Differences(method, 3).gradient(smooth, x, smooth(x))
        np.testing.assert_allclose(found, exact, rtol=0, atol=error)


@pytest.mark.parametrize("method", METHODS)
def test_a_function_that_writes_to_x(method):
    x = np.array([2.0, 3.0, 4.0])
    ways = Differences(method, 3)
    expected = ways.gradient(lambda z: z[0] * z[1] + z[2] ** 2, x, 22.0)
    np.testing.assert_array_equal(ways.gradient(careless, x, 22.0), expected)
    np.testing.assert_array_equal(compiled_gradient(careless, ways, x), expected)
    np.testing.assert_array_equal(x, [2.0, 3.0, 4.0])


@pytest.mark.parametrize("method", METHODS)
def test_the_count_of_evaluations(method):
    calls = []
    ways = Differences(method, 3)
    ways.gradient(lambda z: calls.append(1) or z[0], POINTS[0], 1.0)
    assert len(calls) == ways.evaluations


def test_bad_arguments():
    with pytest.raises(ValueError, match="method='4-point' must be one of"):
        Differences("4-point", 2)
    with pytest.raises(ValueError, match="rel_step=nan must be a finite number"):
        Differences("cs", 2, rel_step=np.nan)
    with pytest.raises(ValueError, match="one for each of the 2 variables"):
        Differences("2-point", 2, abs_step=[1.0, 2.0, 3.0])
