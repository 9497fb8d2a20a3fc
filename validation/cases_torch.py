"""What is timed in torch's process: steps of its optimizers, and its LBFGS as a solver."""

from __future__ import annotations

from typing import Any

import torch

from validation.problems import PROBLEMS
from validation.timing import Case


def step(
    optimizer: str, options: dict[str, Any], path: str, arrays: int, size: int, dtype: str, fresh: bool
) -> Case:
    """Return a step over ``arrays`` tensors of ``size``; ``path`` is default, foreach or fused."""
    torch.manual_seed(0)
    kind = getattr(torch, dtype)
    params = [torch.randn(size, dtype=kind).requires_grad_() for _ in range(arrays)]
    source = [torch.randn(size, dtype=kind) for _ in range(arrays)]
    for p, g in zip(params, source, strict=True):
        p.grad = g
    flags = {"default": {}, "foreach": {"foreach": True}, "fused": {"fused": True}}[path]
    step = getattr(torch.optim, optimizer)(params, **options, **flags).step

    def new_gradients() -> None:
        for p, g in zip(params, source, strict=True):
            p.grad = g.clone()

    return Case(step, new_gradients if fresh else None)


def sparse_step(rows: int, columns: int, touched: int) -> Case:
    """Return a step of SparseAdam over a float32 table, with the gradient that a backward pass gives."""
    torch.manual_seed(0)
    table = torch.randn(rows, columns).requires_grad_()
    where = torch.randperm(rows)[:touched][None]
    values = torch.randn(touched, columns)
    table.grad = torch.sparse_coo_tensor(where, values, table.shape, check_invariants=False)
    return Case(torch.optim.SparseAdam([table]).step)


def problem(name: str) -> dict[str, Any]:
    """Solve a problem of validation/problems.py with torch's LBFGS, strong Wolfe, gtol as scipy's."""
    chosen = PROBLEMS[name]
    x = torch.tensor(chosen.start, dtype=torch.float64, requires_grad=True)
    calls = 0

    def closure() -> torch.Tensor:
        nonlocal calls
        calls += 1
        f, g = chosen.fun_and_grad(x.detach().numpy())
        x.grad = torch.from_numpy(g)
        return torch.tensor(f, dtype=torch.float64)

    optimizer = torch.optim.LBFGS(
        [x], max_iter=15_000, history_size=10, tolerance_grad=1e-5, line_search_fn="strong_wolfe"
    )
    optimizer.step(closure)
    return {"nfev": calls, "fun": chosen.fun(x.detach().numpy())}
