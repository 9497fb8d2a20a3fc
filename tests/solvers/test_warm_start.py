"""Warm starts: stopping and going on is the same as not stopping; results of scipy and of others."""

import numpy as np
import pytest
import scipy.optimize
from classic_problems import PROBLEMS, rosenbrock
from numba import njit
from scipy.optimize import OptimizeResult

from nbopt.solvers.minimize import minimize
from nbopt.solvers.warm_start import pairs_of

START = np.array([-1.2, 1.0])
TIGHT = {"gtol": 1e-9, "ftol": 0.0}


@pytest.mark.parametrize("name", ["rosenbrock 2", "rosenbrock 100", "wood", "beale"])
@pytest.mark.parametrize("k", [1, 4, 8])
def test_stopping_and_going_on_is_as_not_stopping(name, k):
    fun, x0, _ = PROBLEMS[name]
    whole = minimize(fun, x0, jac=True, options={"return_all": True, **TIGHT})
    first = minimize(fun, x0, jac=True, options={"maxiter": k, **TIGHT})
    rest = minimize(fun, first, jac=True, options={"return_all": True, **TIGHT})
    assert rest.success and first.nit == k
    np.testing.assert_array_equal(rest.allvecs[0], whole.allvecs[k])
    scale = np.abs(whole.allvecs[k + 3] - whole.allvecs[k]).max()
    for step in (1, 2, 3):  # within rounding; what rounding grows to further on depends on the problem
        np.testing.assert_allclose(rest.allvecs[step], whole.allvecs[k + step], atol=1e-7 * scale, rtol=1e-9)
    np.testing.assert_allclose(rest.x, whole.x, atol=1e-6)
    assert rest.history.nfev[3] == whole.history.nfev[k + 3] - whole.history.nfev[k] + 1


def test_within_bounds_too():
    bounds = [(None, 0.8), (-1.0, 3.0)]
    for k in (3, 9, 15):
        whole = minimize(rosenbrock, START, jac=True, bounds=bounds, options=TIGHT)
        first = minimize(rosenbrock, START, jac=True, bounds=bounds, options={"maxiter": k, **TIGHT})
        rest = minimize(rosenbrock, first, jac=True, bounds=bounds, options=TIGHT)
        assert abs(first.nit + rest.nit - whole.nit) <= 2
        np.testing.assert_allclose(rest.x, whole.x, rtol=1e-9)


def test_fewer_pairs_are_the_newest_ones():
    first = minimize(rosenbrock, START, jac=True, options={"maxiter": 20})
    rest = minimize(rosenbrock, first, jac=True, options={"maxiter": 0, "maxcor": 3})
    np.testing.assert_array_equal(rest.hess_inv.sk, first.hess_inv.sk[-3:])
    np.testing.assert_array_equal(rest.hess_inv.yk, first.hess_inv.yk[-3:])
    more = minimize(rosenbrock, rest, jac=True, options={"maxiter": 0, "maxcor": 12})
    assert more.hess_inv.sk.shape == (3, 2)


def test_a_result_of_scipy():
    fun, x0, _ = PROBLEMS["stretched 100"]
    first = scipy.optimize.minimize(fun, x0, jac=True, method="L-BFGS-B", options={"maxiter": 20})
    rest, cold = minimize(fun, first, jac=True), minimize(fun, first.x, jac=True)
    assert rest.success and not np.array_equal(rest.x, cold.x)
    stayed = minimize(fun, first, jac=True, options={"maxiter": 0})
    np.testing.assert_array_equal(stayed.hess_inv.sk, first.hess_inv.sk)


@pytest.mark.parametrize("method", ["adam", "lbfgs"])
def test_results_without_pairs_give_their_point(method):
    first = minimize(rosenbrock, START, jac=True, method="adam", options={"maxiter": 5})
    dense = OptimizeResult(x=first.x, hess_inv=np.eye(2))
    for former in (first, dense, OptimizeResult(x=first.x)):
        res = minimize(rosenbrock, former, jac=True, method=method, options={"maxiter": 5})
        cold = minimize(rosenbrock, first.x, jac=True, method=method, options={"maxiter": 5})
        np.testing.assert_array_equal(res.x, cold.x)


def test_pairs_that_are_no_use_are_left_out():
    sk, yk = (
        np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]),
        np.array([[2.0, 0.0], [0.0, -1.0], [np.nan, 1.0]]),
    )
    product = scipy.optimize.LbfgsInvHessProduct(sk[:1], yk[:1])
    product.sk, product.yk = sk, yk
    steps, changes = pairs_of(OptimizeResult(x=np.zeros(2), hess_inv=product))
    np.testing.assert_array_equal(steps, sk[:1])
    np.testing.assert_array_equal(changes, yk[:1])
    product.sk, product.yk = sk[1:2], yk[1:2]
    assert pairs_of(OptimizeResult(x=np.zeros(2), hess_inv=product)) is None
    assert pairs_of(OptimizeResult(x=np.zeros(3), hess_inv=product)) is None  # of another length


def test_the_function_may_have_changed_a_little():
    @njit
    def moved(x, c):
        f, g = rosenbrock(x - c)
        return f, g

    first = minimize(moved, np.tile(START, 5), args=(0.0,), jac=True, options=TIGHT)
    warm = minimize(moved, first, args=(0.01,), jac=True, options=TIGHT)
    cold = minimize(moved, first.x, args=(0.01,), jac=True, options=TIGHT)
    np.testing.assert_allclose(warm.x, cold.x, atol=1e-7)
    assert warm.success and warm.nfev < cold.nfev
