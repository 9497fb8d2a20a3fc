"""What least_squares() does unlike scipy's, on purpose: the rows of .github/DIFFERENCES_FROM_SCIPY.md."""

import numpy as np
import pytest
from contract_problems import (
    BOXES,
    OURS,
    START,
    THEIRS,
    Counted,
    fall,
    hump,
    valley,
    valley_jac,
    well,
    well_jac,
)
from scipy.optimize import Bounds
from scipy.sparse import csr_array
from scipy.sparse.linalg import aslinearoperator


def test_trf_and_dogbox_are_the_same_here():
    for x0, bounds, _ in BOXES:
        trf, dogbox = (OURS(valley, x0, bounds=bounds, method=m) for m in ("trf", "dogbox"))
        np.testing.assert_array_equal(trf.x, dogbox.x)
        assert (trf.nfev, trf.njev) == (dogbox.nfev, dogbox.njev)
    assert THEIRS(valley, START).nfev != THEIRS(valley, START, method="dogbox").nfev


def test_the_result_says_more():
    res = OURS(valley, START)
    assert res.jac_method == "2-point" and res.nit <= res.njev
    assert OURS(valley, START, "3-point").jac_method == "3-point"
    assert OURS(valley, START, valley_jac).jac_method == "user"
    assert isinstance(OURS(valley, START, method="lm").njev, int)


def test_a_start_on_a_bound_stays_there():
    seen = {}
    for least_squares in (THEIRS, OURS):
        fun = seen[least_squares] = Counted(valley)
        least_squares(fun, [-1.2, 1.0], valley_jac, (-1.2, 1.0))
    assert not (seen[THEIRS].seen[0] == START).all()
    np.testing.assert_array_equal(seen[OURS].seen[0], START)


def test_a_solution_lies_exactly_on_its_bound():
    given = {"x0": [2.0, 3.0], "bounds": (1.5, 9.0)}
    assert (THEIRS(lambda x: x, **given).x > 1.5).all()
    np.testing.assert_array_equal(OURS(lambda x: x, **given).x, [1.5, 1.5])


def test_numbers_in_a_bounds_object_hold_for_all_variables():
    with pytest.raises(ValueError, match="Inconsistent shapes"):
        THEIRS(valley, [2.0, 2.0], bounds=Bounds(0.0, 3.0))
    assert OURS(valley, [2.0, 2.0], bounds=Bounds(0.0, 3.0)).success


def test_lm_keeps_the_limit_of_evaluations():
    assert THEIRS(well, 2.0, well_jac, method="lm", max_nfev=1).nfev == 2
    assert OURS(well, 2.0, well_jac, method="lm", max_nfev=1).nfev == 1


def test_ftol_alone_ends_a_run_that_reached_zero():
    only = {"xtol": None, "gtol": None, "ftol": 1e-8}
    assert THEIRS(valley, START, valley_jac, **only).status == 0
    res = OURS(valley, START, valley_jac, **only)
    assert (res.status, res.cost) == (2, 0.0)


def test_derivatives_may_be_left_to_us():
    for jac in (None, "auto"):
        assert OURS(valley, START, jac).jac_method == "2-point"
        with pytest.raises(ValueError, match="jac"):
            THEIRS(valley, START, jac)


def test_what_is_not_finite_at_the_start_is_named():
    with pytest.raises(ValueError, match="residual 1 is nan"):
        OURS(lambda x: np.array([1.0, np.nan]), 1.0)
    with pytest.raises(ValueError, match="the derivative of residual 1 by variable 0 is nan"):
        OURS(valley, START, lambda x: np.array([[1.0, 1.0], [np.nan, 1.0]]))
    with pytest.raises(ValueError, match="their sum of squares overflows"):
        OURS(lambda x: 1e200 * x, 1.0)


@pytest.mark.parametrize(
    "given, words",
    [
        ({"ftol": -1.0}, "ftol=-1.0 must be a number"),
        ({"xtol": np.nan}, "xtol=nan must be a number"),
        ({"gtol": "small"}, "gtol='small' must be a number"),
        ({"f_scale": 0.0}, "f_scale=0.0 must be a number"),
        ({"f_scale": None}, "f_scale=None must be a number"),
        ({"f_scale": np.ones(2)}, r"f_scale=array.* must be a number"),
        ({"max_nfev": True}, "max_nfev=True must be None or positive"),
        ({"max_nfev": np.nan}, "max_nfev=nan must be None or positive"),
        ({"max_nfev": "many"}, "max_nfev='many' must be None or positive"),
        ({"diff_step": np.nan}, "diff_step=nan must be a finite number"),
        ({"diff_step": [0.1, 0.1, 0.1]}, r"diff_step=.* or one for each of the 2 variables"),
        ({"x0": []}, "x0 is empty"),
        ({"x0": ["1", "2"]}, "x0 has dtype <U1; it must be real numbers"),
        ({"bounds": {-5.0, 5.0}}, "bounds must contain 2 elements"),
    ],
    ids=str,
)
def test_options_out_of_their_range_are_errors(given, words):
    with pytest.raises(ValueError, match=f"least_squares: {words}"):
        OURS(**{"fun": valley, "x0": START, **given})


@pytest.mark.parametrize(
    "result, error, words",
    [
        (None, TypeError, "fun returned None; it must return real numbers"),
        (np.array([1.0 + 0j]), TypeError, "fun returned complex128"),
        (np.array(["a"]), TypeError, "fun returned <U1"),
        (np.array([]), ValueError, "fun returned no residuals"),
    ],
    ids=repr,
)
def test_residuals_that_are_no_real_numbers_are_errors(result, error, words):
    with pytest.raises(error, match=f"least_squares: {words}"):
        OURS(lambda x: result, 1.0)
    np.testing.assert_allclose(OURS(lambda x: np.array([x[0] - 1.0], object), 2.0).x, 1.0)


def test_residuals_that_change_their_number_are_an_error():
    with pytest.raises(ValueError, match=r"fun returned shape \(1,\), but \(2,\) at x0"):
        OURS(lambda x: x if x[0] == 2.0 else x[:1], [2.0, 3.0])


def test_what_is_for_large_sparse_problems_is_not_here():
    with pytest.raises(ValueError, match="jac_sparsity is not supported"):
        OURS(valley, START, jac_sparsity=np.eye(2))
    with pytest.raises(ValueError, match="jac returned a LinearOperator; it must return an array"):
        OURS(valley, START, lambda x: aslinearoperator(valley_jac(x)))
    assert type(OURS(valley, START, lambda x: csr_array(valley_jac(x))).jac) is np.ndarray
    clean = OURS(valley, START)
    for unused in ({"tr_solver": "lsmr"}, {"tr_options": {"anything": 1}}, {"workers": "any"}):
        np.testing.assert_array_equal(OURS(valley, START, **unused).x, clean.x)


def test_one_argument_needs_no_tuple():
    np.testing.assert_allclose(OURS(well, 2.0, args=3.0).x, 3.0, atol=1e-4)
    with pytest.raises(TypeError):
        THEIRS(well, 2.0, args=3.0)


def test_a_loss_may_return_a_list():
    res = OURS(fall, [1.0, 1.0], loss=lambda z: list(hump(z)))
    np.testing.assert_array_equal(res.x, OURS(fall, [1.0, 1.0], loss=hump).x)


def test_iterations_are_printed_for_lm_too(capsys):
    res = OURS(fall, [1.0, 1.0], method="lm", verbose=2)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == res.nit + 3 and "Optimality" not in lines[0]
