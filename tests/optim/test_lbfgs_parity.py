"""LBFGS visits torch's points, and its checkpoints travel both ways."""

import numpy as np
import pytest
from lbfgs_runs import FUNCTIONS, rosenbrock, run, state_of

from nbopt.optim import lbfgs
from nbopt.optim.lbfgs import LBFGS

MODES = [None, "strong_wolfe", "more_thuente"]


GOLDEN = {  # torch 2.13.0, float64: reference values recorded once from torch itself
    "strong_wolfe": (
        [(-1.2, 1), (-0.4898550725, 1.289855072), (-1.02453193, 1.07161962), (-1.028456575, 1.068187456),
         (-1.028879535, 1.065502952), (-1.027617766, 1.058412078), (-1.02030848, 1.035276987),
         (-0.9970310352, 0.9755913847)],
        [24.2, 112.44806, 4.1469271, 4.1255867, 4.1211268, 4.1118165, 4.0849554, 4.0222821],
        (-0.8802131649658734, 0.7274772060719978), 10,
    ),
    None: (
        [(-1.2, 1), (-0.4898550725, 1.289855072), (-0.8216710991, 1.068275396), (-1.365541639, 0.9379760552),
         (-0.9253632378, 1.0207787), (-0.9679198111, 1.00401939), (-0.9946555286, 0.992251163),
         (-0.9914891791, 0.9914737472)],
        [24.2, 112.44806, 18.773763, 91.47825, 6.4124425, 4.3236291, 3.9794984, 3.9731238],
        (-0.988348906307429, 0.988272746663466), 8,
    ),
}  # fmt: skip


@pytest.mark.parametrize("mode", [None, "strong_wolfe"])
def test_golden_points(mode):
    points, losses, x, opt = run(rosenbrock, [-1.2, 1.0], max_iter=8, max_eval=100, line_search_fn=mode)
    expected, values, last, evaluations = GOLDEN[mode]
    np.testing.assert_allclose(points[:8], expected, rtol=1e-8)
    np.testing.assert_allclose(losses[:8], values, rtol=1e-7)
    np.testing.assert_allclose(x, last, rtol=1e-12)
    assert (state_of(opt)["n_iter"], state_of(opt)["func_evals"], len(points)) == (
        8,
        evaluations,
        evaluations,
    )
    assert opt.status == lbfgs.MAX_ITER


@pytest.mark.parametrize("mode", [None, "strong_wolfe"])
@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize(
    "options", [{}, {"history_size": 2, "max_iter": 5, "lr": 0.3}], ids=["default", "other"]
)
def test_visits_torchs_points(name, mode, options):
    torch = pytest.importorskip("torch", reason="compares with torch.optim.LBFGS")
    fun, x0 = FUNCTIONS[name]
    points = run(fun, x0, steps=5, line_search_fn=mode, **options).points
    w = torch.tensor(x0, dtype=torch.float64, requires_grad=True)
    theirs = torch.optim.LBFGS([w], line_search_fn=mode, **options)
    visited = []

    def closure():
        visited.append(w.detach().numpy().copy())
        value, g = fun(visited[-1])
        w.grad = torch.from_numpy(g)
        return value

    for _ in range(5):
        theirs.step(closure)
    first = min(20, len(visited))
    assert len(points) >= first
    for ours, torchs in zip(points[:20], visited[:20], strict=False):
        assert np.abs(ours - torchs).max() <= 1e-9 * max(1.0, np.abs(torchs).max())


# With enough evaluations for the line search, which ours takes in any case.
SEARCHING = {"line_search_fn": "strong_wolfe", "max_iter": 2, "max_eval": 40}


@pytest.mark.parametrize(
    "options",
    [
        {"lr": 0.3, "max_iter": 1, "history_size": 5},
        {**SEARCHING, "history_size": 5},
        {**SEARCHING, "lr": 0.5, "history_size": 20, "tolerance_change": 1e-6, "tolerance_grad": 1e-3},
    ],
    ids=["fixed", "searching", "other"],
)
def test_each_of_a_thousand_steps_from_torchs_state_is_torchs_step(options):
    """Run torch over losses that change, and ours from where torch is: roundings cannot grow to chaos."""
    torch = pytest.importorskip("torch", reason="compares with torch.optim.LBFGS")
    scales = [torch.tensor(s, dtype=torch.float64) for s in ([1.0, 2, 3], [[0.5, 1.5], [2.5, 1]])]
    ours, theirs = ([torch.zeros_like(s).requires_grad_() for s in scales] for _ in range(2))
    opt, peer, rng = LBFGS(ours, **options), torch.optim.LBFGS(theirs, **options), np.random.default_rng(0)

    def loss(params, goals):
        pulls = [(s, p - goal) for s, p, goal in zip(scales, params, goals, strict=False)]
        return sum((s * r**2 / 2 + r**4 / 8).sum() for s, r in pulls)

    def closure(optimizer, params, goals, counted):
        def evaluate():
            counted.append(1)
            optimizer.zero_grad()
            value = loss(params, goals)
            value.backward()
            return value

        return evaluate

    for k in range(1000):
        goals = [torch.tensor(rng.standard_normal(s.shape)) for s in scales]
        goals = goals[:1] if k % 11 == 5 else goals  # then the second parameter has no gradient
        for p, q in zip(ours, theirs, strict=True):
            p.data.copy_(q.data)
        opt.load_state_dict(peer.state_dict())
        mine, his = [], []
        opt.step(closure(opt, ours, goals, mine))
        peer.step(closure(peer, theirs, goals, his))
        assert len(mine) == len(his), k
        for p, q in zip(ours, theirs, strict=True):
            assert ((p - q).abs() / q.abs().clamp(min=1)).max() < 1e-10, k


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ["rosenbrock", "beale", "himmelblau", "logistic", "tridiagonal"])
def test_converges(name, mode):
    fun, x0 = FUNCTIONS[name]
    _, _, x, opt = run(fun, x0, steps=10, tolerance_change=0.0, line_search_fn=mode)
    assert np.abs(fun(x)[1]).max() <= 1e-7
    assert opt.status == lbfgs.SMALL_GRADIENT
    assert opt.message == lbfgs.MESSAGES[opt.status]


def tensors(torch, x0):
    return [torch.tensor(x0[:1], dtype=torch.float64), torch.tensor(x0[1:], dtype=torch.float64)]


@pytest.mark.parametrize("way", ["torch to nbopt", "nbopt to torch"])
@pytest.mark.parametrize("mode", [None, "strong_wolfe"])
def test_checkpoints_travel_to_torch_and_back(way, mode, tmp_path):
    torch = pytest.importorskip("torch", reason="torch checkpoints")

    def stepped(optimizer, params, steps):
        def closure():
            for p in params:
                p.grad = None
            x = torch.cat(params)
            loss = ((1 - x[:-1]) ** 2).sum() + 100 * ((x[1:] - x[:-1] ** 2) ** 2).sum()
            loss.backward()
            return loss

        for _ in range(steps):
            optimizer.step(closure)
        return torch.cat(params).detach().numpy().copy()

    options = {"max_iter": 3, "history_size": 4, "line_search_fn": mode}
    a, b = ([p.requires_grad_() for p in tensors(torch, [-1.2, 1.0, 0.3])] for _ in range(2))
    first, second = (torch.optim.LBFGS, LBFGS) if way == "torch to nbopt" else (LBFGS, torch.optim.LBFGS)
    opt, other = first(a, **options), second(b, **options)
    stepped(opt, a, 2)
    torch.save(opt.state_dict(), tmp_path / "state.pt")
    for p, q in zip(a, b, strict=True):
        q.data.copy_(p.data)
    other.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    np.testing.assert_allclose(stepped(opt, a, 3), stepped(other, b, 3), rtol=1e-9)


def test_torch_parameters_step_under_autograd():
    torch = pytest.importorskip("torch", reason="torch parameters")
    w = torch.tensor([-1.2, 1.0], dtype=torch.float64, requires_grad=True)
    opt = LBFGS([w], max_iter=100, line_search_fn="strong_wolfe")

    def closure():
        opt.zero_grad()
        loss = (1 - w[0]) ** 2 + 100 * (w[1] - w[0] ** 2) ** 2
        loss.backward()
        return loss

    with torch.no_grad():
        loss = opt.step(closure)
    assert loss.item() == pytest.approx(24.2)
    np.testing.assert_allclose(w.detach().numpy(), [1, 1], rtol=1e-3)
    assert opt.status == lbfgs.NO_DESCENT
