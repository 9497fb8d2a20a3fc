"""The snippets of PyTorch's tutorials: as NumPy scripts, and unchanged on a torch model beside torch.optim.

A NumPy script differs from its tutorial by ``import nbopt as optim`` and by ``mse(...)``, which does what
``loss.backward()`` does. A torch snippet is the tutorial's own text; the module ``optim`` is its argument.
"""

import numpy as np
import pytest

import nbopt as optim

RNG = np.random.default_rng(0)
X = RNG.standard_normal((120, 3))
Y = X @ [[1.0], [-2.0], [0.5]] + 3.0 + 0.1 * RNG.standard_normal((120, 1))
TRAIN, VALID = slice(0, 90), slice(90, 120)
BATCHES = [slice(k, k + 30) for k in (0, 30, 60)]
HIDDEN = 0.5 * RNG.standard_normal((5, 3)), 0.5 * RNG.standard_normal((1, 5))


# The models: y = x w' + b, and a network with one hidden layer, as arrays and as torch modules.


def linear():
    return optim.Parameter(np.zeros((1, 3))), optim.Parameter(np.zeros(1))


def mse(model, x, y):
    w, b = model
    r = x @ w.data.T + b.data - y
    w.grad, b.grad = 2 * r.T @ x / len(x), 2 * r.mean(axis=0)
    return float((r**2).mean())


def network():
    weights = [optim.Parameter(w.copy()) for w in HIDDEN]
    return [weights[0], optim.Parameter(np.zeros(5))], [weights[1], optim.Parameter(np.zeros(1))]


def network_mse(base, head, x, y):
    hidden = np.tanh(x @ base[0].data.T + base[1].data)
    r = hidden @ head[0].data.T + head[1].data - y
    out = 2 * r / len(x)
    head[0].grad, head[1].grad = out.T @ hidden, out.sum(axis=0)
    inner = out @ head[0].data * (1 - hidden**2)
    base[0].grad, base[1].grad = inner.T @ x, inner.sum(axis=0)
    return float((r**2).mean())


def values(params):
    return np.concatenate([np.asarray(p.data).ravel() for p in params])


def torch_linear(dtype):
    import torch

    model = torch.nn.Linear(3, 1, dtype=getattr(torch, dtype))
    torch.nn.init.zeros_(model.weight)
    torch.nn.init.zeros_(model.bias)
    return model, *torch_data(dtype)


def torch_network(dtype):
    import torch
    from torch import nn

    base = nn.Sequential(nn.Linear(3, 5), nn.Tanh())
    model = nn.ModuleDict({"base": base, "head": nn.Linear(5, 1)}).to(getattr(torch, dtype))
    with torch.no_grad():
        for layer, w in zip((base[0], model.head), HIDDEN, strict=True):
            layer.weight.copy_(torch.from_numpy(w))
            layer.bias.zero_()
    return model, *torch_data(dtype)


def torch_data(dtype):
    import torch

    return torch.from_numpy(X.astype(dtype)), torch.from_numpy(Y.astype(dtype))


# What the scripts must arrive at.


def least_squares(ridge=0.0):
    """Return the minimum of mean squares + ridge / 2 * |(w, b)|**2."""
    a = np.hstack([X, np.ones((len(X), 1))])[TRAIN]
    return np.linalg.solve(2 * a.T @ a / len(a) + ridge * np.eye(4), 2 * a.T @ Y[TRAIN] / len(a))[:, 0]


# 1. A linear model: SGD, with momentum, with weight decay.


def train_with_sgd(**options):
    model = linear()
    optimizer = optim.SGD(model, lr=0.05, **options)
    for _epoch in range(200):
        optimizer.zero_grad()
        mse(model, X[TRAIN], Y[TRAIN])
        optimizer.step()
    return values(model)


def torch_train_with_sgd(optim, dtype, **options):
    import torch

    model, x, y = torch_linear(dtype)
    criterion = torch.nn.MSELoss()
    optimizer = optim.SGD(model.parameters(), lr=0.05, **options)
    for _epoch in range(200):
        optimizer.zero_grad()
        loss = criterion(model(x[TRAIN]), y[TRAIN])
        loss.backward()
        optimizer.step()
    return values(model.parameters())


SGD = {
    "SGD": {},
    "SGD, momentum": {"momentum": 0.9},
    "SGD, nesterov": {"momentum": 0.9, "nesterov": True},
    "SGD, weight decay": {"momentum": 0.9, "weight_decay": 0.1},
}


@pytest.mark.parametrize("options", SGD.values(), ids=SGD)
def test_sgd_finds_the_least_squares_or_ridge_solution(options):
    expected = least_squares(options.get("weight_decay", 0.0))
    np.testing.assert_allclose(train_with_sgd(**options), expected, atol=2e-4)


# 2. Adam with StepLR, 50 epochs over mini-batches.


def adam_with_step_lr():
    model = linear()
    optimizer = optim.Adam(model, lr=0.5)
    scheduler = optim.lr_scheduler.StepLR(optimizer, step_size=10, gamma=0.5)
    rates = []
    for _epoch in range(50):
        for batch in BATCHES:
            optimizer.zero_grad()
            mse(model, X[batch], Y[batch])
            optimizer.step()
        scheduler.step()
        rates.append(scheduler.get_last_lr()[0])
    return np.append(values(model), rates)


def torch_adam_with_step_lr(optim, dtype):
    import torch

    model, x, y = torch_linear(dtype)
    criterion = torch.nn.MSELoss()
    optimizer = optim.Adam(model.parameters(), lr=0.5)
    scheduler = optim.lr_scheduler.StepLR(optimizer, step_size=10, gamma=0.5)
    rates = []
    for _epoch in range(50):
        for batch in BATCHES:
            optimizer.zero_grad()
            loss = criterion(model(x[batch]), y[batch])
            loss.backward()
            optimizer.step()
        scheduler.step()
        rates.append(scheduler.get_last_lr()[0])
    return np.append(values(model.parameters()), rates)


def test_adam_with_step_lr_for_50_epochs():
    result = adam_with_step_lr()
    assert result[4:].tolist() == [0.5 * 0.5 ** (epoch // 10) for epoch in range(1, 51)]
    np.testing.assert_allclose(result[:4], least_squares(), atol=0.02)  # the batches pull it about


# 3. LBFGS with a closure.


def lbfgs_with_closure(**options):
    model = linear()
    optimizer = optim.LBFGS(model, **options)
    losses = []

    def closure():
        optimizer.zero_grad()
        return mse(model, X[TRAIN], Y[TRAIN])

    for _step in range(5):
        losses.append(optimizer.step(closure))
    return np.append(values(model), losses)


def torch_lbfgs_with_closure(optim, dtype, **options):
    import torch

    model, x, y = torch_linear(dtype)
    criterion = torch.nn.MSELoss()
    optimizer = optim.LBFGS(model.parameters(), **options)
    losses = []

    def closure():
        optimizer.zero_grad()
        loss = criterion(model(x[TRAIN]), y[TRAIN])
        loss.backward()
        return loss

    for _step in range(5):
        losses.append(optimizer.step(closure).item())
    return np.append(values(model.parameters()), losses)


LBFGS = {"LBFGS": {}, "LBFGS, strong Wolfe": {"line_search_fn": "strong_wolfe"}}


@pytest.mark.parametrize("options", LBFGS.values(), ids=LBFGS)
def test_lbfgs_with_a_closure_returns_the_loss_before_its_step(options):
    result = lbfgs_with_closure(**options)
    # tolerance_change ends the run when the loss changes by less than 1e-9: its root is left of x.
    np.testing.assert_allclose(result[:4], least_squares(), atol=3e-5)
    assert result[4] == pytest.approx(float((Y[TRAIN] ** 2).mean()), rel=1e-12)
    assert (np.diff(result[4:]) <= 0).all()


# 4. Two groups with different rates: a base to be tuned slowly, and a new head.


def two_groups():
    base, head = network()
    optimizer = optim.SGD([{"params": base}, {"params": head, "lr": 0.1}], lr=0.01, momentum=0.9)
    for _epoch in range(100):
        optimizer.zero_grad()
        loss = network_mse(base, head, X[TRAIN], Y[TRAIN])
        optimizer.step()
    return np.append(values([*base, *head]), loss)


def torch_two_groups(optim, dtype):
    import torch

    model, x, y = torch_network(dtype)
    criterion = torch.nn.MSELoss()
    optimizer = optim.SGD(
        [
            {"params": model.base.parameters()},
            {"params": model.head.parameters(), "lr": 0.1},
        ],
        lr=0.01,
        momentum=0.9,
    )
    for _epoch in range(100):
        optimizer.zero_grad()
        loss = criterion(model.head(model.base(x[TRAIN])), y[TRAIN])
        loss.backward()
        optimizer.step()
    return np.append(values(model.parameters()), loss.item())


def test_two_groups_with_different_rates():
    base, head = network()
    start = network_mse(base, head, X[TRAIN], Y[TRAIN])
    frozen = values(base)
    optim.SGD([{"params": base, "lr": 0.0}, {"params": head}], lr=0.1).step()
    assert np.array_equal(values(base), frozen) and not np.array_equal(head[0].data, HIDDEN[1])
    assert two_groups()[-1] < 0.02 * start


# 5. Clip, then step.


def clip_then_step():
    model = linear()
    optimizer = optim.SGD(model, lr=0.1)
    norms = []
    for _epoch in range(100):
        optimizer.zero_grad()
        mse(model, X[TRAIN], Y[TRAIN])
        norms.append(float(optim.clip_grad_norm_(model, max_norm=1.0)))
        optimizer.step()
    return np.append(values(model), norms)


def torch_clip_then_step(optim, dtype, clip="torch"):
    import torch

    model, x, y = torch_linear(dtype)
    clip_grad_norm_ = torch.nn.utils.clip_grad_norm_ if clip == "torch" else optim.clip_grad_norm_
    criterion = torch.nn.MSELoss()
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    norms = []
    for _epoch in range(100):
        optimizer.zero_grad()
        loss = criterion(model(x[TRAIN]), y[TRAIN])
        loss.backward()
        norms.append(float(clip_grad_norm_(model.parameters(), max_norm=1.0)))
        optimizer.step()
    return np.append(values(model.parameters()), norms)


def test_clip_then_step_makes_steps_of_at_most_lr():
    first = linear()
    mse(first, X[TRAIN], Y[TRAIN])
    before = optim.clip_grad_norm_(first, max_norm=1.0)
    assert before > 5
    optim.SGD(first, lr=0.1).step()
    assert np.linalg.norm(values(first)) == pytest.approx(0.1, rel=1e-5)
    result = clip_then_step()
    assert result[4] == pytest.approx(before, rel=1e-12) and result[-1] < 1e-3
    np.testing.assert_allclose(result[:4], least_squares(), atol=1e-3)


# 6. Save, load, go on: the end is that of a run without a break.


def save_and_load(path, broken=True):
    model = linear()
    optimizer = optim.Adam(model, lr=0.1)
    epochs = range(40)
    for epoch in epochs:
        if broken and epoch == 20:
            optim.save(path, epoch=epoch, model=model, optimizer=optimizer.state_dict())
            checkpoint = optim.load(path)
            assert checkpoint["epoch"] == 20
            model = [optim.Parameter(a) for a in checkpoint["model"]]
            optimizer = optim.Adam(model, lr=1.0)
            optimizer.load_state_dict(checkpoint["optimizer"])
        optimizer.zero_grad()
        mse(model, X[TRAIN], Y[TRAIN])
        optimizer.step()
    return values(model)


def torch_save_and_load(optim, dtype, path=None, later=None):
    import torch

    model, x, y = torch_linear(dtype)
    criterion = torch.nn.MSELoss()
    optimizer = optim.Adam(model.parameters(), lr=0.1)
    loss = None
    for epoch in range(40):
        if path is not None and epoch == 20:
            torch.save(
                {
                    "epoch": epoch,
                    "model_state_dict": model.state_dict(),
                    "optimizer_state_dict": optimizer.state_dict(),
                    "loss": loss,
                },
                path,
            )
            model, x, y = torch_linear(dtype)
            optimizer = (later or optim).Adam(model.parameters(), lr=1.0)
            checkpoint = torch.load(path, weights_only=True)
            model.load_state_dict(checkpoint["model_state_dict"])
            optimizer.load_state_dict(checkpoint["optimizer_state_dict"])
            assert checkpoint["epoch"] == 20 and checkpoint["loss"] == loss
        optimizer.zero_grad()
        loss = criterion(model(x[TRAIN]), y[TRAIN])
        loss.backward()
        optimizer.step()
    return values(model.parameters())


def test_save_and_load_continue_bit_for_bit(tmp_path):
    whole = save_and_load(tmp_path / "checkpoint", broken=False)
    assert np.array_equal(save_and_load(tmp_path / "checkpoint"), whole)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_torch_files_of_an_optimizers_state_continue_bit_for_bit(tmp_path, dtype):
    pytest.importorskip("torch", reason="torch is not installed: torch.save was not tested")
    whole = torch_save_and_load(optim, dtype)
    assert np.array_equal(torch_save_and_load(optim, dtype, tmp_path / "checkpoint.pt"), whole)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_run_is_finished_by_the_other_library(tmp_path, dtype):
    torch = pytest.importorskip("torch", reason="torch is not installed: its checkpoints were not tested")
    whole = torch_save_and_load(torch.optim, dtype)
    for first, then in ((torch.optim, optim), (optim, torch.optim)):
        result = torch_save_and_load(first, dtype, tmp_path / "checkpoint.pt", then)
        np.testing.assert_allclose(result, whole, **TOLERANCE[dtype])


# 7. A plateau scheduler that watches a validation metric.


def plateau():
    model = linear()
    optimizer = optim.SGD(model, lr=0.1, momentum=0.9)
    scheduler = optim.lr_scheduler.ReduceLROnPlateau(optimizer, "min", factor=0.1, patience=5)
    rates = []
    for _epoch in range(120):
        for batch in BATCHES:
            optimizer.zero_grad()
            mse(model, X[batch], Y[batch])
            optimizer.step()
        val_loss = mse(model, X[VALID], Y[VALID])
        scheduler.step(val_loss)
        rates.append(optimizer.param_groups[0]["lr"])
    return np.append(values(model), rates)


def torch_plateau(optim, dtype):
    import torch

    model, x, y = torch_linear(dtype)
    criterion = torch.nn.MSELoss()
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    scheduler = optim.lr_scheduler.ReduceLROnPlateau(optimizer, "min", factor=0.1, patience=5)
    rates = []
    for _epoch in range(120):
        model.train()
        for batch in BATCHES:
            optimizer.zero_grad()
            loss = criterion(model(x[batch]), y[batch])
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            val_loss = criterion(model(x[VALID]), y[VALID])
        scheduler.step(val_loss)
        rates.append(optimizer.param_groups[0]["lr"])
    return np.append(values(model.parameters()), rates)


def test_plateau_lowers_the_rate_when_validation_stops_improving():
    result = plateau()
    rates = result[4:]
    assert rates[0] == 0.1 and rates[-1] < 1e-3 and (np.diff(rates) <= 0).all()
    steps = np.unique(rates)[::-1]
    np.testing.assert_allclose(steps, 0.1 * 0.1 ** np.arange(steps.size), rtol=1e-12)
    np.testing.assert_allclose(result[:4], least_squares(), atol=0.05)


# The same text on a torch model, with nbopt's classes and with torch's own.

TOLERANCE = {"float32": {"rtol": 1e-6, "atol": 1e-6}, "float64": {"rtol": 1e-12, "atol": 1e-12}}
SNIPPETS = {
    **{name: (train_with_sgd, torch_train_with_sgd, options) for name, options in SGD.items()},
    "Adam, StepLR": (adam_with_step_lr, torch_adam_with_step_lr, {}),
    **{name: (lbfgs_with_closure, torch_lbfgs_with_closure, options) for name, options in LBFGS.items()},
    "two groups": (two_groups, torch_two_groups, {}),
    "clip, then step": (clip_then_step, torch_clip_then_step, {}),
    "plateau": (plateau, torch_plateau, {}),
}


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("name", SNIPPETS)
def test_the_snippet_on_a_torch_model_ends_where_torch_ends(name, dtype):
    torch = pytest.importorskip("torch", reason="torch is not installed: its models were not tested")
    _, snippet, options = SNIPPETS[name]
    theirs = snippet(torch.optim, dtype, **options)
    np.testing.assert_allclose(snippet(optim, dtype, **options), theirs, **TOLERANCE[dtype])


@pytest.mark.parametrize("name", SNIPPETS)
def test_the_script_and_the_snippet_agree(name):
    pytest.importorskip("torch", reason="torch is not installed: its models were not tested")
    script, snippet, options = SNIPPETS[name]
    np.testing.assert_allclose(
        script(**options), snippet(optim, "float64", **options), rtol=1e-10, atol=1e-10
    )


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_both_clippings_serve_a_torch_model(dtype):
    torch = pytest.importorskip("torch", reason="torch is not installed: its models were not tested")
    theirs = torch_clip_then_step(torch.optim, dtype)
    ours = torch_clip_then_step(optim, dtype, clip="nbopt")
    np.testing.assert_allclose(ours, theirs, **TOLERANCE[dtype])
