"""scipy as the judge: what its minimize(method="L-BFGS-B") promises, asked of scipy and of ours alike.

What differs is listed in .github/DIFFERENCES_FROM_SCIPY.md, and tested at the end of this file.
"""

import functools
import warnings

import numpy as np
import pytest
import scipy.optimize
from scipy.optimize import LbfgsInvHessProduct, OptimizeResult, OptimizeWarning

import nbopt

SCIPY = functools.partial(scipy.optimize.minimize, method="L-BFGS-B")
START = np.array([-1.2, 1.0])

both = pytest.mark.parametrize("minimize", [SCIPY, nbopt.minimize], ids=["scipy", "nbopt"])


def rosen(x):
    return scipy.optimize.rosen(x)


rosen_der = scipy.optimize.rosen_der


def bowl(x, centre=0.0, scale=1.0):
    return scale * float(((x - centre) ** 2).sum())


def bowl_der(x, centre=0.0, scale=1.0):
    return 2.0 * scale * (x - centre)


def with_gradient(x, *args):
    return bowl(x, *args), bowl_der(x, *args)


# The result


@both
def test_fields_and_their_types(minimize):
    res = minimize(rosen, START, jac=rosen_der)
    assert isinstance(res, OptimizeResult) and isinstance(res, dict)
    for name, kind in {"success": bool, "status": int, "message": str, "nit": int, "nfev": int, "njev": int,
                       "fun": float, "x": np.ndarray, "jac": np.ndarray}.items():  # fmt: skip
        assert isinstance(res[name], kind), name
        assert res[name] is getattr(res, name) and name in dir(res) and name in repr(res)
    assert isinstance(res.hess_inv, LbfgsInvHessProduct)
    assert res.x.shape == res.jac.shape == (2,) and res.x.dtype == res.jac.dtype == np.float64
    with pytest.raises(AttributeError):
        res.nothing


@both
def test_a_success_is_a_minimum(minimize):
    res = minimize(rosen, START, jac=rosen_der)
    assert res.success and res.status == 0
    np.testing.assert_allclose(res.x, 1.0, atol=1e-4)
    assert res.fun == rosen(res.x)
    np.testing.assert_array_equal(res.jac, rosen_der(res.x))


@both
def test_the_inverse_hessian_is_an_operator(minimize):
    def quadratic(x):
        return 0.5 * x @ (np.array([4.0, 1.0, 0.5]) * x)

    res = minimize(quadratic, np.ones(3), jac=lambda x: np.array([4.0, 1.0, 0.5]) * x)
    dense = res.hess_inv.todense()
    assert dense.shape == res.hess_inv.shape == (3, 3)
    np.testing.assert_allclose(res.hess_inv @ np.ones(3), dense @ np.ones(3))
    np.testing.assert_allclose(dense, dense.T, atol=1e-14)
    assert (np.linalg.eigvalsh(dense) > 0.0).all()


@both
def test_counts_are_of_the_calls_made(minimize):
    calls = {"fun": 0, "jac": 0}

    def fun(x):
        calls["fun"] += 1
        return rosen(x)

    def jac(x):
        calls["jac"] += 1
        return rosen_der(x)

    res = minimize(fun, START, jac=jac)
    assert (res.nfev, res.njev) == (calls["fun"], calls["jac"])
    calls["fun"] = 0
    res = minimize(fun, START)
    assert res.nfev == calls["fun"]


@both
def test_no_point_is_evaluated_twice(minimize):
    seen = []

    def fun(x):
        seen.append(x.tobytes())
        return rosen(x)

    minimize(fun, START, jac=rosen_der)
    assert len(set(seen)) == len(seen)


# x0 and args


@both
@pytest.mark.parametrize(
    "x0", [[3, 4], (3.0, 4.0), np.float16([3, 4]), np.array([3, 4]), np.arange(8.0)[::4]], ids=str
)
def test_forms_of_x0(minimize, x0):
    before = np.array(x0)
    res = minimize(bowl, x0, jac=bowl_der)
    assert res.success and res.x.dtype == np.float64 and res.x.shape == (2,)
    np.testing.assert_allclose(res.x, 0.0, atol=1e-6)
    np.testing.assert_array_equal(x0, before)


@both
@pytest.mark.parametrize("x0", [5.0, [5.0], np.array(5.0), np.array([5.0])], ids=repr)
@pytest.mark.parametrize("bounds", [None, [(1.0, 8.0)]])
def test_one_variable_is_a_vector_too(minimize, x0, bounds):
    shapes = set()

    def fun(x):
        shapes.add(np.shape(x))
        return (x[0] - 2.0) ** 2

    res = minimize(fun, x0, bounds=bounds)
    assert res.x.shape == (1,) and shapes == {(1,)}
    np.testing.assert_allclose(res.x, 2.0, atol=1e-6)


@both
def test_x0_of_two_dimensions_is_refused(minimize):
    with pytest.raises(ValueError, match=r"one dimension|1 dimension"):
        minimize(bowl, np.ones((2, 2)))


@both
@pytest.mark.parametrize("args", [(2.0,), 2.0, np.array([2.0, 2.0]), (2.0, 3.0)], ids=repr)
@pytest.mark.parametrize("jac", [None, bowl_der, True], ids=["none", "callable", "true"])
def test_forms_of_args(minimize, args, jac):
    res = minimize(with_gradient if jac is True else bowl, START, args, jac=jac)
    np.testing.assert_allclose(res.x, 2.0, atol=1e-5)


# fun and jac


@both
def test_a_value_in_an_array_of_one_element_will_do(minimize):
    assert minimize(lambda x: np.array([bowl(x)]), START).success
    assert minimize(lambda x: np.float64(bowl(x)), START).success


@both
def test_a_vector_is_no_value(minimize):
    with pytest.raises((TypeError, ValueError)):
        minimize(lambda x: x, START)


@both
@pytest.mark.parametrize("jac", [None, False, "2-point", "3-point", "cs"])
def test_forms_of_jac(minimize, jac):
    res = minimize(lambda x: (x[0] - 1.0) ** 2 + (x[1] + x[0]) ** 4, START, jac=jac)
    assert res.success
    np.testing.assert_allclose(res.x[0], 1.0, atol=1e-2)


@both
def test_a_gradient_may_be_a_list(minimize):
    assert minimize(bowl, START, jac=lambda x: list(bowl_der(x))).success


@both
def test_a_function_may_write_to_its_argument(minimize):
    def fun(x):
        f = rosen(x)
        x[...] = np.nan
        return f

    def jac(x):
        g = rosen_der(x)
        x *= 1e300
        return g

    res, clean = minimize(fun, START, jac=jac), minimize(rosen, START, jac=rosen_der)
    np.testing.assert_array_equal(res.x, clean.x)
    assert res.nfev == clean.nfev
    assert minimize(fun, START).success


@both
def test_a_function_may_keep_its_argument(minimize):
    kept, copies = [], []

    def fun(x):
        kept.append(x)
        copies.append(x.copy())
        return rosen(x)

    minimize(fun, START, jac=rosen_der)
    np.testing.assert_array_equal(kept, copies)


@both
def test_what_the_function_raises_is_what_the_caller_gets(minimize):
    class MyError(Exception):
        pass

    def fail(*args):
        raise MyError("mine")

    for call in (
        lambda: minimize(fail, START),
        lambda: minimize(rosen, START, jac=fail),
        lambda: minimize(rosen, START, jac=rosen_der, callback=fail),
    ):
        with pytest.raises(MyError, match="mine"):
            call()


@both
def test_not_a_number_ends_a_run_with_a_result(minimize):
    for bad in (np.nan, np.inf):
        res = minimize(lambda x, bad=bad: bad, START, jac=lambda x: np.zeros(2) + np.nan)
        assert not res.success and res.status == 2 and isinstance(res.message, str)


# Options and limits


@both
def test_limits_are_kept_and_are_no_success(minimize):
    res = minimize(rosen, START, jac=rosen_der, options={"maxiter": 3})
    assert (res.nit, res.status, res.success) == (3, 1, False)
    res = minimize(rosen, START, jac=rosen_der, options={"maxfun": 1})
    assert res.status == 1 and not res.success


@both
def test_a_run_never_ends_above_its_start(minimize):
    def bad_gradient(x):
        return -rosen_der(x)

    res = minimize(rosen, START, jac=bad_gradient)
    assert not res.success and res.fun <= rosen(START)


@both
def test_iterates_only_fall(minimize):
    values = [rosen(START)]
    minimize(rosen, START, jac=rosen_der, callback=lambda x: values.append(rosen(x)))
    assert (np.diff(values) <= 0.0).all()


@both
@pytest.mark.parametrize("name", ["ftol", "gtol", "tol"])
def test_smaller_tolerances_give_smaller_values(minimize, name):
    found = []
    for size in (1e-1, 1e-4, 1e-9):
        others = {"ftol": 0.0, "gtol": 0.0} if name != "tol" else {}
        given = {"tol": size} if name == "tol" else {"options": others | {name: size}}
        found.append(minimize(rosen, START, jac=rosen_der, **given))
    assert found[0].nit < found[1].nit < found[2].nit
    assert found[0].fun > found[1].fun > found[2].fun


@both
def test_options_by_name(minimize):
    for name, value in {"maxcor": 3, "maxls": 10, "eps": 1e-7, "finite_diff_rel_step": 1e-7, "maxfun": 999,
                        "maxiter": 999, "ftol": 1e-9, "gtol": 1e-6}.items():  # fmt: skip
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert minimize(rosen, START, options={name: value}).success, name
    assert minimize(rosen, START, jac=rosen_der, options={"maxcor": 3}).hess_inv.n_corrs <= 3


@both
def test_a_short_search_fails_with_a_status(minimize):
    res = minimize(bowl, [3.0], (0.0, 1e8), jac=lambda x, *args: -bowl_der(x, *args), options={"maxls": 1})
    assert not res.success and res.status == 2


@both
def test_unknown_options_warn(minimize):
    with pytest.warns(OptimizeWarning, match="Unknown solver options: nonsense"):
        assert minimize(bowl, START, options={"nonsense": 1}).success


@both
@pytest.mark.parametrize("name", ["hess", "hessp"])
def test_second_derivatives_are_not_used_with_a_warning(minimize, name):
    with pytest.warns(RuntimeWarning, match=rf"does not use Hessian.*\({name}\)"):
        assert minimize(bowl, START, jac=bowl_der, **{name: lambda *args: np.eye(2)}).success


@pytest.mark.parametrize("minimize", [scipy.optimize.minimize, nbopt.minimize], ids=["scipy", "nbopt"])
def test_unknown_methods_are_refused(minimize):
    with pytest.raises(ValueError, match="nonsense"):
        minimize(bowl, START, method="nonsense")
    assert minimize(bowl, START, method="l-bfgs-b").success


# Callbacks


@both
def test_a_callback_sees_each_iterate(minimize):
    plain, rich = [], []

    def watch(intermediate_result):
        rich.append(intermediate_result.copy() | {"x": intermediate_result.x.copy()})

    res = minimize(rosen, START, jac=rosen_der, callback=plain.append)
    minimize(rosen, START, jac=rosen_der, callback=watch)
    assert len(plain) == len(rich) == res.nit
    np.testing.assert_array_equal(plain[-1], res.x)
    assert len({id(x) for x in plain}) == len(plain)
    for x, r in zip(plain, rich, strict=True):
        np.testing.assert_array_equal(r["x"], x)
        assert r["fun"] == rosen(x)


@both
def test_what_a_callback_does_to_its_argument_does_no_harm(minimize):
    def spoil(xk):
        xk[...] = np.nan

    res, clean = (minimize(rosen, START, jac=rosen_der, callback=c) for c in (spoil, None))
    np.testing.assert_array_equal(res.x, clean.x)


@both
def test_the_names_of_parameters_decide_the_form(minimize):
    seen = []

    def old(intermediate_result, other=None):  # not that name alone
        seen.append(type(intermediate_result))

    def new(*, intermediate_result):
        seen.append(type(intermediate_result))

    for callback in (old, new):
        minimize(rosen, START, jac=rosen_der, callback=callback, options={"maxiter": 1})
    assert seen[0] is np.ndarray and issubclass(seen[1], OptimizeResult)


@both
def test_stop_iteration_is_status_99(minimize):
    seen = []

    def stop(intermediate_result):
        seen.append(intermediate_result)
        if len(seen) == 4:
            raise StopIteration

    res = minimize(rosen, START, jac=rosen_der, callback=stop)
    assert (res.status, res.success) == (99, False)
    assert res.message == "`callback` raised `StopIteration`."
    np.testing.assert_array_equal(res.x, seen[-1].x)
    assert res.fun == seen[-1].fun


@both
def test_true_from_a_callback_stops_nothing(minimize):
    assert minimize(rosen, START, jac=rosen_der, callback=lambda x: True).success


# What differs, on purpose: see .github/DIFFERENCES_FROM_SCIPY.md


def test_constraints_are_refused_not_dropped():
    constraints = {"type": "eq", "fun": bowl}
    with pytest.warns(RuntimeWarning, match="cannot handle constraints"):
        SCIPY(bowl, START, constraints=constraints)
    with pytest.raises(ValueError, match="no constraints"):
        nbopt.minimize(bowl, START, constraints=constraints)


def test_limits_are_kept_exactly():
    assert SCIPY(rosen, START, jac=rosen_der, options={"maxiter": 0}).nit == 1
    res = nbopt.minimize(rosen, START, jac=rosen_der, options={"maxiter": 0})
    assert (res.nit, res.nfev, res.status) == (0, 1, 1)
    assert SCIPY(rosen, START, options={"maxfun": 10}).nfev > 10
    assert nbopt.minimize(rosen, START, options={"maxfun": 10}).nfev <= 10


def test_an_intermediate_result_is_the_callbacks_own():
    kept = []

    def watch(intermediate_result):
        kept.append(intermediate_result)

    nbopt.minimize(rosen, START, jac=rosen_der, callback=watch)
    assert [r.fun for r in kept] == [rosen(r.x) for r in kept]


@pytest.mark.parametrize("x0", [[np.nan, 1.0], [np.inf, 1.0], []], ids=str)
def test_a_start_that_is_no_point_is_refused(x0):
    with pytest.raises(ValueError, match="x0"):
        nbopt.minimize(bowl, x0)


def test_a_start_beyond_the_bounds_is_mentioned():
    with pytest.warns(OptimizeWarning, match="x0 violates the bounds"):
        nbopt.minimize(bowl, [9.0, 1.5], bounds=[(1.0, 2.0)] * 2)


def test_a_small_reduction_on_a_slow_stretch_is_no_end():
    def powell(x):  # badly scaled: Moré, Garbow and Hillstrom's (3)
        a, b = 1e4 * x[0] * x[1] - 1.0, np.exp(-x[0]) + np.exp(-x[1]) - 1.0001
        g = np.array([2e4 * a * x[1] - 2.0 * b * np.exp(-x[0]), 2e4 * a * x[0] - 2.0 * b * np.exp(-x[1])])
        return a * a + b * b, g

    assert SCIPY(powell, [0.0, 1.0], jac=True).fun > 0.1
    assert nbopt.minimize(powell, [0.0, 1.0], jac=True).fun < 1e-6
    flat = nbopt.minimize(bowl, START, jac=bowl_der, options={"ftol": 1e3, "gtol": 0.0})
    assert flat.success and flat.nit == 1
