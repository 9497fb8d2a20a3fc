"""scipy as the judge: least_squares(), its methods, tolerances, callbacks and losses; asked of both."""

import warnings

import numpy as np
import pytest
from contract_problems import (
    EPS,
    JACS,
    START,
    Counted,
    T,
    Y,
    both,
    bounded_method,
    every_jac,
    every_loss,
    every_method,
    fall,
    fall_jac,
    hump,
    valley,
    valley_jac,
    well,
    well_jac,
)
from scipy.optimize import OptimizeResult


@both
def test_the_method_may_be_left_out(least_squares):
    np.testing.assert_allclose(least_squares(valley, [2.0, 2.0]).x, 1.0, atol=1e-6)


@both
@pytest.mark.parametrize("given", [{"method": "LM"}, {"method": "bfgs"}, {"method": None}, {"jac": "4-point"},
                                   {"jac": True}, {"loss": "l1"}, {"loss": None}, {"verbose": 3},
                                   {"verbose": None}, {"verbose": -1}, {"tr_solver": "cg"},
                                   {"max_nfev": 0}, {"max_nfev": -5}], ids=str)  # fmt: skip
def test_what_is_no_choice_is_refused(least_squares, given):
    with pytest.raises(ValueError, match=next(iter(given))):
        least_squares(valley, START, **given)


@both
@every_method
@every_jac
def test_every_way_leads_to_the_solution(least_squares, method, jac):
    jac = valley_jac if jac == "callable" else jac
    for x_scale in (1.0, [1.0, 0.3], "jac"):
        res = least_squares(valley, [-2.0, 1.0], jac, method=method, x_scale=x_scale)
        assert res.success
        np.testing.assert_allclose(res.x, 1.0, atol=1e-6)


@both
@every_method
@pytest.mark.parametrize("x_scale", ["auto", -1.0, 0.0, np.inf, 1 + 2j, [1.0, 2.0], [[0.5]]], ids=str)
def test_scales_that_are_none_are_refused(least_squares, method, x_scale):
    with pytest.raises(ValueError, match="x_scale"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        least_squares(well, 2.0, method=method, x_scale=x_scale)


@both
@every_method
@pytest.mark.parametrize("jac, factor", [("2-point", 1.1), ("3-point", 1.1)])
@pytest.mark.parametrize("diff_step", [0.1, [0.1]], ids=str)
def test_the_step_of_differences_is_relative(least_squares, method, jac, factor, diff_step):
    fun = Counted(well)
    res = least_squares(fun, 2.0, jac, method=method, diff_step=diff_step)
    np.testing.assert_allclose(res.x, 0.0, atol=1e-4)
    assert np.isclose(np.array(fun.seen), 2.0 * factor, rtol=1e-12).any()
    assert np.isclose(np.array(fun.seen), 1.8, rtol=1e-12).any() == (jac == "3-point")


@both
@every_method
def test_the_usual_steps_are_powers_of_the_rounding_unit(least_squares, method):
    for jac, power in (("2-point", 1 / 2), ("3-point", 1 / 3)):
        for x0, size in ((2.0, 2.0), (0.25, 1.0), (-3.0, 3.0)):
            fun = Counted(well)
            least_squares(fun, x0, jac, method=method, max_nfev=1)
            steps = np.abs(np.array(fun.seen) - x0)
            assert np.isclose(steps, EPS**power * size, rtol=1e-6).any()


@both
@bounded_method
@pytest.mark.parametrize("tr_solver", [None, "exact", "lsmr"])
def test_solvers_of_the_trust_region_are_accepted(least_squares, method, tr_solver):
    options = {"maxiter": 50, "btol": 1e-12} if tr_solver == "lsmr" else {}
    res = least_squares(valley, START, valley_jac, method=method, tr_solver=tr_solver, tr_options=options)
    np.testing.assert_allclose(res.x, 1.0, atol=1e-6)


@both
@every_method
@pytest.mark.parametrize("workers", [None, 1, map], ids=str)
def test_workers_change_nothing(least_squares, method, workers):
    res = least_squares(fall, [1.0, 1.0], method=method, workers=workers)
    clean = least_squares(fall, [1.0, 1.0], method=method)
    np.testing.assert_array_equal(res.x, clean.x)
    assert (res.nfev, res.njev) == (clean.nfev, clean.njev)


# Tolerances and limits


@both
@bounded_method
@pytest.mark.parametrize("name, status", [("xtol", {3}), ("gtol", {1})])
def test_one_tolerance_is_enough(least_squares, method, name, status):
    only = dict.fromkeys(("ftol", "xtol", "gtol")) | {name: 1e-8}
    res = least_squares(fall, [1.0, 1.0], fall_jac, method=method, **only)
    assert res.status in status and res.success
    np.testing.assert_allclose(res.grad, 0.0, atol=1e-5)


@both
@every_method
@pytest.mark.parametrize("value", [None, 0.0, 1e-17])
def test_tolerances_may_not_all_be_off(least_squares, method, value):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        with pytest.raises(ValueError, match="tolerances must be higher than machine epsilon"):
            least_squares(valley, START, method=method, ftol=value, xtol=value, gtol=value)
        if method == "lm":
            for name in ("ftol", "xtol", "gtol"):
                with pytest.raises(ValueError, match="All tolerances must be higher"):
                    least_squares(valley, START, method=method, **{name: value})


@both
@bounded_method
@pytest.mark.parametrize("name", ["ftol", "xtol", "gtol"])
def test_a_tolerance_below_rounding_is_off_with_a_warning(least_squares, method, name):
    with pytest.warns(UserWarning, match=f"Setting `{name}` below the machine epsilon"):
        res = least_squares(fall, [1.0, 1.0], fall_jac, method=method, **{name: 1e-17})
    assert res.success


@both
@every_method
@pytest.mark.parametrize("name", ["ftol", "xtol", "gtol"])
def test_smaller_tolerances_take_longer_and_come_closer(least_squares, method, name):
    others = {"ftol", "xtol", "gtol"} - {name}
    off = dict.fromkeys(others, 3e-16 if method == "lm" else None)
    found = [least_squares(valley, START, valley_jac, method=method, **off, **{name: size})
             for size in (0.9, 1e-10)]  # fmt: skip
    assert found[0].nfev < found[1].nfev and found[0].cost > found[1].cost
    assert found[1].cost < 1e-12


@both
@bounded_method
@pytest.mark.parametrize("limit", [1, 2, 5, np.int64(5)])
def test_the_limit_of_evaluations_is_kept(least_squares, method, limit):
    fun = Counted(valley)
    res = least_squares(fun, START, valley_jac, method=method, max_nfev=limit)
    assert (res.nfev, len(fun.seen), res.status, res.success) == (limit, limit, 0, False)
    assert res.message == "The maximum number of function evaluations is exceeded."


@both
@every_method
def test_messages_go_with_the_status(least_squares, method):
    tight = {"ftol": 3e-16, "xtol": 3e-16, "gtol": 3e-16}
    words = {0: "maximum number", 1: "`gtol`", 2: "`ftol`", 3: "`xtol`", 4: "Both `ftol` and `xtol`"}
    for given, status in (
        ({"max_nfev": 2}, 0),
        (tight | {"gtol": 1e-2}, 1),
        (tight | {"ftol": 0.9}, 2),
        (tight | {"xtol": 1e-2}, 3),
        (tight | {"ftol": 1e-2, "xtol": 1e-2}, 4),
    ):
        res = least_squares(fall, [1.0, 1.0], fall_jac, method=method, **given)
        assert res.status == status and words[status] in res.message
        assert res.success == (status > 0)


# Printing and callbacks


@both
@bounded_method
def test_forms_of_verbose(least_squares, method, capsys):
    res = least_squares(fall, [1.0, 1.0], method=method, verbose=0)
    assert capsys.readouterr().out == ""
    least_squares(fall, [1.0, 1.0], method=method, verbose=1)
    report = capsys.readouterr().out.splitlines()
    assert report[0] == res.message and len(report) == 2
    for part in (f"Function evaluations {res.nfev}", f"final cost {res.cost:.4e}", "first-order optimality"):
        assert part in report[1]
    least_squares(fall, [1.0, 1.0], method=method, verbose=2)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:3] == ["Iteration", "Total", "nfev"] and "Cost reduction" in lines[0]
    assert len(lines) > 5 and lines[-2:] == report


@both
@bounded_method
@pytest.mark.parametrize("bounds", [(-np.inf, np.inf), (-9.0, 9.0)], ids=str)
def test_a_callback_sees_each_iterate(least_squares, method, bounds):
    plain, rich = [], []

    def watch(*, intermediate_result):
        rich.append(intermediate_result)

    res = least_squares(valley, START, method=method, bounds=bounds, callback=plain.append)
    least_squares(valley, START, method=method, bounds=bounds, callback=watch)
    assert len(plain) == len(rich) > 3
    np.testing.assert_array_equal(plain[-1], res.x)
    assert len({id(x) for x in plain}) == len(plain) and type(plain[0]) is np.ndarray
    for x, r in zip(plain, rich, strict=True):
        assert isinstance(r, OptimizeResult)
        np.testing.assert_array_equal(r.x, x)
        np.testing.assert_array_equal(r.fun, valley(x))
        np.testing.assert_allclose(r.cost, 0.5 * r.fun @ r.fun, rtol=1e-14)
    assert [r.nit for r in rich] == list(range(1, len(rich) + 1)) and rich[-1].nfev == res.nfev


@both
@bounded_method
def test_stop_iteration_is_status_minus_2(least_squares, method):
    seen = []

    def stop(x):
        seen.append(x)
        if len(seen) == 3:
            raise StopIteration

    res = least_squares(valley, START, method=method, callback=stop)
    assert (res.status, res.success, len(seen)) == (-2, False, 3)
    assert res.message.startswith("Stopped because `callback` function raised `StopIteration`")
    np.testing.assert_array_equal(res.x, seen[-1])
    np.testing.assert_array_equal(res.fun, valley(res.x))


@both
@bounded_method
def test_what_a_callback_returns_or_does_to_x_changes_nothing(least_squares, method):
    def spoil(x):
        x[...] = np.nan
        return True

    res, clean = (least_squares(valley, START, method=method, callback=c) for c in (spoil, None))
    np.testing.assert_array_equal(res.x, clean.x)
    assert res.success


@both
def test_lm_has_no_callback_and_says_so(least_squares):
    with pytest.warns(UserWarning, match="Callback function specified, but not supported with `lm` method."):
        assert least_squares(valley, START, method="lm", callback=pytest.fail).success


# Losses


@both
@bounded_method
@every_loss
def test_every_loss_finds_the_middle(least_squares, method, loss):
    res = least_squares(well, 1.0, loss=loss, method=method)
    np.testing.assert_allclose(res.x, 0.0, atol=1e-4)
    np.testing.assert_array_equal(res.fun, well(res.x))  # without the loss


def rho(loss, z):
    """Return a loss and its derivatives, by its formula."""
    t = 1.0 + z
    return {
        "linear": (z, 1.0, 0.0),
        "soft_l1": (2.0 * (t**0.5 - 1.0), t**-0.5, -0.5 * t**-1.5),
        "huber": (z, 1.0, 0.0) if z <= 1.0 else (2.0 * z**0.5 - 1.0, z**-0.5, -0.5 * z**-1.5),
        "cauchy": (np.log(t), 1.0 / t, -(t**-2.0)),
        "arctan": (np.arctan(z), 1.0 / (1.0 + z * z), -2.0 * z / (1.0 + z * z) ** 2),
    }.get(loss, hump(z) if callable(loss) else None)


@both
@bounded_method
@every_loss
def test_cost_gradient_and_jacobian_are_those_of_the_loss(least_squares, method, loss):
    x = 2.0
    f, slope = np.cosh(x), np.sinh(x)
    for f_scale in (1.0, 0.5, 30.0):
        res = least_squares(well, x, well_jac, loss=loss, f_scale=f_scale, max_nfev=1, method=method)
        value, first, second = rho(loss, (f / f_scale) ** 2)
        np.testing.assert_allclose(res.cost, 0.5 * f_scale**2 * value, rtol=1e-13)
        np.testing.assert_allclose(res.grad, first * f * slope, rtol=1e-12)
        curvature = max(first + 2.0 * second * (f / f_scale) ** 2, EPS)
        np.testing.assert_allclose(res.jac, slope * curvature**0.5, rtol=1e-9)
        np.testing.assert_array_equal(res.fun, f)


@both
@bounded_method
@every_loss
def test_a_robust_loss_is_less_drawn_by_outliers(least_squares, method, loss):
    y = Y.copy()
    y[[5, 14, 20]] += 1.5
    for jac in JACS:
        given = fall_jac if jac == "callable" else jac
        plain = least_squares(fall, [1.0, 1.0], given, args=(T, y), method=method)
        res = least_squares(fall, [2.0, 1.0], given, args=(T, y), loss=loss, f_scale=0.1, method=method)
        assert plain.success and res.success and res.optimality < 1e-3
        if loss != "linear":
            true = np.array([2.0, 0.8])
            assert np.linalg.norm(res.x - true) < 0.5 * np.linalg.norm(plain.x - true)


@both
@bounded_method
def test_a_loss_of_the_wrong_shape_is_refused(least_squares, method):
    with pytest.raises((ValueError, IndexError)):
        least_squares(fall, [1.0, 1.0], loss=lambda z: np.array([z, np.ones_like(z)]), method=method)


@both
def test_lm_takes_the_linear_loss_alone(least_squares):
    assert least_squares(valley, START, method="lm", loss="linear").success
    for loss in ("huber", hump):
        with pytest.raises(ValueError, match="supports only 'linear' loss"):
            least_squares(valley, START, method="lm", loss=loss)
