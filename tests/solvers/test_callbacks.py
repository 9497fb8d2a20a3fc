"""Callbacks: scipy's forms, one with the value, compiled ones inside a solve, what stops a run."""

import numpy as np
import pytest
from classic_problems import rosenbrock
from numba import njit

from nbopt.solvers import bursts, first_order, lbfgs
from nbopt.solvers.callbacks import UserCallback, advance_watched
from nbopt.solvers.minimize import minimize

START = np.array([-1.2, 1.0])


@njit
def low_enough(x, f):
    if f < 1e-3:
        return True


@njit
def far_enough(x):
    return x[0] > 0.5


@njit
def silent(x, f):
    x[0] = f  # a copy: no harm


@njit
def raising(x):
    if x[0] > 0.5:
        raise StopIteration


@njit
def broken(x):
    if x[0] > 0.5:
        raise LookupError("callback")


def python_rosenbrock(x):
    return rosenbrock(x)


FORMS = {
    "compiled": (rosenbrock, {}),
    "python": (python_rosenbrock, {}),
    "kept": (rosenbrock, {"options": {"return_all": True}}),
    "bounded": (rosenbrock, {"bounds": [(None, None), (None, 9.0)]}),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("callback", "met", "said"),
    [
        (low_enough, lambda x, f: f < 1e-3, "returned True"),
        (far_enough, lambda x, f: x[0] > 0.5, "returned True"),
        (raising, lambda x, f: x[0] > 0.5, "raised `StopIteration`"),
    ],
)
def test_a_compiled_callback_stops_a_run_where_a_python_one_would(form, callback, met, said):
    fun, given = FORMS[form]
    seen = []

    def watch(x, f):
        seen.append((x, f))
        return met(x, f)

    res, reference = (minimize(fun, START, jac=True, callback=c, **given) for c in (callback, watch))
    assert (res.status, res.success, reference.status) == (99, False, 99)
    assert said in res.message and "returned True" in reference.message
    for name in ("x", "fun", "jac", "nit", "nfev"):
        np.testing.assert_array_equal(res[name], reference[name])
    assert [bool(met(x, f)) for x, f in seen] == [False] * (res.nit - 1) + [True]
    assert res.fun == rosenbrock(res.x)[0]


@pytest.mark.parametrize("form", FORMS)
def test_a_compiled_callback_that_does_not_stop_changes_nothing(form):
    fun, given = FORMS[form]
    res, reference = (minimize(fun, START, jac=True, callback=c, **given) for c in (silent, None))
    assert res.success
    for name in ("x", "fun", "nit", "nfev", "message"):
        np.testing.assert_array_equal(res[name], reference[name])
    np.testing.assert_array_equal(res.hess_inv.sk, reference.hess_inv.sk)


def test_a_compiled_solve_does_not_leave_compiled_code_for_it(monkeypatch):
    runs = []
    real = bursts.burst

    def counted(*args):
        runs.append(args)
        return real(*args)

    monkeypatch.setattr("nbopt.solvers.objective.burst", counted)
    monkeypatch.setattr(bursts, "SECONDS", 1e9)  # each burst as long as it may be
    res = minimize(rosenbrock, START, jac=True, callback=silent)
    assert res.nit > 30
    assert len(runs) <= 3  # 1 evaluation, 32, 1024


def test_optimizers_call_it_too():
    res = minimize(rosenbrock, START, jac=True, method="adam", callback=far_enough, options={"lr": 0.05})
    assert res.status == 99 and 512 > res.nit > 10
    slow = {"lr": 1e-4, "maxiter": 1500}  # more than one block of steps
    plain, watched = (
        minimize(rosenbrock, START, jac=True, method="adam", callback=c, options=slow) for c in (None, silent)
    )
    assert plain.nit == watched.nit == 1500
    np.testing.assert_array_equal(plain.x, watched.x)
    assert (first_order._AT_ITERATE, first_order.PHASE) == (lbfgs.AT_ITERATE, lbfgs.PHASE)


def test_exceptions_reach_the_caller():
    with pytest.raises(LookupError, match="callback"):
        minimize(rosenbrock, START, jac=True, callback=broken)

    @njit
    def ends(x):
        if x[0] > 0.0:
            raise StopIteration
        return rosenbrock(x)

    with pytest.raises(StopIteration):  # the function's: not the callback's
        minimize(ends, START, jac=True, callback=silent)


def test_what_is_refused():
    with pytest.raises(TypeError, match="callback=3 must be callable"):
        UserCallback(3)
    for odd in (njit(lambda intermediate_result: None), njit(lambda: None), njit(lambda x, f, g: None)):
        with pytest.raises(TypeError, match=r"a compiled callback must take x or \(x, f\), not \("):
            minimize(rosenbrock, START, jac=True, callback=odd)
    with pytest.raises(TypeError, match=r"callback returned array\(float64.*nothing, or whether to stop"):
        minimize(rosenbrock, START, jac=True, callback=njit(lambda x: x))


def test_forms_of_python_callbacks():
    seen = []

    def two(x, f, *more, note="", **others):
        seen.append((x.copy(), f))

    def rich(intermediate_result):
        seen.append((intermediate_result.x.copy(), intermediate_result.fun))
        return np.ones(2)  # whatever it is

    class Listener:
        def __call__(self, x, depth=3):
            seen.append((x.copy(), rosenbrock(x)[0]))
            return True  # stops nothing, as in scipy

    for callback in (two, rich, Listener()):
        seen.clear()
        res = minimize(rosenbrock, START, jac=True, callback=callback)
        assert res.success and len(seen) == res.nit
        assert all(f == rosenbrock(x)[0] for x, f in seen)


def test_the_watch_is_compiled_once():
    for _ in range(2):
        minimize(rosenbrock, START, jac=True, callback=njit(lambda x, f: f < 1.0))
    assert len(advance_watched.signatures) <= 1
