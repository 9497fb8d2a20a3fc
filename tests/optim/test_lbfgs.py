"""LBFGS: copies, exceptions, cliffs, odd arrays, and refusals; torch's points are in the parity tests."""

import copy
import math
import pickle

import numpy as np
import pytest
from lbfgs_runs import rosenbrock, run, state_of

from nbopt.optim import lbfgs
from nbopt.optim.lbfgs import LBFGS
from nbopt.optim.parameter import Parameter

MODES = [None, "strong_wolfe", "more_thuente"]


def test_returns_the_closures_own_first_loss():
    x = np.array([3.0])
    loss = np.float32(9.0)
    opt = LBFGS([x], line_search_fn="strong_wolfe")
    answers = iter([loss])
    assert opt.step(lambda: (next(answers, float(x[0] ** 2)), [2 * x])) is loss


@pytest.mark.parametrize("mode", MODES)
def test_copies_and_pickles_go_on_as_if_unbroken(mode):
    def loss_of(opt):
        a, b = opt.param_groups[0]["params"]
        x = np.r_[a.data, b.data]
        value, g = rosenbrock(x)
        a.grad, b.grad = g[:5], g[5:]
        return value

    opt = LBFGS([np.full(5, -1.0), np.full(3, 0.5)], max_iter=4, line_search_fn=mode, history_size=3)
    for _ in range(3):
        opt.step(lambda: loss_of(opt))
    twins = [copy.deepcopy(opt), pickle.loads(pickle.dumps(opt)), copy.copy(copy.deepcopy(opt))]
    for _ in range(4):
        opt.step(lambda: loss_of(opt))
    for twin in twins:
        before = [p.data.copy() for p in twin.param_groups[0]["params"]]
        assert not np.array_equal(before[0], opt.param_groups[0]["params"][0].data)
        for _ in range(4):
            twin.step(lambda twin=twin: loss_of(twin))
        for p, q in zip(opt.param_groups[0]["params"], twin.param_groups[0]["params"], strict=True):
            np.testing.assert_array_equal(p.data, q.data)


@pytest.mark.parametrize("mode", MODES)
def test_state_dict_round_trip_goes_on_as_if_unbroken(mode):
    _, _, x, opt = run(rosenbrock, [-1.2, 1.0] * 3, steps=3, max_iter=4, history_size=3, line_search_fn=mode)
    y = x.copy()
    other = LBFGS([y], history_size=7)
    other.load_state_dict(opt.state_dict())
    assert other.param_groups[0]["history_size"] == 3
    for _ in range(3):
        opt.step(lambda: (rosenbrock(x)[0], [rosenbrock(x)[1]]))
        other.step(lambda: (rosenbrock(y)[0], [rosenbrock(y)[1]]))
    np.testing.assert_array_equal(x, y)


def cliff(x):
    """Return a function whose descent leads over the edge x[0] = 1, behind which all is NaN."""
    with np.errstate(invalid="ignore"):
        value = float(x[0] ** 2 - np.log(1.0 - x[0]) * 0.01 - 4.0 * x[0] + x[1] ** 2)
    return value, np.array([2 * x[0] + 0.01 / (1.0 - x[0]) - 4.0 if x[0] < 1 else math.nan, 2 * x[1]])


@pytest.mark.parametrize("mode", ["strong_wolfe", "more_thuente"])
@pytest.mark.parametrize("max_iter", [1, 2, 20])
@pytest.mark.parametrize("lr", [1.0, 50.0])
def test_searches_end_before_a_cliff_of_nan(mode, max_iter, lr):
    _, losses, x, opt = run(cliff, [-3.0, 2.0], steps=30, max_iter=max_iter, lr=lr, line_search_fn=mode)
    assert not np.isfinite(losses).all()
    assert np.abs(cliff(x)[1]).max() < 1e-3
    for v in state_of(opt).values():
        assert isinstance(v, list) or np.isfinite(v).all()


@pytest.mark.parametrize("max_iter", [1, 2, 20])
@pytest.mark.parametrize("lr", [1.0, 50.0])
def test_fixed_steps_over_a_cliff_of_nan_are_shortened(max_iter, lr):
    x, accepted = np.array([-3.0, 2.0]), []
    opt = LBFGS([x], lr=lr, max_iter=max_iter)
    for _ in range(40):
        opt.step(lambda: (cliff(x)[0], [cliff(x)[1]]))
        accepted.append(state_of(opt)["prev_loss"])
        assert np.isfinite(x).all()
        assert np.isfinite(state_of(opt)["prev_flat_grad"]).all()
    assert np.isfinite(accepted).all()
    assert opt.status != lbfgs.NOT_FINITE
    assert len(set(accepted[-5:])) > 1 or opt.status in (lbfgs.SMALL_GRADIENT, lbfgs.NO_DESCENT)


def test_a_step_over_the_edge_that_the_last_call_left_is_shortened():
    x = np.array([0.0])

    def closure():
        return (float(-x[0]) if x[0] < 0.7 else math.nan), [np.array([-1.0])]

    opt = LBFGS([x], max_iter=1)
    opt.step(closure)
    assert x[0] == 1.0  # not evaluated yet
    opt.step(closure)
    assert state_of(opt)["n_iter"] == 2
    assert opt.status == lbfgs.MAX_ITER
    twin = copy.deepcopy(opt)
    assert twin._left is not None


@pytest.mark.parametrize("mode", MODES)
def test_nan_at_the_start_is_a_status_and_changes_nothing(mode):
    _, _, x, opt = run(rosenbrock, [-1.2, 1.0], steps=2, max_iter=3, line_search_fn=mode)
    x[:] = [5.0, 5.0]
    before = opt.state_dict()
    loss = opt.step(lambda: (math.nan, [np.ones(2)]))
    assert math.isnan(loss)
    assert opt.status == lbfgs.NOT_FINITE
    assert "not finite" in opt.message
    assert x.tolist() == [5.0, 5.0]
    after = opt.state_dict()
    for name, value in before["state"][0].items():
        np.testing.assert_equal(after["state"][0][name], value)
    loss = opt.step(lambda: (1.0, [np.array([math.inf, 0.0])]))
    assert opt.status == lbfgs.NOT_FINITE


@pytest.mark.parametrize("mode", ["strong_wolfe", "more_thuente"])
def test_a_failed_search_puts_the_parameters_back_bit_for_bit(mode):
    x = np.array([0.1, 1e-17, 3.0])
    before = x.copy()
    opt = LBFGS([x], line_search_fn=mode)
    calls = []

    def closure():  # the gradient lies: the function rises along -g
        calls.append(1)
        return float(-x.sum()), [np.ones(3)]

    opt.step(closure)
    np.testing.assert_array_equal(x, before)
    assert opt.status == lbfgs.SEARCH_FAILED
    assert state_of(opt)["t"] == 0.0
    assert 2 < len(calls) <= 30


def test_fixed_steps_that_find_nothing_finite_put_the_parameters_back():
    x = np.array([0.1, 0.2])
    before = x.copy()
    opt = LBFGS([x])
    opt.step(lambda: (1.0 if np.array_equal(x, before) else math.inf, [np.ones(2)]))
    np.testing.assert_array_equal(x, before)
    assert opt.status == lbfgs.NOT_FINITE


@pytest.mark.parametrize("mode", ["strong_wolfe", "more_thuente"])
def test_one_iteration_per_step_still_searches(mode):
    _, losses, _, opt = run(rosenbrock, [-1.2, 1.0], steps=60, max_iter=1, line_search_fn=mode)
    assert losses[-1] < 1e-8
    assert state_of(opt)["n_iter"] <= 60


@pytest.mark.parametrize("mode", MODES)
def test_max_eval_ends_a_step(mode):
    for max_eval in (2, 3, 7):
        points, _, _, opt = run(rosenbrock, [-1.2, 1.0], max_iter=50, max_eval=max_eval, line_search_fn=mode)
        assert len(points) <= max_eval + 1  # as in torch the last search may make one more
        assert opt.status == lbfgs.MAX_EVAL


def test_a_small_gradient_at_the_start_counts_one_evaluation_and_nothing_else():
    x = np.array([1.0, 1.0])
    opt = LBFGS([x])
    opt.step(lambda: (rosenbrock(x)[0], [rosenbrock(x)[1]]))
    assert dict(state_of(opt)) == {"func_evals": 1, "n_iter": 0}
    assert opt.status == lbfgs.SMALL_GRADIENT
    other = LBFGS([x.copy()])
    other.load_state_dict(opt.state_dict())
    assert dict(state_of(other)) == {"func_evals": 1, "n_iter": 0}


def test_gradients_that_are_missing_are_zeros():
    x, y, z = np.array([2.0]), np.array([5.0]), np.empty((0, 3))
    p, q, r = Parameter(x), Parameter(y), Parameter(z)
    opt = LBFGS([p, q, r], line_search_fn="strong_wolfe")

    def closure():
        p.grad = 2 * x
        return float(x[0] ** 2)

    opt.step(closure)
    assert abs(x[0]) < 1e-7
    assert y[0] == 5.0


@pytest.mark.parametrize("mode", MODES)
def test_strided_parameters_and_gradients_make_the_same_steps(mode):
    straight = run(rosenbrock, [-1.2, 1.0, 0.5, 2.0], steps=2, line_search_fn=mode)[2]
    base = np.full((4, 3), 9.0)
    view = base[::-1, 1]
    view[:] = [-1.2, 1.0, 0.5, 2.0]
    opt = LBFGS([view], line_search_fn=mode)

    def closure():
        value, g = rosenbrock(view.copy())
        padded = np.zeros((4, 2))
        padded[:, 0] = g
        return value, [padded[:, 0]]

    opt.step(closure)
    opt.step(closure)
    np.testing.assert_array_equal(view, straight)
    assert (base[:, [0, 2]] == 9.0).all()


@pytest.mark.parametrize("mode", MODES)
def test_float32(mode):
    x = np.array([-1.2, 1.0], np.float32)
    opt = LBFGS([x], max_iter=100, line_search_fn=mode)

    def closure():
        value, g = rosenbrock(x.astype(float))
        return value, [g.astype(np.float32)]

    for _ in range(5):
        opt.step(
            lambda: (rosenbrock(x.astype(float))[0], [rosenbrock(x.astype(float))[1].astype(np.float32)])
        )
    np.testing.assert_allclose(x, [1, 1], atol=1e-3)
    assert state_of(opt)["d"].dtype == np.float32


def test_complex_parameters_are_pairs_of_reals():
    z = np.array([1 + 1j, -2j])
    opt = LBFGS([z], line_search_fn="strong_wolfe")
    target = np.array([0.5 - 1j, 2.0])
    opt.step(lambda: (float((abs(z - target) ** 2).sum()), [2 * (z - target)]))
    np.testing.assert_allclose(z, target, atol=1e-8)


@pytest.mark.parametrize("mode", MODES)
def test_an_exception_in_the_closure_leaves_a_state_that_goes_on(mode):
    x = np.array([-1.2, 1.0] * 3)
    opt = LBFGS([x], max_iter=5, history_size=3, line_search_fn=mode)
    calls = []

    def closure():
        calls.append(x.copy())
        if len(calls) == 9:
            raise KeyboardInterrupt
        return rosenbrock(x)[0], [rosenbrock(x)[1]]

    with pytest.raises(KeyboardInterrupt):
        for _ in range(4):
            opt.step(closure)
    assert any(np.array_equal(x, seen) for seen in calls[:-1])  # back at a point that was accepted
    assert state_of(opt)["t"] == 0.0
    loss = rosenbrock(x)[0]
    for _ in range(60):
        opt.step(closure)
    assert rosenbrock(x)[0] < min(1e-6, loss)


def test_learning_rates_of_a_scheduler_apply_at_once():
    x = np.array([4.0])
    opt = LBFGS([x], lr=0.5, max_iter=1)
    closure = lambda: (float(0.5 * x[0] ** 2), [x.copy()])  # noqa: E731
    opt.step(closure)
    assert x[0] == 4.0 - 0.5 / 4.0 * 4.0
    opt.param_groups[0]["lr"] = 0.0
    for _ in range(2):
        opt.step(closure)
    assert x[0] == 3.5
    opt.param_groups[0]["lr"] = 1.0
    opt.step(closure)
    assert x[0] == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"lr": -1}, ValueError, r"LBFGS: lr=-1 must lie in \[0, inf\)"),
        ({"max_iter": 0}, ValueError, r"LBFGS: max_iter=0 must lie in \[1, inf\)"),
        ({"max_iter": 2.5}, TypeError, "max_iter=2.5 must be an integer"),
        ({"max_eval": 0}, ValueError, "max_eval=0"),
        ({"history_size": 0}, ValueError, "history_size=0"),
        ({"history_size": True}, TypeError, "history_size=True"),
        ({"tolerance_grad": math.nan}, ValueError, "tolerance_grad=nan"),
        ({"tolerance_change": -1e-9}, ValueError, "tolerance_change"),
        ({"line_search_fn": "armijo"}, ValueError, "line_search_fn='armijo' must be None or one of"),
        ({"line_search_fn": len}, ValueError, "line_search_fn="),
    ],
)
def test_refuses_options_in_the_constructor_and_after_edits(options, error, message):
    with pytest.raises(error, match=message):
        LBFGS([np.ones(2)], **options)
    x = np.ones(2)
    opt = LBFGS([x])
    opt.param_groups[0].update(options)
    with pytest.raises(error, match=message):
        opt.step(lambda: (1.0, [np.ones(2)]))
    assert not opt.state
    assert x.tolist() == [1, 1]


def test_refuses_a_second_group_and_no_parameters():
    with pytest.raises(ValueError, match="only one parameter group"):
        LBFGS([{"params": [np.ones(1)]}, {"params": [np.ones(1)]}])
    opt = LBFGS([{"params": [np.ones(1)], "lr": 0.5}])
    with pytest.raises(ValueError, match="only one parameter group"):
        opt.add_param_group({"params": [np.ones(2)]})
    assert len(opt.param_groups) == 1
    with pytest.raises(ValueError, match="has no parameters"):
        LBFGS([{"params": []}])


def test_refuses_a_step_without_a_closure():
    opt = LBFGS([np.ones(2)])
    for arguments in ({}, {"grads": [np.ones(2)]}, {"closure": lambda: 1.0, "grads": [np.ones(2)]}):
        with pytest.raises(TypeError, match="LBFGS: step needs a closure"):
            opt.step(**arguments)


@pytest.mark.parametrize("answer", [None, np.ones(2), "1.0", (1.0,), 1j, True])
def test_says_what_the_closure_returned(answer):
    _, _, x, opt = run(rosenbrock, [-1.2, 1.0], steps=2, max_iter=3)
    before, seen = opt.state_dict(), x.copy()
    with pytest.raises(TypeError, match="LBFGS: the closure must return the loss, one real number"):
        opt.step(lambda: answer)
    np.testing.assert_array_equal(x, seen)
    np.testing.assert_equal(opt.state_dict(), before)


def test_refuses_named_parameters_in_another_order():
    a = LBFGS({"u": np.ones(2), "v": np.ones(2)})
    a.step(lambda: (1.0, [np.ones(2), np.ones(2)]))
    b = LBFGS({"v": np.ones(2), "u": np.ones(2)})
    with pytest.raises(ValueError, match="another order"):
        b.load_state_dict(a.state_dict())


def test_says_that_the_parameters_changed_their_size():
    opt = run(rosenbrock, [-1.2, 1.0], max_iter=3).opt
    opt.param_groups[0]["params"][0].data = np.ones(3)
    with pytest.raises(ValueError, match="vectors of 2 elements, the parameters 3"):
        opt.step(lambda: (1.0, [np.ones(3)]))
    opt.state = {}
    opt.step(lambda: (1.0, [np.ones(3)]))
    assert state_of(opt)["n_iter"] >= 1
