"""The history of a solve: complete, right, the same on all roads, kept only when asked for."""

import pickle

import numpy as np
import pytest
from classic_problems import rosenbrock

from nbopt.solvers.minimize import minimize

START = np.array([-1.2, 1.0])


@pytest.mark.parametrize("through_python", [False, True])
@pytest.mark.parametrize("given", [{}, {"bounds": [(None, 0.6), (-2.0, 2.0)]}, {"method": "adam"}])
def test_each_iterate_is_there(through_python, given):
    fun = (lambda x: rosenbrock(x)) if through_python else rosenbrock
    options = {"return_all": True, "maxiter": 40}
    res = minimize(fun, START, jac=True, options=options, **given)
    kept, points = res.history, res.allvecs
    assert all(len(column) == len(points) == res.nit + 1 for column in kept)
    np.testing.assert_array_equal(points[0], START)
    np.testing.assert_array_equal(kept.fun, [rosenbrock(x)[0] for x in points])
    low, high = np.transpose(given["bounds"]).astype(float) if "bounds" in given else (-np.inf, np.inf)
    low, high = np.nan_to_num(low, nan=-np.inf), high
    sizes = [np.abs(np.clip(x - rosenbrock(x)[1], low, high) - x).max() for x in points]
    np.testing.assert_allclose(kept.gradient, sizes, rtol=1e-12, atol=1e-14)
    assert kept.nfev[0] == 1 and kept.nfev[-1] <= res.nfev and (np.diff(kept.nfev) >= 1).all()
    assert kept.nfev.dtype == np.int64
    assert kept.seconds[0] >= 0.0 and (np.diff(kept.seconds) >= 0.0).all()
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(res)).history.fun, kept.fun)


def test_keeping_it_changes_nothing_else():
    plain = minimize(rosenbrock, START, jac=True)
    kept = minimize(rosenbrock, START, jac=True, options={"history": True})
    assert "history" not in plain and "allvecs" not in kept
    for name in ("x", "fun", "jac", "nit", "nfev", "message"):
        np.testing.assert_array_equal(plain[name], kept[name])
    calls = []
    minimize(rosenbrock, START, jac=True, callback=calls.append, options={"history": True})
    assert len(calls) == plain.nit  # the start is no iteration


def test_runs_that_end_at_once():
    res = minimize(rosenbrock, [1.0, 1.0], jac=True, options={"return_all": True})
    assert res.success and res.nit == 0
    assert res.history.fun.tolist() == [0.0] and len(res.allvecs) == 1
    res = minimize(lambda x: (np.nan, x), START, jac=True, options={"history": True})
    assert res.status == 2 and np.isnan(res.history.fun).tolist() == [True]

    def interrupted(x):
        raise KeyboardInterrupt

    res = minimize(interrupted, START, options={"history": True})
    assert res.status == 98 and all(len(column) == 0 for column in res.history)
