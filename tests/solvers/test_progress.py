"""The progress bar: nothing on short solves; iteration, f and |g| on long ones; an error without tqdm."""

import sys

import numpy as np
import pytest
from classic_problems import rosenbrock

from nbopt.solvers import progress
from nbopt.solvers.minimize import minimize

START = np.array([-1.2, 1.0])
ASKED = {"progress": True}


def test_it_needs_tqdm_and_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    with pytest.raises(ImportError, match=r"minimize: .*needs the package tqdm: pip install tqdm"):
        minimize(rosenbrock, START, jac=True, options=ASKED)
    assert minimize(rosenbrock, START, jac=True).success  # without it nothing is imported


def test_a_short_solve_shows_nothing(capfd):
    pytest.importorskip("tqdm", reason="tqdm is not installed: the progress bar was not run")
    res, plain = (minimize(rosenbrock, START, jac=True, options=o) for o in (ASKED, {}))
    assert capfd.readouterr() == ("", "")
    np.testing.assert_array_equal(res.x, plain.x)
    assert res.nfev == plain.nfev


@pytest.mark.parametrize("fun", [rosenbrock, lambda x: rosenbrock(x)], ids=["compiled", "python"])
def test_a_long_solve_shows_where_it_is(monkeypatch, capfd, fun):
    pytest.importorskip("tqdm", reason="tqdm is not installed: the progress bar was not run")
    monkeypatch.setattr(progress, "DELAY", 0.0)
    monkeypatch.setattr(progress, "SECONDS", 0.0)
    res = minimize(fun, np.tile(START, 20), jac=True, options=ASKED)
    shown = capfd.readouterr().err.split("\r")
    assert f"{res.nit}it" in shown[-1] and "it/s" in shown[-1]
    assert f"f={res.fun:.8g}, |g|={np.abs(res.jac).max():.2e}" in shown[-1]
    assert len(shown) > 3


def test_optimizers_say_how_far_they_are(monkeypatch, capfd):
    pytest.importorskip("tqdm", reason="tqdm is not installed: the progress bar was not run")
    monkeypatch.setattr(progress, "DELAY", 0.0)
    minimize(rosenbrock, START, jac=True, method="sgd", options={**ASKED, "lr": 1e-4, "maxiter": 700})
    assert "700/700" in capfd.readouterr().err


def test_the_bar_is_closed_when_something_is_raised(monkeypatch):
    pytest.importorskip("tqdm", reason="tqdm is not installed: the progress bar was not run")
    closed = []
    monkeypatch.setattr(progress.Progress, "close", lambda self: closed.append(self))

    def broken(x):
        raise LookupError("fun")

    with pytest.raises(LookupError, match="fun"):
        minimize(broken, START, jac=True, options=ASKED)
    assert len(closed) == 1
