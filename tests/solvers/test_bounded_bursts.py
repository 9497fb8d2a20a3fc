"""Bursts with differences within bounds: the same run as through Python, whatever their length."""

import numpy as np
import pytest
from numba import njit

from nbopt.autodiff.bounded_differences import BoundedDifferences
from nbopt.autodiff.finite_differences import Differences
from nbopt.solvers import lbfgs, lbfgsb
from nbopt.solvers.bounded_bursts import burst_within
from nbopt.solvers.bursts import EVALUATE, STOP, Bursts
from nbopt.solvers.engines import lbfgsb_engine
from nbopt.solvers.objective import PythonCalls, objective
from nbopt.solvers.options import DEFAULTS

LOWER, UPPER = np.array([-2.0, 0.5, 1.0]), np.array([0.25, np.inf, 1.0])


@njit
def bowl(x):
    f = (x[0] - 1.0) ** 2 + 3.0 * (x[1] + 2.0) ** 4 + x[2]
    x[:] = 0.0  # what it gets is its own
    return f


def run(calls, ways):
    w, task = (
        lbfgsb.Workspace(np.array([-1.0, 2.0, 1.0]), DEFAULTS, 1 + ways.evaluations, False, LOWER, UPPER),
        0,
    )
    while task != STOP:
        task = calls.run(lbfgsb_engine(), task, w.work, w.counts)
    return w


@pytest.mark.parametrize("method", ["2-point", "3-point"])
def test_compiled_and_python_runs_agree_in_every_bit(method):
    ways = BoundedDifferences(Differences(method, 3), LOWER, UPPER)
    compiled, python = (objective(f, None, ways, (), np.ones(3)).calls for f in (bowl, lambda x: bowl(x)))
    assert isinstance(compiled, Bursts) and compiled.burst is burst_within
    assert isinstance(python, PythonCalls)
    a, b = run(compiled, ways), run(python, ways)
    np.testing.assert_array_equal(a.x, b.x)
    np.testing.assert_array_equal(a.g, b.g)
    np.testing.assert_array_equal(a.counts, b.counts)
    np.testing.assert_array_equal(a.x, [0.25, 0.5, 1.0])
    assert a.counts[lbfgs.NFEV] == a.counts[lbfgs.NJEV] * (1 + ways.evaluations)


@pytest.mark.parametrize("limit", [1, 3, 10**9])
def test_the_length_of_bursts_does_not_matter(limit):
    ways = BoundedDifferences(Differences("2-point", 3), LOWER, UPPER)
    calls = objective(bowl, None, ways, (), np.ones(3)).calls
    w, task = lbfgsb.Workspace(np.array([-1.0, 2.0, 1.0]), DEFAULTS, 3, False, LOWER, UPPER), EVALUATE
    while task == EVALUATE:
        task = burst_within(lbfgsb_engine().address, task, limit, w.work, w.counts, *calls.source)
    np.testing.assert_array_equal(w.x, run(calls, ways).x)
