"""Options: scipy's names and defaults, ranges, warnings."""

import inspect

import numpy as np
import pytest
from scipy.optimize import OptimizeWarning
from scipy.optimize._lbfgsb_py import _minimize_lbfgsb

from nbopt import minimize
from nbopt.solvers.options import DEFAULTS, Options, read_options


def test_the_defaults_are_those_of_l_bfgs_b():
    scipys = inspect.signature(_minimize_lbfgsb).parameters
    for name in ("maxcor", "ftol", "gtol", "eps", "maxfun", "maxiter", "maxls", "finite_diff_rel_step"):
        assert getattr(DEFAULTS, name) == scipys[name].default
    assert read_options(None, None) == read_options({}, None) == DEFAULTS
    assert read_options({"maxiter": None, "ftol": None}, None) == DEFAULTS


def test_tol_sets_both_tolerances_but_options_go_first():
    assert read_options(None, 1e-3)[1:3] == (1e-3, 1e-3)
    assert read_options({"gtol": 1e-7}, 1e-3)[1:3] == (1e-3, 1e-7)


def test_counts_may_be_floats_or_endless():
    read = read_options({"maxiter": 1e4, "maxfun": np.inf, "maxcor": np.int32(5), "maxls": 7}, None)
    assert (read.maxiter, read.maxcor, read.maxls) == (10000, 5, 7)
    assert read.maxfun >= 2**60
    assert all(type(v) is int for v in (read.maxiter, read.maxfun, read.maxcor))


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"maxcor": 0}, r"maxcor=0 must be an integer in \[1, inf\)"),
        ({"maxcor": np.inf}, "maxcor=inf"),
        ({"maxcor": True}, "maxcor=True"),
        ({"maxls": 0}, "maxls=0"),
        ({"maxiter": -1}, r"maxiter=-1 must be an integer in \[0, inf\)"),
        ({"maxiter": 2.5}, "maxiter=2.5"),
        ({"maxiter": np.nan}, "maxiter=nan"),
        ({"maxfun": "many"}, "maxfun='many'"),
        ({"ftol": -1e-3}, r"ftol=-0.001 must be a number in \[0, inf\)"),
        ({"gtol": np.nan}, "gtol=nan"),
        ({"gtol": "small"}, "gtol='small'"),
    ],
)
def test_out_of_range(options, match):
    with pytest.raises(ValueError, match=f"minimize: {match}"):
        read_options(options, None)
    with pytest.raises(ValueError, match="tol=-1"):
        read_options(None, -1)


def test_unknown_options_warn():
    with pytest.warns(OptimizeWarning, match="Unknown solver options: gtoll, iprint"):
        assert read_options({"gtoll": 1.0, "iprint": 3, "gtol": 0.5}, None) == Options(gtol=0.5)


@pytest.mark.parametrize(
    ("method", "options", "hint"),
    [
        ("lbfgs", {"max_iter": 5}, r"max_iter; did you mean 'maxiter'\?$"),
        ("lbfgs", {"maxiters": 5, "lr": 1}, r"maxiters, lr; did you mean 'maxiter'\?$"),
        ("lbfgs", {"lr": 1}, "lr; known are maxcor, ftol, gtol, .*, progress$"),
        ("adam", {"beta": (0.9, 0.99), "LR": 1}, r"beta, LR; did you mean 'betas', 'lr'\?$"),
        ("adam", {"learning_rate": 1}, "learning_rate; known are lr, betas, .*, clip_grad_norm, "),
        ("adam", {"optimizer": None}, "optimizer; known are"),  # a field, but none of the user's
    ],
)
def test_what_an_unknown_option_may_have_meant_is_said(method, options, hint):
    with pytest.warns(OptimizeWarning, match="Unknown solver options: " + hint):
        minimize(lambda x: x @ x, [1.0], method=method, options=options)


@pytest.mark.parametrize("method", ["lbfgs", "adam"])
def test_options_that_are_no_dict_are_refused(method):
    with pytest.raises(TypeError, match="minimize: options=5 must be a dict"):
        minimize(lambda x: x @ x, [1.0], method=method, options=5)
