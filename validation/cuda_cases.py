"""What the CUDA section steps and times: optimizers over device arrays, and the same work by peers."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

import nbopt
from nbopt.kernels.cuda_launcher import CHUNK, THREADS

# All element-wise optimizers, with the options that bring up each of their loops.
CHECKED: tuple[tuple[str, dict[str, Any]], ...] = (
    ("SGD", {"lr": 0.01}), ("SGD", {"lr": 0.01, "momentum": 0.9}),
    ("SGD", {"lr": 0.01, "momentum": 0.9, "nesterov": True}), ("Adam", {"lr": 0.01}),
    ("Adam", {"lr": 0.01, "amsgrad": True, "weight_decay": 0.1}), ("AdamW", {"lr": 0.01}),
    ("Adamax", {"lr": 0.01}), ("NAdam", {"lr": 0.01}), ("RAdam", {"lr": 0.01}), ("RMSprop", {"lr": 0.01}),
    ("RMSprop", {"lr": 0.01, "momentum": 0.9}), ("RMSprop", {"lr": 0.01, "centered": True, "eps": 1e-3}),
    ("RMSprop", {"lr": 0.01, "centered": True, "momentum": 0.9, "eps": 1e-3}), ("Adagrad", {"lr": 0.01}),
    ("Adadelta", {}), ("ASGD", {"lr": 0.01, "lambd": 0.1, "t0": 3}), ("Rprop", {"lr": 0.01}),
)  # fmt: skip
SIZES = (1, 2, THREADS - 1, THREADS, THREADS + 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 5, *[7] * 30)
# What is timed beside torch: a class with its options, and the passes over memory of a step.
TIMED: dict[str, tuple[str, dict[str, Any], int]] = {
    "SGD": ("SGD", {"lr": 1e-3}, 3),
    "SGD, momentum": ("SGD", {"lr": 1e-3, "momentum": 0.9}, 5),
    "Adam": ("Adam", {"lr": 1e-3}, 7),
    "AdamW": ("AdamW", {"lr": 1e-3}, 7),
}


def draw(n: int, dtype: str, seed: int) -> np.ndarray:
    """Return ``n`` random numbers."""
    return np.random.default_rng(seed).standard_normal(n).astype(dtype)


def worst_step(machine: Any, name: str, options: dict[str, Any], dtype: str, steps: int) -> float:
    """Step on the device; return the largest difference from a CPU step from the same state, in ulps.

    At every twentieth step parameters and state are brought to the host, and both make that step. A
    difference counts in units of the last place of the parameter before or after, whichever is larger.
    """
    far_arrays = [machine.put(draw(n, dtype, k)) for k, n in enumerate(SIZES)]
    far = getattr(nbopt, name)(far_arrays, **options)
    worst = 0.0
    for step in range(steps):
        grads = [draw(n, dtype, 1000 * step + k) for k, n in enumerate(SIZES)]
        looked_at = step % 20 in (0, 1)
        if looked_at:
            before = [machine.get(a) for a in far_arrays]
            near = [a.copy() for a in before]
            host = getattr(nbopt, name)(near, **options)
            host.load_state_dict(far.state_dict())
            host.step(grads=grads)
        far.step(grads=[machine.put(g) for g in grads])
        if looked_at:
            triples = zip(before, near, far_arrays, strict=True)
            worst = max(worst, *(ulps(b, a, machine.get(f)) for b, a, f in triples))
    return worst


def ulps(before: np.ndarray, one: np.ndarray, other: np.ndarray) -> float:
    """Return the largest difference of two arrays in units of the last place; NaN counts as infinite."""
    scale = np.spacing(np.maximum(np.abs(before), np.abs(one)))
    difference = np.abs(one.astype(np.float64) - other) / scale
    return float(np.where(np.isnan(difference), np.inf, difference).max(initial=0.0))


def refuses_gaps(machine: Any) -> bool:
    """Tell whether an array with gaps is refused."""
    far = machine.put(np.zeros((4, 4)))
    facts = {**far.__cuda_array_interface__, "shape": (4, 2), "strides": (32, 16)}
    try:
        nbopt.SGD([type("Gaps", (), {"__cuda_array_interface__": facts, "shape": (4, 2)})()], lr=0.1)
    except ValueError as error:
        return "has gaps" in str(error)
    return False


def copies(machine: Any, nbytes: int) -> int:
    """Return how many sets of inputs to rotate over, so that no step finds its own in the cache."""
    return int(min(64, max(1, -(-machine.rotate // nbytes))))


def contest(machine: Any, label: str, arrays: int, size: int, dtype: str) -> dict[str, Callable[[], Any]]:
    """Return a step by nbopt and by each peer that is here; each call takes the next set of inputs."""
    name, options, passes = TIMED[label]
    sets = copies(machine, arrays * size * np.dtype(dtype).itemsize * passes)
    found = {"nbopt": _rotating(_ours(machine, name, options, arrays, size, dtype) for _ in range(sets))}
    if machine.torch is not None:
        if machine.real:
            steps = (_ours_on_tensors(machine, name, options, arrays, size, dtype) for _ in range(sets))
            found["nbopt on tensors"] = _rotating(steps)
        for path in ("fused", "foreach"):
            steps = (
                _torchs(machine, name, {**options, path: True}, arrays, size, dtype) for _ in range(sets)
            )
            found[f"torch {path}"] = _rotating(steps)
    if machine.xp is not None and label == "Adam":
        found["CuPy"] = _rotating(_adam_by_expressions(machine, arrays, size, dtype) for _ in range(sets))
    source, target = (machine.put(draw(size, dtype, k)) for k in range(2))
    if arrays == 1:
        found["copy"] = machine.copy(target, source)
    return found


def _rotating(steps: Any) -> Callable[[], Any]:
    """Return a function that calls one step after the other."""
    turn = itertools.cycle(list(steps))
    return lambda: next(turn)()


def _ours(machine: Any, name: str, options: Any, arrays: int, size: int, dtype: str) -> Callable[[], Any]:
    params = [nbopt.Parameter(machine.put(draw(size, dtype, k))) for k in range(arrays)]
    for k, p in enumerate(params):
        p.grad = machine.put(draw(size, dtype, k + 1))
    return getattr(nbopt, name)(params, **options).step


def _tensors(machine: Any, arrays: int, size: int, dtype: str) -> list[Any]:
    """Return torch parameters with gradients."""
    torch, params = machine.torch, []
    for k in range(arrays):
        p = torch.nn.Parameter(torch.from_numpy(draw(size, dtype, k)).to(machine.torch_device))
        p.grad = torch.from_numpy(draw(size, dtype, k + 1)).to(machine.torch_device)
        params.append(p)
    return params


def _ours_on_tensors(machine: Any, name: str, options: Any, arrays: int, size: int, dtype: str) -> Any:
    return getattr(nbopt, name)(_tensors(machine, arrays, size, dtype), **options).step


def _torchs(machine: Any, name: str, options: Any, arrays: int, size: int, dtype: str) -> Any:
    return getattr(machine.torch.optim, name)(_tensors(machine, arrays, size, dtype), **options).step


def _adam_by_expressions(machine: Any, arrays: int, size: int, dtype: str) -> Callable[[], Any]:
    """Return Adam as one writes it in CuPy, array by array."""
    xp, t = machine.xp, np.dtype(dtype).type
    params = [xp.asarray(draw(size, dtype, k)) for k in range(arrays)]
    grads = [xp.asarray(draw(size, dtype, k + 1)) for k in range(arrays)]
    firsts, seconds = ([xp.zeros_like(p) for p in params] for _ in range(2))
    count = itertools.count(1)

    def step() -> None:
        n = next(count)
        rate, root = t(1e-3 / (1 - 0.9**n)), t((1 - 0.999**n) ** -0.5)
        for p, g, m, v in zip(params, grads, firsts, seconds, strict=True):
            m += t(0.1) * (g - m)
            v += t(0.001) * (g * g - v)
            p -= rate * m / (xp.sqrt(v) * root + t(1e-8))

    return step
