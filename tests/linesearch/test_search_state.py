"""The state common to both searches."""

import math

import numpy as np
import pytest

from nbopt.linesearch import search_state as state


def begun(**changes):
    arguments = {
        "phi0": 3.0, "dphi0": -1.0, "step": 1.0, "c1": 1e-4, "c2": 0.9, "min_step": 0.0,
        "max_step": math.inf, "max_nfev": 20, "width": 0.0, "resolution": 0.0,
    } | changes  # fmt: skip
    s = np.full(state.SIZE, math.nan)
    return state.begin(s, *arguments.values()), s


def test_begin_starts_at_step_zero_and_leaves_no_old_numbers():
    task, s = begun()
    assert task == state.EVALUATE
    assert np.isfinite(s).all()
    assert s[[state.STEP, state.BEST, state.BEST_PHI, state.BEST_DPHI, state.NFEV]].tolist() == [
        1,
        0,
        3,
        -1,
        0,
    ]


@pytest.mark.parametrize(("step", "used"), [(1e-9, 0.5), (1.0, 1.0), (9.0, 2.0)])
def test_begin_brings_the_first_step_within_its_bounds(step, used):
    _, s = begun(step=step, min_step=0.5, max_step=2.0)
    assert s[state.STEP] == used


def test_an_infinite_step_is_never_asked_for():
    _, s = begun(step=math.inf)
    assert s[state.STEP] == state.LARGEST


def test_every_task_has_a_sentence():
    tasks = [state.EVALUATE, state.CONVERGED, state.MAX_EVALUATIONS, state.AT_MAX_STEP]
    tasks += [state.AT_MIN_STEP, state.TOO_NARROW, state.NOT_DESCENT, state.BAD_START]
    assert tasks == list(range(len(state.MESSAGES)))
    assert len(set(state.MESSAGES)) == len(tasks)


def test_resolved_uses_slopes_only_within_the_resolution():
    _, s = begun(resolution=1e-3, step=2.0)
    assert state.resolved(s, 3.1, -0.5) == 3.1
    assert state.resolved(s, 3.001, -0.5) == 3.0 + 0.5 * 2.0 * (-1.0 - 0.5)
    _, exact = begun()
    assert state.resolved(exact, 3.0, -0.5) == 3.0
