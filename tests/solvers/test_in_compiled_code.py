"""compile(): solves inside compiled code are those of minimize(), bit for bit, on any number of threads."""

import threading

import numpy as np
import pytest
from classic_problems import PROBLEMS, rosenbrock
from fresh_process import run_python
from numba import njit, prange
from scipy.optimize import Bounds, OptimizeWarning

import nbopt
from nbopt.autodiff.not_differentiable import NotDifferentiable
from nbopt.solvers.handle import CompiledResult
from nbopt.solvers.in_compiled_code import compile as handle_of
from nbopt.solvers.minimize import minimize

START = np.array([-1.2, 1.0])


@njit
def solved(handle, x0):
    return nbopt.minimize(handle, x0)


@njit
def value(x):
    return rosenbrock(x)[0]


@njit
def slope(x):
    return rosenbrock(x)[1]


@njit
def misfit(p, t, y):
    r = p[0] * np.exp(-p[1] * t) - y
    return np.sum(r * r)


def assert_same(compiled, python):
    for name in CompiledResult._fields:
        np.testing.assert_array_equal(getattr(compiled, name), python[name], err_msg=name)


@pytest.mark.parametrize("name", PROBLEMS)
def test_solves_are_those_of_minimize(name):
    fun, x0, _ = PROBLEMS[name]
    assert_same(solved(handle_of(fun, jac=True), x0), minimize(fun, x0, jac=True))


@pytest.mark.parametrize(
    ("fun", "given"),
    [
        (value, {"jac": slope}),
        (value, {}),
        (value, {"n": 2, "jac": "dual"}),
        (value, {"jac": "2-point"}),
        (rosenbrock, {"jac": True, "tol": 1e-3}),
        (rosenbrock, {"jac": True, "options": {"maxiter": 5, "maxcor": 2}}),
        (rosenbrock, {"jac": True, "options": {"maxfun": 9, "maxls": 3, "gtol": 0.5, "ftol": 0}}),
        (rosenbrock, {"jac": True, "n": 2, "bounds": [(None, 0.5), (0, 2)]}),
        (rosenbrock, {"jac": True, "n": 2, "bounds": Bounds([-1.2, -2], [-1.2, 2])}),
        (nbopt.value_and_grad(value), {"jac": True}),
    ],
    ids=str,
)
def test_all_that_can_be_asked_for(fun, given):
    handle = handle_of(fun, **given)
    if "n" not in given and given.get("jac") is None:  # chunks of another width round differently
        got, expected = solved(handle, START), minimize(handle, START)
        np.testing.assert_allclose(got.x, expected.x, rtol=1e-7)
    else:
        given.pop("n", None)
        assert_same(solved(handle, START), minimize(fun, START, **given))
        assert_same(solved(handle, START), minimize(handle, START))


def test_starts_beyond_the_bounds_are_moved_within():
    handle = handle_of(rosenbrock, jac=True, n=2, bounds=[(0, 0.5), (0, 2)])
    with pytest.warns(OptimizeWarning, match="x0 violates the bounds"):
        expected = minimize(handle, [9.0, -9.0])
    assert_same(solved(handle, np.array([9.0, -9.0])), expected)


def test_numerical_stops_are_a_status():
    handle = handle_of(rosenbrock, jac=True)
    for x0 in ([np.nan, 1.0], [np.inf, 1.0]):
        res = solved(handle, np.array(x0))
        assert (res.status, res.success, res.nfev) == (2, False, 1)
    np.testing.assert_array_equal(solved(handle, np.ones(2)).x, 1.0)


def test_functions_without_exact_derivatives_take_differences():
    @njit
    def odd(x):
        return x[0] ** 2 + np.linalg.eigvalsh(np.array([[x[1] ** 2 + 1.0, 0.0], [0.0, 5.0]]))[0]

    with pytest.raises(NotDifferentiable, match="eigvalsh"):
        handle_of(odd, jac="dual")
    res = solved(handle_of(odd), np.array([1.0, 0.5]))
    assert res.success and res.nfev % 3 == 0
    np.testing.assert_allclose(res.x, 0.0, atol=1e-4)


@njit(parallel=True)
def fit_all(handle, t, data):
    found = np.empty((len(data), 4))
    for k in prange(len(data)):
        res = nbopt.minimize(handle, np.ones(2), (t, data[k]))
        found[k, 0], found[k, 1], found[k, 2], found[k, 3] = res.x[0], res.x[1], res.fun, res.nfev
    return found


@pytest.fixture(scope="module")
def decays():
    t = np.linspace(0.0, 4.0, 50)
    data = np.linspace(1.0, 5.0, 64)[:, None] * np.exp(-1.3 * t) + 0.01 * np.cos(9.0 * t)
    expected = [minimize(misfit, np.ones(2), (t, y)) for y in data]
    return t, data, np.array([[*r.x, r.fun, r.nfev] for r in expected])


def test_in_parallel_loops(decays):
    t, data, expected = decays
    handle = handle_of(misfit, (t, data[0]), n=2)
    before = nbopt.get_num_threads()
    try:
        for threads in {1, before}:
            nbopt.set_num_threads(threads)
            np.testing.assert_array_equal(fit_all(handle, t, data), expected)
    finally:
        nbopt.set_num_threads(before)


@njit(nogil=True)
def fit_some(handle, t, data, found):
    for k in range(len(data)):
        found[k] = nbopt.minimize(handle, np.ones(2), (t, data[k])).fun


def test_on_two_python_threads(decays):
    t, data, expected = decays
    handle, found = handle_of(misfit, (t, data[0]), n=2), np.empty((2, len(data)))
    threads = [threading.Thread(target=fit_some, args=(handle, t, data, found[k])) for k in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    np.testing.assert_array_equal(found, [expected[:, 2]] * 2)


def test_exceptions_reach_the_caller():
    @njit
    def fragile(x):
        if x[0] > 0.0:
            raise ArithmeticError("beyond the edge")
        return rosenbrock(x)

    with pytest.raises(ArithmeticError, match="beyond the edge"):
        solved(handle_of(fragile, jac=True), START)
    for n, x0 in ((2, np.ones(3)), (None, np.empty(0))):
        with pytest.raises(ValueError, match="x0 has not as many elements as the handle"):
            solved(handle_of(rosenbrock, jac=True, n=n), x0)


def test_what_is_refused():
    for fun, jac in ((lambda x: x[0], None), (value, lambda x: x)):
        with pytest.raises(TypeError, match="must be compiled with numba"):
            handle_of(fun, jac=jac)
    with pytest.raises(TypeError, match="compile: fun=3 must be a function compiled"):
        handle_of(3)
    for n in (0, True, 2.0):
        with pytest.raises(ValueError, match="compile: n="):
            handle_of(value, n=n)
    with pytest.raises(ValueError, match="compile: jac='cs' must be True, a compiled function"):
        handle_of(value, jac="cs")
    with pytest.raises(ValueError, match="bounds need the number of variables"):
        handle_of(value, bounds=[(0, 1)])
    with pytest.raises(ValueError, match="minimize: maxls=0"):
        handle_of(value, options={"maxls": 0})
    with pytest.raises(TypeError, match="it must return a real number"):
        handle_of(njit(lambda x: None))


@pytest.mark.filterwarnings("ignore::numba.core.errors.NumbaPendingDeprecationWarning")
def test_arguments_without_a_native_form_are_refused():
    with pytest.raises(TypeError, match="compile: args have no native form"):
        handle_of(njit(lambda x, t: x[0] * t[0]), ([1.0, 2.0],))


def test_in_python_a_handle_is_its_function():
    handle = handle_of(rosenbrock, jac=True, options={"maxiter": 3})
    assert repr(handle) == "nbopt.compile(rosenbrock)"
    assert minimize(handle, START).nit == 3
    assert minimize(handle, START, options={"maxiter": 2}).nit == 2
    assert minimize(handle, START, method="adam", options={"maxiter": 4}).nit == 4


def test_without_the_compiler():
    script = """
        import numba, numpy as np, nbopt

        @numba.njit
        def bowl(x, c):
            d = x - c
            return (d * d).sum(), 2.0 * d

        @numba.njit
        def solve(handle, c):
            res = nbopt.minimize(handle, np.zeros(2), (c,))
            return res.x, res.success

        print(solve(nbopt.compile(bowl, (1.0,), jac=True), 3.0))
    """
    plain, compiled = (run_python(script, NUMBA_DISABLE_JIT=jit) for jit in ("1", None))
    assert plain == compiled and "[3., 3.]" in plain
