"""Engines: made once, at their first use, each with its own workspace."""

import numpy as np
import pytest

from nbopt.solvers import first_order, lbfgs, lbfgsb
from nbopt.solvers.bursts import EVALUATE, STOP
from nbopt.solvers.engines import first_order_engine, lbfgs_engine, lbfgsb_engine
from nbopt.solvers.options import DEFAULTS

ENGINES = {
    "lbfgs": (lbfgs_engine, lbfgs),
    "lbfgsb": (lbfgsb_engine, lbfgsb),
    "first order": (first_order_engine, first_order),
}


@pytest.mark.parametrize("name", ENGINES)
def test_an_engine_is_made_once(name):
    make, module = ENGINES[name]
    engine = make()
    assert engine is make()
    assert engine.workspace is module.Workspace and engine.advance is module.advance
    assert engine.address != 0


@pytest.mark.parametrize("name", ["lbfgs", "lbfgsb"])
def test_it_can_be_driven_by_hand(name):
    engine = ENGINES[name][0]()
    w, task = engine.workspace(np.array([3.0, 4.0]), DEFAULTS), EVALUATE
    while task != STOP:
        w.g[:] = 2.0 * w.x
        task = engine.advance(float(w.x @ w.x), w.work, w.counts)
    np.testing.assert_allclose(w.x, 0.0, atol=1e-6)
    assert w.gradient_size() == np.abs(w.g).max() and w.work[w.place_of_f()] == w.f
