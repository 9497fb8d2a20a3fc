"""Every element-wise optimizer beside torch's own: 1000 steps, every option, resumed midway."""

import inspect

import naive
import numpy as np
import pytest
from cases import ALL_OPTIONS

import nbopt

torch = pytest.importorskip("torch", reason="torch is not installed: parity was not tested")

GRID = [(name, options) for name, grid in ALL_OPTIONS.items() for options in grid]
SHAPES = [(7,), (3, 4), ()]

# torch keeps these scalars of state in float32 (reference section 1.4), we in float64, as the witness does.
FLOAT32_STATE = {"NAdam": 2e-7, "ASGD": 1e-6}
WITNESS = {"NAdam": naive.nadam, "ASGD": naive.asgd}
IDLE = {"params", "foreach", "fused", "capturable", "differentiable"}


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Let torch wait for no other thread: its arrays here are tiny."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def starts(seed=0):
    rng = np.random.default_rng(seed)
    return [np.asarray(rng.standard_normal(shape)) for shape in SHAPES]


def gradient(rng, p, k, index):
    """Return a noisy pull to zero, and none at times."""
    noise = rng.standard_normal(p.shape)
    return None if (k + index) % 11 == 5 else np.asarray(p + noise)


def groups(params, lr):
    return [{"params": params[:2]}, {"params": params[2:], "lr": lr / 2}]


def far(p, q):
    """Return the largest difference, beside 1 or the size of the element."""
    return np.max(np.abs(p - q) / np.maximum(1, np.abs(q)))


@pytest.mark.parametrize("name", ALL_OPTIONS)
def test_the_grid_takes_every_option_away_from_its_default(name):
    options = inspect.signature(getattr(torch.optim, name)).parameters
    varied = {key for row in ALL_OPTIONS[name] for key, v in row.items() if v != options[key].default}
    assert varied == set(options) - IDLE - {"lr"}  # lr differs in the second group


@pytest.mark.parametrize(("name", "options"), GRID, ids=[f"{n}-{k}" for k, (n, _) in enumerate(GRID)])
def test_a_thousand_steps_follow_torch(name, options):
    options = {"lr": 0.01, **options}
    ours = [nbopt.Parameter(a) for a in starts()]
    theirs = [torch.tensor(a, requires_grad=True) for a in starts()]
    opt = getattr(nbopt, name)(groups(ours, options["lr"]), **options)
    peer = getattr(torch.optim, name)(groups(theirs, options["lr"]), **options)
    rng, given = np.random.default_rng(1), [[] for _ in ours]
    for k in range(1000):
        if k == 500:  # resumed from a state_dict midway
            resumed = getattr(nbopt, name)(groups(ours, options["lr"]), **options)
            resumed.load_state_dict(opt.state_dict())
            opt = resumed
        for index, (p, q) in enumerate(zip(ours, theirs, strict=True)):
            p.grad = gradient(rng, q.detach().numpy(), k, index)
            q.grad = None if p.grad is None else torch.tensor(p.grad)
            given[index].append(p.grad)
        opt.step()
        peer.step()
    for p, q in zip(ours, theirs, strict=True):
        assert far(p.data, q.detach().numpy()) < FLOAT32_STATE.get(name, 1e-11)
    if name in WITNESS:
        for index, (p, p0) in enumerate(zip(ours, starts(), strict=True)):
            lr = options["lr"] / (1 if index < 2 else 2)
            assert far(p.data, WITNESS[name](p0, given[index], **{**options, "lr": lr})) < 1e-10


@pytest.mark.filterwarnings("ignore:Sparse invariant checks:UserWarning")  # torch's own
@pytest.mark.parametrize("options", [{}, {"betas": (0.5, 0.9), "eps": 1e-3, "maximize": True}], ids=str)
def test_a_thousand_sparse_steps_follow_torch(options):
    rng = np.random.default_rng(2)
    ours = [rng.standard_normal((n, 3)) for n in (20, 7, 5)]
    theirs = [torch.tensor(a, requires_grad=True) for a in ours]
    opt = nbopt.SparseAdam(groups(ours, 0.01), lr=0.01, **options)
    peer = torch.optim.SparseAdam(groups(theirs, 0.01), lr=0.01, **options)
    for k in range(1000):
        if k == 500:
            resumed = nbopt.SparseAdam(groups(ours, 0.01))
            resumed.load_state_dict(opt.state_dict())
            opt = resumed
        grads = []
        for index, q in enumerate(theirs):
            rows = rng.integers(0, len(q), 4)  # some of them twice
            values = gradient(rng, ours[index][rows], k, index)
            grads.append(None if values is None else (rows, values))
            q.grad = None if values is None else torch.sparse_coo_tensor(rows[None], values, q.shape)
        opt.step(grads=grads)
        peer.step()
    for p, q in zip(ours, theirs, strict=True):
        assert far(p, q.detach().numpy()) < 1e-11


@pytest.mark.parametrize("name", ALL_OPTIONS)
def test_signature_defaults_group_keys_and_state_keys_are_torchs(name):
    ours, theirs = getattr(nbopt, name), getattr(torch.optim, name)
    mine, his = inspect.signature(ours).parameters, inspect.signature(theirs).parameters
    assert list(mine) == list(his)
    assert [(p.default, p.kind) for p in mine.values()] == [(p.default, p.kind) for p in his.values()]
    p, q = np.ones(3), torch.ones(3, dtype=torch.float64, requires_grad=True)
    q.grad = torch.ones(3, dtype=torch.float64)
    opt, peer = ours([p]), theirs([q])
    opt.step(grads=[np.ones(3)])
    peer.step()
    assert set(opt.param_groups[0]) == set(peer.param_groups[0])
    assert list(opt.state_dict()["state"].get(0, {})) == list(peer.state_dict()["state"].get(0, {}))


@pytest.mark.parametrize("name", ALL_OPTIONS)
@pytest.mark.parametrize("to_nbopt", [True, False])
def test_a_run_begun_in_one_library_is_finished_in_the_other(name, to_nbopt):
    first, second = (torch.optim, nbopt) if to_nbopt else (nbopt, torch.optim)
    tensors = [torch.tensor(a, requires_grad=True) for a in starts()]
    unbroken = [torch.tensor(a, requires_grad=True) for a in starts()]
    opt, peer = getattr(first, name)(tensors, lr=0.01), getattr(torch.optim, name)(unbroken, lr=0.01)
    rng = np.random.default_rng(3)
    for k in range(60):
        if k == 30:
            finish = getattr(second, name)(tensors, lr=0.01)
            finish.load_state_dict(opt.state_dict())
            opt = finish
        for p, q in zip(tensors, unbroken, strict=True):
            q.grad = torch.tensor(rng.standard_normal(tuple(p.shape)))
            p.grad = q.grad.clone()
        opt.step()
        peer.step()
    for p, q in zip(tensors, unbroken, strict=True):
        np.testing.assert_allclose(p.detach(), q.detach(), atol=FLOAT32_STATE.get(name, 1e-12))
