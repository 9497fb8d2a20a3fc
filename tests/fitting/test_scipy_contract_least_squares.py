"""scipy as the judge: least_squares(), its result, and what fun and jac may do; asked of scipy and of ours.

What differs is listed in .github/DIFFERENCES_FROM_SCIPY.md, see test_scipy_differences_least_squares.py.
"""

import inspect
import itertools
import warnings

import numpy as np
import pytest
from contract_problems import (
    OURS,
    RECENT,
    START,
    THEIRS,
    Counted,
    T,
    both,
    bounded_method,
    every_jac,
    every_method,
    fall,
    fall_jac,
    valley,
    valley_jac,
    well,
    well_jac,
)
from scipy.optimize import OptimizeResult
from scipy.sparse import csr_array

# The signature and the result


def test_the_arguments_have_scipys_names_and_order():
    theirs, ours = (list(inspect.signature(f).parameters) for f in (THEIRS, OURS))
    if not RECENT:
        theirs += ["callback", "workers"]
    assert ours == theirs


@both
@every_method
def test_fields_and_their_types(least_squares, method):
    res = least_squares(fall, [1, 1], fall_jac, method=method)
    assert isinstance(res, OptimizeResult) and isinstance(res, dict)
    for name, kind in {"cost": float, "optimality": float, "nfev": int, "njev": int, "status": int,
                       "message": str, "success": (bool, np.bool_)}.items():  # fmt: skip
        assert isinstance(res[name], kind), name
    for name, shape in {"x": (2,), "fun": T.shape, "jac": (T.size, 2), "grad": (2,)}.items():
        assert res[name].shape == shape and res[name].dtype == np.float64, name
        assert res[name] is getattr(res, name) and name in dir(res) and name in repr(res)
    assert res.active_mask.shape == (2,) and not res.active_mask.any()
    with pytest.raises(AttributeError):
        res.nothing


@both
@every_method
@every_jac
def test_the_numbers_of_a_result_belong_together(least_squares, method, jac):
    res = least_squares(fall, [1.0, 1.0], fall_jac if jac == "callable" else jac, method=method)
    assert res.success and res.status > 0
    np.testing.assert_array_equal(res.fun, fall(res.x))
    np.testing.assert_allclose(res.cost, 0.5 * res.fun @ res.fun, rtol=1e-14)
    np.testing.assert_allclose(res.jac, fall_jac(res.x), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(res.grad, res.jac.T @ res.fun, atol=1e-15)
    np.testing.assert_allclose(res.optimality, np.abs(res.grad).max(), rtol=1e-12)
    np.testing.assert_allclose(res.x, [2.0, 0.8], rtol=0.1)


@both
@every_method
def test_a_solution_with_residuals_left(least_squares, method):
    res = least_squares(well, 2.0, method=method)
    np.testing.assert_allclose(res.x, 0.0, atol=1e-4)
    np.testing.assert_allclose([res.cost, res.fun[0]], [0.5, 1.0])
    np.testing.assert_allclose(np.append(res.jac, res.grad), 0.0, atol=1e-4)
    assert res.success and res.nfev < 20


@both
@every_method
def test_counts_are_of_the_calls_made(least_squares, method):
    fun, jac = Counted(fall), Counted(fall_jac)
    res = least_squares(fun, [1.0, 1.0], jac, method=method)
    assert res.nfev == len(fun.seen)
    assert res.njev <= len(jac.seen) <= res.njev + 1  # scipy's "lm" asks once more at the end


@both
@every_method
@pytest.mark.parametrize("jac", ["2-point", "3-point"])
def test_evaluations_for_differences_are_not_counted(least_squares, method, jac):
    fun = Counted(fall)
    res = least_squares(fun, [1.0, 1.0], jac, method=method)
    assert res.nfev < len(fun.seen)
    assert res.nfev <= 12


@both
@every_method
def test_no_point_is_evaluated_twice_in_a_row(least_squares, method):
    for calls in (Counted(valley), Counted(valley_jac)):
        fun, jac = (calls, valley_jac) if calls.fun is valley else (valley, calls)
        least_squares(fun, START, jac, method=method)
        seen = [x.tobytes() for x in calls.seen]
        assert all(a != b for a, b in itertools.pairwise(seen))


@both
@bounded_method
def test_one_evaluation_ends_at_the_start(least_squares, method):
    res = least_squares(well, 2.0, well_jac, max_nfev=1, method=method)
    assert (res.nfev, res.njev, res.status, res.success) == (1, 1, 0, False)
    np.testing.assert_array_equal(res.x, [2.0])
    np.testing.assert_array_equal(res.fun, well(res.x))
    np.testing.assert_array_equal(res.jac, well_jac(res.x))
    np.testing.assert_allclose(res.grad, np.cosh(2.0) * np.sinh(2.0))
    assert res.optimality == np.abs(res.grad).max() and res.active_mask == [0]


# x0, args and kwargs


@both
@every_method
@pytest.mark.parametrize(
    "x0", [[3, 4], (3.0, 4.0), np.float32([3, 4]), np.float16([3, 4]), np.array([3, 4]),
           np.array([3, 4], object), np.arange(3.0, 9.0)[::1][:2], [True, 2]], ids=repr,
)  # fmt: skip
def test_forms_of_x0(least_squares, method, x0):
    before = np.array(x0)
    res = least_squares(valley, x0, method=method)
    assert res.success and res.x.dtype == np.float64 and res.x.shape == (2,)
    np.testing.assert_allclose(res.x, 1.0, atol=1e-6)
    np.testing.assert_array_equal(x0, before)


@both
@every_method
@pytest.mark.parametrize("x0", [2, 2.0, [2.0], np.array(2.0), np.float32(2)], ids=repr)
def test_one_variable_is_a_vector_too(least_squares, method, x0):
    fun = Counted(well)
    res = least_squares(fun, x0, method=method)
    assert {x.shape for x in fun.seen} == {(1,)} and res.x.shape == (1,) and res.jac.shape == (1, 1)
    np.testing.assert_allclose(res.x, 0.0, atol=1e-4)


@both
@every_method
@pytest.mark.parametrize("x0", [np.ones((2, 2)), np.ones((1, 1)), 2 + 0j, [1.0, 2 + 0j], [np.nan, 1.0],
                                [np.inf, 1.0], "a"], ids=repr)  # fmt: skip
def test_starts_that_are_none_are_refused(least_squares, method, x0):
    with pytest.raises(ValueError), warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        least_squares(lambda x: x - 1.0, x0, method=method)


@both
@every_method
@every_jac
def test_args_and_kwargs_reach_fun_and_jac(least_squares, method, jac):
    jac = well_jac if jac == "callable" else jac
    for given in ({"args": (3.0,)}, {"args": [3.0]}, {"kwargs": {"centre": 3.0}},
                  {"args": (3.0,), "kwargs": {"depth": 2.0}}, {"args": np.array([3.0, 2.0])}):  # fmt: skip
        res = least_squares(well, 2.0, jac, method=method, **given)
        np.testing.assert_allclose(res.x, 3.0, atol=1e-4)


@both
@every_method
def test_arguments_that_fun_does_not_take_are_its_own_error(least_squares, method):
    for given in ({"args": (3.0, 4.0, 5.0)}, {"kwargs": {"height": 3.0}}):
        with pytest.raises(TypeError):
            least_squares(well, 2.0, method=method, **given)
    with pytest.raises(TypeError):
        least_squares(well, 2.0, method=method, options={"max_nfev": 100})


# What fun and jac may do and return


@both
@every_method
def test_forms_of_residuals(least_squares, method):
    for fun, n in (
        (lambda x: [x[0] - 1.0, x[1] - 1.0], 2),
        (lambda x: tuple(x - 1.0), 2),
        (lambda x: x[0] - 1.0, 1),
        (lambda x: float(x[0] - 1.0), 1),
        (lambda x: np.array(x[0] - 1.0), 1),
    ):
        res = least_squares(fun, np.zeros(n), method=method)
        assert isinstance(res.fun, np.ndarray) and res.fun.shape == (n,)
        np.testing.assert_allclose(res.x, 1.0, atol=1e-7)


@both
@every_method
def test_forms_of_jacobians(least_squares, method):
    for jac in (lambda x: valley_jac(x).tolist(), lambda x: np.asfortranarray(valley_jac(x))):
        np.testing.assert_allclose(least_squares(valley, START, jac, method=method).x, 1.0, atol=1e-6)
    for jac in (lambda x: np.sinh(x), lambda x: [np.sinh(x[0])], lambda x: np.sinh(x[0])):
        np.testing.assert_allclose(least_squares(well, 2.0, jac, method=method).x, 0.0, atol=1e-4)


@both
@bounded_method
def test_a_jacobian_may_be_sparse(least_squares, method):
    res = least_squares(valley, START, lambda x: csr_array(valley_jac(x)), method=method)
    assert res.success and res.jac.shape == (2, 2)
    np.testing.assert_allclose(res.x, 1.0, atol=1e-6)


@both
@every_method
def test_shapes_that_do_not_fit_are_refused(least_squares, method):
    with pytest.raises(ValueError, match="1"):
        least_squares(lambda x: np.array([x, x**2]), [2.0, 3.0], method=method)
    for jac in (lambda x: np.ones((3, 2)), lambda x: np.ones((2, 3)), lambda x: np.ones(2)):
        with pytest.raises(ValueError, match=r"wrong shape: expected \(2, 2\), actual"):
            least_squares(valley, START, jac, method=method)
    with pytest.raises(ValueError):
        least_squares(well, 2.0, lambda x: np.atleast_3d(well_jac(x)), method=method)


@both
@every_method
def test_residuals_that_are_not_finite_at_the_start_are_refused(least_squares, method):
    for bad in (np.nan, np.inf):
        with pytest.raises(ValueError, match="Residuals are not finite in the initial point"):
            least_squares(lambda x, bad=bad: x * bad, [2.0, 3.0], lambda x: np.eye(2), method=method)


@both
@bounded_method
def test_residuals_that_are_not_finite_later_are_too_far(least_squares, method):
    def fun(x):
        with np.errstate(all="ignore"):
            return np.array([np.log(x[0]), 0.1 * x[0] - 0.2])

    res = least_squares(fun, 30.0, method=method)
    assert res.success and np.isfinite(res.fun).all()
    np.testing.assert_allclose(res.grad, 0.0, atol=1e-5)


@both
@every_method
def test_a_function_may_write_to_its_argument(least_squares, method):
    def fun(x):
        r = fall(x)
        x[...] = np.nan
        return r

    def jac(x):
        J = fall_jac(x)
        x *= 1e300
        return J

    clean = least_squares(fall, [1.0, 1.0], fall_jac, method=method)
    res = least_squares(fun, [1.0, 1.0], jac, method=method)
    np.testing.assert_array_equal(res.x, clean.x)
    assert res.nfev == clean.nfev


@both
@every_method
def test_what_a_function_raises_is_what_the_caller_gets(least_squares, method):
    class MyError(Exception):
        pass

    def fail(*args):
        raise MyError("mine")

    with pytest.raises(MyError, match="mine"):
        least_squares(fail, START, method=method)
    with pytest.raises(MyError, match="mine"):
        least_squares(valley, START, fail, method=method)
    if method != "lm":
        with pytest.raises(MyError, match="mine"):
            least_squares(valley, START, loss=fail, method=method)


@both
@every_method
@pytest.mark.parametrize("jac", ["2-point", "3-point"])
@pytest.mark.parametrize("x0", [[1.0, 1.0], [0.0, 0.0]], ids=str)
def test_steps_are_long_enough_for_residuals_in_float32(least_squares, method, jac, x0):
    def fun(x):
        return np.float32(fall(x))

    res = least_squares(fun, x0, jac, method=method)
    np.testing.assert_allclose(res.x, least_squares(fall, [1.0, 1.0], fall_jac).x, atol=2e-3)
    assert res.nfev > 2
