"""What LBFGS remembers, and how its state shows it."""

import numpy as np
import pytest
from lbfgs_runs import rosenbrock, run, state_of

from nbopt.optim.lbfgs import LBFGS
from nbopt.optim.lbfgs_memory import FIRST_ROWS


def test_state_has_torchs_names_and_layout():
    opt = run(rosenbrock, [-1.2, 1.0], max_iter=6, history_size=3, line_search_fn="strong_wolfe").opt
    state = state_of(opt)
    names = {"func_evals", "n_iter", "d", "t", "old_dirs", "old_stps", "ro", "H_diag", "prev_flat_grad"}
    assert set(state) == names | {"prev_loss", "al"}
    assert [len(state[k]) for k in ("old_dirs", "old_stps", "ro", "al")] == [3, 3, 3, 3]
    for y, s, rho in zip(state["old_dirs"], state["old_stps"], state["ro"], strict=True):
        assert rho == pytest.approx(1 / (y @ s), rel=1e-12)
    assert list(opt.param_groups[0])[:-1] == [
        "lr", "max_iter", "max_eval", "tolerance_grad", "tolerance_change", "history_size", "line_search_fn",
    ]  # fmt: skip


def test_the_memory_grows_past_its_first_rows_without_losing_a_pair():
    opt = run(rosenbrock, [-1.2, 1.0] * 10, max_iter=40, max_eval=99, line_search_fn="strong_wolfe").opt
    state = state_of(opt)
    assert len(state["ro"]) > 2 * FIRST_ROWS
    for y, s, rho in zip(state["old_dirs"], state["old_stps"], state["ro"], strict=True):
        assert rho == pytest.approx(1 / (y @ s), rel=1e-12)


@pytest.mark.parametrize(
    "change",
    [
        {"d": np.ones(3)},
        {"old_dirs": [np.ones(3)] * 2},
        {"ro": [1.0]},
        {"old_stps": np.ones((2, 2))},
        {"H_diag": None},
    ],
)
def test_refuses_a_state_that_does_not_fit(change):
    opt = run(rosenbrock, [-1.2, 1.0], max_iter=4).opt
    saved = opt.state_dict()
    saved["state"][0].update(change)
    other = LBFGS([np.ones(2)])
    with pytest.raises(ValueError, match="LBFGS: parameter 0"):
        other.load_state_dict(saved)
    assert not other.state
    with pytest.raises(ValueError, match="vector has shape"):
        LBFGS([np.ones(5)]).load_state_dict(opt.state_dict())
