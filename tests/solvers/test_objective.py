"""What the user gave, in the form an engine runs on: which road it takes, and what it refuses."""

import numpy as np
import pytest
from numba import njit

from nbopt.autodiff.finite_differences import Differences
from nbopt.solvers.bursts import Bursts
from nbopt.solvers.objective import PythonCalls, as_value, objective, store_gradient


@njit
def both(x, a):
    return (x * x).sum() + a[0], 2.0 * x


@njit
def value(x, a):
    return (x * x).sum() + a[0]


@njit
def slope(x, a):
    return 2.0 * x


def test_compiled_functions_run_compiled():
    a = np.ones(1)
    assert isinstance(objective(both, True, None, (a,), np.ones(2)).calls, Bursts)
    assert isinstance(objective(value, slope, None, (a,), np.ones(2)).calls, Bursts)
    for method in ("2-point", "3-point", "cs"):
        assert isinstance(objective(value, None, Differences(method, 2), (a,), np.ones(2)).calls, Bursts)


def test_everything_else_goes_through_python():
    a = np.ones(1)
    assert isinstance(objective(both.py_func, True, None, (a,), np.ones(2)).calls, PythonCalls)
    assert isinstance(objective(value, slope.py_func, None, (a,), np.ones(2)).calls, PythonCalls)
    assert isinstance(objective(value.py_func, slope, None, (a,), np.ones(2)).calls, PythonCalls)
    assert isinstance(
        objective(value, None, Differences("cs", 2), ((2.0, [1.0]),), np.ones(2)).calls, PythonCalls
    )


def test_it_owns_the_arguments():
    calls = objective(both, True, None, (np.full(1, 3.0),), np.ones(2)).calls
    assert any(isinstance(k, tuple) and isinstance(k[0], np.ndarray) for k in calls.keep)


def test_calls_hand_out_copies_and_store_the_gradient():
    kept = []

    def keeping(x, a):
        kept.append(x)
        x += 1.0
        return both.py_func(x, a)

    x, g = np.array([1.0, 2.0]), np.empty(2)
    calls = objective(keeping, True, None, (np.ones(1),), np.ones(2)).calls
    assert calls.evaluate(x, g) == 14.0
    np.testing.assert_array_equal(g, [4.0, 6.0])
    np.testing.assert_array_equal(x, [1.0, 2.0])
    calls.evaluate(x, g)
    assert kept[0] is not kept[1]


@pytest.mark.parametrize("f", [1, True, 2.5, np.float32(2.5), np.int64(3), np.array(4.0), np.array([[5]])])
def test_values(f):
    assert as_value(f) == float(np.asarray(f).item()) and type(as_value(f)) is float


@pytest.mark.parametrize(
    ("f", "error", "match"),
    [
        (None, TypeError, "fun returned None; it must return a real number"),
        ("1.0", TypeError, "str '1.0'"),
        (b"1", TypeError, "bytes"),
        (1.0 + 0j, TypeError, "complex"),
        (np.complex64(1), TypeError, "complex64"),
        (np.array([1j]), TypeError, "complex"),
        ((1.0, 2.0), TypeError, "tuple"),
        ([1.0], TypeError, "list"),
        (np.ones(2), ValueError, r"shape \(2,\)"),
        (np.empty(0), ValueError, r"shape \(0,\)"),
    ],
)
def test_values_that_are_none(f, error, match):
    with pytest.raises(error, match=match):
        as_value(f)


@pytest.mark.parametrize("grad", [[1, 2], (1.0, 2.0), np.array([1, 2]), np.array([1, 2], np.float32)])
def test_gradients(grad):
    g = np.empty(2)
    store_gradient(grad, g, "jac")
    np.testing.assert_array_equal(g, [1.0, 2.0])
    g = np.empty(1)
    for one in (3.0, np.float64(3.0), [[3.0]], np.array([3.0], object)):
        store_gradient(one, g, "jac")
        assert g[0] == 3.0


@pytest.mark.parametrize(
    ("grad", "error", "match"),
    [
        (None, TypeError, "jac gave None for the gradient"),
        (["a", "b"], TypeError, "array of floats"),
        ([1j, 2.0], TypeError, "array of floats"),
        ([None, 1.0], TypeError, "array of floats"),
        ([1.0], ValueError, r"gradient of shape \(1,\); it must be that of x, \(2,\)"),
        ([[1.0, 2.0]], ValueError, r"shape \(1, 2\)"),
        (3.0, ValueError, r"shape \(\)"),
    ],
)
def test_gradients_that_are_none(grad, error, match):
    with pytest.raises(error, match=match):
        store_gradient(grad, np.empty(2), "jac")


@pytest.mark.parametrize("result", [1.0, None, (1.0,), (1.0, np.ones(2), 3), np.ones(2)])
def test_jac_true_needs_two_results(result):
    calls = objective(lambda x: result, True, None, (), np.ones(2)).calls
    with pytest.raises(TypeError, match="with jac=True fun must return"):
        calls.evaluate(np.ones(2), np.empty(2))
