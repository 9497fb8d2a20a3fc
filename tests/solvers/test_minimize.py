"""minimize(): scipy's contract, results, statuses, bad input, exceptions, Ctrl-C, the cache."""

import _thread
import itertools
import pickle
import re
import signal
import threading

import numpy as np
import pytest
import scipy.optimize
from classic_problems import PROBLEMS, rosenbrock
from fresh_process import run_python
from numba import njit
from numba.core.errors import TypingError
from scipy.optimize import LbfgsInvHessProduct, OptimizeResult, OptimizeWarning

import nbopt.solvers.run as module
from nbopt.solvers.minimize import minimize

START = np.array([-1.2, 1.0])


@njit
def value(x):
    return rosenbrock(x)[0]


@njit
def slope(x):
    return rosenbrock(x)[1]


@njit
def valley(x):  # complex x, too
    return (x[0] - 1.0) ** 2 * 7.0 + (x[1] + x[0] ** 2) ** 2


@njit
def shifted(x, a, b):
    d = x - a
    return b * (d * d).sum(), 2.0 * b * d


def python_rosenbrock(x):
    return rosenbrock(x)


FORMS = {
    "compiled": (rosenbrock, True),
    "compiled pair": (value, slope),
    "python": (python_rosenbrock, True),
    "python pair": (lambda x: value(x), lambda x: slope(x)),
    "mixed pair": (value, lambda x: slope(x)),
}


@pytest.mark.parametrize("form", FORMS)
def test_all_forms_give_the_same_result(form):
    fun, jac = FORMS[form]
    res, reference = minimize(fun, START, jac=jac), minimize(rosenbrock, START, jac=True)
    assert res.success and res.status == 0
    for name in ("x", "fun", "jac", "nfev", "njev", "nit", "message"):
        np.testing.assert_array_equal(res[name], reference[name])


@pytest.mark.parametrize("name", PROBLEMS)
def test_as_good_as_scipy(name):
    fun, x0, _ = PROBLEMS[name]
    ours = minimize(fun, x0, jac=True, options={"gtol": 1e-8, "ftol": 0})
    theirs = scipy.optimize.minimize(fun, x0, jac=True, method="L-BFGS-B", options={"gtol": 1e-8, "ftol": 0})
    assert ours.success
    assert ours.fun <= theirs.fun + 1e-12 * max(1.0, abs(theirs.fun))


def test_the_fields_are_scipys():
    ours = minimize(rosenbrock, START, jac=True)
    theirs = scipy.optimize.minimize(rosenbrock, START, jac=True, method="L-BFGS-B")
    assert isinstance(ours, OptimizeResult)
    assert set(theirs) <= set(ours)
    for name in ("nfev", "njev", "nit", "status", "message", "success"):
        assert type(ours[name]) is type(theirs[name]), name
    assert type(ours.fun) is float
    for name in ("x", "jac"):
        assert ours[name].dtype == np.float64 and ours[name].shape == (2,)
    f, g = rosenbrock(ours.x)
    assert f == ours.fun
    np.testing.assert_array_equal(g, ours.jac)
    assert pickle.loads(pickle.dumps(ours)).fun == ours.fun


def test_hess_inv_is_scipys_product_and_made_when_asked_for(monkeypatch):
    res = minimize(rosenbrock, START, jac=True)
    product = res.hess_inv
    assert type(product) is LbfgsInvHessProduct and product is res["hess_inv"]
    s, y = product.sk, product.yk
    assert s.shape == y.shape == (10, 2)
    np.testing.assert_allclose(product @ y[-1], s[-1], rtol=1e-9)  # the secant equation
    monkeypatch.setattr(module, "LbfgsInvHessProduct", None)
    assert minimize(rosenbrock, START, jac=True).success
    with pytest.raises(TypeError):
        minimize(rosenbrock, START, jac=True).hess_inv


def test_results_do_not_share_memory():
    x0 = START.copy()
    a, b = minimize(rosenbrock, x0, jac=True), minimize(rosenbrock, x0, jac=True)
    np.testing.assert_array_equal(x0, START)
    for one, other in itertools.combinations([x0, a.x, a.jac, b.x, b.jac], 2):
        assert not np.shares_memory(one, other)


@pytest.mark.parametrize(
    ("x0", "n"),
    [([3, 4], 2), (7, 1), (np.float16([3.0, 4.0]), 2), (np.array(2.0), 1), ((True, False), 2), (range(3), 3)],
)
def test_starts(x0, n):
    for fun in (shifted, shifted.py_func):
        res = minimize(fun, x0, args=(1.0, 2.0), jac=True)
        assert res.x.shape == (n,) and res.x.dtype == np.float64
        np.testing.assert_allclose(res.x, 1.0, atol=1e-6)


def test_starts_with_strides():
    x0 = np.arange(10.0)[::-2]
    np.testing.assert_allclose(minimize(shifted, x0, args=(1.0, 2.0), jac=True).x, np.ones(5), atol=1e-6)
    np.testing.assert_array_equal(x0, [9, 7, 5, 3, 1])


@pytest.mark.parametrize(
    ("x0", "error", "match"),
    [
        ([1.0, np.nan], ValueError, r"x0\[1\]=nan must be finite"),
        ([-np.inf, 1.0], ValueError, r"x0\[0\]=-inf must be finite"),
        ([[1.0, 2.0]], ValueError, r"shape \(1, 2\); it must have one dimension"),
        ([], ValueError, "x0 is empty"),
        ([1j, 2.0], TypeError, "dtype complex128; it must be real"),
        (["a"], TypeError, "must be real"),
        ("1,2", TypeError, "minimize: x0 has dtype <U3; it must be real numbers"),
        (np.array(["1", "2"], object), TypeError, "minimize: x0 holds '1'; it must be real numbers"),
        ({"a": 1.0}, TypeError, "minimize: x0 holds {'a': 1.0}; it must be real numbers"),
        ([None, 1.0], TypeError, "minimize: x0 holds None"),
    ],
)
def test_starts_that_are_refused(x0, error, match):
    with pytest.raises(error, match=match):
        minimize(rosenbrock, x0, jac=True)


def test_huge_starts_are_finite():
    assert minimize(shifted, [1e200, 1.0], args=(0.0, 1e-250), jac=True, options={"gtol": 0}).x is not None


def test_args():
    a = np.array([1.0, 2.0])
    np.testing.assert_allclose(minimize(shifted, START, (a, 3), jac=True).x, a, atol=1e-6)
    alone = njit(lambda x, a: (((x - a) ** 2).sum(), 2.0 * (x - a)))
    np.testing.assert_allclose(minimize(alone, START, a, jac=True).x, a, atol=1e-6)
    a[:] = 5.0  # what the arrays hold now is what counts
    np.testing.assert_allclose(minimize(alone, START, a, jac=True).x, [5.0, 5.0], atol=1e-6)
    listed = njit(lambda x, t: (x[0] - t[0]) ** 2 + (x[1] - t[1]) ** 2)
    for t in ((3.0, 4.0), np.array([3.0, 4.0])):
        np.testing.assert_allclose(minimize(listed, START, (t,)).x, [3.0, 4.0], atol=1e-5)


@pytest.mark.filterwarnings("ignore::numba.core.errors.NumbaPendingDeprecationWarning")
def test_args_without_a_native_form_go_through_python():
    listed = njit(lambda x, t: (x[0] - t[0]) ** 2 + (x[1] - t[1]) ** 2)
    np.testing.assert_allclose(minimize(listed, START, ([3.0, 4.0],)).x, [3.0, 4.0], atol=1e-5)
    one = njit(lambda x: (x * x)[:1] + (x * x)[1:])  # an array of one element
    np.testing.assert_allclose(minimize(one, START).x, 0.0, atol=1e-5)


@pytest.mark.parametrize("jac", [None, False, "auto", "2-point", "3-point", "cs"])
def test_differences_as_scipy(jac):
    scipys = None if jac in (False, "auto") else jac
    theirs = scipy.optimize.minimize(valley, START, jac=scipys, method="L-BFGS-B")
    for fun in (valley, lambda x: valley(x)):
        if fun is valley and scipys is None:
            continue  # exact derivatives then
        res = minimize(fun, START, jac=jac)
        assert res.success
        assert res.jac_method == (jac if jac in ("3-point", "cs") else "2-point")
        assert res.nfev == res.njev * (5 if jac == "3-point" else 3)
        assert abs(res.nfev - theirs.nfev) <= 15
        np.testing.assert_allclose(res.x, theirs.x, atol=2e-4)
    assert minimize(rosenbrock, START, jac=True).jac_method == "user"


def test_steps_of_differences():
    seen = []

    def noted(x):
        seen.append(x)
        return float(x @ x)

    minimize(noted, [2.0, 3.0], options={"eps": 0.5, "maxiter": 0})
    np.testing.assert_array_equal(seen, [[2.0, 3.0], [2.5, 3.0], [2.0, 3.5]])
    seen.clear()
    minimize(noted, [2.0, -4.0], jac="2-point", options={"finite_diff_rel_step": 0.25, "maxiter": 0})
    np.testing.assert_array_equal(seen, [[2.0, -4.0], [2.5, -4.0], [2.0, -5.0]])
    with pytest.raises(ValueError, match="one for each of the 2 variables"):
        minimize(noted, [2.0, 3.0], options={"eps": [1.0, 2.0, 3.0]})


def test_options_and_tol():
    assert minimize(rosenbrock, START, jac=True, tol=1e-1).nit < minimize(rosenbrock, START, jac=True).nit
    for options, status, nit in (({"maxiter": 4}, 1, 4), ({"maxfun": 7}, 1, None)):
        res = minimize(rosenbrock, START, jac=True, options=options)
        assert res.status == status and not res.success and next(iter(options)) in res.message
        assert nit is None or res.nit == nit
    assert minimize(rosenbrock, START, jac=True, options={"maxfun": 7}).nfev == 7
    assert minimize(value, START, jac="2-point", options={"maxfun": 8}).nfev == 6
    with pytest.warns(OptimizeWarning, match="Unknown solver options: maxiters") as caught:
        minimize(rosenbrock, START, jac=True, options={"maxiters": 3})
    assert caught[0].filename == __file__
    with pytest.raises(ValueError, match="minimize: maxls=0"):
        minimize(rosenbrock, START, jac=True, options={"maxls": 0})


def test_return_all_and_disp(capsys):
    res = minimize(rosenbrock, START, jac=True, options={"return_all": True, "disp": True})
    assert len(res.allvecs) == res.nit + 1
    np.testing.assert_array_equal(res.allvecs[0], START)
    np.testing.assert_array_equal(res.allvecs[-1], res.x)
    out = capsys.readouterr().out
    assert res.message in out and str(res.nfev) in out
    minimize(rosenbrock, START, jac=True)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("method", [None, "lbfgs", "L-BFGS-B", "l-bfgs", "LBFGS"])
def test_names_of_the_method(method):
    assert minimize(rosenbrock, START, (), method, True).success


def test_what_is_refused():
    with pytest.raises(ValueError, match=r"method='simplex' must be one of .*lbfgs"):
        minimize(rosenbrock, START, method="simplex", jac=True)
    for method, meant in (("lbgfs", "lbfgs"), ("BFGS", "lbfgs"), ("adamm", "adam")):
        with pytest.raises(ValueError, match=f"method='{method}' must be .*; did you mean '{meant}'"):
            minimize(rosenbrock, [0, 0], jac=True, method=method)
    with pytest.raises(ValueError, match="method=3 must be one of"):
        minimize(rosenbrock, START, method=3, jac=True)
    for constraints in ({"type": "eq", "fun": value}, [{"type": "eq", "fun": value}], object()):
        with pytest.raises(ValueError, match="no constraints"):
            minimize(rosenbrock, START, jac=True, constraints=constraints)
    for nothing in ((), [], {}, None):
        assert minimize(rosenbrock, START, jac=True, constraints=nothing).success
    with pytest.raises(TypeError, match='jac="dual" needs a function compiled'):
        minimize(python_rosenbrock, START, jac="dual")
    with pytest.raises(ValueError, match=r"jac='2point' must be True, a function.*did you mean '2-point'\?"):
        minimize(rosenbrock, START, jac="2point")
    with pytest.raises(TypeError, match="fun=3 must be callable"):
        minimize(3, START)
    with pytest.raises(TypeError, match="callback=3 must be callable"):
        minimize(rosenbrock, START, jac=True, callback=3)


@pytest.mark.parametrize("name", ["hess", "hessp"])
def test_hessians_are_ignored_with_a_warning(name):
    with pytest.warns(RuntimeWarning, match=rf"Method lbfgs does not use Hessian.*\({name}\)") as caught:
        assert minimize(rosenbrock, START, jac=True, **{name: lambda x: x}).success
    assert caught[0].filename == __file__


@pytest.mark.parametrize("fun", [rosenbrock, python_rosenbrock])
def test_callbacks(fun):
    plain, rich = [], []
    res = minimize(fun, START, jac=True, callback=plain.append)

    def watch(intermediate_result):
        rich.append(intermediate_result)
        intermediate_result.x[:] = np.nan  # a copy: no harm
        return True  # stops nothing, as in scipy

    again = minimize(fun, START, jac=True, callback=watch)
    assert len(plain) == len(rich) == res.nit == again.nit
    np.testing.assert_array_equal(plain[-1], res.x)
    np.testing.assert_array_equal(again.x, res.x)
    assert [r.fun for r in rich] == [rosenbrock(x)[0] for x in plain]
    assert isinstance(rich[0], OptimizeResult)
    np.testing.assert_array_equal(res.x, minimize(rosenbrock, START, jac=True).x)


@pytest.mark.parametrize("fun", [rosenbrock, python_rosenbrock])
def test_stop_iteration_from_the_callback(fun):
    seen = []

    def stop(xk):
        seen.append(xk)
        if len(seen) == 5:
            raise StopIteration

    res = minimize(fun, START, jac=True, callback=stop)
    assert (res.status, res.success, res.nit) == (99, False, 5)
    assert res.message == "`callback` raised `StopIteration`."
    np.testing.assert_array_equal(res.x, seen[-1])
    assert res.fun == rosenbrock(res.x)[0]


def test_exceptions_reach_the_user():
    @njit
    def fragile(x):
        if x[0] > 0.0:
            raise ArithmeticError("beyond the edge")
        return rosenbrock(x)

    def broken_callback(xk):
        raise LookupError("callback")

    for fun in (fragile, fragile.py_func):
        with pytest.raises(ArithmeticError, match="beyond the edge"):
            minimize(fun, START, jac=True)
        assert minimize(fun, [-1.2, 1.0], jac=True, options={"maxiter": 2}).status == 1
    with pytest.raises(LookupError, match="callback"):
        minimize(rosenbrock, START, jac=True, callback=broken_callback)
    with pytest.raises(StopIteration):
        minimize(lambda x: next(iter(())), START)
    with pytest.raises(TypingError):
        minimize(njit(lambda x: x.nonsense), START)
    with pytest.raises(TypeError):
        minimize(lambda x, a: 0.0, START)


@pytest.mark.parametrize("result", [None, "text", 1j])
def test_functions_that_return_no_number(result):
    for fun in (lambda x: result, njit(lambda x: result)):
        with pytest.raises(TypeError, match="it must return a real number"):
            minimize(fun, START)
    with pytest.raises(ValueError, match=r"an array of shape \(2,\)"):
        minimize(lambda x: x, START)
    with pytest.raises(ValueError, match="shape"):
        minimize(njit(lambda x: x), START)


def test_what_is_missing_is_said():
    for both in (lambda x: (1.0, x), njit(lambda x: (1.0, x))):
        with pytest.raises(TypeError, match=r"must return a real number \(with the gradient.*: jac=True\)"):
            minimize(both, START)
    with pytest.raises(TypeError, match="takes a, b after x; args has 1 of that; args must be a tuple"):
        minimize(shifted, START, args=[1.0, 2.0], jac=True)


def test_gradients_of_the_wrong_shape():
    n = re.escape(f"({len(START)},)")
    for fun in (lambda x: (x[0], x[:1]), njit(lambda x: (x[0], x[:1]))):
        with pytest.raises(ValueError, match=rf"fun gave a gradient of shape \(1,\); it must be .*{n}"):
            minimize(fun, START, jac=True)
    for jac in (lambda x: x[:1], njit(lambda x: x[:1])):
        with pytest.raises(ValueError, match=rf"jac gave a gradient of shape \(1,\); it must be .*{n}"):
            minimize(value, START, jac=jac)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_not_finite_at_the_start_is_a_status(bad):
    @njit
    def fun(x, bad):
        return bad, x

    for f in (fun, fun.py_func):
        res = minimize(f, START, args=(bad,), jac=True)
        assert (res.status, res.success, res.nfev) == (2, False, 1)
        assert "x0 is not finite" in res.message
        np.testing.assert_array_equal(res.x, START)


def test_not_finite_midway_counts_as_too_far():
    @njit
    def logarithm(x):
        return (x - np.log(x)).sum(), 1.0 - 1.0 / x  # NaN below 0

    for f in (logarithm, lambda x: logarithm(x)):
        res = minimize(f, [1e-3, 3.0], jac=True, options={"ftol": 0})
        assert res.success
        np.testing.assert_allclose(res.x, 1.0, atol=1e-4)


def test_never_finite_again():
    @njit
    def island(x):
        return (x[0] if x[0] == 1.0 else np.nan), np.ones(1)

    res = minimize(island, [1.0], jac=True)
    assert res.status == 2 and res.x == [1.0] and res.fun == 1.0


@njit
def slow(x):
    waste = 0.0
    for k in range(300_000):
        waste += np.sin(x[0] + k)
    f, g = rosenbrock(x)
    return f + 0.0 * waste, g


@pytest.fixture
def ctrl_c_is_heard():
    """A process that was started in the background may ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c_is_heard")
@pytest.mark.parametrize("fun", [slow, lambda x: slow(x)], ids=["compiled", "python"])
def test_ctrl_c_returns_the_best_point(fun):
    x0 = np.tile([-1.2, 1.0], 500)
    slow(x0)
    minimize(fun, x0, jac=True, options={"maxiter": 1})
    timer = threading.Timer(0.4, _thread.interrupt_main)
    timer.start()
    res = minimize(fun, x0, jac=True)
    timer.join()
    assert (res.status, res.success) == (98, False)
    assert "Ctrl-C" in res.message
    assert 0 < res.nit < 4000
    assert res.fun == rosenbrock(res.x)[0] < rosenbrock(x0)[0]
    np.testing.assert_array_equal(res.jac, rosenbrock(res.x)[1])


def test_ctrl_c_before_the_first_value():
    def interrupted(x):
        raise KeyboardInterrupt

    res = minimize(interrupted, START)
    assert res.status == 98 and np.isnan(res.fun) and np.isnan(res.jac).all()
    np.testing.assert_array_equal(res.x, START)


def test_threads_solve_at_the_same_time():
    results = [None] * 4

    def solve(k):
        results[k] = [
            minimize(shifted, START, args=(np.full(2, float(k)), 1.0), jac=True).x for _ in range(50)
        ]

    threads = [threading.Thread(target=solve, args=(k,)) for k in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for k in range(4):
        np.testing.assert_allclose(results[k], float(k), atol=1e-6)


SECOND_PROCESS = """
    import numba, numpy as np
    from nbopt.solvers import bursts, lbfgs
    from nbopt.solvers.minimize import minimize

    @numba.njit
    def fun(x, c):
        return ((x - c) ** 2).sum(), 2.0 * (x - c)

    res = minimize(fun, [1.0, 2.0], args=(np.array([3.0, 4.0]),), jac=True)
    for f in (bursts.burst, lbfgs.advance):
        print(sum(f.stats.cache_hits.values()), sum(f.stats.cache_misses.values()), end=" ")
    print(res.x.round(6).tolist())
"""


def test_a_second_process_takes_the_solver_from_disk(tmp_path):
    first = run_python(SECOND_PROCESS, NUMBA_CACHE_DIR=str(tmp_path))
    second = run_python(SECOND_PROCESS, NUMBA_CACHE_DIR=str(tmp_path))
    assert first.split()[:4] == ["0", "1", "0", "1"]
    assert second.split()[:4] == ["1", "0", "1", "0"]
    assert first.split()[4:] == second.split()[4:] == ["[3.0,", "4.0]"]


def test_without_the_compiler():
    script = """
        import numba, numpy as np
        from nbopt.solvers.minimize import minimize

        @numba.njit
        def fun(x):
            a, b = x[1] - x[0] * x[0], 1.0 - x[0]
            return 100.0 * a * a + b * b, np.array([-400.0 * x[0] * a - 2.0 * b, 200.0 * a])

        for jac in (True, "3-point"):
            res = minimize(fun if jac is True else lambda x: fun(x)[0], [-1.2, 1.0], jac=jac)
            print(res.status, res.nit, res.x.round(3).tolist())
    """
    plain, compiled = run_python(script, NUMBA_DISABLE_JIT="1"), run_python(script, NUMBA_DISABLE_JIT=None)
    assert plain == compiled
    assert plain.count("[1.0, 1.0]") == 2


def test_importing_compiles_nothing():
    script = """
        import nbopt.solvers.minimize
        from nbopt.solvers import bursts, lbfgs
        print(len(lbfgs.advance.signatures), len(bursts.burst.signatures))
    """
    assert run_python(script).split() == ["0", "0"]
