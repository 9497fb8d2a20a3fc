"""CPU torch tensors through the same door: their memory as arrays, without importing torch."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np


def is_tensor(x: Any) -> bool:
    """Tell whether ``x`` is a torch tensor; if torch was never imported nothing can be one."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(x, getattr(torch, "Tensor", ()))


def view_of_tensor(tensor: Any, where: str) -> np.ndarray:
    """Return the memory of a dense CPU tensor as an array, or say why that cannot be."""
    if tensor.device.type != "cpu":
        raise TypeError(
            f"{where} is on device {tensor.device}; only CPU tensors can be updated (the CUDA "
            "target comes later)"
        )
    kind = str(tensor.dtype).removeprefix("torch.")
    if kind not in {"float32", "float64"}:
        raise TypeError(f"{where} has dtype {kind}; a parameter must be float32 or float64")
    if tensor.layout != sys.modules["torch"].strided:
        raise TypeError(f"{where} is sparse; a parameter must be dense")
    if tensor.numel() > 1 and any(
        s == 0 and n > 1 for n, s in zip(tensor.shape, tensor.stride(), strict=True)
    ):
        raise ValueError(f"{where} is an expanded tensor, whose elements share memory; clone it")
    if not tensor.is_leaf and not tensor.retains_grad:
        raise ValueError(f"{where} is not a leaf tensor: its value is computed from others")
    return tensor.detach().numpy()


def gradient_of_tensor(tensor: Any, where: str) -> np.ndarray | None:
    """Return a tensor's gradient as an array that shares its memory, or None."""
    grad = tensor.grad
    if grad is None:
        return None
    if grad.layout != sys.modules["torch"].strided:
        raise RuntimeError(f"{where} has a sparse gradient, which this optimizer does not take")
    return grad.detach().numpy()


def mark_written(tensors: list[Any]) -> None:
    """Tell autograd that these tensors changed, so that a stale backward() is caught."""
    if tensors:
        sys.modules["torch"].autograd.graph.increment_version(tensors)


def from_array(a: np.ndarray) -> Any:
    """Return a tensor over an array's memory."""
    return sys.modules["torch"].from_numpy(a)
