"""The engine, driven by hand."""

import math

import numpy as np
import pytest

from nbopt.fitting import workspace as ws
from nbopt.fitting.aitken import stretch
from nbopt.fitting.levenberg_marquardt import advance
from nbopt.fitting.steps import step_address
from nbopt.solvers.bursts import EVALUATE, NEW_ITERATE, STOP

FREE = np.full(2, -math.inf), np.full(2, math.inf)


def residuals(x):
    return np.array([10.0 * (x[1] - x[0] ** 2), 1.0 - x[0]])


def jacobian(x):
    return np.array([[-20.0 * x[0], 10.0], [-1.0, 0.0]])


def workspace(x0, bounds=FREE, m=2, **options):
    return ws.Workspace(np.array(x0), m, *bounds, np.ones(2), step=step_address(*bounds), **options)


def driven(w, fun=residuals, jac=jacobian, steps=10_000):
    """Run to the end; return the tasks and the points."""
    task, tasks, points = ws.BOTH if w.counts[ws.TOGETHER] else EVALUATE, [], []
    for _ in range(steps):
        tasks.append(task)
        points.append(w.x.copy())
        if task == STOP:
            break
        if task in (EVALUATE, ws.JACOBIAN, ws.BOTH):
            x = w.x.copy()
            w.x[...] = 99.0  # the engine does not read it
            if task != ws.JACOBIAN:
                w.r[...] = fun(x)
            if task != EVALUATE:
                w.jac[...] = jac(x)
        task = advance(0.0, w.work, w.counts)
    return tasks, np.array(points)


def test_it_finds_the_minimum_and_counts():
    w = workspace([-1.2, 1.0])
    tasks, _ = driven(w)
    np.testing.assert_allclose(w.x, 1.0, rtol=1e-12)
    assert w.counts[ws.REASON] == ws.SMALL_GRADIENT
    assert w.counts[ws.NFEV] == tasks.count(EVALUATE)
    assert w.counts[ws.NJEV] == tasks.count(ws.JACOBIAN) == w.counts[ws.NIT] + 1
    np.testing.assert_array_equal(w.iterate()[0], w.x)


@pytest.mark.parametrize("polish", [0, 40])
@pytest.mark.parametrize("start", [[-1.2, 1.0], [50.0, -3.0], [1.0, 1.0]])
def test_residuals_and_jacobian_may_come_together(start, polish):
    w = workspace(start, together=True, polish=polish)
    tasks, _ = driven(w)
    np.testing.assert_allclose(w.x, 1.0, rtol=1e-12)
    assert w.counts[ws.NFEV] == tasks.count(EVALUATE) + tasks.count(ws.BOTH)
    np.testing.assert_allclose(w.jac, jacobian(w.x), rtol=1e-6)  # of the last point, though a trial spoils it
    apart = workspace(start, polish=polish)
    driven(apart)
    np.testing.assert_array_equal(w.x, apart.x)
    assert w.counts[ws.NFEV] == apart.counts[ws.NFEV]


def test_a_stopped_engine_stays_stopped():
    w = workspace([1.0, 1.0])
    driven(w)
    before = w.work.copy()
    assert advance(0.0, w.work, w.counts) == STOP
    np.testing.assert_array_equal(w.work, before)


def test_it_pauses_at_each_iterate():
    w = workspace([-1.2, 1.0], pause=True)
    tasks, points = driven(w)
    assert tasks.count(NEW_ITERATE) == w.counts[ws.NIT]
    costs = [residuals(x) @ residuals(x) for t, x in zip(tasks, points, strict=True) if t == NEW_ITERATE]
    assert costs == sorted(costs, reverse=True)


def test_a_run_is_resumed_from_copies_of_its_arrays():
    straight = workspace([-1.2, 1.0])
    driven(straight)
    first = workspace([-1.2, 1.0])
    driven(first, steps=9)
    second = workspace([0.0, 0.0])
    second.work[...], second.counts[...] = first.work, first.counts
    task = ws.JACOBIAN if first.counts[ws.PHASE] == ws.DERIVING else EVALUATE
    while task != STOP:
        if task == EVALUATE:
            second.r[...] = residuals(second.x)
        else:
            second.jac[...] = jacobian(second.x)
        task = advance(0.0, second.work, second.counts)
    np.testing.assert_array_equal(second.x, straight.x)
    assert second.counts[ws.NFEV] == straight.counts[ws.NFEV]


@pytest.mark.parametrize("seed", range(20))
def test_bounds_hold_at_every_point_and_kkt_at_the_end(seed):
    rng = np.random.default_rng(seed)
    lower = rng.uniform(-2.0, 0.5, 2)
    upper = lower + rng.uniform(0.1, 3.0, 2)
    w = workspace(rng.uniform(lower, upper), (lower, upper))
    _, points = driven(w)
    assert ((points >= lower) & (points <= upper)).all()
    g = jacobian(w.x).T @ residuals(w.x)
    slack = np.where(w.x <= lower, np.minimum(g, 0.0), np.where(w.x >= upper, np.maximum(g, 0.0), g))
    assert np.abs(slack).max() <= 1e-4
    assert 0 < w.counts[ws.REASON] < ws.RUNNING


def test_a_start_or_a_jacobian_that_is_not_finite():
    w = workspace([1.0, math.nan])
    driven(w)
    assert w.counts[ws.REASON] == ws.BAD_START
    w = workspace([2.0, 1.0])
    driven(w, jac=lambda x: np.full((2, 2), math.nan))
    assert w.counts[ws.REASON] == ws.BAD_JACOBIAN


def test_a_jacobian_that_turns_nan_brings_it_back():
    def jac(x):
        return np.full((2, 2), math.nan) if x[0] < 0.5 and x[1] != -3.0 else jacobian(x)

    w = workspace([0.4, -3.0])
    driven(w, jac=jac)
    assert w.counts[ws.NJEV] > w.counts[ws.NIT] + 1
    assert w.counts[ws.REASON] in (ws.SMALL_GRADIENT, ws.SMALL_STEP)
    np.testing.assert_allclose(w.jac, jacobian(w.x))


def test_polishing_goes_on_until_the_offset_is_gone():
    t = np.linspace(0.0, 3.0, 20)
    y = 2.0 * np.exp(-t) + 0.3 * np.cos(7.0 * t)

    def fun(x):
        return x[0] * np.exp(-x[1] * t) - y

    def jac(x):
        e = np.exp(-x[1] * t)
        return np.stack([e, -x[0] * t * e], axis=1)

    offsets = []
    for polish, together in ((0, False), (50, False), (50, True)):
        w = workspace([1.0, 0.5], m=20, polish=polish, tolerances=(1e-3, 1e-3, 0.0), together=together)
        driven(w, fun, jac)
        np.testing.assert_allclose(w.jac, jac(w.x), rtol=1e-12)
        Q = np.linalg.qr(jac(w.x))[0]
        offsets.append(np.linalg.norm(Q.T @ fun(w.x)) / np.linalg.norm(fun(w.x)))
        assert w.counts[ws.REASON] == ws.SMALL_REDUCTION
    assert offsets[0] > 1e-7
    assert max(offsets[1:]) < 1e-10


@pytest.mark.parametrize("mu", [-0.6, -0.1, 0.3, 0.6])
def test_steps_that_shrink_alike_are_stretched_to_where_they_lead(mu):
    w = workspace([0.0, 0.0])
    w.lines[ws.D], w.lines[ws.PREVIOUS], w.lines[ws.S] = [1.0, 3.0], [1.0, 2.0], [mu, 2.0 * mu]
    w.numbers[[ws.STRETCH, ws.DELTA, ws.PREDICTED, ws.LENGTH]] = 1.0, 9.0, 1.0, 1.0
    stretch(w.lines, w.numbers, w.counts)
    rest = mu / (1.0 - mu)  # mu + mu^2 + mu^3 ...
    rest = min(rest, 2.0 * mu) if mu > 0.0 else rest  # at most twice the step
    np.testing.assert_allclose(w.lines[ws.S], [rest, 2.0 * rest])
    np.testing.assert_array_equal(w.lines[ws.PREVIOUS], [mu, 2.0 * mu])


def test_steps_of_other_directions_are_left_alone():
    for last, s in (([1.0, 2.0], [0.3, -0.1]), ([1.0, 2.0], [0.9, 1.8]), ([0.0, 0.0], [0.3, 0.6])):
        w = workspace([0.0, 0.0])
        w.lines[ws.D], w.lines[ws.PREVIOUS], w.lines[ws.S] = 1.0, last, s
        w.numbers[[ws.STRETCH, ws.DELTA]] = 1.0, 9.0
        stretch(w.lines, w.numbers, w.counts)
        np.testing.assert_array_equal(w.lines[ws.S], s)
