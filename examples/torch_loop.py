"""A PyTorch loop on NumPy arrays, only its import changed: a small network foretells the sunspots."""

import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt
from statsmodels.datasets import sunspots

import nbopt

FOLDER = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "plots"
# Of the years 1700 to 2008, by the National Geophysical Data Center, in the public domain.
roots = np.sqrt(sunspots.load_pandas().data["SUNACTIVITY"].to_numpy()) / 7
windows, year = np.lib.stride_tricks.sliding_window_view(roots[:-1], 12), np.arange(1712, 2009)
X, y = windows[year <= 1950], roots[12:][year <= 1950]  # twelve years give the next


def train(optim, params, backward):  # as it was after `import torch.optim as optim`
    optimizer = optim.AdamW(params, weight_decay=0.1)
    scheduler = optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.01, total_steps=2000)
    for _ in range(2000):
        optimizer.zero_grad()
        yield backward(*params)
        optimizer.step()
        scheduler.step()


def backward(A, a, b):  # on arrays one differentiates oneself
    h = np.tanh(X @ A.data + a.data)
    r = (h @ b.data - y) / len(y)
    d = 2 * np.outer(r, b.data) * (1 - h**2)
    A.grad, a.grad, b.grad = X.T @ d, d.sum(axis=0), 2 * h.T @ r
    return np.sum(r**2) * len(y)


start = [p.squeeze() for p in np.split(np.random.default_rng(1).normal(0, 0.3, (14, 8)), [12, 13])]
A, a, b = params = [nbopt.Parameter(p.copy()) for p in start]
fig, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained", width_ratios=(3, 2))
right.loglog(list(train(nbopt, params, backward)), "#c2410c", lw=3, label="nbopt, NumPy arrays")
if find_spec("torch"):
    import torch

    def autograd(A, a, b):
        loss = torch.mean((torch.tanh(torch.tensor(X) @ A + a) @ b - torch.tensor(y)) ** 2)
        return loss.backward() or loss.item()

    params = [torch.tensor(p, requires_grad=True) for p in start]
    right.loglog(list(train(torch.optim, params, autograd)), "--", color="k", label="torch.optim, tensors")
    print(f"Largest difference to torch's weights: {np.abs(params[0].numpy(force=True) - A.data).max():.0e}")
right.set(title="Loss on the years until 1950", xlabel="step")
right.legend()
left.plot(year, 49 * roots[12:] ** 2, "o", ms=4, mfc="w", color="#1f2937", label="counted")
left.plot(year, 49 * (np.tanh(windows @ A.data + a.data) @ b.data) ** 2, "#c2410c", lw=2, label="foretold")
left.set(title="Sunspots, each year foretold by the twelve before it", xlim=(1950, 2009), ylim=(0, 260))
left.legend(loc="upper left")
FOLDER.mkdir(exist_ok=True)
fig.savefig(FOLDER / "torch_loop.png", dpi=110)
