"""A small training run that saves a checkpoint after every step and goes on from one that it finds."""

import sys
from pathlib import Path

import numpy as np

import nbopt
from nbopt.lr_scheduler import CosineAnnealingWarmRestarts
from nbopt.optim.checkpoint import load, save
from nbopt.optim.clip_grad import clip_grad_norm_


def train(path, steps, seed, tell=lambda step: None):
    """Train up to ``steps`` steps, and return all numbers of the end as bytes."""
    a, b = nbopt.Parameter(np.full((40, 30), 2.0)), nbopt.Parameter(np.full(7, -1, np.float32))
    rng = np.random.default_rng(seed)
    optimizer = nbopt.Adam(
        [{"params": [a]}, {"params": [b], "lr": 0.3}], lr=0.1, amsgrad=True, weight_decay=0.01
    )
    scheduler = CosineAnnealingWarmRestarts(optimizer, T_0=5, T_mult=2)
    done = 0
    if Path(path).exists():
        found = load(path)
        done = found["step"]
        a.data[...], b.data[...] = found["model"]
        optimizer.load_state_dict(found["optimizer"])
        scheduler.load_state_dict(found["scheduler"])
        rng.bit_generator.state = found["rng"]
    for step in range(done + 1, steps + 1):
        for p in (a, b):
            p.grad = (p.data - 0.5 + rng.standard_normal(p.shape)).astype(p.dtype)
        clip_grad_norm_([a, b], 5.0)
        optimizer.step()
        scheduler.step()
        save(
            path,
            model=(a, b),
            optimizer=optimizer,
            scheduler=scheduler,
            rng=rng.bit_generator.state,
            step=step,
        )
        tell(step)
    state = optimizer.state_dict()["state"]
    arrays = [a.data, b.data, *(x for s in state.values() for x in s.values() if isinstance(x, np.ndarray))]
    rates = np.array([group["lr"] for group in optimizer.param_groups])
    return b"".join(x.tobytes() for x in [*arrays, rates, rng.standard_normal(1)])


if __name__ == "__main__":
    print(train(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), lambda step: print(step, flush=True)).hex())
