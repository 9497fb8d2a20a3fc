"""minimize() of so many variables that threads share the passes over vectors: the same bits all the same."""

import threading

import numba
import numpy as np
import pytest
from fresh_process import run_python
from numba import prange

import nbopt
from nbopt.kernels import large_vectors, launcher
from nbopt.solvers import lbfgs, lbfgsb
from nbopt.solvers.options import read_options

CROSSING = launcher.PARALLEL_BYTES // (8 * large_vectors.BYTES)
OPTIONS = {"maxiter": 12}


@numba.njit
def valleys(x):
    """Rosenbrock's function of each two neighbours, and a bowl for one left over."""
    f, g = 0.0, 2.0 * x
    for i in range(0, x.size - 1, 2):
        a, b = 1.0 - x[i], x[i + 1] - x[i] * x[i]
        f += a * a + 100.0 * b * b
        g[i], g[i + 1] = -2.0 * a - 400.0 * x[i] * b, 200.0 * b
    return (f + x[-1] ** 2 if x.size % 2 else f), g


def start(n):
    return np.resize([-1.2, 1.0, 0.5, -0.3, 2.0, 1.5], n) + np.linspace(0.0, 0.1, n)


def outcome(found):
    return found.x.tobytes(), found.jac.tobytes(), found.fun, found.nit, found.nfev, found.status


def solve(n, **given):
    return outcome(nbopt.minimize(valleys, start(n), jac=True, options=OPTIONS, **given))


def on_threads(count, monkeypatch):
    monkeypatch.setattr(launcher, "get_num_threads", lambda: count)


@pytest.mark.parametrize("workspace", [lbfgs.Workspace, lbfgsb.Workspace])
def test_a_solve_gets_a_team_from_the_crossing_on(workspace, monkeypatch):
    on_threads(2, monkeypatch)
    few, many = (workspace(start(n), read_options(None, None)) for n in (CROSSING - 1, CROSSING))
    assert few.team is None and few.counts[lbfgs.TEAM] == 0
    assert many.counts[lbfgs.TEAM] == many.team.address


@pytest.mark.parametrize("n", [CROSSING - 1, CROSSING, CROSSING + 1, 200_000])
def test_no_bit_depends_on_the_number_of_threads(n, monkeypatch):
    found = []
    for count in (1, 2, 3):
        on_threads(count, monkeypatch)
        found.append(solve(n))
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("n", [CROSSING + 1, 150_000])
def test_nor_within_bounds(n, monkeypatch):
    found = []
    bounds = np.stack((np.full(n, -1.5), np.where(np.arange(n) % 3, 2.5, 0.8)), axis=1)
    for count in (1, 2, 3):
        on_threads(count, monkeypatch)
        found.append(solve(n, bounds=bounds))
    assert found[0] == found[1] == found[2]


def test_nor_does_one_that_python_evaluates(monkeypatch):
    on_threads(2, monkeypatch)
    found = nbopt.minimize(lambda x: valleys(x), start(CROSSING), jac=True, options=OPTIONS)
    assert outcome(found) == solve(CROSSING)


def test_a_function_with_threads_of_its_own_may_be_solved():
    @numba.njit(parallel=True)
    def bowl(x):
        f, g = 0.0, np.empty(x.size)
        for i in prange(x.size):
            r = x[i] - 1.0
            f += r * r + 0.25 * r**4
            g[i] = 2.0 * r + r**3
        return f, g

    found = nbopt.minimize(bowl, start(CROSSING), jac=True)
    assert found.success
    np.testing.assert_allclose(found.x, 1.0, atol=1e-4)


def test_solves_in_compiled_code_stay_on_one_thread_and_give_the_same_bits():
    handle = nbopt.compile(valleys, jac=True, options=OPTIONS)

    @numba.njit(parallel=True)
    def both(handle, starts):
        found = np.empty_like(starts)
        for k in prange(len(starts)):
            found[k] = nbopt.minimize(handle, starts[k]).x
        return found

    starts = np.stack((start(CROSSING + 5), 0.9 * start(CROSSING + 5)))
    found = both(handle, starts)
    for x0, x in zip(starts, found, strict=True):
        alone = nbopt.minimize(valleys, x0, jac=True, options=OPTIONS)
        assert np.array_equal(x, alone.x)


def test_python_threads_solve_side_by_side(monkeypatch):
    on_threads(2, monkeypatch)
    sizes = [CROSSING, CROSSING + 7, CROSSING, CROSSING + 7]
    found = [None] * 4

    def work(k):
        found[k] = solve(sizes[k])

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert found == [solve(n) for n in sizes]


SCRIPT = """
    import os
    import numba, numpy as np, nbopt

    @numba.njit
    def bowl(x):
        f, g = 0.0, np.empty(x.size)
        for i in range(x.size):
            c = 1.0 + i % 7
            f += 0.5 * c * x[i] ** 2 + x[i] ** 4
            g[i] = c * x[i] + 4.0 * x[i] ** 3
        return f, g

    def run():
        x0 = np.linspace(-3.0, 2.0, 30_000)
        found = nbopt.minimize(bowl, x0, jac=True)
        return found.x.tobytes(), found.fun, found.nit

    alone = run()
    if hasattr(os, "fork"):
        child = os.fork()
        if child == 0:
            os._exit(0 if run() == alone else 7)
        assert os.waitpid(child, 0)[1] == 0, "a forked child failed"
    assert run() == alone, "the parent failed after a fork"
    print(alone[1].hex(), alone[2])
"""


def test_a_forked_child_and_every_threading_layer_solve_as_one_thread_does():
    quick = {"NBOPT_PARALLEL_BYTES": "4096", "PYTHONWARNINGS": "ignore"}
    alone = run_python(SCRIPT, NUMBA_NUM_THREADS="1", **quick)
    assert run_python(SCRIPT, **quick) == alone
    assert run_python(SCRIPT, NUMBA_THREADING_LAYER="workqueue", **quick) == alone
