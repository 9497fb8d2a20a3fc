"""scipy as the judge: least_squares() with bounds, and on degenerate problems; asked of scipy and of ours."""

import itertools

import numpy as np
import pytest
from contract_problems import (
    BOXES,
    JACS,
    Counted,
    both,
    bounded_method,
    every_jac,
    every_method,
    valley,
    valley_jac,
    well,
    well_jac,
)
from scipy.optimize import Bounds

FORMS = {
    "numbers": (1.5, 4.0),
    "list of numbers": [1.5, 4.0],
    "arrays": ([1.5, 1.5], [4.0, 4.0]),
    "number below": (1.5, [4.0, 5.0]),
    "number above": ([1.5, 1.5], np.inf),
    "rows": np.array([[1.5, 1.5], [4.0, 5.0]]),
    "integers": (np.array([1, 1]) + 0.5, np.array([4, 5])),
    "Bounds": Bounds([1.5, 1.5], [4.0, 4.0]),
    "Bounds, number above": Bounds([1.5, 1.5], 4.0),
    "Bounds, lower alone": Bounds([1.5, 1.5]),
}


@both
@bounded_method
@pytest.mark.parametrize("form", FORMS)
def test_forms_of_bounds(least_squares, method, form):
    for jac in JACS:
        fun = Counted(lambda x: x)
        given = (lambda x: np.eye(2)) if jac == "callable" else jac
        res = least_squares(fun, [2.0, 3.0], given, bounds=FORMS[form], method=method)
        assert res.success
        np.testing.assert_allclose(res.x, 1.5, atol=1e-5)
        np.testing.assert_array_equal(res.active_mask, [-1, -1])
        assert (np.array(fun.seen).real >= 1.5).all()


@both
@bounded_method
@every_jac
def test_bounds_that_do_not_matter_change_nothing(least_squares, method, jac):
    jac = well_jac if jac == "callable" else jac
    for bounds in ((-3.0, 3.0), (-np.inf, 3.0), (-3.0, np.inf), Bounds(), Bounds(ub=[3.0])):
        res = least_squares(well, 2.0, jac, bounds=bounds, method=method)
        np.testing.assert_allclose(res.x, 0.0, atol=1e-4)
        np.testing.assert_array_equal(res.active_mask, [0])


@both
@every_method
@pytest.mark.parametrize("bounds", [(10.0, 0.0), (3.0, 4.0), (1.0, 2.0, 3.0), (1.0,), (0.0, [2.0, 3.0]),
                                    (2.0, 2.0), Bounds(3.0, 4.0), (np.inf, -np.inf), (np.nan, 3.0)],
                         ids=str)  # fmt: skip
def test_bounds_that_are_wrong_are_refused(least_squares, method, bounds):
    with pytest.raises(ValueError, match=r"(?i)bound"):
        least_squares(well, 2.0, bounds=bounds, method=method)


@both
@bounded_method
def test_a_list_of_one_bound_does_not_hold_for_two(least_squares, method):
    for bounds in (([0.0], [3.0, 4.0]), ([0.0], [3.0]), ([0.0] * 3, [3.0] * 3)):
        with pytest.raises(ValueError, match="Inconsistent shapes between bounds and"):
            least_squares(valley, [1.0, 2.0], bounds=bounds, method=method)


@both
def test_lm_has_no_bounds(least_squares):
    for bounds in ((-3.0, 3.0), (-np.inf, 3.0), Bounds([-3.0], [np.inf])):
        with pytest.raises(ValueError, match="doesn't support bounds"):
            least_squares(well, 2.0, bounds=bounds, method="lm")
    assert least_squares(well, 2.0, bounds=(-np.inf, np.inf), method="lm").success


@both
@bounded_method
@every_jac
def test_solutions_at_bounds(least_squares, method, jac):
    for x_scale in (1.0, [1.0, 0.5], "jac"):
        for x0, bounds, best in BOXES:
            given = valley_jac if jac == "callable" else jac
            res = least_squares(valley, x0, given, bounds, x_scale=x_scale, method=method)
            assert res.success and res.optimality < 1e-5
            np.testing.assert_allclose(res.x, best, atol=2e-3)
            assert ((res.x >= bounds[0]) & (res.x <= bounds[1])).all()


@both
@bounded_method
@pytest.mark.parametrize("jac", ["2-point", "3-point"])
def test_no_point_beyond_the_bounds_is_evaluated(least_squares, method, jac):
    lower, upper = np.array([-1.5, -1e-10]), np.array([0.5, 1e-10])
    fun = Counted(lambda x: np.append(valley(x), np.sqrt(0.5 - x[0])))
    res = least_squares(fun, [0.3, 0.0], jac, (lower, upper), method=method)
    seen = np.array(fun.seen)
    assert ((seen >= lower - 1e-24) & (seen <= upper + 1e-24)).all() and np.isfinite(res.fun).all()


@both
def test_a_start_on_a_bound_is_no_trap(least_squares):
    t = np.linspace(0.0, 8.0, 40)

    def growth(x):
        return x[0] * np.exp(x[1] * (t - x[2])) - 0.3 * np.exp(0.7 * t) - 0.2 * np.sin(9.0 * t)

    res = least_squares(growth, [0.01, 1.0, 5.0], bounds=([0.01, 0.0, 0.0], [np.inf, 10.0, 20.0]))
    assert res.success and res.x[0] >= 0.01
    np.testing.assert_allclose(res.x[1], 0.7, rtol=0.01)


@both
@bounded_method
def test_a_tiny_variable_beside_its_bound(least_squares, method):
    res = least_squares(lambda x: (x - 1e-12) ** 2, 1.1e-12, gtol=1e-15, bounds=(0.0, np.inf), method=method)
    assert res.status == 1 and res.x >= 0.0 and np.abs(res.grad) < 1e-15


# Degenerate and larger problems


@both
@every_method
def test_a_solution_that_is_the_start(least_squares, method):
    res = least_squares(lambda x: np.array([x[0] - 1.0, 3.0 * (x[1] - 1.0), 0.0]), [1.0, 1.0], method=method)
    assert res.success and res.status == 1 and res.cost == 0.0 and res.nfev <= 2
    np.testing.assert_array_equal(res.x, [1.0, 1.0])


@both
@every_method
def test_residuals_that_never_change(least_squares, method):
    res = least_squares(lambda x: np.ones(3), [1.0, 2.0], method=method)
    assert res.success and res.cost == 1.5
    np.testing.assert_array_equal(res.x, [1.0, 2.0])
    np.testing.assert_array_equal(res.grad, [0.0, 0.0])


@both
@every_method
@pytest.mark.parametrize("jac", ["2-point", "callable"])
def test_a_jacobian_without_full_rank(least_squares, method, jac):
    def fun(x):
        s = x[0] + x[1]
        return np.array([s - 1.0, 2.0 * s - 3.0, s**2])

    def jac_of(x):
        s = x[0] + x[1]
        return np.array([[1.0, 1.0], [2.0, 2.0], [2.0 * s, 2.0 * s]])

    res = least_squares(fun, [0.5, 0.1], jac_of if jac == "callable" else jac, method=method)
    assert res.success
    np.testing.assert_allclose(2 * res.x.sum() ** 3 + 5 * res.x.sum() - 7.0, 0.0, atol=1e-4)
    assert np.abs(res.x).max() < 1e3


@both
@every_method
def test_a_variable_that_does_nothing(least_squares, method):
    res = least_squares(lambda x: np.array([x[0] - 1.0, 2.0 * x[0]]), [0.0, 3.0], method=method)
    assert res.success
    np.testing.assert_allclose(res.x, [0.2, 3.0], atol=1e-4)


@both
@every_jac
def test_fewer_residuals_than_variables(least_squares, jac):
    jac = (lambda x: valley_jac(x)[0]) if jac == "callable" else jac
    for method, x_scale in itertools.product(("trf", "dogbox"), (1.0, [1.0, 0.3], "jac")):
        res = least_squares(lambda x: valley(x)[0], [-2.0, 1.0], jac, x_scale=x_scale, method=method)
        assert res.jac.shape == (1, 2)
        np.testing.assert_allclose(res.cost, 0.0, atol=1e-12)
    with pytest.raises(ValueError, match="'lm' doesn't work when the number of residuals"):
        least_squares(lambda x: valley(x)[0], [-2.0, 1.0], method="lm")


def chain(x):
    """Return a system whose equations each hold three neighbours."""
    r = (3.0 - 2.0 * x) * x + 1.0
    r[1:] -= x[:-1]
    r[:-1] -= 2.0 * x[1:]
    return r


def chain_jac(x):
    n = x.size
    return np.diag(3.0 - 4.0 * x) - np.eye(n, k=-1) - 2.0 * np.eye(n, k=1)


@both
@every_method
@every_jac
def test_a_system_of_many_equations(least_squares, method, jac):
    jac = chain_jac if jac == "callable" else jac
    x0 = -np.ones(20)
    res = least_squares(chain, x0, jac, method=method)
    assert res.success and res.nfev < 15
    np.testing.assert_allclose(res.cost, 0.0, atol=1e-15)
    if method != "lm":
        box = least_squares(chain, x0, jac, (np.linspace(-1.5, -1.2, 20), -0.5), method=method)
        assert box.success and box.optimality < 1e-5 and (box.x <= -0.5).all()


@both
@every_method
def test_a_loose_tolerance_on_a_large_problem_ends_soon(least_squares, method):
    n = 6

    def membrane(x):
        u = np.zeros((n + 2, n + 2))
        u[1:-1, 1:-1] = x.reshape(n, n)
        v = u[1:-1, 1:-1]
        return (u[:-2, 1:-1] + u[2:, 1:-1] + u[1:-1, :-2] + u[1:-1, 2:] - 4.0 * v + v**3 - 0.2).ravel()

    res = least_squares(membrane, np.ones(n * n), ftol=1e-2, method=method, max_nfev=100)
    assert res.success and res.nfev < 60 and res.cost < 0.5
