"""Steps along the geodesic: the acceleration, when they are taken, and what they are worth."""

import itertools
import math

import numpy as np
import pytest
from nist_models import MODELS, read

import nbopt
from nbopt.fitting import workspace as ws
from nbopt.fitting.geodesic import bend, may_bend, probe
from nbopt.fitting.levenberg_marquardt import advance
from nbopt.fitting.losses import KINDS
from nbopt.fitting.steps import step_address
from nbopt.solvers.bursts import EVALUATE, STOP

FREE = np.full(2, -math.inf), np.full(2, math.inf)


def residuals(x):  # a parabola's valley
    return np.array([100.0 * (x[1] - x[0] ** 2), 1.0 - x[0], 0.1 * x[0] * x[1]])


def jacobian(x):
    return np.array([[-200.0 * x[0], 100.0], [-1.0, 0.0], [0.1 * x[1], 0.1 * x[0]]])


def second_along(v):
    return np.array([-200.0 * v[0] ** 2, 0.0, 0.2 * v[0] * v[1]])


def workspace(x0, bounds=FREE, **options):
    return ws.Workspace(np.array(x0), 3, *bounds, np.array([0.5, 2.0]), step=step_address(*bounds), **options)


def driven(w, spoil=None):
    """Run to the end; return what was evaluated: phase of the engine, iterations by then, and the point."""
    task, seen, together = ws.BOTH if w.counts[ws.TOGETHER] else EVALUATE, [], []
    while task != STOP:
        seen.append((w.counts[ws.PHASE], w.counts[ws.NIT], w.x.copy()))
        together.append(task == ws.BOTH)
        if task != ws.JACOBIAN:
            w.r[...] = math.nan if spoil is not None and spoil(w.counts[ws.PHASE]) else residuals(w.x)
        if task != EVALUATE:
            w.jac[...] = jacobian(w.x)
        task = advance(0.0, w.work, w.counts)
    return seen, together


def probed(w):
    """Run to the first probe; return damping, step, the iterate and its residuals, and the Jacobian."""
    task = EVALUATE
    while w.counts[ws.PHASE] != ws.PROBING:
        assert task != STOP
        if task != ws.JACOBIAN:
            w.r[...] = residuals(w.x)
        if task != EVALUATE:
            w.jac[...] = jacobian(w.x)
        task = advance(0.0, w.work, w.counts)
    x, r = w.iterate()
    return w.numbers[ws.DAMPING], w.lines[ws.S].copy(), x, r, w.jac.copy()


START = [-1.2, 1.0]


def test_the_step_is_bent_by_half_the_acceleration():
    w = workspace(START)
    damping, v, x, _, J = probed(w)
    np.testing.assert_allclose(w.x, x + 0.1 * v, rtol=1e-15)
    w.r[...] = residuals(w.x)
    assert advance(0.0, w.work, w.counts) == EVALUATE
    D2 = np.diag(w.lines[ws.D] ** 2)
    a = -np.linalg.solve(J.T @ J + damping * D2, J.T @ second_along(v))
    D = w.lines[ws.D]
    assert np.linalg.norm(D * a) <= 0.75 * np.linalg.norm(D * v) and np.linalg.norm(
        a
    ) > 1e-3 * np.linalg.norm(v)
    np.testing.assert_allclose(w.x, x + v + 0.5 * a, rtol=1e-9)
    assert w.counts[ws.PHASE] == ws.TRYING


@pytest.mark.parametrize("r", [[1e6, 0.0, 0.0], [math.nan, 0.0, 0.0], [math.inf, 0.0, 0.0]])
def test_an_acceleration_that_is_too_long_or_none_leaves_the_step(r):
    w = workspace(START)
    _, v, x, _, _ = probed(w)
    w.r[...] = r
    bend(w.work, w.counts)
    np.testing.assert_array_equal(w.lines[ws.TRIAL], x + v)


def test_probes_follow_the_tenth_iterate_and_come_before_each_trial():
    w = workspace(START)
    seen, _ = driven(w)
    phases = [phase for phase, _, _ in seen]
    assert all(nit >= 10 for phase, nit, _ in seen if phase == ws.PROBING)
    assert phases.count(ws.PROBING) > 5
    assert all(after == ws.TRYING for before, after in itertools.pairwise(phases) if before == ws.PROBING)
    assert w.counts[ws.NFEV] == sum(phase in (ws.NEW, ws.TRYING, ws.PROBING) for phase in phases)
    free = [i for i, (phase, _, _) in enumerate(seen) if phase in (ws.TRYING, ws.PROBING)]
    points = [tuple(seen[i][2]) for i in free]
    assert len(set(points)) == len(points)  # none is evaluated twice


def test_a_probe_that_is_not_finite_costs_an_evaluation_only():
    w, plain = workspace(START), workspace(START)
    driven(w, lambda phase: phase == ws.PROBING)
    driven(plain)
    assert w.counts[ws.REASON] == plain.counts[ws.REASON] == ws.SMALL_GRADIENT
    np.testing.assert_allclose(w.x, plain.x, rtol=1e-6)
    assert w.counts[ws.NIT] > 1.5 * plain.counts[ws.NIT]  # what they are worth


@pytest.mark.parametrize(
    "options",
    [
        {"bounds": (np.full(2, -math.inf), np.array([math.inf, 99.0]))},
        {"loss": KINDS["soft_l1"]},
    ],
    ids=["bounds", "loss"],
)
def test_within_bounds_and_by_other_losses_steps_are_straight(options):
    w = workspace(START, **options)
    seen, _ = driven(w)
    assert w.counts[ws.NIT] > 10 and ws.PROBING not in [phase for phase, _, _ in seen]


def test_a_step_is_straight_while_the_jacobian_is_that_of_another_point():
    w = workspace(START)
    probed(w)
    assert may_bend(w.work, w.counts)
    w.counts[ws.STALE] = 1
    assert not may_bend(w.work, w.counts)
    w.counts[ws.STALE], w.numbers[ws.DAMPING] = 0, 0.0
    assert not may_bend(w.work, w.counts)
    probe(w.work, w.counts)
    np.testing.assert_array_equal(w.lines[ws.TRIAL], w.lines[ws.X] + 0.1 * w.lines[ws.S])


def test_residuals_and_jacobian_come_apart_from_the_tenth_iterate_on():
    w, apart = workspace(START, together=True), workspace(START)
    seen, together = driven(w)
    driven(apart)
    assert not any(both for both, (_, nit, _) in zip(together, seen, strict=True) if nit >= 10)
    assert abs(w.counts[ws.NIT] - apart.counts[ws.NIT]) <= 2
    np.testing.assert_allclose(w.x, apart.x, rtol=1e-6)


@pytest.mark.parametrize(
    "name, calls", [("Bennett5", 450), ("MGH10", 500), ("Lanczos3", 300), ("MGH17", 1500)]
)
def test_fits_that_crept_for_hundreds_of_iterations_arrive(name, calls):
    pytest.importorskip("refnx", reason="NIST's files come with refnx")
    case, made = read(name), []

    def model(x, *p):
        made.append(p)
        return MODELS[name](x, *p)

    with np.errstate(all="ignore"):
        popt, _ = nbopt.curve_fit(model, case.x, case.y, case.starts[0])
    np.testing.assert_allclose(popt, case.certified, rtol=1e-6)
    assert len(made) < calls
