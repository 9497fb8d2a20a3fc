"""Bursts: the same run as by hand, cut into pieces of any length; the pace; who keeps what alive."""

import gc
import itertools
from types import SimpleNamespace

import numpy as np
import pytest
from classic_problems import PROBLEMS, rosenbrock
from numba import njit

from nbopt.autodiff.finite_differences import Differences
from nbopt.solvers import bursts, lbfgs
from nbopt.solvers.bursts import EVALUATE, NEW_ITERATE, STOP
from nbopt.solvers.engines import lbfgs_engine
from nbopt.solvers.objective import PythonCalls, objective
from nbopt.solvers.options import DEFAULTS


@njit
def value(x):
    return rosenbrock(x)[0]


@njit
def slope(x):
    return rosenbrock(x)[1]


def run(calls, x0, cost=1, pause=False):
    """Run to the end; return the workspace and the tasks on the way."""
    w, task, tasks = lbfgs.Workspace(x0, DEFAULTS, cost, pause), EVALUATE, []
    while task != STOP:
        task = calls.run(lbfgs_engine(), task, w.work, w.counts)
        tasks.append(task)
    return w, tasks


def same(a, b):
    """Assert that two runs ended with the same bits."""
    np.testing.assert_array_equal(a.counts[lbfgs.NIT :], b.counts[lbfgs.NIT :])
    np.testing.assert_array_equal(a.x, b.x)
    np.testing.assert_array_equal(a.g, b.g)
    assert a.f == b.f


@pytest.mark.parametrize("name", PROBLEMS)
def test_compiled_and_python_runs_agree_in_every_bit(name):
    fun, x0, _ = PROBLEMS[name]
    compiled, _ = run(objective(fun, True, None, (), x0).calls, x0)
    python, _ = run(objective(lambda x: fun(x), True, None, (), x0).calls, x0)
    same(compiled, python)


def test_a_pair_of_functions_agrees_too():
    x0 = np.array([-1.2, 1.0])
    joint, _ = run(objective(rosenbrock, True, None, (), np.ones(2)).calls, x0)
    pair, _ = run(objective(value, slope, None, (), np.ones(2)).calls, x0)
    same(joint, pair)


@pytest.mark.parametrize("method", ["2-point", "3-point", "cs"])
def test_differences_agree_in_every_bit(method):
    @njit
    def bowl(x):
        return (x[0] - 1.0) ** 2 + 3.0 * (x[1] + 2.0) ** 4

    ways, x0 = Differences(method, 2), np.array([-1.2, 1.0])
    compiled, _ = run(objective(bowl, None, ways, (), np.ones(2)).calls, x0, 1 + ways.evaluations)
    python, _ = run(objective(lambda x: bowl(x), None, ways, (), np.ones(2)).calls, x0, 1 + ways.evaluations)
    same(compiled, python)
    assert compiled.counts[lbfgs.NFEV] == compiled.counts[lbfgs.NJEV] * (1 + ways.evaluations)
    assert abs(compiled.x[0] - 1.0) < 1e-4


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 10**9])
def test_the_length_of_bursts_does_not_matter(limit):
    calls = objective(rosenbrock, True, None, (), np.ones(2)).calls
    w, task = lbfgs.Workspace(np.array([-1.2, 1.0]), DEFAULTS), EVALUATE
    while task == EVALUATE:
        task = bursts.burst(lbfgs_engine().address, task, limit, w.work, w.counts, *calls.source)
    same(w, run(calls, np.array([-1.2, 1.0]))[0])


@pytest.mark.parametrize("through_python", [False, True])
def test_pauses(through_python):
    fun = (lambda x: rosenbrock(x)) if through_python else rosenbrock
    calls = objective(fun, True, None, (), np.ones(2)).calls
    assert isinstance(calls, PythonCalls) == through_python
    w, tasks = run(calls, np.array([-1.2, 1.0]), pause=True)
    assert tasks == [NEW_ITERATE] * int(w.counts[lbfgs.NIT]) + [STOP]


def test_slow_functions_get_short_bursts_and_fast_ones_long(monkeypatch):
    clock, limits = [0.0], []

    def burst(advance, task, limit, work, counts):
        limits.append(limit)
        clock[0] += limit * cost[min(len(limits), len(cost)) - 1]
        return STOP if len(limits) == 12 else EVALUATE

    monkeypatch.setattr(bursts, "perf_counter", lambda: clock[0])
    for cost in ([1e-6], [1e-4], [1.0], [1e-6, 1e-6, 1e-6, 1e-3]):
        limits.clear()
        entry = SimpleNamespace(pace=1)
        bursts.Bursts(burst, (), (entry,)).run(lbfgs_engine(), EVALUATE, None, None)
        assert limits[0] == 1
        assert all(b <= bursts.GROWTH * a for a, b in itertools.pairwise(limits))
        assert limits[-1] == pytest.approx(max(1, bursts.SECONDS / cost[-1]), abs=1.0, rel=0.01)
        assert entry.pace == min(limits[-1], bursts.FIRST)  # where the next solve begins: soon interrupted


def test_arguments_live_as_long_as_the_run():
    @njit
    def fitted(x, t, y):
        r = x[0] * np.exp(-x[1] * t) - y
        e = np.exp(-x[1] * t)
        return (r * r).sum(), np.array([2.0 * (r * e).sum(), -2.0 * (r * x[0] * t * e).sum()])

    def make():
        t = np.linspace(0.0, 4.0, 500)
        return objective(fitted, True, None, (t, 2.5 * np.exp(-1.3 * t)), np.ones(2)).calls

    calls = make()
    gc.collect()
    garbage = [np.full(500, np.nan) for _ in range(50)]
    w, _ = run(calls, np.array([1.0, 1.0]))
    np.testing.assert_allclose(w.x, [2.5, 1.3], rtol=1e-4)
    assert len(garbage) == 50


def test_exceptions_leave_the_run_resumable():
    @njit
    def guarded(x, gate):
        if gate[0] == 0 and x[0] > 0.0:
            raise RuntimeError("not yet")
        return rosenbrock(x)

    gate = np.zeros(1, np.int64)
    calls = objective(guarded, True, None, (gate,), np.ones(2)).calls
    w = lbfgs.Workspace(np.array([-1.2, 1.0]), DEFAULTS)
    with pytest.raises(RuntimeError, match="not yet"):
        calls.run(lbfgs_engine(), EVALUATE, w.work, w.counts)
    gate[0] = 1
    assert calls.run(lbfgs_engine(), EVALUATE, w.work, w.counts) == STOP
    same(w, run(calls, np.array([-1.2, 1.0]))[0])
