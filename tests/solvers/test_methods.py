"""nbopt.methods inside scipy: the same results as minimize(), compiled functions unwrapped, all arguments."""

import pickle

import numpy as np
import pytest
import scipy.optimize
from classic_problems import rosenbrock
from numba import njit
from scipy.optimize import Bounds, OptimizeWarning

from nbopt.solvers import methods
from nbopt.solvers.minimize import _METHODS, minimize

START = np.array([-1.2, 1.0])


@njit
def value(x, a=1.0):
    return a * rosenbrock(x)[0]


@njit
def slope(x, a=1.0):
    return a * rosenbrock(x)[1]


def both(fun, *args, method="lbfgs", **given):
    """Return the results of scipy with our method and of our own call."""
    theirs = scipy.optimize.minimize(fun, START, *args, method=getattr(methods, method), **given)
    return theirs, minimize(fun, START, *args, method=method, **given)


def assert_same(a, b):
    assert set(a) == set(b)
    for name in ("x", "fun", "jac", "nfev", "nit", "status", "message"):
        np.testing.assert_array_equal(a[name], b[name])


@pytest.mark.parametrize(
    "given",
    [
        {"jac": True},
        {"jac": True, "bounds": [(None, 0.5), (0, 2)]},
        {"jac": True, "bounds": Bounds([-2, 0], [0.5, 2])},
        {"jac": True, "tol": 1e-2},
        {"jac": True, "options": {"maxiter": 7, "maxcor": 3, "return_all": True}},
    ],
    ids=str,
)
@pytest.mark.parametrize("fun", [rosenbrock, lambda x: rosenbrock(x)], ids=["compiled", "python"])
def test_scipys_minimize_with_our_method_is_ours(fun, given):
    assert_same(*both(fun, **given))


def test_all_forms_of_the_gradient():
    assert_same(*both(value, jac=slope))
    assert_same(*both(value, (2.0,), jac=slope))
    assert_same(*both(lambda x: value(x), jac=lambda x: slope(x)))
    assert_same(*both(lambda x: value(x)))
    theirs, ours = both(value)
    assert_same(theirs, ours)
    assert theirs.jac_method == "dual"
    assert scipy.optimize.minimize(value, START, jac="3-point", method=methods.lbfgs).jac_method == "dual"


def test_a_compiled_function_is_called_from_compiled_code_only(monkeypatch):
    monkeypatch.setattr("nbopt.solvers.objective.PythonCalls", None)
    assert scipy.optimize.minimize(rosenbrock, START, jac=True, method=methods.lbfgs).success


@pytest.mark.parametrize("name", methods.__all__)
def test_every_method_is_there(name):
    theirs, ours = both(rosenbrock, jac=True, method=name, options={"maxiter": 3})
    assert_same(theirs, ours)
    method = getattr(methods, name)
    assert repr(method) == f"nbopt.methods.{name}" and pickle.loads(pickle.dumps(method)) is method


def test_the_list_is_that_of_minimize():
    assert set(methods.__all__) == set(_METHODS) - {"l-bfgs", "l-bfgs-b", "lbfgsb"}


def test_options_of_an_optimizer():
    assert_same(*both(rosenbrock, jac=True, method="adam", options={"lr": 0.05, "maxiter": 50}))


def test_unknown_options_warn():
    with pytest.warns(OptimizeWarning, match="Unknown solver options: gtoll"):
        scipy.optimize.minimize(rosenbrock, START, jac=True, method=methods.lbfgs, options={"gtoll": 1.0})
    with pytest.raises(ValueError, match="no constraints"):
        scipy.optimize.minimize(
            rosenbrock, START, jac=True, method=methods.lbfgs, constraints={"type": "eq", "fun": value}
        )


def test_callbacks():
    seen = []

    def stop(intermediate_result):
        seen.append(intermediate_result.fun)
        if len(seen) == 4:
            raise StopIteration

    res = scipy.optimize.minimize(rosenbrock, START, jac=True, method=methods.lbfgs, callback=stop)
    assert (res.status, res.nit) == (99, 4) and res.fun == seen[-1]
    low = njit(lambda x, f: f < 1e-2)
    assert scipy.optimize.minimize(rosenbrock, START, jac=True, method=methods.lbfgs, callback=low).fun < 1e-2


@njit
def hills(x):
    f, g = 0.0, np.empty(x.size)
    for i in range(x.size):
        f += 0.1 * x[i] ** 2 + np.sin(3.0 * x[i])
        g[i] = 0.2 * x[i] + 3.0 * np.cos(3.0 * x[i])
    return f, g


@pytest.mark.parametrize("method", ["lbfgs", "rprop"])
def test_basinhopping(method):
    local = {"method": getattr(methods, method), "jac": True}
    res = scipy.optimize.basinhopping(
        hills, np.full(2, 4.0), niter=40, stepsize=2.0, minimizer_kwargs=local, rng=1
    )
    assert res.fun == pytest.approx(2 * -0.974, abs=2e-3)  # -0.974: the lowest of 0.1 x^2 + sin 3x
    np.testing.assert_allclose(hills(res.x)[1], 0.0, atol=1e-4)
