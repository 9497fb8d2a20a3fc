"""Handles: what a call says goes before what the handle says; the block; many bounded solves."""

import numpy as np
import pytest
from bounded_problems import PROBLEMS
from classic_problems import rosenbrock
from numba import njit
from scipy.optimize import Bounds

import nbopt
from nbopt.solvers import handle as module
from nbopt.solvers import lbfgs
from nbopt.solvers.handle import Handle, block_of
from nbopt.solvers.options import DEFAULTS


def test_what_a_call_says_goes_before():
    handle = Handle(rosenbrock, (True, None, 1e-3, {"maxiter": 3}))
    assert handle.given(None, None, None, None) == (rosenbrock, True, None, 1e-3, {"maxiter": 3})
    assert handle.given("dual", [(0, 1)], 0.0, {}) == (rosenbrock, "dual", [(0, 1)], 0.0, {})


def test_the_block():
    block = block_of((11, 12, 13), DEFAULTS, (1, 1), None, 0)
    assert block[:6].tolist() == [11, 12, 13, 0, 1, 1]
    assert block.view(np.float64)[module.GTOL] == DEFAULTS.gtol
    assert block[module.ROWS] == lbfgs.Workspace.rows_of_vectors
    assert block[module.BOUNDS] == block[module.MORE_WORK] == block[module.MORE_COUNTS] == 0


@njit
def solved(handle, x0):
    return nbopt.minimize(handle, x0)


@njit
def solved_with(handle, x0, args):
    return nbopt.minimize(handle, x0, args)


@pytest.mark.parametrize("name", ["HS4", "HS45", "wood", "trigonometric", "box 50, condition 1e4"])
def test_bounded_solves_are_those_of_minimize(name):
    fun, x0, lower, upper, args = PROBLEMS[name]
    given = {"jac": True, "bounds": Bounds(lower, upper)}
    handle = nbopt.compile(fun, args, n=x0.size, **given)
    res = solved_with(handle, x0, args) if args else solved(handle, x0)
    expected = nbopt.minimize(fun, x0, args, **given)
    for field in res._fields:
        np.testing.assert_array_equal(getattr(res, field), expected[field], err_msg=field)
